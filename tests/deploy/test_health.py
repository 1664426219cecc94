"""`mail2sms health`, as supervisors of containers ask it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.config import load
from gateway.store import migrate
from tests.deploy.postfix import free_port
from tests.support.configuration import write_config
from tests.support.gateway import run_command, serve

pytestmark = pytest.mark.slow


@asynccontextmanager
async def answering(said: bytes) -> AsyncIterator[str]:
    """Somebody answers every HTTP request so."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/readyz"
    finally:
        server.close()


@pytest.mark.parametrize("has_http", [True, False])
async def test_a_gateway_that_takes_mail_is_healthy_and_one_that_is_gone_is_not(
    tmp_path: Path, *, has_http: bool
) -> None:
    smtp, http = free_port(), free_port()
    config = write_config(
        tmp_path / "gateway.toml",
        smtp={"listen": [f"127.0.0.1:{smtp}"]},
        http={"listen": f"127.0.0.1:{http}"} if has_http else {},
    )
    await migrate(load(config, environ={}).store)
    async with serve(config):
        well = await run_command("health", "--config", str(config))
    gone = await run_command("health", "--config", str(config))

    assert (well.status, well.stdout, well.stderr) == (0, "ready\n", "")
    assert (gone.status, gone.stdout) == (1, "")
    assert gone.stderr.startswith("nobody answers at ")
    assert str(http if has_http else smtp) in gone.stderr


async def test_a_gateway_that_is_not_ready_says_why() -> None:
    async with answering(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 9\r\n\r\ndraining\n") as url:
        asked = await run_command("health", "--url", url)

    assert (asked.status, asked.stdout, asked.stderr) == (1, "", "draining\n")


@pytest.mark.parametrize("said", [b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", b"220 smtp here\r\n"])
async def test_another_answer_is_not_health(said: bytes) -> None:
    async with answering(said) as url:
        asked = await run_command("health", "--url", url)

    assert asked.status == 1
    assert url in asked.stderr
    assert "Traceback" not in asked.stderr


@pytest.mark.parametrize(
    "arguments", [(), ("--config", "a", "--url", "http://127.0.0.1/"), ("--url", "https://127.0.0.1/"), ("--url", "x")]
)
async def test_a_question_that_makes_no_sense_is_status_2(arguments: tuple[str, ...]) -> None:
    assert (await run_command("health", *arguments)).status == 2
