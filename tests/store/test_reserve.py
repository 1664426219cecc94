"""The reserve: real blocks, given up for what is under way, taken again when there is room."""

import shutil
from pathlib import Path

import pytest
import structlog

from gateway.lifecycle import SmsEvent, SmsState
from gateway.store import Store, StoreSettings, StoreUnavailable
from gateway.store.reserve import Reserve
from tests.store.samples import NotMaker, claim, claim_reports, new_order, new_sms, settlement, states
from tests.support.clock import START
from tests.support.disks import MIB, fill, small_disk

SIZE = 4 * MIB


@pytest.fixture
def reserve(tmp_path: Path) -> Reserve:
    return Reserve(tmp_path / "store.db", SIZE)


def file_of(folder: Path) -> Path:
    return folder / "store.db.reserve"


def test_what_is_set_aside_is_real_and_for_its_owner_alone(reserve: Reserve, tmp_path: Path) -> None:
    assert reserve.is_spent
    reserve.fill()
    status = file_of(tmp_path).stat()

    assert not reserve.is_spent
    assert (status.st_size, status.st_mode & 0o777) == (SIZE, 0o600)
    assert status.st_blocks * 512 >= SIZE


def test_it_is_whole_after_a_restart_and_spent_when_it_was_spent(reserve: Reserve, tmp_path: Path) -> None:
    reserve.fill()
    assert not Reserve(tmp_path / "store.db", SIZE).is_spent
    reserve.spend()

    assert Reserve(tmp_path / "store.db", SIZE).is_spent
    assert file_of(tmp_path).stat().st_blocks == 0


def test_a_file_with_holes_or_of_another_size_sets_nothing_aside(tmp_path: Path) -> None:
    with file_of(tmp_path).open("wb") as file:
        file.truncate(SIZE)
    assert Reserve(tmp_path / "store.db", SIZE).is_spent
    Reserve(tmp_path / "store.db", SIZE).fill()

    assert Reserve(tmp_path / "store.db", 2 * SIZE).is_spent


def test_it_is_told_once_and_again_when_it_is_whole(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 16 * MIB) as disk, structlog.testing.capture_logs() as lines:
        reserve = Reserve(disk / "store.db", SIZE)
        reserve.fill()
        reserve.spend()
        reserve.spend()
        filler = fill(disk, leave_bytes=SIZE)  # so much is not enough: it would be spent again at once
        reserve.fill()
        reserve.fill()
        assert reserve.is_spent
        filler.unlink()
        reserve.fill()

    assert [line["event"] for line in lines] == ["reserve_filled", "reserve_spent", "reserve_filled"]


def test_where_it_cannot_be_written_it_is_spent(tmp_path: Path) -> None:
    with structlog.testing.capture_logs() as lines:
        reserve = Reserve(tmp_path / "nowhere" / "store.db", SIZE)
        reserve.fill()

    assert reserve.is_spent
    assert [(line["event"], line["reason"]) for line in lines] == [("reserve_spent", "No such file or directory")]


async def test_on_a_full_disk_results_are_stored_and_nothing_begins(sqlite_template: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 32 * MIB) as disk:
        shutil.copy(sqlite_template, disk / "store.db")
        reserve = Reserve(disk / "store.db", SIZE)
        reserve.fill()
        store = await Store.open(StoreSettings(url=f"sqlite:///{disk}/store.db"), reserve=reserve)
        await store.admit(new_order(*(new_sms(n) for n in range(1, 101))))
        claimed = await claim(store, limit=50)
        filler = fill(disk)
        refused = []
        for sms in claimed:
            taken = [settlement(sms, SmsEvent.TAKEN, raw="x" * 4000)]
            try:
                await store.settle_sms(taken, START, NotMaker())
            except StoreUnavailable as error:
                refused.append(error.is_full)
                await store.settle_sms(taken, START, NotMaker())

        assert (refused, reserve.is_spent) == ([True], True)
        assert list((await states(store)).values()).count(SmsState.ACCEPTED) == 50
        assert (await claim(store), await claim_reports(store)) == ([], [])
        with pytest.raises(StoreUnavailable) as caught:
            await store.admit(new_order())
        assert caught.value.is_full
        filler.unlink()
        reserve.fill()
        assert len(await claim(store)) == 50
        await store.close()


async def test_the_waiting_are_counted_up_to_a_limit(store: Store) -> None:
    await store.admit(new_order(*(new_sms(n) for n in range(1, 11))))
    await claim(store, limit=2)

    assert (await store.count_waiting(5), await store.count_waiting(100)) == (5, 8)
