"""The connection ends after any byte of the dialogue: an order is there whole or not at all, and nothing else is left.

On uvloop, as the daemon runs: what becomes of a half-closed connection is the loop's business too.
"""

import asyncio
import socket
import sqlite3
import struct
from collections.abc import Callable, Iterable
from contextlib import closing
from enum import Enum, unique
from itertools import accumulate
from pathlib import Path

import pytest
import uvloop

from gateway.smtp.listener import Listener
from gateway.store import Store, StoreSettings
from tests.intake.conftest import Desk, write_envoi, write_mail
from tests.smtp.house import smtp_settings
from tests.support.clock import ManualClock

DEADLINE_S = 10.0
AT_A_TIME = 8
HEADERS = tuple(
    f"Received: from relay-{hop}.masociete.com (relay-{hop}.masociete.com [192.0.2.{hop}])\r\n"
    f"\tby relay-{hop + 1}.masociete.com with ESMTPS id 4Xy{hop}zK; Wed, 4 Mar 2026 10:30:0{hop} +0100"
    for hop in range(1, 5)
)
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing drops what is under way and sends RST


@unique
class End(Enum):
    """How the client leaves."""

    RESET = "reset"
    CLOSE = "close"
    HALF_CLOSE = "half-close"  # it sends nothing more, and listens to the end


def dialogue(number: int) -> tuple[bytes, ...]:
    """Return what a client says, piece by piece; it hears a reply before it says the next."""
    mail = write_mail(
        write_envoi(emailId=f"cut-{number}"), message_id=f"<{number}@client.masociete.com>", headers=HEADERS
    )
    opening = (
        b"EHLO client.masociete.com\r\n",
        b"MAIL FROM:<alerte@masociete.com> SIZE=%d\r\n" % len(mail),
        b"RCPT TO:<sendsms@gw.example.org>\r\n",
        b"DATA\r\n",
    )
    return (*opening, mail + b".\r\n", b"QUIT\r\n")


LENGTHS = tuple(accumulate(len(piece) for piece in dialogue(1000)))
DOT, ALL = LENGTHS[-2], LENGTHS[-1]


class Client:
    """A socket below everything: what it says, and how it ends, is in our hands."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._loop = asyncio.get_running_loop()
        self._heard = b""

    async def say(self, words: bytes) -> None:
        await self._loop.sock_sendall(self._socket, words)

    async def hear(self) -> bytes:
        """Return the next reply."""
        while not self._heard.endswith(b"\n") or self._heard.splitlines()[-1][3:4] == b"-":
            chunk = await self._loop.sock_recv(self._socket, 4096)
            assert chunk, self._heard
            self._heard += chunk
        reply, self._heard = self._heard, b""
        return reply

    async def hear_out(self) -> bytes:
        """Return everything until the other side closes."""
        while chunk := await self._loop.sock_recv(self._socket, 4096):
            self._heard += chunk
        return self._heard

    async def leave(self, end: End) -> bytes:
        """End the connection; return what was still heard."""
        rest = b""
        if end is End.RESET:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        elif end is End.HALF_CLOSE:
            self._socket.shutdown(socket.SHUT_WR)
            rest = await self.hear_out()
        self._socket.close()
        return rest


async def talk(address: tuple[str, int], number: int, length: int, end: End) -> bytes:
    """Say so many bytes of a dialogue and leave; return all that was heard from the dot on."""
    connection = socket.socket()
    connection.settimeout(0)
    client = Client(connection)
    async with asyncio.timeout(DEADLINE_S):
        await asyncio.get_running_loop().sock_connect(connection, address)
        await client.hear()
        left, heard = length, b""
        for piece in dialogue(number):
            if left <= 0:
                break
            await client.say(piece[:left])
            left -= len(piece)
            if left > 0:
                heard = await client.hear()
        return (heard if length > DOT else b"") + await client.leave(end)


async def cut_after(lengths: Iterable[int], desk: Desk, end: End) -> dict[int, bytes]:
    """Return what was heard for every number of bytes; the listener is idle again, and gone."""
    listener = Listener(smtp_settings(max_connections_per_client=2 * AT_A_TIME), desk.intake())
    (address,) = await listener.bind()
    heard: dict[int, bytes] = {}
    left = iter(lengths)

    async def client() -> None:
        for length in left:
            heard[length] = await talk(address, 1000 + length, length, end)

    async with asyncio.TaskGroup() as house:
        house.create_task(listener.serve())
        async with asyncio.TaskGroup() as clients:
            for _ in range(AT_A_TIME):
                clients.create_task(client())
        async with asyncio.timeout(DEADLINE_S):
            while listener.open_connections:  # noqa: ASYNC110 nobody announces that the last one has gone
                await asyncio.sleep(0.01)
        await listener.drain(DEADLINE_S)
    return heard


@pytest.mark.slow
@pytest.mark.parametrize("end", End)
def test_cut_after_any_byte_an_order_is_whole_or_absent(
    tmp_path: Path, empty_store: Callable[[Path], None], end: End
) -> None:
    database = tmp_path / "gateway.db"
    empty_store(database)

    async def run() -> tuple[dict[int, bytes], int, int]:
        store = await Store.open(StoreSettings(url=f"sqlite:///{database}"))
        desk = Desk(store=store, database=database, clock=ManualClock())
        await cut_after([1], desk, end)  # what the loop and the store open once and for all
        before = count_descriptors()
        heard = await cut_after(range(1, ALL + 1), desk, end)
        after = count_descriptors()
        await store.close()
        return heard, before, after

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        heard, before, after = runner.run(run())
    orders = count_rows(database)

    assert after <= before
    assert set(heard) == set(range(1, ALL + 1))
    complete = {f"cut-{1000 + length}" for length in range(DOT, ALL + 1)}
    # a reset may overtake the dot: whoever has not heard 250 sends again
    certain = complete - ({f"cut-{1000 + DOT}"} if end is End.RESET else set())
    assert certain <= orders.keys() <= complete
    assert set(orders.values()) == {(1, 1, 1, 1)}
    if end is End.HALF_CLOSE:
        assert all(heard[length].startswith(b"250 2.0.0 Ok") for length in range(DOT, ALL + 1))
        assert not any(b"250 2.0.0 Ok: queued" in heard[length] for length in range(1, DOT))


def count_rows(database: Path) -> dict[str, tuple[int, ...]]:
    """Return how many mails, claims, SMS and Acks there are for each emailId; a row without its mail is its own."""
    found: dict[str, list[int]] = {}
    queries = (
        "SELECT cast(raw AS text) FROM mail",
        "SELECT email_id FROM email_id",
        "SELECT coalesce(email_id, sms.id) FROM sms LEFT JOIN envoi ON envoi.id = envoi_id",
        "SELECT coalesce(email_id, report.id) FROM report LEFT JOIN envoi ON envoi.id = envoi_id WHERE kind = 'ack'",
    )
    with closing(sqlite3.connect(database)) as connection:
        for column, query in enumerate(queries):
            for (text,) in connection.execute(query):
                key = text.partition("<emailId>")[2].partition("<")[0] if column == 0 else text
                found.setdefault(key, [0] * len(queries))[column] += 1
    return {key: tuple(counts) for key, counts in found.items()}


def count_descriptors() -> int:
    """Return how many descriptors this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())
