"""The sandbox as a process."""

import asyncio
import signal
import sys
from pathlib import Path

import httpx
import pytest


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_sandbox_serves_until_it_is_told_to_stop(number: signal.Signals) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "gateway", "sandbox", "--listen", "127.0.0.1:0"),
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            ready = (await process.stdout.readline()).decode()
            async with httpx.AsyncClient(trust_env=False) as client:
                messages = await client.get(ready.strip().removeprefix("ready http=") + "/sandbox/messages")
            process.send_signal(number)
            status = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

    assert ready.startswith("ready http=http://127.0.0.1:")
    assert messages.status_code == 200
    assert status == 0
