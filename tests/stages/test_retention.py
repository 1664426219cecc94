"""The stage that erases: when it does, how fast, and that the gateway is told what."""

import asyncio
from datetime import datetime, timedelta

import pytest
from structlog.testing import capture_logs

from gateway import retention
from gateway.retention import Retention, RetentionSettings, Step
from gateway.store import Store, tables
from tests.store.samples import rows
from tests.store.test_purging import finish, secret_order
from tests.support.clock import START, ManualClock

SETTINGS = RetentionSettings(contents_days=30, records_days=400)


async def test_contents_go_after_a_month_and_records_after_a_year(store: Store) -> None:
    await finish(store, secret_order(1))
    found = []
    for days in (29, 31, 399, 401):
        with capture_logs() as log:
            await retention.purge(store, SETTINGS, now=START + timedelta(days=days))
        found.append([(line["event"], line["what"], line["mails"]) for line in log])

    assert found == [[], [("store_purged", "contents", 1)], [], [("store_purged", "records", 1)]]
    assert await rows(store, tables.mail) == []


async def test_a_step_says_whether_more_is_left(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "AT_ONCE", 2)
    await finish(store, *(secret_order() for _ in range(3)))
    now = START + timedelta(days=31)

    assert not (await retention.purge(store, SETTINGS, now=now)).is_last
    assert (await retention.purge(store, SETTINGS, now=now)).is_last


async def test_it_works_by_itself_and_stops_when_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await finish(store, secret_order(1))
    stage = Retention(store=store, clock=ManualClock(START + timedelta(days=31)), settings=SETTINGS)
    real, done = retention.purge, asyncio.Event()

    async def purge(store: Store, settings: RetentionSettings, *, now: datetime) -> Step:
        step = await real(store, settings, now=now)
        done.set()
        return step

    monkeypatch.setattr(retention, "purge", purge)
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(stage.run())
        await done.wait()
        stage.stop()

    assert (await rows(store, tables.mail))[0]["purged_at"] is not None
