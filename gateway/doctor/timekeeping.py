"""The clock: whether it is kept right, agrees with those of others, and knows the time zones."""

import ctypes
import ctypes.util
from collections.abc import AsyncIterator
from datetime import datetime
from zoneinfo import ZoneInfo

from gateway.doctor.findings import Finding, Says, Section
from gateway.doctor.subject import Subject

_says = Says(Section.CLOCK)

_TIME_ERROR = 5
_STA_UNSYNC = 0x0040
_WARN_S, _FAIL_S = 10.0, 120.0
_ADVICE = "let chrony or systemd-timesyncd set it: hours of commercial SMS and <date_envoi> go by it"


class _Timex(ctypes.Structure):
    """The beginning of `struct timex` (adjtimex(2)), and room for the rest of it."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 256),
    )


async def examine(subject: Subject) -> AsyncIterator[Finding]:
    """Yield what this machine itself knows of the time."""
    yield _judge_kernel(is_synchronised())
    zones = sorted({account.timezone for account in subject.config.accounts})
    now = subject.clock.now()
    told = ", ".join(f"{zone} {now.astimezone(ZoneInfo(zone)):%H:%M}" for zone in zones)
    yield _says.ok(f"time zones are known; it is {now:%Y-%m-%d %H:%M:%S} UTC, {told}")


def _judge_kernel(is_kept: bool | None) -> Finding:
    if is_kept is None:
        return _says.unknown("the kernel does not tell whether its clock is synchronised", "try: timedatectl")
    if is_kept:
        return _says.ok("the kernel's clock is synchronised")
    return _says.warning("the kernel's clock is not synchronised", _ADVICE)


def is_synchronised() -> bool | None:
    """Tell whether something keeps the kernel's clock right; None: it does not say. Changes nothing."""
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        adjtimex = libc.adjtimex
    except AttributeError:
        return None
    state = _Timex()
    answer = adjtimex(ctypes.byref(state))
    if answer < 0:
        return None
    return answer != _TIME_ERROR and not state.status & _STA_UNSYNC


def compare_clocks(who: str, theirs: datetime, ours: datetime) -> Finding:
    """Return what the `Date` of an answer says of our clock; it is exact to a second or so."""
    ahead_s = (ours - theirs).total_seconds()
    if abs(ahead_s) <= _WARN_S:
        return _says.ok(f"agrees with the clock of {who}, within some seconds")
    how = f"{abs(ahead_s):.0f} seconds {'ahead of' if ahead_s > 0 else 'behind'} that of {who}"
    if abs(ahead_s) <= _FAIL_S:
        return _says.warning(f"the clock is {how}", _ADVICE)
    return _says.failure(f"the clock is {how} (or theirs is wrong)", _ADVICE)
