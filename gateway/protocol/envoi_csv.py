"""mobiles.csv and message.csv: numbers with their values, and the text they go into (docs/protocol.md §4).

What is wrong with a file concerns the whole envoi: `Faulty`, with its code. What was tolerated goes to `notes`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.errors import GatewayError
from gateway.protocol.codes import Code
from gateway.protocol.reading import Limits, Mode
from gateway.protocol.tolerances import Tolerance, Tolerated

_SEPARATOR = ";;"
_LENIENT_SEPARATOR = ";"
_PLACEHOLDER = re.compile(r"\[([1-9][0-9]?)\]")


class Faulty(GatewayError):
    """Nothing of this envoi is sent, for the one reason `code`. Never leaves `read_envoi`, which makes it a value."""

    def __init__(self, code: Code, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class MobileLine:
    """One line of mobiles.csv."""

    number: int  # of the line, from 1, empty lines counted
    tel: str  # as submitted, blanks around it removed; may be empty
    values: tuple[str, ...]


def read_mobiles(content: str, *, mode: Mode, limits: Limits, notes: list[Tolerated]) -> list[MobileLine]:
    """Return the numbers and values of mobiles.csv, at least one line of them (docs/protocol.md §4.2)."""
    lines: list[MobileLine] = []
    is_single = False
    for number, raw in enumerate(content.split("\n"), start=1):
        if not raw.strip():
            continue
        if len(lines) == limits.csv_lines:
            raise Faulty(Code.C23_TOO_MANY_NUMBERS, f"mobiles.csv has more than {limits.csv_lines} lines")  # §4.5
        if len(raw) > limits.csv_line_chars:
            raise Faulty(Code.C102_FILE_INVALID, f"mobiles.csv: line {number} is too long")
        separator = _SEPARATOR
        if _SEPARATOR not in raw and _LENIENT_SEPARATOR in raw and mode is Mode.LENIENT:
            separator = _LENIENT_SEPARATOR
            is_single = True
        tel, *values = raw.split(separator)
        if len(values) > limits.csv_values or max(map(len, (tel, *values))) > limits.value_chars:
            raise Faulty(Code.C102_FILE_INVALID, f"mobiles.csv: line {number} has too many values, or too long ones")
        lines.append(MobileLine(number=number, tel=tel.strip(), values=tuple(values)))
    if not lines:
        raise Faulty(Code.C102_FILE_INVALID, "mobiles.csv is empty")
    if is_single:
        notes.append(Tolerated(tolerance=Tolerance.SINGLE_SEMICOLONS))
    return lines


def read_message(content: str, *, mode: Mode, limits: Limits, notes: list[Tolerated]) -> str:
    """Return the text of message.csv: its first line (docs/protocol.md §4.3)."""
    lines = content.split("\n")
    first = next((index for index, line in enumerate(lines) if line.strip()), None)
    if first is None or (first > 0 and mode is Mode.STRICT):
        raise Faulty(Code.C102_FILE_INVALID, "message.csv has no text on its first line")
    if first > 0:
        notes.append(Tolerated(tolerance=Tolerance.MESSAGE_STARTS_LATE))
    if any(line.strip() for line in lines[first + 1 :]):
        notes.append(Tolerated(tolerance=Tolerance.MESSAGE_GOES_ON))
    text = lines[first].strip()
    if len(text) > limits.csv_line_chars:
        raise Faulty(Code.C102_FILE_INVALID, "message.csv: the text is too long")
    return text


def fill_template(
    template: str, rows: Sequence[Sequence[str]], *, limits: Limits, notes: list[Tolerated]
) -> tuple[str, ...]:
    """Return the template once per row, `[n]` replaced by the row's value n, in one pass (docs/protocol.md §4.4).

    No such value: nothing stands in its place. The length of every text is computed before the first is built, so that
    no few kilobytes grow into gigabytes (docs/protocol.md §2.8).
    """
    pieces, indexes = _cut_template(template, limits)
    if not indexes:
        return (template,) * len(rows)
    fixed_chars = sum(map(len, pieces))
    total_chars = 0
    for row in rows:
        text_chars = fixed_chars + sum(len(row[index]) for index in indexes if index < len(row))
        total_chars += text_chars
        if text_chars > limits.text_chars or total_chars > limits.total_text_chars:
            raise Faulty(Code.C102_FILE_INVALID, "the values make the text too long")
    if any(max(indexes) >= len(row) for row in rows):
        notes.append(Tolerated(tolerance=Tolerance.VALUE_MISSING))
    return tuple(_join(pieces, indexes, row) for row in rows)


def _cut_template(template: str, limits: Limits) -> tuple[list[str], list[int]]:
    """Return what stands around the placeholders, and the index of each one's value. Other brackets stay."""
    pieces = []
    indexes = []
    position = 0
    for match in _PLACEHOLDER.finditer(template):
        if int(match[1]) <= limits.csv_values:
            pieces.append(template[position : match.start()])
            indexes.append(int(match[1]) - 1)
            position = match.end()
    return [*pieces, template[position:]], indexes


def _join(pieces: Sequence[str], indexes: Sequence[int], row: Sequence[str]) -> str:
    texts = [pieces[0]]
    for index, piece in zip(indexes, pieces[1:], strict=True):
        texts += [row[index] if index < len(row) else "", piece]
    return "".join(texts)
