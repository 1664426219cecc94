"""What is to become of a mail (docs/protocol.md §1.3 to §7): decided, and nothing stored, logged or counted.

`Intake` asks here and stores the answer; `mail2sms lint` asks here and prints it. So they cannot differ.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum, unique
from typing import assert_never

from gateway.identity.vouching import Letter, Vouching
from gateway.intake.order import (
    Arrival,
    Destination,
    IntakeRules,
    Pen,
    Written,
    read_facts,
    write_order,
    write_wrong_not,
)
from gateway.intake.submission import Reply, Submission
from gateway.policy.accounts import Account, Accounts
from gateway.policy.sender import (
    NOT_PROVEN,
    VOUCHING,
    Allowed,
    Client,
    Greeted,
    InClear,
    NotAnOrder,
    ProvenButWrong,
    ProvenClient,
    Stranger,
    check_key,
    choose_owner,
    find_claimants,
    greet_sender,
    is_proven,
)
from gateway.policy.texts import TextProfile, narrowest_profile
from gateway.protocol.codes import Code
from gateway.protocol.envoi import Mode, Unreadable
from gateway.protocol.header_block import read_header_block
from gateway.protocol.mime import Headers, read_headers
from gateway.protocol.reading import Limits
from gateway.reader.inline import NotRead, Reader
from gateway.reader.mail import MailRead, Reading
from gateway.store.base import NewReport, Refusal
from gateway.store.budget import Deferred

_INLINE_RECIPIENTS = 50
"""Up to so many, deciding takes less than a millisecond; above, it goes to a thread."""

STRANGER = Reply(code=550, enhanced="5.7.1", text="You may not send SMS through this gateway")
TOO_SLOW = "Deciding about the mail takes too long at the moment, try again later"


@unique
class Ground(Enum):
    """Why a mail is not taken."""

    STRANGER = "stranger"
    NOT_AN_ORDER = "not_an_order"
    UNREADABLE = "unreadable"
    WRONG = "wrong"
    IN_CLEAR = "in_clear"
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

UNHEARD = NotTaken(
    ground=Ground.DEFERRED,
    reply=Reply(code=451, enhanced="4.4.3", text="Who you are cannot be found out at the moment, try again later"),
    cause="the DNS does not say now who vouches for the sender",
    refusal=None,
)
_HEADER_LIMITS = Limits()


def reply_taken(mail_id: str) -> Reply:
    """Return what the client of a mail that is on disk is told."""
    return Reply(code=250, enhanced="2.0.0", text=f"Ok: queued as {mail_id}")


def reply_deferred(deferred: Deferred) -> Reply:
    """Return what the client is told whose account sends more mails than a quota of it allows (§10.5)."""
    return Reply(code=451, enhanced="4.7.1", text=f"A quota of mails is used up, try again later: {deferred.sentence}")


class Judge:
    """Judges mails, any number at the same time, by one configuration: never changes, a reload makes a new one."""

    def __init__(
        self,
        *,
        accounts: Accounts,
        text_profiles: Mapping[str, TextProfile],
        rules: IntakeRules,
        reader: Reader,
        vouching: Vouching | None = None,
    ) -> None:
        """Be ready to judge. `text_profiles` are by name of provider; without `vouching` nobody vouches for anybody."""
        self._accounts = accounts
        self._profiles = {account.name: _profile_of(account, text_profiles) for account in accounts}
        self._rules = rules
        self._reader = reader
        self._vouching = vouching if any(not set(VOUCHING).isdisjoint(account.auth) for account in accounts) else None
        self._modes = frozenset(account.mode for account in accounts)

    async def judge(self, arrival: Arrival, client: Client | None = None) -> Judgement:
        """Return what is to become of the mail; who sends it is found out, unless it is known from `identify`."""
        try:
            return await self._judge(arrival, client or await self.identify(arrival.submission))
        except NotRead as error:
            reply = Reply(code=451, enhanced="4.3.0", text=error.sentence)
            return NotTaken(ground=Ground.DEFERRED, reply=reply, cause=str(error), refusal=None)

    async def _judge(self, arrival: Arrival, client: Client) -> Judgement:
        if not is_proven(client, self._accounts):  # a stranger costs no parsing and leaves nothing
            if client.unheard:
                return UNHEARD
            return NotTaken(ground=Ground.STRANGER, reply=STRANGER, cause=NOT_PROVEN.cause, refusal=None)
        mode = _first_mode(self._modes, arrival.submission.mode)  # right, it is read only once
        read = await self._read(arrival, mode)
        if isinstance(read, Unreadable):
            return _refuse_unreadable(arrival, None, read, account=None)
        greeted = self._greet(arrival, client, read.headers)
        if isinstance(greeted, NotTaken):
            return greeted
        try:
            reading, verdict = await self._check(arrival, greeted, read, mode)
        except Unreadable as error:
            return _refuse_unreadable(arrival, read.headers, error, account=choose_owner(greeted))
        if isinstance(verdict, ProvenButWrong):
            if verdict.code is Code.C14_ADDRESS_NOT_ALLOWED and client.unheard:
                return UNHEARD
            return self._refuse_wrong(arrival, read.headers, reading, verdict)
        if isinstance(verdict, InClear):
            return _refuse_in_clear(arrival, read.headers, reading, verdict)
        pen = Pen(arrival=arrival, headers=read.headers, account=verdict.account, rules=self._rules)
        written = await self._write(pen, reading, verdict)
        return Taken(headers=read.headers, reading=reading, allowed=verdict, written=written)

    async def identify(self, submission: Submission) -> Client:
        """Return the client with what others say of its mail, where an account goes by that; only headers are read."""
        client = _client_of(submission)
        if self._vouching is None:
            return client
        try:
            block = read_header_block(submission.content, _HEADER_LIMITS)
            headers = read_headers(submission.content, _HEADER_LIMITS)
        except Unreadable:
            return client
        claimants = find_claimants(client, headers, submission.envelope_from, self._accounts)
        if not claimants:
            return client
        letter = Letter(
            content=submission.content,
            block=block,
            headers=headers,
            envelope_from=submission.envelope_from,
            claimants=claimants,
        )
        return await self._vouching.ask(client, letter)

    async def _check(
        self, arrival: Arrival, greeted: Greeted, read: MailRead, mode: Mode
    ) -> tuple[Reading, Allowed | ProvenButWrong | InClear]:
        """Return the reading in its account's mode, and whose mail it is. `read` was read in `mode`."""
        listener_mode = arrival.submission.mode
        first = _first_mode((owner.mode for owner in greeted.owners), listener_mode)
        reading = _raise_or_return(read if first is mode else await self._read(arrival, first))
        verdict = check_key(greeted, reading.envoi.keyid, self._accounts)
        if isinstance(verdict, Allowed):
            right = verdict.account.mode or listener_mode
            if right is not reading.mode:  # accounts that share a domain, read differently
                reading = _raise_or_return(await self._read(arrival, right))
        return reading, verdict

    async def _read(self, arrival: Arrival, mode: Mode) -> MailRead | Unreadable:
        return await self._reader.read(arrival.submission.content, mode, name=arrival.mail_id)

    async def _write(self, pen: Pen, reading: Reading, verdict: Allowed) -> Written:
        """Return what the mail causes; for many recipients worked out in a thread, waited for until the deadline."""
        profile = self._profiles[verdict.account.name]
        if len(reading.envoi.recipients) <= _INLINE_RECIPIENTS:
            return write_order(pen, reading, verdict, profile)
        try:
            async with asyncio.timeout(self._rules.deciding_deadline_s):
                return await asyncio.to_thread(write_order, pen, reading, verdict, profile)
        except TimeoutError as error:
            raise NotRead("not decided about within its deadline", sentence=TOO_SLOW) from error

    def _greet(self, arrival: Arrival, client: ProvenClient, headers: Headers) -> Greeted | NotTaken:
        """Return who is there, or the refusal that ends it; the body has not been looked at (docs/protocol.md §1.3)."""
        greeted = greet_sender(client, headers, arrival.submission.envelope_from, self._accounts)
        match greeted:
            case Greeted():
                return greeted
            case Stranger():  # one of ours with a mail that is from nobody here: told the same, but remembered
                return _refuse(arrival, headers, STRANGER, cause=greeted.cause, ground=Ground.STRANGER)
            case NotAnOrder():
                reply = Reply(code=550, enhanced="5.7.1", text=greeted.cause)
                return _refuse(arrival, headers, reply, cause=greeted.cause, ground=Ground.NOT_AN_ORDER)
            case _:
                assert_never(greeted)

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
        remembered = refused.refusal and replace(
            refused.refusal,
            facts={**read_facts(arrival.submission, reading), "ground": Ground.WRONG.value, "code": wrong.code.value},
        )
        return replace(refused, refusal=remembered, reading=reading, code=wrong.code, not_to=not_to)


def _refuse_unreadable(
    arrival: Arrival, headers: Headers | None, error: Unreadable, *, account: Account | None
) -> NotTaken:
    reply = Reply(code=554, enhanced="5.6.0", text=str(error))  # docs/protocol.md §1.4
    return _refuse(arrival, headers, reply, cause=str(error), ground=Ground.UNREADABLE, account=account)


def _refuse_in_clear(arrival: Arrival, headers: Headers, reading: Reading, verdict: InClear) -> NotTaken:
    """Refuse a mail that should have come over TLS; no code says so, hence no Not (docs/protocol.md §1.3)."""
    reply = Reply(code=550, enhanced="5.7.10", text=f"Refused: {verdict.cause}")
    cause = f"came without TLS, and its keyid with it: {verdict.cause}"
    refused = _refuse(arrival, headers, reply, cause=cause, ground=Ground.IN_CLEAR, account=verdict.account)
    return replace(refused, reading=reading)


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
        facts={**read_facts(submission, None), "ground": ground.value},
    )
    return NotTaken(ground=ground, reply=reply, cause=cause, refusal=refusal, headers=headers, account=account)


def _client_of(submission: Submission) -> Client:
    return Client(
        peer=submission.peer,
        networks=submission.networks,
        authenticated_account=submission.authenticated_account,
        certificate=submission.certificate,
        is_encrypted=submission.is_encrypted,
    )


def _profile_of(account: Account, text_profiles: Mapping[str, TextProfile]) -> TextProfile:
    names = (name for name in account.all_providers if name in text_profiles)
    return narrowest_profile(text_profiles[name] for name in names)


def _raise_or_return(read: MailRead | Unreadable) -> Reading:
    """Return the reading. Raises `Unreadable` when there is none."""
    found = read if isinstance(read, Unreadable) else read.reading
    if isinstance(found, Unreadable):
        raise found
    return found


def _first_mode(modes: Iterable[Mode | None], listener_mode: Mode) -> Mode:
    """Return how to read a mail that may be any of these accounts': leniently if any of them would."""
    return Mode.LENIENT if any((mode or listener_mode) is Mode.LENIENT for mode in modes) else Mode.STRICT
