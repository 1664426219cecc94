"""A `mail2sms serve` at night, a carrier in a box, a browser: what an operator has when something goes wrong."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import tomlkit

from gateway.cli.examples.client import submit
from gateway.clock import SystemClock
from gateway.config import load
from gateway.smtp.passwords import hash_password
from gateway.store import migrate
from tests.smtp.house import Pem
from tests.support.accounts import KEYID
from tests.support.browser import Browser, Tab
from tests.support.configuration import RECIPIENT, SENDER, write_config
from tests.support.gateway import GatewayProcess, run_command, serve

DEADLINE_S = 60.0
LOOK_S = 0.2
ASK_S = 1.0
"""Between two runs of a command."""
PASSWORD = "correct horse battery"
NUMBER = "0612345678"


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """A gateway at work, and what an operator asks it with."""

    config: Path
    gateway: GatewayProcess

    async def send(self, email_id: str, *, number: str = NUMBER, text: str = "Bonjour") -> str:
        """Return what the gateway answered to a mail with one SMS."""
        mail = (
            f"From: {SENDER}\r\nTo: {RECIPIENT}\r\nMessage-ID: <{email_id}@masociete.com>\r\n\r\n"
            f"<envoi><keyid>{KEYID}</keyid><emailId>{email_id}</emailId><num>{number}</num><sms>{text}</sms></envoi>\r\n"
        )
        return await submit(*self.gateway.smtp, mail.encode(), sender=SENDER, recipient=RECIPIENT)

    async def ask(self, *words: str) -> str:
        """Return what a command prints about this gateway; its exit status is its own affair."""
        done = await run_command(*words, "--config", str(self.config))
        return done.stdout + done.stderr

    async def hear(self, words: str, *command: str) -> str:
        """Return what the command prints, once these words are in it, or when there is no time left."""
        said = ""

        async def is_said() -> bool:
            nonlocal said
            said = await self.ask(*command)
            return words in said

        await until(is_said, look_s=ASK_S)
        return said

    async def wait_for_log(self, event: str) -> None:
        """The log has a line of this event."""

        async def is_logged() -> bool:
            return f'"event": "{event}"' in self.gateway.read_log()

        assert await until(is_logged), event

    @asynccontextmanager
    async def watch(self, browser: Browser, *, language: str = "en") -> AsyncIterator[Tab]:
        """A tab that shows the overview, and in which nothing may go wrong."""
        async with browser.visit(language=language) as tab:
            await tab.go(f"{self.url}/login")
            await tab.fill("input[name=name]", "otto")
            await tab.fill("input[name=password]", PASSWORD)
            await tab.click_through("form.stack button")
            await tab.wait_for("location.pathname === '/console'")
            yield tab

            assert [one for one in tab.troubles if '"htmx:' not in one] == []

    @property
    def url(self) -> str:
        """Where the console is."""
        return f"{self.gateway.http}/console"


async def until(is_so: Callable[[], Awaitable[bool]], *, look_s: float = LOOK_S) -> bool:
    """Look again and again until it is so; False when it is not within the deadline."""
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + DEADLINE_S
    while not await is_so():
        if loop.time() > ends_at:
            return False
        await asyncio.sleep(look_s)
    return True


def write_night(folder: Path, **wanted: object) -> Path:
    """The folder holds a configuration with a user of the console; returns its file."""
    path = write_config(folder / "gateway.toml", http={"listen": "127.0.0.1:0"}, **wanted)
    otto = {"name": "otto", "password_hash": hash_password(PASSWORD), "roles": ["operate"]}
    with path.open("a", encoding="utf-8") as file:
        file.write(tomlkit.dumps({"users": [otto]}))
    return path


@asynccontextmanager
async def night_with(config: Path) -> AsyncIterator[Night]:
    """The gateway of this configuration works until the block ends."""
    await migrate(load(config, environ={}).store)
    async with serve(config) as gateway:
        yield Night(config=config, gateway=gateway)


def short_lived_certificate(folder: Path, *, life: timedelta) -> tuple[Pem, datetime]:
    """Make a certificate, signed by itself, that was issued yesterday and ends so soon; return it, and when it ends."""
    now = SystemClock().now()
    ends_at = (now + life).replace(microsecond=0)
    pem = Pem(certificate=folder / "gw.pem", key=folder / "gw.key")
    (folder / "index.txt").write_text("", "ascii")
    (folder / "ca.cnf").write_text(
        f"[ca]\ndefault_ca=own\n[own]\ndatabase={folder}/index.txt\nserial={folder}/serial\nnew_certs_dir={folder}\n"
        "default_md=sha256\npolicy=any\nrand_serial=yes\nx509_extensions=v3\nunique_subject=no\n[any]\ncommonName=supplied\n"
        "[v3]\nsubjectAltName=DNS:gw.example.org\n",
        "ascii",
    )
    asked = folder / "gw.csr"
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=gw.example.org")
    _openssl("req", *new_key, "-keyout", str(pem.key), "-out", str(asked))
    dates = ("-startdate", f"{now - timedelta(days=1):%y%m%d%H%M%SZ}", "-enddate", f"{ends_at:%y%m%d%H%M%SZ}")
    own = ("-config", str(folder / "ca.cnf"), "-selfsign", "-keyfile", str(pem.key))
    _openssl("ca", "-batch", "-notext", *own, *dates, "-in", str(asked), "-out", str(pem.certificate))
    return pem, ends_at


def _openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True)
