"""How often somebody did something lately: a count that goes down by itself, for as many as there is room for."""

from collections.abc import Callable, Hashable


class Tally:
    """Counts by key. Each count goes down by one every `forgiven_every_s`; beyond `max_keys` the oldest are forgotten.

    Pure but for the clock it is given; every method takes constant time.
    """

    def __init__(self, *, forgiven_every_s: float, now: Callable[[], float], max_keys: int = 10_000) -> None:
        self._forgiven_every_s = forgiven_every_s
        self._now = now
        self._max_keys = max_keys
        self._counts: dict[Hashable, tuple[float, float]] = {}  # the count, and when it was that; oldest first

    def count(self, key: Hashable) -> float:
        """Return how much is left of what was added."""
        count, at = self._counts.get(key, (0.0, 0.0))
        return max(0.0, count - (self._now() - at) / self._forgiven_every_s)

    def add(self, key: Hashable) -> None:
        """It happened once more."""
        count = self.count(key) + 1
        self._counts.pop(key, None)
        self._counts[key] = (count, self._now())
        if len(self._counts) > self._max_keys:
            del self._counts[next(iter(self._counts))]
