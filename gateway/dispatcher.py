"""From rows to carriers: SMS that are due are claimed, looked at again, handed over, and their verdicts recorded.

Promises. The attempt is committed before the call. Whatever becomes of the call is recorded, even if the process is
told to stop in the middle of it. Nothing is sent twice by itself. A big mailing or a dead carrier of one account delays
no other: each account has a lane of its own, and one for each of its routes, with a few calls at a time, and takes its
turn at the carrier; where turns are short, accounts for alerts come before others, and those before bulk, but nobody
starves (`turns`). A carrier that fails, or turns the account away, is left alone for a while and then asked with one
SMS (`links`); what is proven not sent goes by the next carrier of the route meanwhile, what is uncertain never does by
itself. Nothing polls on the hot path: the bell, a claim, the call.

What is paused is in memory only; rows carry their own `due_at`.

Diagnostics: events `sms_claimed` (info), `provider_paused`, `claim_too_old` (warning), `provider_resumed` (info),
`account_held` and `account_unknown` (error: someone must act); metric `mail2sms_sms_submit_delay_seconds`.
"""

from collections.abc import Coroutine, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog
from prometheus_client import Histogram
from pydantic import Field

from gateway.carrier import Carrier
from gateway.clock import Clock
from gateway.lifecycle import Hold, NotSent, Uncertain, Verdict
from gateway.links import Link, Links, Portion, Way, way_of
from gateway.log import gathered_lines
from gateway.metrics import REGISTRY
from gateway.outcomes import RECORD_S, Attempt, Outcomes
from gateway.pauses import PausePoint, pause_at
from gateway.policy.accounts import Account, Accounts, Priority
from gateway.recheck import look_again
from gateway.settings import Seconds, Settings
from gateway.settlements import postpone
from gateway.store import Store
from gateway.store.base import ClaimedSms, Settled, split_lane
from gateway.worker import Bell, Clerks, Crew, Stage

_log = structlog.get_logger(__name__)

_DELAY_SECONDS = Histogram(
    "mail2sms_sms_submit_delay_seconds",
    "From the moment an SMS may go, mostly when its mail was taken, to its first call to a carrier.",
    ("class",),
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14_400),
    registry=REGISTRY,
)
_DELAY_OF = {priority: _DELAY_SECONDS.labels(priority.value) for priority in Priority}

_LEASE_MARGIN_S = 30.0
"""What a lease lasts beyond the longest call and the longest try to record it. A call that has not begun so long after
its claim, because the process stood still, does not begin: somebody else may own the SMS by now."""

_PROBE_AFTER_S = 30.0
"""After `exposure.FIRST` lost answers in a row the carrier is asked again after so long."""

_LONGEST_WISH_S = 3600.0
"""A carrier that wants to be left alone for longer is asked again earlier."""


_MOST_RECORDING = 2
"""What became of so many calls of one runner may be on its way to the disk; then the next call waits."""


class DispatcherSettings(Settings):
    """How SMS are handed to the carriers."""

    calls_per_account: int = Field(
        default=2,
        ge=1,
        le=50,
        description="Most calls at a time for one account, and for each of its routes; the others' turns come in "
        "between.",
    )
    account_hold_s: Seconds = Field(
        default=300,
        description="A carrier that turned an account away (key, credit, address) gets none of its SMS for so long, "
        "then one is tried; a reload ends the wait.",
    )
    poll_s: Seconds = Field(
        default=5, description="How often rows are looked for that nobody rang for, such as those of other nodes."
    )


@dataclass(slots=True, kw_only=True)
class _Lane:
    """The SMS of one account, or of one of its routes, on their way out."""

    name: str
    account: str
    route: str
    runners: int = 0
    is_unknown: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trip:
    """One batch on its way: whose it is, by which carrier, and who records what becomes of it."""

    way: Way
    link: Link
    clerks: Clerks


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
        self._links = Links(carriers, clock=clock, hold_s=settings.account_hold_s)
        self.standings = self._links.standings
        self._lanes: dict[str, _Lane] = {}
        self._crew: Crew | None = None  # from the first look on
        self._stage = Stage(name="dispatcher", bell=bell, look=self._look, poll_s=settings.poll_s)

    @property
    def links(self) -> Links:
        """The carriers as they are now, for whoever shows them."""
        return self._links

    async def run(self) -> None:
        """Work until stopped; then the carriers are closed."""
        try:
            await self._stage.run()
        finally:
            await self._links.close()

    def stop(self) -> None:
        """Nothing more is claimed; calls under way run to their end and are recorded."""
        self._stage.stop()
        self._links.release()

    async def reconfigure(self, accounts: Accounts, carriers: Mapping[str, Carrier]) -> None:
        """From the next claim on, these accounts and carriers are used; holds are lifted, for somebody has acted.

        A carrier that is not among them any more, as the same object, is closed after its last call.
        """
        self._accounts = accounts
        for lane in self._lanes.values():
            lane.is_unknown = False
        await self._links.reconfigure(carriers)
        self._stage.bell.ring()

    # --- who may send --------------------------------------------------------------------------------------------

    def notice(self, lane: str) -> None:
        """An SMS of this lane was just stored: it starts at once, without a look at the rows."""
        if self._stage.is_stopping:
            return  # the rows wait for the next start
        if self._crew is None or self._start_runner(self._crew, lane) is not None:
            self._stage.bell.ring()

    async def _look(self, crew: Crew) -> float:
        """Start a runner for each lane with something due; return when to look again."""
        self._crew = crew
        self._links.nudge()
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
        lane = self._lanes.get(name) or self._lanes.setdefault(name, _new_lane(name))
        way = self._way_of(lane)
        if way is None:
            if not lane.is_unknown:
                lane.is_unknown = True
                _log.error("account_unknown", account=lane.account, advice="its SMS wait until they expire")
            return self._settings.poll_s
        if lane.runners >= self._settings.calls_per_account:
            return self._settings.poll_s
        if self._links.choose(way) is None:
            return self._links.opens_in_s(way) or self._settings.poll_s
        lane.runners += 1
        crew.start(f"lane:{name}", partial(self._run_lane, lane))
        return None

    def _way_of(self, lane: _Lane) -> Way | None:
        account = self._accounts.by_name(lane.account)
        return None if account is None else way_of(account, lane.route, lane.name)

    # --- one lane ------------------------------------------------------------------------------------------------

    async def _run_lane(self, lane: _Lane) -> None:
        """Send what is due in one lane, batch after batch, taking turns with other lanes at each carrier."""
        has_sent = False
        try:
            async with Clerks() as clerks:
                is_more = True
                while is_more and (way := self._way_of(lane)) and (link := self._links.choose(way)):
                    await clerks.wait_for_fewer(_MOST_RECORDING)
                    with structlog.contextvars.bound_contextvars(account=lane.account, provider=link.name):
                        async with link.used(), link.turn(self._rank(lane)) as portion:
                            is_more = await self._send_batch(_Trip(way=way, link=link, clerks=clerks), portion)
                    has_sent = has_sent or is_more
        finally:
            lane.runners -= 1
            if has_sent:
                self._stage.bell.ring()

    def _rank(self, lane: _Lane) -> int:
        account = self._accounts.by_name(lane.account)
        return (Priority.NORMAL if account is None else account.priority).rank

    async def _send_batch(self, trip: _Trip, portion: Portion) -> bool:
        """Return whether to go on: something was claimed, so that there may be more, or another carrier is next."""
        if self._stage.is_stopping or trip.clerks.has_failed:
            return False
        way, link = trip.way, trip.link
        if not self._links.is_open(way, link):
            return True  # it was shut while this waited for its turn
        hold = self._links.hold_of(way.account, link)
        is_probe = hold.is_suspect or link.gate.is_suspect
        limit = min(portion.most, 1 if is_probe else link.exposure.room)
        if not limit:
            link.is_waited_for = True  # whoever is inside rings when there is an answer
            return False
        hold.enter()
        link.gate.enter()
        try:
            return await self._send_share(trip, portion, limit)
        finally:
            hold.leave()
            link.gate.leave()

    async def _send_share(self, trip: _Trip, portion: Portion, limit: int) -> bool:
        """Send at most so many, for which there is room at the carrier."""
        link = trip.link
        try:
            with link.exposure.of(limit) as share:
                call_before = self._clock.monotonic() + _LEASE_MARGIN_S
                claimed = await self._claim(trip, limit=limit)
                share.shrink(len(claimed))
                portion.use(len(claimed))
                if not claimed:
                    return False
                self._links.count(trip.way, link, len(claimed))
                if link.is_waited_for:
                    self._ring_for_more(link)
                elif len(claimed) == limit and self._crew is not None:
                    self._start_runner(self._crew, trip.way.lane)  # it may find more; no need to look at all lanes
                with self._outcomes.under_way(claimed):
                    await self._handle(trip, claimed, call_before=call_before)
                return True
        finally:
            if link.is_waited_for:
                self._ring_for_more(link)

    def _ring_for_more(self, link: Link) -> None:
        """A runner that was turned away may find room."""
        link.is_waited_for = False
        self._stage.bell.ring()

    async def _claim(self, trip: _Trip, *, limit: int) -> tuple[ClaimedSms, ...]:
        now = self._clock.now()
        claimed = await self._store.claim_sms(
            lane=trip.way.lane,
            provider=trip.link.name,
            now=now,
            lease_until=now + timedelta(seconds=trip.link.carrier.deadline_s + RECORD_S + _LEASE_MARGIN_S),
            limit=limit,
        )
        with gathered_lines():
            for sms in claimed:
                _log.info("sms_claimed", envoi_id=sms.envoi_id, sms_id=sms.id, attempt=sms.attempt)
                if sms.attempt == 1:
                    _DELAY_OF[trip.way.account.priority].observe(max(0.0, (now - sms.due_at).total_seconds()))
        return claimed

    async def _handle(self, trip: _Trip, claimed: Sequence[ClaimedSms], *, call_before: float) -> None:
        """Look again at what was claimed, hand over what may go, put back the rest."""
        account = self._accounts.by_name(trip.way.account.name)  # there may have been a reload
        now = self._clock.now()
        if account is None or self._stage.is_stopping:
            back = [postpone(sms, until=now, reason="claimed while stopping or reloading") for sms in claimed]
            await self._outcomes.put_back(claimed, back)
            return
        ready, held_back = look_again(account, trip.link.carrier, claimed, now)
        if held_back:
            await self._outcomes.put_back(claimed, held_back)
        if ready:
            if self._clock.monotonic() > call_before:
                await self._put_back_late(ready)
            else:
                await self._call(trip, account, ready)

    async def _put_back_late(self, claimed: Sequence[ClaimedSms]) -> None:
        """The SMS are queued again, unless another node has taken them for lost meanwhile."""
        now = self._clock.now()
        late = [postpone(sms, until=now, reason="the gateway stood still after the claim") for sms in claimed]
        settled = await self._outcomes.put_back(claimed, late)
        _log.warning("claim_too_old", count=len(claimed), put_back=len(settled.moved))

    # --- one call ------------------------------------------------------------------------------------------------

    async def _call(self, trip: _Trip, account: Account, ready: Sequence[ClaimedSms]) -> None:
        """Hand the SMS over; whatever becomes of the call, also if this task is cancelled in it, is recorded.

        That goes on while the next batch is claimed: on SQLite the two so share a transaction.
        """
        started = self._clock.monotonic()
        verdicts: Sequence[Verdict] = [Uncertain(raw="the gateway stopped during the call")] * len(ready)
        is_elsewhere_open = False
        pause_at(PausePoint.SMS_CLAIMED)
        try:
            verdicts = await trip.link.carrier.call(account, ready, self._clock)
            pause_at(PausePoint.SMS_ANSWERED)
            self._learn(trip, verdicts)
            is_elsewhere_open = self._links.choose(trip.way) is not None
        finally:
            attempts = [Attempt(sms=sms, verdict=verdict) for sms, verdict in zip(ready, verdicts, strict=True)]
            alive = ExitStack()
            alive.enter_context(self._outcomes.under_way(ready))
            recording = self._outcomes.record(
                attempts,
                duration_ms=round((self._clock.monotonic() - started) * 1000),
                is_elsewhere_open=is_elsewhere_open,
                is_stopping=lambda: self._stage.is_stopping,
            )
            trip.clerks.start(_record(recording, alive), name=f"record:{trip.way.lane}")

    def _learn(self, trip: _Trip, verdicts: Sequence[Verdict]) -> None:
        """Shut or open the carrier's gate, and the one it has for the account, by what was answered."""
        way, link = trip.way, trip.link
        unsent = [verdict for verdict in verdicts if isinstance(verdict, NotSent)]
        pausing = [verdict for verdict in unsent if verdict.hold is Hold.PROVIDER]
        holding = [verdict for verdict in unsent if verdict.hold is Hold.ACCOUNT]
        if pausing:
            wish_s = max(self._wish_s(verdict.retry_at) for verdict in pausing)
            link.gate.shut(wish_s)
            _log.warning("provider_paused", pause_s=round(link.gate.opens_in_s), cause="not now")
        elif all(isinstance(verdict, Uncertain) for verdict in verdicts):
            link.exposure.lose(len(verdicts))
            if link.gate.fail(len(verdicts), at_least_s=_PROBE_AFTER_S):
                _log.warning("provider_paused", pause_s=round(link.gate.opens_in_s), cause="answers lost")
            return  # of the account, nothing was learnt
        else:
            if link.gate.is_suspect:
                _log.info("provider_resumed")
            link.gate.succeed()
            link.exposure.hear()
        hold = self._links.hold_of(way.account, link)
        if holding:
            hold.shut()
            following = self._links.choose(way)
            _log.error(
                "account_held",
                code=holding[0].code,
                hold_s=round(hold.opens_in_s),
                goes_by=None if following is None else following.name,
                advice="there: top up (code 12), correct the key (1, 3), or allow our address (14); then reload",
            )
        elif not pausing and hold.opens_in_s <= 0:  # what began before the hold proves nothing
            hold.succeed()

    def _wish_s(self, retry_at: datetime | None) -> float:
        if retry_at is None:
            return 0.0
        return min((retry_at - self._clock.now()).total_seconds(), _LONGEST_WISH_S)


async def _record(recording: Coroutine[Any, Any, Settled], alive: ExitStack) -> None:
    """What became of a call is on disk; until then its claims are `alive`."""
    with alive:
        await recording
        pause_at(PausePoint.SMS_RECORDED)


def _new_lane(name: str) -> _Lane:
    account, route = split_lane(name)
    return _Lane(name=name, account=account, route=route)
