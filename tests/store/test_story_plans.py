"""What is asked beside the work is found by indexes too, on both databases: no question reads a whole table."""

import re
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.lifecycle import SmsState
from gateway.store import Store, counting, finding, listing, queue_listing, tables, telling
from gateway.store.listing import Marks
from gateway.store.story_tables import SMS_TROUBLE
from tests.store.samples import LATER, rows
from tests.store.test_plans import full_store, plan, plan_by_keys
from tests.support.clock import START

__all__ = ["full_store"]

pytestmark = pytest.mark.slow

NUMBER = "+33600000007"
WHOLE_TABLE = re.compile(r"Seq Scan on (sms|mail|attempt|report)\b|SCAN (sms|mail|attempt|report)\b(?! USING)")


async def assert_by(store: Store, query: sa.Select[Any], *indexes: str, **wanted: object) -> None:
    """The plan names these indexes, and reads no table whole."""
    text = await plan_by_keys(store, query, **wanted) if wanted else await plan(store, query)
    for index in indexes:
        assert re.search(index, text), text
    assert not WHOLE_TABLE.search(text), text


async def test_a_story_is_read_by_keys(full_store: Store) -> None:
    envoi = (await rows(full_store, tables.envoi))[0]
    for query, index in (
        (telling.SMS, "uq_sms_envoi_id|autoindex_sms"),
        (telling.ATTEMPTS, "pk_attempt|autoindex_attempt"),
        (telling.OPERATIONS, "ix_operation_sms"),
        (telling.REPLIES, "ix_reply_sms"),
        (telling.DUPLICATES, "ix_mail_duplicate"),
    ):
        await assert_by(full_store, query, index, envoi=envoi["id"])
    await assert_by(full_store, telling.ENVOI, "ix_envoi_mail", mail=envoi["mail_id"])
    await assert_by(full_store, telling.REPORTS, "ix_report_mail", mail=envoi["mail_id"])
    await assert_by(full_store, telling.blocked_query("b", START), "ix_sms_lane")


async def test_what_is_asked_for_is_found_by_its_index(full_store: Store) -> None:
    message_id = (await rows(full_store, tables.mail))[0]["message_id"]

    by_message_id = finding.by_message_id_query((message_id, "<other>"))
    assert "ix_mail_message_id" in await plan_by_keys(full_store, by_message_id)
    await assert_by(full_store, finding.number_query(NUMBER).limit(50), "ix_sms_msisdn")
    await assert_by(full_store, finding.odd_number_query("0600").limit(50), "ix_sms_tel")
    await assert_by(full_store, finding.reference_query("carrier", "77").limit(50), "ix_sms_ref")


async def test_lists_begin_at_an_index(full_store: Store) -> None:
    cases = [
        (Marks(msisdn=NUMBER), "ix_sms_msisdn"),
        *[(Marks(states=(state,)), "ix_sms_trouble") for state in SMS_TROUBLE],
        (Marks(states=(SmsState.UNCERTAIN,)), "ix_sms_open"),
        (Marks(states=(SmsState.QUEUED,), account="b"), "ix_sms_(open|due|lane|expiry)"),
    ]
    for marks, index in cases:
        for after in (None, "M000100"):
            queries = await candidates(full_store, marks, after)
            for query in queries:
                text = await plan_by_keys(full_store, query)

                assert re.search(index, text), text
                assert not WHOLE_TABLE.search(text), text
            assert queries


async def candidates(store: Store, marks: Marks, after: str | None) -> list[sa.Select[Any]]:
    return await store._database.read(lambda connection: listing.candidates_queries(connection, marks, after))


async def test_what_many_have_is_looked_for_among_the_newest_mails(full_store: Store) -> None:
    keys = "pk_mail|autoindex_mail_1"
    since = START - timedelta(days=1)
    for marks, index in (
        (Marks(text="word"), keys),
        (Marks(text="word", since=since), keys),
        (Marks(states=(SmsState.DELIVERED,)), keys),
        (Marks(states=(SmsState.DELIVERED,), account="b"), f"ix_mail_account|{keys}"),  # by id, for so few
    ):
        assert await candidates(full_store, marks, None) == []
        for after in (None, "M000100"):
            text = await plan_by_keys(full_store, listing.mails_query(marks, after).limit(50))

            assert re.search(index, text), text
            assert not WHOLE_TABLE.search(text), text


async def test_the_sms_of_mails_are_read_from_the_newest_on_and_no_further(sqlite_store: Store) -> None:
    """Not sorted first: that would read them all, however few are looked at. PostgreSQL weighs it by its statistics."""
    for account, index in ((None, "autoindex_mail_1"), ("b", "ix_mail_account")):
        marks = Marks(text="word", account=account)
        for after in (None, "M000100"):
            text = await plan(sqlite_store, listing.sms_of_query(marks, listing.mails_query(marks, after), 50))
            reading, _, grouping = text.partition("SCAN anon_1")

            assert re.search(rf"{index}.*\n.*ix_envoi_mail.*\n.*autoindex_sms_\d \(envoi_id=", reading), text
            assert "TEMP B-TREE" not in reading, text
            assert grouping, text


async def test_few_in_a_state_are_counted_in_their_index(full_store: Store) -> None:
    for state in (SmsState.QUEUED, SmsState.HELD, SmsState.SENDING, SmsState.UNCERTAIN):
        assert "ix_sms_" in await plan_by_keys(full_store, listing.number_in_query(state))


async def test_the_queue_is_read_from_its_index(full_store: Store) -> None:
    for state in queue_listing.WAITING:
        for marks in (Marks(), Marks(account="b"), Marks(text="word")):
            for query in (
                queue_listing.queue_query(state, marks, None, 50),
                queue_listing.last_looked_at_query(state, marks, None),
            ):
                text = await plan_by_keys(full_store, query)

                assert "ix_sms_" in text, text
                assert not WHOLE_TABLE.search(text), text
    of_number = await plan_by_keys(
        full_store, queue_listing.queue_query(SmsState.QUEUED, Marks(msisdn=NUMBER), None, 50)
    )
    assert re.search("ix_sms_(msisdn|open|lane|due|expiry)", of_number), of_number


async def test_sms_at_their_end_are_listed_in_the_order_of_an_index(full_store: Store) -> None:
    place = "9999-12-31T23:59:59.999999+00:00 S000100"
    for state, index in (
        *((one, "ix_sms_trouble") for one in SMS_TROUBLE),
        (SmsState.DELIVERED, "pk_sms|autoindex_sms"),
    ):
        for after in (None, place):
            for marks in (Marks(), Marks(account="b")):
                for query in (
                    queue_listing.queue_query(state, marks, after, 50),
                    queue_listing.last_looked_at_query(state, marks, after),
                ):
                    text = await plan_by_keys(full_store, query)

                    assert re.search(index, text), text


async def test_counts_read_only_the_time_they_are_of(full_store: Store) -> None:
    text = await plan_by_keys(full_store, counting.counts_query("account", START, LATER))

    assert re.search("pk_sms|autoindex_sms_1", text), text
    assert "ix_sms_" in await plan_by_keys(full_store, counting.waiting_query())
