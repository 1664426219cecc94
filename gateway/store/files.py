"""Files that hold a database, handled so that a power cut leaves the old one or the new one, never half of one."""

import contextlib
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from gateway.clock import SystemClock
from gateway.store.copies import write_mark
from gateway.store.errors import StoreUnavailable, StoreUnusable, translated

Tell = Callable[[str, int, int], None]
"""Hears what is being done, how much of it is done, and of how much; of 0: nobody knows."""

_MIB = 1024 * 1024
_STEP_BYTES = _MIB
_FLUSHED_EVERY = 8  # steps; one flush of a whole copy at its end would stop everybody's commits for seconds
_PAUSE_S = 0.001
_LONGEST_S = 4 * 3600.0
_LEFT_FREE_BYTES = 128 * _MIB
"""What a copy leaves free on the disk of the store."""

_OPCODES = 1_000_000


def copy_database(source: Path, target: Path, *, is_in_use: bool, made_at: datetime, tell: Tell) -> None:
    """`target`, an empty file before, is a marked copy of `source` as it was at one instant, sound and on disk.

    Blocks. With `is_in_use`, whoever works on `source` goes on: pages are read in small steps, outside of any lock that
    a commit needs; only its write-ahead log is not cut back meanwhile. Raises StoreUnusable when the copy is not sound,
    or `source` is no store; StoreUnavailable when there is no room, or it takes hours.
    """
    with translated():
        _check_room(source, target)
        with target.open("r+b") as file:  # held to the end: closing it would drop the locks SQLite has on it
            with (
                contextlib.closing(_open_source(source, is_in_use=is_in_use)) as original,
                _opened(target, "rw") as copy,
            ):
                # Not journaled, not flushed: a copy that is cut off is thrown away
                copy.execute("PRAGMA synchronous=OFF")
                _copy_pages(original, copy, file.fileno(), tell)
                _check_is_store(copy)
                write_mark(copy, made_at)
                check_soundness(copy, tell)
            os.fsync(file.fileno())
    for name in ("-wal", "-shm", "-journal"):
        with contextlib.suppress(FileNotFoundError):
            target.with_name(target.name + name).unlink()


def check_soundness(connection: sqlite3.Connection, tell: Tell) -> None:
    """Raises StoreUnusable when SQLite finds something wrong: pages, indexes, conditions, references."""
    with watch_statements(connection, tell, "checking"):
        found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if found != "ok":
            where = found.splitlines()[-1]
            raise StoreUnusable(f"the database is damaged ({where}): take an older backup")
        if connection.execute("PRAGMA foreign_key_check").fetchone() is not None:
            raise StoreUnusable("the database is damaged (a row refers to one that is not there): take an older backup")


@contextmanager
def watch_statements(connection: sqlite3.Connection, tell: Tell, step: str) -> Iterator[None]:
    """Whoever waits sees that SQLite is at work, though not how much of it is done."""
    count = 0

    def progress() -> int:
        nonlocal count
        count += 1
        tell(step, count, 0)
        return 0

    connection.set_progress_handler(progress, _OPCODES)
    try:
        yield
    finally:
        connection.set_progress_handler(None, 0)


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Yields an empty file beside `path`, for its owner alone; when the block ends it is `path`, else it is gone.

    Made by root, it belongs to whom `path` belonged to, or its folder: the gateway must be able to open its store.
    """
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    except OSError as error:
        raise StoreUnavailable(f"nothing can be written beside {path}: {error.strerror}") from error
    part = Path(name)
    try:
        give_to_owner(descriptor, path)
        os.close(descriptor)
        yield part
        _flush(part)
        part.replace(path)
        flush_folder(path.parent)
    except OSError as error:
        raise StoreUnavailable(f"{path} cannot be written: {error.strerror}") from error
    finally:
        for suffix in ("", "-wal", "-shm", "-journal"):
            with contextlib.suppress(FileNotFoundError):
                part.with_name(part.name + suffix).unlink()


def give_to_owner(descriptor: int, path: Path) -> None:
    """What root has made belongs to whom `path` belongs to, or its folder where there is no such file."""
    if os.geteuid() == 0:
        like = (path if path.exists() else path.parent).stat()
        os.fchown(descriptor, like.st_uid, like.st_gid)


def flush_folder(folder: Path) -> None:
    """The names in it are on disk."""
    _flush(folder, os.O_DIRECTORY)


def _flush(path: Path, flags: int = 0) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _open_source(path: Path, *, is_in_use: bool) -> sqlite3.Connection:
    """Return a connection that reads one state of the database; a file nobody uses gets no others beside it."""
    is_alone = not is_in_use and not path.with_name(path.name + "-wal").exists()
    mode = "rw" if is_in_use else "ro"  # rw: to be the one who makes the files of the log, and removes them
    connection = sqlite3.connect(_uri(path, mode, is_idle=is_alone), uri=True, isolation_level=None, timeout=5)
    try:
        connection.execute("PRAGMA query_only=ON")
        # One state for all steps: else each commit of somebody else would make the copy begin anew
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _copy_pages(original: sqlite3.Connection, copy: sqlite3.Connection, descriptor: int, tell: Tell) -> None:
    page_bytes = int(original.execute("PRAGMA page_size").fetchone()[0])
    clock = SystemClock()
    until, steps = clock.monotonic() + _LONGEST_S, 0

    def progress(_status: int, remaining: int, total: int) -> None:
        nonlocal steps
        steps += 1
        tell("copying", (total - remaining) * page_bytes, total * page_bytes)
        if clock.monotonic() > until:
            raise StoreUnavailable("the copy takes too long: is the disk working?")
        if steps % _FLUSHED_EVERY == 0:
            os.fdatasync(descriptor)
        # Not a wait for anything: a copy without breaks would take the disk from the commits of the gateway. It runs in
        # a thread or a process of its own; the pause of `Connection.backup` itself is for a locked database only
        time.sleep(_PAUSE_S)

    original.backup(copy, pages=max(1, _STEP_BYTES // page_bytes), progress=progress)


def _check_is_store(copy: sqlite3.Connection) -> None:
    tables = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN ('alembic_version', 'email_id')"
    if copy.execute(tables).fetchone()[0] != 2:
        raise StoreUnusable("this database holds something else than a store of this gateway")


def _check_room(source: Path, target: Path) -> None:
    needed = source.stat().st_size
    status = os.statvfs(target.parent)
    is_same_disk = source.stat().st_dev == target.parent.stat().st_dev
    free = status.f_bavail * status.f_frsize - (_LEFT_FREE_BYTES if is_same_disk else 0)
    if free < needed:
        raise StoreUnavailable(
            f"the disk of {target.parent} has no room for a copy of {needed:,} bytes: choose another place",
            is_full=True,
        )


@contextmanager
def _opened(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(_uri(path, mode), uri=True, isolation_level=None)) as connection:
        yield connection


def _uri(path: Path, mode: str, *, is_idle: bool = False) -> str:
    return f"{path.absolute().as_uri()}?mode={mode}{'&immutable=1' if is_idle else ''}"
