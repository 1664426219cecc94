"""A mail relay that never gives up: what got no 250 is sent again, the same bytes, until it does."""

import asyncio
import itertools
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import aiosmtplib

from gateway.cli.examples.client import submit
from tests.support.accounts import KEYID

SENDER = "alerte@masociete.com"
RECIPIENT = "sendsms@gw.example.org"
_MANY = 12
_PAUSE_S = 0.02
_LISTED_EVERY = 4

_HEADERS = """\
From: {sender}
To: {recipient}
Subject: Envoi {id}
Message-ID: <{id}@client.masociete.com>
MIME-Version: 1.0
"""
_ENVOI = """\
<envoi>
<keyid>{keyid}</keyid>
<emailId>{id}</emailId>
<emailAck>ack@masociete.com</emailAck>
<emailNot>not@masociete.com</emailNot>
{content}</envoi>
"""
_LISTED = """\
Content-Type: multipart/mixed; boundary="=_envoi"

--=_envoi
Content-Type: text/plain; charset=us-ascii

{envoi}--=_envoi
Content-Type: text/csv; charset=us-ascii; name="mobiles.csv"
Content-Disposition: attachment; filename="mobiles.csv"

{numbers}
--=_envoi
Content-Type: text/plain; charset=us-ascii; name="message.csv"
Content-Disposition: attachment; filename="message.csv"

Bonjour
--=_envoi--
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One mail, and the numbers it wants an SMS for, which no other mail has."""

    email_id: str
    numbers: tuple[str, ...]
    mail: bytes


def write_order(order: int) -> Order:
    """Return the mail with this number; every fourth brings its numbers in mobiles.csv."""
    email_id = f"crash-{order}"
    is_listed = order % _LISTED_EVERY == 0
    numbers = tuple(f"061{order * 16 + index:07d}" for index in range(_MANY if is_listed else 1))
    content = "" if is_listed else f"<num>{numbers[0]}</num>\n<sms>Bonjour</sms>\n"
    body = _ENVOI.format(keyid=KEYID, id=email_id, content=content)
    if is_listed:
        body = _LISTED.format(envoi=body, numbers="\n".join(numbers))
    else:
        body = "Content-Type: text/plain; charset=us-ascii\n\n" + body
    mail = _HEADERS.format(sender=SENDER, recipient=RECIPIENT, id=email_id) + body
    return Order(email_id=email_id, numbers=numbers, mail=mail.replace("\n", "\r\n").encode("ascii"))


class Relay:
    """Sends orders without end from `clients` connections; what it knows is what was answered 250."""

    def __init__(self, *, clients: int = 6) -> None:
        self.taken: list[Order] = []
        self.replies: Counter[str] = Counter()  # by their first three digits; "" for a broken dialogue
        self._clients = clients
        self._numbers = itertools.count(1)
        self._again: deque[Order] = deque()
        self._address: tuple[str, int] | None = None
        self._is_there = asyncio.Event()
        self._is_ending = False
        self._group = asyncio.TaskGroup()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def numbers(self) -> Sequence[str]:
        """The numbers of all orders that were answered 250."""
        return [number for order in self.taken for number in order.numbers]

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        self._tasks = [self._group.create_task(self._send(), name=f"client {n}") for n in range(self._clients)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._group.__aexit__(kind, error, trace)

    async def finish(self) -> None:
        """Every order that was begun has been answered 250. The gateway must be there to stay."""
        self._is_ending = True
        await asyncio.wait(self._tasks)

    def go_to(self, address: tuple[str, int]) -> None:
        """The gateway is to be found there."""
        self._address = address
        self._is_there.set()

    def pause(self) -> None:
        """There is no gateway; what is under way may find out by itself."""
        self._is_there.clear()

    async def _send(self) -> None:
        while self._again or not self._is_ending:
            await self._is_there.wait()
            assert self._address is not None
            order = self._again.popleft() if self._again else write_order(next(self._numbers))
            reply = ""
            with suppress(OSError, aiosmtplib.SMTPException):
                reply = await submit(*self._address, order.mail, sender=SENDER, recipient=RECIPIENT)
            self.replies[reply[:3]] += 1
            if reply.startswith("250"):
                self.taken.append(order)
            else:
                self._again.append(order)
            await asyncio.sleep(_PAUSE_S)
