"""Knocking at our own listeners: somebody who connects is answered, and not by the kernel alone.

Only where this machine itself may come in: behind proxies, and at a listener for old devices that are elsewhere, a
knock would be one more refusal in the log.
"""

import asyncio
import contextlib
import re
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from gateway.smtp.entrance import Entrance
from gateway.smtp.peer import client_address
from gateway.smtp.settings import Tls

_ANSWER = re.compile(rb"[2-5]\d\d[ -]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Where to knock."""

    listener: str
    host: str
    port: int
    is_tls: bool


def find_doors(sockets: Iterable[tuple[socket.socket, Entrance]]) -> tuple[Door, ...]:
    """Return one door of each listener that this machine may come in by."""
    doors: dict[str, Door] = {}
    for sock, entrance in sockets:
        host, port = sock.getsockname()[:2]
        door = door_of(entrance, host, port)
        if not entrance.proxies and entrance.lets_in(client_address(door.host)):
            doors.setdefault(entrance.name, door)
    return tuple(doors.values())


def door_of(entrance: Entrance, host: str, port: int) -> Door:
    """Return the door of a socket with this address."""
    return Door(listener=entrance.name, host=reachable(host), port=port, is_tls=entrance.tls is Tls.IMPLICIT)


def reachable(host: str) -> str:
    """Return where a socket that is bound to the address, or name, can be reached from here."""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"


async def answers(door: Door) -> bool:
    """Tell whether there is a reply, whichever. Waits for as long as it takes: the caller has a deadline.

    Raises OSError when the knock itself failed (no descriptor, no port, no such name), which says nothing of the door.
    """
    try:
        reader, writer = await asyncio.open_connection(
            door.host, door.port, ssl=_unverified() if door.is_tls else None, limit=4_096
        )
    except ssl.SSLError:
        return True  # somebody was there to disagree
    except ConnectionError:
        return False
    try:
        said = await reader.readline()
        if said.startswith(b"2"):
            writer.write(b"QUIT\r\n")
            await reader.readline()
    except (OSError, ValueError):
        return False
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return _ANSWER.match(said) is not None


def _unverified() -> ssl.SSLContext:
    """We know whom we talk to; whether the certificate is good for others is not the question."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
