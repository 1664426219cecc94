"""Clients that break off, creep, flood and come in numbers: nothing of theirs is half done, and others are served."""

import asyncio
import contextlib
import resource
import socket
import sqlite3
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from gateway.sandbox import Sandbox
from tests.faults.carriers import Carrier, accepts
from tests.faults.field import Field, field, make_mail
from tests.support.configuration import RECIPIENT, SENDER

pytestmark = pytest.mark.slow

MIB = 1024 * 1024
Hostility = Callable[[Field], Awaitable[None]]


@asynccontextmanager
async def dialogue(ground: Field, *lines: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Give a connection on which these lines were said and answered; it is broken off in the end."""
    reader, writer = await asyncio.open_connection(*ground.gateway.smtp)
    try:
        await reader.readline()
        for line in lines:
            writer.write(line.encode() + b"\r\n")
            await reader.readline()
        yield reader, writer
    finally:
        writer.transport.abort()


BEGINNING = ("HELO client.masociete.com", f"MAIL FROM:<{SENDER}>", f"RCPT TO:<{RECIPIENT}>", "DATA")


def reset_in_the_end(writer: asyncio.StreamWriter) -> None:
    """The other side will be told that the connection is broken, not just that nothing more comes."""
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


@asynccontextmanager
async def locked(ground: Field) -> AsyncIterator[None]:
    """Within the block nobody can write to the store."""
    with closing(sqlite3.connect(ground.config.with_name("gateway.db"), isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")


async def test_a_client_that_is_gone_before_its_answer_is_no_error_of_ours(tmp_path: Path) -> None:
    async with Sandbox() as sandbox, field(tmp_path, carrier=sandbox.url) as ground:
        async with locked(ground):
            for number in range(3):
                async with dialogue(ground, *BEGINNING) as (_, writer):
                    writer.write(make_mail(str(number), f"060102030{number}") + b".\r\n")
                    await writer.drain()
                    await asyncio.sleep(0.2)  # the mail is with the store now
                    reset_in_the_end(writer)
            await asyncio.sleep(0.2)
        async with asyncio.timeout(20):
            await sandbox.wait_for_messages(3)

        assert ground.events("session_failed") == []
        assert len(ground.events("envoi_admitted")) == 3


async def test_large_mails_hold_nobody_up(tmp_path: Path) -> None:
    """Four of 25 MB at a time are refused by the usual limit, and taken by a higher one."""
    big = 25 * MIB
    async with Carrier(accepts) as carrier:
        async with field(tmp_path, carrier=carrier.url) as ground:
            replies, waits_s = await send_large(ground, big)

            assert {reply[:9] for reply in replies} == {"552 5.3.4"}
            assert max(waits_s) < 20  # they would wait for minutes if they had to wait for the large ones

        higher = tmp_path / "higher"
        higher.mkdir()
        async with field(higher, carrier=carrier.url, smtp={"max_mail_bytes": 30 * MIB}) as ground:
            replies, waits_s = await send_large(ground, big)

            assert {reply[:3] for reply in replies} == {"250"}
            assert max(waits_s) < 20  # they would wait for minutes if they had to wait for the large ones


async def send_large(ground: Field, size: int) -> tuple[list[str], list[float]]:
    """Send four large mails at once; return the replies, and what small ones had to wait for theirs meanwhile."""
    waits_s = []
    async with asyncio.TaskGroup() as group:
        large = [
            group.create_task(ground.send(make_mail(f"large-{index}", f"060102031{index}", padding=size)))
            for index in range(4)
        ]
        count = 0
        while not all(one.done() for one in large):
            began, count = time.monotonic(), count + 1  # noqa: TID251 of the test
            reply = await ground.send(make_mail(f"small-{count}", f"0601{count:06d}"))
            waits_s.append(time.monotonic() - began)  # noqa: TID251 of the test

            assert reply.startswith("250")

    return [one.result() for one in large], waits_s


async def test_500_recipients_are_one_mail_and_501_are_none(tmp_path: Path) -> None:
    async with Carrier(accepts) as carrier, field(tmp_path, carrier=carrier.url) as ground:
        numbers = [f"0601{index:06d}" for index in range(501)]
        replies = [await ground.send(make_mail("500", *numbers[:500])), await ground.send(make_mail("501", *numbers))]
        await ground.until(lambda: ground.states() == ["accepted"] * 500)
        await ground.mailbox.wait_for(4, timeout_s=20)

        assert [reply[:3] for reply in replies] == ["250", "250"]
        assert len(carrier.requests) <= 16  # of fifty, but for the first few
        assert len(set(carrier.numbers)) == 500
        assert [line["sms"] for line in ground.events("envoi_admitted")] == [500, 0]
        assert any(b"<code>23</code>" in mail.content for mail in ground.mailbox.mails)


async def test_two_hundred_hostile_clients_do_not_keep_a_good_one_waiting(tmp_path: Path) -> None:
    """They creep, flood, say nothing, talk nonsense; memory and descriptors stay within bounds."""

    async def creep(ground: Field) -> None:
        async with dialogue(ground, *BEGINNING) as (_, writer):
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(2)

    async def flood(ground: Field) -> None:
        async with dialogue(ground, *BEGINNING) as (_, writer):
            while True:
                writer.write(b"x" * 65_536)
                await writer.drain()
                await asyncio.sleep(0.05)

    async def babble(ground: Field) -> None:
        async with dialogue(ground) as (reader, writer):
            while await reader.readline():
                writer.write(b"GET / HTTP/1.1\r\n\r\n" * 10)
                await writer.drain()

    async def keep_silent(ground: Field) -> None:
        async with dialogue(ground):
            await asyncio.sleep(3600)

    async def come_again(ground: Field, hostility: Hostility) -> None:
        while True:
            with contextlib.suppress(OSError):
                await hostility(ground)
            await asyncio.sleep(0.5)

    smtp = {"max_connections_per_client": 300, "max_connections": 300}
    async with Carrier(accepts) as carrier, field(tmp_path, carrier=carrier.url, smtp=smtp) as ground:
        async with asyncio.TaskGroup() as group:
            numbers: dict[Hostility, int] = {creep: 80, keep_silent: 80, flood: 20, babble: 20}
            tasks = [
                group.create_task(come_again(ground, hostility))
                for hostility, number in numbers.items()
                for _ in range(number)
            ]
            await asyncio.sleep(3)
            waits_s = []
            for index in range(10):
                began = time.monotonic()  # noqa: TID251 of the test
                reply = await ground.send(make_mail(str(index), f"060102040{index}"))
                waits_s.append(time.monotonic() - began)  # noqa: TID251 of the test

                assert reply.startswith("250")

            used = ground.descriptors()
            for task in tasks:
                task.cancel()
        assert sorted(waits_s)[8] < 2
        assert ground.status("VmHWM") <= 512 * 1024
        assert used <= 0.75 * resource.getrlimit(resource.RLIMIT_NOFILE)[0]  # the process has inherited ours
