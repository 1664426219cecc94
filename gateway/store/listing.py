"""Lists: mails by any mark, the newest first, and SMS that wait, the oldest first. Reads only.

For a part of a list so many rows are looked at and no more, however rare what is looked for: a part may be short, or
empty, and say where the next begins.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from gateway.ids import floor_id
from gateway.lifecycle import SmsState
from gateway.protocol.codes import Code
from gateway.store import tables
from gateway.store.finding import has, number_query, odd_number_query
from gateway.store.records import (
    EnvoiRecord,
    Found,
    Line,
    MailLine,
    MailRecord,
    RefusalRecord,
    SmsRecord,
    TurnedAwayRecord,
    Waits,
)
from gateway.store.story_tables import SMS_TROUBLE, turned_away
from gateway.store.tables import SMS_OPEN, by_index, one_of
from gateway.store.telling import columns_of, record_of

LOOKED_AT = 5_000
"""Rows that are looked at for one part of a list."""

_MOST_CODES = 3
_RARE = {*SMS_TROUBLE, SmsState.HELD, SmsState.SENDING, SmsState.UNCERTAIN, SmsState.QUEUED}
"""States that few SMS are in, and an index finds."""

_mail = tables.mail.c
_sms = tables.sms.c
_envoi = tables.envoi.c
_refusal = tables.refusal.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """What those that are looked for have; None, or empty: anything."""

    account: str | None = None
    provider: str | None = None
    states: tuple[SmsState, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    msisdn: str | None = None  # E.164
    tel: str | None = None  # a number as it was submitted, that is none
    mails: tuple[str, ...] | None = None  # these alone
    text: str | None = None


# --- mails, refusals, clients turned away ----------------------------------------------------------------------------


def search(connection: sa.Connection, marks: Marks, size: int, after: str | None) -> Found:
    """Mails and refusals with these marks, the newest first, and clients turned away."""
    looked, last = _candidates(connection, marks, after)
    ids = _matching(connection, marks, looked, size + 1)
    of_sms = marks.provider or marks.states or marks.msisdn or marks.tel
    if not of_sms:
        ids += _refused(connection, marks, after, size + 1)
    ids = sorted(ids, reverse=True)
    if last is not None:  # what is older than the last that was looked at is for the next part
        ids = [one for one in ids if one >= last]
    shown, rest = ids[:size], ids[size:]
    next_ = shown[-1] if rest else last
    lines = list(read_lines(connection, shown))
    if after is None and not of_sms and marks.account is None and marks.mails is None:
        lines += _turned_away(connection, marks, size)
    return Found(lines=tuple(sorted(lines, key=at_of, reverse=True)), next=next_)


def at_of(line: Line) -> datetime:
    """When it came; of many, the last."""
    match line:
        case MailLine():
            return line.mail.received_at
        case RefusalRecord():
            return line.refused_at
        case TurnedAwayRecord():
            return line.last_at


def _candidates(connection: sa.Connection, marks: Marks, after: str | None) -> tuple[list[str], str | None]:
    """Mails to look at, and the last of them if there may be more."""
    found: set[str] = set()
    lasts = []
    for query in candidates_queries(marks, after):
        ids = list(connection.scalars(query))
        found.update(ids)
        if len(ids) >= LOOKED_AT:
            lasts.append(min(ids))
    return sorted(found, reverse=True), max(lasts, default=None)


def candidates_queries(marks: Marks, after: str | None) -> list[sa.Select[Any]]:
    """Mails by the mark that tells most of them apart, the newest first."""
    if marks.mails is None and marks.msisdn is None and marks.tel is None and set(marks.states) <= _RARE:
        return [_by_state(state, marks, after) for state in marks.states] or [_by_mail(marks, after)]
    return [_by_mail(marks, after)]


def _by_state(state: SmsState, marks: Marks, after: str | None) -> sa.Select[Any]:
    query = sa.select(_sms.mail_id).where(one_of("sms.state", (state,)))
    query = query.where(*_between(_sms.id, marks, after, _sms.mail_id)).order_by(_sms.id.desc()).limit(LOOKED_AT)
    return by_index(query, tables.sms, "ix_sms_trouble" if state in SMS_TROUBLE else "ix_sms_open")


def _by_mail(marks: Marks, after: str | None) -> sa.Select[Any]:
    within: list[sa.ColumnElement[bool]]
    if marks.mails is not None:
        within = [_mail.id.in_(marks.mails), *_between(_mail.id, marks, after)]
        return sa.select(_mail.id).where(*within).order_by(_mail.id.desc()).limit(LOOKED_AT)
    if marks.msisdn is not None or marks.tel is not None:
        query = odd_number_query(marks.tel or "") if marks.msisdn is None else number_query(marks.msisdn)
        return query.where(*_between(_sms.id, marks, after, _sms.mail_id)).limit(LOOKED_AT)
    query = sa.select(_mail.id).where(*_between(_mail.id, marks, after)).order_by(_mail.id.desc()).limit(LOOKED_AT)
    if marks.account is None:
        return query
    return by_index(query.where(_mail.account == marks.account), tables.mail, "ix_mail_account")


def _between(
    key: sa.ColumnElement[Any], marks: Marks, after: str | None, mail_id: sa.ColumnElement[Any] | None = None
) -> list[sa.ColumnElement[bool]]:
    """Ids begin with their time; an SMS has that of its mail, or one a little later."""
    conditions = []
    if marks.since is not None:
        conditions.append(key >= floor_id(marks.since))
    if marks.until is not None:
        conditions.append(key < floor_id(marks.until))
    if after is not None:
        conditions.append((key if mail_id is None else mail_id) < after)
    return conditions


def _matching(connection: sa.Connection, marks: Marks, ids: Sequence[str], size: int) -> list[str]:
    """Those of the mails that have all the marks, the newest first."""
    if not ids:
        return []
    query = sa.select(_mail.id).where(_mail.id.in_(ids))
    if marks.account is not None:
        query = query.where(_mail.account == marks.account)
    of_sms: list[sa.ColumnElement[bool] | sa.TextClause] = []
    if marks.states:
        of_sms.append(_sms.state.in_(marks.states))
    if marks.provider is not None:
        of_sms.append(_sms.provider == marks.provider)
    if marks.msisdn is not None:
        of_sms.append(_sms.msisdn == marks.msisdn)
    elif marks.tel is not None:
        of_sms.append(sa.and_(_sms.tel == marks.tel, _sms.msisdn.is_(None)))
    if marks.text is not None:
        of_sms.append(sa.or_(has(_sms.text, marks.text), has(_sms.reason, marks.text)))
    if of_sms:
        its = tables.envoi.join(tables.sms, _sms.envoi_id == _envoi.id)
        found = sa.select(sa.literal(1)).select_from(its).where(_envoi.mail_id == _mail.id, *of_sms)
        query = query.where(found.exists())
    return list(connection.scalars(query.order_by(_mail.id.desc()).limit(size)))


def _refused(connection: sa.Connection, marks: Marks, after: str | None, size: int) -> list[str]:
    query = sa.select(_refusal.id)
    if marks.since is not None:
        query = query.where(_refusal.refused_at >= marks.since)
    if marks.until is not None:
        query = query.where(_refusal.refused_at < marks.until)
    if marks.mails is not None:
        query = query.where(_refusal.id.in_(marks.mails))
    if after is not None:
        query = query.where(_refusal.id < after)
    some = query.order_by(_refusal.refused_at.desc()).limit(LOOKED_AT).subquery()
    wanted = sa.select(_refusal.id).where(_refusal.id.in_(sa.select(some.c.id)))
    if marks.account is not None:
        wanted = wanted.where(_refusal.account == marks.account)
    if marks.text is not None:
        wanted = wanted.where(sa.or_(has(_refusal.cause, marks.text), has(_refusal.reply, marks.text)))
    return list(connection.scalars(wanted.order_by(_refusal.id.desc()).limit(size)))


def _turned_away(connection: sa.Connection, marks: Marks, size: int) -> list[Line]:
    query = sa.select(turned_away)
    if marks.since is not None:
        query = query.where(turned_away.c.last_at >= marks.since)
    if marks.until is not None:
        query = query.where(turned_away.c.first_at < marks.until)
    if marks.text is not None:
        said = has(turned_away.c.reply, marks.text), has(turned_away.c.sender, marks.text)
        query = query.where(sa.or_(*said))
    rows = connection.execute(query.order_by(turned_away.c.last_at.desc()).limit(size)).mappings()
    return [record_of(TurnedAwayRecord, row) for row in rows]


# --- lines -----------------------------------------------------------------------------------------------------------


def read_lines(connection: sa.Connection, ids: Sequence[str]) -> tuple[Line, ...]:
    """What a list says of these mails, refusals and counts; those that are none of them are left out."""
    if not ids:
        return ()
    lines: list[Line] = list(_mail_lines(connection, ids))
    refused = sa.select(*columns_of(tables.refusal, RefusalRecord)).where(_refusal.id.in_(ids))
    lines += [record_of(RefusalRecord, row) for row in connection.execute(refused).mappings()]
    away = sa.select(turned_away).where(turned_away.c.id.in_(ids))
    lines += [record_of(TurnedAwayRecord, row) for row in connection.execute(away).mappings()]
    return tuple(sorted(lines, key=at_of, reverse=True))


def _mail_lines(connection: sa.Connection, ids: Sequence[str]) -> Iterable[MailLine]:
    mails = sa.select(*columns_of(tables.mail, MailRecord)).where(_mail.id.in_(ids))
    found = [record_of(MailRecord, row) for row in connection.execute(mails).mappings()]
    asked = sa.select(_envoi.mail_id, *columns_of(tables.envoi, EnvoiRecord)).where(_envoi.mail_id.in_(ids))
    envois = {row["mail_id"]: row for row in connection.execute(asked).mappings()}
    own = [row["id"] for row in envois.values()]
    counted = (
        sa.select(_sms.envoi_id, _sms.state, _sms.code, sa.func.count().label("number"))
        .where(_sms.envoi_id.in_(own))
        .group_by(_sms.envoi_id, _sms.state, _sms.code)
    )
    states: dict[str, dict[SmsState, int]] = {}
    codes: dict[str, dict[Code, int]] = {}
    for row in connection.execute(counted) if own else ():
        of_it = states.setdefault(row.envoi_id, {})
        of_it[row.state] = of_it.get(row.state, 0) + row.number
        if row.code is not None:
            its = codes.setdefault(row.envoi_id, {})
            its[row.code] = its.get(row.code, 0) + row.number
    for mail in found:
        envoi = envois.get(mail.id)
        key = None if envoi is None else envoi["id"]
        by_number = sorted(codes.get(key or "", {}).items(), key=lambda one: -one[1])
        yield MailLine(
            mail=mail,
            email_id=None if envoi is None else envoi["email_id"],
            envoi_id=key,
            fault=None if envoi is None else envoi["fault"],
            states=states.get(key or "", {}),
            codes=tuple(code for code, _ in by_number[:_MOST_CODES]),
        )


# --- SMS that wait ---------------------------------------------------------------------------------------------------

WAITING = (SmsState.HELD, SmsState.UNCERTAIN, SmsState.SENDING, SmsState.QUEUED)
"""Unless others are asked for. What a carrier accepted waits for nothing but its word."""


def queue(connection: sa.Connection, marks: Marks, size: int, after: str | None) -> Waits:
    """SMS in these states (`WAITING` unless given) with these marks, the longest in its state first.

    `after` is `next` of the part before.
    """
    most = size + 1 if marks == Marks(states=marks.states) else LOOKED_AT
    found: dict[str, str] = {}  # the ids, by place
    ends: list[str] = []
    for state in marks.states or WAITING:
        rows = connection.execute(queue_query(state, marks, after).limit(most)).all()
        if len(rows) >= most:
            ends.append(_place(rows[-1]))
        found |= {_place(row): row.id for row in rows if _has_marks(row, marks)}
    end = min(ends, default=None)
    places = sorted(place for place in found if end is None or place <= end)
    shown = places[:size]
    whole = sa.select(*columns_of(tables.sms, SmsRecord)).where(_sms.id.in_([found[place] for place in shown]))
    records = (record_of(SmsRecord, row) for row in connection.execute(whole).mappings()) if shown else ()
    by_id: dict[str, SmsRecord] = {record.id: record for record in records}
    sms = tuple(by_id[found[place]] for place in shown)
    return Waits(sms=sms, next=shown[-1] if len(places) > size else end)


def queue_query(state: SmsState, marks: Marks, after: str | None) -> sa.Select[Any]:
    """SMS in the state by the mark that tells most of them apart, the longest in it first."""
    query = sa.select(_sms.id, _sms.since_at, _sms.account, _sms.provider, _sms.msisdn, _sms.tel, _sms.reason)
    query = query.add_columns(sa.null().label("text") if marks.text is None else _sms.text)
    query = query.where(one_of("sms.state", (state,)))
    if after is not None:
        since, _, last = after.partition(" ")
        since_at = datetime.fromisoformat(since)
        later = sa.and_(_sms.since_at == since_at, _sms.id > last)
        query = query.where(_sms.since_at >= since_at, sa.or_(_sms.since_at > since_at, later))
    query = query.order_by(_sms.since_at, _sms.id)
    if marks.mails is not None:
        return query.where(_sms.envoi_id.in_(sa.select(_envoi.id).where(_envoi.mail_id.in_(marks.mails))))
    if marks.msisdn is not None:
        return by_index(query.where(_sms.msisdn == marks.msisdn), tables.sms, "ix_sms_msisdn")
    if state in SMS_OPEN:
        return by_index(query, tables.sms, "ix_sms_open")
    return query


def _place(row: sa.Row[Any]) -> str:
    return f"{row.since_at.isoformat(timespec='microseconds')} {row.id}"


def _has_marks(row: sa.Row[Any], marks: Marks) -> bool:
    return (
        (marks.account is None or row.account == marks.account)
        and (marks.provider is None or row.provider == marks.provider)
        and (marks.msisdn is None or row.msisdn == marks.msisdn)
        and (marks.tel is None or marks.msisdn is not None or row.tel == marks.tel)
        and (marks.since is None or row.id >= floor_id(marks.since))
        and (marks.until is None or row.id < floor_id(marks.until))
        and (marks.text is None or marks.text.lower() in f"{row.text or ''}\n{row.reason or ''}".lower())
    )
