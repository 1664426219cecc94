"""The life of the tables: created or upgraded by `migrate` alone, recognised by `check`.

The daemon never creates a store, not even when there is none: an empty one would have forgotten which emailIds were
used, and would send again what was sent (docs/protocol.md §7.1). So a missing, older, newer or foreign store stops it.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from gateway.store import copies, tables
from gateway.store.database import connect, create_sqlite_file, sqlite_path, switch_to_wal
from gateway.store.errors import StoreUnusable, translated
from gateway.store.settings import StoreSettings

_MIGRATE_LOCK = 0x6D32736D  # any number, the same on all nodes


@dataclass(frozen=True, slots=True, kw_only=True)
class Migrated:
    """What `migrate` did; equal revisions: nothing."""

    from_revision: str | None  # None: there was no store
    to_revision: str


async def migrate(settings: StoreSettings) -> Migrated:
    """The store exists, with the tables of this version.

    The only thing that ever creates one; run by an operator, with the daemon stopped. Several at once wait for one
    another on PostgreSQL; on SQLite one may have to come back. Raises `StoreUnusable` for a store of a newer version
    and for a database that is something else.
    """
    path = sqlite_path(settings)
    with translated():
        if path is not None:
            create_sqlite_file(path)
        database = connect(settings, must_be_wal=False)
        try:
            before = await database.write(lambda: _upgrade)
        finally:
            await database.close()
        if path is not None:
            await asyncio.to_thread(switch_to_wal, path)
    return Migrated(from_revision=before, to_revision=_newest())


def check(connection: sa.Connection, *, may_be_copy: bool = False) -> None:
    """Raises `StoreUnusable` unless the tables are there, readable, those of this version, and no unaccepted copy."""
    revision = _revision(connection)
    if revision is None:
        raise StoreUnusable("the store is empty: run mail2sms migrate once to create it")
    if revision != _newest():
        raise StoreUnusable(f"the store is older than this version (revision {revision}): run mail2sms migrate")
    for table in tables.metadata.sorted_tables:
        connection.execute(sa.select(table).limit(1))
    mark = None if may_be_copy else copies.find_mark(connection)
    if mark is not None:
        raise StoreUnusable(
            f"the store is {mark}: what waits in it may have been sent since; "
            "say what shall become of it with mail2sms restore --queued hold (or send)"
        )


def _revision(connection: sa.Connection) -> str | None:
    """The revision of the store; None when the database is empty. Refuses a foreign database and a newer store."""
    names = sa.inspect(connection).get_table_names()
    if not names:
        return None
    if "alembic_version" not in names or "email_id" not in names:
        raise StoreUnusable("this database holds something else than a store of this gateway")
    revision = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    if not isinstance(revision, str):
        raise StoreUnusable("the store does not say its version: restore a backup")
    if revision not in {script.revision for script in _scripts().walk_revisions()}:
        raise StoreUnusable(f"the store was made by a newer version (revision {revision}): install that version")
    return revision


def _config() -> Config:
    config = Config()
    # Alembic interpolates: a per cent sign in the path of the installation is doubled
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _newest() -> str:
    newest = _scripts().get_current_head()
    if newest is None:
        raise StoreUnusable("this installation lacks its migrations: install it again")
    return newest


def _upgrade(connection: sa.Connection) -> str | None:
    """Return the revision from before."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATE_LOCK)))
    before = _revision(connection)
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    copies.sign(connection)
    return before
