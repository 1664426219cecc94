"""One HTTP client's connection: uvicorn's own, and what it lacks: deadlines, and a bound on how many there are.

uvicorn waits for ever for a request whose head does not come, or behind an answer for the rest of a body, and counts
such connections against its limit: sixty-four that say nothing kept everybody else out. Here

- a connection without a request under way is closed after `WAITING_S`, whatever trickles in meanwhile;
- a request, answer included, has `REQUEST_S`, and then the connection is broken;
- there are `MOST_CONNECTIONS`; for one more, that which has waited longest for a request makes room, and where all
  are at work, the new one is answered 503;
- a request whose length can be read two ways (`Content-Length` and `Transfer-Encoding`) is refused and the connection
  closed: a proxy in front may have seen another end of it, and the rest would be somebody else's request.

Diagnostics: none: who floods would fill the log. Metric `mail2sms_http_connections_total`.
"""

import asyncio
import logging
from typing import Any

import prometheus_client
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from gateway.metrics import REGISTRY

WAITING_S = 20.0
"""More than uvicorn's keep-alive, which ends in peace what is merely idle."""

REQUEST_S = 60.0
MOST_CONNECTIONS = 128

CONNECTIONS = prometheus_client.Counter(
    "mail2sms_http_connections", "Connections over HTTP, by what became of them.", ["outcome"], registry=REGISTRY
)

_errors = logging.getLogger("uvicorn.error.alone")
_errors.setLevel(logging.ERROR)  # its warnings are one line for each bad request of a stranger

_FULL = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 10\r\nContent-Length: 0\r\n\r\n"
_REFUSAL = b"Bad Request\n"


class BoundedConnection(H11Protocol):
    """From the accepted socket to its end."""

    waits_since: float | None = None
    """Since when, by the loop's clock, it has waited for a request; None: one is under way."""
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.logger = _errors
        super().connection_made(transport)  # type: ignore[arg-type]
        if len(self.connections) > MOST_CONNECTIONS and not self._make_room():
            CONNECTIONS.labels("refused").inc()
            self.connections.discard(self)
            self.transport.write(_FULL)
            self.transport.close()
            return
        CONNECTIONS.labels("accepted").inc()
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        if self.transport.is_closing():
            return  # what still comes is nobody's request
        before = self.cycle
        super().handle_events()
        if self.cycle is not before and not self.cycle.response_complete and not self.transport.is_closing():
            self.waits_since = None
            self._start_timer(REQUEST_S)

    def on_response_complete(self) -> None:
        self._wait()
        super().on_response_complete()

    def _wait(self) -> None:
        self.waits_since = self.loop.time()
        self._start_timer(WAITING_S)

    def _start_timer(self, after_s: float) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(after_s, self._break_off)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _break_off(self) -> None:
        CONNECTIONS.labels("too_slow").inc()
        self.transport.abort()

    def _make_room(self) -> bool:
        """Break the connection that has waited longest for a request, if one waits; tell whether one did."""
        waiting = [
            (one.waits_since, one)
            for one in self.connections
            if isinstance(one, BoundedConnection) and one is not self and one.waits_since is not None
        ]
        if not waiting:
            return False
        _, oldest = min(waiting, key=lambda pair: pair[0])
        CONNECTIONS.labels("made_room").inc()
        self.connections.discard(oldest)  # the loop tells of its end only later
        oldest.transport.abort()
        return True


def refuse_ambiguous(app: ASGIApp) -> ASGIApp:
    """Return the application behind a guard that lets no request through whose end can be read two ways."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _is_ambiguous(scope):
            await send(_answer_start())
            await send({"type": "http.response.body", "body": _REFUSAL})
            return
        await app(scope, receive, send)

    return guarded


def _is_ambiguous(scope: Scope) -> bool:
    """RFC 9112 §6.1: two lengths, or a kind of length that the client's version of HTTP does not know."""
    names = {name for name, _ in scope["headers"]}
    return b"transfer-encoding" in names and (b"content-length" in names or scope["http_version"] != "1.1")


def _answer_start() -> Message:
    headers: list[tuple[bytes, Any]] = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(_REFUSAL)).encode()),
        (b"connection", b"close"),
    ]
    return {"type": "http.response.start", "status": 400, "headers": headers}
