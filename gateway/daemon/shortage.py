"""Whether the disk under an SQLite store still has room for a mail: asked at MAIL, before anything is sent in vain."""

import os
from pathlib import Path

import structlog

from gateway.clock import Clock
from gateway.intake import FULL, Reply

_log = structlog.get_logger(__name__)

_MARGIN_BYTES = 64 * 1024 * 1024
"""Kept free for what must still be written when no more mail is taken: verdicts, reports, checkpoints."""

_FRESH_S = 1.0


def needed_bytes(max_mail_bytes: int, margin_bytes: int = _MARGIN_BYTES) -> int:
    """Return how much has to be free for mail to be taken."""
    return margin_bytes + max_mail_bytes * 3 // 2


class DiskWatch:
    """Says `452` while less is free than the margin and one and a half of the largest mail."""

    def __init__(self, folder: Path, *, max_mail_bytes: int, clock: Clock, margin_bytes: int = _MARGIN_BYTES) -> None:
        self._folder = folder
        self._needed_bytes = needed_bytes(max_mail_bytes, margin_bytes)
        self._clock = clock
        self._looked_at = float("-inf")
        self._is_short = False

    def find_shortage(self) -> Reply | None:
        """Return the reply to MAIL when there is no room, else None. Looks at the disk at most once a second."""
        now = self._clock.monotonic()
        if now - self._looked_at >= _FRESH_S:
            self._looked_at = now
            self._note(self._free_bytes() < self._needed_bytes)
        return FULL if self._is_short else None

    def measure(self) -> tuple[int, int]:
        """Return how many bytes are free, and how many must be."""
        return self._free_bytes(), self._needed_bytes

    def _free_bytes(self) -> int:
        status = os.statvfs(self._folder)
        return status.f_bavail * status.f_frsize

    def _note(self, is_short: bool) -> None:
        if is_short and not self._is_short:
            _log.error("disk_short", needed_bytes=self._needed_bytes, advice="no mail is taken until there is room")
        elif self._is_short and not is_short:
            _log.info("disk_has_room")
        self._is_short = is_short
