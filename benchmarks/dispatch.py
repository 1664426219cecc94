"""How many SMS a second go from a filled queue to the carrier, beside what there is to compare it with.

    python -m benchmarks.dispatch [--rounds 3] [--width 4] [--batch 50] [--calls 2] [--folder FOLDER] [--no-pipe]

Two queues: 1,000 mails of one number each, and 20 mails of 500 numbers. Each is sent to the sandbox, in this process,
which has nothing else to do and knows when it took each SMS; what counts is the time from the first call to the last.
The contestants take turns, round after round, so that all of them see the same machine:

- the gateway: the real daemon, started on a store that holds the queue; every SMS claimed on disk, called, recorded;
- a bare loop: the calls that the gateway makes, of the same size, with the same client of the same width, and nothing
  else: no store, no log, no verdicts read;
- Postfix with a pipe: Debian's, with the queue filled before, and a Python script for each mail, which reads the
  numbers and calls the carrier once for each SMS; twenty scripts at a time, as Postfix has it unless told otherwise.

The third needs Debian's package postfix, of which it runs an instance of its own below FOLDER, and root.
"""

import argparse
import asyncio
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.accept import POSTFIX_PORT, configure_postfix, run, until_open
from benchmarks.load import RECIPIENT, SENDER
from gateway.sandbox import Sandbox
from gateway.store import Store, StoreSettings, migrate
from tests.store.samples import new_mail, new_order, new_sms
from tests.support.accounts import KEYID
from tests.support.configuration import write_config
from tests.support.gateway import serve

DEADLINE_S = 90
FIRST_NUMBER = 10_000_000  # below are numbers that the sandbox answers with codes
PYTHON = os.path.realpath(sys.executable)
TEXT = "La temperature du local serveur depasse 30 degres, merci de verifier la climatisation."
QUEUES = {"1,000 mails of one number": (1_000, 1), "20 mails of 500 numbers": (20, 500)}
AIMS = "aims: the first at least 0.70 of the bare loop, the second at least 5,000 SMS/s, both at least 20 x Postfix"

LOOP = """
import asyncio, sys, uvloop
from gateway.providers.transport import Transport
url, width, batch, total, text, key = sys.argv[1], *map(int, sys.argv[2:5]), sys.argv[5], sys.argv[6]
async def main():
    transport = Transport(base_url=url, timeout_s=30, width=width)
    starts = iter(range(0, total, batch))
    async def work():
        for start in starts:
            numbers = range(start, min(start + batch, total))
            await transport.post_json("/smsmulti" if batch > 1 else "/sms", {
                "keyid": key,
                "num": [f"336{10_000_000 + number:08d}" for number in numbers],
                "sms": [text] * len(numbers),
                "tracker": [f"{number:020d}" for number in numbers],
            })
    async with asyncio.TaskGroup() as group:
        for _ in range(width):
            group.create_task(work())
    await transport.close()
uvloop.run(main())
"""

SCRIPT = """#!{python} -S
import json, re, sys, urllib.request
mail = sys.stdin.read()
text = re.search("<sms>(.*?)</sms>", mail, re.DOTALL).group(1)
for number in re.findall("<num[0-9]*>([0-9]+)</num", mail):
    fields = {{"keyid": "{key}", "num": number, "sms": text}}
    request = urllib.request.Request(
        "{url}/sms", json.dumps(fields).encode(), {{"Content-Type": "application/json"}}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        answer.read()
"""


async def measure(carrier: Sandbox, total: int) -> float:
    """Return SMS a second over all that were taken but those of the first call, once there are so many."""
    async with asyncio.timeout(DEADLINE_S):
        await carrier.wait_for_messages(total)
    taken = carrier.messages
    assert len(taken) == total, f"{len(taken)} SMS came, not {total}"
    times = sorted(datetime.fromisoformat(one["time"]) for one in taken)
    first = sum(one["batch"] == taken[0]["batch"] for one in taken)
    return (total - first) / (times[-1] - times[0]).total_seconds()


class Benchmark:
    """The contestants; each returns SMS a second for a queue of so many mails of so many numbers."""

    def __init__(self, arguments: argparse.Namespace, folder: Path, carrier: Sandbox) -> None:
        self.arguments = arguments
        self.folder = folder
        self.carrier = carrier

    def contestants(self) -> dict[str, Callable[[int, int], Awaitable[float]]]:
        found: dict[str, Callable[[int, int], Awaitable[float]]] = {
            "a bare loop": self.loop,
            "the gateway": self.gateway,
        }
        if not self.arguments.no_pipe:
            found["Postfix, a pipe"] = self.pipe
        return found

    async def loop(self, mails: int, numbers: int) -> float:
        options = map(str, (self.arguments.width, self.arguments.batch, mails * numbers))
        command = (sys.executable, "-c", LOOP, f"{self.carrier.url}/cgi-bin", *options, TEXT, KEYID)
        await run(*command)
        return await measure(self.carrier, mails * numbers)

    async def gateway(self, mails: int, numbers: int) -> float:
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        await fill(folder / "gateway.db", mails, numbers)
        limits = {"width": self.arguments.width, "batch_size": self.arguments.batch}
        calls = {"calls_per_account": self.arguments.calls}
        config = write_config(folder / "gateway.toml", carrier=self.carrier.url, provider=limits, dispatcher=calls)
        async with serve(config):
            found = await measure(self.carrier, mails * numbers)
        shutil.rmtree(folder)
        return found

    async def pipe(self, mails: int, numbers: int) -> float:
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        await asyncio.to_thread(folder.chmod, 0o755)
        script = folder / "send"
        script.write_text(SCRIPT.format(python=PYTHON, key=KEYID, url=f"{self.carrier.url}/cgi-bin"))
        script.chmod(0o755)
        async with run_postfix(folder, script) as flush:
            await fill_postfix(mails, numbers)
            await flush()
            return await measure(self.carrier, mails * numbers)


async def fill(database: Path, mails: int, numbers: int) -> None:
    """The store holds the queue."""
    settings = StoreSettings(url=f"sqlite:///{database}")
    await migrate(settings)
    store = await Store.open(settings)
    now = datetime.now(UTC)
    try:
        for mail in range(mails):
            sms = [
                replace(
                    new_sms(position, due_at=now, expires_at=now + timedelta(days=1), originator=None),
                    msisdn=f"+336{FIRST_NUMBER + mail * numbers + position:08d}",
                    text=TEXT,
                )
                for position in range(1, numbers + 1)
            ]
            await store.admit(new_order(*sms, mail=new_mail(account="masociete"), reports=()))
    finally:
        await store.close()


@asynccontextmanager
async def run_postfix(folder: Path, script: Path) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Postfix that keeps what it gets until it is told to flush its queue into the script."""
    config = configure_postfix(folder / "postfix")
    for key, value in {
        "default_transport": "script",
        "defer_transports": "script",
        "script_destination_recipient_limit": "1",
    }.items():
        await run("postconf", "-c", str(config), "-e", f"{key} = {value}")
    with (config / "master.cf").open("a") as services:
        services.write(f"script unix - n n - - pipe\n  flags=q user=nobody argv={script}\n")
    log = (folder / "log").open("wb")
    start = ("postfix", "-c", str(config), "start-fg")
    process = await asyncio.create_subprocess_exec(*start, stdout=log, stderr=log, start_new_session=True)

    async def flush() -> None:
        await run("postconf", "-c", str(config), "-e", "defer_transports =")
        await run("postfix", "-c", str(config), "reload")
        await run("postfix", "-c", str(config), "flush")

    try:
        await until_open(POSTFIX_PORT)
        yield flush
    finally:
        await run("postfix", "-c", str(config), "stop")
        await process.wait()
        log.close()


async def fill_postfix(mails: int, numbers: int) -> None:
    """The mails are in the queue."""
    reader, writer = await asyncio.open_connection("127.0.0.1", POSTFIX_PORT)

    async def say(line: str) -> None:
        writer.write(line.encode() + b"\r\n")
        while (await reader.readline())[3:4] == b"-":
            pass

    await reader.readline()
    await say("EHLO bench.example.org")
    for mail in range(mails):
        first = FIRST_NUMBER + mail * numbers
        tags = "\r\n".join(f"<num{one}>06{first + one:08d}</num{one}>" for one in range(1, numbers + 1))
        for line in (f"MAIL FROM:<{SENDER}>", f"RCPT TO:<{RECIPIENT}>", "DATA"):
            await say(line)
        await say(f"Subject: {mail}\r\n\r\n<envoi>\r\n{tags}\r\n<sms>{TEXT}</sms>\r\n</envoi>\r\n.")
    await say("QUIT")
    writer.close()


def show(queue: str, figures: dict[str, list[float]]) -> None:
    print(f"\n{queue}: SMS/s, median of {len(next(iter(figures.values())))} rounds (all of them)")
    medians = {name: statistics.median(found) for name, found in figures.items()}
    for name, found in figures.items():
        ratio = medians["the gateway"] / medians[name]
        print(f"  {name:16} {medians[name]:8.0f}   the gateway: {ratio:6.2f} x   ({_each(found)})", flush=True)


def _each(found: Sequence[float]) -> str:
    return ", ".join(f"{one:.0f}" for one in found)


async def main(arguments: argparse.Namespace, folder: Path) -> None:
    print(f"calls of {arguments.batch} SMS, {arguments.width} at a time, {arguments.calls} for one account; {AIMS}")
    async with Sandbox() as carrier:
        benchmark = Benchmark(arguments, folder, carrier)
        for queue, (mails, numbers) in QUEUES.items():
            figures: dict[str, list[float]] = {name: [] for name in benchmark.contestants()}
            for _ in range(arguments.rounds):
                for name, play in benchmark.contestants().items():
                    carrier.clear()
                    figures[name].append(await play(mails, numbers))
            show(queue, figures)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--width", type=int, default=4, help="calls at a time, as in [[providers]]")
    parser.add_argument("--batch", type=int, default=50, help="batch_size of the carrier")
    parser.add_argument("--calls", type=int, default=2, help="calls_per_account")
    parser.add_argument("--no-pipe", action="store_true", help="leave Postfix out")
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as made:
        Path(made).chmod(0o755)  # Postfix's own users walk through it
        asyncio.run(main(given, Path(made)))
