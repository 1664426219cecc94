"""One call to a carrier: claimed SMS of one account in, one verdict for each out, in time and whatever happens.

Promises. A provider that is late, raises, or returns too few verdicts has proven nothing: its SMS are `Uncertain`.
Nothing is retried here and nothing is written.

Diagnostics: event `call_failed` (error); metrics `mail2sms_provider_call_seconds`,
`mail2sms_verdicts_total`, `mail2sms_cost_total`.
"""

import asyncio
from collections import Counter as Counts
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import assert_never

import structlog
from prometheus_client import Counter, Histogram

from gateway.clock import Clock
from gateway.lifecycle import Accepted, NotSent, Refused, Uncertain, Verdict
from gateway.metrics import REGISTRY
from gateway.policy.accounts import Account
from gateway.policy.window import Refuse, Wait, heed_closed_carrier
from gateway.protocol.codes import Code
from gateway.providers.base import Batch, Batches, Message, Provider, Schedules, SendOptions
from gateway.store.base import ClaimedSms
from gateway.worker import call_or

_log = structlog.get_logger(__name__)

_CALL_SECONDS = Histogram(
    "mail2sms_provider_call_seconds",
    "Time of calls to carriers.",
    ("provider",),
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60),
    registry=REGISTRY,
)
_VERDICTS = Counter(
    "mail2sms_verdicts_total", "Carriers' immediate answers, per SMS.", ("provider", "verdict"), registry=REGISTRY
)
_COST = Counter(
    "mail2sms_cost_total",
    "What carriers say they billed for SMS when they took them.",
    ("provider", "currency"),
    registry=REGISTRY,
)

_MARGIN_S = 5.0
"""A provider keeps its own deadline; one that does not is cut off after this much more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Carrier:
    """A provider and what its settings say about calling it."""

    provider: Provider
    timeout_s: float  # what the provider promises to keep
    width: int  # most calls at a time
    rate: float = 0.0  # most SMS a second; 0: as fast as it goes
    low_balance: float = 0.0  # somebody is told when less is left there; 0: nobody
    balance_every_s: float = 900.0  # how often it is asked what is left, if it tells

    @property
    def batch_size(self) -> int:
        """The most SMS in one call."""
        return self.provider.batch_size if isinstance(self.provider, Batches) else 1

    @property
    def longest_wait_s(self) -> float:
        """How far ahead it takes SMS that it is to send later; 0: it does not."""
        return self.provider.longest_wait_s if isinstance(self.provider, Schedules) else 0.0

    @property
    def deadline_s(self) -> float:
        """The longest that `call` takes."""
        return self.timeout_s + _MARGIN_S

    async def call(self, account: Account, claimed: Sequence[ClaimedSms], clock: Clock) -> list[Verdict]:
        """Hand over SMS that were claimed together; return one verdict for each, in order."""
        verdicts = await self._submit(_batch_of(account, claimed, clock.now()), clock)
        return [_heed_hours(account, verdict, clock.now()) for verdict in verdicts]

    async def _submit(self, batch: Batch, clock: Clock) -> Sequence[Verdict]:
        name, count = self.provider.name, len(batch.messages)
        started = clock.monotonic()
        try:
            async with asyncio.timeout(self.deadline_s):
                verdicts = await call_or(
                    self.provider.submit(batch),
                    lambda: [Uncertain(raw="the gateway failed during the call")] * count,
                    name=f"submit:{name}",
                )
        except TimeoutError:
            verdicts = [Uncertain(raw="no answer in time")] * count
        if len(verdicts) != count:
            _log.error("call_failed", call=f"submit:{name}", wanted=count, verdicts=len(verdicts))
            verdicts = [Uncertain(raw="the answer does not fit the batch")] * count
        _CALL_SECONDS.labels(name).observe(clock.monotonic() - started)
        _count(name, verdicts)
        return verdicts


def _count(provider: str, verdicts: Sequence[Verdict]) -> None:
    for kind, count in Counts(type(verdict).__name__.lower() for verdict in verdicts).items():
        _VERDICTS.labels(provider, kind).inc(count)
    for verdict in verdicts:
        if isinstance(verdict, Accepted) and verdict.cost is not None and verdict.cost > 0:
            _COST.labels(provider, verdict.currency or "").inc(float(verdict.cost))


def _batch_of(account: Account, claimed: Sequence[ClaimedSms], now: datetime) -> Batch:
    """Return the batch of SMS that the store claimed together because their options are equal."""
    first = claimed[0]
    is_later = first.deliver_at is not None and first.deliver_at > now
    return Batch(
        options=SendOptions(
            account_key="" if account.keyid is None else account.keyid.get_secret_value(),
            originator=first.originator,
            max_parts=first.max_parts,
            nostop=first.nostop,
            ucs2=first.ucs2,
            commercial=first.commercial,
            deliver_at=first.deliver_at if is_later else None,
        ),
        messages=tuple(
            Message(sms_id=sms.id, msisdn=sms.msisdn, text=sms.text, tracker=sms.tracker) for sms in claimed
        ),
    )


def _heed_hours(account: Account, verdict: Verdict, now: datetime) -> Verdict:
    """Return the verdict, and for a carrier that is closed (code 24) what the account chose for such SMS."""
    if not (isinstance(verdict, NotSent) and verdict.code is Code.C24_OUTSIDE_HOURS):
        return verdict
    match heed_closed_carrier(account, now):  # docs/protocol.md §6.6
        case Wait(until=until):
            return replace(verdict, retry_at=until)
        case Refuse(code=code):
            return Refused(raw=verdict.raw, code=code)
        case unexpected:
            assert_never(unexpected)
