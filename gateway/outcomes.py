"""Every move of an SMS after its claim, and the report that follows.

Verdicts, lost leases, unknown fates, validity and silence all end here, as `Settlement`s; the store moves the rows and
stages the reports in the same transaction. What is decided is pure (`settlements`); this class adds the
time, writes, rings the bells, and logs one line per move.

Promises. Only a proven "not sent" is tried again by itself. What is unknown stays `uncertain` until somebody knows or
the account's own choice is applied, and is never reported as 0 (docs/protocol.md §9).

Diagnostics: events `sms_settled` (info; warning when uncertain), `receipt_learnt`, `optout_added` (info),
`outcome_delayed` (warning); metrics `mail2sms_sms_moves_total`, `mail2sms_optouts_total`.
"""

import asyncio
import random
from collections import Counter as Counts
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

import structlog
from prometheus_client import Counter

from gateway.clock import Clock
from gateway.lifecycle import (
    SMS_MOVES,
    EnvoiId,
    SmsEvent,
    SmsId,
    SmsState,
    Verdict,
)
from gateway.log import gathered_lines
from gateway.metrics import REGISTRY
from gateway.policy.accounts import Accounts
from gateway.policy.asking import first_ask
from gateway.protocol.codes import Code
from gateway.reports import ReportRules, ReportWriter
from gateway.settlements import expire, give_up_hearing, lose, resolve, settle_verdict
from gateway.store import Store, StoreUnavailable
from gateway.store.base import ClaimedSms, LostSms, Move, Settled, Settlement
from gateway.store.stoplist import OptOut
from gateway.store.two_way import Stopped
from gateway.text.msisdn import mask
from gateway.worker import Bell

_log = structlog.get_logger(__name__)

_MOVES = Counter("mail2sms_sms_moves_total", "Moves of SMS after their claim.", ("event",), registry=REGISTRY)
_OPTOUTS = Counter("mail2sms_optouts_total", "Numbers put on the STOP list.", ("source",), registry=REGISTRY)

_RECORD_PAUSES_S = (0.1, 0.5, 2.0, *[5.0] * 11)
"""Between tries to store what became of a call while the store is away. After the last the lease decides: uncertain."""

_PAUSES_WHEN_STOPPING = 4
"""So many of them, and no more, while the gateway is told to stop."""

RECORD_S = sum(_RECORD_PAUSES_S)
"""How long what became of a call waits for the store: a restart of PostgreSQL must not make a known fate an unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A claimed SMS and what its call came to."""

    sms: ClaimedSms
    verdict: Verdict


# --- the moves -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Subject:
    """Who a settlement is about, for the log."""

    envoi_id: EnvoiId
    account: str
    attempt: int
    provider: str | None = None


class Outcomes:
    """Moves SMS and rings for what follows: `mailer_bell` for a staged Not, `dispatcher_bell` for what is due again."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        accounts: Callable[[], Accounts],
        rules: ReportRules,
        mailer_bell: Bell,
        dispatcher_bell: Bell,
        can_ask: Callable[[str], bool] = lambda _provider: False,
    ) -> None:
        """Be ready. `can_ask` says of a carrier, by name, whether it can be asked what became of SMS."""
        self._store = store
        self._clock = clock
        self._accounts = accounts
        self._rules = rules
        self._mailer_bell = mailer_bell
        self._dispatcher_bell = dispatcher_bell
        self._can_ask = can_ask
        self._under_way: Counts[tuple[SmsId, int]] = Counts()

    async def record(
        self,
        attempts: Sequence[Attempt],
        *,
        duration_ms: int,
        is_elsewhere_open: bool = False,
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> Settled:
        """What became of a call is on disk, and the Not it completes is staged.

        To be run to its end (`Clerks`). Tries again for a minute while the store is away, or some seconds once
        `is_stopping()`; then StoreUnavailable, and the SMS stay `sending` until their lease is over.
        """
        jitter = random.random()  # noqa: S311 spreads a herd, hides nothing
        now = self._clock.now()
        settlements = [
            settle_verdict(attempt.sms, attempt.verdict, now=now, jitter=jitter, is_elsewhere_open=is_elsewhere_open)
            for attempt in attempts
        ]
        subjects = {attempt.sms.id: _of_claimed(attempt.sms) for attempt in attempts}
        for tries, pause_s in enumerate(_RECORD_PAUSES_S):
            try:
                return await self._settle(settlements, subjects, duration_ms=duration_ms)
            except StoreUnavailable as error:
                if tries >= _PAUSES_WHEN_STOPPING and is_stopping():
                    raise
                _log.warning("outcome_delayed", count=len(settlements), error=str(error), pause_s=pause_s)
                await asyncio.sleep(pause_s)
        return await self._settle(settlements, subjects, duration_ms=duration_ms)

    async def put_back(self, claimed: Sequence[ClaimedSms], settlements: Sequence[Settlement]) -> Settled:
        """Claimed SMS that are not handed over after all have moved: `postpone`, `refuse`."""
        return await self._settle(settlements, {sms.id: _of_claimed(sms) for sms in claimed})

    @contextmanager
    def under_way(self, claimed: Sequence[ClaimedSms]) -> Iterator[None]:
        """Within the block these claims are alive, however long it takes: `recover_lost` leaves them alone.

        The blocks of one claim may overlap: the call, and what becomes of it on its way to the disk.
        """
        claims = Counts((sms.id, sms.epoch) for sms in claimed)
        self._under_way += claims
        try:
            yield
        finally:
            self._under_way -= claims

    async def recover_lost(self, found: Sequence[LostSms]) -> int:
        """SMS that are in `sending` for longer than their lease are uncertain (`lose`); return how many moved."""
        return await self._settle_lost([sms for sms in found if (sms.id, sms.epoch) not in self._under_way], lose)

    async def resolve_uncertain(self, *, before: datetime, limit: int, unasked_before: datetime | None = None) -> int:
        """SMS uncertain since before that instant are sent again or expired (999), as their account chose.

        Those that a carrier is still to be asked for only if they are since before `unasked_before`, if that is given.
        """
        now = self._clock.now()
        lost = await self._store.uncertain_sms(before, limit, unasked_before=unasked_before)
        return await self._settle_lost(lost, lambda sms: resolve(sms, self._accounts().by_name(sms.account), now=now))

    async def expire(self, *, limit: int) -> int:
        """SMS past their validity have expired, with the code of their last "not sent", or 999."""
        return await self._settle_lost(await self._store.expired_sms(self._clock.now(), limit), expire)

    async def end_unheard(self, *, before: datetime, limit: int) -> int:
        """SMS accepted before that instant have expired: nothing more is waited for. The Not says 0, as it would have.

        Whether they arrived is not known (docs/protocol.md §8.6).
        """
        return await self._settle_lost(await self._store.unheard_sms(before, limit), give_up_hearing)

    async def _settle_lost(self, lost: Sequence[LostSms], decide: Callable[[LostSms], Settlement]) -> int:
        if not lost:
            return 0
        subjects = {sms.id: _of_lost(sms) for sms in lost}
        return len((await self._settle([decide(sms) for sms in lost], subjects)).moved)

    async def _settle(
        self,
        settlements: Sequence[Settlement],
        subjects: dict[SmsId, _Subject],
        *,
        duration_ms: int | None = None,
    ) -> Settled:
        now = self._clock.now()
        writer = ReportWriter(now=now, rules=self._rules, accounts=self._accounts)
        dated = [self._with_ask(one, subjects[one.sms_id], now) for one in settlements]
        settled = await self._store.settle_sms(dated, now, *writer.both)
        moved = set(settled.moved)
        with gathered_lines():
            for settlement in settlements:
                if settlement.sms_id in moved:  # else somebody else was first, which is normal
                    _tell(settlement, subjects[settlement.sms_id], duration_ms)
        for event, count in Counts(one.event for one in settlements if one.sms_id in moved).items():
            _MOVES.labels(event.value).inc(count)
        tell_learnt(settled.learnt)
        tell_opted_out(settled.opted_out)
        writer.tell(settled.reports)
        if settled.reports:
            self._mailer_bell.ring()
        if any(settlement.due_at is not None for settlement in settlements):
            self._dispatcher_bell.ring()
        return settled

    def _with_ask(self, one: Settlement, subject: _Subject, now: datetime) -> Settlement:
        """Return the move, with when its carrier is to be asked what became of the SMS, if it can be."""
        if subject.provider is None or not self._can_ask(subject.provider):
            return one
        jitter = random.random()  # noqa: S311 spreads a herd, hides nothing
        return replace(one, ask_at=first_ask(SMS_MOVES[one.from_state][one.event], now, jitter=jitter))


def tell_opted_out(added: Iterable[OptOut]) -> None:
    """Log and count what is new on the STOP list."""
    for one in added:
        _OPTOUTS.labels(one.source.value).inc()
        _log.info("optout_added", account=one.account, msisdn=mask(one.msisdn), source=one.source, note=one.note)


def tell_stopped(stopped: Stopped) -> None:
    """Log and count what is new on the STOP list, and the SMS that were cancelled for it."""
    tell_opted_out(stopped.added)
    for sms in stopped.cancelled:
        _MOVES.labels(SmsEvent.CANCELLED.value).inc()
        _log.info(
            "sms_settled",
            envoi_id=sms.envoi_id,
            sms_id=sms.id,
            account=sms.account,
            state=SmsState.CANCELLED,
            cause=SmsEvent.CANCELLED,
            code=Code.C11_NUMBER_BLACKLISTED,
        )


def _of_claimed(sms: ClaimedSms) -> _Subject:
    return _Subject(envoi_id=sms.envoi_id, account=sms.account, attempt=sms.attempt, provider=sms.provider)


def _of_lost(sms: LostSms) -> _Subject:
    return _Subject(envoi_id=sms.envoi_id, account=sms.account, attempt=sms.attempts, provider=sms.provider)


def tell_learnt(moves: Sequence[Move]) -> None:
    """These moves by later words of carriers are committed: one line of the log for each."""
    for move in moves:
        _MOVES.labels(move.event.value).inc()
        _log.info(
            "receipt_learnt",
            envoi_id=move.envoi_id,
            sms_id=move.sms_id,
            account=move.account,
            provider=move.provider,
            before=move.from_state,
            state=move.state,
            cause=move.event,
            code=move.code,
        )


def _tell(settlement: Settlement, subject: _Subject, duration_ms: int | None) -> None:
    state = SMS_MOVES[settlement.from_state][settlement.event]
    tell = _log.warning if state is SmsState.UNCERTAIN else _log.info
    tell(
        "sms_settled",
        envoi_id=subject.envoi_id,
        sms_id=settlement.sms_id,
        account=subject.account,
        provider=subject.provider,
        attempt=subject.attempt,
        state=state,
        cause=settlement.event,
        code=settlement.code,
        due_at=settlement.due_at,
        duration_ms=duration_ms,
    )
