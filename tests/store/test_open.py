"""Store.open: what is refused, and what is in force on every connection."""

import asyncio
import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pydantic
import pytest
import sqlalchemy as sa
from psycopg import sql

from gateway.store import Store, StoreSettings, StoreUnavailable, StoreUnusable, migrate, schema
from gateway.store.database import SqliteDatabase
from gateway.store.errors import is_locked
from tests.store.samples import change, new_order
from tests.support.postgres import PostgresServer


def path_of(settings: StoreSettings) -> Path:
    return Path(settings.url.removeprefix("sqlite:///"))


def execute(path: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(statement)


async def refused(settings: StoreSettings) -> str:
    with pytest.raises(StoreUnusable) as caught:
        await Store.open(settings)
    assert not caught.value.temporary
    return str(caught.value)


async def test_a_missing_store_is_refused_and_not_created(tmp_path: Path) -> None:
    path = tmp_path / "store.db"

    assert "run mail2sms migrate" in await refused(StoreSettings(url=f"sqlite:///{path}"))
    assert not path.exists()


async def test_an_empty_store_is_refused(tmp_path: Path, postgres: PostgresServer) -> None:
    path = tmp_path / "store.db"
    execute(path, "PRAGMA journal_mode=WAL")
    postgres.create("empty")

    assert "run mail2sms migrate" in await refused(StoreSettings(url=f"sqlite:///{path}"))
    assert "run mail2sms migrate" in await refused(StoreSettings(url=postgres.url("empty")))


def garble(path: Path) -> None:
    path.write_bytes(b"these are the accounts of 2019\n" * 1000)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def overwrite_schema(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[100:2000] = bytes(1900)
    path.write_bytes(content)


def drop_table(path: Path) -> None:
    execute(path, "DROP TABLE attempt")


def drop_column(path: Path) -> None:
    execute(path, "ALTER TABLE sms DROP COLUMN reason")


@pytest.mark.parametrize("damage", [garble, truncate, overwrite_schema, drop_table, drop_column])
async def test_a_damaged_store_is_refused(sqlite_settings: StoreSettings, damage: Callable[[Path], None]) -> None:
    damage(path_of(sqlite_settings))

    assert "restore a backup" in await refused(sqlite_settings)


async def test_a_store_of_a_newer_version_is_refused(settings: StoreSettings, store: Store) -> None:
    await change(store, "UPDATE alembic_version SET version_num = '9999'")

    assert "newer version" in await refused(settings)
    with pytest.raises(StoreUnusable, match="newer version"):
        await migrate(settings)


async def test_a_store_of_an_older_version_is_refused(settings: StoreSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "_newest", lambda: "9999")

    assert "run mail2sms migrate" in await refused(settings)


async def test_sqlite_without_write_ahead_log_is_refused_until_migrated(sqlite_settings: StoreSettings) -> None:
    execute(path_of(sqlite_settings), "PRAGMA journal_mode=DELETE")

    assert "not wal: run mail2sms migrate" in await refused(sqlite_settings)
    await migrate(sqlite_settings)
    await (await Store.open(sqlite_settings)).close()


async def test_postgresql_that_does_not_wait_for_its_commits_is_refused(
    postgres: PostgresServer, postgres_settings: StoreSettings
) -> None:
    name = sql.Identifier(postgres_settings.url.split("/")[3].partition("?")[0])
    postgres.execute(sql.SQL("ALTER DATABASE {} SET synchronous_commit = off").format(name))

    assert "synchronous_commit is off" in await refused(postgres_settings)


async def test_every_sqlite_connection_is_durable(sqlite_settings: StoreSettings, sqlite_store: Store) -> None:
    database = sqlite_store._database
    assert isinstance(database, SqliteDatabase)
    everybody = threading.Barrier(sqlite_settings.connections)

    def look(connection: sa.Connection) -> list[object]:
        pragmas = ("journal_mode", "synchronous", "foreign_keys", "journal_size_limit")
        return [connection.scalar(sa.text(f"PRAGMA {pragma}")) for pragma in pragmas]

    def look_with_the_others(connection: sa.Connection) -> list[object]:
        everybody.wait(timeout=10)
        return look(connection)

    async with asyncio.TaskGroup() as group:
        readers = [group.create_task(database.read(look_with_the_others)) for _ in range(sqlite_settings.connections)]

    found = [await database.write(lambda: look), *(reader.result() for reader in readers)]
    assert found == [["wal", 2, 1, 67_108_864]] * 5


async def test_a_store_that_is_not_reached_is_unavailable(tmp_path: Path) -> None:
    settings = StoreSettings(url=f"postgresql://nobody@/x?host={tmp_path}", deadline_s=10)
    with pytest.raises(StoreUnavailable) as caught:
        await Store.open(settings)

    assert caught.value.temporary


async def test_a_flush_that_somebody_stands_in_the_way_of_says_so(
    sqlite_settings: StoreSettings, sqlite_store: Store
) -> None:
    """The daemon spends its reserve for a full disk, and must not for this."""
    with contextlib.closing(sqlite3.connect(path_of(sqlite_settings), isolation_level=None)) as shell:
        shell.execute("BEGIN")
        shell.execute("SELECT count(*) FROM mail").fetchone()
        await sqlite_store.admit(new_order())
        with pytest.raises(StoreUnavailable, match="locked by somebody else") as raised:
            await sqlite_store.flush()

    assert is_locked(raised.value)
    await sqlite_store.flush()


async def test_a_store_replaced_while_in_use_is_noticed(sqlite_settings: StoreSettings, sqlite_store: Store) -> None:
    path = path_of(sqlite_settings)
    path.rename(path.with_suffix(".old"))
    with pytest.raises(StoreUnusable, match="no store"):
        await sqlite_store.ping()

    path.write_bytes(b"")
    with pytest.raises(StoreUnusable, match="replaced"):
        await sqlite_store.ping()


async def test_what_was_stored_is_there_after_reopening(settings: StoreSettings) -> None:
    store = await Store.open(settings)
    await store.admit(new_order())
    await store.close()
    again = await Store.open(settings)

    assert (await again.backlog()).sms["queued"] == 1
    await again.close()


@pytest.mark.parametrize(
    "url", ["mysql://h/x", "sqlite://", "sqlite:///:memory:", "postgresql://host", "postgresql+psycopg2://h/x", "x"]
)
def test_an_address_that_names_no_store_is_refused(url: str) -> None:
    with pytest.raises(pydantic.ValidationError, match="url"):
        StoreSettings(url=url)


@pytest.mark.parametrize("url", ["sqlite://:memory:", "postgresql://u@h:port/d"])
def test_what_is_wrong_with_an_address_is_said_in_words(url: str) -> None:
    with pytest.raises(pydantic.ValidationError, match="not a database address"):
        StoreSettings(url=url)


@pytest.mark.parametrize("url", ["postgresql://u:hidden@h/d", "postgresql://u@h/d?password=hidden"])
def test_an_address_with_a_password_is_refused(url: str) -> None:
    with pytest.raises(pydantic.ValidationError, match="PGPASSFILE"):
        StoreSettings(url=url)


@pytest.mark.parametrize("name", ["a store%20.db", "a?b#c.db", "é.db"])
async def test_any_file_name_will_do(tmp_path: Path, name: str) -> None:
    # what an address may hold literally: a question mark is written %3F
    settings = StoreSettings(url=f"sqlite:///{tmp_path}/{name.replace('%', '%25').replace('?', '%3F')}")
    await migrate(settings)
    await (await Store.open(settings)).close()

    assert name in {path.name for path in await asyncio.to_thread(lambda: list(tmp_path.iterdir()))}


@pytest.mark.parametrize("loss", [Path.unlink, lambda path: path.rename(path.with_name("elsewhere"))])
async def test_nothing_is_stored_into_a_file_that_is_gone(
    sqlite_settings: StoreSettings, sqlite_store: Store, loss: Callable[[Path], object]
) -> None:
    loss(path_of(sqlite_settings))

    with pytest.raises(StoreUnusable, match="if there was one, restore it"):
        await sqlite_store.admit(new_order())


async def test_a_file_of_nothing_is_not_to_be_migrated_without_a_thought(sqlite_settings: StoreSettings) -> None:
    os.truncate(path_of(sqlite_settings), 0)

    assert "if there was one, restore it" in await refused(sqlite_settings)


async def test_a_store_that_does_not_say_its_version_is_refused(sqlite_settings: StoreSettings) -> None:
    execute(path_of(sqlite_settings), "DELETE FROM alembic_version")

    assert "does not say its version" in await refused(sqlite_settings)


async def test_a_directory_is_no_store(tmp_path: Path) -> None:
    assert "is not a file" in await refused(StoreSettings(url=f"sqlite:///{tmp_path}"))
