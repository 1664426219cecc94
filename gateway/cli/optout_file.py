"""A file of numbers for the STOP list: read line by line, tolerant of how others write such files; taken in pieces.

Each line stands for itself: a stray quotation mark must not swallow those behind it.
"""

import csv
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import BinaryIO

from gateway.clock import Clock
from gateway.reports import ReportWriter
from gateway.store import Store
from gateway.store.stoplist import EVERYBODY, OptOut, OptOutSource
from gateway.store.two_way import StopRules
from gateway.text.msisdn import Malformed, parse_number

_LINE_BYTES = 4096
_PIECE = 500
"""Numbers in one transaction: a gateway at work waits for it for some milliseconds."""

_NUMBER_COLUMNS = frozenset(
    {
        *("msisdn", "number", "phone", "phonenumber", "phone_number", "tel", "telephone", "mobile", "gsm"),
        *("num", "numero", "numéro", "téléphone"),
    }
)
_SINCE_COLUMNS = frozenset(["since_at", "since", "date", "createdat", "created_at"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A number that is to be on a list."""

    account: str
    msisdn: str
    since_at: datetime
    note: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BadLine:
    """A line that could not be read."""

    number: int
    reason: str


class Importing:
    """Puts numbers on the list, some hundred at a time, and counts."""

    def __init__(
        self,
        store: Store,
        stop_rules: StopRules,
        new_writer: Callable[[datetime], ReportWriter],
        source: OptOutSource,
        clock: Clock,
    ) -> None:
        self.added = self.known = self.cancelled = self.bad_count = 0
        self.bad: list[BadLine] = []
        self._store = store
        self._stop_rules = stop_rules
        self._new_writer = new_writer
        self._source = source
        self._clock = clock
        self._piece: dict[tuple[str, str], OptOut] = {}

    async def take(self, one: Listed) -> None:
        """The number will be on the list, when `finish` returns."""
        key = one.account, one.msisdn
        if key in self._piece:
            self.known += 1
            return
        self._piece[key] = OptOut(
            account=one.account, msisdn=one.msisdn, since_at=one.since_at, source=self._source, note=one.note
        )
        if len(self._piece) >= _PIECE:
            await self.finish()

    async def finish(self) -> None:
        """What was taken is on the list."""
        if not self._piece:
            return
        now = self._clock.now()
        writer = self._new_writer(now)
        stopped = await self._store.stop(list(self._piece.values()), self._stop_rules, now, *writer.both)
        self.added += len(stopped.added)
        self.known += len(self._piece) - len(stopped.added)
        self.cancelled += len(stopped.cancelled)
        self._piece.clear()

    def count_bad(self, line: BadLine, *, most: int) -> None:
        """The line is counted, and kept unless there are too many."""
        self.bad_count += 1
        if len(self.bad) < most:
            self.bad.append(line)


class NumberFile:
    """Yields what each line of the file says; `read_bytes` tells how far it is.

    `account` is whose list all of them go on; None: what the line says, else everybody's.
    """

    def __init__(self, stream: BinaryIO, *, accounts: Collection[str], account: str | None, now: datetime) -> None:
        self.read_bytes = 0
        self._stream = stream
        self._accounts = accounts
        self._account = account
        self._now = now
        self._columns: dict[str, int] = {}
        self._has_begun = False

    def __iter__(self) -> Iterator[Listed | BadLine]:
        number = 0
        while line := self._stream.readline(_LINE_BYTES + 1):
            number += 1
            is_too_long = len(line) > _LINE_BYTES
            self.read_bytes += len(line)
            while len(line) > _LINE_BYTES and not line.endswith(b"\n"):
                line = self._stream.readline(_LINE_BYTES + 1)
                self.read_bytes += len(line)
            if is_too_long:
                yield BadLine(number=number, reason=f"longer than {_LINE_BYTES} bytes")
                continue
            found = self._read(line, number)
            if found is not None:
                yield found

    def _read(self, line: bytes, number: int) -> Listed | BadLine | None:
        text = _decode(line).strip().strip("\ufeff")
        if not text:
            return None
        cells = _split(text)
        if not self._has_begun:
            self._has_begun = True
            self._columns = _find_columns(cells)
            if self._columns or not any(character.isdigit() for character in text):
                return None  # a header
        return self._judge(cells, number)

    def _judge(self, cells: Sequence[str], number: int) -> Listed | BadLine:
        parsed = parse_number(_cell(cells, self._columns.get("msisdn", 0)))
        if isinstance(parsed, Malformed):
            return BadLine(number=number, reason=parsed.reason)
        account = self._account or _cell(cells, self._columns.get("account")) or EVERYBODY
        if account not in self._accounts:
            return BadLine(number=number, reason="names an account that is not of this configuration")
        return Listed(
            account=account,
            msisdn=parsed.e164,
            since_at=_read_instant(_cell(cells, self._columns.get("since_at")), self._now),
            note=_cell(cells, self._columns.get("note")) or None,
        )


def _decode(line: bytes) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return line.decode("windows-1252", "replace")


def _split(text: str) -> list[str]:
    delimiter = max(";\t,", key=text.count)
    is_sound = text.count('"') % 2 == 0  # else what is quoted would go on in the next line
    try:
        cells = next(csv.reader([text], delimiter=delimiter)) if is_sound else text.split(delimiter)
    except csv.Error:
        cells = text.split(delimiter)
    # ="0601020304" is how a spreadsheet is told to leave a zero alone
    return [cell.strip().removeprefix("=").strip("\"' ") for cell in cells]


def _find_columns(cells: Sequence[str]) -> dict[str, int]:
    """Return where what stands, if this is a header; nothing, if it is the first number already."""
    if any(not isinstance(parse_number(cell), Malformed) for cell in cells):
        return {}
    names = [cell.casefold().replace(" ", "_") for cell in cells]
    found: dict[str, int] = {}
    for place, name in enumerate(names):
        meaning = "msisdn" if name in _NUMBER_COLUMNS else "since_at" if name in _SINCE_COLUMNS else name
        found.setdefault(meaning, place)
    return {name: place for name, place in found.items() if name in {"msisdn", "account", "since_at", "note"}}


def _cell(cells: Sequence[str], place: int | None) -> str:
    return cells[place] if place is not None and place < len(cells) else ""


def _read_instant(text: str, now: datetime) -> datetime:
    """Return since when: what stands there, in UTC unless it says otherwise; now, when nothing or the future does."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return now
    return min(at if at.tzinfo else at.replace(tzinfo=UTC), now)
