"""Named points in the flow where the process can be made to stand still, to be killed exactly there.

For `mail2sms prove crash` alone, which sets one variable in the environment of the daemon it is about to kill:
`MAIL2SMS_PAUSE_AT=mail-stored`, or `sms-recording:2` for the second time it comes by. The whole process then stands
still, its loop and every task of it, and has said `paused mail-stored` on its stdout: who reads that may kill it, and
knows what had happened and what had not. No configuration can ask for it; the daemon logs an error when it is asked.

Without the variable a point costs one call and one comparison.
"""

import os
import signal
import sys
import threading
from collections.abc import Mapping
from enum import Enum, unique

from gateway.errors import GatewayError

VARIABLE = "MAIL2SMS_PAUSE_AT"


@unique
class PausePoint(Enum):
    """Where; the last word says what had just happened. One ending in -ing lies in a transaction, before its COMMIT."""

    MAIL_RECEIVED = "mail-received"  # the dot has come, nothing is judged
    MAIL_JUDGED = "mail-judged"  # what it causes is known, nothing is stored
    MAIL_STORING = "mail-storing"
    MAIL_STORED = "mail-stored"  # committed, 250 not said
    SMS_CLAIMING = "sms-claiming"
    SMS_CLAIMED = "sms-claimed"  # committed, the carrier not called
    SMS_ANSWERED = "sms-answered"  # the carrier's answer is read, nothing recorded
    SMS_RECORDING = "sms-recording"  # and any later move: what a dead process left, what nobody learnt
    SMS_RECORDED = "sms-recorded"
    REPORT_CLAIMING = "report-claiming"
    REPORT_CLAIMED = "report-claimed"  # committed, the smarthost not called
    REPORT_ANSWERED = "report-answered"  # the smarthost said 250, nothing recorded
    REPORT_RECORDING = "report-recording"
    REPORT_RECORDED = "report-recorded"
    REPORT_RECOVERING = "report-recovering"  # what a dead process was sending


class PauseUnknown(GatewayError):
    """The environment asks for a pause that there is not."""


class _Trap:
    """Waits for the process to come by a point for the `passes`-th time."""

    def __init__(self, point: PausePoint, passes: int) -> None:
        self.point = point
        self._passes = passes

    def spring(self) -> None:
        """Stand still for ever, if it is the time."""
        self._passes -= 1
        if self._passes:
            return
        sys.stdout.write(f"paused {self.point.value}\n")
        sys.stdout.flush()
        os.kill(os.getpid(), signal.SIGSTOP)  # every thread of it, whichever came by here
        threading.Event().wait()


def read_trap(environ: Mapping[str, str]) -> _Trap | None:
    """Return what the environment asks for. Raises PauseUnknown."""
    asked = environ.get(VARIABLE)
    if not asked:
        return None
    name, _, passes = asked.partition(":")
    try:
        return _Trap(PausePoint(name), max(1, int(passes or "1")))
    except ValueError as error:
        raise PauseUnknown(f"{VARIABLE}={asked} names no pause: unset it, it is for mail2sms prove crash") from error


_TRAP = read_trap(os.environ)

ARMED: PausePoint | None = _TRAP.point if _TRAP is not None else None
"""Where this process will stand still; None, as it should be: nowhere."""


def pause_at(point: PausePoint) -> None:
    """Nothing happens, unless this process was started to be killed here."""
    if point is ARMED and _TRAP is not None:
        _TRAP.spring()
