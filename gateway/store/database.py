"""Connections to the two databases, each as durable as promised, and transactions on them.

SQLite: one writer, whose transactions begin with `BEGIN IMMEDIATE` one after the other, and a few readers. Every
connection reads back that the write-ahead log is in use and that each commit is flushed (`synchronous=FULL`; NORMAL
loses acknowledged commits when the power goes). PostgreSQL: one pool; every connection reads back that commits are
flushed and waited for.

A transaction that is cut off (cancelled, or out of time) is rolled back and its connection closed; the next one gets a
new connection.
"""

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from gateway.store.errors import StoreUnavailable, StoreUnusable
from gateway.store.settings import StoreSettings

Transaction = AbstractAsyncContextManager[AsyncConnection]

_MAKE_OR_RESTORE = (
    "run mail2sms migrate once to create it; if there was one, restore it, for it knows which mails were sent before"
)


class Database(Protocol):
    """Where the rows are: transactions, and the little in which the two databases differ."""

    def write(self) -> Transaction:
        """One transaction that may write: committed when the block ends, rolled back when it raises."""

    def read(self) -> Transaction:
        """One transaction that only reads."""

    def check_presence(self) -> None:
        """Raises `StoreUnusable` when the file that was opened is not the one in its place any more."""

    async def close(self) -> None:
        """Every connection is closed."""


def connect(settings: StoreSettings, *, must_be_wal: bool = True, read_only: bool = False) -> Database:
    """The database of the settings. Raises `StoreUnusable` when there is no such file.

    `must_be_wal` is False for `migrate`, which ends by switching to the write-ahead log. With `read_only`, which needs
    none, the database itself refuses whatever would change a row.
    """
    url = make_url(settings.url)
    if url.get_backend_name() == "sqlite":
        return SqliteDatabase(settings, _path(url), must_be_wal=must_be_wal and not read_only, read_only=read_only)
    return PostgresDatabase(settings, url, read_only=read_only)


# --- SQLite ----------------------------------------------------------------------------------------------------------


class SqliteDatabase:
    """One file, one writer."""

    def __init__(self, settings: StoreSettings, path: Path, *, must_be_wal: bool, read_only: bool = False) -> None:
        self._path = path
        self._inode = _inode(path)
        wanted, verbs = (os.R_OK, "read") if read_only else (os.R_OK | os.W_OK, "read and write")
        if not path.is_file() or not os.access(path, wanted):
            raise StoreUnusable(f"{path} is not a file that this user can {verbs}")
        if must_be_wal and not path.stat().st_size:
            raise StoreUnusable(f"the store at {path} is an empty file: {_MAKE_OR_RESTORE}")
        self._turn = asyncio.Lock()  # first come, first served; the busy handler of SQLite is not fair
        self._lock_outs = 0  # how often a transaction could not begin
        options = _read_options(path) if read_only else {"mode": "rw"}
        self._writer = _sqlite_engine(settings, path, options, must_be_wal=must_be_wal)
        self._readers = _sqlite_engine(settings, path, options, must_be_wal=must_be_wal, is_writer=False)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        lock_outs = self._lock_outs
        async with self._turn, contextlib.AsyncExitStack() as transaction:
            if self._lock_outs != lock_outs:  # who was before in the queue waited for the lock, and in vain
                raise StoreUnavailable("the store is locked by somebody else")
            try:
                connection = await transaction.enter_async_context(self._writer.begin())
            except OperationalError:
                self._lock_outs += 1
                raise
            yield connection
            self.check_presence()  # else the COMMIT would succeed, in a file that the next start does not find

    def read(self) -> Transaction:
        return self._readers.begin()

    def check_presence(self) -> None:
        if _inode(self._path) != self._inode:
            raise StoreUnusable(f"{self._path} was replaced while in use: restart, after looking at why")

    async def close(self) -> None:
        await self._readers.dispose()
        await self._writer.dispose()


def sqlite_path(settings: StoreSettings) -> Path | None:
    """The file of the settings, absolute; None when they name PostgreSQL."""
    url = make_url(settings.url)
    return _path(url) if url.get_backend_name() == "sqlite" else None


def create_sqlite_file(path: Path) -> None:
    """There is a file, if only an empty one; a new one is for its owner alone (mode 0600)."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return  # and must not even be opened: closing it would drop the locks that SQLite holds in this process
    except OSError as error:
        raise StoreUnusable(f"{path} cannot be created: {error.strerror}") from error


def switch_to_wal(path: Path) -> None:
    """The file uses the write-ahead log from now on. Needs to be alone with it; blocks."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
    if mode != "wal":
        raise StoreUnusable(f"{path} cannot have a write-ahead log: put it on a local disk")


def _path(url: URL) -> Path:
    return Path(url.database or "").absolute()


def _inode(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise StoreUnusable(f"there is no store at {path}: {_MAKE_OR_RESTORE}") from error
    return status.st_dev, status.st_ino


def _read_options(path: Path) -> dict[str, str]:
    """Reading leaves no files behind: without a log nobody is at work on the store, and none needs to be made."""
    is_idle = not path.with_name(f"{path.name}-wal").exists()
    return {"mode": "ro", "immutable": "1"} if is_idle else {"mode": "ro"}


def _sqlite_engine(
    settings: StoreSettings, path: Path, options: Mapping[str, str], *, must_be_wal: bool, is_writer: bool = True
) -> AsyncEngine:
    engine = create_async_engine(
        # mode=rw, or ro: a missing file is an error, never a new empty store
        URL.create("sqlite+aiosqlite", database=f"file:{quote(str(path))}", query={**options, "uri": "true"}),
        connect_args={"timeout": settings.busy_timeout_s, "isolation_level": None},
        pool_size=1 if is_writer else settings.connections,
        max_overflow=0,
        pool_timeout=settings.deadline_s,
    )

    def prepare(connection: DBAPIConnection, _record: object) -> None:
        _prepare_sqlite(connection, settings, must_be_wal=must_be_wal)

    def begin_transaction(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writer else "BEGIN")

    event.listen(engine.sync_engine, "connect", prepare)
    event.listen(engine.sync_engine, "begin", begin_transaction)
    event.listen(engine.sync_engine, "invalidate", _roll_back)
    return engine


def _roll_back(connection: DBAPIConnection, _record: object, _error: object) -> None:
    """A transaction that was cut off is over, and its locks are free.

    Closing the connection does not do that by itself: SQLite keeps it, transaction and all, for as long as any cursor
    is left somewhere, say in the traceback of the very exception that cut it off.
    """
    with contextlib.suppress(sqlite3.Error):
        connection.rollback()


def _prepare_sqlite(connection: DBAPIConnection, settings: StoreSettings, *, must_be_wal: bool) -> None:
    cursor = connection.cursor()
    try:
        mode = _ask(cursor, "PRAGMA journal_mode")
        if must_be_wal and mode != "wal":
            raise StoreUnusable(f"the store uses the journal mode {mode}, not wal: run mail2sms migrate")
        cursor.execute("PRAGMA synchronous=FULL")
        if _ask(cursor, "PRAGMA synchronous") != 2:
            raise StoreUnusable("SQLite does not flush each commit here (synchronous is not FULL)")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute(f"PRAGMA journal_size_limit={settings.journal_limit_bytes:d}")
    finally:
        cursor.close()


def _ask(cursor: DBAPICursor, statement: str) -> object:
    cursor.execute(statement)
    row = cursor.fetchone()
    return None if row is None else row[0]


# --- PostgreSQL ------------------------------------------------------------------------------------------------------


class PostgresDatabase:
    """A server, perhaps with other nodes of the gateway at work on it."""

    def __init__(self, settings: StoreSettings, url: URL, *, read_only: bool = False) -> None:
        self._engine = _postgres_engine(settings, url, read_only=read_only)

    def write(self) -> Transaction:
        return self._engine.begin()

    def read(self) -> Transaction:
        return self._engine.begin()

    def check_presence(self) -> None:
        """A server that is gone says so by itself."""

    async def close(self) -> None:
        await self._engine.dispose()


def _postgres_engine(settings: StoreSettings, url: URL, *, read_only: bool) -> AsyncEngine:
    wait_ms, total_ms = int(settings.busy_timeout_s * 1000), int(settings.deadline_s * 1000)
    session = {
        "lock_timeout": wait_ms,
        "statement_timeout": total_ms,
        "idle_in_transaction_session_timeout": total_ms,  # a paused node must not hold its locks for ever
        "timezone": "UTC",
        "default_transaction_read_only": "on" if read_only else "off",
    }
    try:
        engine = create_async_engine(
            url.set(drivername="postgresql+psycopg"),
            isolation_level="READ COMMITTED",
            connect_args={
                "options": " ".join(f"-c {name}={value}" for name, value in session.items()),
                "connect_timeout": max(2, round(settings.busy_timeout_s)),
                "application_name": "mail2sms",
            },
            pool_size=settings.connections,
            max_overflow=0,
            pool_timeout=settings.deadline_s,
            pool_use_lifo=True,
            pool_pre_ping=True,  # after a restart of the server, the first caller must not pay for it
        )
    except ModuleNotFoundError as error:
        raise StoreUnusable("PostgreSQL needs its driver: pip install mail2sms-gateway[postgresql]") from error
    event.listen(engine.sync_engine, "connect", _check_postgres)
    return engine


def _check_postgres(connection: DBAPIConnection, _record: object) -> None:
    cursor = connection.cursor()
    try:
        for setting in ("synchronous_commit", "fsync"):
            if _ask(cursor, f"SHOW {setting}") == "off":
                raise StoreUnusable(f"PostgreSQL would lose acknowledged mails when the power goes: {setting} is off")
    finally:
        cursor.close()
        connection.rollback()
