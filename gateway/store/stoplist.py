"""Numbers that want nothing any more: the rows of the STOP list (docs/protocol.md §5.6)."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, unique

EVERYBODY = "*"
"""In place of an account: a number that no account may write to."""


@unique
class OptOutSource(Enum):
    """Who said that a number wants nothing any more."""

    REPLY = "reply"  # its owner, by SMS
    CARRIER = "carrier"  # which refused an SMS to it with code 11, or has it on a list of its own
    OPERATOR = "operator"
    IMPORT = "import"  # a file


@dataclass(frozen=True, slots=True, kw_only=True)
class OptOut:
    """A number that an account may not write to, or nobody (`EVERYBODY`)."""

    account: str
    msisdn: str = field(repr=False)  # E.164
    since_at: datetime
    source: OptOutSource
    note: str | None = None  # for the operator; no text of an SMS
