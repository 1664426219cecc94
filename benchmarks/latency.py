"""How long a mail takes from its final dot to the carrier's socket.

    python -m benchmarks.latency [--mails 400] [--rate 20] [--store sqlite|URL] [--keep]

Runs the real daemon as a process, with a carrier that notes when the first byte of each request reaches it. Prints the
time from start to `ready`, from `ready` to the first SMS at the carrier, and over all mails, each on a connection of
its own unless `--keep`: dot to the reply 250, and dot to the carrier's socket (median, p99). The carrier, the client
and the daemon share the machine, so the figures are an upper bound for it.
"""

import argparse
import asyncio
import json
import re
import statistics
import tempfile
import time
from pathlib import Path

from tests.support.configuration import write_config
from tests.support.gateway import run_command, serve

MAIL = """\
From: alerte@masociete.com\r
To: sendsms@gw.example.org\r
Message-ID: <{id}@masociete.com>\r
Content-Type: text/plain; charset=utf-8\r
\r
<envoi>\r
<keyid>a296464ce012b8ab710a</keyid>\r
<num>06{id:08d}</num>\r
<sms>L'été est fini! Super promo -10% à partir de 50€ d'achat !!!</sms>\r
<emailId>{id}</emailId>\r
</envoi>\r
"""


class Carrier:
    """Answers every call with success, after a while, and notes, per number, when its request began to arrive."""

    def __init__(self, call_s: float = 0.0) -> None:
        self.call_s = call_s
        self.arrived: dict[int, float] = {}
        self.changed = asyncio.Condition()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while first := await reader.read(1):
                at = time.perf_counter()
                head = first + await reader.readuntil(b"\r\n\r\n")
                length = int(re.search(rb"content-length: (\d+)", head.lower())[1])  # type: ignore[index]
                request = json.loads(await reader.readexactly(length))
                numbers = request["num"] if isinstance(request["num"], list) else [request["num"]]
                async with self.changed:
                    self.arrived.update({int(number[-8:]): at for number in numbers})
                    self.changed.notify_all()
                await asyncio.sleep(self.call_s)
                entries = [{"code": 0, "tel": number, "message": "ok"} for number in numbers]
                body = json.dumps({"etat": {"etat": entries}}).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
                writer.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def wait_for(self, count: int) -> None:
        async with asyncio.timeout(60), self.changed:
            await self.changed.wait_for(lambda: len(self.arrived) >= count)


class Client:
    """A bare SMTP client that knows when its dot left."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port

    async def connect(self) -> None:
        self.reader, self.writer = await asyncio.open_connection(self.host, self.port)
        await self.answer()
        await self.say("EHLO bench.example.org")

    async def answer(self) -> str:
        while (line := (await self.reader.readline()).decode())[3:4] == "-":
            pass
        return line

    async def say(self, line: str) -> str:
        self.writer.write(line.encode() + b"\r\n")
        return await self.answer()

    async def send(self, number: int, mail: str = MAIL) -> tuple[float, float]:
        await self.say("MAIL FROM:<alerte@masociete.com>")
        await self.say("RCPT TO:<sendsms@gw.example.org>")
        await self.say("DATA")
        self.writer.write(mail.format(id=number).encode())
        await self.writer.drain()
        dot = time.perf_counter()
        reply = await self.say(".")
        assert reply.startswith("250"), reply
        return dot, time.perf_counter()

    async def close(self) -> None:
        await self.say("QUIT")
        self.writer.close()


def show(name: str, seconds: list[float]) -> None:
    ordered = sorted(1000 * value for value in seconds)
    p99 = ordered[min(len(ordered) - 1, round(0.99 * len(ordered)))]
    print(f"{name:<28} median {statistics.median(ordered):7.2f} ms   p99 {p99:7.2f} ms   max {ordered[-1]:7.2f} ms")


async def measure(mails: int, rate: float, store: str, keep: bool) -> None:
    carrier = Carrier()
    server = await asyncio.start_server(carrier.handle, "127.0.0.1", 0)
    with tempfile.TemporaryDirectory() as folder:
        config = write_config(
            Path(folder) / "gateway.toml",
            store={"url": "sqlite:///gateway.db" if store == "sqlite" else store},
            carrier=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}",
        )
        migrated = await run_command("migrate", "--config", str(config))
        assert migrated.status == 0, migrated.stderr
        begun = time.perf_counter()
        async with serve(config) as gateway:
            ready = time.perf_counter()
            print(f"{'start to ready':<28} {1000 * (ready - begun):14.0f} ms")
            client = Client(*gateway.smtp)
            await client.connect()
            await client.send(1)
            await carrier.wait_for(1)
            print(f"{'ready to first SMS':<28} {1000 * (carrier.arrived[1] - ready):14.1f} ms")
            dots: dict[int, float] = {}
            answered: list[float] = []

            async def send_one(number: int) -> None:
                own = client if keep else Client(*gateway.smtp)
                if not keep:
                    await own.connect()
                dots[number], at = await own.send(number)
                answered.append(at - dots[number])
                if not keep:
                    await own.close()

            first = time.perf_counter()
            async with asyncio.TaskGroup() as group:
                for index in range(mails):
                    await asyncio.sleep(max(0.0, first + index / rate - time.perf_counter()))
                    if keep:
                        await send_one(2 + index)
                    else:
                        group.create_task(send_one(2 + index))
            await carrier.wait_for(mails + 1)
            await client.close()
            show("dot to 250", answered)
            show("dot to the carrier's socket", [carrier.arrived[number] - dot for number, dot in dots.items()])
    server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mails", type=int, default=400)
    parser.add_argument("--rate", type=float, default=20.0, help="mails per second")
    parser.add_argument("--store", default="sqlite", help="sqlite, or a postgresql:// URL of an empty database")
    parser.add_argument("--keep", action="store_true", help="one connection for all mails")
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.mails, arguments.rate, arguments.store, arguments.keep))


if __name__ == "__main__":
    main()
