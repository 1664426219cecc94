"""Whether there is room for more mail: on the disk, in the reserve, in the queue. Asked at MAIL, tended meanwhile.

Promises. Mail is refused with `452` before anything is sent in vain, and taken again within seconds of there being
room. The reserve of an SQLite store, once spent, is filled again as soon as it can be.

Diagnostics: events `queue_full` (error), `queue_has_room` (info), and those of `gateway.daemon.shortage` and
`gateway.store.reserve`.
"""

import asyncio

import structlog

from gateway.daemon.shortage import DiskWatch
from gateway.intake import FULL, Reply
from gateway.smtp.replies import NO_ROOM
from gateway.store import Store
from gateway.store.reserve import Reserve
from gateway.worker import Bell, Crew, Stage

_log = structlog.get_logger(__name__)

EVERY_S = 5.0
"""How often the queue is counted and, while it is spent, the reserve tried to be filled."""


class Room:
    """The stage that watches. `disk` and `reserve` are None where the disk is not ours to watch."""

    def __init__(self, *, store: Store, disk: DiskWatch | None, reserve: Reserve | None, most_waiting_sms: int) -> None:
        self._store = store
        self._disk = disk
        self._reserve = reserve
        self._most_waiting_sms = most_waiting_sms
        self._is_queue_full = False
        self.bell = Bell()
        self._stage = Stage(name="room", bell=self.bell, look=self._look, poll_s=EVERY_S)

    async def run(self) -> None:
        """Work until stopped."""
        await self._stage.run()

    def stop(self) -> None:
        """No further look begins."""
        self._stage.stop()

    def find_shortage(self) -> Reply | None:
        """Return the reply to MAIL when there is no room, else None."""
        if self._find_full_disk() is not None:
            return FULL
        return NO_ROOM if self._is_queue_full else None

    def find_obstacle(self) -> str | None:
        """Return why there is no room, in words for operators, else None."""
        return self._find_full_disk() or ("too many SMS wait to be sent" if self._is_queue_full else None)

    def _find_full_disk(self) -> str | None:
        if self._reserve is not None and self._reserve.is_spent:
            return "the disk of the store is full"
        if self._disk is not None and self._disk.find_shortage() is not None:
            return "the disk of the store has no room for mail"
        return None

    def measure(self) -> tuple[int, int] | None:
        """Return how many bytes are free on the disk, and how many must be; None where it is not ours to watch."""
        return None if self._disk is None else self._disk.measure()

    async def _look(self, _crew: Crew) -> float:
        self._store.raise_if_ruined()
        if self._reserve is not None and self._reserve.is_spent:
            await asyncio.to_thread(self._reserve.fill)
        if self._most_waiting_sms:
            waiting = await self._store.count_waiting(self._most_waiting_sms)
            self._note_queue(is_full=waiting >= self._most_waiting_sms)
        return EVERY_S

    def _note_queue(self, *, is_full: bool) -> None:
        if is_full and not self._is_queue_full:
            advice = "no mail is taken until fewer wait: are the carriers down?"
            _log.error("queue_full", most_waiting_sms=self._most_waiting_sms, advice=advice)
        elif self._is_queue_full and not is_full:
            _log.info("queue_has_room")
        self._is_queue_full = is_full
