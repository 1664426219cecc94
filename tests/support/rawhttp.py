"""A server below HTTP: reads requests whole, and answers with whatever bytes it was given."""

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, unique
from types import TracebackType
from typing import Self

DEADLINE_S = 10.0


@unique
class End(Enum):
    """What becomes of the connection after the bytes."""

    KEEP = "keep"  # the next request is read
    CLOSE = "close"
    RESET = "reset"
    STALL = "stall"  # nothing more, until the client or the test goes away


@dataclass(frozen=True, slots=True, kw_only=True)
class RawRequest:
    """One request as it came."""

    head: str
    body: bytes


Pieces = Callable[[RawRequest], Iterable[bytes]]


class RawServer:
    """Answers every request with the pieces, one write each, and then does as `end` says."""

    def __init__(
        self, *pieces: bytes, end: End = End.CLOSE, pieces_for: Pieces | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self.requests: list[RawRequest] = []
        self.connections = 0
        self._tls = tls
        self._pieces: Pieces = (lambda _request: pieces) if pieces_for is None else pieces_for
        self._end = end
        self._writers: set[asyncio.StreamWriter] = set()
        self._arrived = asyncio.Event()
        self._idle = asyncio.Condition()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await self.wait_until_alone()
        await self._server.wait_closed()

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1."""
        assert self._server is not None
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    @property
    def url(self) -> str:
        """Where it listens, as an address."""
        return f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self.port}"

    async def wait_for_request(self) -> None:
        """Return when the first request was read."""
        async with asyncio.timeout(DEADLINE_S):
            await self._arrived.wait()

    async def wait_until_alone(self) -> None:
        """Return when every connection has ended on this side."""
        async with asyncio.timeout(DEADLINE_S), self._idle:
            await self._idle.wait_for(lambda: not self._writers)

    async def say(self, piece: bytes) -> None:
        """Write to every connection, asked or not."""
        for writer in self._writers:
            writer.write(piece)
            await writer.drain()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            await self._converse(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has had enough
        finally:
            writer.transport.abort()
            async with self._idle:
                self._writers.discard(writer)
                self._idle.notify_all()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await _read_request(reader)
            self.requests.append(request)
            self._arrived.set()
            for piece in self._pieces(request):
                writer.write(piece)
                await writer.drain()
            match self._end:
                case End.KEEP:
                    continue
                case End.CLOSE:
                    writer.close()
                    await writer.wait_closed()
                case End.RESET:
                    linger = struct.pack("ii", 1, 0)
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                case End.STALL:
                    await reader.read()
            return


async def _read_request(reader: asyncio.StreamReader) -> RawRequest:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii")
    length = next((int(line[15:]) for line in head.lower().splitlines() if line.startswith("content-length:")), 0)
    return RawRequest(head=head, body=await reader.readexactly(length))


def answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """Return a complete HTTP answer."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*head, "", ""]).encode() + body


async def closed_port() -> int:
    """Return a port of loopback where nobody listens."""
    server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port
