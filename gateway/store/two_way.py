"""What the store takes and gives where people answer: changes of the STOP list, and replies."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from gateway.lifecycle import EnvoiId, ReplyId, ReportId, SmsId
from gateway.store.base import NewReport
from gateway.store.stoplist import EVERYBODY, OptOut

# --- the STOP list ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppedSms:
    """An SMS that waited for a number that is on the STOP list now: cancelled with code 11."""

    id: SmsId
    envoi_id: EnvoiId
    account: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """What opt-outs did: those that were new, the SMS that were cancelled, the Not reports that were staged."""

    added: tuple[OptOut, ...] = ()
    cancelled: tuple[StoppedSms, ...] = ()
    reports: tuple[ReportId, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRules:
    """What the configuration says about the STOP list, for whoever changes it.

    `exempt` are the accounts whose SMS go all the same. `users` are, for each carrier that is to keep the numbers on
    its own list too, the accounts that use it.
    """

    exempt: frozenset[str] = frozenset()
    users: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CarrierOptOut:
    """A carrier is to be told to put a number on its own list, or to take it off. `attempt` is 1 for the first."""

    provider: str
    msisdn: str = field(repr=False)
    is_listed: bool
    attempt: int


# --- replies ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class PartKey:
    """What the parts of one long reply have in common."""

    provider: str
    msisdn: str = field(repr=False)
    sent_to: str  # "" when the carrier did not say
    reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPart:
    """One part of a long reply."""

    key: PartKey
    number: int  # from 1
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NewReply:
    """What a carrier says that somebody answered by SMS, or one part of it.

    `marks` are what makes it the same reply when it comes again: the first is stored, any of them is recognised.
    """

    received_at: datetime
    provider: str
    msisdn: str = field(repr=False)  # E.164
    sent_to: str | None
    text: str = field(repr=False)
    raw: str = field(repr=False)
    marks: tuple[bytes, ...]  # of a part: none
    tracker: str | None = None
    provider_ref: str | None = None
    is_stop: bool = False  # the carrier says so
    part: NewPart | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweredSms:
    """The SMS that a reply answers, as far as can be told."""

    sms_id: SmsId
    account: str
    position: int
    email_id: str | None
    message_id: str | None  # of its mail
    asked_at: datetime  # when its mail came


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenReply:
    """A reply as it is stored."""

    id: ReplyId
    received_at: datetime
    provider: str
    msisdn: str = field(repr=False)
    sent_to: str | None
    text: str = field(repr=False)
    is_stop: bool
    account: str | None  # whose it is; None: nobody's that we know of
    answers: AnsweredSms | None
    parts: tuple[int, ...] = (1,)  # those it is made of, in order
    total: int = 1  # more than there are `parts`: the others did not come in time

    @property
    def is_whole(self) -> bool:
        """True unless parts are missing."""
        return len(self.parts) == self.total

    @property
    def stops(self) -> str | None:
        """Whose list it puts the number on: that of its account, of everybody when that is not known; or none."""
        return (self.account or EVERYBODY) if self.is_stop else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyRules:
    """How a reply is understood; both functions are pure, and called while it is stored.

    `owners` is the account of a carrier that only one account uses, for replies to SMS that are not known.
    """

    is_stop: Callable[[str], bool]
    render: Callable[[TakenReply], NewReport | None]  # None: it is kept, and mailed to nobody
    owners: Mapping[str, str]
    stop: StopRules


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyStored:
    """It is on disk, with all that follows from it."""

    reply: TakenReply
    stopped: Stopped
    report: ReportId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyKnown:
    """It was here before: nothing was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyIncomplete:
    """A part is on disk; others are waited for."""


ReplyOutcome = ReplyStored | ReplyKnown | ReplyIncomplete
