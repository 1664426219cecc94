"""How long the store is waited for: one timer for both of its ends.

Two of `asyncio.timeout`, one in the other, do the same; setting and taking back two timers cost a twentieth of what the
loop does for a mail.
"""

import asyncio
from types import TracebackType


class Patience:
    """Breaks off its block when the time is over, with TimeoutError, as `asyncio.timeout` does.

    Who is broken off may still wait, for the end of a transaction say; but `grace_s` later it is broken off again.
    """

    __slots__ = ("_cancelling", "_grace_s", "_rings", "_task", "_time_s", "_timer")

    def __init__(self, time_s: float, *, grace_s: float) -> None:
        self._time_s = time_s
        self._grace_s = grace_s
        self._rings = 0

    def __enter__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("patience is for a task")
        self._task = task
        self._cancelling = task.cancelling()
        self._timer = asyncio.get_running_loop().call_later(self._time_s, self._ring)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._timer.cancel()
        for _ring in range(self._rings):
            self._task.uncancel()
        if self._rings and kind is asyncio.CancelledError and self._task.cancelling() <= self._cancelling:
            raise TimeoutError from error

    def _ring(self) -> None:
        self._rings += 1
        self._task.cancel()
        if self._rings == 1:
            self._timer = asyncio.get_running_loop().call_later(self._grace_s, self._ring)
