"""A gateway of our own to play against: the real command as a process, with a carrier sandbox behind it."""

import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.clock import SystemClock
from gateway.conformance import Identity, Level, Play, Target
from gateway.conformance.play import QUIET_S
from gateway.sandbox import Sandbox
from tests.support.configuration import write_config
from tests.support.gateway import run_command, serve

OTHER_DOMAIN = "mairie.example"
OTHER_KEYID = "5f0b1d8f0c7e4c0d9a3b2e1f6a7d8c9b"
IDENTITY = Identity(
    key="a296464ce012b8ab710a",
    domain="masociete.com",
    recipient="sendsms@isendpro-api.com",
    sender="alerte@masociete.com",
    other_domain=OTHER_DOMAIN,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """Where everything listens; the kit itself is to listen at `reports`."""

    smtp: tuple[str, int]
    reports: tuple[str, int]
    sandbox: str

    @property
    def arguments(self) -> tuple[str, ...]:
        """What `mail2sms conformance` is called with."""
        address, reports = ("{}:{}".format(*one) for one in (self.smtp, self.reports))
        return (address, "--reports", reports, "--sandbox", self.sandbox, "--other-domain", OTHER_DOMAIN)

    def play(self, level: Level = Level.LENIENT, *, timeout_s: float = 20.0, quiet_s: float = QUIET_S) -> Play:
        """Return a play that has not begun."""
        target = Target(smtp=self.smtp, reports=self.reports, sandbox=self.sandbox)
        return Play(target, IDENTITY, level=level, timeout_s=timeout_s, quiet_s=quiet_s, clock=SystemClock())


@asynccontextmanager
async def house(folder: Path, *, mode: str = "lenient", env: Mapping[str, str] | None = None) -> AsyncIterator[House]:
    """Run a gateway in this reading mode until the block ends."""
    reports = ("127.0.0.1", free_port())
    async with Sandbox() as sandbox:
        config = write_config(
            folder / "gateway.toml",
            smarthost=reports,
            carrier=sandbox.url,
            smtp={"recipients": [IDENTITY.recipient], "mode": mode},
            reports={"sender": IDENTITY.recipient},
            more_accounts=[{"name": "mairie", "keyid": OTHER_KEYID, "domains": [OTHER_DOMAIN]}],
        )
        migrated = await run_command("migrate", "--config", str(config))
        assert migrated.status == 0, migrated.stderr
        async with serve(config, env=env) as gateway:
            yield House(smtp=gateway.smtp, reports=reports, sandbox=sandbox.url)


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
