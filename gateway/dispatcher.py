"""From rows to carriers: SMS that are due are claimed, looked at again, handed over, and their verdicts recorded.

Promises. The attempt is committed before the call. Whatever becomes of the call is recorded, even if the process is
told to stop in the middle of it. Nothing is sent twice by itself. A big mailing or a dead carrier of one account delays
no other: each account has a lane of its own, with a few calls at a time, and takes its turn at the carrier; where turns
are short, accounts for alerts come before others, and those before bulk, but nobody starves (`turns`). A carrier
that fails is left alone for a while and then asked with one SMS; an account that a carrier turns away waits for an
operator. Nothing polls on the hot path: the bell, a claim, the call.

What is paused is in memory only; rows carry their own `due_at`.

Diagnostics: events `sms_claimed` (info), `provider_paused`, `claim_too_old` (warning), `provider_resumed` (info),
`account_held` and `account_unknown` (error: someone must act).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import assert_never

import structlog
from pydantic import Field

from gateway import exposure
from gateway.carrier import Carrier
from gateway.clock import Clock
from gateway.exposure import Exposure
from gateway.lifecycle import Hold, NotSent, Uncertain, Verdict
from gateway.outcomes import RECORD_S, Attempt, Outcomes, postpone, refuse, stop
from gateway.pauses import PausePoint, pause_at
from gateway.policy.accounts import Account, Accounts, Priority
from gateway.policy.routing import choose_provider
from gateway.policy.window import Go, Refuse, Wait, recheck
from gateway.settings import Seconds, Settings
from gateway.store import Store
from gateway.store.base import ClaimedSms, Settlement
from gateway.turns import Turns
from gateway.worker import Bell, Crew, Gate, Stage, run_to_end

_log = structlog.get_logger(__name__)

_LEASE_MARGIN_S = 30.0
"""What a lease lasts beyond the longest call and the longest try to record it. A call that has not begun so long after
its claim, because the process stood still, does not begin: somebody else may own the SMS by now."""

_PROBE_AFTER_S = 30.0
"""After `exposure.FIRST` lost answers in a row the carrier is asked again after so long."""

_FIRST_PAUSE_S = 5.0
_LONGEST_PAUSE_S = 60.0
"""A carrier that refuses connections is asked again after 5, 10, 20, 40, 60 s."""

_LONGEST_WISH_S = 3600.0
"""A carrier that wants to be left alone for longer is asked again earlier."""


class DispatcherSettings(Settings):
    """How SMS are handed to the carriers."""

    calls_per_account: int = Field(
        default=2, ge=1, le=50, description="Most calls at a time for one account; the others' turns come in between."
    )
    account_hold_s: Seconds = Field(
        default=300,
        description="An account turned away by its carrier (key, credit, address) waits so long, "
        "then one SMS is tried; a reload ends the wait.",
    )
    poll_s: Seconds = Field(
        default=5, description="How often rows are looked for that nobody rang for, such as those of other nodes."
    )


class _Route:
    """A carrier in use: who is inside, and whether it may be asked."""

    def __init__(self, carrier: Carrier, clock: Clock) -> None:
        self.carrier = carrier
        self.name = carrier.provider.name
        self.gate = Gate(clock=clock, first_s=_FIRST_PAUSE_S, longest_s=_LONGEST_PAUSE_S, patience=exposure.FIRST)
        self.exposure = Exposure(clock)
        self.is_waited_for = False  # somebody was turned away who could go when an answer has come
        self.turns = Turns(carrier.width)
        self.users = 0
        self.is_retired = False


@dataclass(slots=True, kw_only=True)
class _Lane:
    """The SMS of one account on their way out."""

    account: str
    gate: Gate
    runners: int = 0
    is_unknown: bool = field(default=False)


class Dispatcher:
    """The stage that sends. `bell` is rung by whoever makes an SMS due; the carriers are closed when it ends."""

    def __init__(
        self,
        *,
        store: Store,
        outcomes: Outcomes,
        clock: Clock,
        bell: Bell,
        accounts: Accounts,
        carriers: Mapping[str, Carrier],
        settings: DispatcherSettings,
    ) -> None:
        self._store = store
        self._outcomes = outcomes
        self._clock = clock
        self._settings = settings
        self._accounts = accounts
        self._routes = {name: _Route(carrier, clock) for name, carrier in carriers.items()}
        self._lanes: dict[str, _Lane] = {}
        self._crew: Crew | None = None  # from the first look on
        self._stage = Stage(name="dispatcher", bell=bell, look=self._look, poll_s=settings.poll_s)

    async def run(self) -> None:
        """Work until stopped; then the carriers are closed."""
        try:
            await self._stage.run()
        finally:
            for route in self._routes.values():
                await route.carrier.provider.close()

    def stop(self) -> None:
        """Nothing more is claimed; calls under way run to their end and are recorded."""
        self._stage.stop()

    async def reconfigure(self, accounts: Accounts, carriers: Mapping[str, Carrier]) -> None:
        """From the next claim on, these accounts and carriers are used; holds are lifted, for somebody has acted.

        A carrier that is not among them any more, as the same object, is closed after its last call.
        """
        self._accounts = accounts
        retired = [route for route in self._routes.values() if carriers.get(route.name) is not route.carrier]
        kept = {route.name: route for route in self._routes.values() if route not in retired}
        self._routes = {name: kept.get(name) or _Route(carrier, self._clock) for name, carrier in carriers.items()}
        for lane in self._lanes.values():
            lane.gate = self._new_lane_gate()
            lane.is_unknown = False
        for route in retired:
            route.is_retired = True
            await self._close_if_unused(route)
        self._stage.bell.ring()

    # --- who may send --------------------------------------------------------------------------------------------

    def notice(self, account: str) -> None:
        """An SMS of this account was just stored: its lane starts at once, without a look at the rows."""
        if self._stage.is_stopping:
            return  # the rows wait for the next start
        if self._crew is None or self._start_runner(self._crew, account) is not None:
            self._stage.bell.ring()

    async def _look(self, crew: Crew) -> float:
        """Start a runner for each lane with something due; return when to look again."""
        self._crew = crew
        now = self._clock.now()
        wait_s = self._settings.poll_s
        for name in await self._store.due_lanes(now):
            lane_wait_s = self._start_runner(crew, name)
            if lane_wait_s is not None:
                wait_s = min(wait_s, lane_wait_s)
        next_due_at = await self._store.next_due_at(now)
        if next_due_at is not None and next_due_at > now:
            wait_s = min(wait_s, (next_due_at - now).total_seconds())
        return wait_s

    def _start_runner(self, crew: Crew, name: str) -> float | None:
        """Start a runner; when the lane cannot have one, return in how many seconds to look again, bell or no bell."""
        lane = self._lanes.setdefault(name, _Lane(account=name, gate=self._new_lane_gate()))
        account = self._accounts.by_name(name)
        if account is None:
            if not lane.is_unknown:
                lane.is_unknown = True
                _log.error("account_unknown", account=name, advice="its SMS wait until they expire")
            return self._settings.poll_s
        if lane.runners >= self._settings.calls_per_account:
            return self._settings.poll_s
        if not lane.gate.is_open:
            return lane.gate.opens_in_s or self._settings.poll_s
        route = self._choose_route(account)
        if route is None:
            return self._soonest_route_s(account)
        lane.runners += 1
        route.users += 1
        crew.start(f"lane:{name}", partial(self._run_lane, lane, route))
        return None

    def _choose_route(self, account: Account) -> _Route | None:
        shut = {name for name in account.providers if name not in self._routes or not self._routes[name].gate.is_open}
        name = choose_provider(account, shut)
        return None if name is None else self._routes[name]

    def _soonest_route_s(self, account: Account) -> float:
        waits = [self._routes[name].gate.opens_in_s for name in account.providers if name in self._routes]
        return min((wait for wait in waits if wait > 0), default=self._settings.poll_s)

    def _new_lane_gate(self) -> Gate:
        return Gate(clock=self._clock, first_s=self._settings.account_hold_s, longest_s=self._settings.account_hold_s)

    # --- one lane ------------------------------------------------------------------------------------------------

    async def _run_lane(self, lane: _Lane, route: _Route) -> None:
        """Send what is due for one account, batch after batch, taking turns with other accounts at the carrier."""
        has_sent = False
        try:
            with structlog.contextvars.bound_contextvars(account=lane.account, provider=route.name):
                is_more = True
                while is_more:
                    async with route.turns.turn(self._rank(lane)):
                        is_more = await self._send_batch(lane, route)
                    has_sent = has_sent or is_more
        finally:
            lane.runners -= 1
            route.users -= 1
            await self._close_if_unused(route)
            if has_sent:
                self._stage.bell.ring()

    def _rank(self, lane: _Lane) -> int:
        account = self._accounts.by_name(lane.account)
        return (Priority.NORMAL if account is None else account.priority).rank

    async def _send_batch(self, lane: _Lane, route: _Route) -> bool:
        """Return whether something was claimed, so that there may be more."""
        if self._stage.is_stopping or route.is_retired or not (lane.gate.is_open and route.gate.is_open):
            return False
        is_probe = lane.gate.is_suspect or route.gate.is_suspect
        lane.gate.enter()
        route.gate.enter()
        try:
            limit = 1 if is_probe else min(route.carrier.batch_size, route.exposure.room)
            if not limit:
                route.is_waited_for = True  # whoever is inside rings when there is an answer
                return False
            return await self._send_share(lane, route, limit)
        finally:
            lane.gate.leave()
            route.gate.leave()

    async def _send_share(self, lane: _Lane, route: _Route, limit: int) -> bool:
        """Send at most so many, for which there is room at the carrier."""
        try:
            with route.exposure.of(limit) as share:
                call_before = self._clock.monotonic() + _LEASE_MARGIN_S
                claimed = await self._claim(lane, route, limit=limit)
                share.shrink(len(claimed))
                if not claimed:
                    return False
                if len(claimed) == limit or route.is_waited_for:
                    self._ring_for_more(route)
                with self._outcomes.under_way(claimed):
                    await self._handle(lane, route, claimed, call_before=call_before)
                return True
        finally:
            if route.is_waited_for:
                self._ring_for_more(route)

    def _ring_for_more(self, route: _Route) -> None:
        """Another runner may find more, or one that was turned away find room."""
        route.is_waited_for = False
        self._stage.bell.ring()

    async def _claim(self, lane: _Lane, route: _Route, *, limit: int) -> tuple[ClaimedSms, ...]:
        now = self._clock.now()
        claimed = await self._store.claim_sms(
            lane=lane.account,
            provider=route.name,
            now=now,
            lease_until=now + timedelta(seconds=route.carrier.deadline_s + RECORD_S + _LEASE_MARGIN_S),
            limit=limit,
        )
        for sms in claimed:
            _log.info("sms_claimed", envoi_id=sms.envoi_id, sms_id=sms.id, attempt=sms.attempt)
        return claimed

    async def _handle(self, lane: _Lane, route: _Route, claimed: Sequence[ClaimedSms], *, call_before: float) -> None:
        """Look again at what was claimed, hand over what may go, put back the rest."""
        account = self._accounts.by_name(lane.account)
        ready, held_back = self._look_again(account, claimed)
        if held_back:
            await self._outcomes.put_back(claimed, held_back)
        if ready and account is not None:
            if self._clock.monotonic() > call_before:
                await self._put_back_late(ready)
            else:
                await self._call(lane, route, account, ready)

    async def _put_back_late(self, claimed: Sequence[ClaimedSms]) -> None:
        """The SMS are queued again, unless another node has taken them for lost meanwhile."""
        now = self._clock.now()
        late = [postpone(sms, until=now, reason="the gateway stood still after the claim") for sms in claimed]
        settled = await self._outcomes.put_back(claimed, late)
        _log.warning("claim_too_old", count=len(claimed), put_back=len(settled.moved))

    def _look_again(
        self, account: Account | None, claimed: Sequence[ClaimedSms]
    ) -> tuple[list[ClaimedSms], list[Settlement]]:
        """Return what may go, and the moves of the rest: a STOP, an end, a reload or closing time came meanwhile."""
        now = self._clock.now()
        if account is None or self._stage.is_stopping:
            return [], [postpone(sms, until=now, reason="claimed while stopping or reloading") for sms in claimed]
        ready: list[ClaimedSms] = []
        held_back: list[Settlement] = []
        for sms in claimed:
            if sms.is_opted_out and account.heeds_stop:  # docs/protocol.md §5.6
                held_back.append(stop(sms))
                continue
            match recheck(account, now, commercial=sms.commercial):  # docs/protocol.md §6.6
                case Go():
                    ready.append(sms)
                case Wait(until=until):
                    held_back.append(postpone(sms, until=until, reason="outside hours"))
                case Refuse(code=code):
                    held_back.append(refuse(sms, code=code, reason="outside hours"))
                case unexpected:
                    assert_never(unexpected)
        return ready, held_back

    # --- one call ------------------------------------------------------------------------------------------------

    async def _call(self, lane: _Lane, route: _Route, account: Account, ready: Sequence[ClaimedSms]) -> None:
        """Hand the SMS over; whatever becomes of the call, also if this task is cancelled in it, is recorded."""
        started = self._clock.monotonic()
        verdicts: Sequence[Verdict] = [Uncertain(raw="the gateway stopped during the call")] * len(ready)
        is_elsewhere_open = False
        pause_at(PausePoint.SMS_CLAIMED)
        try:
            verdicts = await route.carrier.call(account, ready, self._clock)
            pause_at(PausePoint.SMS_ANSWERED)
            self._learn(lane, route, verdicts)
            is_elsewhere_open = self._choose_route(account) is not None
        finally:
            attempts = [Attempt(sms=sms, verdict=verdict) for sms, verdict in zip(ready, verdicts, strict=True)]
            duration_ms = round((self._clock.monotonic() - started) * 1000)
            await run_to_end(
                self._outcomes.record(
                    attempts,
                    duration_ms=duration_ms,
                    is_elsewhere_open=is_elsewhere_open,
                    is_stopping=lambda: self._stage.is_stopping,
                ),
                name=f"record:{lane.account}",
            )
            pause_at(PausePoint.SMS_RECORDED)

    def _learn(self, lane: _Lane, route: _Route, verdicts: Sequence[Verdict]) -> None:
        """Shut or open the carrier's gate and the lane's by what was answered."""
        unsent = [verdict for verdict in verdicts if isinstance(verdict, NotSent)]
        pausing = [verdict for verdict in unsent if verdict.hold is Hold.PROVIDER]
        holding = [verdict for verdict in unsent if verdict.hold is Hold.ACCOUNT]
        if pausing:
            wish_s = max(self._wish_s(verdict.retry_at) for verdict in pausing)
            route.gate.shut(wish_s)
            _log.warning("provider_paused", pause_s=round(route.gate.opens_in_s), cause="not now")
        elif all(isinstance(verdict, Uncertain) for verdict in verdicts):
            route.exposure.lose(len(verdicts))
            if route.gate.fail(len(verdicts), at_least_s=_PROBE_AFTER_S):
                _log.warning("provider_paused", pause_s=round(route.gate.opens_in_s), cause="answers lost")
            return  # of the account, nothing was learnt
        else:
            if route.gate.is_suspect:
                _log.info("provider_resumed")
            route.gate.succeed()
            route.exposure.hear()
        if holding:
            lane.gate.shut()
            _log.error("account_held", code=holding[0].code, hold_s=round(lane.gate.opens_in_s))
        elif not pausing and lane.gate.opens_in_s <= 0:  # what began before the hold proves nothing
            lane.gate.succeed()

    def _wish_s(self, retry_at: datetime | None) -> float:
        if retry_at is None:
            return 0.0
        return min((retry_at - self._clock.now()).total_seconds(), _LONGEST_WISH_S)

    async def _close_if_unused(self, route: _Route) -> None:
        if route.is_retired and not route.users:
            await route.carrier.provider.close()
