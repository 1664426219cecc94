"""How many SMS may be at a carrier without its answer: few until it has answered, then more and more.

Each of them would become one of unknown fate if the carrier were a black hole. So the first calls together hold no more
than `FIRST` SMS; every answer doubles what may be on its way, until the size of a batch and the carrier's width are the
only bounds; and a carrier that was not heard of for `QUIET_S` begins anew. What was lost counts until something is
answered, so a dead carrier costs `FIRST` unknown fates, and one for each probe.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from gateway.clock import Clock

FIRST = 5
QUIET_S = 60.0
_MOST = 1_000_000


class Share:
    """What one call takes of the room."""

    def __init__(self, count: int) -> None:
        self.count = count

    def shrink(self, count: int) -> None:
        """It needs no more than that."""
        self.count = min(self.count, count)


class Exposure:
    """Of one carrier."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._allowed = FIRST
        self._heard_at = float("-inf")
        self._shares: set[Share] = set()
        self._lost = 0

    @property
    def room(self) -> int:
        """How many more SMS may be handed over now; 0: wait for an answer."""
        is_quiet = self._clock.monotonic() - self._heard_at > QUIET_S
        return max(0, (FIRST if is_quiet else self._allowed) - self._lost - sum(share.count for share in self._shares))

    @contextmanager
    def of(self, count: int) -> Iterator["Share"]:
        """In the block so many SMS, or as many as its share is shrunk to, are being handed over."""
        share = Share(count)
        self._shares.add(share)
        try:
            yield share
        finally:
            self._shares.discard(share)

    def hear(self) -> None:
        """The carrier has answered."""
        is_quiet = self._clock.monotonic() - self._heard_at > QUIET_S
        self._allowed = min((FIRST if is_quiet or self._lost else self._allowed) * 2, _MOST)
        self._lost = 0
        self._heard_at = self._clock.monotonic()

    def lose(self, count: int) -> None:
        """The answer for so many is lost."""
        self._lost += count
