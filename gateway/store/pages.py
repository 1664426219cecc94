"""Whether every page of an SQLite file is sound: asked at the start, where it is quick, and beside the work, where not.

SQLite itself notices a damaged page only when it comes by: perhaps months after the damage, and long after the last
good backup.
"""

import contextlib
import sqlite3
import threading
from pathlib import Path

from gateway.clock import SystemClock
from gateway.store.errors import StoreUnusable, translated

_OPCODES = 100_000
"""So often, in steps of SQLite, it is looked whether the time is over: some milliseconds."""


def check_pages(path: Path, *, limit_s: float = float("inf"), stop: threading.Event | None = None) -> bool:
    """Return whether it came to an end, in time and before `stop`. Raises StoreUnusable when it found damage.

    Blocks. Who works on the file goes on; only its write-ahead log is not cut back meanwhile.
    """
    clock = SystemClock()
    until = clock.monotonic() + limit_s

    def is_over() -> bool:
        return clock.monotonic() > until or (stop is not None and stop.is_set())

    with (
        translated(),
        contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None)) as connection,
    ):
        connection.set_progress_handler(is_over, _OPCODES)
        try:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
                return False
            raise
    if found != "ok":
        where = found.splitlines()[-1]
        raise StoreUnusable(f"the store is damaged ({where}): look with mail2sms verify, restore a backup")
    return True
