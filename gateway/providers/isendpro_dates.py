"""iSendPro's dates: when it is to send, and when it says that something happened. Neither carries an offset.

It is told in Paris time without naming a zone (Europe/Paris is none it knows, and what it takes a bare date for is not
documented; Paris is likely), or in a zone of its list. It speaks in Paris time, likely too.
"""

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

PARIS = "Europe/Paris"

_MINUTE = timedelta(minutes=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST, _LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
_SECONDS = re.compile(r"[0-9]{9,10}")
_MILLISECONDS = re.compile(r"[0-9]{13}")
_FORMATS = (
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%d %H:%M",
    "%d/%m/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M",
    "%d-%m-%Y %H:%M:%S",
    "%d-%m-%Y %H:%M",
    "%Y/%m/%d %H:%M:%S",
)
_RUN_TOGETHER = {12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}


def render_send_date(at: datetime, *, now: datetime, zone: str) -> str | None:
    """Return `YYYY-MM-DD hh:mm` for an instant, never earlier than it; None: it is not ahead, so say nothing.

    An hour that a clock set back shows twice could be read as the first, one hour early; such an instant in the
    second is put off to where dates are plain again.
    """
    at = at.astimezone(UTC)
    if at.second or at.microsecond:
        at = at.replace(second=0, microsecond=0) + _MINUTE
    if at <= now:
        return None
    local = at.astimezone(ZoneInfo(zone))
    while local.fold:
        at += _MINUTE
        local = at.astimezone(ZoneInfo(zone))
    return local.strftime("%Y-%m-%d %H:%M")


def read_date(text: str) -> datetime | None:
    """Return the instant of a date in any common notation; without an offset it is Paris time. None if it is none."""
    text = text.strip()
    try:
        if _SECONDS.fullmatch(text):
            at = _EPOCH + timedelta(seconds=int(text))
        elif _MILLISECONDS.fullmatch(text):
            at = _EPOCH + timedelta(milliseconds=int(text))
        else:
            local = _read_calendar(text)
            at = (local if local.tzinfo else local.replace(tzinfo=ZoneInfo(PARIS))).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return at if _EARLIEST <= at < _LATEST else None


def _read_calendar(text: str) -> datetime:
    forms = [_RUN_TOGETHER[len(text)]] if text.isdigit() and len(text) in _RUN_TOGETHER else _FORMATS
    for form in forms:
        try:
            return datetime.strptime(text, form)  # noqa: DTZ007 # the zone is added by who asks
        except ValueError:
            continue
    return datetime.fromisoformat(text)
