"""One mail in, one reply out (docs/protocol.md §1): the stage between the SMTP session and the store.

Promises. `250` means that the mail and everything it causes are on disk (§1.2). A stranger is told one thing, whatever
is wrong, and leaves nothing but a line in the log. A known client is told what is wrong in one sentence, and what it
sent is remembered. A mail that is not taken uses up no emailId. No mail goes to an address that the account does not
allow (§8.4). Nothing here is retried: who cannot be served now is told to come back.

Who calls lets `submit` run to its end even if the client hangs up; what it raises is answered with `451`.

Diagnostics: events `envoi_admitted`, `mail_duplicate`, `mail_retransmitted` (info), `mail_refused` (warning); metrics
`mail2sms_mails_total` and `mail2sms_sms_admitted_total`.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import TypeVar, assert_never

import structlog
from prometheus_client import Counter

from gateway.clock import Clock
from gateway.ids import new_id
from gateway.intake.order import Arrival, IntakeRules, Pen, Reading, write_order, write_wrong_not
from gateway.intake.submission import Reply, Submission
from gateway.lifecycle import MailId, SmsState
from gateway.metrics import REGISTRY
from gateway.policy.accounts import Accounts
from gateway.policy.sender import (
    NOT_PROVEN,
    Allowed,
    Client,
    Greeted,
    NotAnOrder,
    ProvenButWrong,
    Stranger,
    check_key,
    choose_owner,
    greet_sender,
    is_proven,
)
from gateway.policy.texts import TextProfile, narrowest_profile
from gateway.protocol.envoi import Mode, Unreadable, read_envoi
from gateway.protocol.mime import Headers, body_digest, read_body, read_headers
from gateway.store import Store, StoreUnavailable
from gateway.store.base import Duplicate, NewReport, Order, Refusal, Retransmitted, Stored

__all__ = ["Intake", "IntakeRules", "Reply", "Submission"]

T = TypeVar("T")

_log = structlog.get_logger(__name__)

_MAILS = Counter("mail2sms_mails_total", "Mails by what became of them.", ("outcome",), registry=REGISTRY)
_SMS = Counter("mail2sms_sms_admitted_total", "SMS asked for, by decision.", ("decision",), registry=REGISTRY)

_INLINE_BYTES = 65_536
_INLINE_RECIPIENTS = 50
"""Up to these, reading and deciding take about a millisecond; above, they go to a thread."""


STRANGER = Reply(code=550, enhanced="5.7.1", text="You may not send SMS through this gateway")
LATER = Reply(code=451, enhanced="4.3.0", text="The mail cannot be stored at the moment, try again later")
FULL = Reply(code=452, enhanced="4.3.1", text="No room for the mail at the moment, try again later")
TOO_SLOW = Reply(code=451, enhanced="4.3.0", text="Reading the mail takes too long at the moment, try again later")


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
        on_admitted: Callable[[str], None],
        on_report: Callable[[], None],
    ) -> None:
        """Be ready to take mails.

        `text_profiles` by name of provider; `on_admitted` tells the dispatcher for which account there are SMS,
        `on_report` rings the mailer.
        """
        self._accounts = accounts
        self._text_profiles = text_profiles
        self._store = store
        self._clock = clock
        self._rules = rules
        self._on_admitted = on_admitted
        self._on_report = on_report

    def reconfigure(self, accounts: Accounts, text_profiles: Mapping[str, TextProfile]) -> None:
        """The next mails are judged by these; those being read, by what they began with."""
        self._accounts = accounts
        self._text_profiles = text_profiles

    async def submit(self, submission: Submission) -> Reply:
        """The mail is stored with all it causes, or refused; return what the client is told."""
        now = self._clock.now()
        mail_id = MailId(new_id(now))
        with structlog.contextvars.bound_contextvars(mail_id=mail_id, peer=submission.peer):
            try:
                return await self._answer(Arrival(submission=submission, mail_id=mail_id, at=now))
            except StoreUnavailable as error:
                return _defer(FULL if error.is_full else LATER, str(error))
            except _ReadingTooSlow:
                return _defer(TOO_SLOW, "not read within its deadline")

    async def _answer(self, arrival: Arrival) -> Reply:
        accounts, text_profiles = self._accounts, self._text_profiles  # the same for all of this mail
        submission = arrival.submission
        greeting = await self._greet(arrival, accounts)
        if isinstance(greeting, Reply):
            return greeting
        headers, greeted = greeting
        try:
            reading = await self._read(submission, _first_mode(greeted, submission.mode))
            verdict = check_key(greeted, reading.envoi.keyid, accounts)
            if isinstance(verdict, Allowed):
                mode = verdict.account.mode or submission.mode
                if mode is not reading.mode:  # accounts that share a domain, read differently
                    reading = await self._read(submission, mode)
        except Unreadable as error:
            return await self._refuse_unreadable(arrival, headers, error, account=choose_owner(greeted).name)
        if isinstance(verdict, ProvenButWrong):
            return await self._refuse_wrong(arrival, headers, reading, verdict)
        profile = narrowest_profile(text_profiles[name] for name in verdict.account.providers if name in text_profiles)
        return await self._admit(arrival, headers, reading, verdict, profile)

    async def _greet(self, arrival: Arrival, accounts: Accounts) -> tuple[Headers, Greeted] | Reply:
        """Return who is there, or the reply that ends it; the body has not been looked at (docs/protocol.md §1.3)."""
        submission = arrival.submission
        client = Client(
            peer=submission.peer,
            networks=submission.networks,
            authenticated_account=submission.authenticated_account,
        )
        if not is_proven(client, accounts):  # a stranger costs no parsing
            return self._turn_away(NOT_PROVEN.cause)
        try:
            headers = read_headers(submission.content, self._rules.limits)
        except Unreadable as error:
            return await self._refuse_unreadable(arrival, None, error, account=None)
        greeted = greet_sender(client, headers, submission.envelope_from, accounts)
        match greeted:
            case Greeted():
                return headers, greeted
            case Stranger():  # one of ours with a mail that is from nobody here: told the same, but remembered
                return await self._refuse(arrival, headers, STRANGER, cause=greeted.cause, outcome="stranger")
            case NotAnOrder():
                reply = Reply(code=550, enhanced="5.7.1", text=greeted.cause)
                return await self._refuse(arrival, headers, reply, cause=greeted.cause, outcome="not_an_order")
            case _:
                assert_never(greeted)

    async def _read(self, submission: Submission, mode: Mode) -> Reading:
        def read() -> Reading:
            body = read_body(submission.content, self._rules.limits, mode)
            envoi = read_envoi(body, mode=mode, limits=self._rules.limits)
            return Reading(body=body, envoi=envoi, mode=mode, digest=body_digest(submission.content))

        return await self._offload(read, is_large=len(submission.content) > _INLINE_BYTES)

    async def _offload(self, work: Callable[[], T], *, is_large: bool) -> T:
        """Return what `work` returns; large work runs in a thread, where it is waited for until the deadline."""
        if not is_large:
            return work()
        try:
            async with asyncio.timeout(self._rules.reading_deadline_s):
                return await asyncio.to_thread(work)
        except TimeoutError as error:
            raise _ReadingTooSlow from error

    # --- not taken ---------------------------------------------------------------------------------------------------

    def _turn_away(self, cause: str) -> Reply:
        """Refuse a stranger. Nothing is stored: strangers could fill the disk."""
        _MAILS.labels("stranger").inc()
        _log.warning("mail_refused", cause=cause, reply=str(STRANGER))
        return STRANGER

    async def _refuse_unreadable(
        self, arrival: Arrival, headers: Headers | None, error: Unreadable, *, account: str | None
    ) -> Reply:
        reply = Reply(code=554, enhanced="5.6.0", text=str(error))  # docs/protocol.md §1.4
        return await self._refuse(arrival, headers, reply, cause=str(error), outcome="unreadable", account=account)

    async def _refuse_wrong(self, arrival: Arrival, headers: Headers, reading: Reading, wrong: ProvenButWrong) -> Reply:
        """Refuse a known client, and send the Not with the cause (docs/protocol.md §1.3)."""
        reply = Reply(code=550, enhanced="5.7.1", text=f"Refused with code {wrong.code.value}: {wrong.cause}")
        pen = Pen(arrival=arrival, headers=headers, account=wrong.account, rules=self._rules)
        reports, notes = write_wrong_not(pen, reading.envoi, wrong)
        return await self._refuse(
            arrival,
            headers,
            reply,
            cause="; ".join((f"code {wrong.code.value}: {wrong.cause}", *notes)),
            outcome="wrong",
            account=wrong.account.name,
            reports=reports,
        )

    async def _refuse(
        self,
        arrival: Arrival,
        headers: Headers | None,
        reply: Reply,
        *,
        cause: str,
        outcome: str,
        account: str | None = None,
        reports: tuple[NewReport, ...] = (),
    ) -> Reply:
        """Refuse a known client: what it sent is remembered without its content, with the reports that go with it."""
        submission = arrival.submission
        await self._store.refuse(
            Refusal(
                id=arrival.mail_id,
                refused_at=arrival.at,
                peer=submission.peer,
                listener=submission.listener,
                envelope_from=submission.envelope_from,
                header_from=headers.from_address if headers else None,
                message_id=headers.message_id if headers else None,
                account=account,
                reply=str(reply),
                cause=cause,
                reports=reports,
            )
        )
        _MAILS.labels(outcome).inc()
        _log.warning("mail_refused", account=account, cause=cause, reply=str(reply))
        if reports:
            self._on_report()
        return reply

    # --- taken -------------------------------------------------------------------------------------------------------

    async def _admit(
        self, arrival: Arrival, headers: Headers, reading: Reading, allowed: Allowed, profile: TextProfile
    ) -> Reply:
        pen = Pen(arrival=arrival, headers=headers, account=allowed.account, rules=self._rules)
        order = await self._offload(
            lambda: write_order(pen, reading, allowed, profile),
            is_large=len(reading.envoi.recipients) > _INLINE_RECIPIENTS,
        )
        outcome = await self._store.admit(order)
        account = allowed.account.name
        first_id = arrival.mail_id
        match outcome:
            case Stored():
                self._tell_stored(order, outcome)
            case Duplicate():
                _MAILS.labels("duplicate").inc()
                _log.info("mail_duplicate", account=account, envoi_id=outcome.first_envoi_id)
                if order.duplicate_reports:
                    self._on_report()
            case Retransmitted():  # docs/protocol.md §1.6
                first_id = outcome.first_mail_id
                _MAILS.labels("retransmitted").inc()
                _log.info("mail_retransmitted", account=account, first_mail_id=first_id)
            case _:
                assert_never(outcome)
        return Reply(code=250, enhanced="2.0.0", text=f"Ok: queued as {first_id}")

    def _tell_stored(self, order: Order, stored: Stored) -> None:
        envoi = order.envoi
        rows = envoi.sms if envoi else ()
        queued = sum(sms.state is SmsState.QUEUED for sms in rows)
        _MAILS.labels("admitted" if envoi else "without_id").inc()
        _SMS.labels("queued").inc(queued)
        _SMS.labels("refused").inc(len(rows) - queued)
        _log.info(
            "envoi_admitted",
            account=order.mail.account,
            envoi_id=envoi.id if envoi else None,
            ack=stored.ack_code.value,
            code=envoi.fault.value if envoi and envoi.fault is not None else None,
            sms=queued,
            refused=len(rows) - queued,
        )
        if queued:
            self._on_admitted(order.mail.account)
        if order.reports:
            self._on_report()


class _ReadingTooSlow(Exception):
    """Reading or deciding went on beyond its deadline."""


def _first_mode(greeted: Greeted, listener_mode: Mode) -> Mode:
    """Return how to read a mail whose account is not known yet: leniently if any owner of the domain would."""
    modes = {owner.mode or listener_mode for owner in greeted.owners}
    return Mode.LENIENT if Mode.LENIENT in modes else Mode.STRICT


def _defer(reply: Reply, cause: str) -> Reply:
    _MAILS.labels("deferred").inc()
    _log.warning("mail_refused", cause=cause, reply=str(reply))
    return reply
