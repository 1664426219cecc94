"""Names for rows: 20 characters of Crockford's base 32, sortable by time, the second half not guessable.

Ten characters are the millisecond, ten are 50 random bits. Short enough to read out at night, safe as a carrier's
tracker (iSendPro: fewer than 50 alphanumeric characters; SMS Partner: at most 20, no spaces).
"""

import os
from datetime import datetime
from functools import lru_cache
from itertools import product

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_DIGITS = 10
_PAIRS = tuple(map("".join, product(_ALPHABET, repeat=2)))
_SHIFTS = range(5 * (_DIGITS - 2), -1, -10)  # two digits at a time
_DIGIT_OF = (_ALPHABET * 8).encode()  # of an octet: each digit is that of eight of them


def new_id(at: datetime) -> str:
    """Return a new id whose first half tells `at`, to the millisecond."""
    chance = os.urandom(_DIGITS).translate(_DIGIT_OF)
    return _encode(int(at.timestamp() * 1000)) + chance.decode("ascii")


def floor_id(at: datetime) -> str:
    """Return what no id of `at` or later sorts before, and every earlier one does."""
    return _encode(max(0, int(at.timestamp() * 1000))) + "0" * _DIGITS


@lru_cache(maxsize=16)  # what one mail causes has ids of one instant
def _encode(number: int) -> str:
    return "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])
