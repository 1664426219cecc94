"""A small disk of our own, to be filled."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MIB = 1024 * 1024
_TRIES = 100


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[Path]:
    """The folder is a disk of this size while the block runs. Skips where nothing may be mounted."""
    folder.mkdir()
    options = f"size={size_bytes},mode=700"
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, check=False
    )
    if done.returncode != 0:  # needs CAP_SYS_ADMIN, which a developer's account and many containers lack; CI has it
        pytest.skip(f"NOT TESTED, a full disk: this user may not mount one ({done.stderr.decode().strip()})")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, *, leave_bytes: int = 0) -> Path:
    """The disk is full but for so much; return the file that does it."""
    filler = folder / "filler"
    with filler.open("wb") as file:
        for _ in range(_TRIES):
            size = os.fstat(file.fileno()).st_size + shutil.disk_usage(folder).free - leave_bytes
            with contextlib.suppress(OSError):  # whoever works on the disk took some of it meanwhile
                os.posix_fallocate(file.fileno(), 0, size)
                return filler
    raise AssertionError("somebody else is quicker")
