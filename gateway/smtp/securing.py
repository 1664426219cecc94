"""STARTTLS and AUTH (RFC 3207, RFC 4954): what a client can do to be believed.

Promises: no password is asked for in clear but on loopback; nothing that was said before TLS counts after it; what was
sent behind STARTTLS without waiting is never obeyed; the answer to a wrong name is that to a wrong password.
"""

import base64
import binascii
from dataclasses import dataclass

import structlog

from gateway.intake import Reply
from gateway.smtp import replies
from gateway.smtp.connection import SmtpConnection
from gateway.smtp.gatekeeper import LockedOut
from gateway.smtp.passwords import Busy, is_password
from gateway.smtp.settings import Tls
from gateway.smtp.wire import HungUp

_MAX_NAME_CHARS = 64
_CANCEL = b"*"
_PASSWORD_FOLLOWS = frozenset({"PLAIN", "LOGIN"})

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What a client says it is."""

    name: str
    password: str


class SecuringSession(SmtpConnection):
    """A session that can be secured."""

    _account: str | None = None
    _user: str | None = None
    _sender: str | None = None  # of the mail that came last
    _wrong_recipient: str | None = None  # the last
    _remembered: Reply | None = None  # the last reply of the handler, which remembers by itself whom it refuses
    _auth_failures = 0

    @property
    def authenticated_account(self) -> str | None:
        """The account of the user who has authenticated."""
        return self._account

    def forget_all(self) -> None:
        super().forget_all()
        self._account = self._user = None

    def facts(self) -> dict[str, str | None]:
        """Return what is known of the connection, for whoever asks later why; what the client said cut short."""
        tls = self.transport.get_extra_info("ssl_object") if self.is_encrypted else None
        return {
            "listener": self._entrance.name,
            "helo": (self.session.host_name or "")[:_MAX_NAME_CHARS] or None,
            "tls": tls.version() if tls else None,
            "cipher": (tls.cipher() or (None,))[0] if tls else None,
            "certificate": self._certificate.fingerprint if self._certificate else None,
            "user": self._user,
            "authenticated_account": self._account,
        }

    def note_answer(self, reply: Reply) -> None:
        is_remembered, self._remembered = reply is self._remembered, None  # another command may be told the same
        if reply.code < 400 or is_remembered:
            return
        facts = self.facts() | {"recipient": self._wrong_recipient}
        self._owner.note_refused(self._guest.host, self._sender or self.envelope.mail_from, reply, facts)

    def extensions(self) -> list[str]:
        """Return what EHLO tells of securing."""
        lines = []
        if self._offers_tls:
            lines.append("STARTTLS")
        if self._offers_auth:
            lines.append("AUTH PLAIN LOGIN")
        return lines

    @property
    def _offers_tls(self) -> bool:
        return self._entrance.tls is Tls.STARTTLS and not self.is_encrypted

    @property
    def _has_auth(self) -> bool:
        return self._entrance.offers_auth and self._owner.gatekeeper.has_users

    @property
    def _offers_auth(self) -> bool:
        return self._has_auth and (
            self.is_encrypted or (self._guest.address.is_loopback and not self._entrance.requires_tls)
        )

    async def on_starttls(self, argument: str) -> Reply | None:
        if self._entrance.tls is Tls.NONE:
            return replies.NOT_IMPLEMENTED
        if self.is_encrypted:
            return replies.TLS_ALREADY
        if argument:
            return replies.NO_ARGUMENT
        if self.has_more():  # what stands there may not be the client's own words (CVE-2024-34083 and its like)
            self._is_over = self._is_cut = True
            _log.warning("starttls_injected", advice="a fault of the client, or somebody on the way adds commands")
            return replies.INJECTED
        try:
            await self.begin_tls(replies.TLS_READY)
        except HungUp:
            self.note_answer(replies.TLS_FAILED)  # there is nobody left to say it to
            raise
        return None

    async def on_auth(self, argument: str) -> Reply:
        if not self._has_auth:
            return replies.NOT_IMPLEMENTED
        mechanism, _, initial = argument.partition(" ")
        mechanism, initial = mechanism.upper(), initial.strip(" \t")
        if not self._offers_auth:
            if initial and mechanism in _PASSWORD_FOLLOWS:
                self._owner.gatekeeper.note_exposed()
            return replies.AUTH_NEEDS_TLS
        if self._account is not None:
            return replies.AUTH_ALREADY
        if self.session.host_name is None:
            return replies.HELLO_FIRST
        if self.envelope.mail_from is not None:
            return replies.AUTH_WITHIN_MAIL
        if mechanism not in _PASSWORD_FOLLOWS:
            return replies.UNKNOWN_MECHANISM if mechanism else replies.AUTH_SYNTAX
        try:
            given = await (self._hear_plain(initial) if mechanism == "PLAIN" else self._hear_login(initial))
        except TimeoutError:
            return self.why_no_more()
        return given if isinstance(given, Reply) else await self._judge(given)

    async def _judge(self, given: Credentials) -> Reply:
        self._user = given.name if self._owner.gatekeeper.knows(given.name) else None
        try:
            account = await self._owner.gatekeeper.authenticate(self._guest.address, given.name, given.password)
        except LockedOut:
            return self._count_failure(replies.AUTH_LOCKED)
        except Busy:
            return replies.AUTH_UNAVAILABLE
        if account is None:
            return self._count_failure(replies.AUTH_FAILED)
        self._account = account
        return replies.AUTHENTICATED

    def _count_failure(self, reply: Reply) -> Reply:
        self._auth_failures += 1  # never forgotten, not even by TLS: it is the same connection
        if self._auth_failures >= self._settings.max_auth_failures:
            self._is_cut = True
            return replies.TOO_MANY_FAILURES
        return reply

    async def _hear_plain(self, initial: str) -> Credentials | Reply:
        """RFC 4616: who is meant, who it is, and the password, with NUL between."""
        text = await self._hear(initial, "")
        if isinstance(text, Reply):
            return text
        meant, nul, rest = text.partition("\0")
        name, second_nul, password = rest.partition("\0")
        if not nul or not second_nul or meant not in {"", name}:
            return replies.AUTH_SYNTAX
        return _check(name, password)

    async def _hear_login(self, initial: str) -> Credentials | Reply:
        name = await self._hear(initial, "Username:")
        if isinstance(name, Reply):
            return name
        password = await self._hear("", "Password:")
        return password if isinstance(password, Reply) else _check(name, password)

    async def _hear(self, initial: str, question: str) -> str | Reply:
        """Return what the client says to a question, unless it has said so already, or the reply that ends it."""
        said: bytes | None = initial.encode("latin-1")
        if not initial:
            await self.push(b"334 " + base64.b64encode(question.encode()))
            said = await self.next_answer()
        if said is None:
            return replies.AUTH_SYNTAX
        if said.strip() == _CANCEL:
            return replies.AUTH_CANCELLED
        try:
            return base64.b64decode(b"" if said == b"=" else said, validate=True).decode("utf-8")
        except (binascii.Error, UnicodeDecodeError):
            return replies.AUTH_SYNTAX


def _check(name: str, password: str) -> Credentials | Reply:
    if not 0 < len(name) <= _MAX_NAME_CHARS or not is_password(password):
        return replies.AUTH_SYNTAX
    return Credentials(name=name, password=password)
