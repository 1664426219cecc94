"""What a child answers, as bytes and back (docs/protocol.md knows nothing of it: both ends are of one version).

JSON, because reading it makes nothing but plain values, whatever a child that was taken over may send; and columns for
the recipients, because 500 of them come at once. `decode_answer` believes nothing: every value is checked for its type,
every name of a closed list for being in it, and what does not fit is `Garbled`.
"""

import json
import math
from dataclasses import dataclass
from typing import Any, TypeVar

from gateway.protocol.codes import Code
from gateway.protocol.envoi import Envoi, Recipient
from gateway.protocol.mime import Headers, TextPart
from gateway.protocol.reading import Limits, Mode, Unreadable
from gateway.protocol.tolerances import Tolerance, Tolerated
from gateway.reader.mail import BodyForm, MailRead, Reading

T = TypeVar("T")

_UNREADABLE, _READ, _FAILED = "unreadable", "read", "failed"
_CHAR_BYTES = 6  # the longest way a character may be written
_FRAME_BYTES = 1_048_576  # headers, notes, numbers, brackets
_HIGHEST = 1_000_000_000  # of any whole number in an answer


class Garbled(ValueError):
    """What came is no answer of a child of this version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """Reading raised what it never should. `error` and `where` name it for the operator, without a word of the mail."""

    error: str
    where: str

    @property
    def is_memory(self) -> bool:
        """True when the child had no memory left: perhaps because of the mails before."""
        return self.error == MemoryError.__name__


Answer = MailRead | Unreadable | Failed


def longest_answer(limits: Limits) -> int:
    """Return how many octets an answer may have: twice the texts, for those of `smsX` are bounded one by one."""
    chars = 2 * max(limits.total_text_chars, limits.body_bytes) + 2 * limits.csv_bytes
    return math.ceil(chars * _CHAR_BYTES) + _FRAME_BYTES


# --- in the child ----------------------------------------------------------------------------------------------------


def encode_answer(answer: Answer) -> bytes:
    """Return the answer as bytes."""
    match answer:
        case Failed():
            plain: list[Any] = [_FAILED, answer.error, answer.where]
        case Unreadable():
            plain = _plain_unreadable(answer)
        case MailRead(headers=headers, reading=reading):
            found = _plain_unreadable(reading) if isinstance(reading, Unreadable) else _plain_reading(reading)
            plain = [_READ, _plain_headers(headers), found]
    # Half of a surrogate pair can stand in a text; two of them must not become one character on the way.
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def _plain_unreadable(error: Unreadable) -> list[Any]:
    return [_UNREADABLE, error.reason, error.where]


def _plain_headers(headers: Headers) -> list[Any]:
    return [
        headers.message_id,
        headers.from_address,
        headers.from_count,
        headers.from_problem,
        headers.auto_submitted,
        headers.is_bounce,
        headers.auto_generated,
    ]


def _plain_reading(reading: Reading) -> list[Any]:
    body, part = reading.body, reading.body.text_part
    return [
        _READ,
        reading.mode.value,
        reading.digest.hex(),
        body.charset,
        [part.number, part.count, part.content_type, part.charset, part.transfer_encoding],
        body.files,
        _plain_notes(body.notes),
        _plain_envoi(reading.envoi),
    ]


def _plain_envoi(envoi: Envoi) -> list[Any]:
    texts: dict[str | None, int] = {}  # a text for all stands here once
    indexes = [texts.setdefault(one.text, len(texts)) for one in envoi.recipients]
    return [
        [envoi.keyid, envoi.email_id, envoi.email_ack, envoi.email_not, envoi.emetteur, envoi.tracker, envoi.smslong],
        [envoi.nostop, envoi.ucs2],
        envoi.date_envoi,
        [one.position for one in envoi.recipients],
        [one.tel for one in envoi.recipients],
        indexes,
        list(texts),
        None if envoi.fault is None else envoi.fault.value,
        envoi.fault_reason,
        _plain_notes(envoi.notes),
    ]


def _plain_notes(notes: tuple[Tolerated, ...]) -> list[list[str]]:
    return [[note.tolerance.value, note.detail] for note in notes]


# --- in the parent ---------------------------------------------------------------------------------------------------


def decode_answer(data: bytes) -> Answer:
    """Return the answer. Raises `Garbled`."""
    try:
        return _answer(json.loads(data.decode("utf-8", "surrogatepass")))
    except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        raise Garbled("not an answer") from error


def _answer(plain: Any) -> Answer:  # noqa: ANN401 # whatever came
    match _typed(plain, list):
        case ["failed", str(error), str(where)]:
            return Failed(error=error, where=where)
        case ["unreadable", str(reason), str(where)]:
            return Unreadable(reason, where=where)
        case ["read", list(headers), ["unreadable", str(reason), str(where)]]:
            return MailRead(headers=_headers(headers), reading=Unreadable(reason, where=where))
        case ["read", list(headers), ["read", *reading]]:
            return MailRead(headers=_headers(headers), reading=_reading(reading))
        case _:
            raise Garbled("no such answer")


def _headers(plain: list[Any]) -> Headers:
    message_id, from_address, from_count, from_problem, auto_submitted, is_bounce, auto_generated = plain
    return Headers(
        message_id=_optional(message_id),
        from_address=_optional(from_address),
        from_count=_number(from_count),
        from_problem=_optional(from_problem),
        auto_submitted=_typed(auto_submitted, bool),
        is_bounce=_typed(is_bounce, bool),
        auto_generated=_typed(auto_generated, bool),
    )


def _reading(plain: list[Any]) -> Reading:
    mode, digest, charset, part, files, notes, envoi = plain
    number, count, content_type, declared, transfer_encoding = part
    form = BodyForm(
        charset=_typed(charset, str),
        text_part=TextPart(
            number=_number(number),
            count=_number(count),
            content_type=_typed(content_type, str),
            charset=_optional(declared),
            transfer_encoding=_typed(transfer_encoding, str),
        ),
        files=tuple(_all(files, str)),
        notes=_notes(notes),
    )
    return Reading(body=form, envoi=_envoi(envoi), mode=Mode(mode), digest=bytes.fromhex(digest))


def _envoi(plain: list[Any]) -> Envoi:
    values, (nostop, ucs2), date_envoi, positions, tels, indexes, texts, fault, fault_reason, notes = plain
    keyid, email_id, email_ack, email_not, emetteur, tracker, smslong = map(_optional, values)
    _all(texts, str, type(None))
    found = [texts[index] for index in _numbers(indexes)]
    return Envoi(
        keyid=keyid,
        email_id=email_id,
        email_ack=email_ack,
        email_not=email_not,
        emetteur=emetteur,
        tracker=tracker,
        smslong=smslong,
        nostop=_typed(nostop, bool),
        ucs2=_typed(ucs2, bool),
        date_envoi=_optional(date_envoi),
        recipients=tuple(
            Recipient(position=position, tel=tel, text=text)
            for position, tel, text in zip(_numbers(positions), _all(tels, str), found, strict=True)
        ),
        fault=None if fault is None else Code(_number(fault)),
        notes=_notes(notes),
        fault_reason=_optional(fault_reason),
    )


def _notes(plain: list[Any]) -> tuple[Tolerated, ...]:
    return tuple(
        Tolerated(tolerance=_TOLERANCES[_typed(name, str)], detail=_typed(detail, str))
        for name, detail in _typed(plain, list)
    )


_TOLERANCES = {tolerance.value: tolerance for tolerance in Tolerance}


def _typed(value: Any, kind: type[T]) -> T:  # noqa: ANN401
    """Return the value, which is of exactly this type."""
    if type(value) is not kind:
        raise Garbled("a value of another type")
    return value


def _optional(value: Any) -> str | None:  # noqa: ANN401
    return None if value is None else _typed(value, str)


def _number(value: Any) -> int:  # noqa: ANN401
    return _numbers([value])[0]


def _numbers(values: Any) -> list[int]:  # noqa: ANN401
    _all(values, int)
    if values and not (min(values) >= 0 and max(values) <= _HIGHEST):
        raise Garbled("a number out of range")
    return values  # type: ignore[no-any-return]


def _all(values: Any, *kinds: type) -> list[Any]:  # noqa: ANN401
    """Return the list, in which every value is of exactly one of these types. In one go, for there are many."""
    if not set(map(type, _typed(values, list))) <= set(kinds):
        raise Garbled("a list with a value of another type")
    return values  # type: ignore[no-any-return]
