"""Turns at something that serves a few at a time: by rank, and within a rank in the order of waiting.

Promises. A turn that ends goes to who waits with the lowest rank, so that the urgent waits for one turn to end and no
more. Nobody starves: who has waited longest is passed over at most `PATIENCE` times in a row and then has the turn.
A turn is handed on, never up for grabs; who is cancelled while waiting, or just when called, keeps nothing.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

PATIENCE = 4
"""Under constant pressure from above, so every fifth turn is for who has waited longest."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Waiter:
    rank: int
    called: asyncio.Future[None]


class Turns:
    """So many turns at a time."""

    def __init__(self, width: int) -> None:
        self._free = width
        self._waiters: list[_Waiter] = []  # in the order they came: as many as runners, so a list will do
        self._passed_over = 0  # times in a row that the first of them was

    @property
    def waiting(self) -> int:
        """How many stand in line."""
        return len(self._waiters)

    @asynccontextmanager
    async def turn(self, rank: int) -> AsyncIterator[None]:
        """The block has a turn; the lower the rank, the earlier."""
        await self._wait(rank)
        try:
            yield
        finally:
            self._hand_on()

    async def _wait(self, rank: int) -> None:
        if self._free > 0:  # then nobody waits
            self._free -= 1
            return
        waiter = _Waiter(rank=rank, called=asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        try:
            await waiter.called
        except asyncio.CancelledError:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            else:
                self._hand_on()  # called, and gone before it came
            raise

    def _hand_on(self) -> None:
        line = [waiter for waiter in self._waiters if not waiter.called.done()]  # the others are being cancelled
        if not line:
            self._free += 1
            return
        chosen = min(line, key=lambda waiter: waiter.rank)  # of equals the first
        if chosen is line[0] or self._passed_over >= PATIENCE:
            chosen, self._passed_over = line[0], 0
        else:
            self._passed_over += 1
        self._waiters.remove(chosen)
        chosen.called.set_result(None)
