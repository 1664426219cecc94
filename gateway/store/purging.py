"""Erasing: first contents, later records, and one person at once. What still waits for anything is left alone.

Contents are the mail, the texts, carriers' answers and the reports. Records say that there was a mail, to which numbers
it went and what became of each SMS. Which emailIds are used up outlives both (docs/protocol.md §7.1), so nothing is
ever sent again because it was forgotten here.

SQLite overwrites what it erases where it was built so, as Debian's is (`secure_delete`); the room is used again by new
rows, the file does not shrink. Backups know nothing of it: they have their own age.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from gateway.store import quotas, tables, turning_away
from gateway.store.console import purge_actions
from gateway.store.story_tables import operation
from gateway.store.tables import REPORT_OPEN, SMS_OPEN, by_index, one_of

_mail = tables.mail.c
_envoi = tables.envoi.c
_sms = tables.sms.c
_report = tables.report.c
_reply = tables.reply.c
_refusal = tables.refusal.c

FORGOTTEN = "forgotten"
"""What stands where a number was."""

_BETWEEN_DIGITS = re.compile(r"(?<=\d)[ ./()\-]{1,3}(?=\d)")
_ENOUGH_DIGITS = 8
"""The end of a number by which it is found in what others wrote, with a country code or without."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Purged:
    """How many rows one step took care of; each is at most its limit, and less when nothing is left."""

    mails: int = 0
    refusals: int = 0
    replies: int = 0

    @property
    def most(self) -> int:
        """The largest of them."""
        return max(self.mails, self.refusals, self.replies)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """What was erased of one person."""

    sms: int
    mails: int  # that they were in
    replies: int
    waiting: int  # SMS of mails of which something is not over yet: nothing of these was erased
    is_on_stop_list: bool  # which stays, for it is what they asked for


# --- what is over ----------------------------------------------------------------------------------------------------

_OPEN_SMS = (
    sa.select(sa.literal(1))
    .select_from(tables.envoi.join(tables.sms, _sms.envoi_id == _envoi.id))
    .where(_envoi.mail_id == _mail.id, one_of("sms.state", SMS_OPEN))
    .exists()
)
_OPEN_REPORT = sa.select(sa.literal(1)).where(_report.mail_id == _mail.id, one_of("report.state", REPORT_OPEN)).exists()
_IS_OVER = sa.and_(~_OPEN_SMS, ~_OPEN_REPORT)


def contents_query(before: datetime, limit: int) -> sa.Select[Any]:
    """The mails whose contents are there and older, of which nothing waits; the oldest first."""
    query = (
        sa.select(_mail.id)
        .where(_mail.purged_at.is_(None), _mail.received_at < before, _IS_OVER)
        .order_by(_mail.received_at)
        .limit(limit)
    )
    return by_index(query, tables.mail, "ix_mail_contents")


def records_query(before: datetime, limit: int) -> sa.Select[Any]:
    """The mails that are older and whose contents are erased; the oldest first."""
    query = (
        sa.select(_mail.id)
        .where(_mail.purged_at.is_not(None), _mail.received_at < before, _IS_OVER)
        .order_by(_mail.received_at)
        .limit(limit)
    )
    return by_index(query, tables.mail, "ix_mail_purged")


def refusals_query(before: datetime, limit: int) -> sa.Select[Any]:
    """The refusals that are older, whose reports are sent; the oldest first."""
    open_report = sa.select(sa.literal(1)).where(_report.refusal_id == _refusal.id, one_of("report.state", REPORT_OPEN))
    return (
        sa.select(_refusal.id)
        .where(_refusal.refused_at < before, ~open_report.exists())
        .order_by(_refusal.refused_at)
        .limit(limit)
    )


_OPEN_REPLY_REPORT = (
    sa.select(sa.literal(1)).where(_report.reply_id == _reply.id, one_of("report.state", REPORT_OPEN)).exists()
)


def replies_query(before: datetime, limit: int, *, is_purged: bool) -> sa.Select[Any]:
    """The replies that are older, whose mails are sent; the oldest first."""
    purged = _reply.purged_at.is_not(None) if is_purged else _reply.purged_at.is_(None)
    return (
        sa.select(_reply.id)
        .where(purged, _reply.received_at < before, ~_OPEN_REPLY_REPORT)
        .order_by(_reply.received_at)
        .limit(limit)
    )


def refused_reports_query(before: datetime, limit: int) -> sa.Select[Any]:
    """The reports of refusals that were made before then, are over and have a body, which may name a number."""
    query = sa.select(_report.id).where(
        _report.refusal_id.is_not(None),
        _report.created_at < before,
        _report.settled_at.is_not(None),
        sa.func.length(_report.body) > 0,
    )
    return by_index(query.limit(limit), tables.report, "ix_report_refusal")


# --- the steps -------------------------------------------------------------------------------------------------------


def purge_contents(connection: sa.Connection, before: datetime, now: datetime, limit: int) -> Purged:
    """Of at most `limit` each of mails, replies and reports of refusals before then the contents are erased, if over.

    Whoever was turned away before then is not known any more, nor for longer than `turning_away.KEPT`.
    """
    mails = connection.scalars(contents_query(before, limit)).all()
    _empty_mails(connection, mails, now)
    _empty_sms(connection, sa.select(_sms.id).where(_sms.envoi_id.in_(_envois_of(mails))), mails)
    replies = connection.scalars(replies_query(before, limit, is_purged=False)).all()
    _empty_replies(connection, replies, now, {"text": "", "raw": ""})
    reports = connection.scalars(refused_reports_query(before, limit)).all()
    _empty_reports(connection, reports)
    turning_away.forget_older(connection, max(before, now - turning_away.KEPT))
    return Purged(mails=len(mails), refusals=len(reports), replies=len(replies))


def purge_records(connection: sa.Connection, before: datetime, limit: int) -> Purged:
    """At most `limit` each of mails, refusals and replies that came before then, and are over, are gone."""
    mails = connection.scalars(records_query(before, limit)).all()
    if mails:
        envois = _envois_of(mails)
        own_sms = sa.select(_sms.id).where(_sms.envoi_id.in_(envois))
        connection.execute(tables.report.delete().where(_report.mail_id.in_(mails)))
        connection.execute(tables.attempt.delete().where(tables.attempt.c.sms_id.in_(own_sms)))
        connection.execute(operation.delete().where(operation.c.sms_id.in_(own_sms)))
        connection.execute(tables.sms.delete().where(_sms.envoi_id.in_(envois)))
        connection.execute(tables.envoi.delete().where(_envoi.mail_id.in_(mails)))
        connection.execute(tables.mail.delete().where(_mail.id.in_(mails)))
    refusals = connection.scalars(refusals_query(before, limit)).all()
    if refusals:
        connection.execute(tables.report.delete().where(_report.refusal_id.in_(refusals)))
        connection.execute(tables.refusal.delete().where(_refusal.id.in_(refusals)))
    replies = connection.scalars(replies_query(before, limit, is_purged=True)).all()
    if replies:
        connection.execute(tables.report.delete().where(_report.reply_id.in_(replies)))
        connection.execute(tables.reply.delete().where(_reply.id.in_(replies)))
    purge_actions(connection, before)
    return Purged(mails=len(mails), refusals=len(refusals), replies=len(replies))


def forget(connection: sa.Connection, msisdn: str, now: datetime, limit: int) -> Forgotten:
    """Of at most `limit` SMS to the number, of replies from it, and of what was refused, nothing is left that names it.

    What is erased of a mail is erased for all it went to: the mail itself and its reports. An SMS of a mail of which
    anything is not over yet is left for later, and counted.
    """
    of_number = sa.select(_sms.id, _envoi.mail_id, _IS_OVER.label("is_over")).where(_sms.msisdn == msisdn)
    joined = tables.sms.join(tables.envoi, _envoi.id == _sms.envoi_id).join(tables.mail, _mail.id == _envoi.mail_id)
    found = connection.execute(of_number.select_from(joined).order_by(_sms.id).limit(limit)).all()
    over = [row for row in found if row.is_over]
    mails = sorted({row.mail_id for row in over})
    ids = [row.id for row in over]
    _empty_mails(connection, mails, now)
    _empty_sms(connection, ids, mails)
    if ids:
        connection.execute(tables.sms.update().where(_sms.id.in_(ids)).values(msisdn=None, tel=FORGOTTEN))
    replies = connection.scalars(
        sa.select(_reply.id).where(_reply.msisdn == msisdn, ~_OPEN_REPLY_REPORT).limit(limit)
    ).all()
    _empty_replies(connection, replies, now, {"text": "", "raw": "", "msisdn": FORGOTTEN})
    for table in (tables.receipt, tables.reply_part):
        connection.execute(table.delete().where(table.c.msisdn == msisdn))
    quotas.forget_number(connection, msisdn)
    is_named = _finder(msisdn)
    _empty_reports(connection, _refused_reports_with(connection, is_named))
    turning_away.forget_where(connection, is_named)
    listed = sa.select(sa.literal(1)).where(tables.optout.c.msisdn == msisdn).limit(1)
    return Forgotten(
        sms=len(ids),
        mails=len(mails),
        replies=len(replies),
        waiting=len(found) - len(over),
        is_on_stop_list=connection.scalar(listed) is not None,
    )


def _envois_of(mails: Sequence[str]) -> sa.Select[Any]:
    return sa.select(_envoi.id).where(_envoi.mail_id.in_(mails))


def _empty_mails(connection: sa.Connection, mails: Sequence[str], now: datetime) -> None:
    if mails:
        connection.execute(tables.mail.update().where(_mail.id.in_(mails)).values(raw=b"", purged_at=now))


def _empty_sms(connection: sa.Connection, ids: Sequence[str] | sa.Select[Any], mails: Sequence[str]) -> None:
    """Texts and carriers' answers of these SMS are gone, and the reports of the mails, which show them."""
    if not mails:
        return
    attempts = tables.attempt.update().where(tables.attempt.c.sms_id.in_(ids))
    connection.execute(attempts.values(raw=None, learnt_raw=None))
    connection.execute(tables.sms.update().where(_sms.id.in_(ids)).values(text=None))
    connection.execute(tables.report.update().where(_report.mail_id.in_(mails)).values(body=b""))


def _empty_replies(connection: sa.Connection, replies: Sequence[str], now: datetime, values: dict[str, str]) -> None:
    if replies:
        connection.execute(tables.reply.update().where(_reply.id.in_(replies)).values(purged_at=now, **values))
        own = tables.report.update().where(_report.reply_id.in_(replies))
        connection.execute(own.values(body=b"", subject=None))  # which names who wrote


def _empty_reports(connection: sa.Connection, reports: Sequence[str]) -> None:
    if reports:
        connection.execute(tables.report.update().where(_report.id.in_(reports)).values(body=b""))


def _finder(msisdn: str) -> Callable[[str], bool]:
    """Return what tells whether a text names the number, however it is written; rather once too often than not."""
    end = msisdn[-_ENOUGH_DIGITS:]
    return lambda text: end in _BETWEEN_DIGITS.sub("", text)


def _refused_reports_with(connection: sa.Connection, is_named: Callable[[str], bool]) -> list[str]:
    """The Not of a refused mail says which number it was for, and there is no SMS by which it could be found."""
    query = sa.select(_report.id, _report.body).where(
        _report.refusal_id.is_not(None), _report.settled_at.is_not(None), sa.func.length(_report.body) > 0
    )
    rows = connection.execute(by_index(query, tables.report, "ix_report_refusal"))
    return [row.id for row in rows if is_named(row.body.decode("latin-1"))]
