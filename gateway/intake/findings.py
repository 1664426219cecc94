"""What was found out about a mail, by `mail2sms lint` or in the console: flat values, for people and for programs."""

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from gateway.intake import Reply
from gateway.intake.forecast import Forecast, Prospect
from gateway.intake.judging import Judgement, NotTaken, Taken
from gateway.intake.standing import Standing
from gateway.policy.accounts import Account, Scheduling
from gateway.policy.admission import QueuedSms, RefusedSms
from gateway.policy.routing import find_path
from gateway.protocol.codes import Code
from gateway.protocol.mime import Headers
from gateway.protocol.tolerances import Tolerated
from gateway.reader.mail import Reading
from gateway.store.base import Duplicate, NewSms, Retransmitted
from gateway.text.gsm import Encoding, count_parts, is_gsm

REPORT_CHARSET = "iso-8859-1"
"""A report's body is this text in this character set, byte for byte."""

PLACEHOLDER_ID = "ITS-ID"
"""Stands in the reply for the id that the mail would be given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Who brought the mail, and whose it is."""

    envelope_from: str
    header_from: str | None  # None: no From:, or none that can be trusted
    peer: str
    account: str | None
    proof: str | None  # what proved the client for the account


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """How the text was got out of the mail."""

    mode: str
    part: int
    parts: int
    content_type: str
    charset: str  # that it was read with
    declared_charset: str | None
    transfer_encoding: str
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """Something that was put up with."""

    name: str
    sentence: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A code of the protocol and why it applies."""

    code: int
    label: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EmailId:
    """The id of the order. `used_at` is when it, or the very same mail, was taken first."""

    value: str | None
    state: str  # "new", "used", "same mail", "missing" or "unknown"
    used_at: datetime | None
    remark: str | None  # why it is unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Sms:
    """One SMS, and whether it would be handed over; the carrier is taken to accept it, which is code 0.

    Of a mail that was here before it is what it was then, but does not go.
    """

    position: int
    tel: str
    msisdn: str | None
    goes: bool
    code: int
    label: str
    reason: str | None
    originator: str | None
    text: str | None
    encoding: str | None
    units: int
    capacity: int  # units that so many parts hold
    parts: int
    max_parts: int
    carries_stop: bool  # the STOP mention of commercial SMS takes a part of the room
    changes: tuple[tuple[str, str], ...]  # each character that was replaced, and what by
    outside_gsm: str  # the characters because of which it is UCS-2
    due_at: datetime | None  # in the account's time zone
    waits: bool  # until due_at: asked for, or outside hours
    waits_at: str  # who waits: "gateway", or "carrier" where it can
    route: str  # of the account, by the number; "": its own
    carriers: tuple[str, ...]  # that it may go to, the first one first; by weight if there are weights
    weights: dict[str, int]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A report that would come back, or why none."""

    kind: str
    recipient: str | None
    body: str | None
    charset: str
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaFinding:
    """Something that is not as its schema has it. `line` counts from 1 in the mail's text, or in the report."""

    document: str  # "envoi", "etatAck" or "etatNot"
    line: int | None
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaFinding:
    """What the mail would take of a quota. Money is in millionths."""

    limit: str
    subject: str  # a number or a sender; "": all together
    most: int
    used: int  # what it takes included
    takes: int
    held_back: int  # SMS that the quota held back and did not tell yet, those of this mail included


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What would become of a mail."""

    ok: bool  # every SMS would go, and the schemas, if asked, have nothing against it
    reply: Reply
    taken: bool
    cause: str | None  # why it is not, for the operator
    sender: Sender
    read: Read | None
    tolerances: tuple[Tolerance, ...]
    email_id: EmailId | None
    fault: Problem | None  # of the whole order
    hours: str | None
    notes: tuple[str, ...]
    sms: tuple[Sms, ...]
    reports: tuple[Report, ...]
    quotas: tuple[QuotaFinding, ...] = ()
    receipts_to: str | None = None  # where an etatAr follows, when it is known which SMS arrived
    standing: Standing | None = None  # who may send; None: it was not asked
    schema: tuple[SchemaFinding, ...] | None = None  # what the schemas say against it; None: not asked


def find_in_form(reply: Reply, *, envelope_from: str, peer: str) -> Findings:
    """Return what is known of a mail whose very form is refused."""
    sender = Sender(envelope_from=envelope_from, header_from=None, peer=peer, account=None, proof=None)
    none = tuple(
        Report(kind=kind, recipient=None, body=None, charset=REPORT_CHARSET, reason="the mail is not taken")
        for kind in ("ack", "not")
    )
    return Findings(
        ok=False,
        reply=reply,
        taken=False,
        cause=reply.text,
        sender=sender,
        read=None,
        tolerances=(),
        email_id=None,
        fault=None,
        hours=None,
        notes=(),
        sms=(),
        reports=none,
    )


def find(
    forecast: Forecast,
    *,
    envelope_from: str,
    peer: str,
    now: datetime,
    remark: str | None,
    standing: Standing | None = None,
    schema: tuple[SchemaFinding, ...] | None = None,
) -> Findings:
    """Return what would become of a mail; `remark` says why the store was not asked."""
    judgement = forecast.judgement
    reading = judgement.reading
    return Findings(
        ok=forecast.sends_all and not schema,
        reply=forecast.reply,
        taken=isinstance(judgement, Taken),
        cause=None if isinstance(judgement, Taken) else judgement.cause,
        sender=_sender(judgement, judgement.headers, envelope_from, peer),
        read=None if reading is None else _read(reading),
        tolerances=() if reading is None else tuple(map(_tolerance, reading.tolerated)),
        email_id=_email_id(judgement, forecast, remark) if isinstance(judgement, Taken) else None,
        fault=_fault(judgement),
        hours=_hours(judgement.allowed.account, forecast, now) if isinstance(judgement, Taken) else None,
        notes=_notes(judgement) if isinstance(judgement, Taken) else (),
        sms=_sms(judgement, forecast, now) if isinstance(judgement, Taken) else (),
        reports=(_report(forecast.ack), _report(forecast.not_)),
        quotas=_quotas(forecast),
        receipts_to=_receipts_to(judgement, forecast) if isinstance(judgement, Taken) else None,
        standing=standing,
        schema=schema,
    )


def _receipts_to(taken: Taken, forecast: Forecast) -> str | None:
    envoi = taken.written.order.envoi
    goes = envoi is not None and forecast.causes_sms and any(sms.code is None for sms in envoi.sms)
    return envoi.receipts_to if envoi is not None and goes else None


def _quotas(forecast: Forecast) -> tuple[QuotaFinding, ...]:
    return tuple(
        QuotaFinding(
            limit=room.sentence,
            subject=room.subject,
            most=room.most,
            used=room.used,
            takes=room.takes,
            held_back=room.held_back,
        )
        for room in (() if forecast.foreseen is None else forecast.foreseen.rooms)
    )


def _sender(judgement: Judgement, headers: Headers | None, envelope_from: str, peer: str) -> Sender:
    account = judgement.allowed.account if isinstance(judgement, Taken) else judgement.account
    return Sender(
        envelope_from=envelope_from,
        header_from=headers.from_address if headers else None,
        peer=peer,
        account=account.name if account else None,
        proof=judgement.allowed.proof.value if isinstance(judgement, Taken) else None,
    )


def _read(reading: Reading) -> Read:
    part = reading.body.text_part
    return Read(
        mode=reading.mode.value,
        part=part.number,
        parts=part.count,
        content_type=part.content_type,
        charset=reading.body.charset,
        declared_charset=part.charset,
        transfer_encoding=part.transfer_encoding or "none declared",
        files=reading.body.files,
    )


def _email_id(taken: Taken, forecast: Forecast, remark: str | None) -> EmailId:
    envoi, foreseen = taken.written.order.envoi, forecast.foreseen
    used_at = foreseen.first_at if foreseen else None
    if foreseen is not None and isinstance(foreseen.outcome, Retransmitted):
        state = "same mail"
    elif envoi is None:
        state = "missing"
    elif foreseen is None:
        state = "unknown"
    else:
        state = "used" if isinstance(foreseen.outcome, Duplicate) else "new"
    return EmailId(value=taken.reading.envoi.email_id, state=state, used_at=used_at, remark=remark)


def _fault(judgement: Judgement) -> Problem | None:
    if isinstance(judgement, NotTaken):
        return None if judgement.code is None else _problem(judgement.code, judgement.cause)
    admission = judgement.written.admission
    if admission is None or admission.fault is None:
        return None
    return _problem(admission.fault.code, admission.fault.reason)


def _problem(code: Code, reason: str) -> Problem:
    return Problem(code=code.value, label=code.label, reason=reason)


def _hours(account: Account, forecast: Forecast, now: datetime) -> str | None:
    """Return what the hours say, in words; the decision is in the SMS."""
    judgement = forecast.judgement
    envoi = judgement.written.order.envoi if isinstance(judgement, Taken) else None
    if envoi is None:
        return None
    if not account.commercial:
        return "not commercial: no hours"
    if any(sms.code is Code.C24_OUTSIDE_HOURS for sms in envoi.sms):
        return "commercial, outside hours: refused"
    later = next((at for sms in envoi.sms if (at := sms.deliver_at or sms.due_at) is not None and at > now), None)
    if later is not None:
        return f"commercial: waits until {_local(later, account):%Y-%m-%d %H:%M} {account.timezone}"
    return "commercial, within hours"


def _local(instant: datetime, account: Account) -> datetime:
    return instant.astimezone(ZoneInfo(account.timezone))


def _notes(taken: Taken) -> tuple[str, ...]:
    """Return what is noted beside the tolerances, which come first."""
    return taken.written.order.mail.notes[len(taken.reading.tolerated) :]


def _tolerance(tolerated: Tolerated) -> Tolerance:
    tolerance = tolerated.tolerance
    return Tolerance(name=tolerance.value, sentence=tolerance.sentence, detail=tolerated.detail)


def _sms(taken: Taken, forecast: Forecast, now: datetime) -> tuple[Sms, ...]:
    envoi, admission = taken.written.order.envoi, taken.written.admission
    if envoi is None or admission is None:
        return ()
    account = taken.allowed.account
    return tuple(
        _one_sms(row, decided, account, now, is_first=forecast.causes_sms)
        for row, decided in zip(envoi.sms, admission.sms, strict=True)
    )


def _one_sms(sms: NewSms, decided: QueuedSms | RefusedSms, account: Account, now: datetime, *, is_first: bool) -> Sms:
    code = Code.C0_SENT if sms.code is None else sms.code
    size = None if sms.text is None else count_parts(sms.text, ucs2=sms.ucs2)
    encoding = None if size is None else size.encoding
    goes_at = sms.deliver_at or sms.due_at
    path = find_path(account, sms.route) if sms.code is None else None
    return Sms(
        position=sms.position,
        tel=sms.tel,
        msisdn=sms.msisdn,
        goes=sms.code is None and is_first,
        code=code.value,
        label=code.label,
        reason=sms.reason,
        originator=sms.originator,
        text=sms.text,
        encoding=encoding.value if encoding else None,
        units=size.units if size else 0,
        capacity=_capacity(encoding, sms.parts) if encoding else 0,
        parts=sms.parts,
        max_parts=sms.max_parts,
        carries_stop=sms.code is None and account.commercial and not sms.nostop,
        changes=decided.changes if isinstance(decided, QueuedSms) else (),
        outside_gsm="".join(dict.fromkeys(one for one in sms.text or "" if not is_gsm(one))),
        due_at=None if goes_at is None else _local(goes_at, account),
        waits=goes_at is not None and goes_at > now,
        waits_at=Scheduling.GATEWAY.value if sms.deliver_at is None else Scheduling.CARRIER.value,
        route=sms.route,
        carriers=() if path is None else path.providers,
        weights={} if path is None else dict(path.weights),
        notes=sms.notes,
    )


def _capacity(encoding: Encoding, parts: int) -> int:
    return encoding.single_units if parts == 1 else parts * encoding.part_units


def _report(prospect: Prospect) -> Report:
    report = prospect.report
    return Report(
        kind=prospect.kind.value,
        recipient=report.recipient if report else None,
        body=report.body.decode(REPORT_CHARSET) if report else None,
        charset=REPORT_CHARSET,
        reason=prospect.reason,
    )
