"""The listening sockets and every session behind them.

Promises: no more sessions than settings and descriptors allow, refused before the banner; every session and every
handler is a task of the group that `serve` holds; after `drain` nothing is accepted, a mail whose DATA had begun has
been answered or was cut at the end of grace, and `serve` returns.

Behind proxies (PROXY protocol), and where TLS comes first, connections are accepted by hand: there is a session only
once it is known whose, and once the handshake is done.

Diagnostics: `ListenError` when an address cannot be bound, `TlsUnusable`; events `connections_capped`,
`connection_refused` (at most one line a second), `accept_failed`, `drain_cut`.
"""

import asyncio
import contextlib
import os
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable

import prometheus_client
import structlog

from gateway.activation import NOTHING_GIVEN, GivenSockets
from gateway.clock import Clock, SystemClock
from gateway.errors import GatewayError
from gateway.intake import Reply
from gateway.metrics import REGISTRY
from gateway.smtp import replies
from gateway.smtp.connection import Handler, SmtpConnection
from gateway.smtp.doors import Door, find_doors
from gateway.smtp.endpoint import FLUSH_S
from gateway.smtp.entrance import Entrance, Guest, find_entrances
from gateway.smtp.gatekeeper import Gatekeeper
from gateway.smtp.handshakes import tell_tls_failed
from gateway.smtp.passwords import User
from gateway.smtp.peer import Address, Networks, client_address, is_within
from gateway.smtp.proxy_header import BadHeader, Brought, read_header
from gateway.smtp.session import SmtpSession
from gateway.smtp.settings import SmtpSettings, Tls, parse_listen
from gateway.smtp.sockets import BACKLOG, listen_on, within_descriptors
from gateway.smtp.tally import Tally
from gateway.smtp.tls import TlsKeeper
from gateway.smtp.wire import ByteBudget

CONNECTIONS = prometheus_client.Counter(
    "mail2sms_smtp_connections", "Connections, by what became of them.", ["outcome"], registry=REGISTRY
)
ACCEPTED = CONNECTIONS.labels("accepted")
SESSIONS = prometheus_client.Gauge("mail2sms_smtp_sessions", "Sessions that are open.", registry=REGISTRY)
ANSWERS = prometheus_client.Counter(
    "mail2sms_smtp_answers", "Mails, by the first digit of the answer to DATA.", ["digit"], registry=REGISTRY
)

_REFUSALS = {
    replies.STOPPING: "stopping",
    replies.TOO_MANY_CONNECTIONS: "too_many",
    replies.TOO_MANY_FROM_CLIENT: "too_many_from_client",
    replies.TOO_MANY_AT_ONCE: "too_many_in_a_minute",
    replies.NOT_FOR_YOU: "not_for_this_network",
    replies.PROXIES_ONLY: "not_a_proxy",
    replies.TALKED_EARLY: "talked_early",
}

_SHARE_OF_TRUSTED = 5
"""Of so many connections one is kept for trusted networks: strangers from many addresses cannot keep them out."""
_REFUSAL_LOG_INTERVAL_S = 1.0
_ACCEPT_PAUSE_S = 1.0
"""No descriptor is free, most likely: one will be."""

_log = structlog.get_logger()


class ListenError(GatewayError):
    """An address cannot be listened on; the message names it and says why."""

    def __init__(self, address: str, error: OSError) -> None:
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        super().__init__(f"cannot listen on {address}: {why}")


class Listener:
    """Listens, admits, and stops: everything of `[smtp]`, with one set of limits over all addresses."""

    def __init__(
        self,
        settings: SmtpSettings,
        handler: Handler,
        *,
        users: Iterable[User] = (),
        networks: Networks = (),
        clock: Clock | None = None,
        given: GivenSockets = NOTHING_GIVEN,
        find_shortage: Callable[[], Reply | None] = lambda: None,
        on_refused: replies.NoteRefused = lambda _peer, _sender, _reply, _facts: None,
    ) -> None:
        """`given` is what need not be opened; in `networks`, those that accounts trust, nobody waits for the banner.

        `find_shortage` is asked at every MAIL: None, or the 4xx that says why nothing can be stored now.
        `on_refused` is told what every client was refused, but for what the handler refuses.
        """
        self.settings = settings
        self.handler = handler
        self.find_shortage = find_shortage
        self.note_refused = on_refused
        self._given = given
        self.hostname = settings.hostname or socket.gethostname()
        self.recipients = frozenset(recipient.lower() for recipient in settings.recipients)
        self.budget = ByteBudget(settings.bytes_in_flight)
        self.gatekeeper = Gatekeeper(users, max_failures_per_client=settings.max_auth_failures_per_client)
        self.networks = networks
        self.is_draining = False
        self.doors: tuple[Door, ...] = ()  # from `bind` on: where it can be asked whether it answers
        self._tls = None if settings.starttls is None else TlsKeeper(settings.starttls, clock or SystemClock())
        self._beside: list[asyncio.Task[None]] = []  # what is not a session
        self._unknown = 0  # connections whose proxy has not said whose they are
        self._sockets: list[tuple[socket.socket, Entrance]] = []
        self._servers: list[asyncio.Server] = []
        self._connections: dict[object, Guest] = {}  # sessions, and what is to become one
        self._per_client: Counter[bytes] = Counter()
        self._lately = Tally(forgiven_every_s=60 / settings.max_new_connections_per_client, now=_loop_time)
        self._tasks: set[asyncio.Task[None] | asyncio.Task[Reply]] = set()
        self._group = asyncio.TaskGroup()
        self._all_quiet = asyncio.Event()
        self._all_quiet.set()
        self._stopped = asyncio.Event()
        self._max_connections = settings.max_connections
        self._refusals_unlogged = 0
        self._refusal_logged_at = float("-inf")

    @property
    def open_connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    @property
    def tls_context(self) -> ssl.SSLContext | None:
        return None if self._tls is None else self._tls.context

    # --- life -------------------------------------------------------------------------------------------------------

    async def bind(self) -> tuple[tuple[str, int], ...]:
        """Listen on all addresses and return them, with the ports that were found for port 0.

        Clients can connect from now on; they are answered once `serve` runs. Raises ListenError, TlsUnusable.
        """
        if self._tls is not None:
            await self._tls.load()
        for entrance in find_entrances(self.settings):
            named = self._given.named(entrance.name)
            self._sockets += [(sock, entrance) for sock in named]
            for listen in () if named else entrance.listen:
                try:
                    opened = await listen_on(*parse_listen(listen), self._given)
                except OSError as error:
                    self._stop_listening()
                    raise ListenError(listen, error) from error
                self._sockets += [(sock, entrance) for sock in opened]
        self.doors = find_doors(self._sockets)
        self._max_connections = within_descriptors(self.settings.max_connections)
        if self._max_connections < self.settings.max_connections:
            _log.warning("connections_capped", configured=self.settings.max_connections, possible=self._max_connections)
        return tuple(sock.getsockname()[:2] for sock, _ in self._sockets)

    async def serve(self) -> None:
        """Take mail until `drain` has finished. Cancelled, it breaks everything off."""
        async with self._group:
            try:
                for sock, entrance in tuple(self._sockets):
                    await self._open(sock, entrance)
                if self._tls is not None:
                    self._beside.append(self._group.create_task(self._tls.keep(), name="smtp certificate"))
                await self._stopped.wait()
            finally:  # before the group ends, or it could be asked for one more session
                self.is_draining = True
                self._stop_listening()

    async def _open(self, sock: socket.socket, entrance: Entrance) -> None:
        """Who connects to the socket is served from now on."""
        loop = asyncio.get_running_loop()
        if entrance.proxies or entrance.tls is Tls.IMPLICIT:
            task = self._group.create_task(self._accept(sock, entrance), name=f"smtp {entrance.name}")
            task.add_done_callback(lambda _: sock.close())  # not before: the loop still looks at it
            self._sockets.remove((sock, entrance))
            self._beside.append(task)
            return
        server = await loop.create_server(lambda: SmtpSession(self, loop, entrance), sock=sock, backlog=BACKLOG)
        self._servers.append(server)

    async def reload(self, users: Iterable[User], networks: Networks = ()) -> None:
        """These are users and networks from now on, and the certificate is the one on disk, if that can be used."""
        self.networks = networks
        self.gatekeeper.reconfigure(users)
        if self._tls is not None:
            await self._tls.renew()

    async def drain(self, grace_s: float) -> None:
        """Accept nothing more, let what is begun be finished for `grace_s` seconds, then break off what is left."""
        self.is_draining = True
        self._stop_listening()
        for connection in tuple(self._connections):
            if isinstance(connection, SmtpConnection):
                connection.hurry()
        try:
            async with asyncio.timeout(grace_s):
                await self._all_quiet.wait()
        except TimeoutError:
            _log.warning("drain_cut", sessions=len(self._connections), tasks=len(self._tasks))
            for task in tuple(self._tasks):
                task.cancel()
            await self._all_quiet.wait()
        self._stopped.set()

    def _stop_listening(self) -> None:
        for server in self._servers:
            server.close()
        for task in self._beside:
            task.cancel()
        for sock, _ in self._sockets:
            sock.close()
        self._servers.clear()
        self._beside.clear()
        self._sockets.clear()

    # --- accepted by hand -------------------------------------------------------------------------------------------

    async def _accept(self, sock: socket.socket, entrance: Entrance) -> None:
        """Take connections for ever, each in a task of its own."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(sock)
            except OSError as error:
                _log.warning("accept_failed", listener=entrance.name, reason=os.strerror(error.errno or 0))
                await asyncio.sleep(_ACCEPT_PAUSE_S)
                continue
            connection.settimeout(0)
            self._keep(self._group.create_task(self._receive(connection, address[0], entrance), name="smtp connection"))

    async def _receive(self, connection: socket.socket, host: str, entrance: Entrance) -> None:
        structlog.contextvars.bind_contextvars(peer=host, listener=entrance.name)
        try:
            await self._prepare(connection, client_address(host), entrance)
        except Exception:  # noqa: BLE001 - the end of this connection, not of the listener
            _log.exception("session_failed", reason="no session could be begun")

    async def _prepare(self, connection: socket.socket, peer: Address, entrance: Entrance) -> None:
        """Begin a session once it is known whose it is, and over TLS if that comes first."""
        with contextlib.ExitStack() as until_begun:
            until_begun.callback(connection.close)
            client = None
            if entrance.proxies:
                brought = await self._ask_proxy(connection, peer, entrance)
                if brought is None:
                    return
                client = brought.client
            if entrance.tls is Tls.IMPLICIT:
                if self.admit(connection, entrance.receive(client or peer)) is not None:
                    return  # who waits for a handshake would not understand the reason
                until_begun.callback(self.leave, connection)
            if await self._begin(connection, client, entrance):
                until_begun.pop_all()

    async def _ask_proxy(self, connection: socket.socket, proxy: Address, entrance: Entrance) -> Brought | None:
        """Return whom the proxy brings; None: nobody that is served."""
        refusal = self._why_no_proxy(proxy, entrance)
        if refusal is not None:
            self.count_refusal(entrance.receive(proxy), refusal)
            with contextlib.suppress(OSError):
                connection.send(replies.render(refusal))  # fits into the empty buffer of the socket
            return None
        self._unknown += 1
        try:
            async with asyncio.timeout(self.settings.proxy_timeout_s):
                return await read_header(connection)
        except (BadHeader, OSError):  # TimeoutError is one
            self._note_refusal(str(proxy), "bad_proxy_header")
            return None
        finally:
            self._unknown -= 1

    async def _begin(self, connection: socket.socket, client: Address | None, entrance: Entrance) -> bool:
        """Return True once there is a session, which owns the connection from then on."""
        loop = asyncio.get_running_loop()
        is_tls = entrance.tls is Tls.IMPLICIT

        def make_session() -> SmtpSession:
            return SmtpSession(self, loop, entrance, client=client, place=connection if is_tls else None)

        try:
            await loop.connect_accepted_socket(
                make_session,
                connection,
                ssl=self.tls_context if is_tls else None,
                ssl_handshake_timeout=self.settings.handshake_timeout_s if is_tls else None,
                ssl_shutdown_timeout=FLUSH_S if is_tls else None,
            )
        except (OSError, ssl.CertificateError) as error:  # ssl.SSLError is an OSError
            if is_tls:
                tell_tls_failed(error)
            return False
        return True

    def _why_no_proxy(self, proxy: Address, entrance: Entrance) -> Reply | None:
        if self.is_draining:
            return replies.STOPPING
        if not is_within(proxy, entrance.proxies):
            return replies.PROXIES_ONLY
        if len(self._connections) + self._unknown >= self._max_connections:
            return replies.TOO_MANY_CONNECTIONS
        return None

    # --- what sessions ask ------------------------------------------------------------------------------------------

    def admit(self, connection: object, guest: Guest, place: object = None) -> Reply | None:
        if place is not None:
            self.leave(place)
        refusal = self._why_not(guest, is_new=place is None)
        if refusal is not None:
            self.count_refusal(guest, refusal)
            return refusal
        if isinstance(connection, SmtpConnection):  # a handshake is not a session yet
            ACCEPTED.inc()
        if place is None and not guest.is_trusted:
            self._lately.add(guest.key)
        SESSIONS.inc()
        self._connections[connection] = guest
        self._per_client[guest.key] += 1
        return None

    def leave(self, place: object) -> None:
        guest = self._connections.pop(place, None)
        if guest is None:
            return
        SESSIONS.dec()
        self._per_client[guest.key] -= 1
        if not self._per_client[guest.key]:
            del self._per_client[guest.key]

    def start_session(self, connection: SmtpConnection) -> None:
        task = self._group.create_task(connection.live(), name="smtp session")
        task.add_done_callback(lambda _: connection.abort())  # also if it never took its first step
        self._keep(task)

    def start_handling(self, handling: Coroutine[None, None, Reply]) -> asyncio.Task[Reply]:
        task = self._group.create_task(handling, name="smtp handler")
        self._keep(task)
        return task

    def count_refusal(self, guest: Guest, refusal: Reply) -> None:
        self.note_refused(guest.host, None, refusal, {"listener": guest.entrance.name})
        self._note_refusal(guest.host, _REFUSALS[refusal])

    def count_answer(self, reply: Reply) -> None:
        ANSWERS.labels(str(reply.code)[0]).inc()

    def _why_not(self, guest: Guest, *, is_new: bool) -> Reply | None:
        if self.is_draining:
            return replies.STOPPING
        if not guest.entrance.lets_in(guest.address):
            return replies.NOT_FOR_YOU
        reserved = 0 if guest.is_trusted else self._max_connections // _SHARE_OF_TRUSTED
        if len(self._connections) + self._unknown >= self._max_connections - reserved:
            return replies.TOO_MANY_CONNECTIONS
        if self._per_client[guest.key] >= self.settings.max_connections_per_client:
            return replies.TOO_MANY_FROM_CLIENT
        if is_new and self._lately.count(guest.key) > self.settings.max_new_connections_per_client - 1:
            return replies.TOO_MANY_AT_ONCE
        return None

    def _keep(self, task: asyncio.Task[None] | asyncio.Task[Reply]) -> None:
        self._tasks.add(task)
        self._all_quiet.clear()
        task.add_done_callback(self._let_go)

    def _let_go(self, task: asyncio.Task[None] | asyncio.Task[Reply]) -> None:
        self._tasks.discard(task)
        if not self._tasks:
            self._all_quiet.set()

    def _note_refusal(self, host: str, reason: str) -> None:
        """Count a refusal, and log one a second: a flood of connections must not become a flood of lines."""
        CONNECTIONS.labels(reason).inc()
        now = asyncio.get_running_loop().time()
        if now - self._refusal_logged_at < _REFUSAL_LOG_INTERVAL_S:
            self._refusals_unlogged += 1
            return
        _log.warning("connection_refused", peer=host, reason=reason, unlogged=self._refusals_unlogged)
        self._refusal_logged_at, self._refusals_unlogged = now, 0


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
