"""Kinds of columns, each the same on both databases and each strict about what it takes."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.types import TypeDecorator

E = TypeVar("E", bound=Enum)


class Instant(TypeDecorator[datetime]):
    """An instant in UTC, to the microsecond. A naive one is refused.

    SQLite has no such type: there it is text of one width (`2026-03-04 09:30:00.000000`), so it sorts by time and can
    be read by eye.
    """

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.utcoffset() is None:
            raise ValueError("a naive instant cannot be stored")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if dialect.name == "sqlite" else value.astimezone(UTC)


class Choice(TypeDecorator[E]):
    """One member of an `Enum`, stored as its value."""

    impl = sa.Text
    cache_ok = True

    def __init__(self, members: type[E]) -> None:
        super().__init__()
        self.members = members

    def process_bind_param(self, value: E | None, dialect: Dialect) -> object:
        return None if value is None else self.members(value).value

    def process_result_value(self, value: object, dialect: Dialect) -> E | None:
        return None if value is None else self.members(value)


class Number(TypeDecorator[E]):
    """One member of an `IntEnum` (a code of the annex), stored as its number."""

    impl = sa.Integer
    cache_ok = True

    def __init__(self, members: type[E]) -> None:
        super().__init__()
        self.members = members

    def process_bind_param(self, value: E | None, dialect: Dialect) -> int | None:
        return None if value is None else int(self.members(value).value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> E | None:
        return None if value is None else self.members(value)


class Notes(TypeDecorator[tuple[str, ...]]):
    """Lines for the operator, as a JSON array in ASCII."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Iterable[str] | None, dialect: Dialect) -> str | None:
        return None if value is None else json.dumps(list(value))

    def process_result_value(self, value: str | None, dialect: Dialect) -> tuple[str, ...] | None:
        return None if value is None else tuple(str(line) for line in json.loads(value))


class Foreign(TypeDecorator[str]):
    """Text that a stranger wrote: stored up to `limit_bytes` of UTF-8, without what a database cannot hold.

    NUL (PostgreSQL has none) and lone surrogates (undecodable bytes) become U+FFFD: a carrier's garbage must not keep
    its own verdict from being recorded.
    """

    impl = sa.Text
    cache_ok = True

    def __init__(self, limit_bytes: int) -> None:
        super().__init__()
        self.limit_bytes = limit_bytes

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        # a character takes a byte at least, so what lies beyond need not be looked at
        value = value[: self.limit_bytes].replace("\0", "\ufffd")
        utf8 = value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()
        return utf8[: self.limit_bytes].decode("utf-8", "ignore")


class Facts(TypeDecorator[Mapping[str, object]]):
    """Plain values by name, for the operator, as a JSON object in ASCII, in which a NUL is an escape.

    What a stranger said may be among them: it is cut by whoever puts it there.
    """

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Mapping[str, object] | None, dialect: Dialect) -> str | None:
        return None if value is None else json.dumps(dict(value))

    def process_result_value(self, value: str | None, dialect: Dialect) -> Mapping[str, object] | None:
        return None if value is None else dict(json.loads(value))
