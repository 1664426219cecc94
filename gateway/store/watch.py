"""What needs somebody's attention: for the janitor, for sleeping, for health. Reads only."""

from collections.abc import Iterable
from datetime import datetime
from enum import Enum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.lifecycle import EnvoiId, MailId, ReportState, SmsEvent, SmsId, SmsState
from gateway.store import tables
from gateway.store.base import Backlog, LostSms
from gateway.store.tables import REPORT_OPEN, SMS_OPEN, SMS_WAITING, one_of

_sms = tables.sms.c
_attempt = tables.attempt.c

# of what nothing was ever learnt, the one under way included
_UNKNOWN_ATTEMPTS = (
    sa.select(sa.func.count())
    .select_from(tables.attempt)
    .where(
        _attempt.sms_id == _sms.id,
        sa.or_(_attempt.verdict.is_(None), _attempt.verdict == SmsEvent.LOST),
        _attempt.learnt.is_(None),
    )
    .scalar_subquery()
    .label("unknown_attempts")
)


def sending_query(limit: int) -> sa.Select[Any]:
    """In `sending`, the first whose lease is over first."""
    is_sending = one_of("sms.state", (SmsState.SENDING,))
    return sa.select(tables.sms, _UNKNOWN_ATTEMPTS).where(is_sending).order_by(_sms.lease_until).limit(limit)


def uncertain_query(before: datetime, limit: int) -> sa.Select[Any]:
    """In `uncertain` since then or longer, longest first."""
    return _rows(one_of("sms.state", (SmsState.UNCERTAIN,)), _sms.since_at, before, limit)


def expired_query(now: datetime, limit: int) -> sa.Select[Any]:
    """Waiting beyond their validity, longest first."""
    return _rows(one_of("sms.state", SMS_WAITING), _sms.expires_at, now, limit)


def _rows(states: sa.TextClause, instant: sa.Column[datetime], until: datetime, limit: int) -> sa.Select[Any]:
    return sa.select(tables.sms, _UNKNOWN_ATTEMPTS).where(states, instant <= until).order_by(instant).limit(limit)


async def find(connection: AsyncConnection, query: sa.Select[Any]) -> tuple[LostSms, ...]:
    """The SMS of one of the queries above."""
    return tuple(
        LostSms(
            id=SmsId(row.id),
            envoi_id=EnvoiId(row.envoi_id),
            mail_id=MailId(row.mail_id),
            account=row.account,
            state=row.state,
            epoch=row.epoch,
            attempts=row.attempts,
            unknown_attempts=row.unknown_attempts,
            since=row.since_at,
            expires_at=row.expires_at,
            code=row.code,
            lease=None if row.lease_until is None else row.lease_until - row.since_at,
        )
        for row in await connection.execute(query)
    )


def next_due_queries(now: datetime) -> tuple[sa.Select[Any], ...]:
    """When the next SMS, and the next report, becomes due; what is due already does not count."""
    report = tables.report.c
    return (
        sa.select(sa.func.min(_sms.due_at)).where(one_of("sms.state", (SmsState.QUEUED,)), _sms.due_at > now),
        sa.select(sa.func.min(report.due_at)).where(one_of("report.state", (ReportState.DUE,)), report.due_at > now),
    )


async def next_due_at(connection: AsyncConnection, now: datetime) -> datetime | None:
    """The earlier of the two, None when nothing waits."""
    found: list[datetime | None] = [await connection.scalar(query) for query in next_due_queries(now)]
    return min((instant for instant in found if instant is not None), default=None)


def backlog_query(table: sa.Table, states: Iterable[Enum]) -> sa.Select[Any]:
    """How many there are in each state that is not final, and since when the oldest is in it."""
    return (
        sa.select(table.c.state, sa.func.count().label("number"), sa.func.min(table.c.since_at).label("oldest"))
        .where(one_of(f"{table.name}.state", states))
        .group_by(table.c.state)
    )


async def backlog(connection: AsyncConnection) -> Backlog:
    """All states that are not final, those without rows too."""
    numbers: dict[str, dict[str, int]] = {}
    oldest: dict[str, dict[str, datetime]] = {}
    for table, states in ((tables.sms, SMS_OPEN), (tables.report, REPORT_OPEN)):
        numbers[table.name] = {state.value: 0 for state in states}
        oldest[table.name] = {}
        for row in await connection.execute(backlog_query(table, states)):
            numbers[table.name][row.state.value] = row.number
            oldest[table.name][row.state.value] = row.oldest
    return Backlog(
        sms=numbers["sms"], reports=numbers["report"], oldest_sms=oldest["sms"], oldest_reports=oldest["report"]
    )
