"""A sandbox, and a client of it."""

from collections.abc import AsyncIterator

import httpx
import pytest

from gateway.sandbox import Api, Sandbox, SandboxOptions
from tests.sandbox.calls import DEADLINE_S
from tests.sandbox.listener import Listener, listening
from tests.support.clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def sandbox(clock: ManualClock) -> AsyncIterator[Sandbox]:
    async with Sandbox(clock=clock, options=SandboxOptions(receipt_delay_s=0)) as sandbox:
        yield sandbox


@pytest.fixture
async def listener(sandbox: Sandbox) -> AsyncIterator[Listener]:
    """A client that both carriers know the address of."""
    async with listening() as listener:
        sandbox.call_back(Api.ISENDPRO, f"{listener.url}/isendpro")
        sandbox.call_back(Api.SMSPARTNER, f"{listener.url}/smspartner")
        yield listener


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=sandbox.url, timeout=DEADLINE_S, trust_env=False) as client:
        yield client
