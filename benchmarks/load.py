"""A client that sends mails as fast as it is answered: distinct orders over several connections, kept or new.

    python -m benchmarks.load HOST PORT --mails 10000 [--connections 10] [--kept] [--later] [--start 1]

Each mail has an emailId and a Message-ID of its own and about 1 KiB; with `--later` its SMS wait until tomorrow. Prints
`{"mails": N, "seconds": S, "refused": R}`.
"""

import argparse
import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import cast

import uvloop

DEADLINE_S = 600
SENDER = "alerte@masociete.com"
RECIPIENT = "sendsms@gw.example.org"

MAIL = (
    "From: alerte@masociete.com\r\nTo: sendsms@gw.example.org\r\nSubject: Alerte\r\n"
    "Message-ID: <{id}.{stamp}@masociete.com>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n"
    "X-Filling: {filling}\r\n\r\n"
    "<envoi>\r\n<keyid>a296464ce012b8ab710a</keyid>\r\n<num>06{id:08d}</num>\r\n"
    "<sms>La temperature du local serveur depasse 30 degres, merci de verifier la climatisation.</sms>\r\n"
    "<emailId>{stamp}{id:08d}</emailId>\r\n{later}</envoi>\r\n"
)


def write_mail(number: int, stamp: int, later: str) -> bytes:
    """Return what goes over the wire after 354, its dot included."""
    text = MAIL.format(id=number, stamp=stamp, later=later, filling="")
    filling = "x" * max(0, 1_024 - len(text))
    return (MAIL.format(id=number, stamp=stamp, later=later, filling=filling) + ".\r\n").encode("ascii")


class Client(asyncio.Protocol):
    """One connection: says the next line at each answer."""

    def __init__(self, load: "Load") -> None:
        self.load = load
        self.steps: Iterator[bytes] = iter(())
        self.pending = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.WriteTransport", transport)
        self.steps = self.talk()

    def talk(self) -> Iterator[bytes]:
        yield b"EHLO bench.example.org\r\n"
        for mail in self.load.mails:
            yield b"MAIL FROM:<alerte@masociete.com>\r\n"
            yield b"RCPT TO:<sendsms@gw.example.org>\r\n"
            yield b"DATA\r\n"
            yield mail
            if not self.load.is_kept:
                break
        yield b"QUIT\r\n"

    def data_received(self, data: bytes) -> None:
        self.pending += data
        while (end := self.pending.find(b"\n")) >= 0:
            line, self.pending = self.pending[:end], self.pending[end + 1 :]
            if line[3:4] == b"-":
                continue
            self.load.answers[line[:3]] += 1
            if line[:1] not in b"23":
                self.load.refused.append(line.decode())
            following = next(self.steps, None)
            if following is not None:
                self.transport.write(following)

    def connection_lost(self, error: Exception | None) -> None:
        self.load.lost(self)


class Load:
    """All connections together."""

    def __init__(self, *, host: str, port: int, mails: list[bytes], connections: int, is_kept: bool) -> None:
        self.address = (host, port)
        self.total = len(mails)
        self.mails = iter(mails)
        self.is_kept = is_kept
        self.width = connections
        self.open = 0
        self.started = 0
        self.answers: Counter[bytes] = Counter()
        self.refused: list[str] = []
        self.done = asyncio.Event()
        self.slots = asyncio.Semaphore(connections)

    def lost(self, _client: Client) -> None:
        self.open -= 1
        self.slots.release()
        if not self.open:
            self.done.set()

    async def run(self) -> float:
        loop = asyncio.get_running_loop()
        began = time.perf_counter()
        for _ in range(self.width if self.is_kept else self.total):
            await self.slots.acquire()
            self.open += 1
            self.done.clear()
            await loop.create_connection(lambda: Client(self), *self.address)
        await self.done.wait()
        return time.perf_counter() - began


async def send(arguments: argparse.Namespace) -> None:
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%d 12:00")
    later = f"<date_envoi>{tomorrow}</date_envoi>\r\n" if arguments.later else ""
    stamp = int(time.time())
    numbers = itertools.islice(itertools.count(arguments.start), arguments.mails)
    load = Load(
        host=arguments.host,
        port=arguments.port,
        mails=[write_mail(number, stamp, later) for number in numbers],
        connections=arguments.connections,
        is_kept=arguments.kept,
    )
    async with asyncio.timeout(DEADLINE_S):
        seconds = await load.run()
    if load.refused:
        print(load.refused[0])
    print(json.dumps({"mails": arguments.mails, "seconds": round(seconds, 3), "refused": len(load.refused)}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--mails", type=int, default=10_000)
    parser.add_argument("--connections", type=int, default=10)
    parser.add_argument("--kept", action="store_true")
    parser.add_argument("--later", action="store_true")
    parser.add_argument("--start", type=int, default=1)
    uvloop.run(send(parser.parse_args()))
