"""How much is risked with a carrier that has not answered yet."""

import asyncio

import pytest

from gateway.exposure import FIRST, QUIET_S, Exposure
from gateway.lifecycle import SmsEvent, Uncertain
from gateway.policy.accounts import Account
from tests.stages.rig import FakeCarrier, Rig, Stall, WatchedStore, always
from tests.store.samples import new_sms
from tests.support.accounts import make_account
from tests.support.clock import ManualClock


def account_number(number: int) -> Account:
    return make_account(name=f"a{number}", keyid=str(number) * 20)


def test_it_begins_with_few_and_doubles_with_each_answer(clock: ManualClock) -> None:
    exposure, rooms = Exposure(clock), []
    for _ in range(4):
        rooms.append(exposure.room)
        with exposure.of(exposure.room):
            exposure.hear()

    assert rooms == [FIRST, 2 * FIRST, 4 * FIRST, 8 * FIRST]


def test_what_is_under_way_and_what_was_lost_takes_room_until_an_answer(clock: ManualClock) -> None:
    exposure = Exposure(clock)
    with exposure.of(2):
        assert exposure.room == FIRST - 2
    exposure.lose(2)
    with exposure.of(3) as share:
        share.shrink(1)

        assert exposure.room == FIRST - 3
        exposure.lose(FIRST)
        assert exposure.room == 0
        exposure.hear()
        assert exposure.room == 2 * FIRST - 1


def test_a_loss_and_a_long_silence_begin_it_anew(clock: ManualClock) -> None:
    exposure = Exposure(clock)
    for _ in range(10):
        exposure.hear()
    grown = exposure.room
    exposure.lose(1)
    exposure.hear()

    assert (grown, exposure.room) == (FIRST * 2**10, FIRST * 2)
    exposure.hear()
    clock.advance(QUIET_S + 1)
    assert exposure.room == FIRST


@pytest.mark.parametrize("accounts", [1, 3])
async def test_a_black_hole_costs_few_unknown_fates_whatever_the_size_of_a_batch(
    store: WatchedStore, clock: ManualClock, accounts: int
) -> None:
    carrier = FakeCarrier(batch_size=50)
    carrier.default = always(Uncertain(raw="nothing came back"))
    rig = Rig(store, clock, carrier, accounts=[account_number(number) for number in range(accounts)])
    async with rig.running():
        for number in range(accounts):
            await rig.submit(*[new_sms(position) for position in range(1, 41)], account=f"a{number}")
        await store.wait_for_moves(FIRST)
        await rig.settle_down()

    assert (len(carrier.sent), store.events) == (FIRST, [SmsEvent.LOST] * FIRST)


async def test_who_was_turned_away_goes_when_the_answer_comes(store: WatchedStore, clock: ManualClock) -> None:
    carrier, stall = FakeCarrier(batch_size=50), Stall()
    carrier.script.append(stall)
    rig = Rig(store, clock, carrier, accounts=[account_number(0), account_number(1)])
    async with rig.running():
        await rig.submit(*[new_sms(position) for position in range(1, FIRST + 1)], account="a0")
        await carrier.wait_for_calls(1)
        other = new_sms(1)
        await rig.submit(other, account="a1")
        async with asyncio.timeout(5):
            while not rig.dispatcher._links["carrier"].is_waited_for:  # noqa: ASYNC110 no event for this
                await asyncio.sleep(0)

        assert len(carrier.batches) == 1

        stall.go_on.set()
        await store.wait_for_moves(FIRST + 1)

    assert carrier.sent[FIRST:] == [other.id]
