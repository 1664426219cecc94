"""The real listener with a handler that remembers, and a raw client that speaks bytes."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from gateway.intake import Reply, Submission
from gateway.smtp.listener import Listener
from gateway.smtp.passwords import User
from gateway.smtp.settings import SmtpSettings

DEADLINE_S = 10.0
STORED = Reply(code=250, enhanced="2.0.0", text="Stored as 01TEST")
MAIL = b"From: a@masociete.com\r\n\r\n<envoi></envoi>\r\n"
OPENING = b"EHLO client\r\nMAIL FROM:<a@masociete.com>\r\nRCPT TO:<sendsms@gw.example.org>\r\nDATA\r\n"


def smtp_settings(**changes: object) -> SmtpSettings:
    """Return settings on a free port of loopback, without the pauses before the banner and after errors."""
    return SmtpSettings.model_validate(
        {
            "hostname": "gw.example.org",
            "listen": ["127.0.0.1:0"],
            "recipients": ["sendsms@gw.example.org"],
            "greeting_delay_s": 0,
            "error_delay_s": 0,
            **changes,
        }
    )


class RememberingHandler:
    """Keeps what is submitted; answers 250, or what `answer` says."""

    def __init__(self, answer: Callable[[Submission], Awaitable[Reply]] | None = None) -> None:
        self.begun: list[Submission] = []
        self.stored: list[Submission] = []
        self._answer = answer
        self._changed = asyncio.Condition()

    async def submit(self, submission: Submission) -> Reply:
        self.begun.append(submission)
        await self._announce()
        reply = STORED if self._answer is None else await self._answer(submission)
        self.stored.append(submission)
        await self._announce()
        return reply

    async def wait_until_begun(self, count: int = 1) -> None:
        await self._wait(lambda: len(self.begun) >= count)

    async def wait_until_stored(self, count: int = 1) -> None:
        await self._wait(lambda: len(self.stored) >= count)

    async def _announce(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _wait(self, is_there: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S), self._changed:
            await self._changed.wait_for(is_there)


class Client:
    """A raw client: sends the bytes it is given, reads replies."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.writer.transport.abort()

    async def send(self, content: bytes) -> None:
        self.writer.write(content)
        await self.writer.drain()

    async def line(self) -> str:
        """Return the next line, without its end; "" when the server has closed."""
        async with asyncio.timeout(DEADLINE_S):
            return (await self.reader.readline()).decode("ascii").removesuffix("\r\n")

    async def reply(self) -> str:
        """Return the last line of the next reply."""
        while True:
            line = await self.line()
            if line[3:4] != "-":
                return line

    async def ask(self, command: bytes) -> str:
        await self.send(command + b"\r\n")
        return await self.reply()

    async def rest(self) -> list[str]:
        """Return all lines until the server closes."""
        lines = []
        while line := await self.line():
            lines.append(line)
        return lines

    async def begin_data(self) -> None:
        """Go on until 354."""
        await self.send(OPENING)
        for code in ("220", "250", "250", "250", "354"):
            reply = await self.reply()
            assert reply.startswith(code), reply

    async def begin_tls(self, context: ssl.SSLContext) -> None:
        """Go on over TLS, the server having been asked."""
        async with asyncio.timeout(DEADLINE_S):
            await self.writer.start_tls(context, server_hostname="gw.example.org")

    async def hang_up(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


class House:
    """A listener that is being served."""

    def __init__(self, listener: Listener, *addresses: tuple[str, int]) -> None:
        self.listener = listener
        self.address = addresses[0]
        self.addresses = addresses

    async def connect(self) -> Client:
        return Client(*await asyncio.open_connection(*self.address))

    async def greeted(self, number: int = 0) -> Client:
        """Return a client of one of the listeners that has read the banner."""
        client = Client(*await asyncio.open_connection(*self.addresses[number]))
        banner = await client.reply()
        assert banner.startswith("220 "), banner
        return client


@dataclass(frozen=True, slots=True, kw_only=True)
class Pem:
    """A certificate and its key, in files."""

    certificate: Path
    key: Path

    def as_settings(self, **changes: object) -> dict[str, object]:
        return {"certificate": self.certificate, "key": self.key, **changes}


def make_certificate(
    folder: Path, name: str = "gw.example.org", *, days: int = 90, issuer: Pem | None = None, is_ca: bool = False
) -> Pem:
    """Make a certificate for a host of that name, signed by the issuer or else by itself."""
    pem = Pem(certificate=folder / f"{name}.pem", key=folder / f"{name}.key")
    signed = [] if issuer is None else ["-CA", str(issuer.certificate), "-CAkey", str(issuer.key)]
    new_key = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    subprocess.run(
        [
            *("openssl", *new_key, "-subj", f"/CN={name}", "-days", str(days), *signed),
            *("-addext", f"subjectAltName=DNS:{name}"),
            *("-addext", f"basicConstraints=critical,CA:{'TRUE' if is_ca else 'FALSE'}"),
            *("-keyout", str(pem.key), "-out", str(pem.certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return pem


def client_context(trusted: Pem, shown: Pem | None = None) -> ssl.SSLContext:
    """Return what a client that trusts this certificate alone begins TLS with; `shown` is its own."""
    context = ssl.create_default_context(cafile=trusted.certificate)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if shown is not None:
        context.load_cert_chain(shown.certificate, shown.key)
    return context


def no_shortage() -> Reply | None:
    return None


@asynccontextmanager
async def open_house(
    handler: RememberingHandler,
    settings: SmtpSettings | None = None,
    find_shortage: Callable[[], Reply | None] = no_shortage,
    users: Iterable[User] = (),
) -> AsyncIterator[House]:
    """Serve until the end of the block, then drain without grace."""
    async with serving(
        Listener(settings or smtp_settings(), handler, users=users, find_shortage=find_shortage)
    ) as house:
        yield house


@asynccontextmanager
async def serving(listener: Listener) -> AsyncIterator[House]:
    """Serve until the end of the block, then drain without grace."""
    address, *others = await listener.bind()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(listener.serve())
        try:
            yield House(listener, address, *others)
        finally:
            await listener.drain(0)


async def until(is_true: Callable[[], bool]) -> None:
    """Let the loop run until `is_true()`; for what nobody announces."""
    async with asyncio.timeout(DEADLINE_S):
        while not is_true():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0)
