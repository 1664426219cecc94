"""The connections to one carrier: aiohttp's, below httpx, and exact about the moment a request begins to leave.

aiohttp makes several times as many calls a second as httpx's own transport. What it does not promise is added here:
- `NeverConnected` is raised for what fails before a connection is there, and for nothing else. (httpx-aiohttp calls a
  connection that breaks under way a `ConnectTimeout`, which would make a sent SMS look like one that never left.)
- No request is sent twice. (aiohttp sends a GET again when a kept connection turns out to be closed.)
- A kept connection on which the carrier has said something meanwhile, its end or a stray answer, is not used again.
  (aiohttp would take a stray answer for that to the next request.)
- A call that is over leaves nothing behind that is still to be written.
"""

import asyncio
import select
import ssl
from weakref import WeakSet

import aiohttp
import httpx
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from httpx_aiohttp import AiohttpTransport

KEEPALIVE_S = 2.0
"""Idle connections are given up well before common servers do (5 s), so that a call rarely meets a closing one."""

FOREIGN_ERRORS = (aiohttp.ClientError, aiohttp.http_exceptions.HttpProcessingError)
"""What aiohttp raises and httpx-aiohttp may let through."""


class NeverConnected(httpx.ConnectError):
    """There was no connection in time, or none at all: not one byte of the request was written."""


def aiohttp_transport(*, context: ssl.SSLContext, width: int, connect_s: float) -> httpx.AsyncBaseTransport:
    """Return what carries the requests of an httpx client: `width` connections at most, nothing connected yet.

    `connect_s` is how long a request waits until it has a connection, be it a free one or a new one.
    """

    def new_session() -> aiohttp.ClientSession:  # wants a running loop
        return aiohttp.ClientSession(
            connector=_Connector(context=context, width=width, connect_s=connect_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            middlewares=(_send_once,),
            skip_auto_headers=("Content-Type",),  # an empty request is of no type
            trust_env=False,
        )

    return AiohttpTransport(client=new_session, verify=context, trust_env=False)


class _Connector(aiohttp.TCPConnector):
    """Hands out connections on which a request can be written, or raises NeverConnected."""

    def __init__(self, *, context: ssl.SSLContext, width: int, connect_s: float) -> None:
        super().__init__(ssl=context, limit=width, keepalive_timeout=KEEPALIVE_S)
        self._connect_s = connect_s
        self._known: WeakSet[ResponseHandler] = WeakSet()

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        try:
            async with asyncio.timeout(self._connect_s):
                connection = await super().connect(req, traces, timeout)
                while self._is_spoilt(connection):
                    connection.close()
                    connection = await super().connect(req, traces, timeout)
        except TimeoutError as error:
            raise NeverConnected("no connection in time") from error
        except (aiohttp.ClientError, OSError) as error:
            raise NeverConnected(f"{type(error).__name__}: {error}") from error
        connection.add_callback(lambda: _drop_unwritten(connection.transport))
        return connection

    def _is_spoilt(self, connection: Connection) -> bool:
        """Return whether this is a kept connection, and something came on it that nobody asked for."""
        protocol = connection.protocol
        assert protocol is not None  # noqa: S101 # it was handed out this moment
        if protocol not in self._known:
            self._known.add(protocol)  # on a new one a TLS ticket may be waiting
            return False
        return protocol.should_close or _is_readable(connection.transport)


async def _send_once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Return the answer; a connection that breaks is told in a way that aiohttp does not take for "try again"."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectionError as error:
        raise httpx.NetworkError(f"{type(error).__name__}: {error}") from error


def _drop_unwritten(transport: asyncio.Transport | None) -> None:
    if transport is not None and transport.get_write_buffer_size() > 0:
        transport.abort()  # closing would wait for a carrier that does not read


def _is_readable(transport: asyncio.Transport | None) -> bool:
    """Return whether the carrier has said something, or hung up, that the loop has not yet come round to."""
    connected = None if transport is None else transport.get_extra_info("socket")
    if connected is None or connected.fileno() < 0:
        return True
    poll = select.poll()
    poll.register(connected.fileno(), select.POLLIN)
    return bool(poll.poll(0))
