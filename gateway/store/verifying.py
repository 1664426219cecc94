"""Looking for anything wrong in a store or a backup of it, without changing a byte.

First the database itself (SQLite: pages, indexes, conditions, references), then the version, then what must hold across
rows (`invariants`). A gateway at work on the store is not disturbed: each look reads one state, outside of any lock
that a commit needs.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import sqlalchemy as sa

from gateway.store import copies
from gateway.store.database import Database, connect, sqlite_path
from gateway.store.errors import StoreUnusable, translated
from gateway.store.files import Tell, watch_statements
from gateway.store.invariants import Invariant, invariants
from gateway.store.schema import check
from gateway.store.settings import StoreSettings

_EXAMPLES = 5
_LONGEST_S = 3600.0
_MOST_PROBLEMS = 100
_DAMAGED = "the file is damaged: restore a backup"
_EMPTY = (
    "the file is empty, and no backup: its copying failed or was cut off, or it is another file; take another backup, "
    "and look why this one was not written"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one look found: nothing when `problem` is None."""

    check: str
    problem: str | None = None
    count: int = 0
    examples: tuple[str, ...] = ()
    is_counted: bool = True  # False: worth knowing, and nothing is wrong


async def verify(
    settings: StoreSettings,
    file: Path | None,
    *,
    now: datetime,
    reconcile_window: timedelta,
    receipt_window: timedelta,
    tell: Tell,
) -> AsyncIterator[Finding]:
    """Yields what each look finds; `file`: of this backup, not of the store.

    Raises StoreUnusable or StoreUnavailable when there is nothing that can be read at all. What is damaged ends the
    looks: the rows of a damaged database prove nothing.
    """
    patient = settings.model_copy(update={"deadline_s": _LONGEST_S, "connections": 1})
    if file is not None:
        if not await asyncio.to_thread(file.is_file):
            raise StoreUnusable(f"{file} is not a file")
        patient = patient.model_copy(update={"url": f"sqlite:///{_escaped(file)}"})
    path = sqlite_path(patient)
    looks = invariants(now, reconcile_window, receipt_window)
    with translated():
        database = connect(patient, read_only=True)
        try:
            if path is not None:
                for finding in await asyncio.to_thread(_look_at_file, path, tell):
                    yield finding
                    if finding.problem is not None:
                        return
            async for finding in _look_at_rows(database, file is not None, looks, tell):
                yield finding
        finally:
            await database.close()


async def _look_at_rows(
    database: Database, is_backup: bool, looks: Sequence[Invariant], tell: Tell
) -> AsyncIterator[Finding]:
    try:
        with translated():
            mark = await database.read(partial(_check_version, is_backup=is_backup))
    except StoreUnusable as error:
        yield Finding(check="version", problem=str(error))
        return
    yield Finding(check="version")
    if mark is not None:
        note = f"this is {mark}; put into place, it is to be accepted with mail2sms restore"
        yield Finding(check="copy", problem=note, is_counted=False)
    for number, invariant in enumerate(looks):
        tell("rows", number, len(looks))
        is_counted = not (is_backup and invariant.is_about_time)
        yield await database.read(partial(_look, invariant=invariant, is_counted=is_counted))


def _check_version(connection: sa.Connection, *, is_backup: bool) -> str | None:
    """Return what marks it as a copy."""
    if is_backup and not sa.inspect(connection).get_table_names():
        raise StoreUnusable(_EMPTY)
    check(connection, may_be_copy=True)
    return copies.find_mark(connection)


def _look(connection: sa.Connection, invariant: Invariant, *, is_counted: bool) -> Finding:
    found = invariant.rows.subquery()
    count = connection.scalar(sa.select(sa.func.count()).select_from(found)) or 0
    if not count:
        return Finding(check=invariant.name)
    examples = connection.scalars(sa.select(found).order_by(found.c[0]).limit(_EXAMPLES))
    return Finding(
        check=invariant.name,
        problem=invariant.wrong,
        count=count,
        examples=tuple(str(each) for each in examples),
        is_counted=is_counted,
    )


def _look_at_file(path: Path, tell: Tell) -> list[Finding]:
    """What SQLite says of its file; blocks."""
    with_log = path.with_name(path.name + "-wal").exists()
    options = "mode=ro" if with_log else "mode=ro&immutable=1"
    try:
        with (
            contextlib.closing(sqlite3.connect(f"{path.as_uri()}?{options}", uri=True, isolation_level=None)) as opened,
            watch_statements(opened, tell, "pages"),
        ):
            problems = [row[0] for row in opened.execute(f"PRAGMA integrity_check({_MOST_PROBLEMS})")]
            orphans = opened.execute("PRAGMA foreign_key_check").fetchall() if problems == ["ok"] else []
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_CORRUPT:
            raise StoreUnusable(f"{path} cannot be read: {error}") from error
        return [Finding(check="pages", problem=f"{_DAMAGED} ({error})", count=1)]
    if problems != ["ok"]:
        return [
            Finding(
                check="pages",
                problem=_DAMAGED,
                count=len(problems),
                examples=tuple(problems[:_EXAMPLES]),
            )
        ]
    if orphans:
        named = tuple(f"{table} {row} lacks its {parent}" for table, row, parent, _ in orphans[:_EXAMPLES])
        return [
            Finding(
                check="references", problem="rows refer to others that are gone", count=len(orphans), examples=named
            )
        ]
    return [Finding(check="pages"), Finding(check="references")]


def _escaped(file: Path) -> str:
    """As the address of a store has it."""
    return str(file.absolute()).replace("%", "%25").replace("?", "%3F")
