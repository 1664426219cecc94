"""Copies of mails that could not be read, for whoever finds out why: few, bounded, each once."""

import hashlib
import os
import threading
from pathlib import Path

_DIGEST_CHARS = 16
_SUFFIX = ".eml"


class Quarantine:
    """A folder of such mails. A copy holds texts, numbers and keys: only the owner of the process can read it.

    At most `max_files` and `max_bytes`: for a new one the oldest make room. A mail that is there already, because its
    client keeps trying, is not kept again.
    """

    def __init__(self, folder: Path, *, max_files: int, max_bytes: int) -> None:
        self._folder = folder
        self._max_files = max_files
        self._max_bytes = max_bytes
        self._lock = threading.Lock()

    def keep(self, name: str, content: bytes) -> Path | None:
        """Return where the mail is kept; None: it is too large, or nothing is to be kept. Raises OSError. Blocks."""
        if len(content) > self._max_bytes or not self._max_files:
            return None
        digest = hashlib.sha256(content).hexdigest()[:_DIGEST_CHARS]
        with self._lock:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            kept = self._kept()
            for path, _ in kept:
                if path.stem.endswith(f"-{digest}"):
                    return path
            self._make_room(kept, len(content))
            return self._write(self._folder / f"{name}-{digest}{_SUFFIX}", content)

    def _kept(self) -> list[tuple[Path, os.stat_result]]:
        """Return what is there, oldest first. Of names with equal times the smaller is older: ids are in order."""
        found = [(path, path.stat()) for path in self._folder.glob(f"*{_SUFFIX}")]
        return sorted(found, key=lambda one: (one[1].st_mtime_ns, one[0].name))

    def _make_room(self, kept: list[tuple[Path, os.stat_result]], needed_bytes: int) -> None:
        used_bytes = sum(status.st_size for _, status in kept) + needed_bytes
        for number, (path, status) in enumerate(kept):
            if len(kept) - number < self._max_files and used_bytes <= self._max_bytes:
                return
            path.unlink(missing_ok=True)
            used_bytes -= status.st_size

    def _write(self, path: Path, content: bytes) -> Path:
        """Write the file, whole or not at all."""
        half = path.with_suffix(".part")
        try:
            with open(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:  # noqa: PTH123 # with these flags
                file.write(content)
            half.rename(path)
        finally:
            half.unlink(missing_ok=True)
        return path
