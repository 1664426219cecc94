"""A client's account at a carrier: its credit, and the numbers that get nothing. Any key opens the same one."""

from collections import OrderedDict
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal

from gateway.sandbox.pulse import Pulse

MOST_STOPPED = 100_000
SHOWN_CREDIT = Decimal(500)
"""What a credit without end is said to be."""


class Purse:
    """Money, in euros; None: without end."""

    def __init__(self, euros: Decimal | None) -> None:
        self._left = euros

    @property
    def left(self) -> Decimal:
        """What the client is told."""
        return SHOWN_CREDIT if self._left is None else self._left

    @property
    def is_endless(self) -> bool:
        """True when spending takes nothing away."""
        return self._left is None

    def spend(self, euros: Decimal) -> bool:
        """Take so much out and return True; False, and nothing is taken, if there is less."""
        if self._left is None:
            return True
        if euros > self._left:
            return False
        self._left -= euros
        return True

    def put(self, euros: Decimal) -> None:
        """There is so much more."""
        if self._left is not None:
            self._left += euros

    def set(self, euros: Decimal | None) -> None:
        """There is just so much."""
        self._left = euros


class StopList:
    """Numbers (E.164) that get nothing, in the order in which they came, each with an id and since when."""

    def __init__(self, pulse: Pulse) -> None:
        self._numbers: OrderedDict[str, tuple[int, datetime]] = OrderedDict()
        self._given = 0
        self._pulse = pulse

    def add(self, msisdn: str, at: datetime) -> int:
        """The number is on it; return its id, the old one if it was before."""
        if msisdn not in self._numbers:
            self._given += 1
            self._numbers[msisdn] = (self._given, at)
            while len(self._numbers) > MOST_STOPPED:
                self._numbers.popitem(last=False)
            self._pulse.beat()
        return self._numbers[msisdn][0]

    def remove(self, msisdn: str) -> bool:
        """The number is not on it; return whether it was."""
        was_there = self._numbers.pop(msisdn, None) is not None
        self._pulse.beat()
        return was_there

    def find(self, stop_id: int) -> str | None:
        """Return the number with this id."""
        return next((msisdn for msisdn, (known, _) in self._numbers.items() if known == stop_id), None)

    def clear(self) -> None:
        """Nobody is on it."""
        self._numbers.clear()
        self._pulse.beat()

    def __contains__(self, msisdn: object) -> bool:
        return msisdn in self._numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[tuple[int, str, datetime]]:
        """Yield id, number and since when."""
        return ((stop_id, msisdn, at) for msisdn, (stop_id, at) in self._numbers.items())


class Account:
    """What one carrier knows of its client."""

    def __init__(self, *, price: Decimal, euros: Decimal | None, pulse: Pulse) -> None:
        self.price = price  # of a part, in euros
        self.purse = Purse(euros)
        self.stops = StopList(pulse)

    @property
    def sms_left(self) -> int:
        """How many SMS of one part the credit is enough for."""
        return int(self.purse.left / self.price)
