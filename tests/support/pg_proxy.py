"""Stands between the gateway and PostgreSQL, and cuts the connection in the middle of a COMMIT."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum
from pathlib import Path

_SOCKET = ".s.PGSQL.5432"
_COMMIT = b"Q\x00\x00\x00\x0bCOMMIT\x00"  # as psycopg sends it: a simple query


class Cut(Enum):
    """When the next COMMIT loses its connection."""

    NOT = "not"
    BEFORE = "before"  # the server never hears of it
    AFTER = "after"  # the server has done it, and its answer is lost


class CommitCutter:
    """A proxy on a socket of its own. `cut` says what becomes of the next COMMIT, `commits` how many there were.

    With `is_deaf_after_cut` no connection is taken after a COMMIT.
    """

    def __init__(self, server: Path) -> None:
        self._server = server
        self.cut = Cut.NOT
        self.commits = 0
        self.is_deaf_after_cut = False

    def take_cut(self) -> Cut:
        """What becomes of the COMMIT that just came; the next one is left alone."""
        self.commits += 1
        cut, self.cut = self.cut, Cut.NOT
        return cut

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until one of the two ends it or it is cut."""
        if self.commits and self.is_deaf_after_cut:
            writer.close()
            return
        theirs, ours = await asyncio.open_unix_connection(str(self._server / _SOCKET))
        line = _Line(cutter=self)
        try:
            async with asyncio.TaskGroup() as group:
                back = group.create_task(line.pass_back(theirs, writer))
                await line.pass_on(reader, ours)
                back.cancel()
        except* OSError:
            pass
        finally:
            for one in (ours, writer):
                one.close()


class _Line:
    """One connection through the proxy."""

    def __init__(self, cutter: CommitCutter) -> None:
        self._cutter = cutter
        self._is_mute = False
        self._answered = asyncio.Event()

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            cut = self._cutter.take_cut() if _COMMIT in data else Cut.NOT
            if cut is Cut.BEFORE:
                return
            self._is_mute = cut is Cut.AFTER
            writer.write(data)
            await writer.drain()
            if self._is_mute:
                async with asyncio.timeout(10):
                    await self._answered.wait()
                return

    async def pass_back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if self._is_mute:
                self._answered.set()
                return
            writer.write(data)
            await writer.drain()


@asynccontextmanager
async def commit_cutter(server: Path, folder: Path) -> AsyncIterator[CommitCutter]:
    """A proxy to the server with its socket in `folder`."""
    cutter = CommitCutter(server)
    listening = await asyncio.start_unix_server(cutter.serve, str(folder / _SOCKET))
    try:
        yield cutter
    finally:
        listening.close()
