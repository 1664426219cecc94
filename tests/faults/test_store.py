"""The store is locked, or away, for a while: clients are told to come back, and nothing is lost."""

import asyncio
import os
import sqlite3
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from gateway.sandbox import Sandbox
from tests.faults.field import Field, field, make_mail
from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.slow

LOCK_S = float(os.environ.get("FAULT_LOCK_S", "7"))
RESUME_S = 30.0


async def keep_sending(ground: Field, number: str, *, first: float) -> tuple[Counter[str], float]:
    """Send one mail until it is taken; return the replies, and how long the first refusal took."""
    replies: Counter[str] = Counter()
    began = time.monotonic()  # noqa: TID251 of the test
    refused_s = first
    while not replies["250"]:
        reply = await ground.send(make_mail(number, number))
        if reply[:3] == "451" and not replies["451"]:
            refused_s = time.monotonic() - began  # noqa: TID251 of the test
        replies[reply[:3]] += 1
        await asyncio.sleep(0.2)
    return replies, refused_s


async def test_a_locked_store_is_waited_for_and_then_clients_come_back(tmp_path: Path) -> None:
    async with Sandbox() as sandbox, field(tmp_path, carrier=sandbox.url) as ground:
        sandbox.misbehave("slow", delay_s=1, count=1)
        await ground.send(make_mail("0", "0601020300"))
        async with asyncio.TaskGroup() as group:
            with closing(sqlite3.connect(ground.config.with_name("gateway.db"), isolation_level=None)) as connection:
                connection.execute("BEGIN EXCLUSIVE")
                clients = [
                    group.create_task(keep_sending(ground, f"060102030{index}", first=0)) for index in range(1, 5)
                ]
                await asyncio.sleep(LOCK_S)
                connection.execute("ROLLBACK")
        await ground.until(lambda: ground.states() == ["accepted"] * 5)
        replies = sum((client.result()[0] for client in clients), Counter[str]())
        slowest_s = max(client.result()[1] for client in clients)

        assert replies.keys() == {"250", "451"}
        assert slowest_s <= 5 + 2
        assert sorted(sms["number"] for sms in sandbox.messages) == [f"3360102030{index}" for index in range(5)]
        await ground.until(lambda: len(ground.nots()) == 5)


async def test_postgresql_may_stop_and_start(tmp_path: Path, postgres: PostgresServer) -> None:
    postgres.create("faults")
    store = {"url": postgres.url("faults")}
    async with Sandbox() as sandbox, field(tmp_path, carrier=sandbox.url, store=store) as ground:
        await ground.send(make_mail("1", "0601020301"))
        await sandbox.wait_for_messages(1)
        postgres.stop()
        refused = await ground.send(make_mail("2", "0601020302"))
        postgres.start()
        async with asyncio.timeout(RESUME_S):
            replies, _ = await keep_sending(ground, "0601020302", first=0)
            await sandbox.wait_for_messages(2)
        await ground.mailbox.wait_for(4, timeout_s=RESUME_S)

        assert refused[:3] == "451"
        assert replies.keys() <= {"250", "451"}
        assert [sms["number"] for sms in sandbox.messages] == ["33601020301", "33601020302"]
