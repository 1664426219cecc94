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


async def send_all(daemon: Daemon, contents: list[bytes]) -> Counter[str]:
    """Hand them in, twenty at a time; return how often each code was said."""
    said: Counter[str] = Counter()
    left = iter(contents)

    async def work() -> None:
        for content in left:
            said[(await send(daemon, content))[:3]] += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(work())
    return said


@pytest.mark.slow
async def test_of_a_storm_the_first_ones_go_the_rest_are_29_and_the_sum_is_told(
    tmp_path: Path, sandbox: Sandbox, mailbox: Mailbox
) -> None:
    guard = {"per": "recipient", "window": "hour", "sms": FIRST}
    config = await configure(tmp_path, sandbox, mailbox, quotas=[guard])
    clock = ManualClock(START)
    async with asyncio.timeout(240):
        async with Daemon(config, clock=clock) as daemon:
            said = await send_all(daemon, [mail(str(number)) for number in range(STORM)])
            elsewhere = await send(daemon, mail("other", number="0601020305"))
            await sandbox.wait_for_messages(FIRST + 1)
            await mailbox.wait_for(2 * (STORM + 1))
            clock.advance(2 * 3600)
        # the window is over, while the gateway was down: it is told all the same
        async with Daemon(config, clock=clock):
            await mailbox.wait_for(2 * (STORM + 1) + 1)
    nots = [one.content.decode("iso-8859-1") for one in mailbox.mails if one.recipients == ("not@masociete.com",)]
    (alarm,) = [one.content for one in mailbox.mails if one.recipients == ("it@agency.example",)]

    assert said == {"250": STORM}
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
    contents = [mail(str(number), number=f"06010203{number:02}") for number in range(12)]
    async with asyncio.timeout(240):
        async with Daemon(config, clock=clock) as daemon:
            rounds = []
            for _ in range(3):
                rounds.append(await send_all(daemon, contents))  # what was taken is retransmitted: 250, and not counted
                clock.advance(70)
            await sandbox.wait_for_messages(12)
    store = await Store.open(config.store)
    found = await rows(store, tables.sms)
    await store.close()

    assert [one["451"] for one in rounds] == [7, 2, 0]
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
