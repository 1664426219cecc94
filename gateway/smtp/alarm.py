"""How a session waits: for one thing at a time, and never longer than its alarm says.

`asyncio.timeout` sets a timer and takes it back for each line of a dialogue, and ends a wait by cancelling its task:
that costs more than reading the line. Here nothing is cancelled: what is waited for wakes the task, or else the timer
does. The timer stays where it is: when it rings too early, because the wait it was set for is over, it is set anew. It
is never set far ahead, so that a shorter wait that follows a long one finds it early enough.
"""

import asyncio

LOOK_S = 5.0
"""As far as the timer is set ahead: whoever waits for longer has it look that often."""


class Alarm:
    """What one task waits by; the task closes it.

    alarm.set(moment)
    while not there_is_something:
        await alarm.wait()  # whoever brings it calls `alarm.wake`
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._at = 0.0  # when the present wait is over
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    def set(self, at: float) -> None:
        """The present wait, or else the next, is over at this moment of the loop's clock."""
        self._at = at
        if self._timer is not None and at < self._timer_at:
            self._timer.cancel()
            self._start_timer()

    def wait(self) -> asyncio.Future[None]:
        """Return what is over once somebody has called `wake`, for whatever reason; TimeoutError once it rings."""
        self._waiter = self._loop.create_future()
        if self._timer is None:
            self._ring()  # at once if it is late: a client that wakes at every turn would be waited for, for ever
        return self._waiter

    def wake(self) -> None:
        """Whoever waits looks again; if nobody waits, nothing happens."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def close(self) -> None:
        """Nothing rings any more, and nothing is held."""
        self._waiter = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start_timer(self) -> None:
        self._timer_at = min(self._at, self._loop.time() + LOOK_S)
        self._timer = self._loop.call_at(self._timer_at, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._waiter is None or self._waiter.done():
            return  # the next wait starts it again
        if self._loop.time() < self._at:
            self._start_timer()
        else:
            self._waiter.set_exception(TimeoutError())
