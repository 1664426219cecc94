"""Every test that asks for `store` runs on SQLite and on PostgreSQL."""

import asyncio
import itertools
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.store import Store, StoreSettings, migrate
from tests.support.postgres import PostgresServer, postgres_server

_TEMPLATE = "mail2sms_template"
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file to copy."""
    path = tmp_path_factory.mktemp("template") / "store.db"
    asyncio.run(migrate(StoreSettings(url=f"sqlite:///{path}")))
    return path


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The one server of the run, with a migrated database to copy."""
    with postgres_server() as server:
        server.create(_TEMPLATE)
        asyncio.run(migrate(StoreSettings(url=server.url(_TEMPLATE))))
        yield server


@pytest.fixture
def sqlite_settings(sqlite_template: Path, tmp_path: Path) -> StoreSettings:
    path = tmp_path / "store.db"
    shutil.copy(sqlite_template, path)
    return StoreSettings(url=f"sqlite:///{path}")


@pytest.fixture
def postgres_settings(postgres: PostgresServer) -> Iterator[StoreSettings]:
    name = f"test_{next(_numbers)}"
    postgres.create(name, template=_TEMPLATE)
    yield StoreSettings(url=postgres.url(name))
    postgres.drop(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest) -> StoreSettings:
    """A fresh, migrated, empty store."""
    found = request.getfixturevalue("sqlite_settings" if request.param == "sqlite" else "postgres_settings")
    assert isinstance(found, StoreSettings)
    return found


@pytest.fixture
async def store(settings: StoreSettings) -> AsyncIterator[Store]:
    opened = await Store.open(settings)
    yield opened
    await opened.close()


@pytest.fixture
async def other(settings: StoreSettings) -> AsyncIterator[Store]:
    """A second node on the same rows."""
    opened = await Store.open(settings)
    yield opened
    await opened.close()


@pytest.fixture
async def sqlite_store(sqlite_settings: StoreSettings) -> AsyncIterator[Store]:
    """For what is decided before any database is asked."""
    opened = await Store.open(sqlite_settings)
    yield opened
    await opened.close()
