"""The real command, and the processes that read its mails killed at any moment; and that none of them outlives it."""

import asyncio
import os
import random
import signal
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.clock import SystemClock
from gateway.proof.client import submit
from gateway.proof.house import house, make_template
from gateway.proof.ledger import find_faults
from gateway.proof.orders import Customer, Order, write_order
from gateway.proof.process import GatewayProcess
from tests.crash.test_crash import ROUNDS

KILLS = 10 * ROUNDS
LONGEST_S = 0.1
CLIENTS = 4

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300 + KILLS)]


def children_of(gateway: GatewayProcess) -> list[int]:
    """Return the process ids of its children."""
    pid = gateway.pid
    with suppress(FileNotFoundError, ProcessLookupError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def is_running(pid: int) -> bool:
    """True while the process is there; a zombie is gone."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


async def until_gone(pids: list[int]) -> None:
    async with asyncio.timeout(10):
        while any(map(is_running, pids)):  # noqa: ASYNC110 not our children: there is nothing to wait for
            await asyncio.sleep(0.01)


class Senders:
    """Clients that send one order after the other, each until it is taken."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.orders: list[Order] = []
        self.replies: Counter[str] = Counter()
        self.is_ending = False

    async def send(self) -> None:
        while not self.is_ending:
            order = write_order(len(self.orders), Customer.HOLD, numbers=1, is_listed=len(self.orders) % 4 == 0)
            self.orders.append(order)
            reply = ""
            while not reply.startswith("250"):
                reply = await submit(self.address, order)
                self.replies[reply[:3]] += 1


async def test_mails_whose_readers_are_killed_get_250_or_451_and_none_is_lost(tmp_path: Path) -> None:
    async with house(tmp_path / "house", SystemClock(), store=await make_template(tmp_path)) as here:
        gateway = await here.start()
        try:
            senders = Senders(await gateway.ready())
            async with asyncio.TaskGroup() as group:
                for number in range(CLIENTS):
                    group.create_task(senders.send(), name=f"client {number}")
                for _ in range(KILLS):
                    await asyncio.sleep(random.uniform(0, LONGEST_S))
                    for pid in random.sample(children := children_of(gateway), k=min(1, len(children))):
                        with suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGKILL)
                senders.is_ending = True
            unfinished = await here.quieten(senders.orders)
            status = await gateway.stop()
        finally:
            await gateway.kill()
        here.book()
        faults = [fault for order in senders.orders for fault in find_faults(here.ledger.look_up(order))]

        assert [str(fault) for fault in (*unfinished, *faults)] == []
        assert status == 0
        assert set(senders.replies) <= {"250", "451"}
        assert "reader_replaced" in here.log
        assert "Traceback" not in here.log


@pytest.mark.parametrize(
    "signals", [[signal.SIGKILL], [signal.SIGTERM], [signal.SIGTERM] * 2], ids=["kill", "stop", "cut"]
)
async def test_no_reader_outlives_the_gateway(tmp_path: Path, signals: list[signal.Signals]) -> None:
    async with house(tmp_path / "house", SystemClock(), store=await make_template(tmp_path)) as here:
        gateway = await here.start()
        try:
            address = await gateway.ready()
            async with asyncio.TaskGroup() as group:
                group.create_task(submit(address, write_order(0, Customer.HOLD, numbers=1, is_listed=True)))
                await asyncio.sleep(random.uniform(0, LONGEST_S))
                pids = children_of(gateway)
                for number in signals:
                    gateway.send_signal(number)
                await gateway.wait()
                await until_gone(pids)
        finally:
            await gateway.kill()

    assert len(pids) == 2
