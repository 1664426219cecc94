"""Who may use which child, and who waits: first come, first served, large mails on the first seat alone."""

import asyncio
from collections import deque

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


class Seats:
    """Hands out seats. Whoever was given one gives it back."""

    def __init__(self, count: int, *, max_waiting: int) -> None:
        self.all = tuple(Seat(takes_large=number == 0) for number in range(count))
        self._free = list(self.all)
        self._waiting: deque[tuple[bool, asyncio.Future[Seat]]] = deque()
        self._max_waiting = max_waiting

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
        """Return a seat, as soon as there is one. Raises QueueFull."""
        if len(self._waiting) >= self._max_waiting:
            raise QueueFull
        turn: asyncio.Future[Seat] = asyncio.get_running_loop().create_future()
        self._waiting.append((is_large, turn))
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # given a seat in the very moment of giving up
                self.give_back(turn.result())
            raise
        finally:
            if (is_large, turn) in self._waiting:
                self._waiting.remove((is_large, turn))

    def give_back(self, seat: Seat) -> None:
        """The seat is the next one's."""
        for position, (is_large, turn) in enumerate(self._waiting):
            if not turn.done() and (seat.takes_large or not is_large):
                del self._waiting[position]
                turn.set_result(seat)
                return
        self._free.append(seat)
