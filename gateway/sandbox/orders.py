"""What a client asks a carrier for, read; the same for each of the interfaces."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, unique

MOST_NUMBERS = 500
"""The most SMS in one call, for either carrier."""

_RESERVED_PREFIX = "+336000000"  # and two digits: the code that is answered
_RESERVED_DIGITS = len("+33600000011")

DELIVERED_NUMBER = "+33699000001"
UNDELIVERED_NUMBER = "+33699000002"
SILENT_NUMBER = "+33699000003"
STOPPING_NUMBER = "+33699000004"
CONSENTING_NUMBER = "+33699000005"
CUTTING_NUMBER = "+33699000006"


@unique
class Api(Enum):
    """Whose interface a call speaks."""

    ISENDPRO = "isendpro"
    SMSPARTNER = "smspartner"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One SMS of a call, and what is answered about it: a code of that carrier; 0: taken."""

    number: str  # as it came
    msisdn: str | None  # E.164; None: not a number
    text: str  # as the telephone shows it
    tracker: str | None
    parts: int
    code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A call that asks for SMS and is right as a whole."""

    api: Api
    key: str
    originator: str | None
    lines: Sequence[Line]
    deliver_at: datetime | None = None  # None: at once
    date_envoi: str | None = None  # the same as it came
    smslong: int | None = None
    nostop: bool = False
    ucs2: bool = False
    is_trial: bool = False  # checked and answered; neither sent nor charged
    long_number: str | None = None  # from which it goes, without plus; such an SMS can be answered in parts
    receipts_to: str | None = None
    replies_to: str | None = None
    wants_xml: bool = False

    @property
    def cuts(self) -> bool:
        """True when a reserved number asks for the connection to be cut."""
        return any(line.msisdn == CUTTING_NUMBER for line in self.lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a carrier says to a call."""

    body: bytes
    status: int = 200
    media_type: str = "application/json"


def reserved_code(msisdn: str) -> int | None:
    """Return the code that a reserved number always gets (06000000CC); None if it is none of them."""
    if len(msisdn) == _RESERVED_DIGITS and msisdn.startswith(_RESERVED_PREFIX):
        return int(msisdn.removeprefix(_RESERVED_PREFIX))
    return None
