"""docs/senders.md as values: its configuration, its DNS, and its tables, each row of which is a case to be played."""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DOCUMENT = Path(__file__).parents[2] / "docs" / "senders.md"
COLUMNS = ("", "Client", "Shows", "From:", "Key", "Reply", "Account", "Proof", "Not", "DNS")
NOTHING = "—"

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A line of the zone. `how` is "" for an ordinary answer."""

    name: str
    kind: str
    how: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A mail, and what comes of it; cells as they stand in the table, None for a dash."""

    number: str
    client: str
    shows: tuple[str, ...]
    sender: str  # domain of the From:
    key: str | None
    reply: str
    account: str | None
    proof: str | None
    not_code: str | None
    asked: int

    @property
    def meets_silence(self) -> bool:
        """True when a server is asked that never answers."""
        return self.sender.startswith("silent.") or any(" silent " in one for one in self.shows)


def read_configuration() -> dict[str, Any]:
    """Return the tables of the first block."""
    return tomllib.loads(_blocks("toml")[0])


def read_zone() -> list[Record]:
    """Return the lines of the block without a language."""
    found = []
    for line in _blocks("")[0].splitlines():
        name, kind, value = line.split(None, 2)
        kind, _, how = kind.partition("/")
        found.append(Record(name=name, kind=kind, how=how, value=value))
    return found


def read_rows() -> list[Row]:
    """Return every row of every table that has the columns of cases."""
    return list(_rows())


def _rows() -> Iterator[Row]:
    is_case = False
    for line in DOCUMENT.read_text("utf-8").splitlines():
        cells = tuple(cell.strip().replace("`", "") for cell in line.strip("|").split("|"))
        if not line.startswith("|") or set(line) <= set("|- "):
            is_case = is_case and line.startswith("|")
        elif cells == COLUMNS:
            is_case = True
        elif is_case:
            assert len(cells) == len(COLUMNS), line
            yield _row(cells)


def _row(cells: tuple[str, ...]) -> Row:
    number, client, shows, sender, key, reply, account, proof, not_code, asked = cells
    return Row(
        number=number,
        client=client,
        shows=() if shows == NOTHING else tuple(one.strip() for one in shows.split(" + ")),
        sender=sender,
        key=_or_none(key),
        reply=reply,
        account=_or_none(account),
        proof=_or_none(proof),
        not_code=_or_none(not_code),
        asked=int(asked),
    )


def _or_none(cell: str) -> str | None:
    return None if cell == NOTHING else cell


def _blocks(language: str) -> list[str]:
    return [text for name, text in _BLOCK.findall(DOCUMENT.read_text("utf-8")) if name == language]
