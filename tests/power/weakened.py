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
    cursor.execute(f"PRAGMA synchronous={os.environ['POWER_SYNCHRONOUS']}")
    cursor.execute("PRAGMA wal_autocheckpoint=30")  # pages: more moments at which the database itself is written
    cursor.close()


if __name__ == "__main__":
    database._prepare_sqlite = _prepare_badly
    main()
