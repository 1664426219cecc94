"""The sockets of a listener: opened, or given by the supervisor, and no more of them than the process may have."""

import asyncio
import resource
import socket
from pathlib import Path

from gateway.activation import NOTHING_GIVEN, GivenSockets

BACKLOG = 1_024
_DESCRIPTORS = Path("/proc/self/fd")
_USED_IF_UNKNOWN = 64
_RESERVED_DESCRIPTORS = 8


async def listen_on(host: str, port: int, given: GivenSockets = NOTHING_GIVEN) -> list[socket.socket]:
    """Return a listening socket for every address of the host, opened unless given. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, _, _, _, address in found:
            sockets.append(given.at(address) or socket.create_server(address, family=family, backlog=BACKLOG))
            sockets[-1].settimeout(0)
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def within_descriptors(wanted: int) -> int:
    """Return how many of the wanted sessions the descriptor limit carries.

    Half of what is free and no more: store, HTTP and the refusals themselves need descriptors too.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return wanted
    used = sum(1 for _ in _DESCRIPTORS.iterdir()) if _DESCRIPTORS.is_dir() else _USED_IF_UNKNOWN
    return max(1, min(wanted, (limit - used) // 2 - _RESERVED_DESCRIPTORS))
