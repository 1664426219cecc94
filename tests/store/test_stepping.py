"""Store.pull_in: what rows say that were written before the clock was set back."""

from datetime import timedelta
from typing import Any

import pytest

from gateway.lifecycle import ReportEvent, SmsEvent, SmsState
from gateway.store import Store, tables
from gateway.store.outgoing import ReportSettlement
from gateway.store.stepping import LONGEST_WAIT, TOLERANCE, PulledIn
from tests.store.samples import (
    NotMaker,
    claim,
    claim_reports,
    new_mail,
    new_order,
    new_report,
    new_sms,
    row,
    rows,
    settlement,
)
from tests.support.clock import START

STEP = timedelta(days=3)
BACK = START - STEP
VALID = timedelta(days=1)


async def admit_one(store: Store, **fields: Any) -> None:  # noqa: ANN401 of samples
    await store.admit(new_order(new_sms(expires_at=START + VALID, **fields), reports=()))


async def fail_once(store: Store, *, again_in: timedelta) -> None:
    (sms,) = await claim(store)
    not_sent = settlement(sms, SmsEvent.NOT_SENT, due_at=START + again_in)
    await store.settle_sms([not_sent], START, NotMaker())


async def the_sms(store: Store) -> dict[str, Any]:
    return await row(store, tables.sms)


async def test_an_sms_that_was_due_is_due_again(store: Store) -> None:
    await admit_one(store)

    assert await store.pull_in(BACK, 10) == PulledIn(sms=1, reports=0)

    sms = await the_sms(store)

    assert (sms["since_at"], sms["due_at"], sms["expires_at"]) == (BACK, BACK, BACK + VALID)
    assert len(await claim(store, now=BACK)) == 1


async def test_a_wait_goes_on_for_a_quarter_of_an_hour_at_most(store: Store) -> None:
    await admit_one(store)
    await fail_once(store, again_in=timedelta(minutes=5))
    await store.pull_in(BACK, 10)

    assert (await the_sms(store))["due_at"] == BACK + timedelta(minutes=5)

    await claim(store, now=BACK + timedelta(minutes=5))
    await store.settle_sms(
        [settlement((await claim_again(store)), SmsEvent.NOT_SENT, due_at=START + timedelta(hours=1))],
        START,
        NotMaker(),
    )
    await store.pull_in(BACK, 10)

    assert (await the_sms(store))["due_at"] == BACK + LONGEST_WAIT


async def claim_again(store: Store) -> Any:  # noqa: ANN401 what a settlement needs of a claim
    (found,) = await store.sending_sms(10)
    return found


async def test_the_date_that_an_envoi_asks_for_stays(store: Store) -> None:
    await admit_one(store, due_at=START + timedelta(hours=2))
    before = await the_sms(store)

    assert await store.pull_in(BACK, 10) == PulledIn(sms=0, reports=0)
    assert await the_sms(store) == before


async def test_a_call_under_way_keeps_its_claim_and_the_length_of_its_lease(store: Store) -> None:
    await admit_one(store)
    (sms,) = await claim(store)
    (before,) = await store.sending_sms(10)
    await store.pull_in(BACK, 10)
    (after,) = await store.sending_sms(10)
    settled = await store.settle_sms([settlement(sms, SmsEvent.TAKEN)], BACK, NotMaker())

    assert (after.lease, after.epoch, after.since) == (before.lease, before.epoch, BACK)
    assert settled.moved == (sms.id,)


async def test_an_unknown_fate_is_resolved_after_the_window(store: Store) -> None:
    await admit_one(store)
    (sms,) = await claim(store)
    await store.settle_sms([settlement(sms, SmsEvent.LOST)], START, NotMaker())
    await store.pull_in(BACK, 10)

    assert [found.id for found in await store.uncertain_sms(BACK, 10)] == [sms.id]


async def test_a_report_that_was_due_is_due_again_and_a_wait_is_short(store: Store) -> None:
    due, deferred = new_report(), new_report()
    await store.admit(new_order(new_sms(), reports=[due, deferred], mail=new_mail()))
    first, second = await claim_reports(store)
    moves = [
        ReportSettlement(report_id=one.id, epoch=one.epoch, event=ReportEvent.DEFERRED, due_at=START + wait)
        for one, wait in ((first, timedelta(0)), (second, timedelta(hours=1)))
    ]
    await store.settle_reports(moves, START)

    assert (await store.pull_in(BACK, 10)).reports == 2

    found = {report["id"]: report for report in await rows(store, tables.report)}

    assert found[first.id]["due_at"] == BACK
    assert found[second.id]["due_at"] == BACK + LONGEST_WAIT
    assert found[first.id]["expires_at"] == due.expires_at - STEP


async def test_so_many_at_a_time(store: Store) -> None:
    await store.admit(new_order(*(new_sms(n, expires_at=START + VALID) for n in range(1, 6)), reports=()))

    assert [(await store.pull_in(BACK, 2)).sms for _ in range(4)] == [2, 2, 1, 0]


@pytest.mark.parametrize("state", [SmsState.ACCEPTED, SmsState.REFUSED])
async def test_what_has_its_answer_is_left_alone(store: Store, state: SmsState) -> None:
    await admit_one(store)
    (sms,) = await claim(store)
    event = SmsEvent.TAKEN if state is SmsState.ACCEPTED else SmsEvent.REFUSED
    await store.settle_sms([settlement(sms, event)], START, NotMaker())

    assert await store.pull_in(BACK, 10) == PulledIn(sms=0, reports=1)  # the Not


async def test_nodes_that_disagree_by_seconds_leave_each_others_rows_alone(store: Store) -> None:
    await admit_one(store)

    assert await store.pull_in(START - TOLERANCE, 10) == PulledIn(sms=0, reports=0)
