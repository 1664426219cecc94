"""Who may use which child, and who waits: first come, first served, large mails on the first seat alone."""

import asyncio
from collections import deque
from dataclasses import dataclass

from gateway.reader.process import Child


class Seat:
    """A place for one child; who holds it talks to that child alone."""

    def __init__(self, *, takes_large: bool) -> None:
        self.takes_large = takes_large
        self.child: Child | None = None

    @property
    def is_staffed(self) -> bool:
        """True when there is a child that can be asked, as far as is known."""
        return self.child is not None and self.child.is_alive

    @property
    def is_deserted(self) -> bool:
        """True when there was one, and it is gone by itself."""
        return self.child is not None and not self.child.is_alive


class QueueFull(Exception):
    """More mails wait than may."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Waiter:
    is_large: bool
    due_at: float  # by the loop's clock
    turn: asyncio.Future[Seat]


class Seats:
    """Hands out seats. Whoever was given one gives it back.

    All who wait do so for equally long, so that the first in the queue is the first to give up: one timer does for all.
    """

    def __init__(self, count: int, *, max_waiting: int, patience_s: float) -> None:
        self.all = tuple(Seat(takes_large=number == 0) for number in range(count))
        self._free = list(self.all)
        self._waiting: deque[_Waiter] = deque()
        self._max_waiting = max_waiting
        self._patience_s = patience_s
        self._timer: asyncio.TimerHandle | None = None

    def take_free(self, *, is_large: bool) -> Seat | None:
        """Return a free seat, if there is one."""
        fitting = [seat for seat in self._free if seat.takes_large or not is_large]
        if not fitting:
            return None
        # Small mails prefer what large ones cannot use, and everybody prefers a child that is there.
        seat = min(fitting, key=lambda seat: (not seat.is_staffed, seat.takes_large))
        self._free.remove(seat)
        return seat

    async def wait_for_one(self, *, is_large: bool) -> Seat:
        """Return a seat, as soon as there is one. Raises QueueFull, TimeoutError."""
        if len(self._waiting) >= self._max_waiting:
            raise QueueFull
        loop = asyncio.get_running_loop()
        waiter = _Waiter(is_large=is_large, due_at=loop.time() + self._patience_s, turn=loop.create_future())
        self._waiting.append(waiter)
        if self._timer is None:
            self._timer = loop.call_at(waiter.due_at, self._ring, loop)
        try:
            return await waiter.turn
        except asyncio.CancelledError:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            turn = waiter.turn
            if not turn.cancelled() and turn.exception() is None:  # given a seat in the very moment of giving up
                self.give_back(turn.result())
            raise

    def give_back(self, seat: Seat) -> None:
        """The seat is the next one's."""
        for position, waiter in enumerate(self._waiting):
            if not waiter.turn.done() and (seat.takes_large or not waiter.is_large):
                del self._waiting[position]
                waiter.turn.set_result(seat)
                return
        self._free.append(seat)

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        """Whose patience is over is told so."""
        self._timer = None
        now = loop.time()
        while self._waiting and self._waiting[0].due_at <= now:
            waiter = self._waiting.popleft()
            if not waiter.turn.done():
                waiter.turn.set_exception(TimeoutError())
        if self._waiting:
            self._timer = loop.call_at(self._waiting[0].due_at, self._ring, loop)
