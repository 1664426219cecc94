"""What one account's trouble, or its mailing, costs another: how long a mail takes from its final dot to the carrier.

    python -m benchmarks.fairness [--mails 100] [--rate 4] [--call-ms 200]

Runs the real daemon as a process, each time with the same mails of one account, one after the other: alone; while the
carrier of another account takes connections and never answers, with 500 SMS for it waiting; and while four accounts
have 500 SMS each at the same carrier, whose every call takes a while and which takes two at a time: all accounts alike,
then the mailings `bulk`, then the one account `alert` too. Prints median, p95 and p95 over that of the first.
"""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from benchmarks.latency import MAIL, Carrier, Client
from tests.support.gateway import run_command, serve

HEAD = """
[smtp]
hostname = "gw.example.org"
listen = ["127.0.0.1:0"]
recipients = ["sendsms@gw.example.org"]
[store]
url = "sqlite:///gateway.db"
[reports]
smarthost = "127.0.0.1:9"
sender = "sendsms@gw.example.org"
"""
PROVIDER = """
[[providers]]
name = "{name}"
kind = "isendpro"
base_url = "http://127.0.0.1:{port}/cgi-bin"
width = 2
timeout_s = 20
"""
ACCOUNT = """
[[accounts]]
name = "{name}"
keyid = "{keyid}"
domains = ["masociete.com"]
providers = ["{provider}"]
priority = "{priority}"
"""
KEYID = "a296464ce012b8ab710a"
ROUNDS = {  # by name: (provider of the others, how many others, their class, the class of the one)
    "alone": ("carrier", 0, "normal", "normal"),
    "a dead carrier of another": ("dead", 1, "normal", "normal"),
    "mailings, all alike": ("carrier", 4, "normal", "normal"),
    "mailings are bulk": ("carrier", 4, "bulk", "normal"),
    "mailings are bulk, alert": ("carrier", 4, "bulk", "alert"),
}


MAILING = 500
FIRST_OF_MAILINGS = 50_000_000


def mailing(keyid: str, first: int) -> str:
    numbers = "".join(f"<num{place}>06{first + place:08d}</num{place}>\r\n" for place in range(1, MAILING + 1))
    return MAIL.replace(KEYID, keyid).replace("<num>06{id:08d}</num>\r\n", numbers)


async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(65_536):
        pass
    writer.close()


async def play(name: str, *, mails: int, rate: float, call_s: float) -> list[float]:
    """Return the times of one round."""
    provider, others, their_class, own_class = ROUNDS[name]
    carrier = Carrier(call_s)
    server = await asyncio.start_server(carrier.handle, "127.0.0.1", 0)
    dead = await asyncio.start_server(never_answer, "127.0.0.1", 0)
    ports = {"carrier": server.sockets[0].getsockname()[1], "dead": dead.sockets[0].getsockname()[1]}
    accounts = [ACCOUNT.format(name="one", keyid=KEYID, provider="carrier", priority=own_class)]
    keys = [f"{number}" * 20 for number in range(others)]
    accounts += [ACCOUNT.format(name=f"m{key}", keyid=key, provider=provider, priority=their_class) for key in keys]
    accounts += [ACCOUNT.format(name="idle", keyid="idle", provider="dead", priority="normal")]
    providers = [PROVIDER.format(name=one, port=port) for one, port in ports.items()]
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "gateway.toml"
        config.write_text("".join([HEAD, *accounts, *providers]))
        migrated = await run_command("migrate", "--config", str(config))
        assert migrated.status == 0, migrated.stderr
        async with serve(config) as gateway:
            client = Client(*gateway.smtp)
            await client.connect()
            for index, key in enumerate(keys):
                first = FIRST_OF_MAILINGS + MAILING * index
                await client.send(first, mailing(key, first))
            dots: dict[int, float] = {}
            begun = time.perf_counter()
            for number in range(mails):
                await asyncio.sleep(max(0.0, begun + number / rate - time.perf_counter()))
                dots[number], _ = await client.send(number)
            async with asyncio.timeout(60), carrier.changed:
                await carrier.changed.wait_for(lambda: dots.keys() <= carrier.arrived.keys())
            left = MAILING * others - sum(number >= FIRST_OF_MAILINGS for number in carrier.arrived)
            print(f"{name:<28} SMS of others left at the end: {left}")
            await client.close()
            await gateway.kill()
    for one in (server, dead):
        one.close()
    return sorted(1000 * (carrier.arrived[number] - dot) for number, dot in dots.items())


async def measure(mails: int, rate: float, call_s: float) -> None:
    baseline = 0.0
    for name in ROUNDS:
        times = await play(name, mails=mails, rate=rate, call_s=call_s)
        p95 = times[min(len(times) - 1, round(0.95 * len(times)))]
        baseline = baseline or p95
        ratio = p95 / baseline
        print(f"{name:<28} median {times[len(times) // 2]:7.1f} ms   p95 {p95:7.1f} ms   {ratio:5.2f} x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mails", type=int, default=100)
    parser.add_argument("--rate", type=float, default=4.0, help="mails per second")
    parser.add_argument("--call-ms", type=float, default=200.0, help="how long the carrier takes for a call")
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.mails, arguments.rate, arguments.call_ms / 1000))


if __name__ == "__main__":
    main()
