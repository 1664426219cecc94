"""A fresh SQLite store that tells what moves, and a clock that moves by hand."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.store import StoreSettings, migrate
from tests.stages.rig import WatchedStore
from tests.support.clock import ManualClock


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file to copy."""
    path = tmp_path_factory.mktemp("template") / "store.db"
    asyncio.run(migrate(StoreSettings(url=f"sqlite:///{path}")))
    return path


@pytest.fixture
async def store(template: Path, tmp_path: Path) -> AsyncIterator[WatchedStore]:
    path = tmp_path / "store.db"
    shutil.copy(template, path)
    opened = await WatchedStore.open(StoreSettings(url=f"sqlite:///{path}"))
    yield opened
    await opened.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()
