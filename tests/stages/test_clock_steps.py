"""The wall clock is set while SMS and reports wait or are under way: nothing is doubled, nothing waits for long.

A step forward is believed: what is no longer valid by the new time expires, and is told. A step back is put right in
the rows (`Store.pull_in`). Leases go by the monotonic clock alone.
"""

from datetime import timedelta

import pytest
import structlog

from gateway.dispatcher import _LEASE_MARGIN_S
from gateway.lifecycle import Hold, NotSent, SmsEvent, SmsState, Uncertain
from gateway.policy.accounts import OnUnknown
from gateway.store.base import ClaimedSms
from tests.stages.rig import FakeCarrier, Rig, Stall, WatchedStore, always
from tests.store.samples import new_order, new_report, new_sms
from tests.support.accounts import make_account
from tests.support.clock import START, ManualClock

DAYS = 86_400.0
STEPS = (3 * DAYS, -3 * DAYS, 3600.0, -3600.0, -7200.0)
LOST = always(Uncertain(raw="read timeout"))
VALID = START + timedelta(days=30)


async def step(rig: Rig, clock: ManualClock, seconds: float) -> None:
    """Set the clock, as seen by a janitor that knows it from before."""
    await rig.janitor.clean()
    clock.step(seconds)
    await rig.janitor.clean()
    rig.bell.ring()


@pytest.mark.parametrize("seconds", STEPS)
async def test_a_call_under_way_is_not_taken_for_dead(store: WatchedStore, clock: ManualClock, seconds: float) -> None:
    sms, carrier, stall = new_sms(expires_at=VALID), FakeCarrier(), Stall()
    carrier.script.append(stall)
    rig = Rig(store, clock, carrier, accounts=[make_account(on_unknown=OnUnknown.RESEND)])
    async with rig.running():
        await rig.submit(sms)
        await carrier.wait_for_calls(1)
        await step(rig, clock, seconds)
        stall.go_on.set()
        await store.wait_for_moves(1)
        await rig.pass_time(1000)
        await rig.janitor.clean()
        await rig.settle_down()

    assert store.events == [SmsEvent.TAKEN]
    assert carrier.sent == [sms.id]


@pytest.mark.parametrize("seconds", STEPS)
async def test_a_call_of_another_node_is_not_taken_for_dead(
    store: WatchedStore, clock: ManualClock, seconds: float
) -> None:
    rig = Rig(store, clock, FakeCarrier())
    await rig.submit(new_sms(expires_at=VALID))
    (sms,) = await claim_elsewhere(store)
    await step(rig, clock, seconds)

    assert (await store.sending_sms(10))[0].id == sms.id

    clock.advance(70)
    await rig.janitor.clean()

    assert store.events == [SmsEvent.LOST]


async def claim_elsewhere(store: WatchedStore) -> tuple[ClaimedSms, ...]:
    return await store.claim_sms(
        lane="masociete", provider="carrier", now=START, lease_until=START + timedelta(seconds=70), limit=50
    )


@pytest.mark.parametrize("seconds", STEPS)
async def test_what_waits_to_be_tried_again_is_tried_within_a_quarter_of_an_hour(
    store: WatchedStore, clock: ManualClock, seconds: float
) -> None:
    sms, carrier = new_sms(expires_at=VALID), FakeCarrier()
    carrier.script.append(always(NotSent(raw="not now", hold=Hold.SMS)))
    rig = Rig(store, clock, carrier)
    async with rig.running():
        await rig.submit(sms)
        await store.wait_for_moves(1)
        await step(rig, clock, seconds)
        await rig.settle_down()  # else the time passes between a claim and its call, and the claim is too old
        await rig.pass_time(900)
        await store.wait_for_moves(2)

    assert store.events == [SmsEvent.NOT_SENT, SmsEvent.TAKEN]


@pytest.mark.parametrize("seconds", STEPS)
async def test_an_unknown_fate_is_told_after_its_window_and_never_sent_again(
    store: WatchedStore, clock: ManualClock, seconds: float
) -> None:
    sms, carrier = new_sms(expires_at=VALID), FakeCarrier()
    carrier.script.append(LOST)
    rig = Rig(store, clock, carrier)
    async with rig.running():
        await rig.submit(sms)
        await store.wait_for_moves(1)
        await step(rig, clock, seconds)
        await rig.pass_time(900)
        await rig.janitor.clean()

    assert store.events == [SmsEvent.LOST, SmsEvent.EXPIRED]
    assert carrier.sent == [sms.id]
    assert len(await store.nots()) == 1


@pytest.mark.parametrize("seconds", STEPS)
async def test_a_report_that_is_due_stays_due(store: WatchedStore, clock: ManualClock, seconds: float) -> None:
    rig, report = Rig(store, clock, FakeCarrier()), new_report()
    await store.admit(new_order(reports=[report]))
    await step(rig, clock, seconds)
    claimed = await store.claim_reports(now=clock.now(), lease_until=clock.now() + timedelta(minutes=9), limit=1)
    await step(rig, clock, -seconds)

    assert [one.id for one in claimed] == [report.id]
    assert [one.id for one in await store.sending_reports(1)] == [report.id]


async def test_what_is_too_old_by_the_new_time_expires_once(store: WatchedStore, clock: ManualClock) -> None:
    sms, carrier = new_sms(due_at=START + timedelta(hours=1)), FakeCarrier()
    rig = Rig(store, clock, carrier)
    async with rig.running():
        await rig.submit(sms)
        await step(rig, clock, 3 * DAYS)
        await step(rig, clock, -3 * DAYS)
        await rig.settle_down()

    assert store.events == [SmsEvent.EXPIRED]
    assert (carrier.sent, len(await store.nots())) == ([], 1)


async def test_a_node_that_stood_still_after_its_claim_does_not_call(store: WatchedStore, clock: ManualClock) -> None:
    sms, carrier = new_sms(expires_at=VALID), FakeCarrier()
    rig = Rig(store, clock, carrier)

    def stand_still(_claimed: object) -> None:
        store.after_claim = lambda _claimed: None
        clock.advance(_LEASE_MARGIN_S + 1)

    store.after_claim = stand_still
    with structlog.testing.capture_logs() as lines:
        async with rig.running():
            await rig.submit(sms)
            await store.wait_for_moves(2)

    assert store.events == [SmsEvent.POSTPONED, SmsEvent.TAKEN]
    assert carrier.sent == [sms.id]
    assert [line["put_back"] for line in lines if line["event"] == "claim_too_old"] == [1]


async def test_a_node_that_stood_still_while_another_gave_its_sms_up_does_not_call(
    store: WatchedStore, clock: ManualClock
) -> None:
    sms, carrier = new_sms(expires_at=VALID), FakeCarrier()
    rig, elsewhere = Rig(store, clock, carrier), Rig(store, clock, FakeCarrier())

    async def stand_still() -> None:
        await elsewhere.janitor.clean()
        clock.advance(200)
        await elsewhere.janitor.clean()

    real = rig.dispatcher._claim

    async def claim_and_stand_still(*arguments: object, **named: object) -> tuple[ClaimedSms, ...]:
        claimed = await real(*arguments, **named)  # type: ignore[arg-type]
        if claimed:
            await stand_still()
        return claimed

    rig.dispatcher._claim = claim_and_stand_still  # type: ignore[method-assign]
    async with rig.running():
        await rig.submit(sms)
        await store.wait_for_moves(1)
        await rig.settle_down()

    assert (carrier.sent, (await store.sms(sms))["state"]) == ([], SmsState.UNCERTAIN)


async def test_a_step_of_the_clock_is_told_and_a_second_is_not(store: WatchedStore, clock: ManualClock) -> None:
    rig = Rig(store, clock, FakeCarrier())
    with structlog.testing.capture_logs() as lines:
        await step(rig, clock, 3 * DAYS)
        await step(rig, clock, 1)
        clock.advance(9999)
        await step(rig, clock, -7200)

    assert [line["step_s"] for line in lines if line["event"] == "clock_stepped"] == [259_200, -7200]
