"""A gateway on loopback: its configuration, a carrier in a box, a mailbox for the reports."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from gateway.config import Config, load
from gateway.sandbox import Sandbox
from gateway.smtp.mailbox import Mailbox
from gateway.store import migrate

TEMPLATE = """\
[smtp]
hostname = "gw.example.org"
listen = ["127.0.0.1:0"]
recipients = ["sendsms@gw.example.org"]

[http]
listen = "127.0.0.1:0"

[reports]
smarthost = "{smarthost}"
sender = "sendsms@gw.example.org"

[[accounts]]
name = "masociete"
keyid = "a296464ce012b8ab710a"
domains = ["masociete.com"]
mail = "it@agency.example"
providers = ["carrier"]

[[providers]]
name = "carrier"
kind = "sandbox"
base_url = "{carrier}/cgi-bin"
"""

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
    smarthost = f"{mailbox.address[0]}:{mailbox.address[1]}"
    path.write_text(TEMPLATE.format(smarthost=smarthost, carrier=sandbox.url))
    path.chmod(0o600)
    loaded = load(path, environ={})
    await migrate(loaded.store)
    return loaded
