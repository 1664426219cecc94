"""What a mail causes, as rows: the order with its SMS and reports, or the report of a refusal. Stores nothing."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from gateway.alarms import find_writer
from gateway.ids import new_id
from gateway.intake.budget import make_budget
from gateway.intake.credit_warning import watch_credit
from gateway.intake.submission import Submission
from gateway.lifecycle import EnvoiId, MailId, ReportId, SmsId, SmsState
from gateway.policy.accounts import Account, ReceiptsBy
from gateway.policy.admission import Admission, QueuedSms, RefusedSms, admit, read_email_id, read_tracker
from gateway.policy.report_address import ReportTo, judge_report_address
from gateway.policy.sender import Allowed, ProvenButWrong
from gateway.policy.texts import TextProfile
from gateway.protocol.codes import AckCode, Code
from gateway.protocol.envoi import Envoi, Mode
from gateway.protocol.mime import Headers
from gateway.protocol.report import Ack, Not, ReportKind, SmsAnswer
from gateway.protocol.report_xml import render_ack, render_not
from gateway.reader.mail import Reading
from gateway.reports import ReportRules
from gateway.store.base import NewEnvoi, NewMail, NewReport, NewSms, Order
from gateway.store.budget import Budget
from gateway.store.facts import Facts

_MOST_FACT_CHARS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeRules:
    """What holds for every mail, whoever sends it."""

    reports: ReportRules
    own_addresses: frozenset[str]  # of the gateway, in lower case: no report ever goes there
    deciding_deadline_s: float = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A mail that has just come in."""

    submission: Submission
    mail_id: MailId
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where a report goes, or why there is none (docs/protocol.md §8.4)."""

    element: str  # of the envoi, where the address stands
    address: str | None
    reason: str | None = None  # why not to the address that is there; None without one

    @property
    def notes(self) -> tuple[str, ...]:
        """What the operator is told of it."""
        return () if self.reason is None else (f"{self.element} {self.reason}: no report",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """An order, and the decisions in it."""

    order: Order
    ack_to: Destination
    not_to: Destination
    admission: Admission | None  # None: without an emailId nothing is looked at any further


@dataclass(frozen=True, slots=True, kw_only=True)
class Pen:
    """Writes the reports that one mail causes."""

    arrival: Arrival
    headers: Headers
    account: Account
    rules: IntakeRules

    def find_address(self, element: str, text: str | None) -> Destination:
        """Return where the report may go (docs/protocol.md §8.4)."""
        if not text:
            return Destination(element=element, address=None)
        verdict = judge_report_address(text, self.account, self.rules.own_addresses)
        if isinstance(verdict, ReportTo):
            return Destination(element=element, address=verdict.address)
        return Destination(element=element, address=None, reason=verdict.reason)

    def write_ack(self, recipient: str, email_id: str | None, code: AckCode) -> NewReport:
        """Return the Ack (docs/protocol.md §8.1)."""
        return self._write(ReportKind.ACK, recipient, render_ack(Ack(email_id=email_id, code=code)))

    def write_not(self, recipient: str, email_id: str | None, answers: tuple[SmsAnswer, ...]) -> NewReport:
        """Return the Not (docs/protocol.md §8.2)."""
        body = render_not(Not(email_id=email_id, answers=answers), self.account.report_format)
        return self._write(ReportKind.NOT, recipient, body)

    def _write(self, kind: ReportKind, recipient: str, body: bytes) -> NewReport:
        now = self.arrival.at
        report_id = ReportId(new_id(now))
        return NewReport(
            id=report_id,
            kind=kind,
            recipient=recipient,
            message_id=f"<{report_id}@{self.rules.reports.hostname}>",  # docs/protocol.md §8.3
            in_reply_to=self.headers.message_id,
            body=body,
            due_at=now,
            expires_at=now + timedelta(seconds=self.rules.reports.validity_s),
        )


def write_order(pen: Pen, reading: Reading, allowed: Allowed, profile: TextProfile) -> Written:
    """Return everything the mail causes: what is stored in one transaction (docs/protocol.md §7.2)."""
    envoi, account = reading.envoi, allowed.account
    email_id, id_notes = read_email_id(envoi, reading.mode)
    ack = pen.find_address("emailAck", envoi.email_ack)
    not_ = pen.find_address("emailNot", envoi.email_not)
    ack_to, not_to = ack.address, not_.address
    notes = (*map(str, reading.tolerated), *_key_notes(allowed), *id_notes, *ack.notes, *not_.notes)
    if email_id is None:  # docs/protocol.md §7.4
        reports = (pen.write_ack(ack_to, None, AckCode.A2_NO_ID),) if ack_to else ()
        order = Order(mail=_mail_row(pen, reading, allowed, notes), envoi=None, reports=reports, budget=_budget(pen))
        return Written(order=order, ack_to=ack, not_to=not_, admission=None)
    tracker, tracker_notes = read_tracker(envoi)
    admission = admit(envoi, account, pen.arrival.at, profile)
    row = NewEnvoi(
        id=EnvoiId(new_id(pen.arrival.at)),
        email_id=email_id,
        customer_tracker=tracker,
        not_to=not_to,
        receipts_to=not_to if account.receipts is ReceiptsBy.MAIL else None,  # docs/protocol.md §8.6
        report_format=account.report_format,
        commercial=account.commercial,
        fault=admission.fault.code if admission.fault else None,
        sms=_sms_rows(admission, pen.arrival.at),
    )
    budget = _budget(pen)
    acks = (pen.write_ack(ack_to, email_id, AckCode.A0_PROCESSED),) if ack_to else ()
    answers = _early_answers(envoi, admission)
    nots = (pen.write_not(not_to, email_id, answers),) if not_to and answers else ()
    fault_notes = (admission.fault.reason,) if admission.fault else ()
    order = Order(
        mail=_mail_row(pen, reading, allowed, (*notes, *tracker_notes, *admission.notes, *fault_notes)),
        envoi=row,
        reports=acks + nots,
        duplicate_reports=(pen.write_ack(ack_to, email_id, AckCode.A1_DUPLICATE),) if ack_to else (),
        early_not=partial(pen.write_not, not_to, email_id) if not_to and not answers else None,
        watch=watch_credit(account, pen.rules.own_addresses, pen.rules.reports),
        heeds_stop=account.heeds_stop,
        budget=budget,
        render_alarm=None if budget is None else find_writer(account, pen.rules.own_addresses, pen.rules.reports),
    )
    return Written(order=order, ack_to=ack, not_to=not_, admission=admission)


def _key_notes(allowed: Allowed) -> tuple[str, ...]:
    return ("keyid: the account's previous one",) if allowed.has_previous_key else ()


def _budget(pen: Pen) -> Budget | None:
    return make_budget(pen.account, pen.headers.from_address or pen.arrival.submission.envelope_from)


def write_wrong_not(pen: Pen, envoi: Envoi, wrong: ProvenButWrong) -> tuple[tuple[NewReport, ...], Destination]:
    """Return the Not that tells a known client what is wrong, if it may be sent, and where it goes (§1.3)."""
    not_to = pen.find_address("emailNot", envoi.email_not)
    if not_to.address is None:
        return (), not_to
    email_id, _ = read_email_id(envoi, Mode.LENIENT)
    return (pen.write_not(not_to.address, email_id, _one_answer(envoi, wrong.code)),), not_to


def _early_answers(envoi: Envoi, admission: Admission) -> tuple[SmsAnswer, ...]:
    """Return the answers when all are known already, else none: the Not is sent once, with all of them (§8.2)."""
    if admission.fault is not None:
        return _one_answer(envoi, admission.fault.code)
    refused = [sms for sms in admission.sms if isinstance(sms, RefusedSms)]
    if len(refused) < len(admission.sms):
        return ()
    return tuple(SmsAnswer(tel=sms.tel, code=sms.code) for sms in refused)


def _one_answer(envoi: Envoi, code: Code) -> tuple[SmsAnswer, ...]:
    """Return the answer for all of an envoi: with the number when there is exactly one (docs/protocol.md §8.2)."""
    tel = envoi.recipients[0].tel if len(envoi.recipients) == 1 else None
    return (SmsAnswer(tel=tel, code=code),)


def _mail_row(pen: Pen, reading: Reading, allowed: Allowed, notes: tuple[str, ...]) -> NewMail:
    submission = pen.arrival.submission
    return NewMail(
        id=pen.arrival.mail_id,
        received_at=pen.arrival.at,
        account=allowed.account.name,
        peer=submission.peer,
        listener=submission.listener,
        proof=allowed.proof.value,
        envelope_from=submission.envelope_from,
        header_from=pen.headers.from_address,
        message_id=pen.headers.message_id,
        body_digest=reading.digest,
        raw=submission.content,
        notes=notes,
        facts=read_facts(submission, reading),
    )


def read_facts(submission: Submission, reading: Reading | None) -> Facts:
    """Return what is kept of the connection and of how the mail was read, for whoever asks later why."""
    facts = {**submission.facts, "size_bytes": len(submission.content)}
    if reading is None:
        return facts
    form = reading.body
    return facts | {
        "mode": reading.mode.value,
        "charset": form.charset,
        "declared_charset": _short(form.text_part.charset),
        "transfer_encoding": _short(form.text_part.transfer_encoding),
        "files": _short(", ".join(form.files)) if form.files else None,
        "email_id": _short(reading.envoi.email_id),
    }


def _short(text: str | None) -> str | None:
    return None if text is None else text[:_MOST_FACT_CHARS]


def _sms_rows(admission: Admission, now: datetime) -> tuple[NewSms, ...]:
    """Return the rows. Of one instant, rows are sent in the order of their ids: in that of the mail, therefore."""
    ids = sorted(SmsId(new_id(now)) for _ in admission.sms)
    return tuple(_sms_row(sms_id, sms, admission, now) for sms_id, sms in zip(ids, admission.sms, strict=True))


def _sms_row(sms_id: SmsId, sms: QueuedSms | RefusedSms, admission: Admission, now: datetime) -> NewSms:
    if isinstance(sms, RefusedSms):
        return NewSms(
            id=sms_id,
            position=sms.position,
            tel=sms.tel,
            state=SmsState.REFUSED,
            code=sms.code,
            reason=sms.reason,
            msisdn=sms.msisdn.e164 if sms.msisdn else None,
        )
    return NewSms(
        id=sms_id,
        position=sms.position,
        tel=sms.tel,
        state=SmsState.QUEUED,
        code=None,
        msisdn=sms.msisdn.e164,
        text=sms.text,
        parts=sms.parts,
        originator=admission.originator,
        max_parts=admission.max_parts,
        nostop=admission.nostop,
        ucs2=sms.ucs2,
        tracker=new_id(now),  # fixed before the first attempt
        route=sms.route,
        due_at=sms.due_at,
        deliver_at=sms.deliver_at,
        expires_at=sms.expires_at,
        notes=sms.notes,
    )
