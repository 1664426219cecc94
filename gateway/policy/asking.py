"""When to ask a carrier what became of an SMS. Pure: the jitter is an argument.

Of one whose fate is unknown (`uncertain`) soon, then after twice the time, and once more when the time for word of it
is over: nothing is decided about it before. Of one that was accepted later and later, for receipts mostly come by
themselves.
"""

from datetime import datetime, timedelta

from gateway.lifecycle import SmsState

_FIRST_UNCERTAIN = timedelta(minutes=1)
_ACCEPTED = tuple(timedelta(hours=hours) for hours in (0.25, 1, 4, 12, 24, 48, 96, 192))
_SPREAD = 0.1
"""Jitter adds up to this share: what was sent together is not asked for together."""


def first_ask(state: SmsState, now: datetime, *, jitter: float) -> datetime | None:
    """Return when to ask of an SMS that has just come into this state; None: not at all."""
    if state is SmsState.UNCERTAIN:
        return now + _spread(_FIRST_UNCERTAIN, jitter)
    return now + _spread(_ACCEPTED[0], jitter) if state is SmsState.ACCEPTED else None


def next_ask(state: SmsState, now: datetime, *, since: datetime, window: timedelta, jitter: float) -> datetime | None:
    """Return when to ask again of an SMS that was asked for now; None: that was the last time.

    `since` when it came into this state; `window` how long word of it is waited for.
    """
    age = max(now - since, timedelta(0))
    if age >= window:
        return None
    if state is SmsState.UNCERTAIN:
        return min(since + window, now + _spread(max(age, _FIRST_UNCERTAIN), jitter))
    later = next((step for step in _ACCEPTED if step > age), None)
    return None if later is None or later >= window else since + _spread(later, jitter)


def _spread(delay: timedelta, jitter: float) -> timedelta:
    return delay + delay * _SPREAD * jitter
