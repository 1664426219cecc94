"""One client's dialogue: lines in, replies out, from the accepted socket to its end.

Of aiosmtpd the envelope and the session are used. Its dialogue is not, because every reply here carries an enhanced
status code (docs/protocol.md §1.5), errors are counted and slowed down, and because that loop cancels what it does when
the client hangs up: a mail whose last dot has arrived is stored whatever becomes of its client (docs/protocol.md §1.2).
How bytes come and go is for `endpoint`, what a command means is for `session`.

Diagnostics: `session_failed` with a traceback and the incident number that the client was told.
"""

import asyncio
import contextlib
import secrets
import ssl
import sys
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Coroutine
from typing import Protocol, cast

import structlog
from aiosmtpd.smtp import Envelope, Session

from gateway.errors import GatewayError
from gateway.intake import Reply, Submission
from gateway.smtp import replies
from gateway.smtp.endpoint import Endpoint
from gateway.smtp.entrance import Entrance, Guest
from gateway.smtp.gatekeeper import Gatekeeper
from gateway.smtp.peer import Address, Networks, client_address
from gateway.smtp.settings import SmtpSettings
from gateway.smtp.wire import ByteBudget, Flooded, HungUp

MAX_COMMAND_BYTES = 2_048
"""RFC 5321 §4.5.3.1.4 asks for 512, and more with extensions: AUTH PLAIN with the longest password."""

UNDELAYED_ERRORS = 3
_log = structlog.get_logger()


class Handler(Protocol):
    """Takes a mail whose DATA is complete; `gateway.intake` has one."""

    async def submit(self, submission: Submission) -> Reply:
        """Return what the client is told; `250` only once the mail is on disk."""


class Owner(Protocol):
    """What a connection asks of the listener it belongs to."""

    hostname: str
    settings: SmtpSettings
    recipients: frozenset[str]  # in lower case
    budget: ByteBudget
    handler: Handler
    gatekeeper: Gatekeeper
    networks: Networks  # that accounts trust
    is_draining: bool
    note_refused: replies.NoteRefused

    @property
    def tls_context(self) -> ssl.SSLContext | None:
        """What the next handshake is done with; None without a certificate."""

    def admit(self, connection: "SmtpConnection", guest: Guest, place: object) -> Reply | None:
        """Count the connection as one of ours, in the place that was held for it, and return None, or say why not."""

    def leave(self, place: object) -> None:
        """Forget the connection, which is closed; one that was not admitted may leave too."""

    def start_session(self, connection: "SmtpConnection") -> None:
        """Have the connection `live` in the listener's task group, and `abort` when that is over, however it ends."""

    def start_handling(self, handling: Coroutine[None, None, Reply]) -> asyncio.Task[Reply]:
        """Run a handler in the listener's task group, beside its session."""

    def find_shortage(self) -> Reply | None:
        """Return why no mail can be taken at the moment, if so; asked at MAIL."""

    def count_refusal(self, guest: Guest, refusal: Reply) -> None:
        """Count, and now and then log, a client that was turned away."""

    def count_answer(self, reply: Reply) -> None:
        """Count a mail by the answer it got."""


class SmtpConnection(Endpoint, ABC):
    """From the accepted socket to its end."""

    session: Session
    envelope: Envelope
    _guest: Guest

    def __init__(
        self,
        owner: Owner,
        loop: asyncio.AbstractEventLoop,
        entrance: Entrance,
        *,
        client: Address | None = None,
        place: object = None,
    ) -> None:
        """`client` is whom a proxy brings; None: the peer itself. `place` was held for the connection until now."""
        super().__init__(loop, owner.settings)
        self.hostname = owner.hostname
        self._owner = owner
        self._entrance = entrance
        self._client = client
        self._place = place
        self._errors = 0  # since the last mail that was taken
        self._is_over = False
        self._is_cut = False  # over although the client is probably still sending
        self._is_waiting = False  # for a command

    @abstractmethod
    def answer_command(self, verb: str, argument: str) -> Awaitable[Reply | None]:
        """Return the reply to a command, or None when it has been answered already."""

    @abstractmethod
    async def greet(self) -> bool:
        """Say the banner; return False when there is no dialogue to be had."""

    @abstractmethod
    def note_answer(self, reply: Reply) -> None:
        """Count the client if it is told no, unless the handler does that."""

    def forget_mail(self) -> None:
        """No mail is begun."""
        if self.envelope.mail_from is not None:
            self.envelope = Envelope()

    def forget_all(self) -> None:
        """The client has said nothing yet."""
        self.session = Session(self.loop)
        self.envelope = Envelope()

    # --- what the event loop calls ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._use(cast("asyncio.Transport", transport))
        peername = transport.get_extra_info("peername")
        if not peername:  # gone before it was accepted
            self.abort()
            return
        self._guest = self._entrance.receive(self._client or client_address(peername[0]))
        refusal = self._owner.admit(self, self._guest, self._place)
        if refusal is not None:
            self.transport.write(replies.render(refusal))
            self.transport.close()
            return
        self.forget_all()
        self._ends_at = self.loop.time() + self._settings.session_lifetime_s
        self._owner.start_session(self)

    def connection_lost(self, error: Exception | None) -> None:
        """Tell whoever waits and the listener only: aiosmtpd would cancel the session."""
        super().connection_lost(error)
        self._owner.leave(self)

    # --- what the listener calls ------------------------------------------------------------------------------------

    async def live(self) -> None:
        """Hold the dialogue to its end and close the connection in peace."""
        structlog.contextvars.bind_contextvars(peer=self._guest.host, listener=self._entrance.name)
        try:
            with contextlib.suppress(HungUp):
                await self._converse()
            await self.part(is_cut=self._is_cut)
        except Exception:  # noqa: BLE001 - the end of this session, not of the listener
            self._fail()
        finally:
            self._alarm.close()

    def hurry(self) -> None:
        """A session that waits for a command says 421 now; one at work does so before its next command."""
        if self._is_waiting:
            self._alarm.set(self.loop.time())

    async def begin_tls(self, invitation: Reply) -> None:
        """All that follows goes over TLS, and the client has said nothing yet. Raises HungUp as `secure` does."""
        context = self._owner.tls_context
        if context is None:
            raise RuntimeError("TLS without a certificate")  # settings do not allow it
        await self.secure(context, replies.render(invitation))
        self.forget_all()

    # --- the dialogue -----------------------------------------------------------------------------------------------

    async def push(self, status: str | bytes) -> None:
        """Send lines; `status` ends without its CRLF. The client fetches them in time, or is taken for gone."""
        await self.write((status.encode("ascii") if isinstance(status, str) else status) + b"\r\n")

    async def _converse(self) -> None:
        self._is_over = not await self.greet()
        while not self._is_over:
            try:
                reply = await self._answer(await self._next_line())
            except TimeoutError:
                await self._send(self.why_no_more())
                return
            except Flooded:
                self._is_over = self._is_cut = True
                await self._send(replies.LINE_TOO_LONG)
                return
            if reply is not None:
                await self._send(reply)

    async def _next_line(self) -> bytes:
        """Return the next command line. Raises TimeoutError when the session is idle, too old, or told to hurry."""
        now, settings = self.loop.time(), self._settings
        if self._owner.is_draining or now >= self._ends_at:
            raise TimeoutError
        idle_s = settings.trusted_idle_timeout_s if self._guest.is_trusted else settings.idle_timeout_s
        self._alarm.set(min(now + idle_s, self._ends_at))
        self._is_waiting = True
        try:
            return await self._wire.read_line()
        finally:
            self._is_waiting = False

    def why_no_more(self) -> Reply:
        if self._owner.is_draining:
            return replies.STOPPING
        return replies.TOO_OLD if self.loop.time() >= self._ends_at else replies.IDLE

    async def next_answer(self) -> bytes | None:
        """Return the next line of an exchange within a command; None when it is too long.

        Raises TimeoutError as for a command (`why_no_more` is the answer), and Flooded.
        """
        line = await self._next_line()
        return None if len(line) > MAX_COMMAND_BYTES else line

    def has_more(self) -> bool:
        """Tell whether something has come already that was not asked for."""
        return self._wire.has_more()

    async def _answer(self, line: bytes) -> Reply | None:
        if len(line) > MAX_COMMAND_BYTES:
            return replies.LINE_TOO_LONG
        text = line.decode("latin-1").rstrip(" \t")  # every byte has a character; who reads an argument checks it
        if not text:
            return replies.EMPTY_LINE
        verb, _, argument = text.partition(" ")
        try:
            return await self.answer_command(verb.upper(), argument.lstrip(" \t"))
        except (HungUp, Flooded):
            raise
        except Exception:  # noqa: BLE001 - docs/protocol.md §1.2: one mail comes back later, the session goes on
            self.forget_mail()
            return self._fail()

    async def _send(self, reply: Reply) -> None:
        """Send the reply; errors are slowed down and, when there are too many, end the session."""
        self.note_answer(reply)
        if reply.code >= 500:
            self._errors += 1
            if self._errors > UNDELAYED_ERRORS and not self._owner.is_draining:
                await asyncio.sleep(self._settings.error_delay_s)
        await self.write(replies.render(reply))
        if reply.code in {221, 421}:
            self._is_over = True
        elif self._errors >= self._settings.max_errors and not self._is_over:
            self._is_over = self._is_cut = True
            await self._send(replies.TOO_MANY_ERRORS)

    def _fail(self) -> Reply:
        """Log the exception being handled; return the sentence for the client.

        One of ours says by itself what is wrong; any other needs its traceback.
        """
        number, error = secrets.token_hex(5), sys.exception()
        if isinstance(error, GatewayError):
            _log.error("session_failed", incident=number, error=str(error))
        else:
            _log.exception("session_failed", incident=number)
        return replies.incident(number)
