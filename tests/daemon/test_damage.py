"""A store that cannot be trusted: `serve` refuses it in one sentence, makes no other, and ends when it finds out."""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import socket
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiosmtplib
import psycopg
import pytest
import structlog

from gateway.cli.examples.client import submit
from gateway.config import Config
from gateway.daemon import Daemon
from gateway.daemon import soundness as soundness_module
from gateway.daemon.soundness import Soundness
from gateway.store import Store, StoreUnusable, pages
from gateway.store.pages import check_pages
from tests.daemon.test_daemon import RECIPIENT, SENDER, mail
from tests.store.samples import new_order, new_sms
from tests.support.clock import ManualClock
from tests.support.gateway import run_command, serve
from tests.support.postgres import postgres_server

pytestmark = pytest.mark.slow

PAGE_BYTES = 4096
ROUNDS = 100


@pytest.fixture
async def database(config: Config, tmp_path: Path) -> Path:
    """The file of the store, with some thousand rows in it."""
    store = await Store.open(config.store)
    for _ in range(5):
        await store.admit(new_order(*(new_sms(n) for n in range(1, 501))))
    await store.close()
    return tmp_path / "gateway.db"


def execute(path: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(statement)


def overwrite(path: Path, page: int) -> None:
    """The page, of which 0 is the first, is noise."""
    with path.open("r+b") as file:
        file.seek(page * PAGE_BYTES)
        file.write(random.randbytes(PAGE_BYTES))


def overwrite_many(path: Path) -> None:
    for page in random.sample(range(count_pages(path)), 100):
        overwrite(path, page)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def replace(path: Path) -> None:
    path.write_bytes(b"these are the accounts of 2019\n" * 1000)


def make_older(path: Path) -> None:
    execute(path, "UPDATE alembic_version SET version_num = '0001'")


def make_newer(path: Path) -> None:
    execute(path, "UPDATE alembic_version SET version_num = '9999'")


def leave_wal(path: Path) -> None:
    execute(path, "PRAGMA journal_mode=DELETE")


def spoil_an_index(path: Path) -> None:
    """What nobody would notice before looking for a mail by its fingerprint."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        index = "SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_mail_2'"
        page = connection.execute(index).fetchone()[0]
    overwrite(path, page - 1)


def content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def count_pages(path: Path) -> int:
    return path.stat().st_size // PAGE_BYTES


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (Path.unlink, "there is no store at"),
        (empty, "is an empty file"),
        (truncate, "restore a backup"),
        (overwrite_many, "restore a backup"),
        (spoil_an_index, "restore a backup"),
        (replace, "not a database"),
        (make_older, "run mail2sms migrate"),
        (make_newer, "install that version"),
        (leave_wal, "not wal: run mail2sms migrate"),
    ],
)
async def test_serve_refuses_in_one_sentence_with_4_and_touches_nothing(
    config: Config, database: Path, harm: Callable[[Path], object], said: str
) -> None:
    harm(database)
    before = content(database)
    finished = await run_command("serve", "--config", str(config.path))

    assert (finished.status, finished.stdout) == (4, "")
    (sentence,) = [line for line in finished.stderr.splitlines() if not line.startswith("{")]
    assert said in sentence
    assert content(database) == before


async def test_serve_refuses_a_file_it_may_not_write(
    config: Config, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # root may write everything, so the answer is given for it
    monkeypatch.setattr(os, "access", lambda _path, mode: not mode & os.W_OK)
    with pytest.raises(StoreUnusable, match="is not a file that this user can read and write"):
        await Daemon(config).start()


async def test_no_single_page_can_be_noise_without_being_noticed(database: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    count = count_pages(database)
    unnoticed = []
    for _ in range(ROUNDS):
        shutil.copy(database, copy)
        page = random.randrange(count)
        overwrite(copy, page)
        try:
            check_pages(copy)
        except StoreUnusable:
            continue
        unnoticed.append(page)

    assert unnoticed == []


async def test_what_the_start_has_no_time_for_is_found_beside_the_work(
    config: Config, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(soundness_module, "AT_START_S", -1)
    monkeypatch.setattr(pages, "_OPCODES", 1)
    spoil_an_index(database)
    daemon = Daemon(config)
    await daemon.start()
    with pytest.raises(ExceptionGroup) as caught:
        await daemon.run(asyncio.Event())

    assert caught.value.subgroup(StoreUnusable) is not None


async def test_a_large_store_is_checked_beside_the_work_and_said_to_be_sound(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "_OPCODES", 1)
    monkeypatch.setattr(soundness_module, "AT_START_S", -1)
    soundness = Soundness(database, ManualClock())
    await soundness.check_at_start()
    with structlog.testing.capture_logs() as lines:
        async with asyncio.TaskGroup() as group:
            group.create_task(soundness.run())
            async with asyncio.timeout(10):
                while not lines:  # noqa: ASYNC110 a thread rings no bell
                    await asyncio.sleep(0.01)
            soundness.stop()

    assert [line["event"] for line in lines] == ["store_checked"]


async def test_a_check_that_is_told_to_stop_proves_nothing(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "_OPCODES", 1)
    soundness = Soundness(database, ManualClock())
    soundness.stop()
    with structlog.testing.capture_logs() as lines:
        await soundness.run()

    assert lines == []


async def test_damage_that_only_a_mail_meets_ends_the_process_with_4(config: Config, database: Path) -> None:
    async with serve(config.path) as gateway:
        execute(database, "DROP TABLE email_id")
        with contextlib.suppress(OSError, aiosmtplib.SMTPException):
            reply = await submit(*gateway.smtp, mail("1"), sender=SENDER, recipient=RECIPIENT)
            assert reply.startswith(("451", "421"))

        assert await gateway.wait() == 4

    assert '"event": "daemon_failed"' in gateway.read_log()
    assert "restore a backup" in gateway.read_log()
    assert '"event": "envoi_admitted"' not in gateway.read_log()


async def test_a_ruined_store_stays_so(config: Config, database: Path) -> None:
    store = await Store.open(config.store)
    rung = []
    store.on_ruin = lambda: rung.append(True)
    execute(database, "ALTER TABLE email_id RENAME TO elsewhere")
    with pytest.raises(StoreUnusable):
        await store.admit(new_order())
    execute(database, "ALTER TABLE elsewhere RENAME TO email_id")
    with pytest.raises(StoreUnusable, match="lacks a table"):
        await store.backlog()

    assert rung == [True]
    await store.close()


# --- PostgreSQL, and what only is away -------------------------------------------------------------------------------


def with_store(config: Config, url: str) -> None:
    config.path.write_text(config.path.read_text().replace("sqlite:///gateway.db", url))


async def test_serve_refuses_a_postgresql_that_is_not_reached_or_lacks_its_tables(
    config: Config, tmp_path: Path
) -> None:
    text = config.path.read_text()
    with_store(config, f"postgresql://nobody@/x?host={tmp_path}")
    away = await run_command("serve", "--config", str(config.path))
    config.path.write_text(text)
    with postgres_server() as server:
        server.create("empty")
        with_store(config, server.url("empty"))
        bare = await run_command("serve", "--config", str(config.path))
        assert (await run_command("migrate", "--config", str(config.path))).status == 0
        with psycopg.connect(server.url("empty"), autocommit=True) as connection:
            connection.execute("DROP TABLE attempt")
        torn = await run_command("serve", "--config", str(config.path))

    assert [ended.status for ended in (away, bare, torn)] == [4, 4, 4]
    assert "the store is gone, locked or busy" in away.stderr
    assert "the store is empty: run mail2sms migrate" in bare.stderr
    assert "lacks a table" in torn.stderr
    assert not any("Traceback" in ended.stderr for ended in (away, bare, torn))


@pytest.fixture
async def supervisor(tmp_path: Path) -> AsyncIterator[str]:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(path)
        yield path


async def test_under_a_supervisor_an_address_in_use_is_waited_for(config: Config, supervisor: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        config.path.write_text(config.path.read_text().replace("127.0.0.1:0", f"127.0.0.1:{port}", 1))

        async def give_up_the_address() -> None:
            async with asyncio.timeout(20):
                while "start_delayed" not in log.read_text():  # noqa: ASYNC110 another process
                    await asyncio.sleep(0.05)
            taken.close()

        log = config.path.with_suffix(".log")
        log.touch()
        async with asyncio.TaskGroup() as group:
            group.create_task(give_up_the_address())
            async with serve(config.path, env={"NOTIFY_SOCKET": supervisor}) as gateway:
                assert gateway.smtp[1] == port


async def test_who_waits_to_start_can_be_told_to_stop(config: Config, supervisor: str, tmp_path: Path) -> None:
    with_store(config, f"postgresql://nobody@/x?host={tmp_path}")
    log = config.path.with_suffix(".log")
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway", "serve", "--config", str(config.path)),
            env={**os.environ, "NOTIFY_SOCKET": supervisor},
            stderr=stderr,
        )
    async with asyncio.timeout(30):
        while "start_delayed" not in log.read_text():  # noqa: ASYNC110 another process
            await asyncio.sleep(0.05)
        process.send_signal(signal.SIGTERM)

        assert await process.wait() == 0
