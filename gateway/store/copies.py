"""How a copy of a store is told from the store itself.

A backup that is put into place is older than what happened: SMS that wait in it may have been sent since. So a copy
carries a mark, and no daemon works on a marked store before somebody has said what shall become of these SMS
(`mail2sms restore --queued hold|send`).

SQLite: `mail2sms backup` writes the mark into the copy, a table with the instant it was made. PostgreSQL: the tables
know their own object id, as a comment; whatever program dumps and loads them, they get other ids, and the same comment.
What copies block by block (a snapshot of the machine, a standby, point-in-time recovery) is not seen.
"""

import sqlite3
from datetime import datetime

import sqlalchemy as sa

_TABLE = "backup_copy"
_SIGNED = "mail2sms store, object id "

_OWN_ID = sa.text(
    "SELECT 'alembic_version'::regclass::oid::bigint, obj_description('alembic_version'::regclass, 'pg_class')"
)


def write_mark(copy: sqlite3.Connection, made_at: datetime) -> None:
    """The SQLite copy is marked; one that was a copy before keeps its older mark."""
    copy.execute(f"CREATE TABLE IF NOT EXISTS {_TABLE} (made_at TEXT NOT NULL)")
    marked = f"{made_at:%Y-%m-%d %H:%M:%S} UTC"
    copy.execute(f"INSERT INTO {_TABLE} SELECT ? WHERE NOT EXISTS (SELECT 1 FROM {_TABLE})", (marked,))  # noqa: S608


def find_mark(connection: sa.Connection) -> str | None:
    """Return since when it is a copy, in words; None when it is not one."""
    if connection.dialect.name == "postgresql":
        own_id, comment = (connection.execute(_OWN_ID)).one()
        is_copy = comment is not None and comment.startswith(_SIGNED) and comment != f"{_SIGNED}{own_id}"
        return "loaded from a dump" if is_copy else None
    tables = connection.execute(sa.text("SELECT 1 FROM sqlite_master WHERE name = :name"), {"name": _TABLE})
    if tables.first() is None:
        return None
    made_at = connection.scalar(sa.text(f"SELECT made_at FROM {_TABLE} LIMIT 1"))  # noqa: S608
    return f"a backup of {made_at}"


def remove_mark(connection: sa.Connection) -> None:
    """It is a store like any other."""
    if connection.dialect.name == "postgresql":
        _sign(connection)
    else:
        connection.execute(sa.text(f"DROP TABLE IF EXISTS {_TABLE}"))


def sign(connection: sa.Connection) -> None:
    """The tables know their own id, from when they were made. On SQLite there is nothing to do."""
    if connection.dialect.name == "postgresql":
        _own_id, comment = (connection.execute(_OWN_ID)).one()
        if comment is None:
            _sign(connection)


def _sign(connection: sa.Connection) -> None:
    own_id, _comment = (connection.execute(_OWN_ID)).one()
    connection.execute(sa.text(f"COMMENT ON TABLE alembic_version IS '{_SIGNED}{int(own_id)}'"))
