"""What the tests of the stages stand on: a store that tells what moved, a carrier that does as told, the stages."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from gateway.carrier import Carrier
from gateway.dispatcher import Dispatcher, DispatcherSettings
from gateway.janitor import Janitor, JanitorSettings
from gateway.lifecycle import Accepted, ReportEvent, ReportId, SmsEvent, Verdict
from gateway.outcomes import Outcomes
from gateway.policy.accounts import Account, Accounts
from gateway.providers.base import Batch
from gateway.receipts import Receipts
from gateway.reports import ReportRules
from gateway.store import Store, StoreSettings, tables
from gateway.store.base import ClaimedSms, NewSms, RenderNot, Settled, Settlement, lane_of
from gateway.store.database import Database
from gateway.store.outgoing import ReportSettlement
from gateway.store.words import RenderReceipts
from gateway.worker import Bell
from tests.store.samples import new_mail, new_order, row, rows
from tests.support.accounts import make_account
from tests.support.clock import ManualClock

DEADLINE_S = 10.0
RULES = ReportRules(hostname="gw.example.org", validity_s=432_000)


class WatchedStore(Store):
    """The real store; tells who waits what moved, and fails or calls back when told to."""

    def __init__(self, database: Database, settings: StoreSettings) -> None:
        super().__init__(database, settings)
        self.events: list[SmsEvent] = []
        self.report_events: list[ReportEvent] = []
        self.settle_errors: deque[Exception] = deque()
        self.after_claim: Callable[[Sequence[ClaimedSms]], None] = lambda _claimed: None
        self.may_look = asyncio.Event()
        self.may_look.set()
        self.claims = 0
        self.looks = 0
        self._changed = asyncio.Condition()

    async def claim_sms(
        self, *, lane: str, provider: str, now: datetime, lease_until: datetime, limit: int
    ) -> tuple[ClaimedSms, ...]:
        claimed = await super().claim_sms(lane=lane, provider=provider, now=now, lease_until=lease_until, limit=limit)
        self.claims += 1
        if claimed:
            self.after_claim(claimed)
        return claimed

    async def due_lanes(self, now: datetime) -> tuple[str, ...]:
        await self.may_look.wait()
        return await super().due_lanes(now)

    async def next_due_at(self, now: datetime) -> datetime | None:
        instant = await super().next_due_at(now)
        self.looks += 1
        await self._tell()
        return instant

    async def wait_for_look(self) -> None:
        """Return when the dispatcher has looked at the rows once more."""
        looks = self.looks
        await self._wait(lambda: self.looks > looks)

    async def settle_sms(
        self,
        settlements: Sequence[Settlement],
        now: datetime,
        render_not: RenderNot,
        render_receipts: RenderReceipts | None = None,
    ) -> Settled:
        if self.settle_errors:
            raise self.settle_errors.popleft()
        settled = await super().settle_sms(settlements, now, render_not, render_receipts)
        self.events += [one.event for one in settlements if one.sms_id in settled.moved]
        await self._tell()
        return settled

    async def settle_reports(self, settlements: Sequence[ReportSettlement], now: datetime) -> tuple[ReportId, ...]:
        if self.settle_errors:
            raise self.settle_errors.popleft()
        moved = await super().settle_reports(settlements, now)
        self.report_events += [one.event for one in settlements if one.report_id in moved]
        await self._tell()
        return moved

    async def wait_for_moves(self, count: int) -> list[SmsEvent]:
        """Return the moves of SMS once there are `count`."""
        await self._wait(lambda: len(self.events) >= count)
        return self.events

    async def wait_for_report_moves(self, count: int) -> list[ReportEvent]:
        """Return the moves of reports once there are `count`."""
        await self._wait(lambda: len(self.report_events) >= count)
        return self.report_events

    async def _wait(self, is_there: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S), self._changed:
            await self._changed.wait_for(is_there)

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def sms(self, new: NewSms) -> dict[str, Any]:
        """Return the row of an SMS."""
        return await row(self, tables.sms, id=new.id)

    async def attempts(self, new: NewSms) -> list[dict[str, Any]]:
        """Return the attempts of an SMS."""
        return await rows(self, tables.attempt, sms_id=new.id)

    async def nots(self) -> list[dict[str, Any]]:
        """Return the Not reports."""
        return [report for report in await rows(self, tables.report) if report["kind"].value == "not"]


Answer = Callable[[Batch], Awaitable[Sequence[Verdict]]]


def always(verdict: Verdict) -> Answer:
    """Answer every message of the batch with this verdict."""

    async def answer(batch: Batch) -> Sequence[Verdict]:
        return [verdict] * len(batch.messages)

    return answer


accept = always(Accepted(raw="ok", provider_ref="42", parts=1))


class FakeCarrier:
    """A provider that does as it is told: each call takes the next answer of the script, then accepts."""

    def __init__(self, name: str = "carrier", *, batch_size: int = 50) -> None:
        self.name = name
        self.batch_size = batch_size
        self.script: deque[Answer] = deque()
        self.default: Answer = accept
        self.batches: list[Batch] = []
        self.is_closed = False
        self._changed = asyncio.Condition()

    async def submit(self, batch: Batch) -> Sequence[Verdict]:
        assert not self.is_closed
        self.batches.append(batch)
        async with self._changed:
            self._changed.notify_all()
        answer = self.script.popleft() if self.script else self.default
        return await answer(batch)

    async def close(self) -> None:
        self.is_closed = True

    async def wait_for_calls(self, count: int) -> list[Batch]:
        """Return the batches once there are `count`."""
        async with asyncio.timeout(DEADLINE_S), self._changed:
            await self._changed.wait_for(lambda: len(self.batches) >= count)
        return self.batches

    @property
    def sent(self) -> list[str]:
        """The SMS that were handed over, in order."""
        return [message.sms_id for batch in self.batches for message in batch.messages]


class SchedulingCarrier(FakeCarrier):
    """One that waits for a date by itself, up to so far ahead."""

    def __init__(self, name: str = "carrier", *, longest_wait_s: float) -> None:
        super().__init__(name)
        self.longest_wait_s = longest_wait_s


class Stall:
    """An answer that waits until it is let go."""

    def __init__(self, then: Answer = accept) -> None:
        self.go_on = asyncio.Event()
        self._then = then

    async def __call__(self, batch: Batch) -> Sequence[Verdict]:
        await self.go_on.wait()
        return await self._then(batch)


class Rig:
    """The dispatcher and the janitor on a store, with carriers that do as they are told."""

    def __init__(
        self,
        store: WatchedStore,
        clock: ManualClock,
        *carriers: FakeCarrier,
        accounts: Sequence[Account] = (),
        timeout_s: float = 30.0,
        width: int = 4,
        calls_per_account: int = 2,
        can_ask: Callable[[str], bool] = lambda _provider: False,
        rate: float = 0.0,
    ) -> None:
        self.store = store
        self.clock = clock
        self.carriers = {carrier.name: carrier for carrier in carriers}
        self.accounts = Accounts(accounts or [make_account()])
        self.bell, self.mailer_bell = Bell(), Bell()
        self.outcomes = Outcomes(
            store=store,
            clock=clock,
            accounts=lambda: self.accounts,
            rules=RULES,
            mailer_bell=self.mailer_bell,
            dispatcher_bell=self.bell,
            can_ask=can_ask,
        )
        self.receipts = Receipts(
            store=store,
            clock=clock,
            accounts=lambda: self.accounts,
            rules=RULES,
            mailer_bell=self.mailer_bell,
            can_ask=can_ask,
        )
        self.dispatcher = Dispatcher(
            store=store,
            outcomes=self.outcomes,
            clock=clock,
            bell=self.bell,
            accounts=self.accounts,
            carriers=self.as_carriers(timeout_s=timeout_s, width=width, rate=rate),
            settings=DispatcherSettings(poll_s=3600, calls_per_account=calls_per_account),
        )
        self.janitor = Janitor(
            store=store,
            outcomes=self.outcomes,
            clock=clock,
            mailer_bell=self.mailer_bell,
            settings=JanitorSettings(every_s=3600),
            receipts=self.receipts,
        )

    def as_carriers(self, *, timeout_s: float = 30.0, width: int = 4, rate: float = 0.0) -> Mapping[str, Carrier]:
        return {
            name: Carrier(provider=carrier, timeout_s=timeout_s, width=width, rate=rate)
            for name, carrier in self.carriers.items()
        }

    @asynccontextmanager
    async def running(self) -> AsyncIterator["asyncio.Task[None]"]:
        """Run the dispatcher until the end of the block; then it is stopped, and its work has ended."""
        async with asyncio.timeout(2 * DEADLINE_S), asyncio.TaskGroup() as group:
            task = group.create_task(self.dispatcher.run(), name="dispatcher")
            yield task
            self.dispatcher.stop()

    async def submit(self, *sms: NewSms, account: str = "masociete", **fields: Any) -> None:  # noqa: ANN401 of samples
        """Store an envoi and tell the dispatcher, as intake does."""
        await self.store.admit(new_order(*sms, mail=new_mail(account=account), reports=(), **fields))
        for lane in {lane_of(account, one.route) for one in sms}:
            self.dispatcher.notice(lane)

    async def pass_time(self, seconds: float) -> None:
        """Move the clock and let the stages look."""
        self.clock.advance(seconds)
        self.bell.ring()

    async def settle_to_rate(self) -> None:
        """Let everything happen that can before the clock moves, where runners wait for a carrier's rate."""
        async with asyncio.timeout(DEADLINE_S):
            while not all(link.pace is None or link.pace.is_waited_for for link in self.dispatcher._links):  # noqa: ASYNC110
                await asyncio.sleep(0)

    async def settle_down(self) -> None:
        """Let the dispatcher look once more; return when it has nothing left to do."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.store.wait_for_look())
            await asyncio.sleep(0)
            self.bell.ring()
        async with asyncio.timeout(DEADLINE_S):
            while any(lane.runners for lane in self.dispatcher._lanes.values()):  # noqa: ASYNC110 no event for this
                await asyncio.sleep(0)
