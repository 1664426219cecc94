"""What each SMTP command means here (docs/protocol.md §1).

Promises: `250` after DATA is the handler's own word; the handler is never cancelled by its client, by a timer of the
dialogue or by its own deadline; nothing of a mail that did not come in completely reaches it.

AUTH and STARTTLS are in `securing`.
"""

import asyncio
import contextlib
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

import structlog

from gateway.intake import Reply, Submission
from gateway.protocol.envoi import Mode
from gateway.smtp import replies
from gateway.smtp.address import Path, parse_path
from gateway.smtp.content import clean_content
from gateway.smtp.peer import is_within
from gateway.smtp.securing import SecuringSession
from gateway.smtp.wire import NoMail, Share

_MOST_KEPT_CHARS = 100
_AUTHOR = re.compile(r"<>|(?:[!-*,-<>-~]|\+[0-9A-F]{2}){1,500}")  # RFC 4954 §5: <>, or an address in xtext
_NOT_IMPLEMENTED = frozenset({"VRFY", "EXPN", "HELP", "TURN", "ETRN", "BDAT"})

_FOREIGN_VERBS = frozenset({"GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH", "CONNECT", "PROXY"})
"""HTTP, and the header of a proxy where none is expected."""

_FOREIGN_BEGINNINGS = frozenset({"\x16", "\0"})
"""A TLS handshake where it begins with STARTTLS, and the second version of that header."""

_log = structlog.get_logger()


class SmtpSession(SecuringSession):
    """One client's mails."""

    def answer_command(self, verb: str, argument: str) -> Awaitable[Reply | None]:
        command = COMMANDS.get(verb)
        return self.on_unknown(verb) if command is None else command(self, argument)

    async def on_unknown(self, verb: str) -> Reply:
        if verb in _FOREIGN_VERBS or verb.endswith(":") or verb[:1] in _FOREIGN_BEGINNINGS:  # HTTP, or headers of it
            self._is_cut = True
            return replies.NOT_SMTP
        return replies.NOT_IMPLEMENTED if verb in _NOT_IMPLEMENTED else replies.UNKNOWN_COMMAND

    async def greet(self) -> bool:
        """Robots talk before the banner; a stranger gets it a moment late, and is cut if it could not wait."""
        if self._settings.greeting_delay_s and not self._is_known() and await self._talks_early():
            self._is_cut = True
            self._owner.count_refusal(self._guest, replies.TALKED_EARLY)
            await self.push(str(replies.TALKED_EARLY))
            return False
        await self.push(f"220 {self.hostname} ESMTP")
        return True

    def _is_known(self) -> bool:
        """True for whoever is in a network that somebody trusts, and for a proxy itself, which asks if we are there."""
        is_proxy = bool(self._entrance.proxies) and self._client is None
        if self._guest.is_trusted or is_proxy or self._entrance.is_legacy:
            return True
        return is_within(self._guest.address, self._owner.networks)

    async def _talks_early(self) -> bool:
        self._alarm.set(self.loop.time() + self._settings.greeting_delay_s)
        try:
            await self._wire.hear()
        except TimeoutError:
            return False
        return True

    async def on_helo(self, argument: str) -> Reply | None:
        return await self._greet(argument, self.hostname)

    async def on_ehlo(self, argument: str) -> Reply | None:
        size = f"SIZE {self._settings.max_mail_bytes}"
        told = ("PIPELINING", size, "8BITMIME", *self.extensions(), "ENHANCEDSTATUSCODES")
        return await self._greet(argument, self.hostname, *told)

    async def _greet(self, name: str, *lines: str) -> Reply | None:
        if not name and self._entrance.is_legacy:
            name = self._guest.host
        if not name or len(name) > 255 or not (name.isascii() and name.isprintable()):
            return replies.HELLO_SYNTAX
        self.session.host_name = name
        self.forget_mail()
        await self.push("\r\n".join([*(f"250-{line}" for line in lines[:-1]), f"250 {lines[-1]}"]))
        return None

    async def on_mail(self, argument: str) -> Reply:
        if self.session.host_name is None:
            return replies.HELLO_FIRST
        if self._entrance.requires_tls and not self.is_encrypted:
            return replies.TLS_FIRST
        if self._entrance.proxies and self._client is None:  # the proxy itself, which is no client
            return replies.NO_ADDRESS
        if self.envelope.mail_from is not None:
            return replies.NESTED_MAIL
        path = self._path(argument, "FROM:")
        if path is None:
            return replies.MAIL_SYNTAX
        if path.address is None:
            return replies.BAD_SENDER
        if not path.address:
            return replies.NULL_SENDER  # docs/protocol.md §1.3: a bounce is never an order
        size = declared_size(path.parameters, knows_auth=self._offers_auth)
        if isinstance(size, Reply):
            return size
        if size > self._settings.max_mail_bytes:
            return replies.TOO_BIG
        shortage = self._owner.find_shortage()
        if shortage is not None:
            return shortage
        if not self._owner.budget.has_room_for(size):
            return replies.NO_ROOM
        self.envelope.mail_from = self._sender = path.address
        return replies.SENDER_OK

    async def on_rcpt(self, argument: str) -> Reply:
        if self.envelope.mail_from is None:
            return replies.MAIL_FIRST
        path = self._path(argument, "TO:")
        if path is None:
            return replies.RCPT_SYNTAX
        if not path.address:
            return replies.BAD_RECIPIENT
        if path.parameters:
            return replies.UNKNOWN_PARAMETER
        if path.address.lower() not in self._owner.recipients:  # docs/protocol.md §1.1: never a relay
            self._wrong_recipient = path.address[:_MOST_KEPT_CHARS]
            return replies.UNKNOWN_RECIPIENT
        if len(self.envelope.rcpt_tos) >= self._settings.max_recipients:
            return replies.TOO_MANY_RECIPIENTS
        self.envelope.rcpt_tos.append(path.address)
        return replies.RECIPIENT_OK

    def _path(self, argument: str, keyword: str) -> Path | None:
        return parse_path(argument, keyword, lenient=self._entrance.mode is Mode.LENIENT)

    async def on_data(self, argument: str) -> Reply:
        envelope = self.envelope
        if argument:
            return replies.NO_ARGUMENT
        if envelope.mail_from is None:
            return replies.MAIL_FIRST
        if not envelope.rcpt_tos:
            return replies.RCPT_FIRST
        self.forget_mail()
        await self.push("354 End data with <CR><LF>.<CR><LF>")
        share = self._owner.budget.share()
        try:
            received = await self._receive(share)
            if isinstance(received, Reply):
                reply = received
            else:
                handling = self._owner.start_handling(self._handle(self._submit(received, envelope.mail_from)))
                held = share.hand_over()  # what a mail takes is taken until its handler is done, session or not
                handling.add_done_callback(lambda _: held.give_back())
                reply = self._remembered = await self._outcome(handling)
        finally:
            share.give_back()
        self._owner.count_answer(reply)
        if reply.code < 300:
            self._errors = 0
        return reply

    async def _receive(self, share: Share) -> bytes | Reply:
        """Return the mail, or the reply that refuses it (docs/protocol.md §2.8).

        The client has `data_patience_s` of credit and earns a second by every `min_data_bytes_per_s` octets, up to
        where it began: a slow but honest line lives, a trickle does not.
        """
        settings, now, alarm = self._settings, self.loop.time, self._alarm
        deadline = now() + settings.data_deadline_s
        credit_ends_at = now() + settings.data_patience_s

        def take(size: int) -> bool:
            nonlocal credit_ends_at
            earned_s = size / settings.min_data_bytes_per_s
            credit_ends_at = min(credit_ends_at + earned_s, now() + settings.data_patience_s)
            alarm.set(min(credit_ends_at, deadline))
            return share.take(size)

        alarm.set(min(credit_ends_at, deadline))
        try:
            raw = await self._wire.read_mail(settings.max_mail_bytes, take)
        except TimeoutError:
            self._is_cut = True
            return replies.TOO_SLOW
        match raw:
            case NoMail.NO_ROOM:
                return replies.NO_ROOM
            case NoMail.TOO_BIG:
                return replies.TOO_BIG
            case NoMail.ENDLESS:
                self._is_over = self._is_cut = True
                return replies.TOO_BIG
            case bytes():
                return clean_content(
                    raw,
                    max_line_bytes=settings.max_line_bytes,
                    normalise_bare_lf=is_within(self._guest.address, self._entrance.bare_lf_networks),
                )

    def _submit(self, content: bytes, envelope_from: str) -> Submission:
        """Return the mail with what is known of its client now: later it may have begun another."""
        return Submission(
            content=content,
            envelope_from=envelope_from,
            peer=self._guest.host,
            listener=self._entrance.name,
            networks=self._entrance.networks,
            mode=self._entrance.mode,
            authenticated_account=self.authenticated_account,
            certificate=self._certificate,
            is_encrypted=self.is_encrypted,
            facts=self.facts(),
        )

    async def _handle(self, submission: Submission) -> Reply:
        """Have the mail stored. Runs beside the session, which may end before it."""
        try:
            return await self._owner.handler.submit(submission)
        except Exception:  # noqa: BLE001 - docs/protocol.md §1.2: an unexpected error is "come back"
            return self._fail()

    async def _outcome(self, handling: asyncio.Task[Reply]) -> Reply:
        """Return the handler's reply. One that takes too long is left to its end, and the client told to come back.

        If the mail was stored after all, the copy that comes back causes nothing (docs/protocol.md §1.6).
        """
        handling.add_done_callback(lambda _: self._alarm.wake())
        self._alarm.set(self.loop.time() + self._settings.handler_timeout_s)
        with contextlib.suppress(TimeoutError):
            while not handling.done():
                await self._alarm.wait()
        if handling.done() and not handling.cancelled():
            return handling.result()
        number = secrets.token_hex(5)
        _log.error("session_failed", incident=number, reason="the mail was not stored in time")
        return replies.incident(number)

    async def on_rset(self, argument: str) -> Reply:
        if argument:
            return replies.NO_ARGUMENT
        self.forget_mail()
        return replies.OK

    async def on_noop(self, _argument: str) -> Reply:
        return replies.OK

    async def on_quit(self, argument: str) -> Reply:
        return replies.NO_ARGUMENT if argument else replies.BYE


def declared_size(parameters: tuple[str, ...], *, knows_auth: bool) -> int | Reply:
    """Return the octets the parameters of MAIL announce, 0 if they do not, or the reply that refuses them.

    knows_auth: AUTH was offered, and so `AUTH=` is a parameter. It proves nothing, and is not looked at.
    """
    size = 0
    seen = set()
    for parameter in parameters:
        key, _, value = parameter.upper().partition("=")
        if key in seen:
            return replies.MAIL_SYNTAX
        seen.add(key)
        if key == "SIZE":
            if not (value.isascii() and value.isdecimal() and len(value) <= 20):  # RFC 1870 §3: at most 20 digits
                return replies.MAIL_SYNTAX
            size = int(value)
        elif key == "BODY":
            if value not in {"7BIT", "8BITMIME"}:
                return replies.MAIL_SYNTAX
        elif key == "AUTH" and knows_auth:  # RFC 4954 §5; mail servers that log in may write it
            if _AUTHOR.fullmatch(value) is None:
                return replies.MAIL_SYNTAX
        else:
            return replies.UNKNOWN_PARAMETER
    return size


Command = Callable[[SmtpSession, str], Awaitable[Reply | None]]

COMMANDS: Mapping[str, Command] = MappingProxyType(
    {
        "HELO": SmtpSession.on_helo,
        "EHLO": SmtpSession.on_ehlo,
        "MAIL": SmtpSession.on_mail,
        "RCPT": SmtpSession.on_rcpt,
        "DATA": SmtpSession.on_data,
        "RSET": SmtpSession.on_rset,
        "NOOP": SmtpSession.on_noop,
        "QUIT": SmtpSession.on_quit,
        "STARTTLS": SmtpSession.on_starttls,
        "AUTH": SmtpSession.on_auth,
    }
)
