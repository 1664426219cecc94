"""All there is about one mail, refusal or count of clients turned away. Reads only, by keys and indexes alone."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy as sa

from gateway.lifecycle import MailId, SmsId, SmsState
from gateway.protocol.codes import Code
from gateway.store import credit, tables
from gateway.store.records import (
    AttemptRecord,
    Blocked,
    EnvoiRecord,
    MailLife,
    MailRecord,
    OperationRecord,
    RefusalLife,
    RefusalRecord,
    ReplyRecord,
    ReportRecord,
    SmsRecord,
    TurnedAwayRecord,
)
from gateway.store.stoplist import EVERYBODY, OptOut
from gateway.store.story_tables import operation, turned_away
from gateway.store.tables import by_index, one_of

R = TypeVar("R")

_sms = tables.sms.c
_attempt = tables.attempt.c
_mail = tables.mail.c
_envoi = tables.envoi.c
_report = tables.report.c

MOST_SMS = 10_000
"""Of one mail: accounts may have so many lines of mobiles.csv."""

MOST_DUPLICATES = 100
_LOOKED_AT = 500
"""Of a lane that is due, to find the last that came back; they come back together."""


def columns_of(table: sa.Table, record: type[Any]) -> tuple[sa.Column[Any], ...]:
    """The columns that a record is made of."""
    return tuple(table.c[field.name] for field in fields(record))


def record_of(record: type[R], row: sa.RowMapping) -> R:
    """The record of a row that has its columns."""
    return record(**row)


# --- queries ---------------------------------------------------------------------------------------------------------

ENVOI = sa.select(*columns_of(tables.envoi, EnvoiRecord)).where(_envoi.mail_id == sa.bindparam("mail"))
SMS = (
    sa.select(*columns_of(tables.sms, SmsRecord))
    .where(_sms.envoi_id == sa.bindparam("envoi"))
    .order_by(_sms.position)
    .limit(MOST_SMS)
)
_OWN_SMS = sa.select(_sms.id).where(_sms.envoi_id == sa.bindparam("envoi"))
ATTEMPTS = (
    sa.select(*columns_of(tables.attempt, AttemptRecord))
    .where(_attempt.sms_id.in_(_OWN_SMS))
    .order_by(_attempt.sms_id, _attempt.epoch)
)
OPERATIONS = (
    sa.select(*columns_of(operation, OperationRecord))
    .where(operation.c.sms_id.in_(_OWN_SMS))
    .order_by(operation.c.at, operation.c.id)
)
REPLIES = (
    sa.select(*columns_of(tables.reply, ReplyRecord))
    # Said again, so that the index of those that answer something can be used
    .where(tables.reply.c.sms_id.in_(_OWN_SMS), tables.reply.c.sms_id.is_not(None))
    .order_by(tables.reply.c.received_at)
)
REPORTS = (
    sa.select(*columns_of(tables.report, ReportRecord))
    .where(_report.mail_id == sa.bindparam("mail"))
    .order_by(_report.created_at, _report.id)
)
REFUSAL_REPORTS = (
    sa.select(*columns_of(tables.report, ReportRecord))
    .where(_report.refusal_id == sa.bindparam("refusal"))
    .order_by(_report.created_at)
)
DUPLICATES = (
    sa.select(_mail.id)
    .where(_mail.duplicate_of == sa.bindparam("envoi"))
    .order_by(_mail.id.desc())
    .limit(MOST_DUPLICATES)
)


def blocked_query(lane: str, now: datetime) -> sa.Select[Any]:
    """Of the oldest that were due in the lane before now, or wait for another attempt, those that came back."""
    some = (
        sa.select(_sms.id, _sms.since_at, _sms.provider, _sms.reason, _sms.code, _sms.epoch, _sms.attempts)
        .where(one_of("sms.state", (SmsState.QUEUED,)), _sms.lane == lane)
        .order_by(_sms.due_at, _sms.id)
        .limit(_LOOKED_AT)
    )
    found = by_index(some, tables.sms, "ix_sms_lane").subquery()
    return sa.select(found).where(found.c.attempts > 0, found.c.since_at <= now).order_by(found.c.since_at.desc())


# --- steps -----------------------------------------------------------------------------------------------------------


def read_mail(connection: sa.Connection, mail_id: str, now: datetime) -> MailLife | None:
    """The mail with all that became of it; None when there is no such mail."""
    found = (
        connection.execute(sa.select(*columns_of(tables.mail, MailRecord)).where(_mail.id == mail_id))
        .mappings()
        .first()
    )
    if found is None:
        return None
    mail = record_of(MailRecord, found)
    row = connection.execute(ENVOI, {"mail": mail_id}).mappings().first()
    reports = _all(connection, REPORTS, ReportRecord, mail=mail_id)
    if row is None:
        first = connection.scalar(sa.select(_envoi.mail_id).where(_envoi.id == mail.duplicate_of))
        return MailLife(mail=mail, envoi=None, reports=reports, first_mail_id=None if first is None else MailId(first))
    envoi = record_of(EnvoiRecord, row)
    sms = _all(connection, SMS, SmsRecord, envoi=envoi.id)
    return MailLife(
        mail=mail,
        envoi=envoi,
        sms=sms,
        attempts=_all(connection, ATTEMPTS, AttemptRecord, envoi=envoi.id),
        operations=_all(connection, OPERATIONS, OperationRecord, envoi=envoi.id),
        replies=_all(connection, REPLIES, ReplyRecord, envoi=envoi.id),
        reports=reports,
        credit=next((one for one in credit.read_all(connection) if one.account == mail.account), None),
        stops=_stops(connection, sms, mail.account),
        duplicates=tuple(map(MailId, connection.scalars(DUPLICATES, {"envoi": envoi.id}))),
        blocked=read_blocked(connection, sms, now),
    )


def read_refusal(connection: sa.Connection, refusal_id: str) -> RefusalLife | None:
    """The refusal with its reports; None when there is no such refusal."""
    query = sa.select(*columns_of(tables.refusal, RefusalRecord)).where(tables.refusal.c.id == refusal_id)
    row = connection.execute(query).mappings().first()
    if row is None:
        return None
    reports = _all(connection, REFUSAL_REPORTS, ReportRecord, refusal=refusal_id)
    return RefusalLife(refusal=record_of(RefusalRecord, row), reports=reports)


def read_turned_away(connection: sa.Connection, id: str) -> TurnedAwayRecord | None:  # noqa: A002
    """The count of this id; None when there is none, or none any more."""
    row = connection.execute(sa.select(turned_away).where(turned_away.c.id == id)).mappings().first()
    return None if row is None else record_of(TurnedAwayRecord, row)


def _all(connection: sa.Connection, query: sa.Select[Any], record: type[R], **wanted: object) -> tuple[R, ...]:
    return tuple(record_of(record, row) for row in connection.execute(query, wanted).mappings())


def _stops(connection: sa.Connection, sms: Sequence[SmsRecord], account: str) -> tuple[OptOut, ...]:
    """Who says that the numbers of these SMS want nothing, where that stopped one."""
    numbers = {one.msisdn for one in sms if one.code is Code.C11_NUMBER_BLACKLISTED and one.msisdn is not None}
    if not numbers:
        return ()
    listed = tables.optout.c
    query = sa.select(tables.optout).where(listed.account.in_((account, EVERYBODY)), listed.msisdn.in_(sorted(numbers)))
    return tuple(OptOut(**row) for row in connection.execute(query).mappings())


def read_blocked(connection: sa.Connection, sms: Iterable[SmsRecord], now: datetime) -> Mapping[str, Blocked]:
    """Of each lane in which an SMS is due, and stays, or waits for another attempt, what came back last."""
    queued = [one for one in sms if one.state is SmsState.QUEUED]
    due = [one for one in queued if one.attempts > 0 or (one.due_at is not None and one.due_at <= now)]
    found = {}
    for lane in dict.fromkeys(one.lane for one in due if one.lane is not None):
        row = connection.execute(blocked_query(lane, now).limit(1)).first()
        if row is None:
            continue
        of_it = (_attempt.sms_id == row.id, _attempt.epoch == row.epoch)
        found[lane] = Blocked(
            sms_id=SmsId(row.id),
            at=row.since_at,
            provider=row.provider,
            reason=row.reason or "",
            code=row.code,
            raw=connection.scalar(sa.select(_attempt.raw).where(*of_it)),
        )
    return found
