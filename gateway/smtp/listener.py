"""The listening sockets and every session behind them.

Promises: no more sessions than settings and descriptors allow, refused before the banner; every session and every
handler is a task of the group that `serve` holds; after `drain` nothing is accepted, a mail whose DATA had begun has
been answered or was cut at the end of grace, and `serve` returns.

Diagnostics: `ListenError` when an address cannot be bound; events `connections_capped`, `connection_refused` (at most
one line a second), `drain_cut`.
"""

import asyncio
import logging
import os
import resource
import socket
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path

import prometheus_client
import structlog

from gateway.errors import GatewayError
from gateway.intake import Reply
from gateway.metrics import REGISTRY
from gateway.smtp import replies
from gateway.smtp.connection import Handler, SmtpConnection
from gateway.smtp.peer import Address, client_key
from gateway.smtp.session import SmtpSession
from gateway.smtp.settings import SmtpSettings, parse_listen
from gateway.smtp.wire import ByteBudget

CONNECTIONS = prometheus_client.Counter(
    "mail2sms_smtp_connections", "Connections, by what became of them.", ["outcome"], registry=REGISTRY
)
SESSIONS = prometheus_client.Gauge("mail2sms_smtp_sessions", "Sessions that are open.", registry=REGISTRY)
ANSWERS = prometheus_client.Counter(
    "mail2sms_smtp_answers", "Mails, by the first digit of the answer to DATA.", ["digit"], registry=REGISTRY
)

_REFUSALS = {
    replies.STOPPING: "stopping",
    replies.TOO_MANY_CONNECTIONS: "too_many",
    replies.TOO_MANY_FROM_CLIENT: "too_many_from_client",
}

BACKLOG = 1_024
_DESCRIPTORS = Path("/proc/self/fd")
_USED_IF_UNKNOWN = 64
_RESERVED_DESCRIPTORS = 8
_REFUSAL_LOG_INTERVAL_S = 1.0

_log = structlog.get_logger()


class ListenError(GatewayError):
    """An address cannot be listened on; the message names it and says why."""

    def __init__(self, address: str, error: OSError) -> None:
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        super().__init__(f"cannot listen on {address}: {why}")


class Listener:
    """Listens, admits, and stops. One per `[smtp]`."""

    def __init__(
        self,
        settings: SmtpSettings,
        handler: Handler,
        *,
        name: str = "smtp",
        find_shortage: Callable[[], Reply | None] = lambda: None,
    ) -> None:
        """`find_shortage` is asked at every MAIL: None, or the 4xx that says why nothing can be stored now."""
        self.name = name
        self.settings = settings
        self.handler = handler
        self.find_shortage = find_shortage
        self.hostname = settings.hostname or socket.gethostname()
        self.recipients = frozenset(recipient.lower() for recipient in settings.recipients)
        self.budget = ByteBudget(settings.bytes_in_flight)
        self.is_draining = False
        self._sockets: list[socket.socket] = []
        self._servers: list[asyncio.Server] = []
        self._connections: dict[SmtpConnection, Address] = {}
        self._per_client: Counter[object] = Counter()
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

    # --- life -------------------------------------------------------------------------------------------------------

    async def bind(self) -> tuple[tuple[str, int], ...]:
        """Listen on all addresses and return them, with the ports that were found for port 0.

        Clients can connect from now on; they are answered once `serve` runs. Raises ListenError.
        """
        _quieten_aiosmtpd()
        for listen in self.settings.listen:
            try:
                self._sockets += await _listen(*parse_listen(listen))
            except OSError as error:
                self._stop_listening()
                raise ListenError(listen, error) from error
        self._max_connections = _within_descriptors(self.settings.max_connections)
        if self._max_connections < self.settings.max_connections:
            _log.warning("connections_capped", configured=self.settings.max_connections, possible=self._max_connections)
        return tuple(sock.getsockname()[:2] for sock in self._sockets)

    async def serve(self) -> None:
        """Take mail until `drain` has finished. Cancelled, it breaks everything off."""
        async with self._group:
            try:
                loop = asyncio.get_running_loop()
                for sock in self._sockets:
                    server = await loop.create_server(lambda: SmtpSession(self, loop), sock=sock, backlog=BACKLOG)
                    self._servers.append(server)
                await self._stopped.wait()
            finally:  # before the group ends, or it could be asked for one more session
                self.is_draining = True
                self._stop_listening()

    async def drain(self, grace_s: float) -> None:
        """Accept nothing more, let what is begun be finished for `grace_s` seconds, then break off what is left."""
        self.is_draining = True
        self._stop_listening()
        for connection in tuple(self._connections):
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
        for sock in self._sockets:
            sock.close()
        self._servers.clear()
        self._sockets.clear()

    # --- what sessions ask ------------------------------------------------------------------------------------------

    def admit(self, connection: SmtpConnection, peer: Address) -> Reply | None:
        refusal = self._why_not(peer)
        if refusal is not None:
            CONNECTIONS.labels(_REFUSALS[refusal]).inc()
            self._log_refusal(peer, _REFUSALS[refusal])
            return refusal
        CONNECTIONS.labels("accepted").inc()
        SESSIONS.inc()
        self._connections[connection] = peer
        self._per_client[client_key(peer)] += 1
        return None

    def leave(self, connection: SmtpConnection) -> None:
        peer = self._connections.pop(connection, None)
        if peer is None:
            return
        SESSIONS.dec()
        key = client_key(peer)
        self._per_client[key] -= 1
        if not self._per_client[key]:
            del self._per_client[key]

    def start_session(self, connection: SmtpConnection) -> None:
        task = self._group.create_task(connection.live(), name="smtp session")
        task.add_done_callback(lambda _: connection.abort())  # also if it never took its first step
        self._keep(task)

    def start_handling(self, handling: Coroutine[None, None, Reply]) -> asyncio.Task[Reply]:
        task = self._group.create_task(handling, name="smtp handler")
        self._keep(task)
        return task

    def count_answer(self, reply: Reply) -> None:
        ANSWERS.labels(str(reply.code)[0]).inc()

    def _why_not(self, peer: Address) -> Reply | None:
        if self.is_draining:
            return replies.STOPPING
        if len(self._connections) >= self._max_connections:
            return replies.TOO_MANY_CONNECTIONS
        if self._per_client[client_key(peer)] >= self.settings.max_connections_per_client:
            return replies.TOO_MANY_FROM_CLIENT
        return None

    def _keep(self, task: asyncio.Task[None] | asyncio.Task[Reply]) -> None:
        self._tasks.add(task)
        self._all_quiet.clear()
        task.add_done_callback(self._let_go)

    def _let_go(self, task: asyncio.Task[None] | asyncio.Task[Reply]) -> None:
        self._tasks.discard(task)
        if not self._tasks:
            self._all_quiet.set()

    def _log_refusal(self, peer: Address, reason: str) -> None:
        """Log one refusal a second: a flood of connections must not become a flood of lines."""
        now = asyncio.get_running_loop().time()
        if now - self._refusal_logged_at < _REFUSAL_LOG_INTERVAL_S:
            self._refusals_unlogged += 1
            return
        _log.warning("connection_refused", peer=str(peer), reason=reason, unlogged=self._refusals_unlogged)
        self._refusal_logged_at, self._refusals_unlogged = now, 0


async def _listen(host: str, port: int) -> list[socket.socket]:
    """Return a listening socket for every address of the host. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, _, _, _, address in found:
            sockets.append(socket.create_server(address, family=family, backlog=BACKLOG))
            sockets[-1].settimeout(0)
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _within_descriptors(wanted: int) -> int:
    """Return how many of the wanted sessions the descriptor limit carries.

    Half of what is free and no more: store, HTTP and the refusals themselves need descriptors too.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return wanted
    used = sum(1 for _ in _DESCRIPTORS.iterdir()) if _DESCRIPTORS.is_dir() else _USED_IF_UNKNOWN
    return max(1, min(wanted, (limit - used) // 2 - _RESERVED_DESCRIPTORS))


def _quieten_aiosmtpd() -> None:
    """Make sure aiosmtpd's own logger prints no command and no DATA, whatever the level of the others."""
    logging.getLogger("mail.log").setLevel(logging.WARNING)
