"""A clock that moves only when told to."""

from datetime import UTC, datetime, timedelta

START = datetime(2026, 3, 4, 9, 30, tzinfo=UTC)
"""A Wednesday morning, 10:30 in Paris: inside all hours."""


class ManualClock:
    """Tells the time it was set to; wall clock and monotonic clock move together unless asked otherwise."""

    def __init__(self, at: datetime = START) -> None:
        self._now = at
        self._monotonic = 1000.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds

    def step(self, seconds: float) -> None:
        """Set the wall clock forward or back, as an operator or a time server does."""
        self._now += timedelta(seconds=seconds)
