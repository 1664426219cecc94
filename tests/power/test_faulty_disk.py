"""Calls to the disk fail under the running gateway: what is answered 250 is there, what is not is asked for again.

`POWER_FSYNCS=200 tests/run tests/power/test_faulty_disk.py` lets each of the first 200 synchronisations fail in turn.
"""

import asyncio
import contextlib
import errno
import os
import re
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.sandbox import Sandbox
from gateway.smtp.mailbox import Mailbox
from tests.power.count import find_wrongs, is_complete
from tests.power.faulty import FDATASYNC, PRELOADED, PWRITE
from tests.power.recording import write_config
from tests.power.relay import Relay
from tests.support.gateway import GatewayProcess, run_command, serve

FSYNCS = int(os.environ.get("POWER_FSYNCS", "2"))  # the first two are of the log's head, and of the folder
EVERY, TIMES = 15, 12
MAILS = 30
DEADLINE_S = 60.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@dataclass(slots=True)
class Run:
    """A gateway on a faulty disk, its carrier, its smarthost and its clients."""

    config: Path
    database: Path
    sandbox: Sandbox
    mailbox: Mailbox
    relay: Relay = field(default_factory=lambda: Relay(clients=4))

    @property
    def log(self) -> str:
        return self.config.with_suffix(".log").read_text("utf-8", "replace")

    @property
    def faults(self) -> int:
        """How many calls have failed."""
        return len(re.findall("^fault: ", self.log, re.MULTILINE))

    @asynccontextmanager
    async def serve(self, fault: str) -> AsyncIterator[GatewayProcess]:
        """The gateway runs with that fault."""
        env = {"LD_PRELOAD": " ".join(PRELOADED), "POWER_FAULT": fault, "POWER_FAULT_FROM": str(self.trigger)}
        async with serve(self.config, env=env, command=(sys.executable, "-m", "tests.power.faulty")) as gateway:
            self.relay.go_to(gateway.smtp)
            yield gateway

    @property
    def trigger(self) -> Path:
        return self.config.with_suffix(".trigger")

    async def take(self, mails: int) -> None:
        """Return when so many mails have been taken."""
        async with asyncio.timeout(DEADLINE_S):
            while len(self.relay.taken) < mails:  # noqa: ASYNC110 the clients announce nothing
                await asyncio.sleep(0.01)

    async def finish(self) -> list[str]:
        """All that was begun is through; return what is wrong."""
        await self.relay.finish()
        await self.mailbox.wait_for(lambda mails: is_complete(mails, self.relay.taken), timeout_s=DEADLINE_S)
        return find_wrongs(self.relay.taken, self.sandbox.messages, self.mailbox.mails)

    def check(self) -> None:
        """The store is sound, and nobody was told 5xx."""
        with contextlib.closing(sqlite3.connect(self.database)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert {code for code in self.relay.replies if code} <= {"250", "421", "451", "452"}, self.relay.replies
        assert "Traceback" not in self.log


@asynccontextmanager
async def prepare(folder: Path) -> AsyncIterator[Run]:
    async with Mailbox() as mailbox, Sandbox() as sandbox:
        database = folder / "gateway.db"
        config = write_config(folder, database, mailbox, sandbox)
        migrated = await run_command("migrate", "--config", str(config))
        assert migrated.status == 0, migrated.stderr
        yield Run(config, database, sandbox, mailbox)


FAULTS = [
    *(f"range {number} {number}" for number in range(1, FSYNCS + 1)),
    f"every {EVERY} {TIMES}",
]


@pytest.mark.parametrize("which", FAULTS)
async def test_a_failed_synchronisation_loses_nothing_and_repeats_nothing(tmp_path: Path, which: str) -> None:
    is_once = not which.startswith("every")
    async with prepare(tmp_path) as run:
        run.trigger.touch()
        async with run.serve(f"{FDATASYNC} {errno.EIO} {which}") as gateway, run.relay:
            await run.take(MAILS if is_once else 2 * MAILS)
            wrongs = await run.finish()
            status = await gateway.stop()

        assert (wrongs, status) == ([], 0)
        assert run.faults == 1 if is_once else run.faults > TIMES // 2
        # of a folder's synchronisation, the second, SQLite ignores the error: the daemon has done its own at the start
        assert run.log.count('"store_reopened"') == (0 if which == "range 2 2" else run.faults)
        run.check()


async def test_a_disk_that_fails_now_and_then_costs_time_and_nothing_else(tmp_path: Path) -> None:
    async with prepare(tmp_path) as run:
        async with run.serve(f"{PWRITE} {errno.ENOSPC} random 20 40") as gateway, run.relay:
            run.trigger.touch()
            await run.take(3 * MAILS)
            wrongs = await run.finish()
            status = await gateway.stop()

        assert (wrongs, status) == ([], 0)
        assert run.faults > 10
        assert run.relay.replies["452"] > 0
        run.check()


async def test_a_disk_that_goes_on_failing_ends_it_with_4_and_a_sentence(tmp_path: Path) -> None:
    async with prepare(tmp_path) as run:
        async with run.relay:
            async with run.serve(f"{FDATASYNC} {errno.EIO} range 1 1000000") as gateway:
                await run.take(MAILS)
                run.trigger.touch()
                status = await gateway.wait()
                run.relay.pause()
            run.trigger.unlink()
            async with run.serve(f"{FDATASYNC} {errno.EIO} range 1 1"):  # and none fails any more
                wrongs = await run.finish()

        assert status == 4
        assert "cannot be opened again" in run.log
        assert wrongs == []
        run.check()
