"""How many a second, over time, and how many at once."""

from gateway.clock import Clock


class TokenBucket:
    """Holds `at_once` tokens, and gets `per_s` of them back each second."""

    def __init__(self, clock: Clock, *, per_s: float, at_once: int) -> None:
        self._clock = clock
        self._per_s = per_s
        self._at_once = at_once
        self._tokens = float(at_once)
        self._filled_at = clock.monotonic()

    def take(self) -> bool:
        """Return whether there was a token, and take it."""
        now = self._clock.monotonic()
        self._tokens = min(self._at_once, self._tokens + (now - self._filled_at) * self._per_s)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
