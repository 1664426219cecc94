"""What would come of a mail if it came now and the carrier took every SMS it is handed. Nothing is written."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import assert_never

from gateway.ids import new_id
from gateway.intake.judging import Judgement, NotTaken, Taken, reply_deferred, reply_taken
from gateway.intake.order import Destination
from gateway.intake.submission import Reply
from gateway.lifecycle import ReportId, SmsState
from gateway.protocol.codes import Code
from gateway.protocol.report import ReportKind, SmsAnswer
from gateway.reports import ReportRules, render_not_report
from gateway.store.base import AnsweredEnvoi, Duplicate, Foreseen, NewEnvoi, NewReport, Order, Retransmitted, Stored
from gateway.store.budget import Deferred
from gateway.store.refusing import refuse


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """A report that would come back, or why there would be none."""

    kind: ReportKind
    report: NewReport | None = None
    reason: str | None = None  # set if and only if there is none


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What would come of a mail. `foreseen` is the store's word; None: it was not asked, and nothing is known of it."""

    judgement: Judgement
    foreseen: Foreseen | None
    ack: Prospect
    not_: Prospect

    @property
    def reply(self) -> Reply:
        """What the client would be told."""
        if self.foreseen is not None and isinstance(self.foreseen.outcome, Retransmitted):
            return reply_taken(self.foreseen.outcome.first_mail_id)
        if self.foreseen is not None and isinstance(self.foreseen.outcome, Deferred):
            return reply_deferred(self.foreseen.outcome)
        return self.judgement.reply

    @property
    def causes_sms(self) -> bool:
        """True when its SMS would be looked at at all: it is taken, and neither it nor its emailId was here before."""
        return isinstance(self.judgement, Taken) and (
            self.foreseen is None or isinstance(self.foreseen.outcome, Stored)
        )

    @property
    def sends_all(self) -> bool:
        """True when there are SMS and every one of them would go, now or later."""
        if not (isinstance(self.judgement, Taken) and self.causes_sms):
            return False
        envoi = self.judgement.written.order.envoi
        return envoi is not None and bool(envoi.sms) and all(sms.state is SmsState.QUEUED for sms in envoi.sms)


def make_forecast(judgement: Judgement, foreseen: Foreseen | None, *, now: datetime, rules: ReportRules) -> Forecast:
    """Return what would come of the mail, the reports byte for byte."""
    judgement = _refuse(judgement, foreseen)
    match judgement:
        case NotTaken():
            ack, not_ = _none(ReportKind.ACK, "the mail is not taken"), _of_refusal(judgement)
        case Taken():
            ack, not_ = _of_order(judgement, foreseen, now, rules)
        case _:
            assert_never(judgement)
    return Forecast(judgement=judgement, foreseen=foreseen, ack=ack, not_=not_)


def _refuse(judgement: Judgement, foreseen: Foreseen | None) -> Judgement:
    """Return the same with the SMS refused that the store refuses (docs/protocol.md §5.6, §10.3, §10.5)."""
    if not isinstance(judgement, Taken) or foreseen is None or not isinstance(foreseen.outcome, Stored):
        return judgement
    written, stored = judgement.written, foreseen.outcome
    order = refuse(written.order, stored.opted_out, stored.unpaid, stored.held_back)
    return replace(judgement, written=replace(written, order=order))


def _of_refusal(judgement: NotTaken) -> Prospect:
    """Only a known client with a wrong mail gets a report (docs/protocol.md §1.3)."""
    if judgement.not_to is None or judgement.refusal is None:
        return _none(ReportKind.NOT, "the mail is not taken")
    return _prospect(ReportKind.NOT, judgement.refusal.reports, judgement.not_to)


def _of_order(taken: Taken, foreseen: Foreseen | None, now: datetime, rules: ReportRules) -> tuple[Prospect, Prospect]:
    written, order = taken.written, taken.written.order
    outcome = None if foreseen is None else foreseen.outcome
    match outcome:
        case Retransmitted():  # docs/protocol.md §1.6
            reason = "the very same mail was taken before, and causes nothing more"
            return _none(ReportKind.ACK, reason), _none(ReportKind.NOT, reason)
        case Deferred():  # docs/protocol.md §10.5
            reason = "the mail is not taken now: a quota of mails is used up"
            return _none(ReportKind.ACK, reason), _none(ReportKind.NOT, reason)
        case Duplicate():  # docs/protocol.md §7.3
            ack = _prospect(ReportKind.ACK, order.duplicate_reports, written.ack_to)
            return ack, _none(ReportKind.NOT, "nothing is sent for a second mail with an emailId")
        case Stored() | None:
            ack = _prospect(ReportKind.ACK, order.reports, written.ack_to)
            if order.envoi is None:  # docs/protocol.md §7.4
                return ack, _none(ReportKind.NOT, "nothing is sent without an emailId")
            nots = order.reports if _has_not(order) else _later_not(order, order.envoi, now, rules)
            return ack, _prospect(ReportKind.NOT, nots, written.not_to)
        case _:
            assert_never(outcome)


def _has_not(order: Order) -> bool:
    return any(report.kind is ReportKind.NOT for report in order.reports)


def _later_not(order: Order, envoi: NewEnvoi, now: datetime, rules: ReportRules) -> tuple[NewReport, ...]:
    """Return the Not that goes out with the last answer, the carrier having taken all it was handed (§8.2)."""
    if envoi.not_to is None:
        return ()
    answered = AnsweredEnvoi(
        envoi_id=envoi.id,
        mail_id=order.mail.id,
        account=order.mail.account,
        email_id=envoi.email_id,
        message_id=order.mail.message_id,
        not_to=envoi.not_to,
        report_format=envoi.report_format,
        answers=tuple(
            SmsAnswer(tel=sms.tel, code=Code.C0_SENT if sms.code is None else sms.code)
            for sms in sorted(envoi.sms, key=lambda sms: sms.position)
        ),
    )
    return (render_not_report(answered, report_id=ReportId(new_id(now)), now=now, rules=rules),)


def _prospect(kind: ReportKind, reports: tuple[NewReport, ...], to: Destination) -> Prospect:
    report = next((report for report in reports if report.kind is kind), None)
    if report is not None:
        return Prospect(kind=kind, report=report)
    return _none(kind, f"{to.element} is {to.reason}" if to.reason else f"the mail has no {to.element}")


def _none(kind: ReportKind, reason: str) -> Prospect:
    return Prospect(kind=kind, reason=reason)
