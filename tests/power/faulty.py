"""The gateway on a disk that fails: with libfiu's library preloaded, chosen calls return an error and do nothing.

`POWER_FAULT` says which: `NAME ERRNO FIRST LAST` lets the calls number FIRST to LAST of one kind fail, counted over the
life of the process; `NAME ERRNO random PER_MILLE MOST` lets one in a thousand times PER_MILLE fail, MOST in all. Every
failure is a line on stderr. `POWER_FAULT_FROM` names a file: calls count from when it is there.
"""

import ctypes
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
        self._fails = self._random(*words[3:]) if words[2] == "random" else self._numbered(*words[2:])
        self._trigger = Path(os.environ.get("POWER_FAULT_FROM", "/"))

    def decide(self, *_: object) -> int:
        """Return 1 for a call that fails; called by libfiu in the thread that makes the call."""
        fails = self._trigger.exists() and self._fails()
        if fails:
            sys.stderr.write(f"fault: {self.name} fails\n")
            sys.stderr.flush()
        return int(fails)

    @staticmethod
    def _numbered(first: str, last: str) -> Callable[[], bool]:
        count = 0

        def fails() -> bool:
            nonlocal count
            count += 1
            return int(first) <= count <= int(last)

        return fails

    @staticmethod
    def _random(per_mille: str, most: str) -> Callable[[], bool]:
        left, chance = int(most), random.Random()

        def fails() -> bool:
            nonlocal left
            if left and chance.randrange(1000) < int(per_mille):
                left -= 1
                return True
            return False

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
