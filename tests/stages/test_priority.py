"""Who goes first at a busy carrier: the account's class, then the order of waiting; and nobody starves."""

import asyncio
from collections.abc import Sequence

import pytest

from gateway.lifecycle import Accepted, SmsEvent, Verdict
from gateway.policy.accounts import Account
from gateway.providers.base import Batch
from tests.stages.rig import FakeCarrier, Rig, Stall, WatchedStore
from tests.store.samples import new_mail, new_order, new_sms
from tests.support.accounts import make_account
from tests.support.clock import ManualClock

WIDTH = 2


def account(name: str, priority: str) -> Account:
    return make_account(name=name, keyid=name.ljust(20, "."), priority=priority)


class SlowCarrier(FakeCarrier):
    """Takes its time with every call, and notes whose each was; while it is shut, it answers none."""

    def __init__(self, call_s: float) -> None:
        super().__init__()
        self.default = self._take_time
        self._call_s = call_s
        self.open = asyncio.Event()
        self.open.set()

    async def _take_time(self, batch: Batch) -> Sequence[Verdict]:
        await asyncio.sleep(self._call_s)
        await self.open.wait()
        return [Accepted(raw="ok")] * len(batch.messages)

    @property
    def keys(self) -> list[str]:
        """The key of each call, in order."""
        return [batch.options.account_key.rstrip(".") for batch in self.batches]


async def submit_bulk(rig: Rig, names: Sequence[str], count: int) -> None:
    for name in names:
        await rig.submit(*[new_sms(position) for position in range(1, count + 1)], account=name)


@pytest.mark.slow
async def test_an_alert_overtakes_two_thousand_bulk_sms_within_one_call(
    store: WatchedStore, clock: ManualClock
) -> None:
    names = [f"bulk{number}" for number in range(4)]
    carrier = SlowCarrier(0.02)
    rig = Rig(
        store,
        clock,
        carrier,
        accounts=[*(account(name, "bulk") for name in names), account("fire", "alert")],
        width=WIDTH,
    )
    async with rig.running():
        await submit_bulk(rig, names, 500)
        await carrier.wait_for_calls(10)
        carrier.open.clear()  # storing the alert takes a while, in which the mailings would end on a slow machine
        await store.admit(new_order(new_sms(), mail=new_mail(account="fire"), reports=()))
        begun = len(carrier.batches)
        rig.dispatcher.notice("fire")
        carrier.open.set()
        batches = list(await carrier.wait_for_calls(begun + WIDTH + 1))
        place = carrier.keys.index("fire")

    assert place - begun < WIDTH  # those that had been given their turn may still begin
    assert sum(len(batch.messages) for batch in batches) < 1_000  # half of the mailings, or more, is still to come


@pytest.mark.slow
async def test_bulk_goes_on_under_constant_alerts(store: WatchedStore, clock: ManualClock) -> None:
    names, first = ["fire0", "fire1", "fire2"], Stall()
    carrier = SlowCarrier(0.001)
    carrier.batch_size = 1
    carrier.script.append(first)
    accounts = [*(account(name, "alert") for name in names), account("bulk", "bulk"), account("plain", "normal")]
    rig = Rig(store, clock, carrier, accounts=accounts, width=1)
    async with rig.running():
        await submit_bulk(rig, ["bulk", "plain"], 2)
        await submit_bulk(rig, names, 6)
        await carrier.wait_for_calls(1)
        first.go_on.set()
        await store.wait_for_moves(22)

    places = [index for index, key in enumerate(carrier.keys) if not key.startswith("fire")]
    assert all(place <= 6 * number for number, place in enumerate(places, 1)), places  # every fifth turn is theirs,
    assert places[-1] > 12, places  # and no more while there are alerts


async def test_accounts_of_one_class_take_turns_as_before(store: WatchedStore, clock: ManualClock) -> None:
    carrier = SlowCarrier(0.001)
    carrier.batch_size = 1
    rig = Rig(store, clock, carrier, accounts=[account("one", "bulk"), account("two", "bulk")], width=1)
    async with rig.running():
        await submit_bulk(rig, ["one", "two"], 10)
        await store.wait_for_moves(20)

    last_of_one = max(index for index, key in enumerate(carrier.keys) if key == "one")
    assert "two" in carrier.keys[: last_of_one // 2]


async def test_within_an_account_the_order_of_commits_is_kept(store: WatchedStore, clock: ManualClock) -> None:
    carrier = SlowCarrier(0.001)
    rig = Rig(store, clock, carrier, accounts=[account("fire", "alert")], width=1, calls_per_account=1)
    big, small = [new_sms(position) for position in range(1, 151)], new_sms()
    async with rig.running():
        await rig.submit(*big, account="fire")
        await rig.submit(small, account="fire")
        await store.wait_for_moves(151)

    assert carrier.sent == [sms.id for sms in (*big, small)]


async def test_a_class_that_is_changed_by_a_reload_holds_from_the_next_turn(
    store: WatchedStore, clock: ManualClock
) -> None:
    carrier, first = SlowCarrier(0.001), Stall()
    carrier.batch_size = 1
    carrier.script.append(first)
    rig = Rig(store, clock, carrier, accounts=[account("one", "bulk"), account("two", "bulk")], width=1)
    async with rig.running():
        await submit_bulk(rig, ["one", "two"], 8)
        await carrier.wait_for_calls(1)
        rig.accounts = type(rig.accounts)([account("one", "bulk"), account("two", "alert")])
        await rig.dispatcher.reconfigure(rig.accounts, {"carrier": rig.dispatcher._links["carrier"].carrier})
        first.go_on.set()
        await store.wait_for_moves(16)

    assert carrier.keys[:12].count("two") == 8


async def test_a_dead_provider_of_an_alert_account_delays_no_other(store: WatchedStore, clock: ManualClock) -> None:
    dead, alive, stall = FakeCarrier("dead"), FakeCarrier("alive"), Stall()
    dead.default = stall
    accounts = [
        make_account(name="fire", keyid="1" * 20, providers=("dead",), priority="alert"),
        make_account(name="bulk", keyid="2" * 20, providers=("alive",), priority="bulk"),
    ]
    rig = Rig(store, clock, dead, alive, accounts=accounts, width=1)
    async with rig.running():
        await rig.submit(*[new_sms(position) for position in range(1, 200)], account="fire")
        await dead.wait_for_calls(1)
        await rig.submit(*[new_sms(position) for position in range(1, 200)], account="bulk")
        moves = list(await store.wait_for_moves(199))
        stall.go_on.set()

    assert moves == [SmsEvent.TAKEN] * 199
