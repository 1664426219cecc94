"""How SMS Partner writes things: texts, tags, dates, money, ids; in calls, answers and callbacks.

Texts. A line break is `:br:`, which costs two characters, and the euro sign `:euro:`, which alone is documented to
arrive. A text that says `:br:` itself gets a blank after the colon, for there is no way to write it. Without unicode,
characters that the platform would replace in silence are replaced here, in the same way (`gateway.text.smspartner`).

Tags. 20 characters, lower case, one for a whole call. The tag of a single SMS is its tracker. A call of several has a
tag of its own, that of its first SMS with an `l` in front instead of the first character, which no tracker of ours has
(`gateway.ids`): a receipt with such a tag is known by message id and number, and never taken for the first one's.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from gateway.providers.base import Message
from gateway.text.smspartner import REPLACED

PARIS = ZoneInfo("Europe/Paris")
"""Of all dates without an offset, both ways: nothing says so, but the platform is French."""

_STEP_S = 300  # minutes are multiples of five
_LITERAL_TAG = re.compile(r":(?=(?:br|euro):)", re.IGNORECASE)
_REPLACEMENTS = str.maketrans(dict(REPLACED))
_LOT = "l"
_TAG = re.compile(r"[0-9a-km-z][0-9a-z]{0,19}")
_REF = re.compile(r"(?!0+$)[0-9A-Za-z_.-]{1,64}")
_DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})[ T](\d{2}):(\d{2}):(\d{2})", re.ASCII)
_EPOCH = re.compile(r"[0-9]{9,11}")
_CODE = re.compile(r"0|[1-9][0-9]{0,5}")
_AMOUNT = re.compile(r"-?[0-9]{1,9}(?:\.[0-9]{1,9})?")
_CURRENCY = re.compile(r"[A-Z]{3}")
_MOST_PARTS = 10
_MICRO = Decimal("0.000001")


def wire_text(text: str, *, ucs2: bool) -> str:
    """Return a final text as it stands in a call."""
    if not ucs2:
        text = text.translate(_REPLACEMENTS)
    text = _LITERAL_TAG.sub(": ", text.replace("\r\n", "\n").replace("\r", "\n"))
    if not ucs2:
        text = text.replace("€", ":euro:")
    return text.replace("\n", ":br:")


def tag_of(messages: Sequence[Message]) -> str:
    """Return the tag of the call that carries these."""
    tag = messages[0].tracker.lower()[:20]
    return tag if len(messages) == 1 else _LOT + tag[1:]


def tracker_of(tag: object) -> str | None:
    """Return the tracker of the one SMS that a tag stands for; None for the tag of several, and of others than us."""
    return tag.upper() if isinstance(tag, str) and _TAG.fullmatch(tag) else None


def schedule_fields(deliver_at: datetime, now: datetime) -> dict[str, object]:
    """Return what asks the platform to wait: five-minute steps, rounded up. Empty when the instant has come.

    In the hour that autumn has twice it may be the other one: a local time is all that can be said.
    """
    if deliver_at <= now:
        return {}
    steps = -(-int(deliver_at.timestamp() + 0.999) // _STEP_S)
    local = datetime.fromtimestamp(steps * _STEP_S, PARIS)
    return {"scheduledDeliveryDate": f"{local:%d/%m/%Y}", "time": local.hour, "minute": local.minute}


def read_code(value: object) -> int | None:
    """Return a code: outer ones are numbers, inner ones strings."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    text = str(value).strip()
    return int(text) if _CODE.fullmatch(text) else None


def read_ref(value: object) -> str | None:
    """Return a message id, a number here and a string there; None if it is empty or none at all."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    text = str(value).strip() if not isinstance(value, int) or abs(value) < 10**20 else ""
    return text if _REF.fullmatch(text) else None


def read_count(value: object) -> int | None:
    """Return a number of SMS, None if it is none."""
    return read_code(value)


def read_parts(value: object) -> int | None:
    """Return how many parts one SMS has, None if that cannot be."""
    found = read_count(value)
    return found if found is not None and 1 <= found <= _MOST_PARTS else None


def read_amount(value: object) -> Decimal | None:
    """Return an amount of money: a number in JSON, or the same as a string. At most nine digits before the point."""
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        return None
    if isinstance(value, int) and abs(value) >= 10**9:
        return None
    text = f"{value:f}" if isinstance(value, Decimal) and -20 < value.adjusted() < 20 else str(value).strip()
    return Decimal(text) if _AMOUNT.fullmatch(text) else None


def read_cost(value: object) -> Decimal | None:
    """Return what something cost, to the millionth; None for less than nothing."""
    amount = read_amount(value)
    return None if amount is None or amount < 0 else amount.quantize(_MICRO).normalize() + 0


def read_currency(value: object) -> str | None:
    """Return a currency by its three letters."""
    text = value.strip().upper() if isinstance(value, str) else ""
    return text if _CURRENCY.fullmatch(text) else None


def share(total: Decimal, weights: Sequence[int]) -> list[Decimal]:
    """Return `total` divided by weight: equal where it comes out even, else to a millionth; the sum is exact."""
    micros, whole = int(total / _MICRO), sum(weights)
    upto, found, before = 0, [], 0
    for weight in weights:
        upto += weight
        share_end = micros * upto // whole
        found.append(((share_end - before) * _MICRO).normalize() + 0)
        before = share_end
    return found


def read_instant(value: object) -> datetime | None:
    """Return an instant: `2026-03-02 08:31:07` (of Paris), or Unix seconds as a number or a string."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    if isinstance(value, int) and abs(value) >= 10**12:
        return None
    text = str(value).strip()
    if _EPOCH.fullmatch(text):
        return datetime.fromtimestamp(int(text), UTC)
    found = _DATE.fullmatch(text)
    if found is None:
        return None
    try:
        local = datetime(*map(int, found.groups()), tzinfo=PARIS)  # type: ignore[arg-type,misc] # six numbers
        return local.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
