"""The PROXY protocol, versions 1 and 2: what a proxy says, before anything else, of the client it brings.

Read from the bare socket and to the octet, before anything else has it: what follows may be a TLS handshake. Whether
the peer may say such a thing is for the listener.

Diagnostics: `BadHeader` when it is not one.
"""

import asyncio
import re
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from gateway.errors import GatewayError
from gateway.smtp.peer import Address, client_address

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_V1 = b"PROXY "
_MAX_V1_BYTES = 107
_MAX_V2_BYTES = 2_048
"""Behind the first 16 octets: 36 for addresses, the rest for what proxies say of TLS and themselves."""

_V1_LINE = re.compile(
    r"PROXY (?P<family>TCP4|TCP6) (?P<source>\S+) (?P<target>\S+) (?P<ports>\d{1,5} \d{1,5})", re.ASCII
)
_V1_UNKNOWN = re.compile(r"PROXY UNKNOWN(?: [ -~]*)?", re.ASCII)
_LOCAL, _PROXY = 0x20, 0x21
_TCP4, _TCP6 = 0x11, 0x21


class BadHeader(GatewayError):
    """What came is no PROXY header."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """Whom the proxy brings; `client` is None for itself (health checks) and for what has no address."""

    client: Address | None


async def read_header(connection: socket.socket) -> Brought:
    """Return what the header says; the octet behind it is still unread. Raises BadHeader, OSError.

    Waits for as long as the octets take: the caller has a deadline.
    """
    start = await _read(connection, len(_SIGNATURE))
    if start == _SIGNATURE:
        return await _read_v2(connection)
    if start.startswith(_V1):
        return await _read_v1(connection, start)
    raise BadHeader("it does not begin like one")


async def _read_v1(connection: socket.socket, line: bytes) -> Brought:
    while not line.endswith(b"\n"):
        if len(line) >= _MAX_V1_BYTES:
            raise BadHeader("the line is too long")
        line += await _read(connection, 1)
    if not line.endswith(b"\r\n"):
        raise BadHeader("the line does not end in CRLF")
    text = line[:-2].decode("latin-1")
    if _V1_UNKNOWN.fullmatch(text):
        return Brought(client=None)
    found = _V1_LINE.fullmatch(text)
    if found is None:
        raise BadHeader("the line is malformed")
    try:
        source, target = ip_address(found["source"]), ip_address(found["target"])
    except ValueError as error:
        raise BadHeader("an address is malformed") from error
    version = 4 if found["family"] == "TCP4" else 6
    if source.version != version or target.version != version:
        raise BadHeader("an address is of another family")
    if any(int(port) > 65_535 for port in found["ports"].split(" ")):
        raise BadHeader("a port is too large")
    return Brought(client=client_address(str(source)))


async def _read_v2(connection: socket.socket) -> Brought:
    command, family, high, low = await _read(connection, 4)
    length = high << 8 | low
    if command not in {_LOCAL, _PROXY}:
        raise BadHeader("its version or command is unknown")
    if length > _MAX_V2_BYTES:
        raise BadHeader("it is too long")
    body = await _read(connection, length)
    if command == _LOCAL:
        return Brought(client=None)
    match family:
        case 0x11 if length >= 12:
            return Brought(client=IPv4Address(body[:4]))
        case 0x21 if length >= 36:
            return Brought(client=client_address(str(IPv6Address(body[:16]))))
        case _:
            raise BadHeader("it brings neither TCP over IPv4 nor over IPv6")


async def _read(connection: socket.socket, count: int) -> bytes:
    """Return exactly so many octets."""
    loop, found = asyncio.get_running_loop(), b""
    while len(found) < count:
        octets = await loop.sock_recv(connection, count - len(found))
        if not octets:
            raise BadHeader("the connection ended within it")
        found += octets
    return found
