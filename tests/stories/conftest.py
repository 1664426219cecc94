"""A gateway with an account for each thing that can go wrong, on a Sunday evening."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.clock import SystemClock
from gateway.config import Config, load
from gateway.sandbox import Sandbox
from gateway.smtp.mailbox import Mailbox
from gateway.store import migrate
from tests.support.configuration import NOBODY, write_config

SUNDAY = datetime(2026, 11, 22, 20, 30, tzinfo=UTC)


class SundayClock(SystemClock):
    """Begins on a Sunday evening, when commercial SMS may not go, and runs on from there."""

    def __init__(self) -> None:
        self._began = self.monotonic()

    def now(self) -> datetime:
        return SUNDAY + timedelta(seconds=self.monotonic() - self._began)


def key_of(name: str) -> str:
    """The keyid of an account."""
    return f"{name:x<20}"


def account(name: str, **settings: object) -> dict[str, object]:
    return {"name": name, "keyid": key_of(name), "domains": [f"{name}.example"], **settings}


ACCOUNTS = (
    account("pub", commercial=True),
    account("attend", commercial=True, outside_hours="hold"),
    account("pauvre"),
    account("strict", mode="strict"),
    account("nomme", originators=["MaSociete"]),
    account("ailleurs", networks=["192.0.2.0/24"]),
    account("panne", providers=["broken"]),
    account("refuse", providers=["other"]),
    account("court", too_long="refuse"),
)


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as opened:
        yield opened


@pytest.fixture
async def mailbox() -> AsyncIterator[Mailbox]:
    async with Mailbox() as opened:
        yield opened


@pytest.fixture
def path(tmp_path: Path, sandbox: Sandbox, mailbox: Mailbox) -> Path:
    return write_config(
        tmp_path / "gateway.toml",
        smarthost=mailbox.address,
        carrier=sandbox.url,
        more_accounts=ACCOUNTS,
        more_providers=[
            {"name": "broken", "base_url": f"http://{NOBODY}/cgi-bin"},
            {"name": "other"},
        ],
        smtp={"max_mail_bytes": 65_536},
        http={"listen": "127.0.0.1:0"},
    )


@pytest.fixture
async def config(path: Path) -> Config:
    """A configuration whose store exists."""
    loaded = load(path, environ={})
    await migrate(loaded.store)
    return loaded
