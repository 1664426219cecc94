"""A small, honest SMTP receiver: it keeps what it gets and misbehaves only when told to.

Used by `mail2sms demo`, by the tests and by the conformance kit to catch the Ack and Not that come back
(docs/protocol.md §8). It takes any recipient, but no line longer than RFC 5321 §4.5.3.1.6 allows, and no BODY=8BITMIME
when it does not advertise 8BITMIME.
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, unique
from types import TracebackType
from typing import Self

from aiosmtpd.smtp import SMTP, Envelope, Session

from gateway.smtp.listener import ListenError

MAX_MAILS = 10_000
MAX_MAIL_BYTES = 33_554_432


@unique
class Step(Enum):
    """Where in the dialogue the mailbox can be told to misbehave."""

    CONNECT = "connect"
    EHLO = "ehlo"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"  # the command, instead of 354
    DOT = "dot"  # the answer to the whole mail


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedMail:
    """One mail, as it stood on the wire after unstuffing."""

    order: int  # 1 for the first that came in
    envelope_from: str  # "" for the null sender
    recipients: tuple[str, ...]
    content: bytes
    options: tuple[str, ...]  # parameters of MAIL, in upper case: "BODY=8BITMIME", "SIZE=812"

    @property
    def is_8bitmime(self) -> bool:
        """True when the sender announced 8-bit content."""
        return "BODY=8BITMIME" in self.options


class Mailbox:
    """`async with Mailbox() as mailbox:` listens on a free port of loopback until the end of the block."""

    address: tuple[str, int]
    """Host and port it listens on, known inside the block."""

    _server: asyncio.Server

    def __init__(
        self, *, host: str = "127.0.0.1", port: int = 0, hostname: str = "mailbox.example", has_8bitmime: bool = True
    ) -> None:
        self.mails: list[ReceivedMail] = []
        self.has_8bitmime = has_8bitmime
        self.connections = 0
        self._listen = (host, port)
        self._hostname = hostname
        self._received = 0
        self._changed = asyncio.Condition()
        self._refusals: dict[Step, deque[str]] = {step: deque() for step in Step}
        self._delays_s: dict[Step, float] = {}
        self._hang_ups: Counter[bool] = Counter()  # by whether the mail is kept
        self._sessions: set[_MailboxSession] = set()

    # --- life -------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        logging.getLogger("mail.log").setLevel(logging.CRITICAL)  # aiosmtpd would print whole mails
        loop = asyncio.get_running_loop()
        host, port = self._listen
        try:
            self._server = await loop.create_server(lambda: _MailboxSession(self, self._hostname, loop), host, port)
        except OSError as error:
            raise ListenError(f"{host}:{port}", error) from error
        self.address = self._server.sockets[0].getsockname()[:2]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        tasks = [session.break_off() for session in tuple(self._sessions)]
        if tasks:
            await asyncio.wait(tasks)

    # --- what came in -----------------------------------------------------------------------------------------------

    async def wait_for(
        self, wanted: int | Callable[[Sequence[ReceivedMail]], bool], timeout_s: float = 5.0
    ) -> tuple[ReceivedMail, ...]:
        """Return the mails once there are `wanted` of them, or once `wanted(mails)` is true.

        Raises TimeoutError, saying how many there were.
        """

        def is_there() -> bool:
            return len(self.mails) >= wanted if isinstance(wanted, int) else wanted(self.mails)

        try:
            async with asyncio.timeout(timeout_s), self._changed:
                await self._changed.wait_for(is_there)
        except TimeoutError:
            raise TimeoutError(f"{len(self.mails)} mails came within {timeout_s} s, not what was waited for") from None
        return tuple(self.mails)

    def clear(self) -> None:
        """Forget the mails; what was told with `refuse`, `delay` and `hang_up_after_dot` stays."""
        self.mails.clear()

    # --- misbehaving ------------------------------------------------------------------------------------------------

    def refuse(self, step: Step, reply: str, *, times: int = 1) -> None:
        """Answer `reply` ("451 4.3.0 Later") the next `times` times the dialogue is at `step`."""
        self._refusals[step].extend([reply] * times)

    def delay(self, step: Step, seconds: float) -> None:
        """Wait so long before every answer at `step` from now on."""
        self._delays_s[step] = seconds

    def hang_up_after_dot(self, *, times: int = 1, is_kept: bool = True) -> None:
        """Break the next `times` connections instead of answering the dot; the mail is kept, or not."""
        self._hang_ups[is_kept] += times

    def behave(self) -> None:
        """Forget all trouble that is left."""
        for refusals in self._refusals.values():
            refusals.clear()
        self._delays_s.clear()
        self._hang_ups.clear()

    async def turn(self, step: Step) -> str | None:
        """Return the refusal that is due at this step, if any, after the delay told for it."""
        await asyncio.sleep(self._delays_s.get(step, 0))
        refusals = self._refusals[step]
        return refusals.popleft() if refusals else None

    # --- what aiosmtpd calls ----------------------------------------------------------------------------------------

    async def handle_EHLO(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, session: Session, _envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        refusal = await self.turn(Step.EHLO)
        if refusal is not None:
            return [refusal]
        session.host_name = hostname
        hidden = {"250-SMTPUTF8"} if self.has_8bitmime else {"250-SMTPUTF8", "250-8BITMIME"}
        return [line for line in responses if line not in hidden]

    async def handle_MAIL(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        refusal = await self.turn(Step.MAIL)
        if refusal is not None:
            return refusal
        if not self.has_8bitmime and "BODY=8BITMIME" in options:
            return "555 5.5.4 8BITMIME was not advertised"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 Sender OK"

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        refusal = await self.turn(Step.RCPT)
        if refusal is not None:
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Recipient OK"

    async def handle_DATA(self, server: "_MailboxSession", _session: Session, envelope: Envelope) -> str:  # noqa: N802 - as above
        refusal = await self.turn(Step.DOT)
        if refusal is not None:
            return refusal
        if len(self.mails) >= MAX_MAILS:
            return "452 4.3.1 Mailbox is full"
        hangs_up = self._hang_ups.total() > 0
        is_kept = not hangs_up or self._hang_ups[True] > 0
        if is_kept:
            await self._keep(envelope)
        if hangs_up:
            self._hang_ups[is_kept] -= 1
            await server.hang_up()
        return "250 2.0.0 Kept"

    async def _keep(self, envelope: Envelope) -> None:
        self._received += 1
        self.mails.append(
            ReceivedMail(
                order=self._received,
                envelope_from=(envelope.mail_from or "").removeprefix("<>"),  # so does aiosmtpd write the null sender
                recipients=tuple(envelope.rcpt_tos),
                content=envelope.original_content or b"",
                options=tuple(envelope.mail_options),
            )
        )
        async with self._changed:
            self._changed.notify_all()

    def opened(self, session: "_MailboxSession") -> None:
        """Count and remember a connection."""
        self.connections += 1
        self._sessions.add(session)

    def closed(self, session: "_MailboxSession") -> None:
        """Forget a connection."""
        self._sessions.discard(session)


class _MailboxSession(SMTP):
    """aiosmtpd's own dialogue, with the two steps it has no hook for."""

    _handler_coroutine: asyncio.Task[None]

    def __init__(self, mailbox: Mailbox, hostname: str, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            mailbox, hostname=hostname, ident="ESMTP", data_size_limit=MAX_MAIL_BYTES, timeout=60.0, loop=loop
        )
        self._mailbox = mailbox

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._mailbox.opened(self)
        self._handler_coroutine.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            task.exception()  # a client that hung up: seen, and no concern of ours
        self._mailbox.closed(self)

    def break_off(self) -> asyncio.Task[None]:
        """Break the connection; return the task whose end is the session's."""
        if self.transport is not None:
            self._writer.transport.abort()
        self._handler_coroutine.cancel()
        return self._handler_coroutine

    async def hang_up(self) -> None:
        """Break the connection and wait for the cancellation that follows."""
        self._writer.transport.abort()
        await self.loop.create_future()

    async def _handle_client(self) -> None:
        try:
            refusal = await self._mailbox.turn(Step.CONNECT)
        except asyncio.CancelledError:  # the client has gone; from the greeting on, aiosmtpd sees to it
            self._writer.close()
            raise
        if refusal is None:
            await super()._handle_client()
            return
        await self.push(refusal)
        self._writer.close()

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802 - aiosmtpd's name
        refusal = await self._mailbox.turn(Step.DATA) if self.envelope and self.envelope.rcpt_tos else None
        if refusal is None:
            await super().smtp_DATA(arg)
        else:
            await self.push(refusal)
