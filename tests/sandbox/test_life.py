"""The sandbox started and stopped."""

import asyncio
import signal
from pathlib import Path

import httpx
import pytest

from gateway.sandbox import Sandbox, SandboxError, load_script
from tests.sandbox.calls import DEADLINE_S, SMS, post_or_none


async def test_stop_does_not_wait_for_a_slow_answer() -> None:
    sandbox = Sandbox()
    await sandbox.start()
    sandbox.misbehave("slow", delay_s=3600)
    async with (
        asyncio.timeout(DEADLINE_S),
        httpx.AsyncClient(timeout=3600, trust_env=False) as client,
        asyncio.TaskGroup() as group,
    ):
        call = group.create_task(post_or_none(client, f"{sandbox.url}/cgi-bin/sms"))
        await sandbox.wait_for_messages(1)
        await sandbox.stop()

    assert call.result() is None


async def test_a_client_that_dies_in_the_middle_of_its_call_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async with Sandbox() as sandbox:
        _reader, writer = await asyncio.open_connection("127.0.0.1", int(sandbox.url.rpartition(":")[2]))
        writer.write(b"POST /cgi-bin/sms HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        await writer.drain()
        async with httpx.AsyncClient(base_url=sandbox.url, timeout=DEADLINE_S, trust_env=False) as client:
            await client.get("/sandbox/messages")  # by now the call is being read
            writer.transport.abort()
            await client.get("/sandbox/messages")

    assert caplog.records == []
    assert sandbox.calls == 0


async def test_signal_handlers_stay_those_of_the_process() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    async with Sandbox():
        during = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    assert during == before


async def test_taken_address_is_said_clearly() -> None:
    async with Sandbox() as first:
        with pytest.raises(SandboxError, match="cannot listen on"):
            await Sandbox(first.url.removeprefix("http://")).start()


@pytest.mark.parametrize("listen", ["", "8026", ":8026", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:65536"])
def test_address_that_is_none_is_refused(listen: str) -> None:
    with pytest.raises(SandboxError, match="HOST:PORT"):
        Sandbox(listen)


async def test_sandbox_listens_on_ipv6() -> None:
    async with Sandbox("[::1]:0") as sandbox, httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(f"{sandbox.url}/cgi-bin/sms", json=SMS)

    assert sandbox.url.startswith("http://[::1]:")
    assert answer.status_code == 200


async def test_sandbox_follows_its_script_and_is_gone_after_its_block(tmp_path: Path) -> None:
    script = tmp_path / "faults.json"
    script.write_text('[{"fault": "refuse", "code": 27, "count": 1}]', "utf-8")
    async with httpx.AsyncClient(trust_env=False) as client:
        async with Sandbox(faults=load_script(script)) as sandbox:
            answer = await client.post(f"{sandbox.url}/cgi-bin/sms", json=SMS)
        gone = await post_or_none(client, f"{sandbox.url}/cgi-bin/sms")

    assert answer.json()["etat"]["etat"][0]["code"] == 27
    assert gone is None


def test_script_that_is_not_there_is_said_clearly(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="cannot read"):
        load_script(tmp_path / "none.json")
