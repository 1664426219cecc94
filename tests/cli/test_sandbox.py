"""The sandbox as a process."""

import asyncio
import signal
import sys
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from gateway.cli import app


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_sandbox_serves_until_it_is_told_to_stop(number: signal.Signals) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "gateway", "sandbox", "--listen", "127.0.0.1:0", "--sms", "100", "--receipt-delay", "0"),
        *("--callback", "http://127.0.0.1:9/a?b=c", "--callback", "smspartner=http://127.0.0.1:9/d"),
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            ready = (await process.stdout.readline()).decode()
            async with httpx.AsyncClient(trust_env=False) as client:
                url = ready.strip().removeprefix("ready http=")
                callbacks = await client.get(f"{url}/sandbox/callbacks")
                credit = await client.get(f"{url}/sandbox/credit")
            process.send_signal(number)
            status = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

    assert ready.startswith("ready http=http://127.0.0.1:")
    addresses = {"isendpro": "http://127.0.0.1:9/a?b=c", "smspartner": "http://127.0.0.1:9/d"}
    assert callbacks.json()["addresses"] == addresses
    assert credit.json() == {"isendpro": 5.0, "smspartner": 4.5}
    assert status == 0


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--credit", "much"), "wants an amount"),
        (("--credit", "-1"), "wants an amount"),
        (("--credit", "1", "--sms", "1"), "either"),
        (("--callback", "nowhere"), "--callback wants"),
        (("--callback", "smspartner=ftp://127.0.0.1/"), "--callback wants"),
    ],
)
def test_option_that_makes_no_sense_is_refused(options: tuple[str, ...], complaint: str) -> None:
    result = CliRunner().invoke(app, ["sandbox", *options])

    assert result.exit_code == 2
    assert complaint in result.output
