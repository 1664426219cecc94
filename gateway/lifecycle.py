"""States and moves of the two things that live: an SMS and a report.

All states live here, as an enumeration and a table `{state: {event: state}}` each. The store's CHECK constraints, the
drawing in docs/states.md and the tests come from these tables. Every move in the store names the state it comes from;
no row changed means that somebody else was first, which is normal.

A verdict is a provider's immediate answer about one SMS. `Uncertain` is the heart: an SMS is not idempotent, so what is
not *proven* unsent is never sent again by itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum, unique
from types import MappingProxyType
from typing import NewType

from gateway.protocol.codes import Code

MailId = NewType("MailId", str)
EnvoiId = NewType("EnvoiId", str)
SmsId = NewType("SmsId", str)
ReportId = NewType("ReportId", str)
ReplyId = NewType("ReplyId", str)


@unique
class SmsState(Enum):
    """Where an SMS stands. The last five are final."""

    QUEUED = "queued"
    HELD = "held"
    SENDING = "sending"
    UNCERTAIN = "uncertain"
    ACCEPTED = "accepted"
    DELIVERED = "delivered"
    UNDELIVERED = "undelivered"
    REFUSED = "refused"
    EXPIRED = "expired"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """True when no move leads out of this state."""
        return not SMS_MOVES[self]

    @property
    def is_answered(self) -> bool:
        """True when the sender can be told what became of the SMS (docs/protocol.md §8.2)."""
        return self is SmsState.ACCEPTED or self.is_final


@unique
class SmsEvent(Enum):
    """Why an SMS moves."""

    CLAIMED = "claimed"  # the dispatcher took it; the attempt is committed
    HELD = "held"  # an operator, or its account is on hold
    RELEASED = "released"  # an operator let it go
    CANCELLED = "cancelled"  # an operator, or a STOP came in
    EXPIRED = "expired"  # validity, or the time for word of it, is over
    POSTPONED = "postponed"  # looked at again before the call: not now, uncounted
    NOT_SENT = "not_sent"  # proven: the provider never had it; counted, later due_at
    TAKEN = "taken"  # the provider accepted it; by its answer, a receipt or a look-up
    REFUSED = "refused"  # the provider said never
    LOST = "lost"  # the answer is unknown, or the process died during the call
    RESENT = "resent"  # the account's choice, or a human's
    DELIVERED = "delivered"  # a receipt, or a look-up
    UNDELIVERED = "undelivered"  # a receipt, or a look-up


_HAD_IT_AFTER_ALL: Mapping[SmsEvent, SmsState] = MappingProxyType(
    {
        SmsEvent.TAKEN: SmsState.ACCEPTED,
        SmsEvent.DELIVERED: SmsState.DELIVERED,
        SmsEvent.UNDELIVERED: SmsState.UNDELIVERED,
    }
)
"""A carrier speaks of an SMS that waits to be sent (again): it has it, and sent again it would come twice."""

SMS_MOVES: Mapping[SmsState, Mapping[SmsEvent, SmsState]] = MappingProxyType(
    {
        SmsState.QUEUED: {
            SmsEvent.CLAIMED: SmsState.SENDING,
            SmsEvent.HELD: SmsState.HELD,
            SmsEvent.CANCELLED: SmsState.CANCELLED,
            SmsEvent.EXPIRED: SmsState.EXPIRED,
            **_HAD_IT_AFTER_ALL,
        },
        SmsState.HELD: {
            SmsEvent.RELEASED: SmsState.QUEUED,
            SmsEvent.CANCELLED: SmsState.CANCELLED,
            SmsEvent.EXPIRED: SmsState.EXPIRED,
            **_HAD_IT_AFTER_ALL,
        },
        SmsState.SENDING: {
            SmsEvent.POSTPONED: SmsState.QUEUED,
            SmsEvent.CANCELLED: SmsState.CANCELLED,
            SmsEvent.NOT_SENT: SmsState.QUEUED,
            SmsEvent.TAKEN: SmsState.ACCEPTED,
            SmsEvent.REFUSED: SmsState.REFUSED,
            SmsEvent.LOST: SmsState.UNCERTAIN,
        },
        SmsState.UNCERTAIN: {
            SmsEvent.TAKEN: SmsState.ACCEPTED,
            SmsEvent.DELIVERED: SmsState.DELIVERED,
            SmsEvent.UNDELIVERED: SmsState.UNDELIVERED,
            SmsEvent.REFUSED: SmsState.REFUSED,
            SmsEvent.RESENT: SmsState.QUEUED,
            SmsEvent.EXPIRED: SmsState.EXPIRED,
        },
        SmsState.ACCEPTED: {
            SmsEvent.DELIVERED: SmsState.DELIVERED,
            SmsEvent.UNDELIVERED: SmsState.UNDELIVERED,
            SmsEvent.EXPIRED: SmsState.EXPIRED,
        },
        SmsState.DELIVERED: {},
        SmsState.UNDELIVERED: {},
        SmsState.REFUSED: {},
        SmsState.EXPIRED: {},
        SmsState.CANCELLED: {},
    }
)

SMS_FIRST_STATES = frozenset({SmsState.QUEUED, SmsState.REFUSED})
"""What intake may write: waiting to be sent, or refused with its code."""


@unique
class ReportState(Enum):
    """Where a report stands. The last two are final."""

    DUE = "due"
    HELD = "held"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        """True when no move leads out of this state."""
        return not REPORT_MOVES[self]


@unique
class ReportEvent(Enum):
    """Why a report moves."""

    CLAIMED = "claimed"  # the mailer took it
    HELD = "held"  # an operator
    RELEASED = "released"  # an operator
    TAKEN = "taken"  # the smarthost answered 250
    DEFERRED = "deferred"  # not now, or not known; the same Message-ID goes again
    POSTPONED = "postponed"  # claimed, and then not tried: it does not count
    GIVEN_UP = "given_up"  # refused for good, or too old


REPORT_MOVES: Mapping[ReportState, Mapping[ReportEvent, ReportState]] = MappingProxyType(
    {
        ReportState.DUE: {
            ReportEvent.CLAIMED: ReportState.SENDING,
            ReportEvent.HELD: ReportState.HELD,
            ReportEvent.GIVEN_UP: ReportState.FAILED,
        },
        ReportState.HELD: {
            ReportEvent.RELEASED: ReportState.DUE,
            ReportEvent.GIVEN_UP: ReportState.FAILED,
        },
        ReportState.SENDING: {
            ReportEvent.TAKEN: ReportState.SENT,
            ReportEvent.DEFERRED: ReportState.DUE,
            ReportEvent.POSTPONED: ReportState.DUE,
            ReportEvent.GIVEN_UP: ReportState.FAILED,
        },
        ReportState.SENT: {},
        ReportState.FAILED: {},
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The provider took the SMS (code 0). `parts` and `cost` are what it says it billed, if it says."""

    raw: str
    provider_ref: str | None = None
    parts: int | None = None
    cost: Decimal | None = None  # of this SMS alone
    currency: str | None = None  # ISO 4217; given with `cost`


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The provider said never, for this SMS, with a code of the annex (docs/protocol.md §9)."""

    raw: str
    code: Code


@unique
class Hold(Enum):
    """How much must wait because of a proven "not sent"."""

    SMS = "sms"  # only the SMS itself
    ACCOUNT = "account"  # wrong key, no credit, client address refused: all of the account, and an operator is needed
    PROVIDER = "provider"  # refused connection, overload: everything for this provider


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSent:
    """Proven: the provider never had the SMS, or said "not now". It may be tried again.

    `code` is the annex code that is reported if time runs out; `retry_at` is the provider's own wish (Retry-After,
    opening hour), if any.
    """

    raw: str
    hold: Hold = Hold.SMS
    code: Code = Code.C999_ERROR
    retry_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncertain:
    """Nothing is proven: the provider may or may not have the SMS."""

    raw: str


Verdict = Accepted | Refused | NotSent | Uncertain
