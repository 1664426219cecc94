"""Who waits, and how long since the mail was taken: by lane, by carrier, and for reports. For metrics; reads only.

How long a row is in its state says little about what clients wait for: each try begins the state anew. Every query here
looks at so many rows at most, in the order of an index, so that a queue of a million costs no more than a short one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from gateway.lifecycle import ReportState, SmsState
from gateway.store import tables
from gateway.store.tables import by_index, one_of

MOST_QUEUED = 100_000
"""Looked at in all lanes together: each has an equal share, but `LEAST_OF_A_LANE`."""
LEAST_OF_A_LANE = 200
MOST_OF_A_STATE = 10_000
MOST_LANES = 500

RETRY_WINDOW = timedelta(minutes=40)
"""What was tried and is due again within this time is being tried; what a carrier wants later than that waits for it.
The longest pause between two tries of ours is half an hour and a sixth."""

AT_CARRIERS = (SmsState.SENDING, SmsState.UNCERTAIN, SmsState.ACCEPTED)

_sms = tables.sms.c
_report = tables.report.c
_IS_QUEUED = one_of("sms.state", (SmsState.QUEUED,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Rows that wait, and since when the oldest does; None: no row."""

    rows: int = 0
    since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """Everything that waits for us or for a carrier."""

    lanes: Mapping[str, Waiting] = field(default_factory=dict)  # SMS that could go now, since their mail was taken
    carriers: Mapping[tuple[str, SmsState], Waiting] = field(default_factory=dict)  # since they are in the state
    reports: Waiting = field(default_factory=Waiting)  # that are to be sent, since they were made


def lanes_query() -> sa.Select[Any]:
    """The lanes in which anything is queued, by hopping through the index from lane to lane."""
    first = sa.select(sa.func.min(_sms.lane).label("lane")).where(_IS_QUEUED)
    lane = by_index(first, tables.sms, "ix_sms_lane").cte("lane", recursive=True)
    following = sa.select(sa.func.min(_sms.lane)).where(_IS_QUEUED, _sms.lane > lane.c.lane)
    hop = by_index(following, tables.sms, "ix_sms_lane").scalar_subquery()
    lane = lane.union_all(sa.select(hop).where(lane.c.lane.is_not(None)))
    return sa.select(lane.c.lane).where(lane.c.lane.is_not(None)).limit(MOST_LANES)


def lane_query(lane: str, now: datetime, limit: int) -> sa.Select[Any]:
    """How many of a lane's first SMS could go now, or are between two tries, and the oldest of them."""
    some = (
        by_index(sa.select(_sms.id, _sms.due_at, _sms.attempts), tables.sms, "ix_sms_lane")
        .where(_IS_QUEUED, _sms.lane == lane, _sms.due_at <= now + RETRY_WINDOW)
        .order_by(_sms.due_at, _sms.id)
        .limit(limit)
        .subquery()
    )
    could_go = sa.or_(some.c.due_at <= now, some.c.attempts > 0)
    return _number_and_first(some).where(could_go)


def carriers_query(state: SmsState) -> sa.Select[Any]:
    """Of the SMS that are longest in the state, how many each carrier has, and since when the oldest is in it."""
    some = (
        by_index(sa.select(_sms.provider, _sms.since_at), tables.sms, "ix_sms_open")
        .where(one_of("sms.state", (state,)), _sms.provider.is_not(None))
        .order_by(_sms.since_at)
        .limit(MOST_OF_A_STATE)
        .subquery()
    )
    number, oldest = sa.func.count().label("number"), sa.func.min(some.c.since_at).label("oldest")
    return sa.select(some.c.provider, number, oldest).group_by(some.c.provider)


def reports_query() -> sa.Select[Any]:
    """How many reports are to be sent, and the oldest of them."""
    some = (
        by_index(sa.select(_report.id), tables.report, "ix_report_due")
        .where(one_of("report.state", (ReportState.DUE,)))
        .order_by(_report.due_at, _report.id)
        .limit(MOST_OF_A_STATE)
        .subquery()
    )
    return _number_and_first(some)


def find(connection: sa.Connection, now: datetime) -> Waits:
    """All of it, as it is now."""
    names = connection.scalars(lanes_query()).all()
    share = max(LEAST_OF_A_LANE, MOST_QUEUED // max(1, len(names)))
    lanes = {lane: _lane(connection, lane, now, share) for lane in names}
    carriers = {
        (row.provider, state): Waiting(rows=row.number, since=row.oldest)
        for state in AT_CARRIERS
        for row in connection.execute(carriers_query(state))
    }
    return Waits(lanes=lanes, carriers=carriers, reports=_reports(connection))


def _number_and_first(some: sa.Subquery) -> sa.Select[Any]:
    columns: list[sa.ColumnElement[Any]] = [sa.func.count().label("number"), sa.func.min(some.c.id).label("first")]
    return sa.select(*columns).select_from(some)


def _lane(connection: sa.Connection, lane: str, now: datetime, limit: int) -> Waiting:
    found = connection.execute(lane_query(lane, now, limit)).one()
    if found.first is None:
        return Waiting()
    mail = sa.select(tables.mail.c.received_at).join(tables.sms, _sms.mail_id == tables.mail.c.id)
    return Waiting(rows=found.number, since=connection.scalar(mail.where(_sms.id == found.first)))


def _reports(connection: sa.Connection) -> Waiting:
    found = connection.execute(reports_query()).one()
    if found.first is None:
        return Waiting()
    since = connection.scalar(sa.select(_report.created_at).where(_report.id == found.first))
    return Waiting(rows=found.number, since=since)
