"""`migrate`, and the tables it makes: the same as those of the code."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.exc import IntegrityError

from gateway.lifecycle import ReportState, SmsState
from gateway.store import Migrated, Store, StoreSettings, StoreUnusable, migrate, tables
from tests.store.revisions import NEWEST
from tests.store.samples import LATER, change, claim, new_order, new_report, new_sms, rows
from tests.store.test_open import execute
from tests.support.clock import START
from tests.support.postgres import PostgresServer


def modes(directory: Path) -> set[int]:
    return {file.stat().st_mode & 0o777 for file in directory.iterdir()}


async def test_migrate_creates_a_store_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    settings = StoreSettings(url=f"sqlite:///{path}")

    assert await migrate(settings) == Migrated(from_revision=None, to_revision=NEWEST)
    assert path.stat().st_mode & 0o777 == 0o600
    store = await Store.open(settings)
    await store.admit(new_order())
    assert modes(tmp_path) == {0o600}
    await store.close()


async def test_migrate_twice_changes_nothing(settings: StoreSettings, store: Store) -> None:
    await store.admit(new_order())
    before = await rows(store, tables.mail)
    await store.close()

    assert await migrate(settings) == Migrated(from_revision=NEWEST, to_revision=NEWEST)
    again = await Store.open(settings)
    assert await rows(again, tables.mail) == before
    await again.close()


async def test_nodes_that_migrate_at_the_same_time_wait_for_one_another(postgres: PostgresServer) -> None:
    postgres.create("together")
    settings = StoreSettings(url=postgres.url("together"))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(migrate(settings)) for _ in range(3)]

    assert sorted(str(task.result().from_revision) for task in tasks) == [NEWEST, NEWEST, "None"]


async def test_migrate_leaves_another_database_alone(tmp_path: Path) -> None:
    path = tmp_path / "accounts.db"
    execute(path, "CREATE TABLE invoice (id)")
    before = path.read_bytes()
    with pytest.raises(StoreUnusable, match="something else"):
        await migrate(StoreSettings(url=f"sqlite:///{path}"))

    assert path.read_bytes() == before


async def test_migrate_says_which_folder_is_missing_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StoreUnusable, match=f"there is no folder {tmp_path}/nowhere: .* in .store. wrong.* make it"):
        await migrate(StoreSettings(url=f"sqlite:///{tmp_path}/nowhere/store.db"))


async def test_migrate_says_where_it_cannot_create(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnusable, match=f"{tmp_path}/file/store.db cannot be created: Not a directory"):
        await migrate(StoreSettings(url=f"sqlite:///{tmp_path}/file/store.db"))


async def test_migrations_give_the_tables_of_the_code(store: Store) -> None:
    def differences(connection: sa.Connection) -> list[Any]:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        return list(compare_metadata(context, tables.metadata))

    assert await store._database.read(differences) == []


async def test_migrations_give_the_constraints_and_indexes_of_the_code(store: Store) -> None:
    def describe(connection: sa.Connection) -> dict[str, Any]:
        inspector = sa.inspect(connection)
        return {
            name: {
                "columns": [
                    (each["name"], str(each["type"]), each["nullable"]) for each in inspector.get_columns(name)
                ],
                "key": inspector.get_pk_constraint(name),
                "foreign": sorted(map(str, inspector.get_foreign_keys(name))),
                "unique": sorted(map(str, inspector.get_unique_constraints(name))),
                "checks": sorted(map(str, inspector.get_check_constraints(name))),
                "indexes": sorted(
                    str({key: str(value) for key, value in each.items() if key != "dialect_options"})
                    + str({key: str(value) for key, value in each.get("dialect_options", {}).items()})
                    for each in inspector.get_indexes(name)
                ),
            }
            for name in tables.metadata.tables
        }

    def from_the_code(connection: sa.Connection) -> dict[str, Any]:
        tables.metadata.drop_all(connection)
        tables.metadata.create_all(connection)
        return describe(connection)

    migrated = await store._database.read(describe)

    assert migrated == await store._database.write(lambda: from_the_code)
    assert "ck_sms_settled_if_final" in str(migrated["sms"]["checks"])
    assert "ix_sms_lane" in str(migrated["sms"]["indexes"])


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE sms SET state = 'lost'",
        "UPDATE sms SET state = 'delivered'",  # final, and not settled
        "UPDATE sms SET settled_at = since_at",  # settled, and not final
        "UPDATE sms SET state = 'sending'",  # without a lease
        "UPDATE sms SET lease_until = since_at",
        "UPDATE sms SET tracker = NULL",
        "UPDATE sms SET attempts = 1",
        "UPDATE report SET state = 'lost'",
        "UPDATE report SET state = 'sent'",
        "UPDATE report SET kind = 'mail'",
        "UPDATE report SET mail_id = NULL",
        "UPDATE envoi SET report_format = 'html'",
        "UPDATE sms SET envoi_id = 'NOBODY'",
        "UPDATE attempt SET verdict = 'queued', ended_at = begun_at",
        "UPDATE attempt SET learnt = 'lost'",
        "UPDATE attempt SET ended_at = begun_at",
        "UPDATE attempt SET verdict = 'lost'",
    ],
)
async def test_rows_that_contradict_the_lifecycle_are_refused(store: Store, statement: str) -> None:
    await store.admit(new_order(new_sms(1), new_sms(2, due_at=LATER)))
    await claim(store)  # the first
    with pytest.raises(IntegrityError):
        await change(store, statement)


@pytest.mark.parametrize(("table", "members"), [(tables.sms, SmsState), (tables.report, ReportState)])
async def test_the_checks_know_every_state(
    store: Store, table: sa.Table, members: type[SmsState] | type[ReportState]
) -> None:
    await store.admit(new_order(new_sms(), reports=(new_report(),)))
    for state in members:
        values = {
            "state": state,
            "settled_at": START if state.is_final else None,
            "lease_until": START if state.value == "sending" else None,
        }
        await change(store, table.update().values(values))

        assert len(await rows(store, table, state=state)) == 1
