"""What is asked beside the work is found by indexes too, on both databases: no question reads a whole table."""

import re
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.lifecycle import SmsState
from gateway.store import Store, counting, finding, listing, tables, telling
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
        (Marks(account="b"), "ix_mail_account|pk_mail"),  # by id, for so few
        (Marks(), "pk_mail|autoindex_mail_1"),
        (Marks(since=START - timedelta(days=1)), "pk_mail|autoindex_mail_1"),
        *[(Marks(states=(state,)), "ix_sms_trouble") for state in SMS_TROUBLE],
        (Marks(states=(SmsState.UNCERTAIN,)), "ix_sms_open"),
    ]
    for marks, index in cases:
        for after in (None, "M000100"):
            for query in listing.candidates_queries(marks, after):
                text = await plan_by_keys(full_store, query)

                assert re.search(index, text), text
                assert not WHOLE_TABLE.search(text), text


async def test_the_queue_is_read_from_its_index(full_store: Store) -> None:
    for state in listing.WAITING:
        text = await plan_by_keys(full_store, listing.queue_query(state, Marks(), None))
        assert "ix_sms_" in text, text
    of_number = await plan_by_keys(full_store, listing.queue_query(SmsState.QUEUED, Marks(msisdn=NUMBER), None))
    assert re.search("ix_sms_(msisdn|open|lane|due|expiry)", of_number), of_number


async def test_counts_read_only_the_time_they_are_of(full_store: Store) -> None:
    text = await plan_by_keys(full_store, counting.counts_query("account", START, LATER))

    assert re.search("pk_sms|autoindex_sms_1", text), text
    assert "ix_sms_" in await plan_by_keys(full_store, counting.waiting_query())
