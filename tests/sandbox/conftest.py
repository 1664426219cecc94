"""A sandbox, and a client of it."""

from collections.abc import AsyncIterator

import httpx
import pytest

from gateway.sandbox import Sandbox
from tests.sandbox.calls import DEADLINE_S
from tests.support.clock import ManualClock


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(clock=ManualClock()) as sandbox:
        yield sandbox


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=sandbox.url, timeout=DEADLINE_S, trust_env=False) as client:
        yield client
