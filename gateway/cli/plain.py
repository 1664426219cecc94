"""What strangers wrote, as it can be printed; times and the opening of the store, for commands that tell of rows."""

import asyncio
import dataclasses
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import TypeVar

import typer
from rich.console import Console

from gateway.clock import Clock, SystemClock
from gateway.config import Config
from gateway.daemon.ownership import is_owned
from gateway.policy.accounts import Accounts
from gateway.store import Store
from gateway.store.database import sqlite_path
from gateway.stories import Stories

T = TypeVar("T")

_UNITS_S = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_AGO = re.compile(r"(\d{1,6})\s*([mhdw])")


def visible(text: str) -> str:
    r"""Return the text with everything that moves a cursor, changes colours or turns a line around as an escape.

    `\x1b[2J` is then eight characters to be read, and nothing that a terminal obeys.
    """
    return "".join(one if one.isprintable() else _escape(one) for one in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


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


def shown_span(seconds: float) -> str:
    """Return a duration for people, in its two largest units."""
    whole = round(seconds)
    for name, unit, smaller, below in (("d", 86_400, 3_600, "h"), ("h", 3_600, 60, "min"), ("min", 60, 1, "s")):
        if whole >= unit:
            return f"{whole // unit} {name} {whole % unit // smaller} {below}"
    return f"{whole} s"


def with_stories(settings: Config, step: Callable[[Stories], Awaitable[T]]) -> T:
    """Return what is asked of the stories of the store, which is only read; a gateway at work is not disturbed."""
    return with_store(settings, lambda store, clock: step(new_stories(settings, store, clock)), read_only=True)


def with_store(settings: Config, step: Callable[[Store, Clock], Awaitable[T]], *, read_only: bool = False) -> T:
    """Return what is done with the store."""

    async def run() -> T:
        store = await Store.open(settings.store, read_only=read_only)
        try:
            return await step(store, SystemClock())
        finally:
            await store.close()

    return asyncio.run(run())


def new_stories(settings: Config, store: Store, clock: Clock) -> Stories:
    """Return the stories of the store, told with the accounts of this configuration."""
    accounts, database = Accounts(settings.accounts), sqlite_path(settings.store)
    return Stories(store, clock, lambda: accounts, is_serving=lambda: None if database is None else is_owned(database))
