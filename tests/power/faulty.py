"""The gateway on a disk that fails: with libfiu's library preloaded, chosen calls return an error and do nothing.

`POWER_FAULT` says which calls of one kind: `NAME ERRNO range FIRST LAST` by their numbers, counted over the life of the
process; `NAME ERRNO every STEP MOST` each STEP-th; `NAME ERRNO random PER_MILLE MOST` so many in a thousand; MOST of
them in all. Every failure is a line on stderr. `POWER_FAULT_FROM` names a file: calls count while it is there.
"""

import ctypes
import itertools
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path

from gateway.cli import main

PRELOADED = ("/usr/lib/fiu/fiu_posix_preload.so",)
FDATASYNC, PWRITE = "posix/io/sync/fdatasync", "posix/io/rw/pwrite"

_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.POINTER(ctypes.c_int),
    ctypes.POINTER(ctypes.c_void_p),
    ctypes.POINTER(ctypes.c_uint),
)


class Fault:
    """Decides which calls fail."""

    def __init__(self, words: list[str]) -> None:
        self.name, self.errno = words[0], int(words[1])
        how, (one, other) = words[2], map(int, words[3:])
        if how == "random":
            self._fails = self._random(one, other)
        elif how == "every":
            self._fails = self._numbered(lambda call: call % one == 0 and call <= one * other)
        else:
            self._fails = self._numbered(lambda call: one <= call <= other)
        self._trigger = Path(os.environ.get("POWER_FAULT_FROM", "/"))

    def decide(self, *_: object) -> int:
        """Return 1 for a call that fails; called by libfiu in the thread that makes the call."""
        fails = self._trigger.exists() and self._fails()
        if fails:
            sys.stderr.write(f"fault: {self.name} fails\n")
            sys.stderr.flush()
        return int(fails)

    @staticmethod
    def _numbered(is_chosen: Callable[[int], bool]) -> Callable[[], bool]:
        numbers = itertools.count(1)
        return lambda: is_chosen(next(numbers))

    @staticmethod
    def _random(per_mille: int, most: int) -> Callable[[], bool]:
        left, chance = most, random.Random()

        def fails() -> bool:
            nonlocal left
            is_chosen = left > 0 and chance.randrange(1000) < per_mille
            left -= is_chosen
            return is_chosen

        return fails


def _install(fault: Fault) -> object:
    """The fault is in force for as long as what is returned lives."""
    libfiu = ctypes.CDLL("libfiu.so.0")
    callback = _Callback(fault.decide)
    failed = libfiu.fiu_enable_external(fault.name.encode(), 1, ctypes.c_void_p(fault.errno), 0, callback)
    assert failed == 0
    return callback


if __name__ == "__main__":
    in_force = _install(Fault(os.environ["POWER_FAULT"].split()))
    main()
