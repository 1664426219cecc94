"""iSendPro's answers to `/sms` and `/smsmulti`: every shape they come in, and what each code means for an SMS.

Reading is tolerant about the shape and strict about the meaning: an SMS whose own answer cannot be told from the others
has none.
"""

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, unique
from types import MappingProxyType
from typing import assert_never

from gateway.lifecycle import Accepted, Hold, NotSent, Refused, Uncertain, Verdict
from gateway.protocol.codes import Code
from gateway.providers.answers import decode_object


@unique
class Meaning(Enum):
    """What is done about a code."""

    ACCEPTED = "accepted"
    NEVER = "never"  # this SMS will not be taken, now or later
    LATER = "later"  # not taken now; when to try again is for the policy
    ACCOUNT = "account"  # not taken; nothing of this account will be until somebody acts
    PROVIDER = "provider"  # not taken; the carrier needs a rest
    UNKNOWN = "unknown"  # says nothing about whether it was taken


MEANINGS: Mapping[int, Meaning] = MappingProxyType(
    {
        0: Meaning.ACCEPTED,  # believed with HTTP 200 only: a 4xx or 5xx that says "sent" contradicts itself
        1: Meaning.ACCOUNT,  # the key is empty
        2: Meaning.ACCOUNT,
        3: Meaning.ACCOUNT,  # comes with HTTP 400, without `tel`
        6: Meaning.NEVER,
        7: Meaning.NEVER,  # "10 digits", although 33... is taken as well
        11: Meaning.NEVER,  # blacklisted by an operator or by a STOP
        12: Meaning.ACCOUNT,  # credit
        14: Meaning.ACCOUNT,  # the list of allowed client addresses is on by default
        16: Meaning.NEVER,
        21: Meaning.NEVER,
        22: Meaning.NEVER,
        23: Meaning.NEVER,  # more than 500 numbers: cannot happen, batches are smaller
        24: Meaning.LATER,  # 20:00 to 08:00, Sundays and holidays; the answer does not say until when
        27: Meaning.NEVER,
        29: Meaning.PROVIDER,  # "overflow", the only sign of a rate limit there is
        30: Meaning.ACCOUNT,
        33: Meaning.NEVER,
        34: Meaning.NEVER,
        100: Meaning.NEVER,  # 100 to 107 belong to the voice product
        101: Meaning.NEVER,
        102: Meaning.NEVER,
        103: Meaning.NEVER,
        104: Meaning.NEVER,
        105: Meaning.NEVER,
        106: Meaning.NEVER,
        107: Meaning.NEVER,
        230: Meaning.UNKNOWN,  # 230, 250 and 1000 report the success of other calls
        250: Meaning.UNKNOWN,
        999: Meaning.UNKNOWN,  # "an error occurred": before or after sending is not documented; see `on_999`
        1000: Meaning.UNKNOWN,
    }
)
"""Every documented code. The numbering has gaps (4, 5, 8 to 10, ...); one that is not here is a refusal for good,
reported as 999, with the answer kept."""

_ANNEX: Mapping[int, Code] = MappingProxyType({code.value: code for code in Code})
_MOST_PARTS = 10  # more is no count: the request's own `smslong` may be 999
_CODE = re.compile(r"0|[1-9][0-9]{0,5}")
_NOT_IN_NUMBER = re.compile(r"[\s.()-]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What the answer says about one number, or about the request as a whole."""

    code: int | None  # None: not readable
    tel: str | None  # international, digits only; None: the entry names no number
    parts: int | None
    text: str  # the entry as JSON, for the operator


def read_entries(body: bytes) -> Sequence[Entry] | None:
    """Return the entries of an answer in any of the shapes seen; None if it is not an answer of this platform.

    `{"etat": {"etat": [...]}}` is the documented shape; one object instead of the list, and `code` directly under the
    first `etat`, stand in the platform's own examples.
    """
    root = decode_object(body)
    if root is None:
        return None
    found = root.get("etat")
    if isinstance(found, dict) and "etat" in found:
        found = found["etat"]
    items = found if isinstance(found, list) else [found]
    entries = [_read_entry(item) for item in items]
    return entries if any(entry.code is not None for entry in entries) else None


def assign(entries: Sequence[Entry], numbers: Sequence[str]) -> list[Entry | None]:
    """Return for each number (international, digits only) the entry that speaks of it; None if that cannot be told.

    One entry without `tel` speaks of the whole request. Otherwise entries belong to the number they name, the n-th to
    its n-th occurrence; an entry that names none belongs to the number in its place, if there are as many of both.
    """
    if len(entries) == 1 and entries[0].tel is None:
        return [entries[0]] * len(numbers)
    said: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.tel is not None:
            said[entry.tel].append(entry)
    wanted: defaultdict[str, list[int]] = defaultdict(list)
    for position, number in enumerate(numbers):
        wanted[number].append(position)
    found: list[Entry | None] = [None] * len(numbers)
    for number, positions in wanted.items():
        claims = said[number]
        if len(claims) > len(positions) and len({claim.code for claim in claims}) > 1:
            continue  # more answers than SMS, and they contradict each other
        for position, claim in zip(positions, claims, strict=False):
            found[position] = claim
    if len(entries) == len(numbers):
        for position, entry in enumerate(entries):
            if entry.tel is None and found[position] is None:
                found[position] = entry
    return found


def verdict_of_entry(
    entry: Entry, *, status: int, raw: str, retry_at: datetime | None, is_999_refusal: bool
) -> Verdict:
    """Return what one entry means for its SMS."""
    if entry.code is None:
        return Uncertain(raw=raw)
    meaning = MEANINGS.get(entry.code, Meaning.NEVER)
    if entry.code == Code.C999_ERROR and is_999_refusal:
        meaning = Meaning.NEVER
    code = _ANNEX.get(entry.code, Code.C999_ERROR)
    match meaning:
        case Meaning.ACCEPTED:
            return Accepted(raw=raw, parts=entry.parts) if status == 200 else Uncertain(raw=raw)
        case Meaning.NEVER:
            return Refused(raw=raw, code=code)
        case Meaning.LATER:
            return NotSent(raw=raw, code=code)
        case Meaning.ACCOUNT:
            return NotSent(raw=raw, hold=Hold.ACCOUNT, code=code)
        case Meaning.PROVIDER:
            return NotSent(raw=raw, hold=Hold.PROVIDER, code=code, retry_at=retry_at)
        case Meaning.UNKNOWN:
            return Uncertain(raw=raw)
        case _:
            assert_never(meaning)


def international(number: str) -> str | None:
    """Return a number as digits with country code: `0612340001`, `33612340001` and `+33 6 12...` are one and the same.

    None if it is no number. Ten digits that begin with 0 are French.
    """
    digits = _NOT_IN_NUMBER.sub("", number).removeprefix("+")
    if not (digits.isascii() and digits.isdigit()):
        return None
    if digits.startswith("00"):
        return digits[2:] or None
    return "33" + digits[1:] if len(digits) == 10 and digits.startswith("0") else digits


def read_code(fields: Mapping[str, object]) -> int | None:
    """Return the code of an entry, which is a number or a string; None if it has none that can be read."""
    return _whole_number(fields.get("code"))


def _read_entry(item: object) -> Entry:
    fields = item if isinstance(item, dict) else {}
    parts = _whole_number(fields.get("smslong"))
    plain = {key: value for key, value in fields.items() if isinstance(value, str | int | float)}
    return Entry(
        code=read_code(fields),
        tel=read_tel(fields),
        parts=parts if parts is not None and 1 <= parts <= _MOST_PARTS else None,
        text=json.dumps(plain, ensure_ascii=False, separators=(",", ":")),
    )


def read_tel(fields: Mapping[str, object]) -> str | None:
    """Return the number an entry names, international, digits only; None if it names none."""
    tel = fields.get("tel")
    if isinstance(tel, int):
        return international(f"{tel:010d}")  # written as a number, a national one has lost its 0
    return international(tel) if isinstance(tel, str) else None


def _whole_number(value: object) -> int | None:
    """Return a number that is written as one, or as a string: the documents show both."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    text = str(value).strip()
    return int(text) if _CODE.fullmatch(text) else None
