"""The HTTP listener: uvicorn inside our own loop, without its signal handlers; the socket is bound before `ready`."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Annotated

import uvicorn
from pydantic import AfterValidator, Field
from starlette.types import ASGIApp

from gateway.activation import NOTHING_GIVEN, GivenSockets
from gateway.errors import GatewayError
from gateway.providers.transport import http_url
from gateway.settings import Settings
from gateway.web.connection import BoundedConnection, refuse_ambiguous
from gateway.web.tokens import Token


def _check_listen(value: str) -> str:
    split_listen(value)
    return value


def split_listen(value: str) -> tuple[str, int]:
    """Return host (without brackets) and port of "HOST:PORT"; ValueError when it is not one."""
    host, separator, port = value.rpartition(":")
    if not separator or not host.strip("[]") or not port.isdecimal() or int(port) > 65535:
        raise ValueError('must be "HOST:PORT", as in "127.0.0.1:8025" or "[::1]:8025"')
    return host.strip("[]"), int(port)


def is_loopback(listen: str) -> bool:
    """True when "HOST:PORT" can be reached from this machine alone."""
    host, _port = split_listen(listen)
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


PublicUrl = Annotated[str, AfterValidator(http_url)]
"""An http or https address, without a slash at its end."""


HostName = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?$")]
"""A name of a machine, without a port."""


class HttpSettings(Settings):
    """Where health and metrics are asked for, where carriers call back, and where the console is."""

    listen: Annotated[str, AfterValidator(_check_listen)] | None = Field(
        default=None,
        description='"HOST:PORT" for /livez, /readyz, /metrics, callbacks and the console; absent: no HTTP. '
        "Port 0: a free one.",
    )
    public_url: PublicUrl | None = Field(
        default=None,
        description="What of it carriers can reach from outside, such as https://gw.example.org: "
        "they call back {public_url}/receipts/{name of the carrier}/{its callback_secret}.",
    )
    tokens: tuple[Token, ...] = Field(
        default=(), description="Programs that may ask /api/v1/: one block each; none: there is no such interface."
    )
    tls_proxy: bool = Field(
        default=False,
        description="A proxy in front of it speaks HTTPS with browsers, and nobody else reaches it. Without, the "
        "console is served on loopback addresses alone.",
    )
    hosts: tuple[HostName, ...] = Field(
        default=(),
        description="Names that browsers call the console by, beside that of public_url, localhost and addresses.",
    )


class HttpUnavailable(GatewayError):
    """The HTTP address cannot be listened on."""


class HttpServer:
    """One HTTP listener: `bind`, then `serve` until `stop`."""

    NAME = "http"
    """What a socket that the supervisor gives is called."""

    _LONGEST_STOP_S = 2

    def __init__(self, app: ASGIApp, *, listen: str, given: GivenSockets = NOTHING_GIVEN) -> None:
        self._host, self._port = split_listen(listen)
        self._given = given
        self._sockets: list[socket.socket] = []
        self._server = _QuietServer(
            uvicorn.Config(
                refuse_ambiguous(app),
                http=BoundedConnection,  # which has deadlines, and counts
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                date_header=False,
                timeout_graceful_shutdown=self._LONGEST_STOP_S,
                timeout_keep_alive=15,
                h11_max_incomplete_event_size=16_384,
                ws="none",
            )
        )

    async def bind(self) -> tuple[str, int]:
        """Bind the address and return it, with the port that was found for port 0. Raises HttpUnavailable.

        Of several sockets that the supervisor gives it is the first one's.
        """
        self._sockets = self._given.named(self.NAME)
        try:
            if not self._sockets:
                found = await asyncio.get_running_loop().getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
                family, kind, protocol, _, address = found[0]
                self._sockets = [self._given.at(address) or socket.socket(family, kind, protocol)]
                if not self._sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    self._sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    self._sockets[0].bind(address)
                    self._sockets[0].listen(128)
        except OSError as error:
            self.close()
            raise HttpUnavailable(f"cannot listen on {self._host}:{self._port}: {error.strerror}") from error
        host, port = self._sockets[0].getsockname()[:2]
        return str(host), int(port)

    async def serve(self) -> None:
        """Answer until `stop`. Cancelled, it closes its socket."""
        if not self._sockets:
            raise HttpUnavailable("serve comes after bind")
        try:
            await self._server.serve(sockets=self._sockets)
        finally:
            for server in getattr(self._server, "servers", ()):
                server.close()
            self.close()

    def stop(self) -> None:
        """Accept nothing more; `serve` returns within two seconds."""
        self._server.should_exit = True

    def close(self) -> None:
        """The address is free again."""
        for sock in self._sockets:
            sock.close()


class _QuietServer(uvicorn.Server):
    """Leaves the signals to the daemon."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
