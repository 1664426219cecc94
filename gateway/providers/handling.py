"""What can be done about a carrier's "no", and the verdict that does it: the words of tables of codes."""

from datetime import datetime
from enum import Enum, unique
from typing import assert_never

from gateway.lifecycle import Hold, NotSent, Refused, Uncertain, Verdict
from gateway.protocol.codes import Code


@unique
class Handling(Enum):
    """What is done about a carrier's code."""

    NUMBER = "number"  # this number will not be served, now or later; says nothing about others
    REFUSED = "refused"  # none of the call will be taken, now or later
    RETRY = "retry"  # not taken now; when to try again is for the policy
    HOLD = "hold"  # not taken; nothing of this account will be until somebody acts
    PAUSE = "pause"  # not taken; the carrier needs a rest
    UNKNOWN = "unknown"  # says nothing about whether it was taken


def verdict_of(handling: Handling, code: Code, *, raw: str, retry_at: datetime | None = None) -> Verdict:
    """Return what is said about an SMS. `retry_at` is the carrier's own wish."""
    match handling:
        case Handling.NUMBER | Handling.REFUSED:
            return Refused(raw=raw, code=code)
        case Handling.RETRY:
            return NotSent(raw=raw, code=code, retry_at=retry_at)
        case Handling.HOLD:
            return NotSent(raw=raw, hold=Hold.ACCOUNT, code=code)
        case Handling.PAUSE:
            return NotSent(raw=raw, hold=Hold.PROVIDER, code=code, retry_at=retry_at)
        case Handling.UNKNOWN:
            return Uncertain(raw=raw)
        case _:
            assert_never(handling)
