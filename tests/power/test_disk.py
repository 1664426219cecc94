"""The model of the disk: what is durable, what is left to chance."""

import random
from pathlib import Path

import pytest

from tests.power.disk import SECTOR_BYTES, Disk, Loss
from tests.power.trace import Call, UnreadableTrace, read

FOLDER = Path("/store")
CHANCE = random.Random(1)


def make_disk(**files: bytes) -> Disk:
    return Disk(FOLDER, files, lambda name: name != "other")


def call(name: str, file: str, *numbers: int, data: bytes = b"", flags: str = "", result: int | None = None) -> Call:
    done = Call(name=name, path=str(FOLDER / file), data=data, numbers=numbers, flags=flags)
    done.result = len(data) if result is None else result
    return done


def do(disk: Disk, *calls: Call) -> None:
    for each in calls:
        disk.begin(each)
        disk.end(each)


def test_a_write_is_durable_once_its_file_was_synced() -> None:
    disk = make_disk(db=b"old")
    do(disk, call("pwrite64", "db", 3, 0, data=b"new"))

    assert disk.image(Loss.ALL, CHANCE) == {"db": b"old"}
    assert disk.image(Loss.NONE, CHANCE) == {"db": b"new"}
    do(disk, call("fdatasync", "db"))
    assert disk.is_settled
    assert disk.image(Loss.ALL, CHANCE) == {"db": b"new"}


def test_a_sync_that_began_before_a_write_ended_or_failed_settles_nothing() -> None:
    disk = make_disk(db=b"old")
    write, sync = call("pwrite64", "db", 3, 0, data=b"new"), call("fdatasync", "db")
    disk.begin(write)
    disk.begin(sync)
    disk.end(write)
    disk.end(sync)
    do(disk, call("fdatasync", "db", result=-1))

    assert disk.image(Loss.ALL, CHANCE) == {"db": b"old"}


def test_a_new_file_may_be_missing_until_its_folder_was_synced() -> None:
    disk = make_disk()
    do(disk, call("openat", "wal", flags="O_RDWR|O_CREAT"), call("pwrite64", "wal", 1, 0, data=b"x"))
    do(disk, call("fdatasync", "wal"))

    assert disk.image(Loss.ALL, CHANCE) == {}
    do(disk, call("fdatasync", "."))
    assert disk.image(Loss.ALL, CHANCE) == {"wal": b"x"}


def test_a_removed_file_may_come_back_until_its_folder_was_synced() -> None:
    disk = make_disk(wal=b"x")
    do(disk, call("unlink", "wal"))

    assert disk.image(Loss.ALL, CHANCE) == {"wal": b"x"}
    do(disk, call("fsync", "."))
    assert disk.image(Loss.ALL, CHANCE) == {}


def test_a_torn_write_is_there_by_sectors() -> None:
    disk = make_disk(db=b"")
    do(disk, call("pwrite64", "db", 0, 100, data=b"n" * 4 * SECTOR_BYTES))
    seen = {bytes(disk.image(Loss.TORN, CHANCE)["db"]) for _ in range(200)}

    assert len(seen) > 10
    for content in seen:
        pieces = [content[100:SECTOR_BYTES], *(content[n : n + SECTOR_BYTES] for n in range(SECTOR_BYTES, 2048, 512))]
        assert all(len(set(piece)) <= 1 for piece in pieces)


def test_a_shortened_file_may_still_be_long() -> None:
    disk = make_disk(db=b"long")
    do(disk, call("ftruncate", "db", 2))

    assert disk.image(Loss.ALL, CHANCE) == {"db": b"long"}
    assert disk.image(Loss.NONE, CHANCE) == {"db": b"lo"}


def test_what_cannot_be_followed_is_an_error_and_what_is_not_ours_is_not() -> None:
    disk = make_disk(db=b"")
    do(disk, call("mmap", "other"))

    with pytest.raises(UnreadableTrace):
        disk.begin(call("mmap", "db"))


def test_calls_of_two_threads_are_read_in_their_order(tmp_path: Path) -> None:
    def written(text: str) -> str:
        return "".join(f"\\x{byte:02x}" for byte in text.encode())

    file, trace = written("/store/db"), tmp_path / "trace"
    trace.write_text(
        f'7 pwrite64(4<{file}>, "{written("ab")}", 2, 8 <unfinished ...>\n'
        f'8 write(9<{written("socket:[1]")}>, "{written("250 ok")}", 6) = 6\n'
        f'8 write(2<{written("/elsewhere")}>, "{written("log")}", 3) = 3\n'
        "7 <... pwrite64 resumed>)           = 2\n"
        "7 +++ exited with 0 +++\n"
    )
    events = [(event.call.name, event.call.data, event.is_end) for event in read(trace, FOLDER)]

    pwrite, write = ("pwrite64", b"ab"), ("write", b"250 ok")
    assert events == [(*pwrite, False), (*write, False), (*write, True), (*pwrite, True)]
