"""What can be told of a mail, of what waits, and of all together: values, for a terminal, a page or a program.

A step says by its `kind` what happened, so that it can be worded in another language; `sentence` is English, and `data`
has everything that is in it and more. Texts and numbers are whole, and what a stranger wrote stands as it came: whoever
shows it to somebody escapes it, and masks what that one may not see.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, unique

from gateway.lifecycle import SmsId, SmsState

Data = Mapping[str, object]
"""Plain values by name: str, int, float, bool, None, tuples and mappings of these; instants as ISO 8601 in UTC."""


@unique
class FoundKind(Enum):
    """What a `Found` is; its id is for `Stories.story` whatever it is."""

    MAIL = "mail"  # taken: it is an order, or a duplicate, or has no emailId
    REFUSAL = "refusal"  # a mail of a known client that was not taken
    TURNED_AWAY = "turned_away"  # clients that were told no: counted by client, sender and cause


@unique
class StepKind(Enum):
    """What happened, in the order in which it does; the data that a step always has is in brackets."""

    # the mail
    CONNECTED = "connected"  # a client brought it [peer, listener, helo, tls, cipher, user, envelope_from]
    PROVEN = "proven"  # who it is [proof, account, header_from, setting]
    NOT_PROVEN = "not_proven"  # a refusal about who it is [ground, cause, settings]
    READ = "read"  # how its text was read [size_bytes, charset, declared_charset, mode, notes]
    UNREADABLE = "unreadable"  # [cause]
    CHECKED = "checked"  # one check [check, passed, setting, detail]
    TAKEN = "taken"  # answered 250, with Ack code 0 [email_id, envoi_id, sms]
    DUPLICATE = "duplicate"  # the emailId was used before: Ack code 1 [email_id, first_mail_id]
    WITHOUT_ID = "without_id"  # Ack code 2 []
    REFUSED = "refused"  # answered 4xx or 5xx [reply, cause, code]
    TURNED_AWAY = "turned_away"  # so often [kind, reply, count, first_at, last_at]
    FAULT = "fault"  # a code for all of the envoi [code, label, settings]
    # each SMS; `sms_id` is set
    SMS_QUEUED = "sms_queued"  # [position, tel, msisdn, text, parts, encoding, forced_by, originator, notes, route]
    SMS_REFUSED = "sms_refused"  # never handed to a carrier [position, tel, msisdn, code, label, reason, settings]
    CALLED = "called"  # an attempt began [number, provider]
    ANSWERED = "answered"  # its answer [number, provider, verdict, code, raw, duration_s]
    LEARNT = "learnt"  # a receipt, or a look-up [number, provider, word, code, raw]
    OPERATED = "operated"  # an operator did something about it [action, by, note]
    STANDS = "stands"  # where it is now [state, code, label, reason, since_at, settings]
    REPLIED = "replied"  # somebody answered by SMS [msisdn, text, is_stop]
    # what goes back
    REPORT_WRITTEN = "report_written"  # [report_id, kind, recipient, subject]
    REPORT_STANDS = "report_stands"  # [report_id, kind, state, attempts, reason, due_at]
    NO_REPORT = "no_report"  # one that is not written, and why [kind, cause]
    # the rest
    CREDIT = "credit"  # of the account, now [account, balance, reserved, spent]
    NEXT = "next"  # what will happen by itself, and when; or who must act [what, at, needs_operator]
    PURGED = "purged"  # contents were erased []


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that happened, or is so."""

    kind: StepKind
    at: datetime | None  # None: nobody wrote down when
    sentence: str
    data: Data = field(default_factory=dict)
    sms_id: SmsId | None = None  # None: it is about all of the mail
    is_trouble: bool = False  # this is why something did not go as its sender wants


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One mail, refusal, or count of clients turned away."""

    kind: FoundKind
    id: str  # for `Stories.story`
    at: datetime  # when it came; of several, the last
    account: str | None
    peer: str
    sender: str  # of the header, else of the envelope; "" for none
    email_id: str | None
    message_id: str | None
    summary: str  # one line: "3 SMS: 2 accepted, 1 refused", or why it was refused
    count: int = 1
    states: Mapping[str, int] = field(default_factory=dict)  # SMS by state


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """The life of one mail. `steps` are in order of time, those of one SMS together."""

    found: Found
    reason: str  # one line: what became of it, and why
    steps: tuple[Step, ...]

    @property
    def troubles(self) -> tuple[Step, ...]:
        """Why something did not go as its sender wants."""
        return tuple(step for step in self.steps if step.is_trouble)


# --- lists -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which mails (`Stories.search`), or which SMS (`Stories.queue`); None is any."""

    account: str | None = None
    provider: str | None = None
    states: tuple[SmsState, ...] = ()
    since: datetime | None = None  # came at or after
    until: datetime | None = None  # came before
    number: str | None = None  # in any spelling
    email_id: str | None = None
    envoi: str | None = None  # id of a mail or an envoi, or of an SMS
    text: str | None = None  # is in the text of an SMS, or in why something was refused; no case


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Which part of a list."""

    size: int = 50  # 1 to 500
    after: str | None = None  # `next` of the page before


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPage:
    """Mails, the newest first. So many rows are looked at for a page and no more: it may be short and have a next."""

    rows: tuple[Found, ...]
    next: str | None  # None: that is all


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRow:
    """An SMS that is not at its end."""

    sms_id: SmsId
    mail_id: str
    envoi_id: str
    account: str
    provider: str | None  # that has, or had, it last
    state: SmsState
    position: int
    tel: str  # as submitted
    msisdn: str | None
    text: str | None
    parts: int
    attempts: int
    since_at: datetime  # in this state
    due_at: datetime | None
    expires_at: datetime | None
    reason: str | None  # of the last move, for the operator
    epoch: int
    waits_for: str  # in words: "until 2026-11-22 08:00 UTC", "an operator: mail2sms queue release"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePage:
    """SMS that wait, the longest in its state first, then those at their end. It may be short, too, and have a next."""

    rows: tuple[QueueRow, ...]
    next: str | None


# --- what operators do -----------------------------------------------------------------------------------------------


@unique
class Action(Enum):
    """What an operator may do about SMS that wait."""

    HOLD = "hold"  # queued: not sent before it is released
    RELEASE = "release"  # held: goes when it is due
    RETRY = "retry"  # queued: due now; uncertain: sent again, perhaps twice
    CANCEL = "cancel"  # queued, held: never sent; the sender is told


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What an action did to one SMS."""

    sms_id: SmsId
    mail_id: str
    account: str
    before: SmsState
    after: SmsState
    has_changed: bool  # False: somebody else moved it first, or the action does not apply to its state
    note: str  # why not, or what follows


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What an action did to all it was asked for."""

    action: Action
    moved: tuple[Moved, ...]
    reports: int = 0  # that follow from it


# --- numbers ---------------------------------------------------------------------------------------------------------


@unique
class StatsBy(Enum):
    """How SMS are counted together."""

    ACCOUNT = "account"
    PROVIDER = "provider"
    HOUR = "hour"  # UTC, of the mail: "2026-11-22 14:00"
    STATE = "state"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatsRow:
    """SMS of mails that came since then, counted together."""

    key: str
    sms: int
    parts: int  # as billed where the carrier says, else as worked out
    states: Mapping[str, int]
    costs_micros: Mapping[str, int]  # by currency
    delivery_rate: float | None  # delivered of those the network spoke about, 0 to 1; None: of none


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """How long SMS have been waiting for a carrier."""

    provider: str
    sms: int
    oldest_s: float
    p50_s: float
    p95_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """What came since then, and what waits now."""

    by: StatsBy
    since: datetime
    rows: tuple[StatsRow, ...]
    total: StatsRow
    waiting: tuple[Waiting, ...]
