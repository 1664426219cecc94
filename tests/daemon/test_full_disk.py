"""The whole gateway on a disk that fills up and gets room again, and with a queue that is full."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import pytest
import structlog

from gateway.config import Config
from gateway.daemon import Daemon, building
from gateway.daemon import room as room_module
from gateway.daemon.shortage import DiskWatch
from gateway.lifecycle import SmsState
from gateway.sandbox import Sandbox
from gateway.smtp.mailbox import Mailbox
from gateway.store import migrate, tables
from tests.daemon.test_daemon import mail, send
from tests.store.samples import new_order, new_sms, rows
from tests.support.disks import MIB, fill, small_disk

pytestmark = pytest.mark.slow

RESERVE = 8 * MIB


@pytest.fixture
async def on_disk(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Config, Path]]:
    """A gateway whose store is on a small disk; what it looks after, it looks after quickly."""
    monkeypatch.setattr(room_module, "EVERY_S", 0.1)
    monkeypatch.setattr(building, "DiskWatch", SmallDiskWatch)
    with small_disk(tmp_path / "disk", 64 * MIB) as disk:
        store = config.store.model_copy(update={"url": f"sqlite:///{disk}/gateway.db", "reserve_bytes": RESERVE})
        await migrate(store)
        yield config.model_copy(update={"store": store}), disk


class SmallDiskWatch(DiskWatch):
    """Never short before the disk is full to the last byte: then it is the reserve that counts."""

    def _free_bytes(self) -> int:
        return 2**60


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not is_so():  # noqa: ASYNC110 a disk rings no bell
            await asyncio.sleep(0.02)


async def sms_states(daemon: Daemon) -> list[SmsState]:
    return sorted((row["state"] for row in await rows(daemon.store, tables.sms)), key=lambda state: state.value)


async def test_a_full_disk_loses_no_answer_begins_no_call_and_is_left_without_a_restart(
    on_disk: tuple[Config, Path], sandbox: Sandbox, mailbox: Mailbox
) -> None:
    config, disk = on_disk
    sandbox.misbehave("slow", delay_s=0.5)
    with structlog.testing.capture_logs() as lines:
        async with Daemon(config) as daemon:
            await send(daemon, mail("1"))
            await until(lambda: sandbox.calls == 1)
            filler = fill(disk)
            # the answer comes to a full disk
            await until(lambda: "reserve_spent" in [line["event"] for line in lines])
            await until(lambda: "sms_settled" in [line["event"] for line in lines])
            assert await sms_states(daemon) == [SmsState.ACCEPTED]
            refused = await send(daemon, mail("2"))
            calls = sandbox.calls
            filler.unlink()
            await until(lambda: "reserve_filled" in [line["event"] for line in lines[1:]])
            taken = await send(daemon, mail("2"))
            await sandbox.wait_for_messages(2)
            reports = await mailbox.wait_for(4)

    assert (refused[:9], taken[:9]) == ("452 4.3.1", "250 2.0.0")
    assert calls == 1
    assert len(sandbox.messages) == 2
    assert len({report.content for report in reports}) == 4


async def test_it_starts_on_a_full_disk_by_its_reserve_and_sends_nothing(
    on_disk: tuple[Config, Path], sandbox: Sandbox, mailbox: Mailbox
) -> None:
    config, disk = on_disk
    async with Daemon(config) as daemon:
        await send(daemon, mail("1"))
        await mailbox.wait_for(2)
    filler = fill(disk)
    async with Daemon(config) as daemon:
        refused = await send(daemon, mail("2"))
        filler.unlink()
        await until(lambda: daemon.parts.room.find_obstacle() is None)
        taken = await send(daemon, mail("2"))
        await sandbox.wait_for_messages(2)

    assert (refused[:9], taken[:9]) == ("452 4.3.1", "250 2.0.0")


async def test_a_full_queue_takes_no_mail_until_it_is_shorter(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room_module, "EVERY_S", 0.1)
    limited = config.model_copy(update={"store": config.store.model_copy(update={"most_waiting_sms": 2})})
    with structlog.testing.capture_logs() as lines:
        async with Daemon(limited) as daemon:
            later = daemon._clock.now() + timedelta(hours=1)
            waiting = [new_sms(n, due_at=later, expires_at=later + timedelta(hours=1)) for n in (1, 2)]
            await daemon.store.admit(new_order(*waiting, reports=()))
            await until(lambda: "queue_full" in [line["event"] for line in lines])
            replies = [await send(daemon, mail("1"))]
            obstacle = daemon.parts.room.find_obstacle()
            await daemon.store.hold_queued(daemon._clock.now())
            await until(lambda: "queue_has_room" in [line["event"] for line in lines])
            replies.append(await send(daemon, mail("1")))

    assert replies[0] == "452 4.3.1 Too much mail at the moment, try again later"
    assert replies[1].startswith("250 2.0.0")
    assert obstacle == "too many SMS wait to be sent"
