"""How many parts accounts send in an hour of the clock (UTC), and whether that is unusual (docs/protocol.md §10.6).

Usual is what the busiest hour of a day has: the median over those of the last 14 days on which anything was sent. It is
found out once an hour, from three such days on; below 50 parts nothing is unusual by it.
"""

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from gateway.store import quota_tables
from gateway.store.budget import VolumeUnusual, VolumeWatch, floor

_account = quota_tables.quota_account.c
_volume = quota_tables.volume.c

HOUR = timedelta(hours=1)
HISTORY = timedelta(days=14)
_LEAST_DAYS = 3
_LEAST_PARTS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """What an account sent in the hour that is under way, and what is known of the hours before."""

    hour_at: datetime
    parts: int
    usual: int | None
    alarmed_at: datetime | None
    added: int = 0  # by this transaction, not yet written
    is_new_alarm: bool = False  # not yet written


# --- pure ------------------------------------------------------------------------------------------------------------


def find_usual(hours: Iterable[tuple[datetime, int]]) -> int | None:
    """What the busiest hour of a day usually has, from the parts of hours; None: too few days are known."""
    busiest: dict[date, int] = {}
    for hour_at, parts in hours:
        day = hour_at.date()
        busiest[day] = max(parts, busiest.get(day, 0))
    if len(busiest) < _LEAST_DAYS:
        return None
    return math.ceil(statistics.median(busiest.values()))


def find_threshold(watch: VolumeWatch, usual: int | None) -> int | None:
    """More parts than these are unusual; None: any number is fine."""
    thresholds = [watch.threshold] if watch.threshold else []
    if watch.factor and usual is not None:
        thresholds.append(max(_LEAST_PARTS, math.ceil(watch.factor * usual)))
    return min(thresholds, default=None)


def add(
    before: Volume, parts: int, watch: VolumeWatch, account: str, now: datetime
) -> tuple[Volume, VolumeUnusual | None]:
    """The volume with so many parts more, and who is to be told; once, until an hour was usual again."""
    after = replace(before, parts=before.parts + parts, added=before.added + parts)
    threshold = find_threshold(watch, after.usual)
    if threshold is None or after.parts <= threshold:
        return after, None
    last = before.alarmed_at
    # An alarm of an hour to come is from before the clock was set back
    is_going_on = last is not None and after.hour_at - HOUR <= last <= after.hour_at
    after = replace(after, alarmed_at=after.hour_at, is_new_alarm=last != after.hour_at)
    if is_going_on:
        return after, None
    alarm = VolumeUnusual(account=account, at=now, parts=after.parts, threshold=threshold, usual=after.usual)
    return after, alarm


# --- rows ------------------------------------------------------------------------------------------------------------


def read(
    connection: sa.Connection, watches: Mapping[str, VolumeWatch], now: datetime, *, may_write: bool
) -> dict[str, Volume]:
    """How each of the accounts stands in this hour; `may_write`: their rows are locked, and what is usual is kept."""
    hour_at = floor(now, HOUR)
    found = {}
    for account, watch in watches.items():
        row = connection.execute(sa.select(quota_tables.quota_account).where(_account.account == account)).one_or_none()
        usual = None if row is None else row.usual_parts
        if watch.factor and (row is None or row.usual_at != hour_at):
            usual = _read_usual(connection, account, hour_at)
            if may_write:
                known = quota_tables.quota_account.update().where(_account.account == account)
                connection.execute(known.values(usual_parts=usual, usual_at=hour_at))
        this = sa.select(_volume.parts).where(_volume.account == account, _volume.hour_at == hour_at)
        found[account] = Volume(
            hour_at=hour_at,
            parts=connection.scalar(this) or 0,
            usual=usual,
            alarmed_at=None if row is None else row.alarmed_at,
        )
    return found


def _read_usual(connection: sa.Connection, account: str, hour_at: datetime) -> int | None:
    """Of the whole hours before this one."""
    hours = sa.select(_volume.hour_at, _volume.parts).where(
        _volume.account == account, _volume.hour_at < hour_at, _volume.hour_at >= hour_at - HISTORY
    )
    return find_usual((row.hour_at, row.parts) for row in connection.execute(hours))


def write(connection: sa.Connection, volumes: dict[str, Volume]) -> None:
    """What was added is stored, and in which hours it was unusual; the accounts' rows are locked."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    for account, one in volumes.items():
        if one.added:
            first = insert(quota_tables.volume).values(account=account, hour_at=one.hour_at, parts=one.added)
            more = {"parts": _volume.parts + first.excluded.parts}
            connection.execute(first.on_conflict_do_update(index_elements=["account", "hour_at"], set_=more))
        if one.is_new_alarm:
            row = quota_tables.quota_account.update().where(_account.account == account)
            connection.execute(row.values(alarmed_at=one.alarmed_at))
        volumes[account] = replace(one, added=0, is_new_alarm=False)


def forget(connection: sa.Connection, now: datetime) -> None:
    """Hours are gone that nothing is told from any more."""
    connection.execute(quota_tables.volume.delete().where(_volume.hour_at < now - HISTORY - timedelta(days=1)))
