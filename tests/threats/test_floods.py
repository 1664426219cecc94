"""T19: whoever floods, creeps or babbles, a good client is served, and memory and descriptors stay within bounds."""

import asyncio
import resource
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.faults.carriers import Carrier, accepts
from tests.faults.field import Field, make_mail
from tests.threats.attacker import (
    OPENING,
    STRANGER,
    connected,
    is_served,
    peak_kib,
    siege,
    submit,
    under_attack,
    waits_of_a_good_client,
)

pytestmark = pytest.mark.slow

MOST_KIB = 512 * 1024
PATIENCE_S = 5.0
"""What a good client may have to wait, for the middle one of several mails: two, and this machine plays all parts."""

MIB = 1024 * 1024

FLOODS: dict[str, tuple[bytes, bytes]] = {
    "a line without end": (b"", b"x" * 65_536),
    "NOOP": (b"EHLO a\r\n", b"NOOP\r\n" * 500),
    "RSET": (b"EHLO a\r\n", b"RSET\r\n" * 500),
    "EHLO": (b"", b"EHLO a\r\n" * 200),
    "blank lines": (b"EHLO a\r\n", b"\r\n" * 2_000),
    "errors": (b"EHLO a\r\n", b"XYZZY\r\n" * 500),
    "recipients": (b"EHLO a\r\nMAIL FROM:<alerte@masociete.com>\r\n", b"RCPT TO:<sendsms@gw.example.org>\r\n" * 300),
    "DATA without end": (OPENING, b"x" * 76 + b"\r\n" + b"y" * 65_000),
    "DATA in one line": (OPENING, b"x" * 65_536),
    "short lines": (OPENING, b"x\r\n" * 20_000),
    "dots": (OPENING, b"..\r\n" * 15_000),
    "mails of strangers": (b"EHLO a\r\n", OPENING[OPENING.index(b"MAIL") :] + b"hello\r\n.\r\n"),
    "MAIL": (b"EHLO a\r\n", b"MAIL FROM:<alerte@masociete.com>\r\nRSET\r\n" * 200),
    "STARTTLS": (b"EHLO a\r\n", b"STARTTLS\r\n" * 300),
    "AUTH": (b"EHLO a\r\n", b"AUTH PLAIN AGEAYg==\r\n" * 300),
}


def flood(ground: Field, name: str, source: str) -> Callable[[], Awaitable[None]]:
    """Return the attack: a connection on which it is said until the gateway has enough, three seconds at most."""
    opening, again = FLOODS[name]

    async def attack() -> None:
        async with connected(ground.gateway.smtp, source=source) as raw, asyncio.TaskGroup() as group:
            reading = group.create_task(raw.all())
            await raw.send(opening)
            for _ in range(60):
                if reading.done():
                    return
                await raw.send(again)
                await asyncio.sleep(0.05)
            reading.cancel()

    return attack


@pytest.mark.parametrize("source", ["strangers", "a trusted client gone mad"])
async def test_no_flood_keeps_a_good_client_waiting(tmp_path: Path, source: str) -> None:
    """Every flood there is at once, three connections of each."""
    async with Carrier(accepts) as carrier, siege(tmp_path, carrier, smtp={"error_delay_s": 1}) as ground:
        addresses = ["127.0.0.1"] * 3 if source != "strangers" else [f"127.0.1.{number}" for number in range(1, 4)]
        attacks = [flood(ground, name, address) for name in FLOODS for address in addresses]
        async with under_attack(attacks):
            await asyncio.sleep(1)
            waits_s = await waits_of_a_good_client(ground, "good")
        await is_served(ground, "after")

        assert waits_s[3] < PATIENCE_S
        assert peak_kib(ground) < MOST_KIB
        assert {sms["tel"][:8] for sms in ground.sms()} == {"06010204", "06010203"}
        assert ground.events("session_failed") == []


async def test_a_thousand_connections_of_strangers_leave_room_for_our_own(tmp_path: Path) -> None:
    """From one address, and from sixty: who is trusted finds a place, and the log is not flooded."""
    smtp = {"max_connections": 200, "max_connections_per_client": 20}
    async with AsyncExitStack() as stack:
        carrier = await stack.enter_async_context(Carrier(accepts))
        ground = await stack.enter_async_context(siege(tmp_path, carrier, smtp=smtp))
        refused = 0
        for number in range(600):
            address = f"127.0.{2 + number % 2}.{1 + number // 20}"
            raw = await stack.enter_async_context(connected(ground.gateway.smtp, source=address))
            refused += not (await raw.line()).startswith("220")
        waits_s = await waits_of_a_good_client(ground, "good")

        assert refused == 600 - 160  # a fifth of two hundred is for who is trusted
        assert waits_s[3] < PATIENCE_S
        assert len(ground.events("connection_refused")) < 60
        assert ground.descriptors() < 0.75 * resource.getrlimit(resource.RLIMIT_NOFILE)[0]


async def test_one_stranger_connects_so_often_and_no_more(tmp_path: Path) -> None:
    """A hundred at once, and so many a minute; a trusted client is not counted."""
    smtp = {"max_connections_per_client": 10, "max_new_connections_per_client": 30}
    async with AsyncExitStack() as stack:
        ground = await stack.enter_async_context(siege(tmp_path, smtp=smtp))
        banners = []
        for _ in range(15):
            raw = await stack.enter_async_context(connected(ground.gateway.smtp, source=STRANGER))
            banners.append((await raw.line())[:3])
        began = asyncio.get_running_loop().time()
        for _ in range(60):
            async with connected(ground.gateway.smtp, source="127.0.0.67") as raw:
                banners.append((await raw.line())[:3])

        forgiven = (asyncio.get_running_loop().time() - began) / 2 + 1  # one every two seconds

        assert banners[:15] == ["220"] * 10 + ["421"] * 5
        assert 30 <= banners[15:].count("220") <= 30 + forgiven
        await is_served(ground, "good")


async def test_large_mails_of_many_are_bounded_together(tmp_path: Path) -> None:
    """Forty connections with ten megabytes each: what is in flight has a bound, and who is beyond it comes back."""
    smtp = {"bytes_in_flight": 32 * MIB}
    async with Carrier(accepts) as carrier, siege(tmp_path, carrier, smtp=smtp) as ground:

        async def fill() -> str:
            async with connected(ground.gateway.smtp) as raw:
                await raw.send(OPENING)
                opening = [await raw.reply() for _ in range(5)]
                if not opening[-1].startswith("354"):
                    return next(reply for reply in opening if reply[:1] == "4")
                line = b"x" * 998 + b"\r\n"
                for _ in range(80):
                    await raw.send(line * 128)
                return await raw.ask(b".")

        async with asyncio.TaskGroup() as group:
            filling = [group.create_task(fill()) for _ in range(40)]
            waits_s = []
            for number in range(5):
                began = asyncio.get_running_loop().time()
                reply = await submit(ground, make_mail(f"small{number}", f"060102040{number}"))
                waits_s.append(asyncio.get_running_loop().time() - began)
                assert reply[:3] in {"250", "452"}
        replies = {task.result()[:9] for task in filling}

        assert replies <= {"452 4.3.1", "550 5.7.1", "554 5.6.0", "552 5.3.4"}
        assert "452 4.3.1" in replies
        assert sorted(waits_s)[2] < PATIENCE_S
        assert peak_kib(ground) < MOST_KIB
        await is_served(ground, "after")
