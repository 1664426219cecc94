"""Stores of the revisions before, with rows in them: after `migrate` every row is what it was, and work goes on."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command

from gateway.lifecycle import SmsEvent
from gateway.protocol.codes import Code
from gateway.store import Migrated, Store, StoreSettings, migrate, schema, tables
from gateway.store.base import Refusal
from gateway.store.database import Database, connect, create_sqlite_file, sqlite_path
from tests.store.revisions import NEWEST
from tests.store.samples import (
    LATER,
    NotMaker,
    claim,
    claim_reports,
    new_mail,
    new_order,
    new_report,
    new_sms,
    rows,
    settlement,
)
from tests.support.clock import START
from tests.support.postgres import PostgresServer

Rows = dict[str, list[dict[str, Any]]]


@pytest.fixture
def old_settings(settings: StoreSettings, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[StoreSettings]:
    """An empty database, of the same kind as the store."""
    if sqlite_path(settings) is not None:
        create_sqlite_file(tmp_path / "old.db")
        yield StoreSettings(url=f"sqlite:///{tmp_path}/old.db")
        return
    server = request.getfixturevalue("postgres")
    assert isinstance(server, PostgresServer)
    server.create("upgraded")
    yield StoreSettings(url=server.url("upgraded"))
    server.drop("upgraded")


async def fill(store: Store) -> None:
    """There is an SMS in each of several states, with reports, and a mail that was refused."""
    await store.admit(new_order(new_sms(1), new_sms(2, due_at=LATER), reports=[new_report()]))
    await store.admit(new_order(new_sms(3), reports=[new_report()]))
    first, second = await claim(store)
    await store.settle_sms([settlement(first, SmsEvent.TAKEN, code=Code.C0_SENT)], START, NotMaker())
    await store.settle_sms([settlement(second, SmsEvent.REFUSED, code=Code.C21_NUMBER_UNASSIGNED)], START, NotMaker())
    await claim_reports(store, limit=1)
    await store.refuse(
        Refusal(
            id=new_mail().id,
            refused_at=START,
            peer="192.0.2.1",
            listener="127.0.0.1:2525",
            envelope_from="a@acme.example",
            header_from=None,
            message_id=None,
            account=None,
            reply="550 5.7.1 no",
            cause="unknown",
            reports=(new_report(),),
        )
    )


async def upgrade(database: Database, revision: str) -> None:
    """The database is of this revision."""

    def step(connection: sa.Connection) -> None:
        config = schema._config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)

    await database.write(lambda: step)


async def copy_rows(database: Database, found: Rows) -> None:
    """Each of the rows is there, as far as the tables and columns of this revision go."""

    def step(connection: sa.Connection) -> None:
        there = sa.MetaData()
        there.reflect(connection)
        for table in there.sorted_tables:
            for values in found.get(table.name, []):
                known = {name: value for name, value in values.items() if name in table.columns}
                connection.execute(tables.metadata.tables[table.name].insert().values(known))

    await database.write(lambda: step)


async def read_rows(store: Store) -> Rows:
    return {table.name: await rows(store, table) for table in tables.metadata.sorted_tables}


@pytest.mark.slow
@pytest.mark.parametrize("revision", ["0004", "0005", "0006"])
async def test_an_upgrade_keeps_every_row(store: Store, old_settings: StoreSettings, revision: str) -> None:
    await fill(store)
    before = await read_rows(store)
    database = connect(old_settings, must_be_wal=False)
    await upgrade(database, revision)
    await copy_rows(database, before)
    await database.close()

    assert await migrate(old_settings) == Migrated(from_revision=revision, to_revision=NEWEST)
    upgraded = await Store.open(old_settings)
    after = await read_rows(upgraded)
    await upgraded.close()
    assert after == before
    assert {name for name in before if before[name]} >= {"mail", "envoi", "sms", "attempt", "report", "refusal"}
