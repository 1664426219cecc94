"""How fast a carrier may be handed SMS: so many a second, and no more than a moment's worth of them at once.

Promises. In any stretch of time a carrier is handed no more than its rate allows, and `burst` beyond it. Who waits for
that has claimed nothing. They stand in a line as at the carrier itself (`turns`), so accounts share the rate, alerts
come first, and nobody starves. What was taken and not used is given back.
"""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from gateway.clock import Clock
from gateway.turns import Turns

_GATHER_S = 0.1
"""What comes in so long is waited for, so that a fast carrier is called ten times a second with some SMS, not a
hundred times with one."""


class Pace:
    """Of one carrier: `rate` SMS a second, and at once one second's worth or `most`, whichever is less."""

    def __init__(self, clock: Clock, *, rate: float, most: int) -> None:
        self._clock = clock
        self._rate = rate
        self.burst = max(1, min(most, math.floor(rate)))
        self._portion = min(self.burst, max(1, math.floor(rate * _GATHER_S)))
        self._level = float(self.burst)
        self._counted_at = clock.monotonic()
        self._line = Turns(1)
        self._nudged = asyncio.Event()
        self._is_released = False
        self.is_waited_for = False  # somebody stands still until there is enough

    @property
    def waiting(self) -> int:
        """How many stand in line behind the one whose turn it is."""
        return self._line.waiting

    @property
    def opens_in_s(self) -> float:
        """Seconds until there is enough for a call; 0: there is."""
        return max(0.0, (self._portion - self._count()) / self._rate)

    @asynccontextmanager
    async def turn(self, rank: int) -> AsyncIterator[None]:
        """In the block there is enough for a call, and nobody else takes any."""
        async with self._line.turn(rank):
            try:
                while not self._is_released and (wait_s := self.opens_in_s) > 0:
                    self.is_waited_for = True
                    self._nudged.clear()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(wait_s):
                            await self._nudged.wait()
            finally:
                self.is_waited_for = False
            yield

    def take(self, count: int) -> int:
        """Return how many SMS may be handed over of the so many that are wanted."""
        taken = min(count, math.floor(self._count() + 1e-9))  # what is due by now is not lost to a rounding
        self._level -= taken
        return taken

    def give_back(self, count: int) -> None:
        """So many of those taken were not handed over."""
        self._level = min(self._count() + count, self.burst)

    def nudge(self) -> None:
        """Who waits looks at the clock again."""
        self._nudged.set()

    def release(self) -> None:
        """Nobody waits any more, for there will be no more calls."""
        self._is_released = True
        self._nudged.set()

    def _count(self) -> float:
        now = self._clock.monotonic()
        self._level = min(self._level + (now - self._counted_at) * self._rate, self.burst)
        self._counted_at = now
        return self._level
