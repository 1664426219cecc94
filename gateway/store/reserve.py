"""Room set aside on the disk of an SQLite store, for what is under way when the disk is full.

SQLite cannot free a full disk: deleting rows needs room too. So a file of real blocks lies beside the store. It is
given up when a write finds the disk full: then what carriers and the smarthost have answered can still be stored. Until
it is whole again no mail is stored and nothing new is claimed, so that nothing begins whose result might find no room.

Diagnostics: events `reserve_spent` (error: make room), `reserve_filled` (info).
"""

import os
from pathlib import Path

import structlog

from gateway.store.files import give_to_owner

_log = structlog.get_logger(__name__)


class Reserve:
    """The file. What it does blocks, for as long as the disk takes."""

    def __init__(self, database: Path, size_bytes: int) -> None:
        self._database = database
        self._path = database.with_name(f"{database.name}.reserve")
        self._size_bytes = size_bytes
        self._is_told = False
        try:
            found = self._path.stat()
        except OSError:
            self.is_spent = True
        else:
            # A file with holes sets nothing aside
            self.is_spent = found.st_size != size_bytes or found.st_blocks * 512 < size_bytes

    def fill(self) -> None:
        """Set the room aside, if there is half as much again: what is filled to the brim would be spent at once."""
        if not self.is_spent:
            return
        try:
            if _free_bytes(self._path.parent) >= self._size_bytes * 3 // 2:
                self._allocate()
                self.is_spent = False
                _log.info("reserve_filled", bytes=self._size_bytes)
                self._is_told = False
                return
            self._tell("the disk of the store has no room for it")
        except OSError as error:
            self._tell(error.strerror or "it cannot be written")

    def spend(self) -> None:
        """Give the room up: what is under way may have it."""
        if self.is_spent:
            return
        self.is_spent = True
        try:
            self._resize(0)
        except OSError as error:
            self._tell(error.strerror or "it cannot be given up")
        else:
            self._tell("the disk of the store is full")

    def _allocate(self) -> None:
        try:
            self._resize(self._size_bytes)
        except OSError:
            self._resize(0)  # a part of it helps nobody
            raise

    def _resize(self, size_bytes: int) -> None:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            give_to_owner(descriptor, self._database)
            os.ftruncate(descriptor, 0)
            if size_bytes:
                os.posix_fallocate(descriptor, 0, size_bytes)
            os.fsync(descriptor)  # some file systems free, or take, the blocks only then
        finally:
            os.close(descriptor)

    def _tell(self, reason: str) -> None:
        """Once, until it is whole again."""
        if not self._is_told:
            self._is_told = True
            _log.error(
                "reserve_spent",
                reason=reason,
                needed_bytes=self._size_bytes * 3 // 2,
                advice="make room: until then no mail is taken and no SMS is sent",
            )


def _free_bytes(folder: Path) -> int:
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize
