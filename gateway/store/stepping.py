"""Rows of a time that has not come: what is left when the clock was set back.

A row says by itself when that has happened: it entered its state later than now. All that was meant as a duration from
then on (a wait after a failure, a validity, a lease, the time for word of an unknown fate) is counted from now on
instead. What was meant as an instant stays: the date an envoi asks for, with the validity after it, and an opening
hour. The two are told apart by the attempts: before the first one, only a date or an hour makes an SMS wait.

Pulled in once too often harms nothing: hours are looked at again before every call.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from gateway.lifecycle import ReportState, SmsState
from gateway.store import tables
from gateway.store.tables import REPORT_OPEN, SMS_UNANSWERED, one_of

TOLERANCE = timedelta(minutes=1)
"""Nodes do not agree to the second, and a second is waited for more cheaply."""

LONGEST_WAIT = timedelta(minutes=15)
"""What a step of the clock may delay an attempt by, whatever the wait was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PulledIn:
    """How many rows of a time to come were brought back to now."""

    sms: int
    reports: int


_sms = tables.sms.c
_report = tables.report.c
_IS_DATED = sa.and_(_sms.attempts == 0, _sms.due_at > _sms.since_at)


def future_sms_query(now: datetime, limit: int) -> sa.Select[Any]:
    """SMS that have no answer yet and entered their state in a time to come, the farthest last."""
    is_future = _sms.since_at > now + TOLERANCE
    is_dated = sa.and_(one_of("sms.state", (SmsState.QUEUED,)), _IS_DATED)
    return (
        sa.select(
            _sms.id,
            _sms.epoch,
            _sms.state,
            _sms.since_at,
            _sms.due_at,
            _sms.expires_at,
            _sms.lease_until,
            _sms.deliver_at,
        )
        .where(one_of("sms.state", SMS_UNANSWERED), is_future, sa.not_(is_dated))
        .order_by(_sms.since_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )


def future_reports_query(now: datetime, limit: int) -> sa.Select[Any]:
    """The same for reports; none of them is dated."""
    columns = (_report.id, _report.epoch, _report.state, _report.since_at, _report.due_at, _report.expires_at)
    return (
        sa.select(*columns, _report.lease_until)
        .where(one_of("report.state", REPORT_OPEN), _report.since_at > now + TOLERANCE)
        .order_by(_report.since_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )


def pull_in(connection: sa.Connection, now: datetime, limit: int) -> PulledIn:
    """The durations of rows of a time to come, at most `limit` of each kind, are counted from now on."""
    numbers = {}
    for table, query in (
        (tables.sms, future_sms_query(now, limit)),
        (tables.report, future_reports_query(now, limit)),
    ):
        rows = (connection.execute(query)).mappings().all()
        if rows:
            connection.execute(_move(table), [_pulled_in(row, now) for row in rows])
        numbers[table.name] = len(rows)
    return PulledIn(sms=numbers["sms"], reports=numbers["report"])


_WRITTEN = ("since_at", "due_at", "expires_at", "lease_until")


def _move(table: sa.Table) -> sa.Update:
    """The row is still the one that was read; a claim of another node would have changed its epoch."""
    return (
        table.update()
        .where(table.c.id == sa.bindparam("b_id"), table.c.epoch == sa.bindparam("b_epoch"))
        .where(table.c.state == sa.bindparam("b_state"))
        .values({name: sa.bindparam(f"b_{name}") for name in _WRITTEN})
    )


def _pulled_in(row: sa.RowMapping, now: datetime) -> Mapping[str, object]:
    step: timedelta = row["since_at"] - now  # of the clock, but for the age of the row
    due_at: datetime = row["due_at"]
    lease_until: datetime | None = row["lease_until"]
    if row["state"] in (SmsState.QUEUED, ReportState.DUE):
        due_at = now + min(max(due_at - row["since_at"], timedelta(0)), LONGEST_WAIT)
    return {
        "b_id": row["id"],
        "b_epoch": row["epoch"],
        "b_state": row["state"],
        "b_since_at": now,
        "b_due_at": due_at,
        "b_expires_at": row["expires_at"] - (timedelta(0) if row.get("deliver_at") else step),
        "b_lease_until": None if lease_until is None else lease_until - step,
    }
