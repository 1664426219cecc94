"""What is read for whoever asks why: rows as they are, and what was found of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from gateway.lifecycle import EnvoiId, MailId, ReportState, SmsEvent, SmsId, SmsState
from gateway.protocol.codes import Code
from gateway.protocol.report import ReportKind
from gateway.store.base import Credit
from gateway.store.stoplist import OptOut

Kept = Mapping[str, object]
"""Facts as they are read back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MailRecord:
    """A mail that was taken."""

    id: MailId
    received_at: datetime
    account: str
    peer: str
    listener: str
    proof: str
    envelope_from: str
    header_from: str | None
    message_id: str | None
    notes: tuple[str, ...]
    purged_at: datetime | None
    facts: Kept | None
    duplicate_of: EnvoiId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvoiRecord:
    """What a mail asks for."""

    id: EnvoiId
    email_id: str | None
    customer_tracker: str | None
    not_to: str | None
    commercial: bool
    fault: Code | None
    not_staged_at: datetime | None
    receipts_to: str | None
    receipts_staged_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SmsRecord:
    """An SMS as it stands."""

    id: SmsId
    envoi_id: EnvoiId
    mail_id: MailId
    account: str
    position: int
    tel: str
    msisdn: str | None
    text: str | None
    parts: int
    originator: str | None
    max_parts: int
    ucs2: bool
    tracker: str | None
    notes: tuple[str, ...]
    state: SmsState
    since_at: datetime
    epoch: int
    attempts: int
    due_at: datetime | None
    expires_at: datetime | None
    lease_until: datetime | None
    settled_at: datetime | None
    code: Code | None
    reason: str | None
    provider: str | None
    provider_ref: str | None
    billed_parts: int | None
    lane: str | None
    deliver_at: datetime | None
    cost_micros: int | None
    currency: str | None
    ask_at: datetime | None
    network_at: datetime | None
    network_code: Code | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRecord:
    """One call to a carrier about one SMS."""

    sms_id: SmsId
    number: int
    provider: str
    begun_at: datetime
    ended_at: datetime | None
    verdict: SmsEvent | None
    code: Code | None
    raw: str | None
    learnt: SmsEvent | None
    learnt_at: datetime | None
    learnt_raw: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationRecord:
    """What an operator did about an SMS."""

    sms_id: SmsId
    at: datetime
    action: str
    actor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyRecord:
    """What was answered to an SMS."""

    id: str
    sms_id: SmsId
    received_at: datetime
    msisdn: str
    text: str
    is_stop: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRecord:
    """A mail that goes back."""

    id: str
    kind: ReportKind
    recipient: str
    subject: str | None
    created_at: datetime
    state: ReportState
    since_at: datetime
    attempts: int
    due_at: datetime
    expires_at: datetime
    settled_at: datetime | None
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalRecord:
    """A mail of a known client that was not taken."""

    id: MailId
    refused_at: datetime
    peer: str
    listener: str
    envelope_from: str
    header_from: str | None
    message_id: str | None
    account: str | None
    reply: str
    cause: str
    ground: str | None
    code: Code | None
    email_id: str | None
    facts: Kept | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnedAwayRecord:
    """A client that was told the same so many times."""

    id: str
    peer: str
    sender: str
    reply: str
    count: int
    first_at: datetime
    last_at: datetime
    facts: Kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocked:
    """The last SMS of a lane that came back from a carrier which would not have it now."""

    sms_id: SmsId
    at: datetime
    provider: str | None
    reason: str
    code: Code | None
    raw: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MailLife:
    """All there is about a mail that was taken."""

    mail: MailRecord
    envoi: EnvoiRecord | None
    sms: tuple[SmsRecord, ...] = ()
    attempts: tuple[AttemptRecord, ...] = ()
    operations: tuple[OperationRecord, ...] = ()
    replies: tuple[ReplyRecord, ...] = ()
    reports: tuple[ReportRecord, ...] = ()
    credit: Credit | None = None
    stops: tuple[OptOut, ...] = ()  # of its numbers, for its account
    first_mail_id: MailId | None = None  # of a duplicate; None: it is gone
    duplicates: tuple[MailId, ...] = ()
    blocked: Mapping[str, Blocked] = field(default_factory=dict)  # by lane, of SMS that are due or tried again


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalLife:
    """All there is about a mail that was refused."""

    refusal: RefusalRecord
    reports: tuple[ReportRecord, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MailLine:
    """A mail in a list, with its SMS by state."""

    mail: MailRecord
    email_id: str | None
    envoi_id: EnvoiId | None
    fault: Code | None
    states: Mapping[SmsState, int]
    codes: tuple[Code, ...]  # of its SMS, the most frequent first


Line = MailLine | RefusalRecord | TurnedAwayRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Part of a list, and where the next begins; None: that was all."""

    lines: tuple[Line, ...]
    next: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """SMS that wait, and where the next of them begin."""

    sms: tuple[SmsRecord, ...]
    next: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """So many SMS of one key, state and currency."""

    key: str
    state: SmsState
    sms: int
    parts: int
    cost_micros: int
    currency: str | None
