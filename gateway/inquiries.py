"""Asking carriers what became of SMS, where they can be asked: of those of unknown fate, and of those that are quiet.

Promises. One question at a time to each carrier, of at most as many SMS as it takes, within a deadline. A carrier that
does not answer is left alone for a while, longer each time. What it says is learnt as a receipt is; that it knows
nothing of an SMS proves nothing.

Diagnostics: event `inquiry_failed` (warning); metric `mail2sms_inquiries_total`.
"""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial

import structlog
from prometheus_client import Counter

from gateway.clock import Clock
from gateway.lifecycle import SmsState
from gateway.metrics import REGISTRY
from gateway.policy.accounts import Accounts
from gateway.policy.asking import next_ask
from gateway.providers.base import Inquiry, LooksUp, Provider, Receipt, Untold
from gateway.receipts import Receipts
from gateway.store import Store
from gateway.store.words import ClaimedInquiry, InquirySettlement
from gateway.worker import Bell, Crew, Gate, Stage, call_or

_log = structlog.get_logger(__name__)

_INQUIRIES = Counter(
    "mail2sms_inquiries_total",
    "SMS that carriers were asked for, by what came of it.",
    ("provider", "outcome"),
    registry=REGISTRY,
)

_MOST_AT_ONCE = 500
_DEADLINE_S = 60.0
"""A carrier keeps its own deadline; one that does not is cut off after this."""

_LEASE_S = 300.0
"""Longer than all questions of one claim may take: nobody else asks meanwhile."""

_FIRST_PAUSE_S = 30.0
_LONGEST_PAUSE_S = 300.0
"""A carrier that does not answer is asked again within this: unknown fates wait for it."""


class Inquiries:
    """The stage that asks, every `poll_s`."""

    def __init__(
        self,
        *,
        store: Store,
        receipts: Receipts,
        clock: Clock,
        accounts: Callable[[], Accounts],
        providers: Callable[[], Mapping[str, Provider]],
        windows_s: Mapping[SmsState, float],
        poll_s: float,
    ) -> None:
        """Be ready. `windows_s`: how long word of an SMS in `uncertain` and `accepted` is waited for."""
        self._store = store
        self._receipts = receipts
        self._clock = clock
        self._accounts = accounts
        self._providers = providers
        self._windows = {state: timedelta(seconds=window_s) for state, window_s in windows_s.items()}
        self._gates: dict[str, Gate] = {}
        self._busy: set[str] = set()
        self.bell = Bell()
        self._stage = Stage(name="inquiries", bell=self.bell, look=self._look, poll_s=poll_s)
        self._poll_s = poll_s

    async def run(self) -> None:
        """Work until stopped."""
        await self._stage.run()

    def stop(self) -> None:
        """No further question begins."""
        self._stage.stop()

    async def _look(self, crew: Crew) -> float:
        for name, provider in self._providers().items():
            if isinstance(provider, LooksUp) and name not in self._busy and self._gate(name).is_open:
                self._busy.add(name)
                crew.start(f"ask:{name}", partial(self._ask_all, name, provider))
        return self._poll_s

    def _gate(self, name: str) -> Gate:
        gate = self._gates.get(name)
        if gate is None:
            gate = Gate(clock=self._clock, first_s=_FIRST_PAUSE_S, longest_s=_LONGEST_PAUSE_S)
            self._gates[name] = gate
        return gate

    async def _ask_all(self, name: str, provider: LooksUp) -> None:
        """Ask for what is due, one question after the other, until nothing is, or there is no answer."""
        try:
            while not self._stage.is_stopping and self._gate(name).is_open and await self._ask_share(name, provider):
                pass
        finally:
            self._busy.discard(name)

    async def _ask_share(self, name: str, provider: LooksUp) -> bool:
        """Return whether a full share was claimed, so that there may be more."""
        now = self._clock.now()
        limit = max(1, min(provider.look_up_size, _MOST_AT_ONCE))
        claimed = await self._store.claim_inquiries(
            provider=name, now=now, lease_until=now + timedelta(seconds=_LEASE_S), limit=limit
        )
        by_account: dict[str, list[ClaimedInquiry]] = {}
        for one in claimed:
            by_account.setdefault(one.account, []).append(one)
        for account, ours in by_account.items():
            await self._ask(name, provider, account, ours)
        return len(claimed) == limit

    async def _ask(self, name: str, provider: LooksUp, account: str, claimed: Sequence[ClaimedInquiry]) -> None:
        gate = self._gate(name)
        gate.enter()
        try:
            told = await self._look_up(name, provider, account, claimed) if gate.opens_in_s <= 0 else None
            if isinstance(told, Untold):
                gate.fail()
                _log.warning(
                    "inquiry_failed",
                    provider=name,
                    reason=told.reason,
                    pause_s=round(gate.opens_in_s),
                    count=len(claimed),
                )
            elif told is not None:
                gate.succeed()
                if told:
                    await self._receipts.take(name, told)
        finally:
            gate.leave()
        if told is None:  # not asked after all: it is due again as soon as the carrier is
            await self._put_off(claimed, self._clock.now() + timedelta(seconds=gate.opens_in_s))
            return
        _INQUIRIES.labels(name, "untold" if isinstance(told, Untold) else "told").inc(len(claimed))
        await self._settle(claimed)

    async def _look_up(
        self, name: str, provider: LooksUp, account: str, claimed: Sequence[ClaimedInquiry]
    ) -> Sequence[Receipt] | Untold:
        found = self._accounts().by_name(account)
        key = "" if found is None or found.keyid is None else found.keyid.get_secret_value()
        questions = [Inquiry(tracker=one.tracker, msisdn=one.msisdn, provider_ref=one.provider_ref) for one in claimed]
        try:
            async with asyncio.timeout(_DEADLINE_S):
                return await call_or(
                    provider.look_up(questions, account_key=key),
                    lambda: Untold(reason="the gateway failed during the call"),
                    name=f"look_up:{name}",
                )
        except TimeoutError:
            return Untold(reason="no answer in time")

    async def _settle(self, claimed: Sequence[ClaimedInquiry]) -> None:
        """They were asked for, answered or not: again later, or never."""
        now = self._clock.now()
        await self._store.settle_inquiries([self._settlement(one, now) for one in claimed])

    def _settlement(self, one: ClaimedInquiry, now: datetime) -> InquirySettlement:
        jitter = random.random()  # noqa: S311 spreads a herd, hides nothing
        ask_at = next_ask(one.state, now, since=one.since, window=self._windows[one.state], jitter=jitter)
        return InquirySettlement(sms_id=one.sms_id, lease_until=one.lease_until, ask_at=ask_at)

    async def _put_off(self, claimed: Sequence[ClaimedInquiry], until: datetime) -> None:
        await self._store.settle_inquiries(
            [InquirySettlement(sms_id=one.sms_id, lease_until=one.lease_until, ask_at=until) for one in claimed]
        )
