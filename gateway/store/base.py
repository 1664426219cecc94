"""What the store takes and gives: the steps of the flow as values. `store` has the steps themselves.

Every move of a row says which state it comes from and, once claimed, which `epoch` it was claimed with; a row that
somebody else moved first is simply not moved.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from gateway.lifecycle import EnvoiId, MailId, ReportId, SmsEvent, SmsId, SmsState
from gateway.protocol.codes import AckCode, Code
from gateway.protocol.report import ReportFormat, ReportKind, SmsAnswer
from gateway.store.budget import Alarm, Budget, Deferred, Room
from gateway.store.facts import Facts
from gateway.store.stoplist import OptOut

# --- what intake gives -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMail:
    """A mail as it arrived."""

    id: MailId
    received_at: datetime
    account: str
    peer: str  # client address
    listener: str
    proof: str  # what proved the client: network, smtp_auth, ...
    envelope_from: str
    header_from: str | None
    message_id: str | None
    body_digest: bytes  # SHA-256 of what follows the header block
    raw: bytes
    notes: tuple[str, ...] = ()  # tolerances, for the operator
    facts: Facts | None = None  # of its connection, and how it was read


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSms:
    """One SMS as admitted: to be sent (queued), or refused with its code."""

    id: SmsId
    position: int
    tel: str  # as submitted
    state: SmsState  # QUEUED or REFUSED
    code: Code | None  # set if and only if refused
    reason: str | None = None  # why, for the operator
    msisdn: str | None = None  # E.164; None when it is not a number
    text: str | None = None  # final text
    parts: int = 0
    originator: str | None = None
    max_parts: int = 1
    nostop: bool = False
    ucs2: bool = False
    tracker: str | None = None  # ours, 20 characters
    route: str = ""  # of the account, by its prefixes; "": the one for all others
    deliver_at: datetime | None = None  # the carrier is to wait until then, where it can
    due_at: datetime | None = None  # set if and only if queued
    expires_at: datetime | None = None  # set if and only if queued
    notes: tuple[str, ...] = ()  # transliterated, cut, ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NewReport:
    """A mail to send back. `body` is complete: XML or a warning in ISO-8859-1, a reply in UTF-8."""

    id: ReportId
    kind: ReportKind
    recipient: str
    message_id: str  # ours; the same each time it is sent
    in_reply_to: str | None
    body: bytes
    due_at: datetime
    expires_at: datetime
    subject: str | None = None  # None: that of its kind


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEnvoi:
    """What the mail asks for. A whole-envoi error has `fault` set and no SMS."""

    id: EnvoiId
    email_id: str | None
    customer_tracker: str | None
    not_to: str | None  # where the Not will go; None: none wanted, or not allowed
    report_format: ReportFormat
    commercial: bool
    fault: Code | None
    sms: tuple[NewSms, ...]
    receipts_to: str | None = None  # where the etatAr will go; None: none wanted, or not allowed


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditAlert:
    """The credit of an account has fallen to where somebody is to be told of it (docs/protocol.md §10.3)."""

    account: str
    at: datetime
    balance: int  # parts that are left
    threshold: int
    is_low: bool  # it was not below the threshold before
    is_gone: bool  # it is not enough for an SMS, for the first time since it was given


RenderAlert = Callable[[CreditAlert], NewReport]
"""Called inside the transaction that lowers the credit, perhaps more than once; pure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditWatch:
    """When somebody is to be told of the credit of an account: below the threshold, and when it is gone."""

    threshold: int  # parts; 0: only when it is gone
    render: RenderAlert | None = None  # None: nobody is written to


RenderAlarm = Callable[[Alarm], NewReport]  # called like the one above
RenderEarlyNot = Callable[[tuple[SmsAnswer, ...]], NewReport]
"""Given the answers in order of position. Called while the order is stored, perhaps more than once; pure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One mail with everything it causes, to be stored in one transaction.

    `envoi` is None when the mail carries no emailId (Ack code 2). `reports` go with a first arrival;
    `duplicate_reports` (Ack code 1) instead of everything else when the account has used the emailId before. The store
    refuses SMS to numbers on the STOP list (code 11), and those that the account's credit (12) or `budget` (29) is not
    enough for; when that leaves none, `early_not`, if wanted, writes the Not. What it warns of is one more report.
    """

    mail: NewMail
    envoi: NewEnvoi | None
    reports: tuple[NewReport, ...]
    duplicate_reports: tuple[NewReport, ...] = ()
    early_not: RenderEarlyNot | None = None
    watch: CreditWatch | None = None
    heeds_stop: bool = True  # else numbers on the STOP list are like all others
    budget: Budget | None = None  # None: no quotas, and its volume is not watched
    render_alarm: RenderAlarm | None = None  # None: nobody is written to


@dataclass(frozen=True, slots=True, kw_only=True)
class Credit:
    """What an account may still send, in parts (docs/protocol.md §10.2).

    What was ever given to it is the sum of the three; `balance` is None when there is no limit.
    """

    account: str
    balance: int | None  # what is left to reserve
    reserved: int  # by SMS that have no answer yet
    spent: int  # by SMS that a carrier took
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserved:
    """What an order did to the balance of its account: parts before and after it."""

    before: int
    after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A first arrival: all of it is on disk.

    `opted_out` are the SMS of it that are refused for the STOP list (code 11), `unpaid` those that the credit of the
    account is not enough for (12), `held_back` those that a quota is not enough for (29), each with the reason.
    `early_not` is the Not, when that left none.
    """

    mail_id: MailId
    ack_code: AckCode
    opted_out: tuple[SmsId, ...] = ()
    unpaid: tuple[SmsId, ...] = ()
    early_not: ReportId | None = None
    reserved: Reserved | None = None  # None: there is no limit, or the order was stored before
    alert: CreditAlert | None = None  # what it did to the credit that somebody is to be told of
    held_back: tuple[tuple[SmsId, str], ...] = ()
    alarms: tuple[Alarm, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate:
    """The emailId was used before: the mail and its Ack code 1 are on disk, nothing is sent."""

    mail_id: MailId
    first_envoi_id: EnvoiId


@dataclass(frozen=True, slots=True, kw_only=True)
class Retransmitted:
    """The same mail again (docs/protocol.md §1.6): nothing was written."""

    first_mail_id: MailId


AdmitOutcome = Stored | Duplicate | Retransmitted | Deferred


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """What would become of an order; `first_at` is when the mail, or the emailId, was here first."""

    outcome: AdmitOutcome
    first_at: datetime | None  # None: a first arrival
    rooms: tuple[Room, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A mail that was not taken, without its content, and the reports that go with it (docs/protocol.md §1.3)."""

    id: MailId
    refused_at: datetime
    peer: str
    listener: str
    envelope_from: str
    header_from: str | None
    message_id: str | None
    account: str | None  # when one could be told
    reply: str  # as the client saw it
    cause: str  # for the operator: more than the client saw
    reports: tuple[NewReport, ...] = ()
    facts: Facts | None = None  # as of a mail, with its `ground` (of `intake.judging`) and `code`, if it has one


# --- what the dispatcher gets and gives ------------------------------------------------------------------------------


def lane_of(account: str, route: str = "") -> str:
    """Return the name of the lane: SMS of one account that go the same way."""
    return f"{account}/{route}" if route else account  # no name of an account has a slash


def split_lane(lane: str) -> tuple[str, str]:
    """Return the account of a lane, and its route there."""
    account, _, route = lane.partition("/")
    return account, route


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedSms:
    """An SMS in `sending`, its attempt committed. Only the holder of `epoch` may move it."""

    id: SmsId
    mail_id: MailId
    envoi_id: EnvoiId
    account: str
    provider: str
    epoch: int
    attempt: int  # 1 for the first
    msisdn: str
    text: str
    tracker: str
    originator: str | None
    max_parts: int
    nostop: bool
    ucs2: bool
    commercial: bool
    due_at: datetime  # since when it could go
    expires_at: datetime
    is_opted_out: bool = False  # its number was on the STOP list when it was claimed
    deliver_at: datetime | None = None  # the carrier is to wait until then, where it can


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """One move of a claimed SMS and what is to be remembered of it.

    `due_at` is needed when the move leads back to `queued`; `code` when it leads to a final state.
    """

    sms_id: SmsId
    epoch: int
    from_state: SmsState
    event: SmsEvent
    code: Code | None = None
    reason: str | None = None  # for the operator
    due_at: datetime | None = None
    provider_ref: str | None = None
    parts: int | None = None
    raw: str | None = None  # the provider's answer, capped
    cost_micros: int | None = None  # millionths of `currency`; None: what was known before
    currency: str | None = None
    ask_at: datetime | None = None  # when to ask the carrier what became of it; None: nobody asks
    network_at: datetime | None = None  # when it arrived, or did not
    network_code: Code | None = None  # why it did not
    attempt_epoch: int | None = None  # whose attempt a later word is about; None: that of `epoch`


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweredEnvoi:
    """An envoi whose every SMS has its answer: what the Not is made of."""

    envoi_id: EnvoiId
    mail_id: MailId
    account: str
    email_id: str | None
    message_id: str | None  # of the mail, for In-Reply-To
    not_to: str
    report_format: ReportFormat
    answers: tuple[SmsAnswer, ...]  # in order of position


RenderNot = Callable[[AnsweredEnvoi], NewReport]
"""Called inside the transaction that gives an envoi its last answer; pure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What a carrier's later word did to an SMS."""

    sms_id: SmsId
    envoi_id: EnvoiId
    account: str
    provider: str
    event: SmsEvent
    from_state: SmsState
    state: SmsState
    code: Code | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What `settle_sms` moved, and the reports it staged: Not, and etatAr."""

    moved: tuple[SmsId, ...]
    reports: tuple[ReportId, ...] = ()
    learnt: tuple[Move, ...] = ()  # by words that came before the answer was recorded
    opted_out: tuple[OptOut, ...] = ()  # what is new on the STOP list, by the carriers' word


@dataclass(frozen=True, slots=True, kw_only=True)
class LostSms:
    """An SMS found in `sending`, in `uncertain`, or past its validity: what outcomes needs."""

    id: SmsId
    envoi_id: EnvoiId
    mail_id: MailId
    account: str
    provider: str | None = None  # that has, or had, it last
    state: SmsState
    epoch: int
    attempts: int
    unknown_attempts: int  # attempts whose outcome was never learnt
    since: datetime  # when the attempt began, or it became uncertain
    expires_at: datetime
    code: Code | None = None  # the row's `code`: of the last proven "not sent", reported when validity runs out
    lease: timedelta | None = None  # in `sending`: how long its claimer may take


# --- for everybody ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """Rows per state that is not final, and since when the oldest is in it; for health and metrics."""

    sms: dict[str, int] = field(default_factory=dict)
    reports: dict[str, int] = field(default_factory=dict)
    oldest_sms: dict[str, datetime] = field(default_factory=dict)  # no entry: no such row
    oldest_reports: dict[str, datetime] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Rows per state, final ones too; a state that no row is in is left out."""

    mails: int
    sms: dict[str, int]
    reports: dict[str, int]


# --- the STOP list ---------------------------------------------------------------------------------------------------
