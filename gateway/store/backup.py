"""A copy of the store in a file, made while the gateway works, and the way back.

SQLite: SQLite's own online backup, checked, marked as a copy (`copies`). PostgreSQL: its own programs.
"""

import os
import shutil
import subprocess
from datetime import datetime
from pathlib import Path

from gateway.store.database import sqlite_path
from gateway.store.errors import StoreUnavailable, StoreUnusable
from gateway.store.files import Tell, copy_database, flush_folder, new_file
from gateway.store.settings import StoreSettings

_LOG_FILES = ("-wal", "-shm", "-journal")
_LONGEST_DUMP_S = 12 * 3600
_SQLITE_BEGINS = b"SQLite format 3\0"
_DUMP_BEGINS = b"PGDMP"  # of pg_dump's custom format


def back_up(settings: StoreSettings, target: Path, *, overwrite: bool, now: datetime, tell: Tell) -> None:
    """`target` is a sound, marked copy of the store, for its owner alone; blocks.

    Raises StoreUnusable when `target` is there (unless `overwrite`) or in use, or the copy is not sound;
    StoreUnavailable when it cannot be written.
    """
    source = sqlite_path(settings)
    _check_target(source, target, overwrite=overwrite)
    if source is not None and not source.is_file():
        raise StoreUnusable(f"there is no store at {source}: nothing to back up")
    with new_file(target) as part:
        if source is None:
            _dump(settings.url, part)
        else:
            copy_database(source, part, is_in_use=True, made_at=now, tell=tell)


def put_into_place(settings: StoreSettings, copy: Path, *, now: datetime, tell: Tell) -> Path | None:
    """The store is what `copy` holds, marked as a copy; return where the store that was there before is now.

    Blocks. No gateway may work on the store. Cut off in the middle, it leaves the old store, or none, which `serve`
    refuses. Raises StoreUnusable when `copy` is no sound database, and on PostgreSQL.
    """
    store = sqlite_path(settings)
    if store is None:
        raise StoreUnusable(
            "on PostgreSQL load the backup yourself: pg_restore --clean --if-exists --dbname=URL FILE; "
            "then mail2sms restore --queued hold (or send), without a file"
        )
    if not copy.is_file():
        raise StoreUnusable(f"{copy} is not a file")
    if store.exists() and copy.samefile(store):
        raise StoreUnusable(f"{copy} is the store itself: to accept it as it is, leave the file out")
    # When it was made, for a copy that was made by other means and does not say so itself
    made_at = datetime.fromtimestamp(copy.stat().st_mtime, now.tzinfo)
    with new_file(store) as part:
        copy_database(copy, part, is_in_use=False, made_at=made_at, tell=tell)
        return _move_aside(store, now)


def _move_aside(store: Path, now: datetime) -> Path | None:
    """The store and its log have another name: a log left behind would be read into the file that takes its place."""
    replaced = store.with_name(f"{store.name}.replaced-{now:%Y%m%dT%H%M%SZ}")
    for suffix in ("", *_LOG_FILES):
        file = store.with_name(store.name + suffix)
        if file.exists():
            file.rename(replaced.with_name(replaced.name + suffix))
    flush_folder(store.parent)
    return replaced if replaced.exists() else None


def _check_target(store: Path | None, target: Path, *, overwrite: bool) -> None:
    if target.exists():
        if store is not None and store.exists() and target.samefile(store):
            raise StoreUnusable(f"{target} is the store itself")
        if not target.is_file():
            raise StoreUnusable(f"{target} is there, and is not a file")
        if not overwrite:
            raise StoreUnusable(f"{target} is there already: take another name, or overwrite it with --force")
        if not _is_backup(target):
            raise StoreUnusable(
                f"{target} is there, and is no backup: take another name, --force does not overwrite it"
            )
    for suffix in _LOG_FILES:
        if target.with_name(target.name + suffix).exists():
            raise StoreUnusable(f"{target}{suffix} is there: {target} is a database in use, or was not closed")


def _is_backup(target: Path) -> bool:
    """Say whether it may be one, or is empty: a configuration or a key, named by mistake, is neither."""
    try:
        with target.open("rb") as stream:
            begins = stream.read(len(_SQLITE_BEGINS))
    except OSError as error:
        raise StoreUnusable(f"{target} is there, and cannot be read: {error.strerror}; take another name") from error
    return not begins or begins.startswith((_SQLITE_BEGINS, _DUMP_BEGINS))


def _dump(url: str, part: Path) -> None:
    by_hand = f"pg_dump --format=custom --file=FILE --dbname={url}"
    program = shutil.which("pg_dump")
    if program is None:
        raise StoreUnusable(f"pg_dump is not here: install PostgreSQL's client programs, or run elsewhere: {by_hand}")
    # No password is in the address: libpq finds it as the gateway does
    command = [program, "--format=custom", f"--file={part}", f"--dbname={url}"]
    try:
        done = subprocess.run(  # noqa: S603 - no shell, and the address is the operator's
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_LONGEST_DUMP_S, check=False, env=os.environ
        )
    except subprocess.TimeoutExpired as error:
        raise StoreUnavailable("pg_dump did not end: is the server working?") from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise StoreUnavailable(f"pg_dump failed: {said[-1] if said else 'it does not say why'}")
