"""Signals under load: SIGHUP again and again, and a process that is stopped and goes on.

For longer than its lease: FAULT_PAUSE_S=130 in the environment.
"""

import asyncio
import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from gateway.sandbox import Sandbox
from tests.faults.field import Field, field, make_mail

pytestmark = pytest.mark.slow

MAILS = 60
CALL_S = 10.0
PAUSE_S = float(os.environ.get("FAULT_PAUSE_S", "1.5"))


async def send_all(ground: Field) -> None:
    async with asyncio.TaskGroup() as group:
        for index in range(MAILS):
            group.create_task(ground.send(make_mail(str(index), f"06010300{index:02d}")))
            await asyncio.sleep(0.02)


def assert_each_once(ground: Field, sandbox: Sandbox) -> None:
    assert set(Counter(sms["number"] for sms in sandbox.messages).values()) == {1}
    assert len(sandbox.messages) == MAILS
    assert set(ground.nots().values()) == {0}


async def test_a_storm_of_hangups_under_load_harms_nothing(tmp_path: Path) -> None:
    async with Sandbox() as sandbox, field(tmp_path, carrier=sandbox.url) as ground:
        sandbox.misbehave("slow", delay_s=0.05)
        text = ground.config.read_text()
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(send_all(ground))
            turn = 0
            while not sending.done():
                turn += 1  # every other time the carrier is another one, so that the one in use is retired
                new = ground.config.with_suffix(".new")
                new.write_text(text.replace("[[providers]]", f"[[providers]]\nwidth = {4 + turn % 2}"))
                new.replace(ground.config)  # at once: half a file would be refused
                ground.gateway.send_signal(signal.SIGHUP)
                await asyncio.sleep(0.05)
        await ground.until(lambda: len(ground.nots()) == MAILS)

        assert len(ground.events("configuration_reloaded")) > 5
        assert ground.events("configuration_unusable") == []
        assert_each_once(ground, sandbox)


@pytest.mark.timeout(120 + 4 * PAUSE_S)
async def test_a_process_that_stood_still_takes_no_call_for_dead_and_doubles_none(tmp_path: Path) -> None:
    """Calls under way were answered while it stood still, and that counts when it wakes, unless their time was over."""
    provider = {"timeout_s": CALL_S, "batch_size": 5}
    async with Sandbox() as sandbox, field(tmp_path, carrier=sandbox.url, provider=provider) as ground:
        sandbox.misbehave("slow", delay_s=0.5)
        await send_all(ground)
        for _ in range(3):
            ground.gateway.send_signal(signal.SIGSTOP)
            await asyncio.sleep(PAUSE_S)
            ground.gateway.send_signal(signal.SIGCONT)
            await asyncio.sleep(0.6)
        await ground.until(lambda: len(ground.nots()) == MAILS)
        unknown = [line for line in ground.events("sms_settled") if line["state"] == "uncertain"]

        assert set(Counter(sms["number"] for sms in sandbox.messages).values()) == {1}
        assert len(sandbox.messages) == MAILS
        assert set(ground.nots().values()) <= {0, 999}
        if PAUSE_S < CALL_S:
            assert unknown == []
