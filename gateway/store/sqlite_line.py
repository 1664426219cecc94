"""One connection to the SQLite file: whole transactions, one after the other, in the thread of aiosqlite.

A transaction is one errand for that thread, whatever number of statements it has: measured, an errand for each of
them (SQLAlchemy's own dialect for aiosqlite makes four) costs more than the statements do.

A transaction that is cut off is rolled back, unless its COMMIT has begun. A line that failed in any other way than
by a lock is closed and opened anew for the next one: after an I/O error nothing is known of what it holds in memory.
"""

import asyncio
import contextlib
import math
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Generic, TypeVar
from urllib.parse import quote, urlencode

import aiosqlite
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler
from sqlalchemy.exc import DBAPIError

T = TypeVar("T")
Work = Callable[[sa.Connection], T]

_INTERRUPT_EVERY_S = 0.05

_JOIN_S = 1.0
_LOCK_SLICE_S = 0.05
"""SQLite waits for a lock deaf to everything; so it does it in slices, and who was cut off is not waited for."""

_KEEPS_LINE = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_INTERRUPT})
"""What may happen to a statement without a word against its connection."""


class SqliteLine:
    """Transactions on one connection of its own. Whoever calls `run` before another has ended waits for it."""

    def __init__(
        self,
        path: Path,
        options: Mapping[str, str],
        *,
        is_writer: bool,
        busy_timeout_s: float,
        prepare: Callable[[sqlite3.Connection], None],
    ) -> None:
        """Nothing is opened before the first transaction. A writer's transactions take the lock when they begin."""
        self._uri = f"file:{quote(str(path))}?{urlencode(options)}"
        self._is_writer = is_writer
        self._busy_timeout_s = busy_timeout_s
        self._prepare = prepare
        self._turn = asyncio.Lock()  # first come, first served; the busy handler of SQLite is not fair
        self._thread: _Thread | None = None

    async def run(self, choose: Callable[[], Work[T]], *, before_commit: Callable[[], None] = lambda: None) -> T:
        """Return what the work returned; its transaction is committed, or rolled back when anything raised.

        `choose` is asked for the work when its turn has come. Cancelled, this returns when the transaction has come to
        an end, this way or that; at a second cancellation the thread is left behind, for it hangs in the disk.
        """
        async with self._turn:
            thread = self._thread or await self._open()
            errand = _Errand(thread, choose(), before_commit)
            ending = thread.submit(errand)
            try:
                return await asyncio.shield(ending)
            except asyncio.CancelledError:
                await self._cut_off(thread, errand, ending)
                raise
            except BaseException as error:
                if not _keeps_line(error):
                    await self.close()
                raise

    async def close(self) -> None:
        """The connection is closed, after what it is at."""
        thread, self._thread = self._thread, None
        if thread is not None:
            await thread.close()

    async def _open(self) -> "_Thread":
        begin = "BEGIN IMMEDIATE" if self._is_writer else "BEGIN"
        thread = _Thread(self._connect, begin=begin, lock_slices=math.ceil(self._busy_timeout_s / _LOCK_SLICE_S))
        try:
            await thread
        except BaseException:
            await asyncio.to_thread(thread.join)
            raise
        self._thread = thread
        return thread

    def _connect(self) -> sqlite3.Connection:
        timeout_s = min(_LOCK_SLICE_S, self._busy_timeout_s) if self._is_writer else self._busy_timeout_s
        connection = sqlite3.connect(self._uri, uri=True, isolation_level=None, timeout=timeout_s)
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    async def _cut_off(self, thread: "_Thread", errand: "_Errand[T]", ending: "asyncio.Future[T]") -> None:
        errand.is_cut = True
        ending.add_done_callback(_look_at)
        try:
            while not ending.done():
                thread.interrupt_statement()
                await asyncio.wait({ending}, timeout=_INTERRUPT_EVERY_S)
        finally:
            if not ending.done():
                self._thread = None
                thread.stop()  # it closes when the disk answers again, if it ever does


def _look_at(ending: "asyncio.Future[T]") -> None:
    """Nobody waits for it any more, and asyncio would complain of an exception that nobody has seen."""
    if not ending.cancelled():
        ending.exception()


def _keeps_line(error: BaseException) -> bool:
    cause = error.orig if isinstance(error, DBAPIError) else error
    if not isinstance(cause, sqlite3.Error):
        return True  # raised by the work itself
    return getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF in _KEEPS_LINE


class _HintingCompiler(SQLiteCompiler):
    """Writes which index a query goes by (`tables.by_index`), which SQLAlchemy does for other databases only."""

    def get_from_hint_text(self, table: sa.FromClause, text: str | None) -> str | None:
        return text


class _Thread(aiosqlite.Connection):
    """aiosqlite's connection and its thread, given whole transactions of SQLAlchemy."""

    def __init__(self, connector: Callable[[], sqlite3.Connection], *, begin: str, lock_slices: int) -> None:
        super().__init__(connector, iter_chunk_size=1)
        self.lock_slices = lock_slices  # of the wait for the lock with which a transaction begins
        self._thread.daemon = True  # one that hangs in the disk must not keep the process from ending
        self._engine = sa.create_engine("sqlite://", creator=lambda: self._conn, poolclass=sa.StaticPool)
        self._engine.dialect.statement_compiler = _HintingCompiler
        event.listen(self._engine, "begin", lambda connection: connection.exec_driver_sql(begin))
        self._alchemy: sa.Connection | None = None

    def submit(self, errand: Callable[[], T]) -> "asyncio.Future[T]":
        """Return the future of what the errand returns."""
        ending: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._tx.put_nowait((ending, errand))
        return ending

    async def close(self) -> None:
        """Both connections are closed, SQLAlchemy's first; the thread has ended."""
        if self._alchemy is not None:
            await self.submit(self._alchemy.close)
        await super().close()

    def interrupt_statement(self) -> None:
        """The statement that runs fails; without one, nothing happens. From any thread."""
        with contextlib.suppress(sqlite3.Error, ValueError):
            self._conn.interrupt()

    def join(self) -> None:
        """Return when the thread has ended, or does not: it has nothing left to do. Blocks."""
        self._thread.join(_JOIN_S)

    def alchemy(self) -> sa.Connection:
        """Return the connection as SQLAlchemy has it. Only in the thread."""
        if self._alchemy is None:
            self._alchemy = self._engine.connect()
        return self._alchemy


class _Errand(Generic[T]):
    """One transaction, for the thread."""

    def __init__(self, thread: _Thread, work: Work[T], before_commit: Callable[[], None]) -> None:
        self._thread = thread
        self._work = work
        self._before_commit = before_commit
        self.is_cut = False  # set by the loop: nobody waits for it any more

    def __call__(self) -> T:
        connection = self._thread.alchemy()
        with self._begin(connection):
            result = self._work(connection)
            self._before_commit()
            if self.is_cut:
                raise _interrupted()
        return result

    def _begin(self, connection: sa.Connection) -> sa.RootTransaction:
        slices_left = self._thread.lock_slices
        while True:
            try:
                return connection.begin()
            except DBAPIError as error:
                slices_left -= 1
                if self.is_cut or slices_left <= 0 or not _is_locked(error):
                    raise


def _is_locked(error: DBAPIError) -> bool:
    return getattr(error.orig, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF == sqlite3.SQLITE_BUSY


def _interrupted() -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("interrupted")
    error.sqlite_errorcode = sqlite3.SQLITE_INTERRUPT
    return error
