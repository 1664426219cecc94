"""One mail in, one reply out (docs/protocol.md §1): the stage between the SMTP session and the store.

Promises. `250` means that the mail and everything it causes are on disk (§1.2). A stranger is told one thing, whatever
is wrong, and leaves nothing but a line in the log. A known client is told what is wrong in one sentence, and what it
sent is remembered. A mail that is not taken uses up no emailId. No mail goes to an address that the account does not
allow (§8.4). Nothing here is retried: who cannot be served now is told to come back.

What becomes of a mail is decided in `judging`, which stores nothing; here it is stored, logged and counted.

Who calls lets `submit` run to its end even if the client hangs up; what it raises is answered with `451`.

Diagnostics: events `envoi_admitted`, `mail_duplicate`, `mail_retransmitted` (info), `mail_refused`, `credit_low`,
`credit_gone`, `quota_spent`, `volume_unusual` (warning), those of `previous_keys`; metrics `mail2sms_mails_total`,
`mail2sms_sms_admitted_total` and `mail2sms_sms_held_back_total`.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import assert_never

import structlog
from prometheus_client import Counter

from gateway.alarms import describe_subject
from gateway.clock import Clock
from gateway.identity.vouching import Vouching
from gateway.ids import new_id
from gateway.intake.judging import Ground, Judge, Judgement, NotTaken, Taken, reply_deferred, reply_taken
from gateway.intake.order import Arrival, IntakeRules
from gateway.intake.previous_keys import PreviousKeys
from gateway.intake.submission import Reply, Submission
from gateway.lifecycle import MailId, ReportId, SmsState
from gateway.metrics import REGISTRY
from gateway.pauses import PausePoint, pause_at
from gateway.policy.accounts import Accounts
from gateway.policy.sender import ClientCertificate
from gateway.policy.texts import TextProfile
from gateway.reader.inline import Reader
from gateway.store import Store, StoreUnavailable
from gateway.store.base import CreditAlert, Duplicate, NewReport, NewSms, Order, Retransmitted, Stored, lane_of
from gateway.store.budget import Alarm, Deferred, QuotaSpent, VolumeUnusual

__all__ = ["FULL", "ClientCertificate", "Intake", "IntakeRules", "Reply", "Submission"]

_log = structlog.get_logger(__name__)

_MAILS = Counter("mail2sms_mails_total", "Mails by what became of them.", ("outcome",), registry=REGISTRY)
_SMS = Counter("mail2sms_sms_admitted_total", "SMS asked for, by decision.", ("decision",), registry=REGISTRY)
_HELD_BACK = Counter("mail2sms_sms_held_back_total", "SMS that a quota had no room for.", registry=REGISTRY)
_ALARMS = Counter("mail2sms_alarms_total", "Quotas that were spent, and unusual volumes.", ("kind",), registry=REGISTRY)

_MAILS_BY = {
    outcome: _MAILS.labels(outcome)
    for outcome in ("admitted", "without_id", "duplicate", "retransmitted", *(ground.value for ground in Ground))
}
_SMS_BY = {decision: _SMS.labels(decision) for decision in ("queued", "refused")}

LATER = Reply(code=451, enhanced="4.3.0", text="The mail cannot be stored at the moment, try again later")
FULL = Reply(code=452, enhanced="4.3.1", text="No room for the mail at the moment, try again later")


class Intake:
    """Takes mails, any number at the same time."""

    def __init__(
        self,
        *,
        accounts: Accounts,
        text_profiles: Mapping[str, TextProfile],
        store: Store,
        clock: Clock,
        rules: IntakeRules,
        reader: Reader,
        vouching: Vouching | None = None,
        on_admitted: Callable[[str], None],
        on_report: Callable[[], None],
        on_turned_away: Callable[[Submission, Reply, str], None] = lambda _submission, _reply, _cause: None,
    ) -> None:
        """Be ready to take mails.

        `text_profiles` by name of provider; `on_admitted` tells the dispatcher in which lane there are SMS,
        `on_report` rings the mailer, `on_turned_away` counts what is refused and not remembered.
        """
        self._judge = Judge(
            accounts=accounts, text_profiles=text_profiles, rules=rules, reader=reader, vouching=vouching
        )
        self._store = store
        self._clock = clock
        self._rules = rules
        self._reader = reader
        self._on_admitted = on_admitted
        self._on_report = on_report
        self._previous_keys = PreviousKeys(clock)
        self._previous_keys.expect(accounts)
        self._on_turned_away = on_turned_away

    def reconfigure(
        self, accounts: Accounts, text_profiles: Mapping[str, TextProfile], vouching: Vouching | None = None
    ) -> None:
        """The next mails are judged by these; those being read, by what they began with."""
        self._judge = Judge(
            accounts=accounts,
            text_profiles=text_profiles,
            rules=self._rules,
            reader=self._reader,
            vouching=vouching,
        )
        self._previous_keys.expect(accounts)

    async def submit(self, submission: Submission) -> Reply:
        """The mail is stored with all it causes, or refused; return what the client is told."""
        now = self._clock.now()
        mail_id = MailId(new_id(now))
        bound = structlog.contextvars.bind_contextvars(mail_id=mail_id, peer=submission.peer)
        try:
            pause_at(PausePoint.MAIL_RECEIVED)
            judgement = await self._judge.judge(Arrival(submission=submission, mail_id=mail_id, at=now))
            pause_at(PausePoint.MAIL_JUDGED)
            return await self._act_on(judgement, submission)
        finally:
            structlog.contextvars.reset_contextvars(**bound)

    async def _act_on(self, judgement: Judgement, submission: Submission) -> Reply:
        """The mail is stored, or remembered as refused."""
        try:
            match judgement:
                case Taken():
                    return await self._admit(submission, judgement)
                case NotTaken():
                    return await self._turn_away(submission, judgement)
                case _:
                    assert_never(judgement)
        except StoreUnavailable as error:
            reply = FULL if error.is_full else LATER
            deferred = NotTaken(ground=Ground.DEFERRED, reply=reply, cause=str(error), refusal=None)
            return await self._turn_away(submission, deferred)

    async def _turn_away(self, submission: Submission, judgement: NotTaken) -> Reply:
        """Refuse the mail, and remember of it what is to be remembered."""
        refusal = judgement.refusal
        remembered: dict[str, object] = {}
        if refusal is not None:
            await self._store.refuse(refusal)
            remembered = {"account": refusal.account, "report_ids": _ids(refusal.reports)}
        else:
            self._on_turned_away(submission, judgement.reply, judgement.cause)
        _MAILS_BY[judgement.ground.value].inc()
        _log.warning("mail_refused", **remembered, cause=judgement.cause, reply=str(judgement.reply))
        if refusal is not None and refusal.reports:
            self._on_report()
        return judgement.reply

    async def _admit(self, submission: Submission, taken: Taken) -> Reply:
        order = taken.written.order
        outcome = await self._store.admit(order)
        pause_at(PausePoint.MAIL_STORED)
        account = order.mail.account
        first_id = order.mail.id
        match outcome:
            case Stored():
                self._tell_stored(order, outcome)
                _tell_of_credit(outcome.alert)
                for alarm in outcome.alarms:
                    _tell_of(alarm)
            case Duplicate():
                _MAILS_BY["duplicate"].inc()
                _log.info(
                    "mail_duplicate",
                    account=account,
                    envoi_id=outcome.first_envoi_id,
                    report_ids=_ids(order.duplicate_reports),
                )
                if order.duplicate_reports:
                    self._on_report()
            case Deferred():  # docs/protocol.md §10.5
                cause = f"account {outcome.account}: quota of mails: {outcome.sentence}"
                return await self._turn_away(
                    submission,
                    NotTaken(ground=Ground.DEFERRED, reply=reply_deferred(outcome), cause=cause, refusal=None),
                )
            case Retransmitted():  # docs/protocol.md §1.6
                first_id = outcome.first_mail_id
                _MAILS_BY["retransmitted"].inc()
                _log.info("mail_retransmitted", account=account, first_mail_id=first_id)
            case _:
                assert_never(outcome)
        if taken.allowed.has_previous_key:
            self._previous_keys.note(order.mail.account, order.mail.header_from)
        return reply_taken(first_id)

    def _tell_stored(self, order: Order, stored: Stored) -> None:
        envoi = order.envoi
        rows = envoi.sms if envoi else ()
        asked = sum(sms.state is SmsState.QUEUED for sms in rows)
        opted_out, unpaid, held_back = len(stored.opted_out), len(stored.unpaid), len(stored.held_back)
        queued = asked - opted_out - unpaid - held_back
        refused = len(rows) - queued
        staged = [*_ids(order.reports), *([] if stored.early_not is None else [stored.early_not])]
        _MAILS_BY["admitted" if envoi else "without_id"].inc()
        _SMS_BY["queued"].inc(queued)
        if refused:
            _SMS_BY["refused"].inc(refused)
            _HELD_BACK.inc(held_back)
        _log.info(
            "envoi_admitted",
            account=order.mail.account,
            envoi_id=envoi.id if envoi else None,
            ack=stored.ack_code.value,
            code=envoi.fault.value if envoi and envoi.fault is not None else None,
            sms=queued,
            refused=refused,
            opted_out=opted_out,
            unpaid=unpaid,
            held_back=held_back,
            report_ids=staged,
        )
        if queued:
            for route in dict.fromkeys(sms.route for sms in rows if _is_due(sms, order.mail.received_at)):
                self._on_admitted(lane_of(order.mail.account, route))
        is_warned = stored.alert is not None and order.watch is not None and order.watch.render is not None
        is_alarmed = bool(stored.alarms) and order.render_alarm is not None
        if staged or is_warned or is_alarmed:
            self._on_report()


def _is_due(sms: NewSms, now: datetime) -> bool:
    """True when the dispatcher is to be told; for others its look at the rows is soon enough."""
    return sms.due_at is not None and sms.due_at <= now


def _ids(reports: Iterable[NewReport]) -> list[ReportId]:
    return [report.id for report in reports]


def _tell_of_credit(alert: CreditAlert | None) -> None:
    """Tell the operator, once, that the account's credit is low or gone; its contact is told by mail (§10.3)."""
    if alert is not None and alert.is_low:
        _log.warning("credit_low", account=alert.account, balance=alert.balance, threshold=alert.threshold)
    if alert is not None and alert.is_gone:
        _log.warning("credit_gone", account=alert.account, balance=alert.balance)


def _tell_of(alarm: Alarm) -> None:
    """Tell the operator, once in a while, of a quota that is spent or a volume that is unusual (§10.5, §10.6)."""
    match alarm:
        case QuotaSpent():
            _ALARMS.labels("quota").inc()
            _log.warning(
                "quota_spent",
                account=alarm.account,
                quota=alarm.quota,
                limit=alarm.sentence,
                subject=describe_subject(alarm.subject),
            )
        case VolumeUnusual():
            _ALARMS.labels("volume").inc()
            _log.warning(
                "volume_unusual",
                account=alarm.account,
                parts=alarm.parts,
                threshold=alarm.threshold,
                usual=alarm.usual,
            )
        case _:
            assert_never(alarm)
