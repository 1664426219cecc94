"""The real command, and the processes that read its mails killed at any moment; and that none of them outlives it."""

import asyncio
import os
import random
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.sandbox import Sandbox
from gateway.smtp.mailbox import Mailbox
from tests.crash.count import find_wrongs, is_complete
from tests.crash.relay import Relay
from tests.crash.test_crash import DEADLINE_S, ROUNDS, prepare
from tests.support.gateway import GatewayProcess, serve

KILLS = 10 * ROUNDS
LONGEST_S = 0.1
CRASHED = "reader_replaced"


def children_of(gateway: GatewayProcess) -> list[int]:
    """Return the process ids of its children."""
    pid = gateway.process.pid
    with suppress(FileNotFoundError, ProcessLookupError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def is_running(pid: int) -> bool:
    """True while the process is there; a zombie is gone."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


async def until_gone(pids: list[int]) -> None:
    async with asyncio.timeout(10):
        while any(map(is_running, pids)):  # noqa: ASYNC110 not our children: there is nothing to wait for
            await asyncio.sleep(0.01)


@pytest.mark.slow
@pytest.mark.timeout(180 + KILLS)
async def test_mails_whose_readers_are_killed_get_250_or_451_and_none_is_lost(tmp_path: Path) -> None:
    async with Mailbox() as mailbox, Sandbox() as sandbox:
        config = await prepare(tmp_path, mailbox, sandbox)
        async with serve(config) as gateway, Relay() as relay:
            relay.go_to(gateway.smtp)
            for _ in range(KILLS):
                await asyncio.sleep(random.uniform(0, LONGEST_S))
                for pid in random.sample(children := children_of(gateway), k=min(1, len(children))):
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            await relay.finish()
            await mailbox.wait_for(lambda mails: is_complete(mails, relay.taken), timeout_s=DEADLINE_S)
            status = await gateway.stop()

        assert find_wrongs(relay.taken, sandbox.messages, mailbox.mails) == []

    assert status == 0
    assert set(relay.replies) <= {"250", "451"}
    assert CRASHED in gateway.read_log()
    assert "Traceback" not in gateway.read_log()


@pytest.mark.slow
@pytest.mark.parametrize(
    "signals", [[signal.SIGKILL], [signal.SIGTERM], [signal.SIGTERM] * 2], ids=["kill", "stop", "cut"]
)
async def test_no_reader_outlives_the_gateway(tmp_path: Path, signals: list[signal.Signals]) -> None:
    async with Mailbox() as mailbox, Sandbox() as sandbox:
        config = await prepare(tmp_path, mailbox, sandbox)
        async with serve(config) as gateway, Relay() as relay:
            relay.go_to(gateway.smtp)
            await asyncio.sleep(random.uniform(0, LONGEST_S))
            pids = children_of(gateway)
            for number in signals:
                gateway.send_signal(number)
            relay.pause()
            await gateway.wait()
            await until_gone(pids)
            async with serve(config) as second:
                relay.go_to(second.smtp)
                await relay.finish()

    assert len(pids) == 2
