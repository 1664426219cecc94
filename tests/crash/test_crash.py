"""The real command killed and stopped in the middle of its work, again and again; nothing is lost, nothing is double.

More rounds: CRASH_ROUNDS=60 in the environment.
"""

import asyncio
import os
import random
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from string import Template

import pytest

from gateway.sandbox import Sandbox
from gateway.smtp.mailbox import Mailbox
from tests.crash.count import count_doubles, find_wrongs, is_complete
from tests.crash.relay import Relay
from tests.support.gateway import GatewayProcess, run_command, serve

ROUNDS = int(os.environ.get("CRASH_ROUNDS", "8"))
LONGEST_S = 1.5
CALL_S = 0.02  # long enough that a kill finds calls under way
DEADLINE_S = 60.0

CONFIG = Template("""\
[smtp]
hostname = "gw.example.org"
listen = ["127.0.0.1:0"]
recipients = ["sendsms@gw.example.org"]

[store]
url = "sqlite:///gateway.db"

[reports]
smarthost = "$smarthost"
sender = "sendsms@gw.example.org"

[janitor]
every_s = 0.5
reconcile_window_s = 1

[[accounts]]
name = "masociete"
keyid = "a296464ce012b8ab710a"
domains = ["masociete.com"]
providers = ["carrier"]

[[providers]]
name = "carrier"
kind = "isendpro"
base_url = "$carrier/cgi-bin"
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was counted at the end."""

    wrongs: list[str]
    double_reports: int
    unsent: int  # SMS that never reached the carrier
    log: str


async def prepare(folder: Path, mailbox: Mailbox, sandbox: Sandbox) -> Path:
    """A configuration and an empty store are there."""
    host, port = mailbox.address
    config = folder / "gateway.toml"
    config.write_text(CONFIG.substitute(smarthost=f"{host}:{port}", carrier=sandbox.url))
    migrated = await run_command("migrate", "--config", str(config))
    assert migrated.status == 0, migrated.stderr
    sandbox.misbehave("slow", delay_s=CALL_S)
    return config


async def put_to_the_test(folder: Path, rounds: int, end: Callable[[GatewayProcess], Awaitable[None]]) -> Found:
    """Run the gateway so many times under load, `end` it at any moment, then let it finish; count."""
    async with Mailbox() as mailbox, Sandbox() as sandbox:
        config = await prepare(folder, mailbox, sandbox)
        async with Relay() as relay:
            for _ in range(rounds):
                async with serve(config) as gateway:
                    relay.go_to(gateway.smtp)
                    await asyncio.sleep(random.uniform(0, LONGEST_S))
                    relay.pause()
                    await end(gateway)
            async with serve(config) as gateway:
                relay.go_to(gateway.smtp)
                await relay.finish()
                await mailbox.wait_for(lambda mails: is_complete(mails, relay.taken), timeout_s=DEADLINE_S)
                await gateway.stop()
        return Found(
            wrongs=find_wrongs(relay.taken, sandbox.messages, mailbox.mails),
            double_reports=count_doubles(mailbox.mails),
            unsent=len(relay.numbers) - len(sandbox.messages),
            log=gateway.read_log(),
        )


@pytest.mark.slow
@pytest.mark.timeout(120 + 5 * ROUNDS)
async def test_kill_9_at_any_moment_loses_nothing_and_sends_nothing_twice(tmp_path: Path) -> None:
    found = await put_to_the_test(tmp_path, ROUNDS, GatewayProcess.kill)

    assert found.wrongs == []
    assert "Traceback" not in found.log


@pytest.mark.slow
@pytest.mark.timeout(120 + 5 * ROUNDS)
async def test_a_stop_at_any_moment_finishes_what_is_begun(tmp_path: Path) -> None:
    async def stop(gateway: GatewayProcess) -> None:
        assert await gateway.stop() == 0

    found = await put_to_the_test(tmp_path, ROUNDS // 2, stop)

    assert found.wrongs == []
    assert (found.unsent, found.double_reports) == (0, 0)
    assert "Traceback" not in found.log


@pytest.mark.slow
@pytest.mark.timeout(120 + 5 * ROUNDS)
async def test_a_second_signal_at_any_moment_loses_nothing_and_sends_nothing_twice(tmp_path: Path) -> None:
    async def cut(gateway: GatewayProcess) -> None:
        gateway.send_signal(signal.SIGTERM)
        await asyncio.sleep(random.uniform(0, CALL_S))
        if gateway.process.returncode is None:
            gateway.send_signal(signal.SIGTERM)
        assert await gateway.wait() in {0, 1}

    found = await put_to_the_test(tmp_path, ROUNDS // 2, cut)

    assert found.wrongs == []
