"""Steps of the console: sessions, and the account of what was done in it."""

from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa

from gateway.store.console_reading import ConsoleReading
from gateway.store.console_tables import console_action, console_session

MOST_SESSIONS = 20
"""Of one user; the oldest end first."""

_session = console_session.c
_action = console_action.c


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleSession:
    """Somebody who is logged in. `digest` and `credential` are SHA-256 of what the browser holds, and of the hash."""

    digest: bytes = field(repr=False)
    who: str
    credential: bytes = field(repr=False)
    created_at: datetime
    seen_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleAction:
    """Something that somebody did in the console. No text of an SMS, and of a number only its ends."""

    id: str
    at: datetime
    who: str
    peer: str
    action: str
    object: str
    outcome: str


class ConsoleSteps(ConsoleReading):
    """What the console asks of the store for itself."""

    async def open_session(self, new: ConsoleSession, *, idle_since: datetime, created_before: datetime) -> None:
        """The session is there; those not seen since then, or created before then, are not, whosever they were."""
        await self._write(_open, new, idle_since, created_before)

    async def find_session(self, digest: bytes) -> ConsoleSession | None:
        """Return the session, however old it is."""
        return await self._read(_find, digest)

    async def touch_session(self, digest: bytes, now: datetime) -> None:
        """Its user was there just now; nothing happens when it has ended."""
        await self._write(_touch, digest, now)

    async def close_session(self, digest: bytes) -> None:
        """The session is no more."""
        await self._write(_close, digest)

    async def note_action(self, action: ConsoleAction) -> None:
        """It is on disk that this was done, or tried."""
        await self._write(_note, action)

    async def console_actions(self, *, before: str | None, limit: int) -> tuple[ConsoleAction, ...]:
        """What was done last, the last first; `before` is the id of the last of the page before."""
        return await self._read(_list, before, limit)


def _open(connection: sa.Connection, new: ConsoleSession, idle_since: datetime, created_before: datetime) -> None:
    is_over = sa.or_(_session.seen_at < idle_since, _session.created_at < created_before)
    connection.execute(console_session.delete().where(is_over))
    too_many = (
        sa.select(_session.digest)
        .where(_session.who == new.who)
        .order_by(_session.created_at.desc(), _session.digest)
        .offset(MOST_SESSIONS - 1)
    )
    digests = connection.scalars(too_many).all()
    if digests:
        connection.execute(console_session.delete().where(_session.digest.in_(digests)))
    connection.execute(
        console_session.insert(),
        {column.name: getattr(new, column.name) for column in console_session.columns},
    )


def _find(connection: sa.Connection, digest: bytes) -> ConsoleSession | None:
    row = connection.execute(sa.select(console_session).where(_session.digest == digest)).mappings().first()
    return None if row is None else ConsoleSession(**row)


def _touch(connection: sa.Connection, digest: bytes, now: datetime) -> None:
    connection.execute(console_session.update().where(_session.digest == digest).values(seen_at=now))


def _close(connection: sa.Connection, digest: bytes) -> None:
    connection.execute(console_session.delete().where(_session.digest == digest))


def _note(connection: sa.Connection, action: ConsoleAction) -> None:
    connection.execute(
        console_action.insert(), {column.name: getattr(action, column.name) for column in console_action.columns}
    )


def _list(connection: sa.Connection, before: str | None, limit: int) -> tuple[ConsoleAction, ...]:
    query = sa.select(console_action).order_by(_action.id.desc()).limit(limit)
    if before is not None:
        query = query.where(_action.id < before)
    return tuple(ConsoleAction(**row) for row in connection.execute(query).mappings())


def purge_actions(connection: sa.Connection, before: datetime) -> None:
    """What was done before then is not known any more."""
    connection.execute(console_action.delete().where(_action.at < before))
