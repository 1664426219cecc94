"""uvicorn inside a loop that is not its own: no signal handlers, no polling, and connections that can be broken."""

import asyncio
import os
import socket
import struct
from contextlib import suppress
from typing import cast

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from gateway.sandbox.faults import SandboxError

_STOP_DEADLINE_S = 5.0
_MOST_CONNECTIONS = 512
_RESET_AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 seconds


class _Connection(H11Protocol):
    """Puts its transport into the state of each request, where `Reset` and the like find it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast("asyncio.Transport", transport))
        self.app_state = {**self.app_state, "transport": transport}


class LoopServer:
    """Serves one ASGI application in the running loop, from `start` to `stop`."""

    def __init__(self, app: ASGIApp) -> None:
        self._config = uvicorn.Config(
            app,
            http=_Connection,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            limit_concurrency=_MOST_CONNECTIONS,
        )
        self._server = uvicorn.Server(self._config)

    async def start(self, host: str, port: int) -> int:
        """Listen, and return the port; SandboxError if the address cannot be had."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            listener = socket.create_server((host, port), family=family)
        except OSError as error:
            raise SandboxError(f"cannot listen on {host} port {port}: {error.strerror or error}") from error
        # Inherited by every connection. asyncio does so itself, but not for a socket it was given.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # What `Server.serve` does, but for its signal handlers and its loop that wakes ten times a second.
        self._config.load()
        self._server.lifespan = self._config.lifespan_class(self._config)
        await self._server.startup(sockets=[listener])
        bound: int = listener.getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Stop listening and break every connection; what is still being answered is not."""
        for server in self._server.servers:
            server.close()
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()
        tasks = set(self._server.server_state.tasks)
        if tasks:
            await asyncio.wait(tasks, timeout=_STOP_DEADLINE_S)
        for server in self._server.servers:
            await server.wait_closed()


class Reset:
    """Answers a request with a reset connection."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        transport = _transport_of(scope)
        with suppress(OSError):  # the client was faster
            descriptor = os.dup(transport.get_extra_info("socket").fileno())
            with socket.socket(fileno=descriptor) as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_ONCE)
        transport.abort()
        await _wait_for_end(receive)


class Half:
    """Answers with the first half of a body that it has announced whole."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _begin(send, length=len(self._body))
        await send({"type": "http.response.body", "body": self._body[: len(self._body) // 2], "more_body": True})
        _transport_of(scope).close()
        await _wait_for_end(receive)


class Trickle:
    """Answers byte by byte, until the client has had enough or the sandbox stops."""

    def __init__(self, body: bytes, delay_s: float, stopping: asyncio.Event) -> None:
        self._body = body
        self._delay_s = delay_s
        self._stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        transport = _transport_of(scope)
        await _begin(send, length=len(self._body))
        for position in range(len(self._body)):
            await send({"type": "http.response.body", "body": self._body[position : position + 1], "more_body": True})
            await pause(self._delay_s, self._stopping)
            if transport.is_closing() or self._stopping.is_set():
                transport.abort()
                await _wait_for_end(receive)
                return
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def pause(delay_s: float, stopping: asyncio.Event) -> None:
    """Return after `delay_s`, or at once when the sandbox stops."""
    with suppress(TimeoutError):
        async with asyncio.timeout(delay_s):
            await stopping.wait()


async def _begin(send: Send, *, length: int) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(length).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})


async def _wait_for_end(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _transport_of(scope: Scope) -> asyncio.Transport:
    return cast("asyncio.Transport", scope["state"]["transport"])
