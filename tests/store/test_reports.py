"""Store.claim_reports, settle_reports, sending_reports and recover_reports."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from gateway.lifecycle import REPORT_MOVES, ReportEvent, ReportId, ReportState
from gateway.store import Store, tables
from gateway.store.outgoing import ClaimedReport, ReportSettlement, SendingReport
from tests.store.samples import LATER, LEASE, claim_reports, new_order, new_report, row, rows
from tests.support.clock import START


def report_settlement(report: ClaimedReport, event: ReportEvent, *, later: bool = False) -> ReportSettlement:
    return ReportSettlement(
        report_id=report.id, epoch=report.epoch, event=event, due_at=LATER if later else None, reason="250 2.0.0 ok"
    )


async def test_a_claim_takes_the_oldest_that_are_due(store: Store) -> None:
    reports = [
        new_report(due_at=START - timedelta(seconds=1)),
        new_report(due_at=START - timedelta(seconds=5)),
        new_report(due_at=LATER),
        new_report(),
    ]
    await store.admit(new_order(reports=reports))
    first, second = await claim_reports(store, limit=2)

    assert first == ClaimedReport(
        id=reports[1].id,
        epoch=1,
        attempt=1,
        kind=reports[1].kind,
        recipient="ops@acme.example",
        message_id=reports[1].message_id,
        in_reply_to="<m@acme.example>",
        body=b"<etatAck/>",
        created_at=START,
        expires_at=START + timedelta(days=2),
    )
    assert second.id == reports[0].id
    assert [report.id for report in await claim_reports(store)] == [reports[3].id]
    assert await claim_reports(store) == []


async def test_a_report_that_was_taken_is_sent(store: Store) -> None:
    await store.admit(new_order())
    (report,) = await claim_reports(store)

    assert await store.settle_reports([report_settlement(report, ReportEvent.TAKEN)], LATER) == (report.id,)
    stored = await row(store, tables.report)
    assert (stored["state"], stored["settled_at"], stored["lease_until"], stored["reason"]) == (
        ReportState.SENT,
        LATER,
        None,
        "250 2.0.0 ok",
    )


async def test_a_deferred_report_comes_again_with_the_same_message_id(store: Store) -> None:
    await store.admit(new_order())
    (report,) = await claim_reports(store)
    await store.settle_reports([report_settlement(report, ReportEvent.DEFERRED, later=True)], START)

    assert await claim_reports(store) == []
    (again,) = await claim_reports(store, now=LATER)
    assert (again.message_id, again.attempt, again.epoch) == (report.message_id, 2, 2)


async def test_a_report_that_was_not_tried_is_as_if_it_had_not_been_claimed(store: Store) -> None:
    await store.admit(new_order())
    (report,) = await claim_reports(store)
    await store.settle_reports([replace(report_settlement(report, ReportEvent.DEFERRED), due_at=START)], START)
    for _ in range(3):
        (claimed,) = await claim_reports(store)
        await store.settle_reports(
            [ReportSettlement(report_id=report.id, epoch=claimed.epoch, event=ReportEvent.POSTPONED, reason="stop")],
            LATER,
        )

    stored = await row(store, tables.report)
    assert (stored["state"], stored["attempts"], stored["epoch"]) == (ReportState.DUE, 1, 4)
    assert (stored["due_at"], stored["lease_until"], stored["reason"]) == (START, None, "250 2.0.0 ok")


async def test_a_report_given_up_is_failed(store: Store) -> None:
    await store.admit(new_order())
    (report,) = await claim_reports(store)
    await store.settle_reports([report_settlement(report, ReportEvent.GIVEN_UP)], START)

    assert (await row(store, tables.report))["state"] is ReportState.FAILED


async def test_second_settle_of_a_report_changes_nothing(store: Store) -> None:
    await store.admit(new_order())
    (report,) = await claim_reports(store)
    await store.settle_reports([report_settlement(report, ReportEvent.TAKEN)], START)

    assert await store.settle_reports([report_settlement(report, ReportEvent.GIVEN_UP)], LATER) == ()
    assert (await row(store, tables.report))["state"] is ReportState.SENT


async def test_a_mailer_that_wakes_too_late_moves_nothing(store: Store, other: Store) -> None:
    await store.admit(new_order())
    (early,) = await claim_reports(store)

    lost = await other.sending_reports(10)
    assert lost == (SendingReport(id=early.id, epoch=1, lease=LEASE - START),)
    assert await other.recover_reports([replace(lost[0], epoch=2)], LEASE) == ()
    assert await other.recover_reports(lost, LEASE) == (early.id,)
    (late,) = await claim_reports(other, now=LEASE)
    assert await store.settle_reports([report_settlement(early, ReportEvent.GIVEN_UP)], LEASE) == ()
    assert await other.settle_reports([report_settlement(late, ReportEvent.TAKEN)], LEASE) == (late.id,)


async def test_two_nodes_never_claim_the_same_report(store: Store, other: Store) -> None:
    await store.admit(new_order(reports=[new_report() for _ in range(60)]))
    claimed: list[ReportId] = []

    async def work(node: Store) -> None:
        while batch := await claim_reports(node, limit=7):
            claimed.extend(report.id for report in batch)

    async with asyncio.TaskGroup() as group:
        for node in (store, other, store, other):
            group.create_task(work(node))
    claimed.extend(report.id for report in await claim_reports(store))

    assert len(claimed) == 60
    assert len(set(claimed)) == 60


@pytest.mark.parametrize(
    "event",
    [event for event in ReportEvent if event not in REPORT_MOVES[ReportState.SENDING]] + [ReportEvent.DEFERRED],
)
async def test_a_move_of_a_report_that_the_lifecycle_does_not_know_is_an_error(
    sqlite_store: Store, event: ReportEvent
) -> None:
    with pytest.raises(ValueError, match=r"move|due_at"):
        await sqlite_store.settle_reports([ReportSettlement(report_id=ReportId("R"), epoch=1, event=event)], START)

    assert await rows(sqlite_store, tables.report) == []


async def test_one_report_twice_at_once_is_an_error(sqlite_store: Store) -> None:
    await sqlite_store.admit(new_order())
    (report,) = await claim_reports(sqlite_store)
    with pytest.raises(ValueError, match="twice"):
        await sqlite_store.settle_reports([report_settlement(report, ReportEvent.TAKEN)] * 2, START)

    assert (await row(sqlite_store, tables.report))["state"] is ReportState.SENDING
