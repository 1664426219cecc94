"""What came since then, counted, and how long it is that SMS wait. Reads only, by the ids of that time."""

from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa

from gateway.ids import floor_id
from gateway.lifecycle import SmsState
from gateway.store import tables
from gateway.store.records import Count
from gateway.store.tables import by_index, one_of

MOST_WAITING = 100_000
"""That are looked at to say how long SMS wait."""

Age = tuple[float, int]
"""Seconds, and how many SMS have been waiting so long."""

CarrierOf = Callable[[str, str | None], str]
"""Told a lane, and the carrier its SMS had, says which carrier it waits for."""

_sms = tables.sms.c

NOBODY = "(none yet)"

_KEYS: Mapping[str, sa.ColumnElement[Any]] = MappingProxyType(
    {
        "account": _sms.account,
        "provider": sa.func.coalesce(_sms.provider, NOBODY),
        "state": _sms.state,
    }
)


def counts_query(by: str, since: datetime, until: datetime) -> sa.Select[Any]:
    """SMS of mails that came in between, counted by key, state and currency."""
    key = _KEYS[by].label("key")
    parts = sa.func.sum(sa.func.coalesce(_sms.billed_parts, _sms.parts))
    cost = sa.func.sum(sa.func.coalesce(_sms.cost_micros, 0))
    return (
        sa.select(
            key, _sms.state, _sms.currency, sa.func.count().label("sms"), parts.label("parts"), cost.label("cost")
        )
        .where(_sms.id >= floor_id(since), _sms.id < floor_id(until))
        .group_by(key, _sms.state, _sms.currency)
    )


def count(connection: sa.Connection, by: str, since: datetime, until: datetime) -> tuple[Count, ...]:
    """The counts; `by` is account, provider or state."""
    return tuple(
        Count(
            key=str(getattr(row.key, "value", row.key)),
            state=row.state,
            sms=row.sms,
            parts=int(row.parts or 0),
            cost_micros=int(row.cost or 0),
            currency=row.currency,
        )
        for row in connection.execute(counts_query(by, since, until))
    )


def waiting_query() -> sa.Select[Any]:
    """Lane, carrier and date of SMS that wait to be sent, the longest first, with how many have the same."""
    query = sa.select(_sms.lane, _sms.account, _sms.provider, _sms.since_at)
    query = query.where(one_of("sms.state", (SmsState.QUEUED,))).order_by(_sms.since_at).limit(MOST_WAITING)
    some = by_index(query, tables.sms, "ix_sms_open").subquery().c
    alike = (some.lane, some.account, some.provider, some.since_at)
    return sa.select(*alike, sa.func.count().label("number")).group_by(*alike)


def ages(connection: sa.Connection, now: datetime, carrier_of: CarrierOf) -> dict[str, list[Age]]:
    """How long SMS have been waiting, in seconds, and how many so long, by the carrier they wait for.

    `carrier_of` is told lane and carrier, if they had one, and says which it is.
    """
    found: dict[str, list[Age]] = {}
    for row in connection.execute(waiting_query()):
        carrier = carrier_of(row.lane or row.account, row.provider)
        age_s = max(0.0, (now - row.since_at).total_seconds())
        found.setdefault(carrier, []).append((age_s, row.number))
    return found
