"""What can be seen of a store without changing a byte, whoever works on it: kind, version, soundness, backlog."""

import asyncio
import contextlib
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from gateway.clock import Clock
from gateway.store import copies, watch
from gateway.store.base import Backlog
from gateway.store.database import Database, connect, sqlite_path
from gateway.store.errors import StoreError, StoreUnusable, translated
from gateway.store.schema import check
from gateway.store.settings import StoreSettings

_OPCODES = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresFacts:
    """What a server says of itself."""

    version: str
    synchronous_commit: str
    is_standby: bool
    is_encrypted: bool | None  # our own connection; None: it is on this machine, over a socket
    answer_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """What was seen; `trouble` says why there is no more."""

    trouble: StoreError | None = None
    mark: str | None = None  # it is a copy: "a backup of ..."
    journal_mode: str | None = None  # SQLite
    is_sound: bool | None = None  # None: the look did not come to its end
    damage: str | None = None
    backlog: Backlog | None = None
    postgres: PostgresFacts | None = None


async def examine_store(settings: StoreSettings, clock: Clock, *, limit_s: float) -> Examined:
    """Return what is to be seen of it; a SQLite file is looked through for `limit_s` at most."""
    path = sqlite_path(settings)
    patient = settings.model_copy(update={"connections": 1, "deadline_s": limit_s})
    try:
        with translated():
            if path is not None:
                return await _examine_sqlite(patient, path, clock, limit_s)
            return await _examine_postgres(patient, clock)
    except StoreError as error:
        return Examined(trouble=error)


async def _examine_sqlite(settings: StoreSettings, path: Path, clock: Clock, limit_s: float) -> Examined:
    database = await asyncio.to_thread(_open, settings, path)
    try:
        mark, backlog = await database.read(_look)
    finally:
        await database.close()
    journal_mode, damage, is_over = await asyncio.to_thread(_look_at_pages, path, clock, limit_s)
    return Examined(
        mark=mark,
        backlog=backlog,
        journal_mode=journal_mode,
        damage=damage,
        is_sound=damage is None if is_over else None,
    )


async def _examine_postgres(settings: StoreSettings, clock: Clock) -> Examined:
    database = connect(settings, read_only=True)
    try:
        began_at = clock.monotonic()
        version, commit, is_standby, is_encrypted = await database.read(_ask_postgres)
        facts = PostgresFacts(
            version=version,
            synchronous_commit=commit,
            is_standby=is_standby,
            is_encrypted=is_encrypted,
            answer_ms=(clock.monotonic() - began_at) * 1000,
        )
        mark, backlog = await database.read(_look)
    finally:
        await database.close()
    return Examined(mark=mark, backlog=backlog, postgres=facts)


def _open(settings: StoreSettings, path: Path) -> Database:
    if path.is_file() and not path.stat().st_size:
        raise StoreUnusable(f"the store at {path} is an empty file: run mail2sms migrate, or restore what was there")
    return connect(settings, read_only=True)


def _look(connection: sa.Connection) -> tuple[str | None, Backlog]:
    check(connection, may_be_copy=True)
    return copies.find_mark(connection), watch.backlog(connection)


def _ask_postgres(connection: sa.Connection) -> tuple[str, str, bool, bool | None]:
    version = str(connection.scalar(sa.text("SHOW server_version")))
    commit = str(connection.scalar(sa.text("SHOW synchronous_commit")))
    is_standby = bool(connection.scalar(sa.text("SELECT pg_is_in_recovery()")))
    own = "SELECT s.ssl, inet_server_addr() IS NULL FROM pg_stat_ssl s WHERE s.pid = pg_backend_pid()"
    row = connection.execute(sa.text(own)).first()
    is_encrypted = None if row is None or row[1] else bool(row[0])
    return version, commit, is_standby, is_encrypted


def _look_at_pages(path: Path, clock: Clock, limit_s: float) -> tuple[str, str | None, bool]:
    """Return the journal mode, the first damage, and whether the look came to its end; blocks."""
    until = clock.monotonic() + limit_s
    # Without a log nobody is at work on it, and reading must leave none behind
    with_log = path.with_name(f"{path.name}-wal").exists()
    address = f"{path.as_uri()}?mode=ro{'' if with_log else '&immutable=1'}"
    mode = _journal_mode(path)  # before: closing the file would drop the locks of what is open
    with contextlib.closing(sqlite3.connect(address, uri=True, isolation_level=None)) as connection:
        connection.set_progress_handler(lambda: clock.monotonic() > until, _OPCODES)
        try:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
                return mode, None, False
            raise
    return mode, None if found == "ok" else str(found).splitlines()[-1], True


def _journal_mode(path: Path) -> str:
    """Return what the file says of itself: an immutable connection would say that it has no journal at all."""
    with path.open("rb") as file:
        header = file.read(20)
    return "wal" if header[18:20] == b"\x02\x02" else "delete"
