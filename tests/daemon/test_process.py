"""The process: signals, supervisor, exit statuses."""

import asyncio
import contextlib
import json
import signal
import socket
import sqlite3
from collections.abc import Callable
from pathlib import Path

import aiosmtplib
import pytest

from gateway.cli.examples.client import submit
from gateway.config import Config
from gateway.lifecycle import SmsState
from gateway.sandbox import Sandbox
from gateway.store import Store, tables
from tests.daemon.test_daemon import RECIPIENT, SENDER, mail
from tests.store.samples import rows
from tests.support.gateway import GatewayProcess, run_command, serve

pytestmark = pytest.mark.slow

DEADLINE_S = 20.0
SIGNALS_ITSELF_AT_THE_VERY_END = """
import __main__, os
class Late:
    def __del__(self, kill=os.kill, me=os.getpid()):
        kill(me, 15)
__main__.late = Late()
"""


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not is_so():  # noqa: ASYNC110 another process: its log is all there is to look at
            await asyncio.sleep(0.02)


async def logged(gateway: GatewayProcess, event: str) -> None:
    await until(lambda: f'"event": "{event}"' in gateway.read_log())


async def states(config: Config) -> list[SmsState]:
    store = await Store.open(config.store)
    try:
        return [row["state"] for row in await rows(store, tables.sms)]
    finally:
        await store.close()


async def begin_call(gateway: GatewayProcess, sandbox: Sandbox) -> None:
    """Return when the carrier has a call that it does not answer."""
    sandbox.misbehave("slow", delay_s=15)
    await submit(*gateway.smtp, mail("1"), sender=SENDER, recipient=RECIPIENT)
    await until(lambda: sandbox.calls > 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_told_to_stop_it_ends_with_0(config: Config, number: signal.Signals) -> None:
    async with serve(config.path) as gateway:
        gateway.send_signal(number)

        assert await gateway.wait() == 0

    assert '"event": "daemon_stopped"' in gateway.read_log()


async def test_a_second_signal_skips_the_grace_and_records_the_call_as_unknown(
    config: Config, sandbox: Sandbox
) -> None:
    async with serve(config.path) as gateway:
        await begin_call(gateway, sandbox)
        gateway.send_signal(signal.SIGTERM)
        await logged(gateway, "drain_began")
        gateway.send_signal(signal.SIGTERM)
        async with asyncio.timeout(5):
            status = await gateway.wait()

    assert status == 1
    assert await states(config) == [SmsState.UNCERTAIN]


async def test_a_second_signal_after_all_is_done_changes_nothing(config: Config, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(SIGNALS_ITSELF_AT_THE_VERY_END, "utf-8")
    async with serve(config.path, env={"PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}"}) as gateway:
        assert await gateway.stop() == 0


async def test_killed_in_a_call_it_starts_again_and_sends_nothing_twice(config: Config, sandbox: Sandbox) -> None:
    async with serve(config.path) as gateway:
        await begin_call(gateway, sandbox)
        await gateway.kill()
    calls = sandbox.calls
    async with serve(config.path):
        pass

    assert await states(config) == [SmsState.UNCERTAIN]
    assert sandbox.calls == calls


async def test_a_reload_of_an_unusable_file_changes_nothing(config: Config, sandbox: Sandbox) -> None:
    good = config.path.read_text()
    async with serve(config.path) as gateway:
        config.path.write_text(good + "\n[nonsense]\n")
        gateway.send_signal(signal.SIGHUP)
        await logged(gateway, "configuration_unusable")
        refused = next(line for line in gateway.read_log().splitlines() if "configuration_unusable" in line)
        config.path.write_text(good)
        gateway.send_signal(signal.SIGHUP)
        await logged(gateway, "configuration_reloaded")
        reply = await submit(*gateway.smtp, mail("1"), sender=SENDER, recipient=RECIPIENT)
        await sandbox.wait_for_messages(1)

    assert reply.startswith("250")
    assert "goes on with the configuration before" in json.loads(refused)["advice"]


async def test_signals_of_other_daemons_do_nothing(config: Config, sandbox: Sandbox) -> None:
    async with serve(config.path) as gateway:
        gateway.send_signal(signal.SIGUSR1)
        gateway.send_signal(signal.SIGUSR2)
        gateway.send_signal(signal.SIGHUP)
        await logged(gateway, "configuration_reloaded")
        reply = await submit(*gateway.smtp, mail("1"), sender=SENDER, recipient=RECIPIENT)

    assert reply.startswith("250")


async def test_a_store_that_somebody_has_locked_is_not_taken_for_a_full_disk(config: Config) -> None:
    config.path.write_text(config.path.read_text().replace("[store]", "[store]\nbusy_timeout_s = 0.1", 1))
    database = config.path.with_name("gateway.db")
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as shell:
        shell.execute("BEGIN IMMEDIATE")
        ended = await run_command("serve", "--config", str(config.path), deadline_s=60)

    assert ended.status == 4, ended.stderr
    assert "the store is locked by somebody else" in ended.stderr
    assert "reserve_spent" not in ended.stderr


async def test_the_supervisor_hears_ready_reloading_alive_and_stopping(config: Config, tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(path)
        supervisor.settimeout(0)
        heard: list[str] = []

        async def hear(word: str) -> None:
            async with asyncio.timeout(DEADLINE_S):
                while word not in heard:
                    message = await asyncio.get_running_loop().sock_recv(supervisor, 4096)
                    heard.extend(message.decode().split("\n"))

        async with serve(config.path, env={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "3000000"}) as gateway:
            await hear("READY=1")
            await hear("WATCHDOG=1")
            heard.clear()
            gateway.send_signal(signal.SIGHUP)
            await hear("RELOADING=1")
            await hear("READY=1")
            gateway.send_signal(signal.SIGTERM)
            await hear("STOPPING=1")

            assert await gateway.wait() == 0


async def test_a_configuration_that_cannot_be_used_ends_with_3(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("[smpt]\n")
    finished = await run_command("serve", "--config", str(path))

    assert finished.status == 3
    assert 'did you mean "smtp"' in finished.stderr


async def test_a_missing_store_ends_with_4(config: Config, tmp_path: Path) -> None:
    (tmp_path / "gateway.db").unlink()
    finished = await run_command("serve", "--config", str(config.path))

    assert (finished.status, finished.stdout) == (4, "")
    assert "mail2sms migrate" in finished.stderr
    assert "Traceback" not in finished.stderr


async def test_a_store_that_vanishes_ends_it_with_4_and_a_sentence(config: Config, tmp_path: Path) -> None:
    async with serve(config.path) as gateway:
        (tmp_path / "gateway.db").unlink()
        with contextlib.suppress(OSError, aiosmtplib.SMTPException):  # it may end before the mail is answered
            await submit(*gateway.smtp, mail("1"), sender=SENDER, recipient=RECIPIENT)

        assert await gateway.wait() == 4

    assert "there is no store at" in gateway.read_log()
    assert "daemon_failed" in gateway.read_log()
    assert '"event": "envoi_admitted"' not in gateway.read_log()
