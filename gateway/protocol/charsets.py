"""From bytes to text, as real senders write them (docs/protocol.md §2.3, §2.4).

Decoding never raises and never drops a byte in silence: what was guessed or could not be read is in the notes.
"""

import codecs
from dataclasses import dataclass, replace

from gateway.protocol.tolerances import Tolerance, Tolerated

_UTF_8 = "utf-8"
_ASCII = "us-ascii"
_ISO_8859_1 = "iso-8859-1"
_ISO_8859_15 = "iso-8859-15"
_WINDOWS_1252 = "windows-1252"
_UTF_16 = "utf-16"
_UTF_16_LE = "utf-16-le"
_UTF_16_BE = "utf-16-be"

_CHARSETS = {
    **dict.fromkeys(("utf-8", "utf8"), _UTF_8),
    **dict.fromkeys(("us-ascii", "ascii", "ansi-x3.4-1968"), _ASCII),
    **dict.fromkeys(("iso-8859-1", "iso8859-1", "latin1", "latin-1", "l1"), _ISO_8859_1),
    **dict.fromkeys(("iso-8859-15", "iso8859-15", "latin9", "latin-9", "l9"), _ISO_8859_15),
    **dict.fromkeys(("windows-1252", "cp1252", "cp-1252", "x-cp1252", "x-ansi", "ansi"), _WINDOWS_1252),
    **dict.fromkeys(("utf-16", "utf16", "unicode"), _UTF_16),
    **dict.fromkeys(("utf-16le", "utf-16-le"), _UTF_16_LE),
    **dict.fromkeys(("utf-16be", "utf-16-be"), _UTF_16_BE),
}
"""The character sets that are decoded, by every name they go by. All others are guessed, never looked up."""

_MARKS = ((codecs.BOM_UTF8, _UTF_8), (codecs.BOM_UTF16_LE, _UTF_16_LE), (codecs.BOM_UTF16_BE, _UTF_16_BE))

_UNDEFINED = b"\x81\x8d\x8f\x90\x9d"
_WINDOWS_1252_TABLE = "".join(
    chr(byte) if byte in _UNDEFINED else bytes([byte]).decode("cp1252") for byte in range(256)
)
"""windows-1252 as browsers read it: the five bytes it does not define are the control characters of that number."""

_SAME_IN_ISO_8859_1 = bytes(byte for byte in range(256) if not 0x80 <= byte < 0xA0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """A text, what it was read with, and what had to be guessed."""

    text: str
    charset: str
    notes: tuple[Tolerated, ...] = ()


def decode_text(data: bytes, declared: str | None) -> Decoded:
    """Return `data` as text with LF line ends, without byte-order mark and NUL.

    A byte-order mark wins over `declared`; so does UTF-8 over nothing or over a character set that is not read.
    """
    mark, marked = next(((mark, charset) for mark, charset in _MARKS if data.startswith(mark)), (b"", None))
    decoded = _decode(data[len(mark) :], marked, declared)
    nul_notes = (Tolerated(tolerance=Tolerance.NUL_REMOVED),) if "\0" in decoded.text else ()
    return Decoded(text=_normalise(decoded.text), charset=decoded.charset, notes=decoded.notes + nul_notes)


def strip_lines(text: str) -> str:
    """Return `text` without blanks at the end of its lines (docs/protocol.md §2.4)."""
    return "\n".join(line.rstrip(" \t") for line in text.split("\n"))


def unfold_flowed(text: str, *, is_delsp: bool) -> str:
    """Return a `format=flowed` text with its soft line breaks undone (RFC 3676).

    A line that ends with a blank goes on in the next one of the same quoting depth. With `is_delsp` that blank is not
    part of the text.
    """
    paragraphs: list[list[str]] = []
    open_depth: int | None = None  # of the paragraph that goes on; None: the last one is closed
    for line in text.split("\n"):
        content = line.lstrip(">")
        depth = len(line) - len(content)
        content = content.removeprefix(" ")
        is_signature = content == "-- "
        if open_depth == depth and not is_signature:
            paragraphs[-1].append(content)
        else:
            paragraphs.append([">" * depth, content])
        is_soft = content.endswith(" ") and not is_signature
        if is_soft and is_delsp:
            paragraphs[-1][-1] = content[:-1]
        open_depth = depth if is_soft else None
    return "\n".join("".join(pieces) for pieces in paragraphs)


def _decode(data: bytes, charset: str | None, declared: str | None) -> Decoded:
    name = (declared or "").strip(" \t\"'").lower().replace("_", "-")
    charset = charset or _CHARSETS.get(name)
    match charset:
        case None:
            decoded: Decoded = _decode_utf_8(data) or _decode_windows_1252(data, _WINDOWS_1252)
            doubt = Tolerance.CHARSET_UNKNOWN if name else Tolerance.CHARSET_MISSING
            return decoded if data.isascii() else _noted(decoded, doubt, decoded.charset)
        case "utf-8":
            return _decode_utf_8(data) or _noted(_decode_windows_1252(data, _WINDOWS_1252), Tolerance.CHARSET_WRONG)
        case "utf-16" | "utf-16-le" | "utf-16-be":
            return _decode_utf_16(data, charset)
        case "iso-8859-15":
            return Decoded(text=data.decode(_ISO_8859_15), charset=_ISO_8859_15)
        case _:  # docs/protocol.md §2.3: ASCII and Latin-1 are read as windows-1252, as browsers do
            return _decode_windows_1252(data, charset)


def _decode_utf_8(data: bytes) -> Decoded | None:
    try:
        return Decoded(text=data.decode(_UTF_8), charset=_UTF_8)
    except UnicodeDecodeError:
        return None


def _decode_windows_1252(data: bytes, declared: str) -> Decoded:
    decoded = Decoded(text=codecs.charmap_decode(data, "strict", _WINDOWS_1252_TABLE)[0], charset=_WINDOWS_1252)
    if any(byte in data for byte in _UNDEFINED):
        decoded = _noted(decoded, Tolerance.CHARSET_UNDEFINED)
    is_same = data.isascii() if declared == _ASCII else not data.translate(None, _SAME_IN_ISO_8859_1)
    is_as_declared = is_same or declared == _WINDOWS_1252
    return decoded if is_as_declared else _noted(decoded, Tolerance.CHARSET_WIDENED, declared)


def _decode_utf_16(data: bytes, charset: str) -> Decoded:
    if charset == _UTF_16:  # no mark: which half of a Latin letter is zero tells the order
        charset = _UTF_16_LE if data[1::2].count(0) >= data[0::2].count(0) else _UTF_16_BE
    text = data.decode(charset, "replace")
    notes = (Tolerated(tolerance=Tolerance.UTF_16_DAMAGED),) if "\ufffd" in text else ()
    return Decoded(text=text, charset=charset, notes=notes)


def _noted(decoded: Decoded, tolerance: Tolerance, detail: str = "") -> Decoded:
    return replace(decoded, notes=(Tolerated(tolerance=tolerance, detail=detail), *decoded.notes))


def _normalise(text: str) -> str:
    return text.removeprefix("\ufeff").replace("\0", "").replace("\r\n", "\n").replace("\r", "\n")
