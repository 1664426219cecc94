"""A configuration on loopback whose store exists, and a look at it."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import pytest
import tomlkit

from gateway.clock import Clock, SystemClock
from gateway.config import Config, load
from gateway.doctor import Checkup, Finding, Level, Section, examine
from gateway.store import migrate
from tests.support.configuration import write_config
from tests.support.dns import DnsServer, dns_server

KEY = "a296464ce012b8ab710a"
NOTHING: Mapping[str, str] = MappingProxyType({})

Write = Callable[..., Config]


@pytest.fixture
async def zone() -> AsyncIterator[DnsServer]:
    """The only DNS server there is."""
    async with dns_server() as server:
        server.add("gw.example.org", "A", "192.0.2.25")
        yield server


@pytest.fixture
def write(tmp_path: Path, zone: DnsServer) -> Write:
    """Return a function that writes a configuration, as `write_config` takes it, and loads it."""

    def write_it(*, users: Sequence[Mapping[str, object]] = (), **wanted: object) -> Config:
        path = write_config(tmp_path / "gateway.toml", **{"senders": {"dns_servers": [zone.server]}, **wanted})
        with path.open("a", encoding="utf-8") as file:
            file.writelines(f"\n[[users]]\n{tomlkit.dumps(user)}" for user in users)
        return load(path, environ={})

    return write_it


@pytest.fixture
async def config(write: Write) -> Config:
    """One whose store exists."""
    written = write(provider={"keyid": KEY})
    await migrate(written.store)
    return written


async def look(
    config: Config,
    *only: Section,
    clock: Clock | None = None,
    environ: Mapping[str, str] = NOTHING,
    look_s: float = 30.0,
) -> Checkup:
    """Return what was found in these sections."""
    return await examine(config, clock=clock or SystemClock(), environ=environ, only=only, look_s=look_s)


def told(checkup: Checkup, level: Level | None = None) -> list[str]:
    """Return what was said, of one level or of all."""
    return [finding.what for finding in checkup.findings if level is None or finding.level is level]


def find(checkup: Checkup, *words: str) -> Finding:
    """Return the one finding that has these words."""
    found = [one for one in checkup.findings if all(word in one.what for word in words)]
    assert len(found) == 1, (words, told(checkup))
    return found[0]


def levels(checkup: Checkup) -> Collection[Level]:
    """Return every level that there is."""
    return {finding.level for finding in checkup.findings}
