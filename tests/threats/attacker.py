"""Whoever attacks: raw octets over real sockets, from any address of this machine, and a well-behaved client beside."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import tomlkit

from gateway.config import load
from gateway.smtp.mailbox import Mailbox
from gateway.store import migrate
from tests.faults.carriers import Carrier, accepts
from tests.faults.field import QUICK, Field, make_mail
from tests.support.accounts import KEYID
from tests.support.configuration import RECIPIENT, SENDER, write_config
from tests.support.gateway import serve

DEADLINE_S = 40.0
TRUSTED, STRANGER = "127.0.0.1", "127.0.0.66"
"""`siege` trusts the first alone."""

OTHER_KEY = "b7c1e0d94f5a46d1a3a8e1f2c3d4e5f6"
OTHER: Mapping[str, object] = {"name": "autre", "keyid": OTHER_KEY, "domains": ["autre.example"]}
"""A second account, for attacks of one client upon another."""

OPENING = f"EHLO client.example\r\nMAIL FROM:<{SENDER}>\r\nRCPT TO:<{RECIPIENT}>\r\nDATA\r\n".encode()
ENVOI = (
    f"<envoi><keyid>{KEYID}</keyid><num>0601020304</num><sms>Salut</sms><emailId>1</emailId>"
    "<emailAck>ack@masociete.com</emailAck><emailNot>not@masociete.com</emailNot></envoi>"
)


class Raw:
    """A connection on which any octets can be said."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, octets: bytes) -> None:
        """Say it, unless nobody listens any more."""
        with suppress(OSError):
            self.writer.write(octets)
            async with asyncio.timeout(DEADLINE_S):
                await self.writer.drain()

    async def line(self) -> str:
        """Return the next line; "" at the end of the connection."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                return (await self.reader.readline()).decode("ascii").rstrip("\r\n")
        except OSError as error:
            if isinstance(error, TimeoutError):
                raise
            return ""

    async def reply(self) -> str:
        """Return the last line of the next reply."""
        while (line := await self.line())[3:4] == "-":
            pass
        return line

    async def ask(self, command: bytes | str) -> str:
        """Return the reply to a command."""
        await self.send((command.encode() if isinstance(command, str) else command) + b"\r\n")
        return await self.reply()

    async def rest(self) -> list[str]:
        """Return every line until the connection ends."""
        lines = []
        while line := await self.line():
            lines.append(line)
        return lines

    async def all(self) -> bytes:
        """Return every octet until the connection ends."""
        found = b""
        with suppress(ConnectionError):
            async with asyncio.timeout(DEADLINE_S):
                while octets := await self.reader.read(65_536):
                    found += octets
        return found

    async def begin_tls(self, context: ssl.SSLContext) -> None:
        """Go on over TLS."""
        async with asyncio.timeout(DEADLINE_S):
            await self.writer.start_tls(context, server_hostname="gw.example.org")


@asynccontextmanager
async def connected(address: tuple[str, int], *, source: str = TRUSTED) -> AsyncIterator[Raw]:
    """Give a connection from an address of this machine; it is broken off in the end."""
    async with asyncio.timeout(DEADLINE_S):
        reader, writer = await asyncio.open_connection(*address, local_addr=(source, 0))
    try:
        yield Raw(reader, writer)
    finally:
        writer.transport.abort()


@asynccontextmanager
async def greeted(ground: Field, *, source: str = TRUSTED, hello: str = "EHLO client.example") -> AsyncIterator[Raw]:
    """Give a dialogue that has been opened."""
    async with connected(ground.gateway.smtp, source=source) as raw:
        banner = await raw.reply()
        assert banner.startswith("220 "), banner
        if hello:
            reply = await raw.ask(hello)
            assert reply.startswith("250 "), reply
        yield raw


async def submit(
    ground: Field, content: bytes, *, source: str = TRUSTED, sender: str = SENDER, recipient: str = RECIPIENT
) -> str:
    """Return the reply to the mail, or to the first command that was refused."""
    async with greeted(ground, source=source) as raw:
        for command in (f"MAIL FROM:<{sender}>", f"RCPT TO:<{recipient}>", "DATA"):
            reply = await raw.ask(command)
            if reply[:1] not in {"2", "3"}:
                return reply
        return await raw.ask(content.replace(b"\r\n.", b"\r\n..").removesuffix(b"\r\n") + b"\r\n.")


async def http(ground: Field, request: bytes, *, source: str = TRUSTED) -> bytes:
    """Return everything that is answered to these octets until the connection ends."""
    async with connected(http_address(ground), source=source) as raw:
        await raw.send(request)
        return await raw.all()


def http_address(ground: Field) -> tuple[str, int]:
    """Where the gateway answers HTTP."""
    host, _, port = ground.gateway.http.removeprefix("http://").rpartition(":")
    return host, int(port)


@asynccontextmanager
async def siege(folder: Path, carrier: Carrier | None = None, **wanted: Any) -> AsyncIterator[Field]:  # noqa: ANN401 of render_config
    """Run a gateway that trusts one address alone, and has a second account; its log has no traceback in the end."""
    quick = {"error_delay_s": 0, "greeting_delay_s": 0}
    smtp = {"networks": [f"{TRUSTED}/32"], **quick, **wanted.pop("smtp", {})}
    sections = {name: {**QUICK[name], **wanted.pop(name, {})} for name in QUICK}
    users = wanted.pop("users", [])
    async with Mailbox() as mailbox, Carrier(accepts) as accepting:
        used = carrier or accepting
        options = {"smarthost": mailbox.address, "carrier": used.url, "more_accounts": [OTHER], **wanted, **sections}
        config = write_config(folder / "gateway.toml", smtp=smtp, **options)
        with config.open("a", encoding="utf-8") as more:
            more.write(tomlkit.dumps({"users": users} if users else {}))
        await migrate(load(config, environ={}).store)
        async with serve(config) as gateway:
            yield Field(config=config, mailbox=mailbox, gateway=gateway)
        log = gateway.read_log()

    assert "Traceback" not in log, log[log.index("Traceback") - 2000 :]


async def is_served(ground: Field, name: str) -> None:
    """A good mail is taken, its SMS leaves, and both reports come."""
    before = len(ground.mailbox.mails)
    reply = await submit(ground, make_mail(name, "0601020399"))

    assert reply.startswith("250 "), reply
    await ground.until(lambda: ground.states() != [] and set(ground.states()) <= {"accepted", "refused", "delivered"})
    await ground.mailbox.wait_for(before + 2, timeout_s=DEADLINE_S)


async def waits_of_a_good_client(ground: Field, name: str, times: int = 7) -> list[float]:
    """Return what a good client waited for the answers to its mails, in seconds, shortest first."""
    waits_s = []
    for number in range(times):
        began = time.monotonic()  # noqa: TID251 of the test
        reply = await submit(ground, make_mail(f"{name}{number}", f"06010204{number:02d}"))
        waits_s.append(time.monotonic() - began)  # noqa: TID251 of the test

        assert reply.startswith("250 "), reply
    return sorted(waits_s)


@asynccontextmanager
async def under_attack(attacks: Sequence[Callable[[], Awaitable[object]]]) -> AsyncIterator[None]:
    """Within the block each attack is made again and again, whatever becomes of it."""

    async def go_on(attack: Callable[[], Awaitable[object]]) -> None:
        while True:
            with suppress(OSError, AssertionError):
                await attack()
            await asyncio.sleep(0.02)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(go_on(attack)) for attack in attacks]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


def family(process: int) -> list[int]:
    """The process and those it has started."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [process, *map(int, children)]


def peak_kib(ground: Field) -> int:
    """Return the most memory that the daemon itself ever had."""
    return ground.status("VmHWM")


def from_headers(*headers: str, body: str = ENVOI) -> bytes:
    """Return a mail with these headers and no others."""
    return "\r\n".join([*headers, "", body, ""]).encode("utf-8", "surrogateescape")


def all_text(mailbox: Mailbox) -> str:
    """Return every mail that came, one behind the other."""
    return "\n".join(mail.content.decode("latin-1") for mail in mailbox.mails)
