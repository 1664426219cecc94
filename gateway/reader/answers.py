"""What a child answers, as bytes and back (docs/protocol.md knows nothing of it: both ends are of one version).

JSON, and columns for the recipients, because 500 of them come at once and often share a text. Nothing is believed: the
classes that begin with `_` are all that can be said, arrays of exactly these values, of exactly these types, within
these bounds. msgspec holds against them what comes, while it reads; what does not fit is `Garbled`, whatever a child
that was taken over may send.
"""

import json
import math
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta, Struct

from gateway.protocol.codes import Code
from gateway.protocol.envoi import Recipient
from gateway.protocol.mime import Headers
from gateway.protocol.reading import Limits, Mode, Unreadable
from gateway.protocol.tolerances import Tolerance
from gateway.reader.mail import MailRead, Reading

T = TypeVar("T")

_CHAR_BYTES = 6  # the longest way a character may be written
_FRAME_BYTES = 1_048_576  # headers, notes, numbers, brackets

MOST_RECIPIENTS = 100_000
"""In one answer; lines of mobiles.csv, however the limits are set."""

_Number = Annotated[int, Meta(ge=0, le=1_000_000_000)]
_Digest = Annotated[bytes, Meta(max_length=32)]
_OfRecipients = Meta(max_length=MOST_RECIPIENTS)


class Garbled(ValueError):
    """What came is no answer of a child of this version."""


class _Array(Struct, array_like=True, forbid_unknown_fields=True, gc=False):  # nothing in one refers back to it
    """The fields in order, each of them there, and nothing else."""


class Failed(_Array, tag="failed"):
    """Reading raised what it never should. `error` and `where` name it for the operator, without a word of the mail."""

    error: str
    where: str

    @property
    def is_memory(self) -> bool:
        """True when the child had no memory left: perhaps because of the mails before."""
        return self.error == MemoryError.__name__


class _Unreadable(_Array, tag="unreadable"):
    reason: str
    where: str


class _Headers(_Array):
    message_id: str | None
    from_address: str | None
    from_count: _Number
    from_problem: str | None
    auto_submitted: bool
    is_bounce: bool
    auto_generated: bool


class _TextPart(_Array):
    number: _Number
    count: _Number
    content_type: str
    charset: str | None
    transfer_encoding: str


class _Tolerated(_Array):
    tolerance: Tolerance
    detail: str


class _BodyForm(_Array):
    charset: str
    text_part: _TextPart
    files: tuple[str, ...]
    notes: tuple[_Tolerated, ...]


class _Recipient(_Array):
    position: _Number
    tel: str
    text: str | None


class _Columns(_Array):
    """The recipients: what stands at one place belongs together."""

    positions: Annotated[list[_Number], _OfRecipients]
    tels: Annotated[list[str], _OfRecipients]
    indexes: Annotated[list[_Number], _OfRecipients]  # into `texts`
    texts: Annotated[list[str | None], _OfRecipients]  # each once, be it for one or for all


class _EnvoiAlone(_Array):
    """Without the recipients."""

    keyid: str | None
    email_id: str | None
    email_ack: str | None
    email_not: str | None
    emetteur: str | None
    tracker: str | None
    smslong: str | None
    nostop: bool
    ucs2: bool
    date_envoi: str | None
    fault: Code | None
    notes: tuple[_Tolerated, ...]
    fault_reason: str | None


class _Envoi(_EnvoiAlone):
    columns: _Columns

    @property
    def recipients(self) -> list[_Recipient]:
        """One by one. Raises ValueError or IndexError when the columns do not fit together."""
        columns, texts = self.columns, self.columns.texts
        rows = zip(columns.positions, columns.tels, columns.indexes, strict=True)
        return [_Recipient(position, tel, texts[index]) for position, tel, index in rows]


class _Reading(_Array, tag="read"):
    body: _BodyForm
    envoi: _Envoi
    mode: Mode
    digest: _Digest


class _MailRead(_Array, tag="read"):
    headers: _Headers
    reading: _Reading | _Unreadable


Answer = MailRead | Unreadable | Failed

_Said = _MailRead | _Unreadable | Failed
_ENCODER = msgspec.json.Encoder()
_DECODER: msgspec.json.Decoder[_Said] = msgspec.json.Decoder(_Said)


def longest_answer(limits: Limits) -> int:
    """Return how many octets an answer may have: twice the texts, for those of `smsX` are bounded one by one."""
    chars = 2 * max(limits.total_text_chars, limits.body_bytes) + 2 * limits.csv_bytes
    return math.ceil(chars * _CHAR_BYTES) + _FRAME_BYTES


# --- in the child ----------------------------------------------------------------------------------------------------


def encode_answer(answer: Answer) -> bytes:
    """Return the answer as bytes."""
    said = _said(answer)
    try:
        return _ENCODER.encode(said)
    except UnicodeEncodeError:
        # Half of a surrogate pair can stand in a text; two of them must not become one character on the way.
        plain = json.dumps(msgspec.to_builtins(said), ensure_ascii=False, separators=(",", ":"))
        return plain.encode("utf-8", "surrogatepass")


def _said(answer: Answer) -> _Said:
    if isinstance(answer, Failed):
        return answer
    if isinstance(answer, Unreadable):
        return _said_unreadable(answer)
    reading = answer.reading
    return _MailRead(
        _like(answer.headers, _Headers),
        _said_unreadable(reading) if isinstance(reading, Unreadable) else _said_reading(reading),
    )


def _said_unreadable(error: Unreadable) -> _Unreadable:
    return _Unreadable(error.reason, error.where)


def _said_reading(reading: Reading) -> _Reading:
    alone = _like(reading.envoi, _EnvoiAlone)
    envoi = _Envoi(**msgspec.structs.asdict(alone), columns=_columns(reading.envoi.recipients))
    return _Reading(_like(reading.body, _BodyForm), envoi, reading.mode, reading.digest)


def _columns(recipients: tuple[Recipient, ...]) -> _Columns:
    texts: dict[str | None, int] = {}
    indexes = [texts.setdefault(one.text, len(texts)) for one in recipients]
    return _Columns([one.position for one in recipients], [one.tel for one in recipients], indexes, list(texts))


# --- in the parent ---------------------------------------------------------------------------------------------------


def decode_answer(data: bytes) -> Answer:
    """Return the answer. Raises `Garbled`."""
    try:
        said = _decode(data)
        if isinstance(said, Failed):
            return said
        if isinstance(said, _Unreadable):
            return _unreadable(said)
        reading = said.reading
        return MailRead(
            headers=_like(said.headers, Headers),
            reading=_unreadable(reading) if isinstance(reading, _Unreadable) else _like(reading, Reading),
        )
    except (ValueError, IndexError, RecursionError) as error:  # what msgspec raises is a ValueError
        raise Garbled("not an answer") from error


def _decode(data: bytes) -> _Said:
    try:
        return _DECODER.decode(data)
    except UnicodeDecodeError:  # half of a surrogate pair
        text = data.decode("utf-8", "surrogatepass")
        _DECODER.decode(text.encode("utf-8", "replace"))  # without it: what does not fit shall take no memory below
        said: _Said = msgspec.convert(json.loads(text), _Said)
        return said


def _unreadable(said: _Unreadable) -> Unreadable:
    return Unreadable(said.reason, where=said.where)


# --- in both ---------------------------------------------------------------------------------------------------------


def _like(value: object, kind: type[T]) -> T:
    """Return a `kind` made of what the value's fields of the same names hold, checked once more."""
    return msgspec.convert(value, kind, from_attributes=True)
