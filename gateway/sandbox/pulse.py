"""Tells whoever looks on that something changed, without saying what."""

import asyncio
from contextlib import suppress


class Pulse:
    """A count of changes that can be waited for."""

    def __init__(self) -> None:
        self.count = 0
        self._next: asyncio.Event | None = None  # only while somebody waits: there may be many thousand beats a second

    def beat(self) -> None:
        """Something changed."""
        self.count += 1
        if self._next is not None:
            self._next.set()
            self._next = None

    async def wait_beyond(self, count: int, timeout_s: float) -> int:
        """Return the count once it is another than `count`, or after `timeout_s`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self.count == count:
                    self._next = self._next or asyncio.Event()
                    await self._next.wait()
        return self.count
