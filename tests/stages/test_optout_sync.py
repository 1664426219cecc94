"""docs/protocol.md §5.6: carriers with lists of their own are told what changed on ours."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from gateway.carrier import Carrier
from gateway.optout_sync import OptOutSync
from gateway.providers.base import Untold
from gateway.store import tables
from gateway.store.stoplist import OptOut, OptOutSource
from gateway.store.two_way import CarrierOptOut, StopRules
from gateway.worker import Bell, Crew
from tests.stages.rig import DEADLINE_S, FakeCarrier, WatchedStore
from tests.store.samples import NotMaker, row, rows
from tests.support.clock import START, ManualClock

RULES = StopRules(users={"carrier": frozenset({"acme"})})
Answer = Callable[[], Awaitable[Untold | None]]


async def succeed() -> Untold | None:
    return None


async def refuse() -> Untold | None:
    return Untold(reason="code 9")


async def fail() -> Untold | None:
    raise LookupError


class Keeper(FakeCarrier):
    """A carrier that keeps a list; each call takes the next answer of the script, then `otherwise`."""

    def __init__(self, name: str = "carrier") -> None:
        super().__init__(name)
        self.answers: deque[Answer] = deque()
        self.otherwise: Answer = succeed
        self.calls: list[tuple[str, str]] = []

    async def add_optout(self, msisdn: str) -> Untold | None:
        return await self._answer("add", msisdn)

    async def remove_optout(self, msisdn: str) -> Untold | None:
        return await self._answer("remove", msisdn)

    async def list_optouts(self) -> Sequence[str] | Untold:
        return Untold(reason="not asked")

    async def _answer(self, verb: str, msisdn: str) -> Untold | None:
        self.calls.append((verb, msisdn[-2:]))
        answer = self.answers.popleft() if self.answers else self.otherwise
        return await answer()


class Rig:
    """The stage on a real store, and what it settled."""

    def __init__(self, store: WatchedStore, clock: ManualClock, *carriers: FakeCarrier, timeout_s: float = 30) -> None:
        self.store, self.clock, self.bell = store, clock, Bell()
        self.settled: list[CarrierOptOut] = []
        self._settle = store.settle_told
        store.settle_told = self.settle_told  # type: ignore[method-assign] # to know when
        self._changed = asyncio.Condition()
        self.sync = OptOutSync(
            store=store,
            clock=clock,
            carriers=lambda: {one.name: Carrier(provider=one, timeout_s=timeout_s, width=1) for one in carriers},
            syncing=lambda: tuple(one.name for one in carriers),
            bell=self.bell,
        )

    async def settle_told(self, told: CarrierOptOut, **values: object) -> bool:
        is_settled = await self._settle(told, **values)  # type: ignore[arg-type]
        self.settled.append(told)
        async with self._changed:
            self._changed.notify_all()
        return is_settled

    async def wait_for(self, count: int) -> None:
        async with asyncio.timeout(DEADLINE_S), self._changed:
            await self._changed.wait_for(lambda: len(self.settled) >= count)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.timeout(2 * DEADLINE_S), asyncio.TaskGroup() as group:
            group.create_task(self.sync.run())
            yield
            self.sync.stop()

    async def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.bell.ring()

    async def stop_numbers(self, *numbers: int) -> None:
        entries = [
            OptOut(account="acme", msisdn=f"+336000000{one:02}", since_at=START, source=OptOutSource.OPERATOR)
            for one in numbers
        ]
        await self.store.stop(entries, RULES, START, NotMaker())
        self.bell.ring()

    async def due(self) -> dict[str, object]:
        found = await rows(self.store, tables.carrier_optout)
        return {one["msisdn"][-2:]: one["due_at"] for one in found}


async def test_what_goes_on_the_list_and_off_it_is_told(store: WatchedStore, clock: ManualClock) -> None:
    keeper = Keeper()
    rig = Rig(store, clock, keeper)
    async with rig.running():
        await rig.stop_numbers(1, 2)
        await rig.wait_for(2)
        await store.lift_stop("+33600000001", None, RULES, START)
        rig.bell.ring()
        await rig.wait_for(3)

    assert keeper.calls == [("add", "01"), ("add", "02"), ("remove", "01")]
    assert await rig.due() == {"01": None, "02": None}


@pytest.mark.parametrize("answer", [refuse, fail])
async def test_what_a_carrier_will_not_take_waits_and_delays_no_other(
    store: WatchedStore, clock: ManualClock, answer: Answer
) -> None:
    keeper = Keeper()
    keeper.answers.append(answer)
    rig = Rig(store, clock, keeper)
    with capture_logs() as lines:
        async with rig.running():
            await rig.stop_numbers(1, 2)
            await rig.wait_for(2)
            first = await rig.due()
            await rig.pass_time(120)
            await rig.wait_for(3)
    (untold,) = [line for line in lines if line["event"] == "optout_untold"]

    assert keeper.calls == [("add", "01"), ("add", "02"), ("add", "01")]
    assert isinstance(first["01"], type(START))
    assert timedelta(seconds=60) <= first["01"] - START <= timedelta(seconds=75)
    assert (untold["log_level"], untold["msisdn"], untold["attempt"]) == ("warning", "+33*****001", 1)
    assert await rig.due() == {"01": None, "02": None}


async def test_a_carrier_that_is_down_is_left_alone_and_then_asked_with_one(
    store: WatchedStore, clock: ManualClock
) -> None:
    keeper = Keeper()
    keeper.otherwise = refuse
    rig = Rig(store, clock, keeper)
    async with rig.running():
        await rig.stop_numbers(*range(1, 31))
        await rig.wait_for(20)
        calls = len(keeper.calls)
        keeper.otherwise = succeed
        await rig.pass_time(90)
        await rig.wait_for(50)

    assert calls == 5
    assert set((await rig.due()).values()) == {None}


async def test_a_carrier_that_does_not_answer_is_not_waited_for(store: WatchedStore, clock: ManualClock) -> None:
    keeper = Keeper()
    never = asyncio.Event()

    async def stall() -> Untold | None:
        await never.wait()
        return None

    keeper.answers.append(stall)
    rig = Rig(store, clock, keeper, timeout_s=-4.99)  # with the margin of `Carrier`: ten milliseconds
    async with rig.running():
        await rig.stop_numbers(1)
        await rig.wait_for(1)

    assert (await row(store, tables.carrier_optout))["reason"] == "no answer in time"


async def test_a_carrier_without_a_list_is_named_once(store: WatchedStore, clock: ManualClock) -> None:
    rig = Rig(store, clock, FakeCarrier())
    with capture_logs() as lines:
        for _ in range(2):
            await rig.sync._look(Crew())

    assert [(line["event"], line["provider"]) for line in lines] == [("optout_sync_impossible", "carrier")]
