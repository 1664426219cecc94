"""A console that answers on loopback, and browsers for it."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from gateway.console.app import Console
from gateway.console.surroundings import Place
from gateway.store import Store, StoreSettings, migrate
from gateway.web import HttpServer, health_app
from tests.console.house import House, Operator
from tests.support.clock import ManualClock
from tests.support.gauges import quiet_gauges


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store to copy."""
    path = tmp_path_factory.mktemp("console") / "store.db"
    asyncio.run(migrate(StoreSettings(url=f"sqlite:///{path}")))
    return path


@pytest.fixture
async def house(migrated: Path, tmp_path: Path) -> AsyncIterator[House]:
    path = tmp_path / "store.db"
    shutil.copy(migrated, path)
    store = await Store.open(StoreSettings(url=f"sqlite:///{path}"))
    yield House(store=store, clock=ManualClock())
    await store.close()


@asynccontextmanager
async def served(house: House, place: Place) -> AsyncIterator[House]:
    """The console of the house answers until the block ends."""

    async def find_obstacles() -> Sequence[str]:
        return house.obstacles

    app = health_app(
        find_obstacles=find_obstacles,
        gauges=quiet_gauges(house.clock),
        more_routes=Console(house.around(place)).routes,
    )
    server = HttpServer(app, listen="127.0.0.1:0")
    host, port = await server.bind()
    house.base_url = f"http://{host}:{port}"
    async with asyncio.TaskGroup() as group:
        group.create_task(server.serve(), name="http")
        try:
            yield house
        finally:
            server.stop()


@pytest.fixture
async def console(house: House) -> AsyncIterator[House]:
    async with served(house, Place()) as opened:
        yield opened


@pytest.fixture
async def operator(console: House) -> AsyncIterator[Operator]:
    async with httpx.AsyncClient(base_url=console.base_url) as client:
        yield Operator(client)
