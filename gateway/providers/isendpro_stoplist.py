"""iSendPro's STOP list as it comes: a ZIP with one CSV in it, of which nothing more is documented.

Reading is tolerant (any separator, any columns with or without names, UTF-8, ISO-8859-1 or UTF-16, numbers in any
notation) and bounded: what is not a list is refused with a reason, and a bomb is not unpacked.
"""

import csv
import io
import re
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice

from gateway.providers.isendpro_answers import international
from gateway.text.msisdn import Msisdn, parse_number

ZIP_LIMIT_BYTES = 4 * 1024 * 1024
_TEXT_LIMIT_BYTES = 16 * 1024 * 1024
_MOST_FILES = 16
_SAMPLE_ROWS = 200
_LINE_LIMIT = 4096
_SEPARATORS = frozenset(";,\t|")

_ZIP_MAGIC = b"PK"
_PLAIN_WAYS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})  # others let the file say how much memory it takes
_ZIP_ERRORS = (
    *(zipfile.BadZipFile, zlib.error, struct.error),
    *(EOFError, OSError, RuntimeError, ValueError, OverflowError),
)
_HEAD = re.compile(r"num|n°|tel|t.{1,2}l.{1,2}phone|phone|msisdn|mobile|portable|gsm|destinataire", re.IGNORECASE)
_FRENCH = re.compile(r"(?:\+33|0033|33|0)([1-9][0-9]{8})")
_FRENCH_CUT = re.compile(r"([1-9][0-9]{8})(?:\.0)?")  # a spreadsheet in between takes it for an amount
_WRAPPING = "\"'= \u00a0"


class ListUnreadable(Exception):
    """The answer is no list of numbers; the message is for the operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StopList:
    """The numbers on the list, each once, E.164, and how many lines had none that could be read."""

    msisdns: Sequence[str] = field(repr=False)
    skipped: int


def is_zip(body: bytes) -> bool:
    """Return whether an answer looks like the list and not like an error."""
    return body.startswith(_ZIP_MAGIC)


def read_stop_list(body: bytes) -> StopList:
    """Return what is on the list; ListUnreadable if it is none. 100,000 numbers take half a second."""
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive, archive.open(_choose_file(archive)) as content:
            text = _decode(content.read(_TEXT_LIMIT_BYTES + 1))
    except _ZIP_ERRORS as error:
        raise ListUnreadable(f"the list is no readable ZIP file ({type(error).__name__})") from error
    rows = _read_rows(text)
    first = list(islice(rows, _SAMPLE_ROWS))
    column, has_head = _find_column(first)
    found: dict[str, None] = {}
    skipped = 0
    for row in chain(first[int(has_head) :], rows):
        number = _read_number(row[column]) if column < len(row) else None
        if number is None:
            skipped += 1
        else:
            found[number] = None
    if skipped and not found:
        raise ListUnreadable(f"the list has {skipped} lines, and no telephone number in any of them")
    return StopList(msisdns=tuple(found), skipped=skipped)


def _choose_file(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """Return the one file that holds the list."""
    files = [info for info in archive.infolist() if not info.is_dir()]
    if len(files) > _MOST_FILES:
        raise ListUnreadable(f"the list came as {len(files)} files in a ZIP, not as one")
    named = [info for info in files if info.filename.lower().endswith((".csv", ".txt"))] or files
    if len(named) != 1:
        raise ListUnreadable(f"the list came as {len(named)} files in a ZIP, not as one")
    if named[0].compress_type not in _PLAIN_WAYS:
        raise ListUnreadable("the list is compressed in a way that is not read, because it cannot be bounded")
    return named[0]


def _decode(content: bytes) -> str:
    if len(content) > _TEXT_LIMIT_BYTES:
        raise ListUnreadable(f"the list is longer than {_TEXT_LIMIT_BYTES // 1024 // 1024} MiB when unpacked")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", "replace")
    # Whatever else it is, digits and separators are the same; only names of columns could suffer.
    return content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").replace("\x00", "")


def _read_rows(text: str) -> Iterator[list[str]]:
    """Yield the lines that are not empty, as cells. A line too long to be one of the list has no cells."""
    marks = Counter(mark for line in islice(io.StringIO(text), _SAMPLE_ROWS) for mark in set(line) & _SEPARATORS)
    separator = max(marks, key=lambda mark: (marks[mark], mark), default=";")
    for line in io.StringIO(text, newline=None):
        if line.strip():
            # Line by line, so that a quotation mark left open spoils one line and not the rest of the list.
            yield next(csv.reader([line], delimiter=separator), []) if len(line) <= _LINE_LIMIT else []


def _find_column(rows: Sequence[Sequence[str]]) -> tuple[int, bool]:
    """Return where the numbers stand, and whether the first line has names instead.

    The column with a telling name, if numbers are in it; else that with most French numbers, then with most numbers
    of any kind: a date that is run together looks like one.
    """
    has_head = bool(rows) and not any(_read_number(cell) for cell in rows[0])
    names = rows[0] if has_head else ()

    def weigh(column: int) -> tuple[bool, int, int]:
        cells = [row[column].strip(_WRAPPING) for row in rows[int(has_head) :] if column < len(row)]
        french = sum(1 for cell in cells if _FRENCH.fullmatch(cell))
        numbers = sum(1 for cell in cells if _read_number(cell))
        is_named = column < len(names) and bool(_HEAD.match(names[column].strip(_WRAPPING)))
        return is_named and numbers > 0, french, numbers

    return max(range(max(map(len, rows), default=0)), key=weigh, default=0), has_head


def _read_number(cell: str) -> str | None:
    """Return a cell as E.164; None if it holds no number. French ones, which nearly all are, are read the quick way."""
    cell = cell.strip(_WRAPPING)
    if found := _FRENCH.fullmatch(cell) or _FRENCH_CUT.fullmatch(cell):
        return f"+33{found[1]}"
    digits = international(cell)
    if digits is None or not 8 <= len(digits) <= 15:
        return None
    number = parse_number(f"+{digits}")
    return number.e164 if isinstance(number, Msisdn) else None
