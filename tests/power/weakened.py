"""The gateway with a store that is less durable than it must be: what the check is worth nothing without finding.

`POWER_SYNCHRONOUS=NORMAL python -m tests.power.weakened serve ...`; the gateway itself refuses to run so.
"""

import os
import sqlite3

from gateway.cli import main
from gateway.store import database
from gateway.store.settings import StoreSettings

_prepare = database._prepare_sqlite


def _prepare_badly(connection: sqlite3.Connection, *, settings: StoreSettings, must_be_wal: bool) -> None:
    _prepare(connection, settings=settings, must_be_wal=must_be_wal)
    cursor = connection.cursor()
    synchronous = os.environ["POWER_SYNCHRONOUS"]
    cursor.execute(f"PRAGMA synchronous={synchronous}")
    # Pages: with NORMAL a checkpoint flushes the log, with OFF it writes the database itself, and nothing is flushed
    cursor.execute(f"PRAGMA wal_autocheckpoint={500 if synchronous == 'NORMAL' else 30}")
    cursor.close()


if __name__ == "__main__":
    database._prepare_sqlite = _prepare_badly
    main()
