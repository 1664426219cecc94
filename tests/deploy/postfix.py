"""A real Postfix on loopback, configured by `deploy/postfix`: only places, ports and patience are changed."""

import asyncio
import os
import re
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

SHIPPED = Path(__file__).parents[2] / "deploy" / "postfix"
DIST = Path("/usr/share/postfix/master.cf.dist")
DEADLINE_S = 60.0

PLACES = """
queue_directory = {folder}/queue
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
maillog_file = {folder}/mail.log
maillog_file_prefixes = {folder}
smtpd_peername_lookup = no
relayhost = [127.0.0.1]:{sink}
queue_run_delay = 1s
minimal_backoff_time = 1s
maximal_backoff_time = 2s
transport_retry_time = 1s
"""


class Postfix:
    """An instance at work."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder = folder
        self.port = port

    def read_log(self) -> str:
        """Return everything it logged."""
        log = self._folder / "mail.log"
        return log.read_text("utf-8", "replace") if log.exists() else ""

    async def until_logged(self, pattern: str, *, times: int = 1) -> None:
        """Return when lines of the log have matched."""
        async with asyncio.timeout(DEADLINE_S):
            while len(re.findall(pattern, self.read_log())) < times:  # noqa: ASYNC110 another process: its log is all
                await asyncio.sleep(0.05)


def free_port() -> int:
    """Return a port that nobody has; who opens it must be quick."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@asynccontextmanager
async def run_postfix(*, gateway: int, sink: int, more: Mapping[str, str] | None = None) -> AsyncIterator[Postfix]:
    """Postfix takes mail, brings it to the gateway's port, and takes everything else to the sink's."""
    folder = _make_folder()
    postfix = Postfix(folder, free_port())
    config = _configure(folder, port=postfix.port, gateway=gateway, sink=sink, more=more or {})
    process = await asyncio.create_subprocess_exec(
        "postfix",
        "-c",
        str(config),
        "start-fg",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        await _until_open(postfix)
        yield postfix
    finally:
        stop = await asyncio.create_subprocess_exec(
            "postfix", "-c", str(config), "stop", stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        async with asyncio.timeout(DEADLINE_S):
            await stop.wait()
            await process.wait()
        shutil.rmtree(folder)


def _make_folder() -> Path:
    """Make a folder that all of Postfix can get at, which is not root for the most part; pytest's are closed."""
    folder = Path(tempfile.mkdtemp(prefix="mail2sms-postfix-"))
    folder.chmod(0o755)
    return folder


def _configure(folder: Path, *, port: int, gateway: int, sink: int, more: Mapping[str, str]) -> Path:
    """Make the folders of the instance; return the one that is its configuration."""
    config = folder / "config"
    for name in ("config", "queue", "data"):
        (folder / name).mkdir(parents=True)
    shutil.chown(folder / "data", "postfix")
    text = (SHIPPED / "main.cf").read_text().replace("[127.0.0.1]:2525", f"[127.0.0.1]:{gateway}")
    places = PLACES.format(folder=folder, sink=sink) + "".join(f"{key} = {value}\n" for key, value in more.items())
    (config / "main.cf").write_text(_without(text, places) + places)
    services = [line for line in DIST.read_text().splitlines() if line and line[0] not in "# \t"]
    services = [line for line in services if not line.startswith("smtp ")]
    services = [" ".join([*line.split()[:4], "n", *line.split()[5:]]) for line in services]
    own = (SHIPPED / "master.cf").read_text()
    first = [f"127.0.0.1:{port} inet n - n - - smtpd", "smtp unix - - n - - smtp"]
    (config / "master.cf").write_text("\n".join([*first, *services]) + "\n" + own)
    return config


def _without(text: str, places: str) -> str:
    """Return the text without the lines that others replace: Postfix warns of settings that stand there twice."""
    keys = {line.partition("=")[0].strip() for line in places.splitlines() if "=" in line}
    return "".join(
        line
        for line in text.splitlines(keepends=True)
        if line.startswith("#") or line.partition("=")[0].strip() not in keys
    )


async def _until_open(postfix: Postfix) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", postfix.port)
                greeting = await reader.readline()
            except OSError:
                await asyncio.sleep(0.05)
                continue
            writer.close()
            if greeting.startswith(b"220"):
                return


def is_possible() -> bool:
    """Postfix can only be started by root."""
    return os.geteuid() == 0
