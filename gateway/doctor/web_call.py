"""One HTTP request, no more than is needed to see who answers: status, headers, the beginning of the body.

Steps are told apart, for what is to be done differs: no name, no connection, no trust, no answer.
"""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum, unique
from urllib.parse import urlsplit

from gateway.clock import Clock
from gateway.doctor.patience import resolve, why

CONNECT_S = 5.0
ANSWER_S = 5.0
_MOST_BYTES = 65_536
_MOST_BODY_BYTES = 4_096
_PORTS = {"http": 80, "https": 443}


@unique
class Step(Enum):
    """How far it came."""

    NAME = "name"
    CONNECTION = "connection"
    TRUST = "trust"
    ANSWER = "answer"
    DONE = "done"


@dataclass(slots=True, kw_only=True)
class Called:
    """What came back; `reason` says why nothing more did."""

    step: Step
    reason: str = ""
    address: str = ""
    connect_ms: float = 0.0
    certificate_ends_at: datetime | None = None
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)  # names in lower case
    body: str = ""
    answered_at: datetime | None = None

    @property
    def date(self) -> datetime | None:
        """What time it is over there, to the second."""
        try:
            told = parsedate_to_datetime(self.headers.get("date", ""))
        except ValueError:
            return None
        return told if told.tzinfo is not None else None


async def call(url: str, clock: Clock, *, method: str = "GET", ca_file: str | None = None) -> Called:
    """Return what became of a request to this address. Never raises for what the other side does."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    called = Called(step=Step.NAME)
    writer: asyncio.StreamWriter | None = None
    try:
        addresses = await resolve(host, port)
        called.step, called.address = Step.CONNECTION, addresses[0][1][0]
        context = ssl.create_default_context(cafile=ca_file) if parts.scheme == "https" else None
        began_at = clock.monotonic()
        async with asyncio.timeout(CONNECT_S):
            reader, writer = await asyncio.open_connection(
                called.address, port, ssl=context, server_hostname=host if context is not None else None
            )
        called.step, called.connect_ms = Step.ANSWER, (clock.monotonic() - began_at) * 1000
        called.certificate_ends_at = _end_of_certificate(writer)
        where = parts.netloc.rpartition("@")[2]
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        writer.write(
            f"{method} {target} HTTP/1.1\r\nHost: {where}\r\nUser-Agent: mail2sms-gateway\r\n"
            "Accept: */*\r\nConnection: close\r\n\r\n".encode("ascii", "replace")
        )
        async with asyncio.timeout(ANSWER_S):
            await _read(reader, called, is_bodiless=method == "HEAD")
        called.answered_at, called.step = clock.now(), Step.DONE
    except ssl.SSLCertVerificationError as error:
        called.step, called.reason = Step.TRUST, error.verify_message.rstrip(".")
    except ssl.SSLError as error:
        called.step, called.reason = Step.TRUST, (error.reason or "the handshake failed").replace("_", " ").lower()
    except (OSError, EOFError, ValueError) as error:
        called.reason = why(error)
    finally:
        if writer is not None:
            writer.transport.abort()
    return called


async def _read(reader: asyncio.StreamReader, called: Called, *, is_bodiless: bool) -> None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n"))[:_MOST_BYTES].decode("latin-1")
    except asyncio.LimitOverrunError as error:
        raise ValueError("no end of the headers") from error
    first, *lines = head.split("\r\n")
    words = first.split()
    if len(words) < 2 or not words[0].startswith("HTTP/") or not words[1].isdecimal():
        raise ValueError("not HTTP")
    called.status = int(words[1])
    pairs = (line.partition(":") for line in lines)
    called.headers = {name.strip().lower(): value.strip() for name, colon, value in pairs if colon}
    if not is_bodiless:
        called.body = (await reader.read(_MOST_BODY_BYTES)).decode("utf-8", "replace")


def _end_of_certificate(writer: asyncio.StreamWriter) -> datetime | None:
    shown = writer.get_extra_info("peercert")
    if not shown or "notAfter" not in shown:
        return None
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(shown["notAfter"]), tz=UTC)
