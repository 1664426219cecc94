"""Who was told no, counted by client, sender and reply; the table never has more than a bounded number of rows."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from gateway.store.records import TurnedAwayRecord
from gateway.store.story_tables import turned_away

MOST = 5_000
KEPT = timedelta(days=30)

_away = turned_away.c


def note(connection: sa.Connection, counts: Sequence[TurnedAwayRecord], now: datetime) -> None:
    """These are counted; of the table, what is older than `KEPT`, and all but the `MOST` newest, is gone.

    In the order of ids, so that two nodes wait for one another instead of locking each other out.
    """
    insert: Any = (sqlite_insert if connection.dialect.name == "sqlite" else postgresql_insert)(turned_away)
    upsert = insert.on_conflict_do_update(
        index_elements=[_away.id],
        set_={
            "count": _away.count + insert.excluded.count,
            "last_at": insert.excluded.last_at,
            "facts": insert.excluded.facts,
        },
    )
    rows = [
        {
            "id": one.id,
            "peer": one.peer,
            "sender": one.sender,
            "reply": one.reply,
            "count": one.count,
            "first_at": one.first_at,
            "last_at": one.last_at,
            "facts": one.facts,
        }
        for one in sorted(counts, key=lambda one: one.id)
    ]
    if rows:
        connection.execute(upsert, rows)
    forget_older(connection, now - KEPT)
    oldest = connection.scalar(sa.select(_away.last_at).order_by(_away.last_at.desc()).offset(MOST).limit(1))
    if oldest is not None:
        connection.execute(turned_away.delete().where(_away.last_at <= oldest))


def forget_older(connection: sa.Connection, before: datetime) -> None:
    """Nobody is known of who was turned away before then, and not since."""
    connection.execute(turned_away.delete().where(_away.last_at < before))


def forget_where(connection: sa.Connection, is_named: Callable[[str], bool]) -> None:
    """Of whoever said, or was told, what `is_named` finds something in, nothing is known. All rows are looked at."""
    query = sa.select(_away.id, _away.sender, _away.reply, _away.facts)
    rows = connection.execute(query).all()
    found = [
        row.id for row in rows if any(is_named(str(said)) for said in (row.sender, row.reply, *row.facts.values()))
    ]
    if found:
        connection.execute(turned_away.delete().where(_away.id.in_(found)))
