"""One connection to the SQLite file, and the thread of aiosqlite that works on it: transactions, one after the other.

A transaction is one errand for the thread, whatever number of statements it has: measured, an errand for each of them
(SQLAlchemy's own dialect for aiosqlite makes four) costs more than the statements do. And what a transaction costs is
its flush, so all who come while one is under way share the next: each has a part of it, which is undone alone when it
raises something, but all of them are when the store fails. Nobody hears of anything before the COMMIT.

A part that is cut off is undone, unless the COMMIT has begun. After any failure but a lock the connection is opened
anew: when the disk has failed, nothing is known of what it holds in memory.
"""

import asyncio
import contextlib
import copy
import math
import sqlite3
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

import aiosqlite
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler

from gateway.store import driving
from gateway.store.errors import StoreError, StoreUnavailable, primary_code, translated

T = TypeVar("T")
Work = Callable[[sa.Connection], T]

_MOST_PARTS = 32
"""The most callers that share a transaction."""

_LEAVE_S = 1.0
_INTERRUPT_EVERY_S = 0.05
_LOCK_SLICE_S = 0.05
"""SQLite waits for a lock deaf to everything; so it does it in slices, and who was cut off is not waited for."""

_OF_ALL = frozenset({sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY})
"""What those hear too who wait behind: after an error of the disk nobody goes on as if nothing had happened, and a lock
that one has waited for in vain is not waited for by one after the other."""

_KEEPS_CONNECTION = frozenset(
    {sqlite3.SQLITE_OK, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_INTERRUPT}
)
"""What may happen to a statement without a word against its connection."""


@dataclass(slots=True, eq=False, kw_only=True)
class _Part(Generic[T]):
    """One caller's part of a transaction."""

    choose: Callable[[], Work[T]]
    ending: asyncio.Future[T]
    is_cut: bool = False  # nobody waits for it any more


class SqliteLine:
    """The connection. Nothing is opened before the first transaction."""

    def __init__(
        self,
        path: Path,
        options: Mapping[str, str],
        *,
        is_writer: bool,
        busy_timeout_s: float,
        prepare: Callable[[sqlite3.Connection], None],
        on_failure: Callable[[], None],
        before_commit: Callable[[], None] = lambda: None,
    ) -> None:
        """Be ready to connect.

        A writer's transactions take the lock when they begin. `prepare` is called with each new connection; what it
        raises, or what `before_commit` does, comes out of `run`. `on_failure` is called when the disk reports an error.
        """
        self._uri = f"file:{quote(str(path))}?{urlencode(options)}"
        self._is_writer = is_writer
        self._busy_timeout_s = busy_timeout_s
        self._prepare = prepare
        self._on_failure = on_failure
        self._before_commit = before_commit
        self._waiting: deque[_Part[Any]] = deque()
        self._under_way: Sequence[_Part[Any]] = ()
        self._thread: _Thread | None = None
        self._left: set[asyncio.Future[object]] = set()

    async def run(self, choose: Callable[[], Work[T]]) -> T:
        """Return what the work returned; it is committed, or undone when anything raised.

        `choose` is asked for the work when its turn has come. Cancelled, this returns when the work is committed or
        undone; at a second cancellation at once, for then the thread hangs in the disk, and is left behind.
        """
        part: _Part[T] = _Part(choose=choose, ending=asyncio.get_running_loop().create_future())
        part.ending.add_done_callback(_look_at)
        self._waiting.append(part)
        self._go_on()
        try:
            return await asyncio.shield(part.ending)
        except asyncio.CancelledError:
            await self._cut_off(part)
            raise

    async def close(self) -> None:
        """The connection is closed, after what it is at, and what waited for it."""
        while (thread := self._thread) is not None:
            self._thread = None
            ending = thread.end()
            if ending is not None:
                await ending
        if self._left:
            await asyncio.wait(self._left, timeout=_LEAVE_S)

    def _go_on(self) -> None:
        """The next transaction is under way, unless one is, or nobody waits."""
        if self._under_way or not self._waiting:
            return
        if self._thread is None:
            try:
                self._thread = self._start_thread()
            except RuntimeError as error:  # no more threads, or no memory for one
                self._fail_all((), StoreUnavailable(f"the store cannot be opened: {error}"))
                return
        parts = [self._waiting.popleft() for _ in range(min(len(self._waiting), _MOST_PARTS))]
        self._under_way = parts
        ending = self._thread.submit(_Errand(self._thread, parts, self._before_commit))
        ending.add_done_callback(partial(self._finish, self._thread, parts))

    def _finish(
        self, thread: "_Thread", parts: Sequence[_Part[Any]], ending: "asyncio.Future[Sequence[_Outcome]]"
    ) -> None:
        """Everybody who had a part in the transaction hears of it; the next one begins."""
        error = ending.exception()
        code = primary_code(error)
        if code == sqlite3.SQLITE_IOERR:
            self._on_failure()
        if self._under_way is not parts:
            return  # it was left behind
        if error is None:
            self._tell(ending.result())
        else:
            if thread is self._thread and code not in _KEEPS_CONNECTION:
                self._leave(thread)
            if code in _OF_ALL:
                self._fail_all(parts, error)
            else:
                self._tell(_shared(error, len(parts)))
        self._go_on()

    def _fail_all(self, parts: Sequence[_Part[Any]], error: BaseException) -> None:
        """Those parts failed, and everybody who waits behind them hears the same."""
        self._under_way = [*parts, *self._waiting]
        self._waiting.clear()
        self._tell(_shared(error, len(self._under_way)))

    def _tell(self, outcomes: Sequence["_Outcome"]) -> None:
        parts, self._under_way = self._under_way, ()
        for part, outcome in zip(parts, outcomes, strict=True):
            if outcome.error is None:
                part.ending.set_result(outcome.value)
            else:
                part.ending.set_exception(outcome.error)

    async def _cut_off(self, part: _Part[Any]) -> None:
        part.is_cut = True
        if part in self._waiting:
            self._waiting.remove(part)
            return
        try:
            while not part.ending.done():
                if self._thread is not None and all(each.is_cut for each in self._under_way):
                    self._thread.interrupt_statement()
                await asyncio.wait({part.ending}, timeout=_INTERRUPT_EVERY_S)
        except asyncio.CancelledError:
            if part in self._under_way and all(each.is_cut for each in self._under_way):
                if self._thread is not None:  # else it is being closed, and was told to end
                    self._leave(self._thread)
                self._tell(_shared(_interrupted(), len(self._under_way)))
                self._go_on()
            raise

    def _leave(self, thread: "_Thread") -> None:
        """It closes its connection when it comes to that; if the disk hangs, perhaps never."""
        self._thread = None
        ending = thread.end()
        if ending is not None:
            self._left.add(ending)
            ending.add_done_callback(self._left.discard)

    def _start_thread(self) -> "_Thread":
        return _Thread(
            self._connect,
            begin="BEGIN IMMEDIATE" if self._is_writer else "BEGIN",
            lock_slices=math.ceil(self._busy_timeout_s / _LOCK_SLICE_S),
        )

    def _connect(self) -> sqlite3.Connection:
        timeout_s = min(_LOCK_SLICE_S, self._busy_timeout_s) if self._is_writer else self._busy_timeout_s
        connection = sqlite3.connect(self._uri, uri=True, isolation_level=None, timeout=timeout_s)
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection


def _look_at(ending: "asyncio.Future[T]") -> None:
    """If nobody waits for it any more, asyncio would complain of an exception that nobody has seen."""
    if not ending.cancelled():
        ending.exception()


class _HintingCompiler(SQLiteCompiler):
    """Writes which index a query goes by (`tables.by_index`), which SQLAlchemy does for other databases only."""

    def get_from_hint_text(self, table: sa.FromClause, text: str | None) -> str | None:
        return text


class _Thread(aiosqlite.Connection):
    """aiosqlite's thread and connection, given whole transactions of SQLAlchemy."""

    def __init__(self, connector: Callable[[], sqlite3.Connection], *, begin: str, lock_slices: int) -> None:
        super().__init__(connector, iter_chunk_size=1)
        self.lock_slices = lock_slices  # of the wait for the lock with which a transaction begins
        self._engine = sa.create_engine("sqlite://", creator=lambda: self._conn, poolclass=sa.StaticPool)
        self._engine.dialect.statement_compiler = _HintingCompiler
        event.listen(self._engine, "begin", lambda connection: driving.query(connection, begin, ()))
        self._alchemy: sa.Connection | None = None
        self._thread.daemon = True  # one that hangs in the disk must not keep the process from ending
        self._thread.start()

    def submit(self, errand: Callable[[], T]) -> "asyncio.Future[T]":
        """Return the future of what the errand returns."""
        ending: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._tx.put_nowait((ending, errand))
        return ending

    def end(self) -> "asyncio.Future[object] | None":
        """Return the future of when both connections are closed, SQLAlchemy's first, and the thread ends.

        That comes after what it is at, and comes also when the future is cancelled.
        """
        self.submit(self._part_from_alchemy).add_done_callback(_look_at)
        return self.stop()

    def interrupt_statement(self) -> None:
        """The statement that runs fails; without one, nothing happens. From any thread."""
        with contextlib.suppress(sqlite3.Error, ValueError):
            self._conn.interrupt()

    def alchemy(self) -> sa.Connection:
        """Return the connection as SQLAlchemy has it, opened if it is not. Only in the thread."""
        if self._connection is None:
            self._connection = self._connector()
        if self._alchemy is None:
            self._alchemy = self._engine.connect()
        return self._alchemy

    def check_transaction(self) -> None:
        """Raises when SQLite has undone the transaction by itself, for COMMIT would not say so. Only in the thread."""
        if not self._conn.in_transaction:
            raise StoreUnavailable("SQLite has undone the transaction by itself")

    def undo(self) -> None:
        """No transaction is open; SQLAlchemy leaves one open whose COMMIT failed. Only in the thread."""
        if self._connection is not None and self._connection.in_transaction:
            self._connection.rollback()

    def _part_from_alchemy(self) -> None:
        if self._alchemy is not None:
            self._alchemy.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    """What a part came to."""

    value: Any = None
    error: BaseException | None = None


class _Errand:
    """One transaction, for the thread."""

    def __init__(self, thread: _Thread, parts: Sequence[_Part[Any]], before_commit: Callable[[], None]) -> None:
        self._thread = thread
        self._parts = [(part, part.choose()) for part in parts]
        self._before_commit = before_commit

    def __call__(self) -> Sequence[_Outcome]:
        connection = self._thread.alchemy()
        try:
            with self._begin(connection):
                outcomes = self._do_parts(connection)
                self._before_commit()
                self._thread.check_transaction()
        except BaseException:
            self._thread.undo()
            raise
        return outcomes

    def _do_parts(self, connection: sa.Connection) -> Sequence[_Outcome]:
        if len(self._parts) > 1:
            return [_do_part(connection, part, work) for part, work in self._parts]
        part, work = self._parts[0]
        outcome = _Outcome(value=_done(work, connection))
        if part.is_cut:
            raise _interrupted()
        return [outcome]

    def _begin(self, connection: sa.Connection) -> sa.RootTransaction:
        slices_left = self._thread.lock_slices
        while True:
            try:
                return connection.begin()
            except sqlite3.OperationalError as error:
                slices_left -= 1
                if slices_left <= 0 or primary_code(error) != sqlite3.SQLITE_BUSY:
                    raise
                if all(part.is_cut for part, _ in self._parts):
                    raise _interrupted() from error  # whoever waits behind them has not waited for it in vain


def _do_part(connection: sa.Connection, part: _Part[T], work: Work[T]) -> _Outcome:
    """Return what became of one part of several: what it raises by itself undoes nothing else."""
    if part.is_cut:
        return _Outcome(error=_interrupted())
    savepoint = driving.begin_savepoint(connection, "part")
    try:
        with translated():
            value = _done(work, connection)
    except Exception as error:
        if isinstance(error, StoreError) and type(error) is not StoreError:
            raise  # the store failed, or was interrupted, and SQLite has ended the whole transaction
        savepoint.rollback()
        return _Outcome(error=error)
    if part.is_cut:
        savepoint.rollback()
        return _Outcome(error=_interrupted())
    savepoint.commit()
    return _Outcome(value=value)


def _done(work: Work[T], connection: sa.Connection) -> T:
    try:
        return work(connection)
    except StopIteration as error:  # no future takes it: whoever waits for it would wait for ever
        raise RuntimeError("the work raised StopIteration") from error


def _shared(error: BaseException, number: int) -> Sequence[_Outcome]:
    """Return so many outcomes; each has its own copy, for a traceback grows where it is raised."""
    return [_Outcome(error=error), *(_Outcome(error=_copy_of(error)) for _ in range(number - 1))]


def _copy_of(error: BaseException) -> BaseException:
    try:
        copied = copy.copy(error)
    except TypeError:
        return error  # not every exception can be copied
    copied.__cause__ = error.__cause__
    return copied


def _interrupted() -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("interrupted")
    error.sqlite_errorcode = sqlite3.SQLITE_INTERRUPT
    return error
