"""Connections to the two databases, each as durable as promised, and transactions on them.

SQLite: one writer, whose transactions begin with `BEGIN IMMEDIATE` one after the other, and a few readers. Every
connection reads back that the write-ahead log is in use and that each commit is flushed (`synchronous=FULL`; NORMAL
loses acknowledged commits when the power goes). PostgreSQL: one pool; every connection reads back that commits are
flushed and waited for.

A transaction that is cut off (cancelled, or out of time) is rolled back before its caller hears of it.

SQLite, when the disk reports an error: nothing is tried again on what is open, for after a failed flush the system
holds for clean what never reached the disk. All connections are closed, and before the next transaction opened anew,
with everything that can be read written once more (`flush`). If that fails too, the store is unusable.

Diagnostics: event `store_reopened` (error).
"""

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import structlog
from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from gateway.store.errors import StoreUnusable, primary_code
from gateway.store.settings import StoreSettings
from gateway.store.sqlite_line import SqliteLine, Work

T = TypeVar("T")

_log = structlog.get_logger(__name__)

_BROKEN = frozenset({sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN})

_MAKE_OR_RESTORE = (
    "run mail2sms migrate once to create it; if there was one, restore it, for it knows which mails were sent before"
)


class Database(Protocol):
    """Where the rows are: transactions, and the little in which the two databases differ."""

    can_lose_commits: bool
    """True when a COMMIT may have happened although its answer was lost: over a connection. Else its error is true."""

    async def write(self, choose: Callable[[], Work[T]]) -> T:
        """Return what the work does in one transaction that may write: rolled back if it raises, else committed.

        `choose` is asked for the work, in the loop, when its turn has come. On SQLite the work is done in a thread.
        """

    async def read(self, work: Work[T]) -> T:
        """Return what the work finds in one transaction that only reads."""

    def check_presence(self) -> None:
        """Raises `StoreUnusable` when the file that was opened is not the one in its place any more."""

    async def flush(self) -> None:
        """Everything that can be read is on disk, also what an earlier process wrote and did not live to flush."""

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

    can_lose_commits = False

    def __init__(self, settings: StoreSettings, path: Path, *, must_be_wal: bool, read_only: bool = False) -> None:
        self._path = path
        self._inode = _inode(path)
        wanted, verbs = (os.R_OK, "read") if read_only else (os.R_OK | os.W_OK, "read and write")
        if not path.is_file() or not os.access(path, wanted):
            raise StoreUnusable(f"{path} is not a file that this user can {verbs}")
        if must_be_wal and not path.stat().st_size:
            raise StoreUnusable(f"the store at {path} is an empty file: {_MAKE_OR_RESTORE}")
        self._settings = settings
        self._has_failed = False  # the disk reported an error, and nothing was opened anew since
        self._reopening = asyncio.Lock()
        options = _read_options(path) if read_only else {"mode": "rw"}  # a missing file is an error, never a new store
        line = partial(
            SqliteLine,
            path,
            options,
            busy_timeout_s=settings.busy_timeout_s,
            prepare=partial(_prepare_sqlite, settings=settings, must_be_wal=must_be_wal),
            on_failure=self._note_failure,
        )
        # Replaced before the COMMIT, it would succeed: in a file that the next start does not find
        self._writer = line(is_writer=True, before_commit=self.check_presence)
        self._readers = [line(is_writer=False) for _ in range(settings.connections)]
        self._idle_readers: asyncio.LifoQueue[SqliteLine] = asyncio.LifoQueue()
        for reader in self._readers:
            self._idle_readers.put_nowait(reader)

    async def write(self, choose: Callable[[], Work[T]]) -> T:
        if self._has_failed:
            await self._reopen()
        return await self._writer.run(choose)

    async def read(self, work: Work[T]) -> T:
        reader = await self._idle_readers.get()
        try:
            return await reader.run(lambda: work)
        finally:
            self._idle_readers.put_nowait(reader)

    def check_presence(self) -> None:
        if _inode(self._path) != self._inode:
            raise StoreUnusable(f"{self._path} was replaced while in use: restart, after looking at why")

    async def flush(self) -> None:
        """Copy the whole log into the database, and flush that: what recovery found there may be in memory only."""
        await asyncio.to_thread(_copy_log, self._path, self._settings)
        await asyncio.to_thread(_flush_names, self._path.parent)

    async def close(self) -> None:
        for line in (*self._readers, self._writer):
            await line.close()

    def _note_failure(self) -> None:
        """What is open is not used again."""
        self._has_failed = True

    async def _reopen(self) -> None:
        async with self._reopening:
            if not self._has_failed:
                return  # somebody else did
            await self.close()
            try:
                await self.flush()
            except (sqlite3.Error, OSError) as error:
                if isinstance(error, sqlite3.Error) and primary_code(error) not in _BROKEN:
                    raise  # locked, or full: the next one tries again
                what = f"the disk under {self._path} failed, and the store cannot be opened again"
                raise StoreUnusable(f"{what}: look at the disk, then start again") from error
            self._has_failed = False
            advice = "the disk reported an error; nothing is lost, but look at the disk and its log"
            _log.error("store_reopened", path=str(self._path), advice=advice)


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
    except FileNotFoundError as error:
        raise StoreUnusable(
            f"there is no folder {path.parent}: is a disk not mounted, or the url in [store] wrong? For a new gateway "
            f"make it for the user that runs it (install -d -m 0700 -o mail2sms {path.parent}), then try again"
        ) from error
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


def _prepare_sqlite(connection: sqlite3.Connection, *, settings: StoreSettings, must_be_wal: bool) -> None:
    cursor = connection.cursor()
    try:
        mode = _ask(cursor, "PRAGMA journal_mode")
        if must_be_wal and mode != "wal":
            raise StoreUnusable(f"the store uses the journal mode {mode}, not wal: run mail2sms migrate")
        cursor.execute("PRAGMA synchronous=FULL")
        if _ask(cursor, "PRAGMA synchronous") != 2:
            raise StoreUnusable("SQLite does not flush each commit here (synchronous is not FULL)")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA temp_store=MEMORY")  # undoing a savepoint must not need room, or rights, in /var/tmp
        cursor.execute(f"PRAGMA journal_size_limit={settings.journal_limit_bytes:d}")
    finally:
        cursor.close()


def _flush_names(folder: Path) -> None:
    """The names of the files in the folder are on disk: SQLite asks for that too, but does not look at the answer."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _copy_log(path: Path, settings: StoreSettings) -> None:
    """Empty the write-ahead log into the database, both flushed. Raises SQLite's own error when somebody reads it."""
    address = f"{path.as_uri()}?mode=rw"
    with contextlib.closing(
        sqlite3.connect(address, uri=True, isolation_level=None, timeout=settings.busy_timeout_s)
    ) as connection:
        connection.execute("PRAGMA synchronous=FULL")
        if connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:  # which says so without an error
            error = sqlite3.OperationalError("database is locked")
            error.sqlite_errorcode = sqlite3.SQLITE_BUSY
            raise error


def _ask(cursor: DBAPICursor | sqlite3.Cursor, statement: str) -> object:
    cursor.execute(statement)
    row = cursor.fetchone()
    return None if row is None else row[0]


# --- PostgreSQL ------------------------------------------------------------------------------------------------------


class PostgresDatabase:
    """A server, perhaps with other nodes of the gateway at work on it."""

    can_lose_commits = True

    def __init__(self, settings: StoreSettings, url: URL, *, read_only: bool = False) -> None:
        self._engine = _postgres_engine(settings, url, read_only=read_only)

    async def write(self, choose: Callable[[], Work[T]]) -> T:
        async with self._engine.begin() as connection:
            return await connection.run_sync(choose())

    async def read(self, work: Work[T]) -> T:
        async with self._engine.begin() as connection:
            return await connection.run_sync(work)

    def check_presence(self) -> None:
        """A server that is gone says so by itself."""

    async def flush(self) -> None:
        """A server has done so before it lets anybody read."""

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
