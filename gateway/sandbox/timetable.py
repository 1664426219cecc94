"""What is to happen later: SMS that arrive, people who answer."""

import asyncio
import heapq
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from itertools import count

from gateway.clock import Clock

MOST_ENTRIES = 200_000
"""Beyond this nothing more is put in: what would have happened does not."""

_LOOK_AGAIN_S = 1.0
"""The clock may be set: it is looked at so often while something waits."""

Action = Callable[[], Awaitable[None]]


class Timetable:
    """Does things at an instant, one after another; at the same instant in the order in which they were put in."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: list[tuple[datetime, int, Action]] = []
        self._order = count()
        self._changed = asyncio.Event()

    def put(self, due_at: datetime, action: Action) -> None:
        """`action` is done at `due_at`, or at once if that has passed."""
        if len(self._entries) < MOST_ENTRIES:
            heapq.heappush(self._entries, (due_at, next(self._order), action))
            self._changed.set()

    def clear(self) -> None:
        """Nothing of what is in it happens."""
        self._entries.clear()

    def wake(self) -> None:
        """Look at the clock now: somebody moved it."""
        self._changed.set()

    async def run(self) -> None:
        """Do what is due, until cancelled."""
        while True:
            self._changed.clear()
            now = self._clock.now()
            while self._entries and self._entries[0][0] <= now:
                await heapq.heappop(self._entries)[2]()
            wait_s = None
            if self._entries:
                wait_s = min(_LOOK_AGAIN_S, max(0.0, (self._entries[0][0] - self._clock.now()).total_seconds()))
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
