"""The header block of a mail or of a part, read once and bounded (docs/protocol.md §2.8).

The one place that decides where a header block ends. Values keep raw 8-bit bytes as surrogate escapes, so that no byte
is lost and none can raise.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.protocol.reading import Limits, Unreadable

# A field name is an RFC 9110 token: narrower than RFC 5322, so that `<envoi><sms>Note: ...` is no header.
_FIELD = re.compile(rb"([A-Za-z0-9!#$%&'*+.^_`|~-]+)[ \t]*:")


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderBlock:
    """Fields in order, names in lower case, values unfolded."""

    fields: tuple[tuple[str, str], ...]
    body_start: int
    is_closed: bool  # by an empty line or the end of the mail, not by a line that is no header

    def values(self, name: str) -> list[str]:
        """Every value of the field `name` (lower case), in order."""
        return [value for field, value in self.fields if field == name]

    def value(self, name: str) -> str | None:
        """The value of the field `name`. Raises `Unreadable` when it is there more than once."""
        values = self.values(name)
        if len(values) > 1:
            raise Unreadable(f"more than one {name.title()} header")
        return values[0] if values else None


def read_header_block(raw: bytes, limits: Limits) -> HeaderBlock:
    """Return the header block at the start of `raw`; without any field when there is none.

    Raises `Unreadable` when a bound is passed, or for NUL or a bare CR in it.
    """
    end = 0
    spans: list[tuple[int, int]] = []  # of each field, its continuation lines included
    for count, (start, end) in enumerate(_lines(raw), start=1):
        field_start = spans.pop()[0] if raw[start] in b" \t" else start
        spans.append((field_start, end))
        if end - field_start > limits.header_bytes:
            raise Unreadable("a header is too long")
        if count > limits.header_lines or end > limits.header_block_bytes:
            raise Unreadable("the header block is too large")
    check_octets(raw[:end], "the header block")
    body_start = _after_separator(raw, end)
    return HeaderBlock(
        fields=tuple(_field(raw[start:end]) for start, end in spans),
        body_start=body_start,
        is_closed=body_start > end or end == len(raw),
    )


def find_body(raw: bytes) -> int:
    """Return where the body begins. Never raises."""
    block_end = max((end for _, end in _lines(raw)), default=0)
    return _after_separator(raw, block_end)


def check_octets(raw: bytes, what: str) -> None:
    """Raise `Unreadable` for a NUL or a CR that ends no line (docs/protocol.md §2.8): two programs would differ."""
    if b"\0" in raw:
        raise Unreadable(f"{what} contains a NUL")
    if raw.count(b"\r") != raw.count(b"\r\n"):
        raise Unreadable(f"{what} contains a bare CR")


def _lines(raw: bytes) -> Iterator[tuple[int, int]]:
    """Yield start and end of each line of the block, the first line that belongs to no field ending it."""
    position = 0
    while position < len(raw):
        is_continuation = position > 0 and raw[position] in b" \t"
        if not is_continuation and not _FIELD.match(raw, position):
            return
        end = raw.find(b"\n", position) + 1 or len(raw)
        yield position, end
        position = end


def _after_separator(raw: bytes, position: int) -> int:
    for line_end in (b"\r\n", b"\n"):
        if raw.startswith(line_end, position):
            return position + len(line_end)
    return position


def _field(raw: bytes) -> tuple[str, str]:
    name, _, value = raw.decode("ascii", "surrogateescape").partition(":")
    return name.strip().lower(), value.replace("\r", "").replace("\n", "").strip()
