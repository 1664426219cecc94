"""What needs somebody's attention: for the janitor, for sleeping, for health. Reads only."""

from datetime import datetime
from enum import Enum
from typing import Any

import sqlalchemy as sa

from gateway.lifecycle import EnvoiId, MailId, ReportState, SmsEvent, SmsId, SmsState
from gateway.store import tables
from gateway.store.base import Backlog, LostSms
from gateway.store.tables import REPORT_OPEN, SMS_OPEN, SMS_WAITING, by_index, one_of

MOST_COUNTED = 100_000
"""Of one state. What carriers have accepted stays open until its receipt, which may be never: that is nearly all."""

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
    query = sa.select(tables.sms, _UNKNOWN_ATTEMPTS).where(is_sending).order_by(_sms.lease_until).limit(limit)
    return by_index(query, tables.sms, "ix_sms_lease")


def uncertain_query(before: datetime, limit: int, *, unasked_before: datetime | None = None) -> sa.Select[Any]:
    """In `uncertain` since then or longer, longest first.

    With `unasked_before`, one that its carrier is still to be asked for only if it is uncertain since then or longer.
    """
    query = _rows(one_of("sms.state", (SmsState.UNCERTAIN,)), _sms.since_at, before, limit)
    if unasked_before is None:
        return query
    return query.where(sa.or_(_sms.ask_at.is_(None), _sms.since_at <= unasked_before))


def unheard_query(before: datetime, limit: int) -> sa.Select[Any]:
    """In `accepted` since then or longer, longest first: the network was to say more, and has not.

    What a carrier was to send later counts from then.
    """
    query = _rows(one_of("sms.state", (SmsState.ACCEPTED,)), _sms.since_at, before, limit)
    was_to_go = sa.or_(_sms.deliver_at.is_(None), _sms.deliver_at <= before)
    return by_index(query.where(was_to_go), tables.sms, "ix_sms_open")


def expired_query(now: datetime, limit: int) -> sa.Select[Any]:
    """Waiting beyond their validity, longest first."""
    return by_index(_rows(one_of("sms.state", SMS_WAITING), _sms.expires_at, now, limit), tables.sms, "ix_sms_expiry")


def _rows(states: sa.TextClause, instant: sa.Column[datetime], until: datetime, limit: int) -> sa.Select[Any]:
    return sa.select(tables.sms, _UNKNOWN_ATTEMPTS).where(states, instant <= until).order_by(instant).limit(limit)


def find(connection: sa.Connection, query: sa.Select[Any]) -> tuple[LostSms, ...]:
    """The SMS of one of the queries above."""
    return tuple(
        LostSms(
            id=SmsId(row.id),
            envoi_id=EnvoiId(row.envoi_id),
            mail_id=MailId(row.mail_id),
            account=row.account,
            provider=row.provider,
            state=row.state,
            epoch=row.epoch,
            attempts=row.attempts,
            unknown_attempts=row.unknown_attempts,
            since=row.since_at,
            expires_at=row.expires_at,
            code=row.code,
            lease=None if row.lease_until is None else row.lease_until - row.since_at,
        )
        for row in connection.execute(query)
    )


def next_due_query(now: datetime | sa.BindParameter[datetime]) -> sa.Select[Any]:
    """When the next SMS becomes due; what is due already does not count."""
    query = sa.select(sa.func.min(_sms.due_at)).where(one_of("sms.state", (SmsState.QUEUED,)), _sms.due_at > now)
    return by_index(query, tables.sms, "ix_sms_due")


def next_report_due_query(now: datetime | sa.BindParameter[datetime]) -> sa.Select[Any]:
    """The same of reports."""
    due_at = tables.report.c.due_at
    query = sa.select(sa.func.min(due_at)).where(one_of("report.state", (ReportState.DUE,)), due_at > now)
    return by_index(query, tables.report, "ix_report_due")


_NEXT_DUE = next_due_query(sa.bindparam("b_now"))
_NEXT_REPORT_DUE = next_report_due_query(sa.bindparam("b_now"))


def next_due(connection: sa.Connection, now: datetime) -> datetime | None:
    """The answer to the first; None when no SMS waits."""
    found: datetime | None = connection.scalar(_NEXT_DUE, {"b_now": now})
    return found


def next_report_due(connection: sa.Connection, now: datetime) -> datetime | None:
    """The answer to the second; None when no report waits."""
    found: datetime | None = connection.scalar(_NEXT_REPORT_DUE, {"b_now": now})
    return found


def waiting_query(limit: int) -> sa.Select[Any]:
    """How many are queued, at most `limit`."""
    some = sa.select(_sms.due_at).where(one_of("sms.state", (SmsState.QUEUED,))).limit(limit)
    return sa.select(sa.func.count()).select_from(by_index(some, tables.sms, "ix_sms_due").subquery())


def backlog_query(table: sa.Table, state: Enum) -> sa.Select[Any]:
    """How many there are in the state, counted up to `MOST_COUNTED`, and since when the oldest is in it."""
    is_it = one_of(f"{table.name}.state", (state,))
    index = f"ix_{table.name}_open"
    some = by_index(sa.select(table.c.since_at).where(is_it).limit(MOST_COUNTED), table, index).subquery()
    oldest = by_index(sa.select(sa.func.min(table.c.since_at)).where(is_it), table, index).scalar_subquery()
    return sa.select(sa.func.count().label("number"), oldest.label("oldest")).select_from(some)


def backlog(connection: sa.Connection) -> Backlog:
    """All states that are not final, those without rows too."""
    numbers: dict[str, dict[str, int]] = {}
    oldest: dict[str, dict[str, datetime]] = {}
    states: tuple[Enum, ...]
    for table, states in ((tables.sms, SMS_OPEN), (tables.report, REPORT_OPEN)):
        numbers[table.name], oldest[table.name] = {}, {}
        for state in states:
            row = connection.execute(backlog_query(table, state)).one()
            numbers[table.name][state.value] = row.number
            if row.oldest is not None:
                oldest[table.name][state.value] = row.oldest
    return Backlog(
        sms=numbers["sms"], reports=numbers["report"], oldest_sms=oldest["sms"], oldest_reports=oldest["report"]
    )
