"""A gateway on loopback: its configuration, a carrier in a box, a mailbox for the reports."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from gateway.config import Config, load
from gateway.sandbox import Sandbox
from gateway.smtp.mailbox import Mailbox
from gateway.store import migrate
from tests.support.configuration import write_config

Write = Callable[[str], Config]


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as opened:
        yield opened


@pytest.fixture
async def mailbox() -> AsyncIterator[Mailbox]:
    async with Mailbox() as opened:
        yield opened


@pytest.fixture
async def config(tmp_path: Path, sandbox: Sandbox, mailbox: Mailbox) -> Config:
    """A configuration whose store exists."""
    path = tmp_path / "gateway.toml"
    write_config(
        path,
        smarthost=mailbox.address,
        carrier=sandbox.url,
        account={"mail": "it@agency.example"},
        http={"listen": "127.0.0.1:0"},
    )
    loaded = load(path, environ={})
    await migrate(loaded.store)
    return loaded
