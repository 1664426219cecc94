"""Where a fault is played: the real command as a process, a smarthost, a client, and all that can be looked at."""

import asyncio
import json
import re
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from gateway.cli.examples.client import submit
from gateway.clock import SystemClock
from gateway.smtp.mailbox import Mailbox, ReceivedMail
from tests.support.accounts import KEYID
from tests.support.configuration import RECIPIENT, write_config
from tests.support.gateway import GatewayProcess, run_command, serve

DEADLINE_S = 60.0
LOOK_S = 0.05

QUICK: Mapping[str, Mapping[str, object]] = {
    "dispatcher": {"poll_s": 0.3},
    "janitor": {"every_s": 0.3, "reconcile_window_s": 1},
    "http": {"listen": "127.0.0.1:0"},
}
"""Settings that make waits short."""

_MESSAGE_ID = re.compile(rb"^Message-ID: (<[^>\r]+>)\r$", re.MULTILINE | re.IGNORECASE)
_ANSWER = re.compile(rb"<code\d*>(\d+)</code\d*>\r\n<tel\d*>(\d+)</tel\d*>")


def make_mail(email_id: str, *numbers: str, key: str = KEYID, domain: str = "masociete.com", padding: int = 0) -> bytes:
    """Return a mail of the account of this domain, to these numbers; `padding` octets follow what is read."""
    head = f"From: alerte@{domain}\r\nTo: {RECIPIENT}\r\nMessage-ID: <{email_id}@{domain}>\r\nMIME-Version: 1.0\r\n"
    tags = (
        f"<emailAck>ack@{domain}</emailAck>\r\n<emailNot>not@{domain}</emailNot>\r\n<emailId>{email_id}</emailId>\r\n"
    )
    if len(numbers) == 1 and not padding:
        body = f"<num>{numbers[0]}</num>\r\n<sms>Salut</sms>\r\n"
        return f"{head}\r\n<envoi>\r\n<keyid>{key}</keyid>\r\n{body}{tags}</envoi>\r\n".encode()
    parts = [
        f"Content-Type: text/plain\r\n\r\n<envoi>\r\n<keyid>{key}</keyid>\r\n{tags}</envoi>\r\n",
        _attached("mobiles.csv", "\r\n".join(numbers)),
        _attached("message.csv", "Salut"),
    ]
    if padding:
        line = "x" * 76 + "\r\n"
        parts.append(_attached("photo.txt", line * (padding // len(line))))
    mixed = 'Content-Type: multipart/mixed; boundary="=_b"\r\n\r\n'
    return (head + mixed + "".join(f"--=_b\r\n{part}\r\n" for part in parts) + "--=_b--\r\n").encode()


def _attached(name: str, content: str) -> str:
    kind = f'Content-Type: text/plain; name="{name}"'
    return f'{kind}\r\nContent-Disposition: attachment; filename="{name}"\r\n\r\n{content}\r\n'


def message_id(mail: ReceivedMail) -> str:
    """Return what tells a report that came twice from two reports."""
    found = _MESSAGE_ID.search(mail.content)
    assert found, mail.content
    return found[1].decode()


def answers(mail: ReceivedMail) -> dict[str, int]:
    """Return what a Not says of each number."""
    return {number.decode(): int(code) for code, number in _ANSWER.findall(mail.content)}


@dataclass(slots=True, kw_only=True)
class Field:
    """A gateway at work."""

    config: Path
    mailbox: Mailbox
    gateway: GatewayProcess

    async def send(self, mail: bytes, *, domain: str = "masociete.com") -> str:
        """Return the reply to the mail."""
        return await submit(*self.gateway.smtp, mail, sender=f"alerte@{domain}", recipient=RECIPIENT)

    def sms(self) -> list[dict[str, Any]]:
        """Return the rows of all SMS, oldest first, each with the verdicts of its attempts."""
        found = self._query("SELECT * FROM sms ORDER BY id")
        attempts = self._query("SELECT sms_id, verdict FROM attempt ORDER BY epoch")
        for sms in found:
            sms["verdicts"] = [one["verdict"] for one in attempts if one["sms_id"] == sms["id"]]
        return found

    def states(self) -> list[str]:
        """Return the states of all SMS."""
        return [sms["state"] for sms in self.sms()]

    def reports(self) -> list[dict[str, Any]]:
        """Return the rows of all reports."""
        return self._query("SELECT * FROM report ORDER BY id")

    def nots(self) -> dict[str, int]:
        """Return what the Not reports that came say of each number."""
        return {number: code for mail in self.mailbox.mails for number, code in answers(mail).items()}

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the lines of the log of this event."""
        lines = (line for line in self.gateway.read_log().splitlines() if f'"event": "{name}"' in line)
        return [json.loads(line) for line in lines]

    def status(self, field: str) -> int:
        """Return a number of /proc/PID/status: KiB for memory."""
        text = Path(f"/proc/{self.gateway.process.pid}/status").read_text("ascii")
        return int(re.search(rf"^{field}:\s+(\d+)", text, re.MULTILINE)[1])  # type: ignore[index]

    def descriptors(self) -> int:
        """Return how many descriptors the process has open."""
        return sum(1 for _ in Path(f"/proc/{self.gateway.process.pid}/fd").iterdir())

    async def metric(self, line: str) -> float:
        """Return the value of a metric, 0 when it is not there."""
        async with httpx.AsyncClient(trust_env=False) as client:
            text = (await client.get(f"{self.gateway.http}/metrics")).text
        found = re.search(rf"^{re.escape(line)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    async def until(self, is_so: Callable[[], bool], timeout_s: float = DEADLINE_S) -> None:
        """Return when it is so; what another process does can only be looked at."""
        try:
            async with asyncio.timeout(timeout_s):
                while not is_so():  # noqa: ASYNC110 another process
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            raise AssertionError(f"not so after {timeout_s} s; SMS {self.states()}") from None

    async def logged(self, event: str, times: int = 1) -> None:
        """Return when the event was logged so many times."""
        await self.until(lambda: len(self.events(event)) >= times)

    def _query(self, query: str) -> list[dict[str, Any]]:
        database = self.config.with_name("gateway.db")
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(query)]


@asynccontextmanager
async def field(folder: Path, *, env: Mapping[str, str] | None = None, **wanted: Any) -> AsyncIterator[Field]:  # noqa: ANN401 of render_config
    """Run a gateway until the block ends; its waits are short unless `wanted` says otherwise."""
    async with Mailbox() as mailbox:
        sections = {name: {**QUICK.get(name, {}), **wanted.get(name, {})} for name in QUICK}
        config = write_config(folder / "gateway.toml", **{"smarthost": mailbox.address, **wanted, **sections})
        migrated = await run_command("migrate", "--config", str(config))
        assert migrated.status == 0, migrated.stderr
        async with serve(config, env=env) as gateway:
            yield Field(config=config, mailbox=mailbox, gateway=gateway)
        log = gateway.read_log()
        assert "Traceback" not in log, log[log.index("Traceback") - 2000 :]


class FakeTime:
    """The wall clock of a process, to be set by hand; its monotonic clock goes on as it does."""

    def __init__(self, folder: Path, offset: timedelta = timedelta(0)) -> None:
        self._file = folder / "faketime"
        self.offset = offset
        self._write()

    @property
    def env(self) -> Mapping[str, str]:
        """What the process must find in its environment."""
        (library,) = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
        return {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",  # in seconds; without it, the file is read at each look at the clock
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def now(self) -> datetime:
        """Return the time the process believes it is."""
        return SystemClock().now() + self.offset

    def step(self, by: timedelta) -> None:
        """Set the clock of the process forward or back."""
        self.offset += by
        self._write()

    def _write(self) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(f"{self.offset.total_seconds():+.0f}\n")
        new.replace(self._file)
