"""What is to become of a mail (docs/protocol.md §1.3 to §7): decided, and nothing stored, logged or counted.

`Intake` asks here and stores the answer; `mail2sms lint` asks here and prints it. So they cannot differ.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum, unique
from typing import TypeVar, assert_never

from gateway.intake.order import Arrival, Destination, IntakeRules, Pen, Reading, Written, write_order, write_wrong_not
from gateway.intake.submission import Reply, Submission
from gateway.policy.accounts import Account, Accounts
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
from gateway.protocol.codes import Code
from gateway.protocol.envoi import Mode, Unreadable, read_envoi
from gateway.protocol.mime import Headers, body_digest, read_body, read_headers
from gateway.store.base import NewReport, Refusal

T = TypeVar("T")

_INLINE_BYTES = 65_536
_INLINE_RECIPIENTS = 50
"""Up to these, reading and deciding take about a millisecond; above, they go to a thread."""

STRANGER = Reply(code=550, enhanced="5.7.1", text="You may not send SMS through this gateway")
TOO_SLOW = Reply(code=451, enhanced="4.3.0", text="Reading the mail takes too long at the moment, try again later")


@unique
class Ground(Enum):
    """Why a mail is not taken."""

    STRANGER = "stranger"
    NOT_AN_ORDER = "not_an_order"
    UNREADABLE = "unreadable"
    WRONG = "wrong"
    DEFERRED = "deferred"


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """The mail is an order. Stored, it causes all that is `written`, unless the store knows it or its emailId."""

    headers: Headers
    reading: Reading
    allowed: Allowed
    written: Written

    @property
    def reply(self) -> Reply:
        """What the client is told, once it is on disk."""
        return reply_taken(self.written.order.mail.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotTaken:
    """The mail is refused, or is to come back later.

    `refusal` is what is remembered of it, with the reports that go with it; None: nothing, for strangers could fill
    the disk. `headers` and `reading` are there as far as it came.
    """

    ground: Ground
    reply: Reply
    cause: str  # for the operator: more than the client is told
    refusal: Refusal | None
    headers: Headers | None = None
    reading: Reading | None = None
    account: Account | None = None  # that answers for the sender's domain
    code: Code | None = None  # of a WRONG mail
    not_to: Destination | None = None  # of a WRONG mail's Not


Judgement = Taken | NotTaken


def reply_taken(mail_id: str) -> Reply:
    """Return what the client of a mail that is on disk is told."""
    return Reply(code=250, enhanced="2.0.0", text=f"Ok: queued as {mail_id}")


class Judge:
    """Judges mails, any number at the same time, by one configuration: never changes, a reload makes a new one."""

    def __init__(self, *, accounts: Accounts, text_profiles: Mapping[str, TextProfile], rules: IntakeRules) -> None:
        """Be ready to judge. `text_profiles` are by name of provider."""
        self._accounts = accounts
        self._text_profiles = text_profiles
        self._rules = rules

    async def judge(self, arrival: Arrival) -> Judgement:
        """Return what is to become of the mail."""
        try:
            return await self._judge(arrival)
        except _ReadingTooSlow:
            cause = "not read within its deadline"
            return NotTaken(ground=Ground.DEFERRED, reply=TOO_SLOW, cause=cause, refusal=None)

    async def _judge(self, arrival: Arrival) -> Judgement:
        submission = arrival.submission
        greeting = self._greet(arrival)
        if isinstance(greeting, NotTaken):
            return greeting
        headers, greeted = greeting
        try:
            reading = await self._read(submission, _first_mode(greeted, submission.mode))
            verdict = check_key(greeted, reading.envoi.keyid, self._accounts)
            if isinstance(verdict, Allowed):
                mode = verdict.account.mode or submission.mode
                if mode is not reading.mode:  # accounts that share a domain, read differently
                    reading = await self._read(submission, mode)
        except Unreadable as error:
            return _refuse_unreadable(arrival, headers, error, account=choose_owner(greeted))
        if isinstance(verdict, ProvenButWrong):
            return self._refuse_wrong(arrival, headers, reading, verdict)
        pen = Pen(arrival=arrival, headers=headers, account=verdict.account, rules=self._rules)
        written = await self._offload(
            lambda: write_order(pen, reading, verdict, self._profile_of(verdict.account)),
            is_large=len(reading.envoi.recipients) > _INLINE_RECIPIENTS,
        )
        return Taken(headers=headers, reading=reading, allowed=verdict, written=written)

    def _profile_of(self, account: Account) -> TextProfile:
        names = (name for name in account.providers if name in self._text_profiles)
        return narrowest_profile(self._text_profiles[name] for name in names)

    def _greet(self, arrival: Arrival) -> tuple[Headers, Greeted] | NotTaken:
        """Return who is there, or the refusal that ends it; the body has not been looked at (docs/protocol.md §1.3)."""
        submission = arrival.submission
        client = Client(
            peer=submission.peer,
            networks=submission.networks,
            authenticated_account=submission.authenticated_account,
        )
        if not is_proven(client, self._accounts):  # a stranger costs no parsing and leaves nothing
            return NotTaken(ground=Ground.STRANGER, reply=STRANGER, cause=NOT_PROVEN.cause, refusal=None)
        try:
            headers = read_headers(submission.content, self._rules.limits)
        except Unreadable as error:
            return _refuse_unreadable(arrival, None, error, account=None)
        greeted = greet_sender(client, headers, submission.envelope_from, self._accounts)
        match greeted:
            case Greeted():
                return headers, greeted
            case Stranger():  # one of ours with a mail that is from nobody here: told the same, but remembered
                return _refuse(arrival, headers, STRANGER, cause=greeted.cause, ground=Ground.STRANGER)
            case NotAnOrder():
                reply = Reply(code=550, enhanced="5.7.1", text=greeted.cause)
                return _refuse(arrival, headers, reply, cause=greeted.cause, ground=Ground.NOT_AN_ORDER)
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

    def _refuse_wrong(self, arrival: Arrival, headers: Headers, reading: Reading, wrong: ProvenButWrong) -> NotTaken:
        """Refuse a known client, with the Not that says why (docs/protocol.md §1.3)."""
        reply = Reply(code=550, enhanced="5.7.1", text=f"Refused with code {wrong.code.value}: {wrong.cause}")
        pen = Pen(arrival=arrival, headers=headers, account=wrong.account, rules=self._rules)
        reports, not_to = write_wrong_not(pen, reading.envoi, wrong)
        refused = _refuse(
            arrival,
            headers,
            reply,
            cause="; ".join((f"code {wrong.code.value}: {wrong.cause}", *not_to.notes)),
            ground=Ground.WRONG,
            account=wrong.account,
            reports=reports,
        )
        return replace(refused, reading=reading, code=wrong.code, not_to=not_to)


def _refuse_unreadable(
    arrival: Arrival, headers: Headers | None, error: Unreadable, *, account: Account | None
) -> NotTaken:
    reply = Reply(code=554, enhanced="5.6.0", text=str(error))  # docs/protocol.md §1.4
    return _refuse(arrival, headers, reply, cause=str(error), ground=Ground.UNREADABLE, account=account)


def _refuse(
    arrival: Arrival,
    headers: Headers | None,
    reply: Reply,
    *,
    cause: str,
    ground: Ground,
    account: Account | None = None,
    reports: tuple[NewReport, ...] = (),
) -> NotTaken:
    """Refuse a known client: what it sent is remembered without its content, with the reports that go with it."""
    submission = arrival.submission
    refusal = Refusal(
        id=arrival.mail_id,
        refused_at=arrival.at,
        peer=submission.peer,
        listener=submission.listener,
        envelope_from=submission.envelope_from,
        header_from=headers.from_address if headers else None,
        message_id=headers.message_id if headers else None,
        account=account.name if account else None,
        reply=str(reply),
        cause=cause,
        reports=reports,
    )
    return NotTaken(ground=ground, reply=reply, cause=cause, refusal=refusal, headers=headers, account=account)


class _ReadingTooSlow(Exception):
    """Reading or deciding went on beyond its deadline."""


def _first_mode(greeted: Greeted, listener_mode: Mode) -> Mode:
    """Return how to read a mail whose account is not known yet: leniently if any owner of the domain would."""
    modes = {owner.mode or listener_mode for owner in greeted.owners}
    return Mode.LENIENT if Mode.LENIENT in modes else Mode.STRICT
