"""A carrier below HTTP that answers as a script says, slowly if need be."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

Script = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Carrier:
    """Reads each request whole, then lets the script write; the connection is closed after it."""

    def __init__(self, script: Script, *, port: int = 0) -> None:
        self.script = script
        self.requests: list[dict[str, Any]] = []
        self.port = port
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    @property
    def url(self) -> str:
        """Where it is, without the path."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def numbers(self) -> list[str]:
        """The numbers of all calls, in order."""
        found: list[str] = []
        for request in self.requests:
            number = request["num"]
            found += number if isinstance(number, list) else [number]
        return found

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii").lower()
                length = next(int(line[15:]) for line in head.splitlines() if line.startswith("content-length:"))
                self.requests.append(json.loads(await reader.readexactly(length)))
                await self.script(writer)
        finally:
            writer.close()
            self._tasks.discard(task)


def answer(body: bytes, *headers: str, status: int = 200, length: int | None = None) -> bytes:
    """Return an HTTP answer that tells that its connection ends with it; `length` may lie."""
    length = len(body) if length is None else length
    head = [f"HTTP/1.1 {status} Said", f"Content-Length: {length}", "Connection: close", *headers]
    return "\r\n".join([*head, "", ""]).encode() + body


def entry(code: object, **fields: object) -> bytes:
    """Return the body with which this carrier answers a whole request."""
    return json.dumps({"etat": {"etat": [{"code": code, **fields}]}}).encode()


def says(content: bytes) -> Script:
    """Write this and close."""

    async def script(writer: asyncio.StreamWriter) -> None:
        writer.write(content)
        await writer.drain()

    return script


def trickles(head: bytes, piece: bytes, *, every_s: float) -> Script:
    """Write the head, then a piece again and again, until the client has had enough."""

    async def script(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(every_s)

    return script


def floods(head: bytes, *, size: int) -> Script:
    """Write the head and so many octets, as fast as they are taken."""

    async def script(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        block = b"a" * 65_536
        for _ in range(size // len(block)):
            writer.write(block)
            await writer.drain()

    return script


async def cuts(writer: asyncio.StreamWriter) -> None:
    """Break the connection without a word."""
    writer.transport.abort()


async def stays_silent(_writer: asyncio.StreamWriter) -> None:
    """Say nothing, for as long as anybody listens."""
    await asyncio.sleep(3600)


accepts = says(answer(entry(0)))
