"""How often somebody may guess: so many tries at once, then one every so many seconds, by key."""

from collections import OrderedDict

from gateway.clock import Clock


class Throttle:
    """Counts tries by key, for at most `max_keys` of them; the ones not seen for longest are forgotten first."""

    def __init__(self, clock: Clock, *, at_once: int, forgiven_every_s: float, max_keys: int = 10_000) -> None:
        self._clock = clock
        self._at_once = at_once
        self._forgiven_every_s = forgiven_every_s
        self._max_keys = max_keys
        self._tries: OrderedDict[str, tuple[float, float]] = OrderedDict()  # how many, and when it was that

    def wait_s(self, key: str) -> float:
        """Return in how many seconds the next try is taken; 0: now."""
        return max(0.0, (self._count(key) + 1 - self._at_once) * self._forgiven_every_s)

    def add(self, key: str) -> None:
        """One more try was made."""
        self._tries[key] = (self._count(key) + 1, self._clock.monotonic())
        self._tries.move_to_end(key)
        if len(self._tries) > self._max_keys:
            self._tries.popitem(last=False)

    def forgive(self, key: str) -> None:
        """The last try was no guess."""
        count, at = self._tries.get(key, (0.0, 0.0))
        self._tries[key] = (max(0.0, count - 1), at)

    def _count(self, key: str) -> float:
        count, at = self._tries.get(key, (0.0, 0.0))
        return max(0.0, count - (self._clock.monotonic() - at) / self._forgiven_every_s)
