"""Copies of mails that could not be read: private, few, each once."""

import os
import stat
from pathlib import Path

from gateway.reader.quarantine import Quarantine


def names(folder: Path) -> list[str]:
    return sorted(path.name.partition("-")[0] for path in folder.iterdir())


def keep(quarantine: Quarantine, number: int, content: bytes) -> Path:
    """Keep a mail; each is a second younger than the one before."""
    path = quarantine.keep(f"M{number}", content)
    assert path is not None
    os.utime(path, (number, number))
    return path


def test_a_copy_is_whole_and_for_nobody_else(tmp_path: Path) -> None:
    path = keep(Quarantine(tmp_path / "a" / "b", max_files=3, max_bytes=100), 1, b"mail")

    assert path.read_bytes() == b"mail"
    assert path.name.startswith("M1-")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_mail_that_comes_again_and_again_is_kept_once(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path, max_files=3, max_bytes=100)
    first = keep(quarantine, 1, b"one")
    keep(quarantine, 2, b"two")
    again = [quarantine.keep(f"M{number}", b"one") for number in range(3, 9)]

    assert again == [first] * 6
    assert names(tmp_path) == ["M1", "M2"]


def test_the_oldest_make_room_for_a_new_one(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path, max_files=3, max_bytes=1_000)
    for number in range(1, 6):
        keep(quarantine, number, b"%d" % number)

    assert names(tmp_path) == ["M3", "M4", "M5"]


def test_so_they_do_for_a_large_one(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path, max_files=100, max_bytes=100)
    for number in range(1, 6):
        keep(quarantine, number, b"%d" % number * 20)
    keep(quarantine, 6, b"x" * 50)

    assert names(tmp_path) == ["M4", "M5", "M6"]


def test_what_is_larger_than_all_of_it_is_not_kept_and_pushes_nothing_out(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path, max_files=3, max_bytes=100)
    keep(quarantine, 1, b"one")

    assert quarantine.keep("M2", b"x" * 101) is None
    assert Quarantine(tmp_path, max_files=0, max_bytes=100).keep("M3", b"x") is None
    assert names(tmp_path) == ["M1"]


def test_other_files_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_bytes(b"x" * 500)
    quarantine = Quarantine(tmp_path, max_files=1, max_bytes=100)
    for number in range(1, 4):
        keep(quarantine, number, b"%d" % number)

    assert names(tmp_path) == ["M3", "notes.txt"]
