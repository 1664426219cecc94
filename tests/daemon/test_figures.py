"""Figures that the process itself gives: of its log and of its reloads."""

import re
import signal

import httpx
import pytest

from gateway.config import Config
from tests.daemon.test_process import logged
from tests.support.gateway import GatewayProcess, serve

pytestmark = pytest.mark.slow


async def figures(gateway: GatewayProcess) -> dict[str, float]:
    async with httpx.AsyncClient(base_url=gateway.http, timeout=30) as client:
        text = (await client.get("/metrics")).text
    return {name: float(value) for name, value in re.findall(r"^(mail2sms_\S+) (\S+)$", text, re.MULTILINE)}


async def test_a_reload_that_fails_is_shown_until_one_succeeds(config: Config) -> None:
    good = config.path.read_text("utf-8")
    async with serve(config.path) as gateway:
        before = await figures(gateway)
        config.path.write_text(good + "\n[nonsense]\n", "utf-8")
        gateway.send_signal(signal.SIGHUP)
        await logged(gateway, "configuration_unusable")
        failed = await figures(gateway)
        config.path.write_text(good, "utf-8")
        gateway.send_signal(signal.SIGHUP)
        await logged(gateway, "configuration_reloaded")
        mended = await figures(gateway)

    errors = 'mail2sms_log_lines_total{level="error"}'
    assert [one["mail2sms_configuration_reload_ok"] for one in (before, failed, mended)] == [1, 0, 1]
    assert failed[errors] > before[errors]
    assert before["mail2sms_start_time_seconds"] > 1_700_000_000
