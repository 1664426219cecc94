"""What carriers say later about SMS, by callback or when asked: each word goes to the store, and does what it can.

Promises. A word may come late, twice, before the answer to the call, or be about nothing we know: none of it harms
(`store.receipts`). The same words again change nothing.

Diagnostics: events `receipt_learnt`, `report_staged` (info); metric `mail2sms_receipts_total`.
"""

import random
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from prometheus_client import Counter

from gateway.clock import Clock
from gateway.lifecycle import SmsEvent, SmsState
from gateway.metrics import REGISTRY
from gateway.outcomes import tell_learnt, tell_opted_out
from gateway.policy.accounts import Accounts
from gateway.policy.asking import first_ask
from gateway.providers.base import Fate, Receipt
from gateway.reports import ReportRules, ReportWriter
from gateway.settlements import to_micros
from gateway.store import Store
from gateway.store.words import Learnt, Word, Words
from gateway.worker import Bell

_RECEIPTS = Counter(
    "mail2sms_receipts_total",
    "Later words of carriers about SMS, those that come again too.",
    ("provider", "fate"),
    registry=REGISTRY,
)

_EVENTS = {
    Fate.TAKEN: SmsEvent.TAKEN,
    Fate.DELIVERED: SmsEvent.DELIVERED,
    Fate.UNDELIVERED: SmsEvent.UNDELIVERED,
    Fate.REFUSED: SmsEvent.REFUSED,
    Fate.UNKNOWN: None,
}
_AHEAD = timedelta(hours=1)
_BEHIND = timedelta(days=30)
"""A carrier's clock is believed within these; beyond, it is a clock that was never set."""


class Receipts:
    """Takes what carriers say."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        accounts: Callable[[], Accounts],
        rules: ReportRules,
        mailer_bell: Bell,
        can_ask: Callable[[str], bool] = lambda _provider: False,
    ) -> None:
        self._store = store
        self._clock = clock
        self._accounts = accounts
        self._rules = rules
        self._mailer_bell = mailer_bell
        self._can_ask = can_ask

    async def take(self, provider: str, receipts: Sequence[Receipt]) -> Learnt:
        """What these say is on disk. Raises StoreUnavailable: the carrier is to say it again."""
        now = self._clock.now()
        writer = self._new_writer(now)
        said = Words(
            provider=provider,
            words=tuple(_word_of(receipt, now) for receipt in receipts),
            ask_at=self._find_ask(provider, now),
        )
        learnt = await self._store.learn(said, now, *writer.both)
        for receipt in receipts:
            _RECEIPTS.labels(provider, receipt.fate.value).inc()
        self._tell(learnt, writer)
        return learnt

    async def take_kept(self, *, limit: int) -> int:
        """Words that came too early are applied as far as they can be now; return how many SMS moved by it."""
        now = self._clock.now()
        writer = self._new_writer(now)
        learnt = await self._store.learn_kept(now, limit, *writer.both)
        self._tell(learnt, writer)
        return len(learnt.moves)

    def _new_writer(self, now: datetime) -> ReportWriter:
        return ReportWriter(now=now, rules=self._rules, accounts=self._accounts)

    def _find_ask(self, provider: str, now: datetime) -> datetime | None:
        jitter = random.random()  # noqa: S311 spreads a herd, hides nothing
        return first_ask(SmsState.ACCEPTED, now, jitter=jitter) if self._can_ask(provider) else None

    def _tell(self, learnt: Learnt, writer: ReportWriter) -> None:
        tell_learnt(learnt.moves)
        tell_opted_out(learnt.opted_out)
        writer.tell(learnt.reports)
        if learnt.reports:
            self._mailer_bell.ring()


def _word_of(receipt: Receipt, now: datetime) -> Word:
    cost_micros = None if receipt.cost is None else to_micros(receipt.cost)
    return Word(
        event=_EVENTS[receipt.fate],
        tracker=receipt.tracker,
        provider_ref=receipt.provider_ref,
        msisdn=receipt.msisdn,
        code=receipt.code,
        at=receipt.at if receipt.at is not None and now - _BEHIND <= receipt.at <= now + _AHEAD else None,
        cost_micros=cost_micros,
        currency=None if cost_micros is None else receipt.currency,
        raw=receipt.raw,
    )
