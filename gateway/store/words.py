"""What carriers say later, as values: words about SMS, the moves they cause, and what is asked of carriers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from gateway.lifecycle import EnvoiId, MailId, ReportId, SmsEvent, SmsId, SmsState
from gateway.protocol.codes import Code
from gateway.protocol.report import ReportFormat
from gateway.store.base import Move, NewReport
from gateway.store.stoplist import OptOut


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """What a carrier says later about one SMS.

    Which one: that with this `tracker`, else those of this carrier with this `provider_ref` and `msisdn`.
    """

    event: SmsEvent | None  # TAKEN, DELIVERED, UNDELIVERED or REFUSED; None: it says nothing that we know
    tracker: str | None = None
    provider_ref: str | None = None
    msisdn: str | None = field(default=None, repr=False)
    code: Code | None = None
    at: datetime | None = None  # by the carrier's clock
    cost_micros: int | None = None
    currency: str | None = None
    raw: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What one carrier says at one time."""

    provider: str
    words: tuple[Word, ...]
    ask_at: datetime | None = None  # when to ask it again of an SMS that it only says it has; None: it cannot be asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Learnt:
    """What came of words: what moved, how many are kept for later, and the reports that were staged."""

    moves: tuple[Move, ...] = ()
    kept: int = 0
    reports: tuple[ReportId, ...] = ()
    opted_out: tuple[OptOut, ...] = ()  # what is new on the STOP list by it


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedInquiry:
    """An SMS whose fate is to be asked for, by whoever holds the claim: until `lease_until` by nobody else."""

    sms_id: SmsId
    account: str
    state: SmsState  # UNCERTAIN or ACCEPTED
    tracker: str
    msisdn: str = field(repr=False)
    provider_ref: str | None
    since: datetime  # in this state
    lease_until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InquirySettlement:
    """The SMS was asked for; `ask_at` says when again, None never. Nothing changes if it has moved meanwhile."""

    sms_id: SmsId
    lease_until: datetime  # of the claim
    ask_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SmsEnd:
    """How one SMS ended. `code` is what the Not said; `network_code` why it was not delivered, if that is known."""

    tel: str
    state: SmsState
    code: Code | None
    network_code: Code | None
    network_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedEnvoi:
    """An envoi of which nothing more is to come, and some of it was at a carrier: what the etatAr is made of."""

    envoi_id: EnvoiId
    mail_id: MailId
    account: str
    email_id: str | None
    message_id: str | None  # of the mail, for In-Reply-To
    receipts_to: str
    report_format: ReportFormat
    ends: tuple[SmsEnd, ...]  # in order of position


RenderReceipts = Callable[[EndedEnvoi], NewReport]
"""Called inside the transaction that ends the last SMS of an envoi whose etatAr is wanted; pure."""
