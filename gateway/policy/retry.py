"""How long to wait before trying again. Pure: the jitter is an argument."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType

from gateway.lifecycle import Hold

_SPREAD = 0.25
_WIDEST_SPREAD = timedelta(minutes=5)
"""Jitter adds up to this share, and no more than so long, so that what failed together does not come back together."""

MAX_WISH = timedelta(days=1)
"""A provider that asks for more than this is asked again earlier."""

_MAX_DOUBLINGS = 20  # beyond any cap; keeps a large attempt number from becoming a huge one


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """The first delay doubles with each attempt, up to the cap."""

    first: timedelta
    cap: timedelta

    def delay(self, attempt: int, jitter: float) -> timedelta:
        """Return the wait after this attempt (1 for the first); `jitter` in [0, 1) adds up to a quarter."""
        doubled = self.first * 2 ** min(attempt - 1, _MAX_DOUBLINGS)
        return _spread(min(doubled, self.cap), jitter)


SMS_BACKOFF: Mapping[Hold, Backoff] = MappingProxyType(
    {
        Hold.SMS: Backoff(first=timedelta(minutes=1), cap=timedelta(minutes=30)),
        # The account waits, not its SMS: once an operator has acted, or one SMS got through, all of them are due
        Hold.ACCOUNT: Backoff(first=timedelta(0), cap=timedelta(0)),
        Hold.PROVIDER: Backoff(first=timedelta(seconds=30), cap=timedelta(minutes=10)),
    }
)
"""After a proven "not sent", by how much must wait for it: what the SMS itself waits, whoever else is held."""

REPORT_BACKOFF = Backoff(first=timedelta(minutes=1), cap=timedelta(hours=1))
"""After a smarthost did not take a report (docs/protocol.md §8.5)."""

OPTOUT_BACKOFF = Backoff(first=timedelta(minutes=1), cap=timedelta(hours=6))
"""After a carrier was not told of an opt-out."""


def sms_delay(hold: Hold, *, attempt: int, jitter: float, now: datetime, retry_at: datetime | None) -> timedelta:
    """Return the wait after a proven "not sent": never less than the provider's wish, but for `MAX_WISH`."""
    backoff = SMS_BACKOFF[hold].delay(attempt, jitter)
    if retry_at is None:
        return backoff
    return max(backoff, _spread(min(retry_at - now, MAX_WISH), jitter))


def report_delay(*, attempt: int, jitter: float) -> timedelta:
    """Return the wait after a report was not taken."""
    return REPORT_BACKOFF.delay(attempt, jitter)


def optout_delay(*, attempt: int, jitter: float) -> timedelta:
    """Return the wait after a carrier could not be told that a number is, or is no more, on the STOP list."""
    return OPTOUT_BACKOFF.delay(attempt, jitter)


def _spread(delay: timedelta, jitter: float) -> timedelta:
    return delay + min(delay * _SPREAD, _WIDEST_SPREAD) * jitter
