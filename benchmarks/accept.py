"""How many mails a second are accepted and safe: the gateway beside Postfix and beside a server that does nothing.

    python -m benchmarks.accept [--mails 5000] [--connections 10] [--rounds 3] [--folder FOLDER]

Each mail has about 1 KiB and is one order, with an emailId and a Message-ID of its own; its SMS wait until tomorrow,
for this is about accepting. The targets take turns, round after round, so that all of them see the same machine:
aiosmtpd with an empty handler on uvloop; Postfix, which writes each mail to its queue and discards it from there; the
gateway, whose 250 means that mail, envoi, SMS and Ack are on disk. On connections of their own, and on kept ones. The
same with `smtp-source` of Postfix, which sends one mail again and again: without an emailId, so it causes nothing more.

Needs Debian's package postfix, of which it runs an instance of its own below FOLDER (not in memory, please), and root.
"""

import argparse
import asyncio
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import RECIPIENT, SENDER, write_mail
from tests.support.gateway import run_command, serve

DEADLINE_S = 600
POSTFIX_PORT, EMPTY_PORT = 10_025, 10_026

CONFIG = """
[smtp]
hostname = "gw.example.org"
listen = ["127.0.0.1:0"]
recipients = ["{recipient}"]
[store]
url = "sqlite:///gateway.db"
[reports]
smarthost = "127.0.0.1:9"
sender = "{recipient}"
[[accounts]]
name = "masociete"
keyid = "a296464ce012b8ab710a"
domains = ["masociete.com"]
providers = ["carrier"]
[[providers]]
name = "carrier"
kind = "sandbox"
base_url = "http://127.0.0.1:9/cgi-bin"
"""

MAIN_CF = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = postfix.example.org
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
mydestination =
smtpd_relay_restrictions = permit_mynetworks, reject
default_transport = discard
maillog_file = /dev/stdout
maillog_file_prefixes = /dev, {folder}
"""

EMPTY = """
import asyncio, sys, uvloop
from aiosmtpd.smtp import SMTP
class Empty:
    async def handle_DATA(self, server, session, envelope):
        return "250 OK"
async def main():
    loop = asyncio.get_running_loop()
    make = lambda: SMTP(Empty(), hostname="empty.example.org", loop=loop)
    server = await loop.create_server(make, "127.0.0.1", int(sys.argv[1]))
    print("ready", flush=True)
    await server.serve_forever()
uvloop.run(main())
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Somebody who takes mail."""

    name: str
    port: int


@asynccontextmanager
async def run_empty() -> AsyncIterator[Target]:
    """aiosmtpd as it comes, with a handler that does nothing."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", EMPTY, str(EMPTY_PORT)), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline()
    try:
        yield Target(name="aiosmtpd, empty", port=EMPTY_PORT)
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def run_postfix(folder: Path) -> AsyncIterator[Target]:
    """Postfix with a queue on disk, and nothing to do behind it."""
    config = configure_postfix(folder)
    log = (folder / "log").open("wb")
    start = ("postfix", "-c", str(config), "start-fg")
    process = await asyncio.create_subprocess_exec(*start, stdout=log, stderr=log, start_new_session=True)
    try:
        await until_open(POSTFIX_PORT)
        yield Target(name="Postfix", port=POSTFIX_PORT)
    finally:
        await run("postfix", "-c", str(config), "stop")
        await process.wait()
        log.close()


def configure_postfix(folder: Path) -> Path:
    """Make the folders of an instance; return the one that is its configuration."""
    config = folder / "config"
    for name in ("config", "queue", "data"):
        (folder / name).mkdir(parents=True)
    shutil.chown(folder / "data", "postfix")
    (config / "main.cf").write_text(MAIN_CF.format(folder=folder))
    master = Path("/usr/share/postfix/master.cf.dist").read_text().splitlines()
    services = [line for line in master if line and line[0] not in "# \t" and not line.startswith("smtp ")]
    services = [" ".join([*line.split()[:4], "n", *line.split()[5:]]) for line in services]
    listener = f"127.0.0.1:{POSTFIX_PORT} inet n - n - - smtpd"
    (config / "master.cf").write_text("\n".join([listener, "smtp unix - - n - - smtp", *services]) + "\n")
    return config


@asynccontextmanager
async def run_gateway(folder: Path) -> AsyncIterator[Target]:
    """The real command."""
    config = folder / "gateway.toml"
    config.write_text(CONFIG.format(recipient=RECIPIENT))
    assert (await run_command("migrate", "--config", str(config))).status == 0
    async with serve(config) as gateway:
        yield Target(name="the gateway", port=gateway.smtp[1])


async def until_open(port: int) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.1)
            else:
                writer.close()
                return


async def run(*command: str) -> str:
    """Return what the command says."""
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    async with asyncio.timeout(DEADLINE_S):
        output, _ = await process.communicate()
    assert process.returncode == 0, output
    return output.decode()


class Benchmark:
    """The ways in which a target is loaded; each returns mails a second."""

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        self.mails, self.connections = arguments.mails, arguments.connections
        self.sent = 0
        self.one_mail = folder / "mail"
        mail = write_mail(1, 1, "").decode().replace("\r\n", "\n").removesuffix(".\n")
        lines = [line for line in mail.splitlines() if "emailId" not in line and not line.startswith("Message-ID")]
        self.one_mail.write_text("\n".join(lines) + "\n")

    def ways(self) -> dict[str, Callable[[Target], Awaitable[float]]]:
        return {
            "orders, new connections": self.send_orders,
            "orders, kept connections": lambda target: self.send_orders(target, "--kept"),
            "smtp-source, new connections": self.smtp_source,
            "smtp-source, kept connections": lambda target: self.smtp_source(target, "-d"),
        }

    async def send_orders(self, target: Target, *options: str) -> float:
        numbers = ("--mails", str(self.mails), "--connections", str(self.connections), "--start", str(self.sent))
        self.sent += self.mails
        load = (sys.executable, "-m", "benchmarks.load", "127.0.0.1", str(target.port))
        found = json.loads((await run(*load, *numbers, "--later", *options)).splitlines()[-1])
        assert not found["refused"], found
        return float(found["mails"]) / float(found["seconds"])

    async def smtp_source(self, target: Target, *options: str) -> float:
        began = time.perf_counter()
        await run(
            *("smtp-source", "-s", str(self.connections), "-m", str(self.mails), "-F", str(self.one_mail), *options),
            *("-f", SENDER, "-t", RECIPIENT, f"127.0.0.1:{target.port}"),
        )
        return float(self.mails / (time.perf_counter() - began))


def show(way: str, figures: dict[str, list[float]]) -> None:
    print(f"\n{way}: mails/s, median of {len(next(iter(figures.values())))} rounds (all of them)")
    medians = {name: statistics.median(found) for name, found in figures.items()}
    for name, found in figures.items():
        each = ", ".join(f"{one:.0f}" for one in found)
        print(
            f"  {name:16} {medians[name]:8.0f}   {medians[name] / medians['Postfix']:5.2f} of Postfix   ({each})",
            flush=True,
        )


async def main(arguments: argparse.Namespace, folder: Path) -> None:
    async with AsyncExitStack() as stack:
        targets = [
            await stack.enter_async_context(run_empty()),
            await stack.enter_async_context(run_postfix(folder / "postfix")),
            await stack.enter_async_context(run_gateway(folder)),
        ]
        for way, measure in Benchmark(arguments, folder).ways().items():
            figures: dict[str, list[float]] = {target.name: [] for target in targets}
            for _ in range(arguments.rounds):
                for target in targets:
                    figures[target.name].append(await measure(target))
            show(way, figures)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mails", type=int, default=5_000)
    parser.add_argument("--connections", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as made:
        Path(made).chmod(0o755)  # Postfix's own users walk through it
        asyncio.run(main(given, Path(made)))
