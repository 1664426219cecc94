"""One client's place in the event loop: bytes in, bytes out, every wait with a deadline, and a proper end.

asyncio's streams are not used: a reader, a writer and a timeout for every line cost more than the dialogue. What comes
goes straight into the `Wire`; what is said goes straight to the transport.

TLS begins anew: on a fresh wire, so that nothing that came in clear is ever taken for something that came over TLS
(RFC 3207 §4.2).
"""

import asyncio
import contextlib
import ssl

from gateway.intake import ClientCertificate
from gateway.smtp.alarm import Alarm
from gateway.smtp.handshakes import HANDSHAKES, tell_tls_failed
from gateway.smtp.settings import SmtpSettings
from gateway.smtp.tls import find_client
from gateway.smtp.wire import HungUp, Wire

FLUSH_S = 5.0
"""How long a client may take to fetch the last reply, and to say that it has seen the end of TLS."""

LINGER_S = 1.0
LINGER_BYTES = 1_048_576
"""What is still listened to after a cut: closing at once would reset the connection and destroy the reply."""


class Endpoint(asyncio.Protocol):
    """Our end of a connection. One task reads and writes, the event loop calls the rest."""

    transport: asyncio.Transport  # from `connection_made` on

    def __init__(self, loop: asyncio.AbstractEventLoop, settings: SmtpSettings) -> None:
        self.loop = loop
        self._settings = settings
        self._alarm = Alarm(loop)
        self._wire = Wire(self._alarm)
        self._is_full = False  # so much is said and not fetched that nothing more should be
        self._is_lost = False
        self._is_encrypted = False
        self._certificate: ClientCertificate | None = None  # that the client has shown

    @property
    def is_encrypted(self) -> bool:
        """True once TLS has begun."""
        return self._is_encrypted

    # --- what the event loop calls ----------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self._wire.feed(data)

    def eof_received(self) -> bool:
        """A client that closes its sending side behind the dot still gets its 250; TLS has no half of an end."""
        self._wire.end()
        return not self._is_encrypted

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False
        self._alarm.wake()

    def connection_lost(self, error: Exception | None) -> None:
        self._is_lost = True
        self._wire.end()

    # --- what the session calls -------------------------------------------------------------------------------------

    def abort(self) -> None:
        """Break the connection without a word; nothing is left to break after a proper end."""
        self.transport.abort()

    async def write(self, lines: bytes) -> None:
        """Say this. A client that does not fetch what is said gets some time, then it is taken for gone: HungUp."""
        if self.transport.is_closing():  # the client broke the connection, perhaps while its mail was being stored
            raise HungUp
        self.transport.write(lines)
        if self._is_full:
            await self._fetched()

    async def _fetched(self) -> None:
        self._alarm.set(self.loop.time() + self._settings.idle_timeout_s)
        while self._is_full:
            if self._is_lost:
                raise HungUp
            try:
                await self._alarm.wait()
            except TimeoutError as error:
                self.abort()
                raise HungUp from error

    async def secure(self, context: ssl.SSLContext, invitation: bytes) -> None:
        """All that follows goes over TLS, and nothing that came before counts any more (RFC 3207 §4.2).

        `invitation` is the last that is said in clear. Raises HungUp, with the connection broken, when it
        comes to nothing.
        """
        transport = self.transport
        transport.pause_reading()  # what comes behind the invitation is for TLS alone
        await self.write(invitation)
        self._wire = Wire(self._alarm)
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
        self._use(secured)

    async def part(self, *, is_cut: bool) -> None:
        """Close the connection once the client has had time to fetch what was said."""
        if is_cut and not self.transport.is_closing():
            with contextlib.suppress(OSError, HungUp):  # TimeoutError is one
                if not self._is_encrypted:
                    self.transport.write_eof()
                self._alarm.set(self.loop.time() + LINGER_S)
                await self._wire.discard(LINGER_BYTES)
        self.transport.close()
        if not self._is_encrypted and not self.transport.get_write_buffer_size():
            return  # the kernel has it all
        self._alarm.set(self.loop.time() + FLUSH_S)
        with contextlib.suppress(TimeoutError):
            while not self._is_lost:
                await self._alarm.wait()

    def _use(self, transport: asyncio.Transport) -> None:
        """This is what carries the dialogue from now on."""
        self.transport = transport
        self._wire.attach(transport)
        connection = transport.get_extra_info("ssl_object")
        if connection is not None:
            HANDSHAKES.labels("done").inc()
            self._is_encrypted = True
            self._certificate = find_client(connection)
