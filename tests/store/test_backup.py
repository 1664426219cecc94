"""Copies of the store: made while somebody works on it, marked, put back into place."""

import asyncio
import contextlib
import errno
import os
import shutil
import sqlite3
import stat
import subprocess
from datetime import datetime, timedelta
from pathlib import Path
from typing import NoReturn

import pytest

from gateway.lifecycle import SmsEvent, SmsState
from gateway.store import Store, StoreSettings, StoreUnavailable, StoreUnusable, tables
from gateway.store.backup import back_up, put_into_place
from tests.store.samples import NotMaker, claim, new_order, new_sms, rows, settlement, states
from tests.store.test_open import execute, path_of, refused
from tests.support.clock import START
from tests.support.postgres import PostgresServer


def nobody(_step: str, _done: int, _total: int) -> None:
    """Hears nothing."""


def copy(settings: StoreSettings, target: Path, *, overwrite: bool = False, now: datetime = START) -> None:
    back_up(settings, target, overwrite=overwrite, now=now, tell=nobody)


def put_back(settings: StoreSettings, backup: Path) -> Path | None:
    return put_into_place(settings, backup, now=START, tell=nobody)


async def count_mails(settings: StoreSettings) -> int:
    store = await Store.open(settings, read_only=True)
    try:
        return len(await rows(store, tables.mail))
    finally:
        await store.close()


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def test_a_copy_is_whole_for_its_owner_alone_and_leaves_nothing_beside(
    sqlite_settings: StoreSettings, sqlite_store: Store, tmp_path: Path
) -> None:
    await sqlite_store.admit(new_order())
    target = tmp_path / "copies" / "one.db"
    target.parent.mkdir()
    await asyncio.to_thread(copy, sqlite_settings, target)

    assert files(target.parent) == {"one.db"}
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    with contextlib.closing(sqlite3.connect(f"{target.as_uri()}?immutable=1", uri=True)) as opened:
        assert opened.execute("SELECT count(*) FROM mail").fetchone() == (1,)
        assert opened.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.slow
async def test_a_copy_is_one_state_of_a_store_at_work(
    sqlite_settings: StoreSettings, sqlite_store: Store, tmp_path: Path
) -> None:
    target, is_copied = tmp_path / "copy.db", asyncio.Event()
    for _ in range(20):
        await sqlite_store.admit(new_order(*(new_sms(n) for n in range(1, 201))))
    steps: list[int] = []

    async def work() -> None:
        while not is_copied.is_set():
            await sqlite_store.admit(new_order())

    def make() -> None:
        back_up(
            sqlite_settings, target, overwrite=False, now=START, tell=lambda _step, done, _total: steps.append(done)
        )

    async with asyncio.TaskGroup() as group:
        worker = group.create_task(work())
        await asyncio.to_thread(make)
        is_copied.set()
        await worker

    copied = [done for done in steps if done >= 1024]
    assert copied == sorted(copied)  # it never began anew
    with contextlib.closing(sqlite3.connect(target)) as opened:
        mails, sms = opened.execute("SELECT (SELECT count(*) FROM mail), (SELECT count(*) FROM sms)").fetchone()
    assert sms == mails + 20 * 199


async def test_a_copy_overwrites_only_when_told_to(
    sqlite_settings: StoreSettings, tmp_path: Path, sqlite_store: Store
) -> None:
    target = tmp_path / "copy.db"
    target.write_bytes(b"SQLite format 3\0, and something dear")
    with pytest.raises(StoreUnusable, match="with --force"):
        copy(sqlite_settings, target)
    assert target.read_bytes().endswith(b"something dear")
    copy(sqlite_settings, target, overwrite=True)

    assert not target.read_bytes().endswith(b"something dear")


async def test_what_is_no_backup_is_never_overwritten(
    sqlite_settings: StoreSettings, tmp_path: Path, sqlite_store: Store
) -> None:
    target = tmp_path / "gateway.toml"
    target.write_text("[smtp]\n")
    with pytest.raises(StoreUnusable, match="is no backup"):
        copy(sqlite_settings, target, overwrite=True)

    assert target.read_text() == "[smtp]\n"


async def test_what_cannot_be_looked_at_is_not_overwritten(
    sqlite_settings: StoreSettings, tmp_path: Path, sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "copy.db"
    target.write_bytes(b"of another user")

    def refuse(_path: Path, _mode: str) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        with pytest.raises(StoreUnusable, match="cannot be read: Permission denied"):
            copy(sqlite_settings, target, overwrite=True)

    assert target.read_bytes() == b"of another user"


@pytest.mark.parametrize("overwrite", [False, True])
async def test_the_store_itself_is_no_place_for_its_copy(sqlite_settings: StoreSettings, overwrite: bool) -> None:
    with pytest.raises(StoreUnusable, match="is the store itself"):
        copy(sqlite_settings, path_of(sqlite_settings), overwrite=overwrite)


async def test_a_database_in_use_is_never_overwritten(sqlite_settings: StoreSettings, tmp_path: Path) -> None:
    target = tmp_path / "other.db"
    target.touch()
    target.with_name("other.db-wal").touch()
    with pytest.raises(StoreUnusable, match="in use"):
        copy(sqlite_settings, target, overwrite=True)


async def test_a_damaged_store_gives_no_copy_and_spares_the_old_one(
    sqlite_settings: StoreSettings, tmp_path: Path
) -> None:
    target = tmp_path / "copy.db"
    copy(sqlite_settings, target)
    before = target.read_bytes()
    content = bytearray(path_of(sqlite_settings).read_bytes())
    content[20_000:40_000] = os.urandom(20_000)
    path_of(sqlite_settings).write_bytes(content)
    with pytest.raises(StoreUnusable, match="damaged"):
        copy(sqlite_settings, target, overwrite=True)

    assert target.read_bytes() == before
    assert not [name for name in files(tmp_path) if name.endswith(".part")]


async def test_no_copy_goes_where_there_is_no_room_or_no_folder(
    sqlite_settings: StoreSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StoreUnavailable, match="nothing can be written beside"):
        copy(sqlite_settings, tmp_path / "nowhere" / "copy.db")
    monkeypatch.setattr("gateway.store.files._LEFT_FREE_BYTES", 2**60)
    with pytest.raises(StoreUnavailable, match="no room") as caught:
        copy(sqlite_settings, tmp_path / "copy.db")

    assert caught.value.is_full


async def test_a_copy_in_place_of_the_store_is_refused_until_it_is_accepted(
    sqlite_settings: StoreSettings, tmp_path: Path
) -> None:
    target = tmp_path / "copy.db"
    copy(sqlite_settings, target)
    shutil.copy(target, path_of(sqlite_settings))

    assert "a backup of 2026-03-04 09:30:00 UTC" in await refused(sqlite_settings)
    assert "mail2sms restore --queued hold" in await refused(sqlite_settings)
    assert await count_mails(sqlite_settings) == 0  # whoever only reads may


async def test_a_copy_of_a_copy_says_when_the_first_was_made(sqlite_settings: StoreSettings, tmp_path: Path) -> None:
    first, second = tmp_path / "1.db", tmp_path / "2.db"
    copy(sqlite_settings, first)
    put_back(sqlite_settings, first)
    copy(sqlite_settings, second, now=START + timedelta(days=1))
    put_back(sqlite_settings, second)

    assert "a backup of 2026-03-04 09:30:00 UTC" in await refused(sqlite_settings)


async def test_what_waited_in_a_copy_is_held_and_can_be_released(
    sqlite_settings: StoreSettings, tmp_path: Path
) -> None:
    store = await Store.open(sqlite_settings)
    await store.admit(new_order(new_sms(1), new_sms(2)))
    (first, _second) = await claim(store)
    await store.settle_sms([settlement(first, SmsEvent.NOT_SENT, due_at=START)], START, NotMaker())
    await store.close()
    copy(sqlite_settings, tmp_path / "copy.db")
    put_back(sqlite_settings, tmp_path / "copy.db")

    store = await Store.open(sqlite_settings, may_be_copy=True)
    assert await store.hold_queued(START) == 1
    assert set((await states(store)).values()) == {SmsState.HELD, SmsState.SENDING}
    assert await claim(store) == []
    await store.close()
    store = await Store.open(sqlite_settings)
    assert await store.send_queued(START) == 1
    assert [sms.id for sms in await claim(store)] == [first.id]
    await store.close()


async def test_the_store_that_was_there_is_kept_with_its_log(sqlite_settings: StoreSettings, tmp_path: Path) -> None:
    path = path_of(sqlite_settings)
    copy(sqlite_settings, tmp_path / "copy.db")
    store = await Store.open(sqlite_settings)
    await store.admit(new_order())
    log = path.with_name("store.db-wal").read_bytes()
    await store.close()
    path.with_name("store.db-wal").write_bytes(log)  # as a crash leaves it
    replaced = put_back(sqlite_settings, tmp_path / "copy.db")

    assert replaced is not None
    assert await count_mails(sqlite_settings) == 0
    assert await count_mails(sqlite_settings.model_copy(update={"url": f"sqlite:///{replaced}"})) == 1


async def test_a_copy_is_put_where_no_store_is(sqlite_settings: StoreSettings, tmp_path: Path) -> None:
    copy(sqlite_settings, tmp_path / "copy.db")
    path_of(sqlite_settings).unlink()

    assert put_back(sqlite_settings, tmp_path / "copy.db") is None
    assert "a backup of" in await refused(sqlite_settings)


async def test_what_is_no_store_replaces_none(sqlite_settings: StoreSettings, tmp_path: Path) -> None:
    other = tmp_path / "accounts.db"
    execute(other, "CREATE TABLE invoice (id)")
    before = path_of(sqlite_settings).read_bytes()
    for wrong, said in ((other, "something else"), (path_of(sqlite_settings), "itself"), (tmp_path, "not a file")):
        with pytest.raises(StoreUnusable, match=said):
            put_back(sqlite_settings, wrong)

    assert path_of(sqlite_settings).read_bytes() == before


def load(dump: Path, settings: StoreSettings, *options: str) -> None:
    subprocess.run(["pg_restore", *options, f"--dbname={settings.url}", dump], check=True)


@pytest.mark.slow
async def test_a_dump_loaded_into_postgresql_is_known_as_a_copy(
    postgres: PostgresServer, postgres_settings: StoreSettings, tmp_path: Path
) -> None:
    store = await Store.open(postgres_settings)
    await store.admit(new_order())
    await store.close()
    target = tmp_path / "copy.dump"
    copy(postgres_settings, target)
    postgres.create("loaded")
    loaded = StoreSettings(url=postgres.url("loaded"))
    load(target, loaded)

    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert "loaded from a dump" in await refused(loaded)
    store = await Store.open(loaded, may_be_copy=True)
    assert await store.hold_queued(START) == 1
    await store.close()
    await (await Store.open(loaded)).close()
    # and over the same database, as pg_restore --clean does
    load(target, postgres_settings, "--clean", "--if-exists")
    assert "loaded from a dump" in await refused(postgres_settings)
    with pytest.raises(StoreUnusable, match="pg_restore"):
        put_back(postgres_settings, target)


async def test_without_pg_dump_the_command_to_run_is_said(
    postgres_settings: StoreSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StoreUnusable, match="pg_dump --format=custom --file=FILE --dbname=postgresql://"):
        copy(postgres_settings, tmp_path / "copy.dump")


async def test_a_dump_that_fails_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "copies"
    folder.mkdir()
    with pytest.raises(StoreUnavailable, match="pg_dump failed"):
        copy(StoreSettings(url=f"postgresql://nobody@/x?host={tmp_path}"), folder / "copy.dump")

    assert files(folder) == set()
