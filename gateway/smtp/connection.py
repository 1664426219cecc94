"""One client's connection: lines in, replies out, every wait with a deadline, and a proper end.

Built on aiosmtpd's `SMTP`, whose place in the event loop, envelope and session it keeps. aiosmtpd's own dialogue loop
is not used, because every reply here carries an enhanced status code (docs/protocol.md §1.5), errors are counted and
slowed down, and because that loop cancels what it does when the client hangs up: a mail whose last dot has arrived is
stored whatever becomes of its client (docs/protocol.md §1.2). What a command means is for `session`.

TLS begins anew: a fresh reader on the new transport, so that nothing that came in clear is ever taken for something
that came over TLS (RFC 3207 §4.2).

Diagnostics: `session_failed` with a traceback and the incident number that the client was told.
"""

import asyncio
import contextlib
import secrets
import ssl
import sys
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from typing import Protocol, cast

import structlog
from aiosmtpd.smtp import SMTP, Envelope, Session

from gateway.errors import GatewayError
from gateway.intake import ClientCertificate, Reply, Submission
from gateway.smtp import replies
from gateway.smtp.alarm import Alarm
from gateway.smtp.entrance import Entrance
from gateway.smtp.gatekeeper import Gatekeeper
from gateway.smtp.handshakes import HANDSHAKES, tell_tls_failed
from gateway.smtp.peer import Address, Networks, client_address, is_within
from gateway.smtp.settings import SmtpSettings
from gateway.smtp.tls import find_client
from gateway.smtp.wire import CHUNK_BYTES, ByteBudget, Flooded, HungUp, Wire

MAX_COMMAND_BYTES = 2_048
"""RFC 5321 §4.5.3.1.4 asks for 512, and more with extensions: AUTH PLAIN with the longest password."""

UNDELAYED_ERRORS = 3
FLUSH_S = 5.0
"""How long a client may take to fetch the last reply, and to say that it has seen the end of TLS."""

LINGER_S = 1.0
LINGER_BYTES = 1_048_576
"""What is still listened to after a cut: closing at once would reset the connection and destroy the reply."""

_FOREIGN_VERBS = frozenset({"GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH", "CONNECT", "PROXY"})
"""HTTP, and the header of a proxy where none is expected."""

_FOREIGN_BEGINNINGS = frozenset({"\x16", "\0"})
"""A TLS handshake where it begins with STARTTLS, and the second version of that header."""

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

    def admit(self, connection: "SmtpConnection", peer: Address, entrance: Entrance, place: object) -> Reply | None:
        """Count the connection as one of ours, in the place that was held for it, and return None, or say why not."""

    def leave(self, place: object) -> None:
        """Forget the connection, which is closed; one that was not admitted may leave too."""

    def start_session(self, connection: "SmtpConnection") -> None:
        """Have the connection `live` in the listener's task group, and `abort` when that is over, however it ends."""

    def start_handling(self, handling: Coroutine[None, None, Reply]) -> asyncio.Task[Reply]:
        """Run a handler in the listener's task group, beside its session."""

    def find_shortage(self) -> Reply | None:
        """Return why no mail can be taken at the moment, if so; asked at MAIL."""

    def count_refusal(self, peer: Address, refusal: Reply, entrance: Entrance) -> None:
        """Count, and now and then log, a client that was turned away."""

    def count_answer(self, reply: Reply) -> None:
        """Count a mail by the answer it got."""


class SmtpConnection(SMTP, ABC):
    """From the accepted socket to its end."""

    session: Session
    envelope: Envelope
    transport: asyncio.Transport

    def __init__(
        self,
        owner: Owner,
        loop: asyncio.AbstractEventLoop,
        entrance: Entrance,
        *,
        client: Address | None = None,
        place: object = None,
    ) -> None:
        """Skip aiosmtpd's constructor: it inspects class and handler for every connection (measured: 40 % of one).

        `client` is whom a proxy brings; None: the peer itself. `place` was held for the connection until it is made.
        """
        self.loop = loop
        self._read_anew()
        self.hostname = owner.hostname
        self._owner = owner
        self._entrance = entrance
        self._client = client
        self._place = place
        self._certificate: ClientCertificate | None = None
        self._is_encrypted = False
        self._settings = owner.settings
        self._errors = 0  # since the last mail that was taken
        self._is_over = False
        self._is_cut = False  # over although the client is probably still sending
        self._alarm = Alarm(loop)
        self._is_waiting = False  # for a command

    @abstractmethod
    async def answer_command(self, verb: str, argument: str) -> Reply | None:
        """Return the reply to a command, or None when it has been answered already."""

    @abstractmethod
    async def greet(self) -> bool:
        """Say the banner; return False when there is no dialogue to be had."""

    @abstractmethod
    def note_answer(self, reply: Reply) -> None:
        """Count the client if it is told no, unless the handler does that."""

    def forget_mail(self) -> None:
        """No mail is begun."""
        self.envelope = self._create_envelope()

    @property
    def is_encrypted(self) -> bool:
        """True once TLS has begun."""
        return self._is_encrypted

    def forget_all(self) -> None:
        """The client has said nothing yet."""
        self.session = self._create_session()
        self.session.peer = self.transport.get_extra_info("peername")
        self.forget_mail()

    # --- what the event loop calls ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        asyncio.StreamReaderProtocol.connection_made(self, transport)
        self.transport = cast("asyncio.Transport", transport)
        peername = transport.get_extra_info("peername")
        if not peername:  # gone before it was accepted
            self.transport.abort()
            return
        self._peer = self._client or client_address(peername[0])
        refusal = self._owner.admit(self, self._peer, self._entrance, self._place)
        if refusal is not None:
            self.transport.write(replies.render(refusal))
            self.transport.close()
            return
        self._note_tls()
        self.forget_all()
        self._wire = Wire(self._reader)
        self._is_trusted = is_within(self._peer, self._entrance.networks)
        self._ends_at = self.loop.time() + self._settings.session_lifetime_s
        self._owner.start_session(self)

    def connection_lost(self, error: Exception | None) -> None:
        """Tell the reader and the listener only: aiosmtpd would cancel the session."""
        asyncio.StreamReaderProtocol.connection_lost(self, error)
        self._owner.leave(self)

    def eof_received(self) -> bool | None:
        """Tell the reader only: a client that closes its sending side behind the dot still gets its 250."""
        return asyncio.StreamReaderProtocol.eof_received(self)

    # --- what the listener calls ------------------------------------------------------------------------------------

    async def live(self) -> None:
        """Hold the dialogue to its end and close the connection in peace."""
        structlog.contextvars.bind_contextvars(peer=str(self._peer), listener=self._entrance.name)
        try:
            with contextlib.suppress(HungUp):
                await self._converse()
            await self._part()
        except Exception:  # noqa: BLE001 - the end of this session, not of the listener
            self._fail()
        finally:
            self._alarm.close()

    def hurry(self) -> None:
        """A session that waits for a command says 421 now; one at work does so before its next command."""
        if self._is_waiting:
            self._alarm.move(self.loop.time())

    def abort(self) -> None:
        """Break the connection without a word; nothing is left to break after a proper end."""
        self._writer.transport.abort()

    # --- TLS --------------------------------------------------------------------------------------------------------

    async def begin_tls(self, invitation: Reply) -> None:
        """All that follows goes over TLS, and nothing that came before counts any more (RFC 3207 §4.2).

        `invitation` is the last that is said in clear. Raises HungUp, with the connection broken, when it
        comes to nothing.
        """
        context, transport = self._owner.tls_context, self.transport
        if context is None:
            raise RuntimeError("TLS without a certificate")  # settings do not allow it
        transport.pause_reading()  # what comes behind the invitation is for TLS alone
        await self._write(replies.render(invitation))
        self._read_anew()
        try:
            secured = await self.loop.start_tls(
                transport,
                self,
                context,
                server_side=True,
                ssl_handshake_timeout=self._settings.handshake_timeout_s,
                ssl_shutdown_timeout=FLUSH_S,
            )
        except (OSError, ssl.CertificateError) as error:  # ssl.SSLError and TimeoutError are OSErrors
            tell_tls_failed(error)
            transport.abort()
            self.connection_lost(None)  # not every loop tells
            raise HungUp from error
        if secured is None:  # the client broke the connection as the handshake ended
            raise HungUp
        self._writer_in_clear = self._writer  # from Python 3.11.5 on one that nobody holds closes what it wrote to
        asyncio.StreamReaderProtocol.connection_made(self, secured)
        self.transport = secured
        self._note_tls()
        self._wire = Wire(self._reader)
        self.forget_all()

    def _note_tls(self) -> None:
        """Whether there is TLS, and what the client has shown, is known."""
        connection = self.transport.get_extra_info("ssl_object")
        if connection is not None:
            HANDSHAKES.labels("done").inc()
            self._is_encrypted = True
            self._certificate = find_client(connection)

    def _read_anew(self) -> None:
        """What comes from now on is read by a reader that has seen nothing before."""
        asyncio.StreamReaderProtocol.__init__(
            self,
            asyncio.StreamReader(limit=CHUNK_BYTES, loop=self.loop),
            client_connected_cb=self._cb_client_connected,
            loop=self.loop,
        )

    # --- the dialogue -----------------------------------------------------------------------------------------------

    async def push(self, status: str | bytes) -> None:
        """Send lines; `status` ends without its CRLF. The client fetches them in time, or is taken for gone."""
        await self._write((status.encode("ascii") if isinstance(status, str) else status) + b"\r\n")

    async def _write(self, lines: bytes) -> None:
        if self.transport.is_closing():  # the client broke the connection, perhaps while its mail was being stored
            raise HungUp
        self._writer.write(lines)
        if not self.transport.get_write_buffer_size():
            return  # the kernel has it
        try:
            with self._alarm.until(self.loop.time() + self._settings.idle_timeout_s):
                await self._writer.drain()
        except OSError as error:  # TimeoutError is one: nobody fetches what is said
            self.abort()
            raise HungUp from error

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
        if self._owner.is_draining:
            raise TimeoutError
        settings = self._settings
        idle_s = settings.trusted_idle_timeout_s if self._is_trusted else settings.idle_timeout_s
        self._is_waiting = True
        try:
            with self._alarm.until(min(self.loop.time() + idle_s, self._ends_at)):
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
        verb = verb.upper()
        if verb in _FOREIGN_VERBS or verb.endswith(":") or verb[:1] in _FOREIGN_BEGINNINGS:  # HTTP, or headers of it
            self._is_cut = True
            return replies.NOT_SMTP
        try:
            return await self.answer_command(verb, argument.lstrip(" \t"))
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
        await self._write(replies.render(reply))
        if reply.code in {221, 421}:
            self._is_over = True
        elif self._errors >= self._settings.max_errors and not self._is_over:
            self._is_over = self._is_cut = True
            await self._send(replies.TOO_MANY_ERRORS)

    async def _part(self) -> None:
        """Close the connection once the client has had time to fetch what was said."""
        with contextlib.suppress(OSError, HungUp):
            if self._is_cut and not self._writer.transport.is_closing():
                if not self.is_encrypted:  # TLS has no half of an end
                    self._writer.write_eof()
                with self._alarm.until(self.loop.time() + LINGER_S):
                    await self._wire.discard(LINGER_BYTES)
        self._writer.close()
        with contextlib.suppress(OSError), self._alarm.until(self.loop.time() + FLUSH_S):
            await self._writer.wait_closed()

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
