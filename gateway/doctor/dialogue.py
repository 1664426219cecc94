"""A short talk with whoever listens at an address: its banner, what EHLO shows, and its certificate.

Nothing is handed over: it goes no further than EHLO, and QUIT.
"""

import asyncio
import ssl
from dataclasses import dataclass, field

from gateway.doctor.patience import why
from gateway.smtp.settings import Tls
from gateway.text.visible import visible

BANNER_S = 10.5
"""How long the banner may take: a gateway may make strangers wait for it."""

ANSWER_S = 4.0
"""How long every other answer may take."""

_MOST_LINES = 60
_LONGEST_LINE_BYTES = 2_048


@dataclass(slots=True, kw_only=True)
class Encounter:
    """What was seen and heard; `trouble` says where it broke off."""

    own_address: str = ""  # who we were to the other side
    banner: str = ""
    greeting: str = ""  # the first line behind EHLO: who it says it is
    clear: list[str] | None = None  # what it showed in clear; None: it came to no EHLO
    encrypted: list[str] | None = None  # what it showed over TLS
    certificate: bytes | None = field(default=None, repr=False)  # DER
    version: str | None = None  # of TLS
    trouble: str | None = None


async def meet(address: tuple[str, int], *, tls: Tls, says_proxy: bool = False) -> Encounter:
    """Return what is heard at an address that is expected to speak so. `says_proxy`: we come as a proxy for nobody.

    Never raises for what the other side does.
    """
    found = Encounter()
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(ANSWER_S):
            reader, writer = await asyncio.open_connection(*address, limit=_LONGEST_LINE_BYTES)
        found.own_address = str(writer.get_extra_info("sockname")[0])
        await _talk(found, reader, writer, tls=tls, says_proxy=says_proxy)
    except ssl.SSLError as error:
        found.trouble = f"the TLS handshake failed ({(error.reason or 'no reason told').replace('_', ' ').lower()})"
    except (OSError, EOFError, ValueError) as error:
        found.trouble = why(error)
    finally:
        if writer is not None:
            writer.transport.abort()
    return found


async def _talk(
    found: Encounter, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, tls: Tls, says_proxy: bool
) -> None:
    if says_proxy:
        writer.write(b"PROXY UNKNOWN\r\n")
    if tls is Tls.IMPLICIT:
        await _secure(found, writer)
    banner = await _hear(reader, BANNER_S)
    found.banner = banner[0]
    if not found.banner.startswith("220"):
        return
    shown = await _greet(found, reader, writer)
    if tls is Tls.IMPLICIT:
        found.encrypted = shown
    else:
        found.clear = shown
        if shown is not None and tls is Tls.STARTTLS and "STARTTLS" in shown:
            writer.write(b"STARTTLS\r\n")
            answer = await _hear(reader)
            if not answer[0].startswith("220"):
                found.trouble = f"STARTTLS was answered {answer[0]}"
                return
            await _secure(found, writer)
            found.encrypted = await _greet(found, reader, writer)
    writer.write(b"QUIT\r\n")
    await _hear(reader)


async def _greet(found: Encounter, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> list[str] | None:
    writer.write(b"EHLO localhost\r\n")
    lines = await _hear(reader)
    if not lines[0].startswith("250"):
        found.trouble = f"EHLO was answered {lines[0]}"
        return None
    found.greeting = lines[0][4:]
    return [line[4:] for line in lines[1:]]


async def _secure(found: Encounter, writer: asyncio.StreamWriter) -> None:
    """Go on over TLS, whatever the certificate: it is judged elsewhere."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    async with asyncio.timeout(ANSWER_S):
        await writer.start_tls(context, server_hostname="localhost")
    inside = writer.get_extra_info("ssl_object")
    found.certificate = inside.getpeercert(binary_form=True)
    found.version = inside.version()


async def _hear(reader: asyncio.StreamReader, limit_s: float = ANSWER_S) -> list[str]:
    """Return the lines of one reply, made printable. Raises EOFError, TimeoutError, ValueError for one too long."""
    lines: list[str] = []
    async with asyncio.timeout(limit_s):
        while len(lines) < _MOST_LINES:
            line = await reader.readline()
            if not line.endswith(b"\n"):
                raise EOFError
            lines.append(visible(line.decode("latin-1").rstrip("\r\n")))
            if lines[-1][3:4] != "-":
                break
    return lines
