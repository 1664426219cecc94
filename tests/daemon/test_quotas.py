"""docs/protocol.md §10.5, §10.6 through the whole gateway: a storm of alerts, and mails that come too fast."""

import asyncio
import re
from collections import Counter
from pathlib import Path

import httpx
import pytest

from gateway.config import Config, load
from gateway.daemon import Daemon
from gateway.lifecycle import SmsState
from gateway.sandbox import Sandbox
from gateway.smtp.mailbox import Mailbox
from gateway.store import Store, migrate, tables
from tests.daemon.test_daemon import mail, send, url
from tests.store.samples import rows
from tests.support.clock import START, ManualClock
from tests.support.configuration import write_config

STORM = 500
FIRST = 10
PATIENCE_S = 200.0
"""For a machine that has a lot of other things to do."""


async def configure(folder: Path, sandbox: Sandbox, mailbox: Mailbox, **account: object) -> Config:
    path = folder / "gateway.toml"
    write_config(
        path,
        smarthost=mailbox.address,
        carrier=sandbox.url,
        account={"mail": "it@agency.example", **account},
        http={"listen": "127.0.0.1:0"},
    )
    loaded = load(path, environ={})
    await migrate(loaded.store)
    return loaded


def without_ack(content: bytes) -> bytes:
    """Half as many reports."""
    return content.replace(b"<emailAck>ack@masociete.com</emailAck>\r\n", b"")


async def send_all(daemon: Daemon, contents: list[bytes]) -> list[bytes]:
    """Hand them in, twenty at a time; return those that were told to come back."""
    put_off: list[bytes] = []
    left = iter(contents)

    async def work() -> None:
        put_off.extend([content for content in left if not (await send(daemon, content)).startswith("250")])

    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(work())
    return put_off


@pytest.mark.slow
async def test_of_a_storm_the_first_ones_go_the_rest_are_29_and_the_sum_is_told(
    tmp_path: Path, sandbox: Sandbox, mailbox: Mailbox
) -> None:
    guard = {"per": "recipient", "window": "hour", "sms": FIRST}
    config = await configure(tmp_path, sandbox, mailbox, quotas=[guard])
    clock = ManualClock(START)
    mails = [without_ack(mail(str(number))) for number in range(STORM)]
    async with asyncio.timeout(3 * PATIENCE_S):
        async with Daemon(config, clock=clock) as daemon:
            while mails:  # a machine that is very busy puts mails off for other reasons than a quota
                mails = await send_all(daemon, mails)
            elsewhere = await send(daemon, without_ack(mail("other", number="0601020305")))
            await sandbox.wait_for_messages(FIRST + 1)
            await mailbox.wait_for(STORM + 1, timeout_s=PATIENCE_S)
        clock.advance(2 * 3600)  # the window is over, while the gateway is down: it is told all the same
        async with Daemon(config, clock=clock):
            await mailbox.wait_for(STORM + 2, timeout_s=PATIENCE_S)
    nots = [one.content.decode("iso-8859-1") for one in mailbox.mails if one.recipients == ("not@masociete.com",)]
    (alarm,) = [one.content for one in mailbox.mails if one.recipients == ("it@agency.example",)]

    assert elsewhere.startswith("250")
    assert len(sandbox.messages) == FIRST + 1
    assert Counter(re.findall(r"<code>(\d+)</code>", "".join(nots))) == {"0": FIRST + 1, "29": STORM - FIRST}
    assert b"Auto-Submitted: auto-generated" in alarm
    assert f"{STORM - FIRST} more / de plus: +33*****304".encode() in alarm.replace(b"=\r\n", b"")


@pytest.mark.slow
async def test_mails_that_come_too_fast_are_451_and_none_is_lost(
    tmp_path: Path, sandbox: Sandbox, mailbox: Mailbox
) -> None:
    config = await configure(
        tmp_path, sandbox, mailbox, quotas=[{"per": "sender", "window": "minute", "mails": 5}], volume_warning=1
    )
    clock = ManualClock(START)
    mails, rounds = [mail(str(number), number=f"06010203{number:02}") for number in range(12)], 0
    async with asyncio.timeout(3 * PATIENCE_S):
        while mails:
            async with Daemon(config, clock=clock) as daemon:
                mails = await send_all(daemon, mails)
                if not mails:
                    await sandbox.wait_for_messages(12)
            clock.advance(70)  # between two lives, for a call under way would seem to take as long
            rounds += 1
    store = await Store.open(config.store)
    found = await rows(store, tables.sms)
    taken = Counter(one["received_at"] for one in await rows(store, tables.mail))
    await store.close()

    assert rounds >= 3
    assert max(taken.values()) <= 5
    assert sorted(one["position"] for one in found) == [1] * 12
    assert {one["state"] for one in found} <= {SmsState.ACCEPTED, SmsState.DELIVERED}
    assert len(sandbox.messages) == 12


@pytest.mark.slow
async def test_a_reload_puts_a_quota_into_force_and_metrics_count_what_it_held_back(
    tmp_path: Path, sandbox: Sandbox, mailbox: Mailbox
) -> None:
    config = await configure(tmp_path, sandbox, mailbox)
    limited = await configure(tmp_path, sandbox, mailbox, quotas=[{"per": "account", "window": "day", "parts": 1}])
    async with Daemon(config) as daemon, httpx.AsyncClient(base_url=url(daemon)) as client:
        before = _held_back((await client.get("/metrics")).text)
        await send(daemon, mail("1"))
        await daemon.reload(limited)
        for number in ("2", "3"):
            await send(daemon, mail(number))
        after = _held_back((await client.get("/metrics")).text)

    assert after - before == 1


def _held_back(metrics: str) -> float:
    return float(re.findall(r"^mail2sms_sms_held_back_total (\S+)$", metrics, re.MULTILINE)[0])
