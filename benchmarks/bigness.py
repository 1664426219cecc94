"""What the number of rows costs: the steps of the flow on a store of a million SMS, beside those on an empty one.

    python -m benchmarks.bigness FILE [--seconds 5]

FILE is what `python -m benchmarks.bigstore FILE` makes; a copy beside it is worked on. Both stores take turns, so that
what else the machine does falls on both. Beside each figure of the big store stands what it is of the empty one's.
"""

import argparse
import asyncio
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.admit import write_order
from benchmarks.bigstore import ACCOUNT
from gateway.ids import new_id
from gateway.lifecycle import ReportId, SmsEvent, SmsState
from gateway.protocol.codes import Code
from gateway.protocol.report import ReportKind
from gateway.store import Store, StoreSettings, migrate
from gateway.store.base import AnsweredEnvoi, NewReport, Settlement, Stored

AT = datetime(2026, 3, 4, 12, tzinfo=UTC)
GROUP = 64
BATCH = 50
ROUNDS = 4

CONFIG = """\
[smtp]
listen = ["127.0.0.1:0"]
recipients = ["sendsms@gw.example.org"]

[store]
url = "sqlite:///{store}"

[reports]
smarthost = "127.0.0.1:9"
sender = "sendsms@gw.example.org"

[[accounts]]
name = "nobody"
keyid = "0123456789abcdef0123456789abcdef"
domains = ["masociete.com"]
providers = ["carrier"]

[[providers]]
name = "carrier"
kind = "sandbox"
base_url = "http://127.0.0.1:9/cgi-bin"
"""


class Subject:
    """One store, and the time its steps took, in ms."""

    def __init__(self, name: str, file: Path) -> None:
        self.name = name
        self.file = file
        self.took: dict[str, list[float]] = {}
        self._number = 10_000_000

    async def measure_start(self) -> None:
        """From the command to its `ready`."""
        config = self.file.with_suffix(".toml")
        config.write_text(CONFIG.format(store=self.file))
        config.chmod(0o600)
        began_at = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway", "serve", "--config", str(config)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert process.stdout is not None
        ready = await process.stdout.readline()
        self._note("start", began_at)
        if not ready.startswith(b"ready"):
            raise SystemExit(f"{self.name}: it did not start")
        process.terminate()
        await process.wait()

    async def open(self) -> None:
        settings = StoreSettings(url=f"sqlite:///{self.file}")
        await migrate(settings)
        self._store = await Store.open(settings)

    async def close(self) -> None:
        await self._store.close()

    async def work(self, seconds: float) -> None:
        """Mails come in together, go out in batches, and are settled."""
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            await self._timed("admit 64", self._admit)
            await self._timed("claim and settle 64", self._send)
            await self._timed("due lanes", lambda: self._store.due_lanes(AT))
            await self._timed("next due", lambda: self._store.next_due_at(AT))
            await self._timed("waiting", lambda: self._store.count_waiting(1_000_000))
        await self._timed("backlog (/metrics)", self._store.backlog)

    async def _admit(self) -> None:
        orders = [write_order(self._number + number) for number in range(GROUP)]
        self._number += GROUP
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._store.admit(order)) for order in orders]
        if not all(isinstance(task.result(), Stored) for task in tasks):
            raise SystemExit(f"{self.name}: a mail was not stored")

    async def _send(self) -> None:
        left = GROUP
        while left > 0:
            claimed = await self._store.claim_sms(
                lane=ACCOUNT,
                provider="carrier",
                now=AT,
                lease_until=AT + timedelta(minutes=2),
                limit=min(BATCH, left),
            )
            if not claimed:
                raise SystemExit(f"{self.name}: nothing to claim")
            left -= len(claimed)
            taken = [
                Settlement(
                    sms_id=sms.id,
                    epoch=sms.epoch,
                    from_state=SmsState.SENDING,
                    event=SmsEvent.TAKEN,
                    code=Code.C0_SENT,
                    raw="{}",
                )
                for sms in claimed
            ]
            await self._store.settle_sms(taken, AT, _write_not)

    async def _timed(self, name: str, step: Callable[[], Awaitable[object]]) -> None:
        began_at = time.perf_counter()
        await step()
        self._note(name, began_at)

    def _note(self, name: str, began_at: float) -> None:
        self.took.setdefault(name, []).append((time.perf_counter() - began_at) * 1000)


def _write_not(envoi: AnsweredEnvoi) -> NewReport:
    report_id = new_id(AT)
    return NewReport(
        id=ReportId(report_id),
        kind=ReportKind.NOT,
        recipient=envoi.not_to,
        message_id=f"<{report_id}@gw.example.org>",
        in_reply_to=envoi.message_id,
        body=b"<etatNot/>" * 20,
        due_at=AT,
        expires_at=AT + timedelta(days=2),
    )


async def run(empty: Subject, big: Subject, seconds: float) -> None:
    for one in (empty, big):
        await one.open()
        await one.close()
    for _ in range(ROUNDS):
        for one in (empty, big):
            await one.measure_start()
    for one in (empty, big):
        await one.open()
        await one.work(1)  # warm
        start, one.took = one.took["start"], {}
        one.took["start"] = start
    for _ in range(ROUNDS):
        for one in (empty, big):
            await one.work(seconds / ROUNDS)
    for one in (empty, big):
        await one.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--seconds", type=float, default=8, help="of work on each store")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bigness-", dir=arguments.file.parent) as folder:
        copy = Path(folder) / "big.db"
        shutil.copy(arguments.file, copy)
        empty, big = Subject("empty", Path(folder) / "empty.db"), Subject("big", copy)
        asyncio.run(run(empty, big, arguments.seconds))
    for name in empty.took:
        of_empty, of_big = statistics.median(empty.took[name]), statistics.median(big.took[name])
        worst = f"worst {max(big.took[name]):.1f} ms"
        print(f"{name:<20} empty {of_empty:8.2f} ms  big {of_big:8.2f} ms  x{of_big / of_empty:<5.2f} {worst}")
    rates = [
        GROUP / (statistics.mean(one.took["admit 64"]) + statistics.mean(one.took["claim and settle 64"])) * 1000
        for one in (empty, big)
    ]
    print(f"mails a second, in and out: empty {rates[0]:.0f}, big {rates[1]:.0f}: {rates[1] / rates[0]:.2f}")


if __name__ == "__main__":
    main()
