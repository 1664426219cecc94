"""What is left at the carriers that tell: asked now and then, shown as a metric, and told of when it gets low.

Promises. What is left has no say in sending: a carrier without credit says so itself, with each SMS. A carrier that
does not answer delays no other; each question has a deadline. Each crossing of `low_balance` is told of once.

Diagnostics: events `provider_balance_low` (warning), `provider_balance_recovered` (info), `provider_balance_unknown`
(warning, once until it tells again); metric `mail2sms_provider_balance`.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import structlog
from prometheus_client import Gauge

from gateway.carrier import Carrier
from gateway.clock import Clock
from gateway.metrics import REGISTRY
from gateway.providers.base import Balance, TellsBalance, Untold
from gateway.worker import Bell, Crew, Stage, call_or

_log = structlog.get_logger(__name__)

_LEFT = Gauge(
    "mail2sms_provider_balance",
    'What is left at a carrier, in its currency, or in SMS ("sms") where it tells no sum.',
    ("provider", "currency"),
    registry=REGISTRY,
)

FIRST_S = 5.0
"""After a start or a reload the first question comes soon, but behind the first SMS."""

_LONGEST_SLEEP_S = 60.0
_SMS = "sms"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What is left at a carrier, as it told last."""

    left: float
    currency: str
    is_low: bool


class _Watch:
    """One carrier that tells what is left, and what was heard of it."""

    def __init__(self, carrier: Carrier, provider: TellsBalance, asked_at: float) -> None:
        self.carrier = carrier
        self.provider = provider
        self.name = carrier.provider.name
        self.ask_at = asked_at
        self.is_asking = False
        self.is_low = False
        self.is_unknown = False
        self.currency: str | None = None  # of the figure that is shown; None: none is
        self.left = 0.0  # that figure


class Balances:
    """The stage that asks."""

    def __init__(self, *, clock: Clock, carriers: Mapping[str, Carrier]) -> None:
        self._clock = clock
        self._watches: dict[str, _Watch] = {}
        self.bell = Bell()
        self._stage = Stage(name="balances", bell=self.bell, look=self._look, poll_s=_LONGEST_SLEEP_S)
        self.reconfigure(carriers)

    async def run(self) -> None:
        """Work until stopped."""
        await self._stage.run()

    def stop(self) -> None:
        """Nobody is asked any more."""
        self._stage.stop()

    def reconfigure(self, carriers: Mapping[str, Carrier]) -> None:
        """From now on these carriers are asked; of those that are gone nothing is shown any more."""
        watches = {}
        for name, carrier in carriers.items():
            known = self._watches.get(name)
            if known is not None and known.carrier is carrier:
                watches[name] = known
            elif isinstance(carrier.provider, TellsBalance):
                watches[name] = _Watch(carrier, carrier.provider, self._clock.monotonic() + FIRST_S)
        for name, watch in self._watches.items():
            if watches.get(name) is not watch:
                _forget(watch)
        self._watches = watches
        self.bell.ring()

    def figures(self) -> dict[str, Figure]:
        """Return what is known to be left, by carrier."""
        return {
            name: Figure(left=watch.left, currency=watch.currency, is_low=watch.is_low)
            for name, watch in self._watches.items()
            if watch.currency is not None
        }

    async def _look(self, crew: Crew) -> float:
        now = self._clock.monotonic()
        for watch in self._watches.values():
            if not watch.is_asking and watch.ask_at <= now:
                watch.is_asking = True
                watch.ask_at = now + watch.carrier.balance_every_s
                crew.start(f"balance:{watch.name}", partial(self._ask, watch))
        return min((watch.ask_at - now for watch in self._watches.values()), default=_LONGEST_SLEEP_S)

    async def _ask(self, watch: _Watch) -> None:
        try:
            async with asyncio.timeout(watch.carrier.deadline_s):
                told = await call_or(
                    watch.provider.balance(),
                    lambda: Untold(reason="the gateway failed during the question"),
                    name=f"balance:{watch.name}",
                )
        except TimeoutError:
            told = Untold(reason="no answer in time")
        finally:
            watch.is_asking = False
        if self._watches.get(watch.name) is watch:  # else it was exchanged meanwhile
            self._note(watch, told)

    def _note(self, watch: _Watch, told: Balance | Untold) -> None:
        figure = _figure_of(told)
        if figure is None:
            _forget(watch)
            if not watch.is_unknown:
                watch.is_unknown = True
                reason = told.reason if isinstance(told, Untold) else "the answer holds no figure"
                advice = "sending goes on; look there yourself, or mend its key"
                _log.warning("provider_balance_unknown", provider=watch.name, reason=reason, advice=advice)
            return
        watch.is_unknown = False
        left, currency = figure
        if watch.currency != currency:
            _forget(watch)
        watch.currency, watch.left = currency, left
        _LEFT.labels(watch.name, currency).set(left)
        self._compare(watch, left, currency)

    def _compare(self, watch: _Watch, left: float, currency: str) -> None:
        low = watch.carrier.low_balance
        if left < low and not watch.is_low:
            advice = "top it up before it is used up; then its SMS wait, or go by the next carrier of their route"
            _log.warning(
                "provider_balance_low",
                provider=watch.name,
                left=left,
                currency=currency,
                low_balance=low,
                advice=advice,
            )
        elif left >= low and watch.is_low:
            _log.info("provider_balance_recovered", provider=watch.name, left=left, currency=currency)
        watch.is_low = left < low


def _figure_of(told: Balance | Untold) -> tuple[float, str] | None:
    """Return what is left and in what; None: it was not told."""
    if isinstance(told, Untold):
        return None
    if told.amount is not None:
        return float(told.amount), told.currency or ""
    return None if told.sms is None else (float(told.sms), _SMS)


def _forget(watch: _Watch) -> None:
    """An old figure is not shown as if it were today's."""
    if watch.currency is not None:
        _LEFT.remove(watch.name, watch.currency)
        watch.currency = None
