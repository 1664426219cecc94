"""When a session has waited long enough: one timer for all its waits.

`asyncio.timeout` sets a timer and takes it back for each line of a dialogue, which costs more than reading the line.
Here the timer stays where it is: when it rings too early, because the wait it was set for is over, it is set anew.
"""

import asyncio
from types import TracebackType
from typing import Self


class Alarm:
    """Breaks off one wait at a time, with TimeoutError, as `asyncio.timeout_at` does. For one task, which closes it.

    with alarm.until(moment):
        await ...
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._at: float | None = None  # when the present wait is over; None: nobody waits
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._has_rung = False

    def until(self, at: float) -> Self:
        """Return what breaks off its block at this moment of the loop's clock."""
        self.move(at)
        return self

    def move(self, at: float) -> None:
        """The present wait is over at this moment instead."""
        self._at = at
        if self._timer is None:
            self._set(at)
        elif at < self._timer_at:
            self._timer.cancel()
            self._set(at)

    def close(self) -> None:
        """Nothing rings any more, and nothing is held."""
        self._at = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def __enter__(self) -> None:
        if self._task is None:
            self._task = asyncio.current_task()
            if self._task is None:
                raise RuntimeError("an alarm is for a task")
        self._cancelling = self._task.cancelling()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._at = None
        if self._has_rung and self._task is not None:
            self._has_rung = False
            if self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
                raise TimeoutError from error

    def _set(self, at: float) -> None:
        self._timer_at = at
        self._timer = self._loop.call_at(at, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._at is None or self._task is None:
            return
        if self._loop.time() < self._at:
            self._set(self._at)
        elif not self._has_rung:
            self._has_rung = True
            self._task.cancel()
