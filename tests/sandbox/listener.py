"""A client that is called back: an HTTP server that keeps what comes, and answers as it is told."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request that came in."""

    method: str
    path: str
    query: dict[str, str] = field(default_factory=dict)
    body: dict[str, object] | None = None


class Listener:
    """Keeps the calls, in order; the next answers are taken from `statuses`, then 200."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.statuses: list[int] = []
        self.url = ""
        self._came = asyncio.Condition()

    async def wait_for(self, count: int) -> list[Call]:
        """Return the calls once there are so many."""
        async with asyncio.timeout(10), self._came:
            await self._came.wait_for(lambda: len(self.calls) >= count)
        return list(self.calls)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer requests of one connection until the other side has had enough."""
        try:
            while line := await reader.readline():
                await self._answer(line.decode(), reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, line: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method, target, _ = line.split(" ")
        length = 0
        while (header := await reader.readline()).strip():
            name, _, value = header.decode().partition(":")
            if name.lower() == "content-length":
                length = int(value)
        content = await reader.readexactly(length)
        parts = urlsplit(target)
        status = self.statuses.pop(0) if self.statuses else 200
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\nok".encode())
        await writer.drain()
        async with self._came:
            query = dict(parse_qsl(parts.query, keep_blank_values=True))
            body = json.loads(content) if content else None
            self.calls.append(Call(method=method, path=parts.path, query=query, body=body))
            self._came.notify_all()


@asynccontextmanager
async def listening() -> AsyncIterator[Listener]:
    """A listener is there until the block ends."""
    listener = Listener()
    server = await asyncio.start_server(listener.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    listener.url = f"http://{host}:{port}"
    try:
        yield listener
    finally:
        server.close()
