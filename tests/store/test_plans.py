"""Every query that a stage repeats finds its rows through its index, on both databases."""

import re
from enum import Enum
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.lifecycle import EnvoiId, ReportState, SmsState
from gateway.store import (
    Store,
    admission,
    claims,
    credit,
    inquiries,
    optouts,
    purging,
    quotas,
    receipts,
    replies,
    reports,
    staging,
    stepping,
    stopping,
    tables,
    waits,
    watch,
)
from gateway.store.database import PostgresDatabase
from gateway.store.questions import Question
from gateway.store.repeats import Repeated
from gateway.store.tables import REPORT_OPEN, SMS_OPEN, SMS_UNANSWERED
from tests.store.samples import LATER, change, new_mail, new_order, new_report, new_sms, rows
from tests.support.clock import START

pytestmark = pytest.mark.slow

CLAIM = claims.Claim(lane="b", provider="carrier", now=START, lease_until=LATER, limit=50)


@pytest.fixture
async def full_store(store: Store) -> Store:
    """Many rows, nearly all of them final, as after some months."""
    for _ in range(6):
        await store.admit(new_order(*(new_sms(n) for n in range(1, 501)), reports=[new_report() for _ in range(300)]))
    ended = {"settled_at": START, "since_at": START}
    await change(
        store,
        tables.sms.update().values(state=SmsState.DELIVERED, **ended),
        tables.report.update().values(state=ReportState.SENT, **ended),
    )
    for account in ("a", "b", "c"):
        for _ in range(3):
            sms, due = [new_sms(n) for n in range(1, 31)], [new_report() for _ in range(50)]
            await store.admit(new_order(*sms, mail=new_mail(account=account), reports=due))
    if isinstance(store._database, PostgresDatabase):  # autovacuum does; on SQLite nobody keeps statistics
        await change(store, "ANALYZE")
    return store


async def plan(store: Store, query: sa.Select[Any]) -> str:
    def ask(connection: sa.Connection) -> str:
        explain = "EXPLAIN QUERY PLAN" if connection.dialect.name == "sqlite" else "EXPLAIN"
        statement = query.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
        return "\n".join(str(line[-1]) for line in connection.exec_driver_sql(f"{explain} {statement}"))

    return await store._database.read(ask)


async def plan_by_keys(store: Store, query: Question | Repeated | sa.Select[Any] | sa.Delete, **wanted: object) -> str:
    """The plan of a query for keys, in a table so small that all of it would be read if it could be."""

    def ask(connection: sa.Connection) -> str:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        explain = "EXPLAIN QUERY PLAN" if connection.dialect.name == "sqlite" else "EXPLAIN"
        statement = query.statement if isinstance(query, Question | Repeated) else query
        found = statement.compile(dialect=connection.dialect).construct_expanded_state(wanted)
        plain = {name: key.value if isinstance(key, Enum) else key for name, key in found.parameters.items()}
        keys = plain if found.positiontup is None else tuple(plain[name] for name in found.positiontup)
        return "\n".join(str(line[-1]) for line in connection.exec_driver_sql(f"{explain} {found.statement}", keys))

    return await store._database.read(ask)


async def assert_uses(store: Store, query: sa.Select[Any], *indexes: str) -> None:
    text = await plan(store, query)
    for index in indexes:
        assert re.search(index, text), text
    # SQLite says SCAN for reading an index from end to end too: fine for the partial ones, which hold little
    assert not re.search(r"Seq Scan on (sms|report)|SCAN (sms|report|near)(?! USING (COVERING )?INDEX ix_)", text), text


async def test_the_oldest_of_a_lane_is_read_from_its_index_in_order(full_store: Store) -> None:
    query = claims.lane_query("b", START).limit(1)

    await assert_uses(full_store, query, "ix_sms_lane")
    assert not re.search("SORT|Sort|TEMP B-TREE", await plan(full_store, query))


async def test_a_batch_is_looked_for_near_the_oldest(full_store: Store) -> None:
    query = sa.select(tables.sms).where(tables.sms.c.account == "b").limit(1)
    oldest = await full_store._database.read(lambda connection: dict(connection.execute(query).mappings().one()))

    await assert_uses(full_store, claims.batch_query(oldest, CLAIM), "ix_sms_lane")


async def test_lanes_are_found_by_hopping(full_store: Store) -> None:
    assert await full_store.due_lanes(START) == ("a", "b", "c")
    await assert_uses(full_store, claims.due_lanes_query(START), "ix_sms_lane")


async def test_lost_uncertain_and_expired_are_found_by_their_indexes(full_store: Store) -> None:
    await assert_uses(full_store, watch.sending_query(10), "ix_sms_(lease|open)")
    await assert_uses(full_store, watch.uncertain_query(LATER, 10), "ix_sms_open")
    await assert_uses(full_store, watch.expired_query(START, 10), "ix_sms_expiry")


async def test_rows_of_a_time_to_come_are_found_by_their_indexes(full_store: Store) -> None:
    await assert_uses(full_store, stepping.future_sms_query(START, 10), "ix_sms_open")
    await assert_uses(full_store, stepping.future_reports_query(START, 10), "ix_report_open")


async def test_reports_are_found_by_their_indexes(full_store: Store) -> None:
    await assert_uses(full_store, reports.sending_query(10), "ix_report_(lease|open)")
    await assert_uses(full_store, reports.due_reports_query(START, 10), "ix_report_due")


async def test_the_next_due_is_found_by_its_indexes(full_store: Store) -> None:
    queries = (watch.next_due_query(START), watch.next_report_due_query(START))
    for query, index in zip(queries, ("ix_sms_due", "ix_report_due"), strict=True):
        await assert_uses(full_store, query, index)


async def test_the_backlog_is_counted_in_its_indexes(full_store: Store) -> None:
    for state in SMS_OPEN:
        assert "ix_sms_" in await plan_by_keys(full_store, watch.backlog_query(tables.sms, state))
    for report_state in REPORT_OPEN:
        assert "ix_report_" in await plan_by_keys(full_store, watch.backlog_query(tables.report, report_state))


async def test_the_waiting_are_counted_in_their_index(full_store: Store) -> None:
    assert re.search("ix_sms_(due|lane)", await plan_by_keys(full_store, watch.waiting_query(50)))


async def test_the_answers_of_an_envoi_are_found_by_it(full_store: Store) -> None:
    envoi = EnvoiId((await rows(full_store, tables.envoi))[0]["id"])

    answers = await plan_by_keys(full_store, staging.ANSWERS, ids=[envoi])
    unanswered = await plan_by_keys(full_store, staging.INCOMPLETE, ids=[envoi], states=SMS_UNANSWERED)
    for text in (answers, unanswered):
        assert re.search(r"uq_sms_envoi_id|autoindex_sms_\d \(envoi_id=", text), text


async def test_silence_and_questions_are_found_by_their_indexes(full_store: Store) -> None:
    await assert_uses(full_store, watch.unheard_query(LATER, 10), "ix_sms_open")
    asked = await plan_by_keys(full_store, inquiries.due_query("carrier", LATER, 10))
    assert "ix_sms_ask" in asked, asked


async def test_a_word_finds_its_sms_by_its_keys(full_store: Store) -> None:
    by_tracker = await plan_by_keys(full_store, receipts.tracker_query(["T1", "T2"]))
    by_ref = await plan_by_keys(full_store, receipts.ref_query("carrier", ["77", "78"]))

    assert re.search("uq_sms_tracker|autoindex_sms_3", by_tracker), by_tracker
    assert "ix_sms_ref" in by_ref, by_ref


async def test_what_was_here_before_is_found_by_its_keys(full_store: Store) -> None:
    order = new_order()
    mails = await plan_by_keys(full_store, admission.KNOWN_MAILS, ids=[order.mail.id], fingerprints=[b"1", b"2"])
    used = await plan_by_keys(full_store, admission.USED_IDS, account="acme", ids=["12", "13"])

    assert re.search("pk_mail|autoindex_mail_1", mails), mails
    assert re.search("uq_mail_fingerprint|autoindex_mail_2", mails), mails
    assert re.search("pk_email_id|autoindex_email_id_1", used), used
    refused = await plan_by_keys(full_store, admission.refused_query([order]))
    assert re.search(r"uq_sms_envoi_id|autoindex_sms_\d \(envoi_id=", refused), refused
    balances = await plan_by_keys(full_store, credit.BALANCES, accounts=["acme", "other"])
    assert re.search("pk_credit|autoindex_credit_1", balances), balances


async def test_quotas_are_asked_by_their_keys(full_store: Store) -> None:
    wanted = {"account": "a", "quota": "recipient/hour/sms", "subjects": ["+33600000001", "+3361"]}
    used = await plan_by_keys(full_store, quotas.USED, now=START, **wanted)
    overruns = await plan_by_keys(full_store, quotas.OVERRUNS, **wanted)

    assert re.search(r"pk_quota_use|autoindex_quota_use_1 \(account=\? AND quota=\? AND subject=\?\)", used), used
    assert re.search(r"pk_quota_overrun|autoindex_quota_overrun_1 \(account=\? AND quota", overruns), overruns


async def test_what_no_longer_counts_is_found_by_its_index(full_store: Store) -> None:
    plans = [await plan_by_keys(full_store, query) for query in (quotas.over_query(START), quotas.forget_query(START))]

    assert ["ix_quota_use_end" in one for one in plans] == [True, True], plans


async def test_the_stop_list_is_asked_by_its_key(full_store: Store) -> None:
    listed = await plan_by_keys(full_store, optouts.LISTED, accounts=["a", "*"], numbers=["+33600000001", "+3361"])

    assert re.search(r"pk_optout|autoindex_optout_1 \(account=\? AND msisdn=\?\)", listed), listed


async def test_what_waits_for_a_number_and_what_a_reply_answers_are_found_by_the_number(full_store: Store) -> None:
    for query in (
        stopping.waiting_query("a", ["+33600000001", "+33600000002"], (), 50),
        stopping.waiting_query("*", ["+33600000001"], ("b",), 50),
        replies.last_sent_query("+33600000001", "carrier", START),
    ):
        await assert_uses(full_store, query, "ix_sms_msisdn")


async def test_claimed_rows_are_found_by_their_ids(full_store: Store) -> None:
    queued = sa.select(tables.sms.c.id).where(tables.sms.c.state == SmsState.QUEUED).limit(1)
    sms = await full_store._database.read(lambda connection: connection.scalar(queued))
    taken = {"b_id": sms, "b_now": START, "b_since_at": START, "b_lease_until": LATER, "b_provider": "carrier"}

    assert "ix_sms_" not in await plan_by_keys(full_store, claims.TAKE, **taken)
    assert "ix_report_" not in await plan_by_keys(full_store, reports.CLAIM, **taken)


async def test_what_is_to_be_purged_is_found_by_its_age(full_store: Store) -> None:
    await assert_uses(full_store, purging.contents_query(LATER, 10), "ix_mail_contents|Seq Scan on mail")
    await assert_uses(full_store, purging.records_query(LATER, 10), "ix_mail_purged|Seq Scan on mail")
    await assert_uses(full_store, purging.refusals_query(LATER, 10), "ix_refusal_age|Seq Scan on refusal")
    await assert_uses(full_store, purging.refused_reports_query(LATER, 10), "ix_report_refusal|Seq Scan on report")


async def test_who_waits_is_found_by_the_indexes(full_store: Store) -> None:
    await assert_uses(full_store, waits.lanes_query(), "ix_sms_lane")
    await assert_uses(full_store, waits.reports_query(), "ix_report_(due|open|lease)")
    for state in waits.AT_CARRIERS:
        assert "ix_sms_" in await plan_by_keys(full_store, waits.carriers_query(state))
    lane = await plan_by_keys(full_store, waits.lane_query("b", START, 10))

    assert "ix_sms_lane" in lane
