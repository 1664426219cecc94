"""A mail taken apart into its parts, each bound checked before the work it bounds (docs/protocol.md §2.1, §2.2, §2.8).

The tree is split here, top down, by counted delimiter lines: the standard library's parser takes seconds and gigabytes
for mails of a few hundred kilobytes made for it. Its header functions read what stands in one bounded header.
"""

import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.errors import MessageError
from email.header import decode_header
from email.message import Message

from gateway.protocol.charsets import decode_text
from gateway.protocol.header_block import HeaderBlock, read_header_block
from gateway.protocol.reading import Limits, Mode, Unreadable
from gateway.protocol.tolerances import Tolerance, Tolerated, tolerate

FILE_NAMES = frozenset({"mobiles.csv", "message.csv"})

_ADVICE = "send the mail as plain text"
_LONGEST_NAME = 255
_LONGEST_BOUNDARY = 70  # RFC 2046 §5.1.1
_PROTECTED = frozenset({"multipart/signed", "multipart/encrypted"})
_VARIANTS = frozenset({"multipart/alternative", "multipart/related"})
_WORD_END = re.compile(r"[\s;(]")
_BAD_ESCAPE = re.compile(rb"=(?![0-9A-Fa-f]{2}|\n|\Z)")
_EMAIL_ERRORS = (MessageError, ValueError, LookupError, TypeError)  # what the header functions are known to raise


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A leaf of the tree, its transfer encoding not undone yet."""

    content_type: str  # lower case
    charset: str | None
    is_flowed: bool
    is_delsp: bool  # the blank that marks a flowed line is not part of the text (RFC 3676)
    is_attachment: bool
    file_name: str | None  # one of FILE_NAMES, or None
    transfer_encoding: str
    payload: bytes


@dataclass(slots=True, kw_only=True)
class PartReader:
    """Reads one mail; `notes` says afterwards what had to be tolerated."""

    limits: Limits
    mode: Mode
    notes: list[Tolerated] = field(default_factory=list)
    _count: int = 0

    def read(self, raw: bytes, block: HeaderBlock) -> list[Part]:
        """Return the leaves of the mail in order. Raises `Unreadable`."""
        return list(self._walk(raw, block, depth=0))

    def tolerate(self, tolerance: Tolerance) -> None:
        """Record what was tolerated; strict mode refuses it (docs/protocol.md §0)."""
        tolerate(tolerance, self.mode, self.notes)

    def undo_transfer_encoding(self, part: Part) -> bytes:
        """Return the bytes of the part. Raises `Unreadable` for what is not the encoding it claims to be."""
        match part.transfer_encoding:
            case "" | "7bit" | "8bit" | "binary":
                return part.payload
            case "quoted-printable":
                return self._undo_quoted_printable(part.payload)
            case "base64":
                return self._undo_base64(part.payload)
            case _:
                raise Unreadable("a transfer encoding other than 7bit, 8bit, binary, quoted-printable, base64")

    def _undo_quoted_printable(self, payload: bytes) -> bytes:
        lines = b"\n".join(line.rstrip(b" \t\r") for line in payload.split(b"\n"))  # RFC 2045 §6.7, rule 3
        if _BAD_ESCAPE.search(lines):
            self.tolerate(Tolerance.QUOTED_PRINTABLE)
        return binascii.a2b_qp(lines)

    def _undo_base64(self, payload: bytes) -> bytes:
        packed = payload.translate(None, b" \t\r\n")
        if len(packed) % 4 and not packed.endswith(b"="):
            self.tolerate(Tolerance.BASE64_PADDING)
            packed += b"=" * (-len(packed) % 4)
        try:
            return binascii.a2b_base64(packed, strict_mode=True)
        except binascii.Error:
            raise Unreadable("a part is declared as base64 and is not") from None

    def _walk(self, raw: bytes, block: HeaderBlock, *, depth: int) -> Iterator[Part]:
        self._count += 1
        if self._count > self.limits.parts:
            raise Unreadable("the mail has too many parts")
        if depth > self.limits.depth:
            raise Unreadable("the parts of the mail are nested too deeply")
        if block.fields and not block.is_closed:
            self.tolerate(Tolerance.HEADER_END)
        part, boundary = _describe(block, raw[block.body_start :])
        if not part.content_type.startswith("multipart/"):
            yield part
            return
        if part.content_type in _PROTECTED:
            raise Unreadable(f"the mail is signed or encrypted: {_ADVICE}")
        if part.content_type in _VARIANTS:
            self.tolerate(Tolerance.VARIANTS)
        elif part.content_type != "multipart/mixed":
            self.tolerate(Tolerance.MULTIPART_TYPE)
        for piece in self._split(part.payload, boundary):
            yield from self._walk(piece, read_header_block(piece, self.limits), depth=depth + 1)

    def _split(self, payload: bytes, boundary: str) -> Iterator[bytes]:
        """Yield what stands between the delimiter lines, preamble and epilogue left out."""
        if not (boundary.isascii() and 0 < len(boundary) <= _LONGEST_BOUNDARY):
            raise Unreadable("a multipart without a usable boundary")
        start: int | None = None
        data = b"\n" + payload  # so that every delimiter line follows a line end
        for begin, end, is_last in _delimiters(data, b"\n--" + boundary.encode("ascii")):
            if start is not None:
                yield data[start:begin]
                if is_last:
                    return
            elif is_last:
                break
            start = end
        if start is None:
            raise Unreadable("a multipart without any part")
        self.tolerate(Tolerance.MULTIPART_END)
        yield data[start:]


def _delimiters(data: bytes, mark: bytes) -> Iterator[tuple[int, int, bool]]:
    """Yield each delimiter line: its start, the line end before it included; its end; whether it is the last."""
    position = data.find(mark)
    while position >= 0:
        line_end = data.find(b"\n", position + 1) + 1 or len(data)
        rest = data[position + len(mark) : line_end].rstrip(b" \t\r\n")
        if rest in (b"", b"--"):
            begin = position - (data[position - 1 : position] == b"\r")
            yield begin, line_end, rest == b"--"
        position = data.find(mark, line_end - 1)


def _describe(block: HeaderBlock, payload: bytes) -> tuple[Part, str]:
    """Return the part that a header block declares, and its boundary ("" when it has none)."""
    content_type, parameters = _read_parameters(block, "content-type")
    disposition, disposition_parameters = _read_parameters(block, "content-disposition")
    if "/" not in content_type.strip("/"):
        content_type = "text/plain"  # RFC 2045 §5.2
    # Both forms of a name, `filename=` and `filename*=`, often stand side by side (RFC 6266, appendix D).
    given_names = disposition_parameters.get("filename", []) + parameters.get("name", [])
    names = {known for name in given_names if (known := _file_name(name))}
    if len(names) > 1:
        raise Unreadable("a part goes by two file names")
    part = Part(
        content_type=content_type,
        charset=_only(parameters, "charset"),
        is_flowed=_only(parameters, "format") == "flowed",
        is_delsp=_only(parameters, "delsp") == "yes",
        is_attachment=disposition == "attachment",
        file_name=names.pop() if names else None,
        transfer_encoding=_first_word(block.value("content-transfer-encoding") or ""),
        payload=payload,
    )
    return part, next(iter(parameters.get("boundary", ())), "")


def _first_word(value: str) -> str:
    """Return the word a structured header begins with, in lower case, without what follows: a comment, say."""
    return _WORD_END.split(value.strip(), maxsplit=1)[0].lower()


def _only(parameters: Mapping[str, list[str]], name: str) -> str | None:
    """Return a parameter's one value in lower case. Raises `Unreadable` when it has two."""
    values = {value.lower() for value in parameters.get(name, ())}
    if len(values) > 1:
        raise Unreadable(f"the parameter {name} of a Content-Type header is repeated")
    return values.pop() if values else None


def _read_parameters(block: HeaderBlock, name: str) -> tuple[str, dict[str, list[str]]]:
    """Return the first word of a structured header and its parameters, each with all its values, RFC 2231 undone."""
    value = block.value(name)
    if value is None:
        return "", {}
    message = Message()
    message[name] = value
    try:
        (first, _), *others = message.get_params(failobj=[("", "")], header=name)
        parameters: dict[str, list[str]] = {}
        for key, parameter in others:
            parameters.setdefault(key.lower(), []).append(_plain(parameter))
    except _EMAIL_ERRORS:
        raise Unreadable(f"the {name.title()} header of a part cannot be read") from None
    return _first_word(first), parameters


def _plain(parameter: object) -> str:
    """Return a parameter's text: RFC 2231 makes it a triple of character set, language and text."""
    return str(parameter[2] if isinstance(parameter, tuple) else parameter)


def _file_name(name: str | None) -> str | None:
    """Return which of our files it names, whatever its case, encoding and path (docs/protocol.md §4.1)."""
    if not name or len(name) > _LONGEST_NAME:
        return None
    try:
        pieces = decode_header(name)
    except _EMAIL_ERRORS:
        return None
    decoded = "".join(decode_text(text, charset).text if isinstance(text, bytes) else text for text, charset in pieces)
    base = decoded.replace("\\", "/").rpartition("/")[2].strip().lower()
    return base if base in FILE_NAMES else None
