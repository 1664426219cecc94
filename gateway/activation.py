"""Sockets that the supervisor opened (sd_listen_fds(3)): port 25 needs no capability, a restart turns nobody away.

Promises. A socket is used by one listener: that of its name (`FileDescriptorName=`), or the one with its address. What
no listener wants is an error before anything is bound. They stay open until the process ends, so a start can be tried
again; what listeners get are duplicates, which they may close.

Diagnostics: `ActivationError`, with what to change.
"""

import asyncio
import os
import socket
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Self

from gateway.errors import GatewayError

FIRST_DESCRIPTOR = 3
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")

Place = tuple[str, int]
"""Host and port."""


class ActivationError(GatewayError):
    """The supervisor gives sockets that cannot be used; an operator is needed."""


class GivenSockets:
    """What the supervisor gave; nothing, most of the time."""

    def __init__(self, sockets: Sequence[tuple[str, socket.socket]] = ()) -> None:
        """Each with its name. Raises ActivationError for one that nobody can connect to over TCP."""
        for name, sock in sockets:
            _check_kind(name, sock)
        self._sockets = tuple(sockets)
        self._named: dict[str, list[socket.socket]] = {}
        self._placed: dict[Place, socket.socket] = {}

    @classmethod
    def receive(cls, environ: MutableMapping[str, str] = os.environ) -> Self:
        """Take what was given to this process; children find nothing of it, neither sockets nor variables."""
        said = {name: environ.pop(name, "") for name in _VARIABLES}
        if said["LISTEN_PID"] != str(os.getpid()) or not said["LISTEN_FDS"].isdecimal():
            return cls()
        count = int(said["LISTEN_FDS"])
        names = said["LISTEN_FDNAMES"].split(":")
        if len(names) != count:
            names = ["unknown"] * count
        return cls([(name, _open(FIRST_DESCRIPTOR + index)) for index, name in enumerate(names)])

    def __bool__(self) -> bool:
        return bool(self._sockets)

    async def assign(self, listeners: Mapping[str, Sequence[Place]]) -> None:
        """Each socket has its listener, of those with these names and addresses. Raises ActivationError."""
        self._named.clear()
        self._placed.clear()
        if not self._sockets:
            return
        wanted = {place for places in listeners.values() for one in places for place in await _resolve(*one)}
        for name, sock in self._sockets:
            place = _place_of(sock)
            if name in listeners:
                self._named.setdefault(name, []).append(sock)
            elif place in wanted and place not in self._placed:
                self._placed[place] = sock
            else:
                known = ", ".join(f'"{known}"' for known in listeners)
                raise ActivationError(
                    f"{_describe(name, sock)} is no listener's: give the socket unit the name of one with "
                    f"FileDescriptorName= ({known}), or write its address into listen of the configuration"
                )

    def named(self, name: str) -> list[socket.socket]:
        """Return the sockets of the listener with this name: it has no others then. Empty: it opens its own."""
        return [sock.dup() for sock in self._named.get(name, ())]

    def at(self, address: tuple[object, ...]) -> socket.socket | None:
        """Return the socket with this address; None: it is to be opened."""
        sock = self._placed.get(address[:2])  # type: ignore[arg-type] # what getaddrinfo calls an address
        return None if sock is None else sock.dup()


NOTHING_GIVEN = GivenSockets()


def _open(descriptor: int) -> socket.socket:
    try:
        os.set_inheritable(descriptor, False)  # noqa: FBT003 it takes no keyword
        sock = socket.socket(fileno=descriptor)
    except OSError as error:
        raise ActivationError(f"descriptor {descriptor} of the supervisor is no socket: {error.strerror}") from error
    sock.settimeout(0)
    return sock


def _check_kind(name: str, sock: socket.socket) -> None:
    if sock.family not in {socket.AF_INET, socket.AF_INET6} or sock.type != socket.SOCK_STREAM:
        raise ActivationError(
            f'the socket "{name}" of the supervisor is not for TCP: use ListenStream=PORT or ADDRESS:PORT'
        )
    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise ActivationError(f"{_describe(name, sock)} does not listen: the socket unit needs Accept=no")


def _describe(name: str, sock: socket.socket) -> str:
    host, port = _place_of(sock)
    return f'the socket "{name}" of the supervisor, {f"[{host}]" if ":" in host else host}:{port},'


def _place_of(sock: socket.socket) -> Place:
    host, port = sock.getsockname()[:2]
    return str(host), int(port)


async def _resolve(host: str, port: int) -> set[Place]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError:
        return set()  # its listener will say so
    return {(str(address[0]), int(address[1])) for *_, address in found}
