"""The store is looked at, whatever its state, and not one byte of it is changed."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.clock import SystemClock
from gateway.config import Config, load
from gateway.daemon.ownership import sole_owner
from gateway.doctor import Level, Section
from gateway.doctor.storekeeping import _judge_backlog, _judge_postgres
from gateway.doctor.subject import find_subject
from gateway.store import StoreSettings, migrate
from gateway.store.base import Backlog
from gateway.store.examining import PostgresFacts, examine_store
from gateway.store.files import copy_database
from gateway.store.reserve import Reserve
from tests.doctor.conftest import NOTHING, Write, find, levels, look, told
from tests.support.configuration import write_config
from tests.support.disks import MIB, fill, small_disk
from tests.support.postgres import PostgresServer, postgres_server

STORE = Section.STORE


@pytest.fixture
def database(config: Config) -> Path:
    return config.path.parent / "gateway.db"


def execute(path: Path, statement: str, *values: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement, values)


def put(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def give_mode(path: Path, mode: int) -> None:
    path.chmod(mode)


def spoil_page(path: Path, name: str) -> None:
    """The first page of that index is nonsense."""
    with closing(sqlite3.connect(path)) as connection:
        page_bytes = connection.execute("PRAGMA page_size").fetchone()[0]
        page = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchone()[0]
    with path.open("r+b") as file:
        file.seek((page - 1) * page_bytes)
        file.write(b"\xff" * page_bytes)


def put_backup_in_place(database: Path) -> None:
    backup = database.with_name("backup.db")
    backup.touch()
    copy_database(database, backup, is_in_use=False, made_at=SystemClock().now(), tell=lambda *_: None)
    backup.replace(database)


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {file.name: (file.read_bytes(), file.stat().st_mode) for file in folder.iterdir() if file.is_file()}


async def test_a_good_store_is_good_and_not_touched(config: Config, tmp_path: Path) -> None:
    before = snapshot(tmp_path)
    checkup = await look(config, STORE)

    assert find(checkup, "of this version, sound, with a write-ahead log").level is Level.OK
    assert find(checkup, "waiting: 0 SMS, 0 reports").level is Level.OK
    assert find(checkup, "not set aside yet").level is Level.NOTE
    assert not checkup.has_bad_store
    assert snapshot(tmp_path) == before


async def test_a_missing_store_is_a_failure(write: Write) -> None:
    checkup = await look(write(), STORE)

    assert find(checkup, "there is no store at", "mail2sms migrate").level is Level.FAILURE
    assert checkup.has_bad_store


async def test_a_missing_folder_is_a_failure(write: Write, tmp_path: Path) -> None:
    checkup = await look(write(store={"url": f"sqlite:///{tmp_path}/none/gateway.db"}), STORE)

    assert find(checkup, "there is no folder").level is Level.FAILURE


@pytest.mark.parametrize(
    ("revision", "words"), [("0001", "older than this version"), ("9999", "made by a newer version")]
)
async def test_a_store_of_another_version_is_a_failure(
    config: Config, database: Path, revision: str, words: str
) -> None:
    execute(database, "UPDATE alembic_version SET version_num = ?", revision)

    assert find(await look(config, STORE), words).level is Level.FAILURE


async def test_an_empty_file_and_a_foreign_one_are_failures(config: Config, database: Path) -> None:
    put(database, b"")
    empty = await look(config, STORE)
    put(database, b"not a database, but long enough to be looked at" * 100)
    foreign = await look(config, STORE)

    assert find(empty, "is an empty file").level is Level.FAILURE
    assert find(foreign, "damaged, or not a database").level is Level.FAILURE


async def test_damage_is_a_failure(config: Config, database: Path) -> None:
    spoil_page(database, "ix_sms_due")

    assert find(await look(config, STORE), "damaged").level is Level.FAILURE


async def test_a_backup_in_its_place_is_a_failure(config: Config, database: Path) -> None:
    put_backup_in_place(database)

    finding = find(await look(config, STORE), "is a backup of")
    assert finding.level is Level.FAILURE
    assert "mail2sms restore --queued hold" in (finding.todo or "")


async def test_a_store_without_its_write_ahead_log_is_a_failure(config: Config, database: Path) -> None:
    execute(database, "PRAGMA journal_mode=DELETE")

    assert find(await look(config, STORE), "no write-ahead log").level is Level.FAILURE


async def test_a_store_that_others_can_read_is_a_failure(config: Config, database: Path) -> None:
    give_mode(database, 0o644)
    everybody = await look(config, STORE)
    give_mode(database, 0o640)
    group = await look(config, STORE)

    assert find(everybody, "everybody on this machine can read", "0644").level is Level.FAILURE
    assert find(group, "a group can read").level is Level.NOTE


async def test_what_waits_too_long_is_told(config: Config) -> None:
    subject = await find_subject(config, SystemClock(), NOTHING, limit_s=10)
    old = SystemClock().now() - timedelta(days=9)
    backlog = Backlog(
        sms={"queued": 7, "held": 2, "uncertain": 1, "sending": 1},
        reports={"due": 1},
        oldest_sms={"uncertain": old, "sending": old},
        oldest_reports={"due": old},
    )
    found = [(finding.level, finding.what) for finding in _judge_backlog(subject, backlog)]

    assert found == [
        (Level.OK, "waiting: 8 SMS, 1 report"),
        (Level.NOTE, "2 SMS are held, and go nowhere before somebody says so"),
        (Level.WARNING, "SMS are uncertain for 9 days, longer than reconcile_window_s"),
        (Level.WARNING, "the oldest report waits for 9 days"),
        (Level.WARNING, "an SMS is being sent for 9 days"),
    ]


async def test_the_gateway_at_work_is_found_by_its_lock(config: Config, database: Path) -> None:
    Reserve(database, config.store.reserve_bytes).fill()
    with sole_owner(database):
        at_work = await look(config, STORE)
    alone = await look(config, STORE)

    assert at_work.gateway_pid is not None
    assert alone.gateway_pid is None
    assert not any("reserve" in line for line in told(at_work))


async def test_a_reserve_that_is_spent_at_work_is_a_failure(config: Config, database: Path) -> None:
    with sole_owner(database):
        checkup = await look(config, STORE)

    assert find(checkup, "the reserve", "is spent").level is Level.FAILURE


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", 256 * MIB) as folder:
        yield folder


async def test_a_full_disk_is_a_failure_and_a_disk_in_memory_too(write: Write, disk: Path) -> None:
    config = write(store={"url": f"sqlite:///{disk}/gateway.db"})
    await migrate(config.store)
    fill(disk, leave_bytes=70 * MIB)
    checkup = await look(config, STORE)

    assert find(checkup, "is in memory (tmpfs)").level is Level.FAILURE
    assert find(checkup, "left: below 79 MiB no mail is taken (452)").level is Level.FAILURE


# --- PostgreSQL ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        server.create("doctor")
        yield server


@pytest.mark.slow
async def test_postgresql_is_looked_at(postgres: PostgresServer, tmp_path: Path) -> None:
    url = postgres.url("doctor")
    config = load(write_config(tmp_path / "gateway.toml", store={"url": url}), environ={})
    before = await look(config, STORE)
    await migrate(config.store)
    after = await look(config, STORE)

    assert find(before, "the store is empty: run mail2sms migrate").level is Level.FAILURE
    assert find(after, "PostgreSQL", "synchronous_commit on").level is Level.OK
    assert levels(after) == {Level.OK}


@pytest.mark.slow
async def test_a_server_that_is_not_there_is_a_failure(tmp_path: Path) -> None:
    url = f"postgresql://nobody@/none?host={tmp_path}"
    examined = await examine_store(StoreSettings(url=url), SystemClock(), limit_s=5)

    assert str(examined.trouble) == "the store is gone, locked or busy"


def test_what_postgresql_says_of_itself_is_judged() -> None:
    facts = PostgresFacts(
        version="15.9 (Debian)", synchronous_commit="local", is_standby=True, is_encrypted=False, answer_ms=1.2
    )

    assert [finding.level for finding in _judge_postgres(facts)] == [
        Level.FAILURE,
        Level.WARNING,
        Level.NOTE,
        Level.OK,
    ]
