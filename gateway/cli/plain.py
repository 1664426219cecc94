"""How commands tell of rows: JSON, pages and tables for people, times."""

import dataclasses
import json
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum

import typer
from rich.console import Console

_UNITS_S = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_FILE_COLUMNS = 240
_AGO = re.compile(r"(\d{1,6})\s*([mhdw])")


def printed_json(value: object) -> str:
    """Return dataclasses, enumerations and instants as JSON in ASCII."""
    return json.dumps(_plain(value))


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(_plain(name)): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Enum):
        return value.value
    return value.isoformat() if isinstance(value, datetime) else value


def new_console() -> Console:
    """Return what pages for people are printed with; without colour when it is not a terminal."""
    return Console(highlight=False, markup=False, emoji=False, soft_wrap=True)


def new_table_console() -> Console:
    """Return what tables for people are printed with: as wide as their terminal, or, in a file, wide enough."""
    width = None if sys.stdout.isatty() else _FILE_COLUMNS
    return Console(highlight=False, markup=False, emoji=False, width=width)


def read_since(text: str, now: datetime, *, option: str = "--since") -> datetime:
    """Return the instant that "2h", "3d", "2026-11-22" or "2026-11-22 14:03" means, in UTC."""
    ago = _AGO.fullmatch(text.strip())
    if ago is not None:
        return now - timedelta(seconds=int(ago[1]) * _UNITS_S[ago[2]])
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise typer.BadParameter(
            f'{text} is not a time: write "2h", "3d" or "2026-11-22 14:03"', param_hint=option
        ) from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def shown_time(at: datetime | None) -> str:
    """Return an instant for people, in UTC."""
    return "" if at is None else f"{at:%Y-%m-%d %H:%M:%S}"
