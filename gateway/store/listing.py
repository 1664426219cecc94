"""Lists of mails by any mark, the newest first. Reads only; `queue_listing` lists SMS.

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
    TurnedAwayRecord,
)
from gateway.store.story_tables import SMS_TROUBLE, turned_away
from gateway.store.tables import by_index, one_of
from gateway.store.telling import columns_of, record_of

LOOKED_AT = 5_000
"""Rows that are looked at for one part of a list."""
SMS_LOOKED_AT = 10_000
"""SMS of these rows, where only they tell whether a mail is looked for: 20 ms on SQLite."""
_FIRST_PART = 10
"""So small a part of them is looked at first, which is enough for what many have."""

_MOST_CODES = 3
_FEW = {SmsState.HELD, SmsState.SENDING, SmsState.UNCERTAIN, SmsState.QUEUED}
"""States that few SMS are in, unless a carrier is down."""

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
    queries = candidates_queries(connection, marks, after)
    if queries:
        ids, last = _candidates(connection, marks, queries, size + 1)
    else:
        ids, last = _newest(connection, marks, size + 1, after)
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


def _candidates(
    connection: sa.Connection, marks: Marks, queries: Iterable[sa.Select[Any]], size: int
) -> tuple[list[str], str | None]:
    """Those of the candidates that have all the marks, and the last that was looked at if there may be more."""
    found: set[str] = set()
    lasts = []
    for query in queries:
        ids = list(connection.scalars(query))
        found.update(ids)
        if len(ids) >= LOOKED_AT:
            lasts.append(min(ids))
    return _matching(connection, marks, sorted(found, reverse=True), size), max(lasts, default=None)


def candidates_queries(connection: sa.Connection, marks: Marks, after: str | None) -> list[sa.Select[Any]]:
    """Mails by a mark that few have; none: there is no such mark, and the newest are to be looked through."""
    if marks.mails is not None:
        within = [_mail.id.in_(marks.mails), *_between(_mail.id, marks, after)]
        return [sa.select(_mail.id).where(*within).order_by(_mail.id.desc()).limit(LOOKED_AT)]
    if marks.msisdn is not None or marks.tel is not None:
        query = odd_number_query(marks.tel or "") if marks.msisdn is None else number_query(marks.msisdn)
        return [query.where(*_between(_sms.id, marks, after, _sms.mail_id)).limit(LOOKED_AT)]
    if all(_is_rare(connection, state) for state in marks.states):
        return [_by_state(state, marks, after) for state in marks.states]
    return []


def _is_rare(connection: sa.Connection, state: SmsState) -> bool:
    """True when an index finds the SMS in the state, and reads only so many."""
    if state in SMS_TROUBLE:
        return True
    return state in _FEW and (connection.scalar(number_in_query(state)) or 0) <= LOOKED_AT


def number_in_query(state: SmsState) -> sa.Select[Any]:
    """How many SMS are in the state, one more than are looked at if there are more."""
    some = sa.select(_sms.since_at).where(one_of("sms.state", (state,))).limit(LOOKED_AT + 1)
    return sa.select(sa.func.count()).select_from(by_index(some, tables.sms, "ix_sms_open").subquery())


def _by_state(state: SmsState, marks: Marks, after: str | None) -> sa.Select[Any]:
    query = sa.select(_sms.mail_id).where(one_of("sms.state", (state,)))
    query = query.where(*_between(_sms.id, marks, after, _sms.mail_id)).order_by(_sms.id.desc()).limit(LOOKED_AT)
    return by_index(query, tables.sms, "ix_sms_trouble" if state in SMS_TROUBLE else "ix_sms_open")


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


def _newest(connection: sa.Connection, marks: Marks, size: int, after: str | None) -> tuple[list[str], str | None]:
    """The newest mails that have the marks, and the last that was looked at if there may be more."""
    if not _marks_of_sms(marks):
        return list(connection.scalars(mails_query(marks, after).limit(size))), None
    for part in (_FIRST_PART, 1):
        most, most_sms = max(1, LOOKED_AT // part), max(1, SMS_LOOKED_AT // part)
        ids, last = _look_through(connection, marks, after, most, most_sms)
        if last is None or len(ids) >= size:
            break
    return ids, last


def _look_through(
    connection: sa.Connection, marks: Marks, after: str | None, most: int, most_sms: int
) -> tuple[list[str], str | None]:
    """Those of the newest mails that an SMS has the marks of, and the last that was looked at if there may be more."""
    query = mails_query(marks, after)
    last: str | None = connection.scalar(query.limit(1).offset(most - 1))
    mails = query if last is None else query.where(_mail.id >= last)
    rows = connection.execute(sms_of_query(marks, mails, most_sms)).all()
    ids = [row.mail_id for row in rows if row.is_it]
    if sum(row.number for row in rows) >= most_sms:
        last = rows[-1].mail_id
        if not rows[-1].is_it:  # perhaps by an SMS that was not read
            ids += _matching(connection, marks, [rows[-1].mail_id], 1)
    return ids, last


def mails_query(marks: Marks, after: str | None) -> sa.Select[Any]:
    """Mails of the time and the account, the newest first."""
    query = sa.select(_mail.id).where(*_between(_mail.id, marks, after)).order_by(_mail.id.desc())
    if marks.account is None:
        return query
    return by_index(query.where(_mail.account == marks.account), tables.mail, "ix_mail_account")


def sms_of_query(marks: Marks, mails: sa.Select[Any], most: int) -> sa.Select[Any]:
    """The first of these mails, as many as have so many SMS: how many, and whether one of them has the marks."""
    is_it = sa.case((sa.and_(*_marks_of_sms(marks)), 1), else_=0)
    # Outer joins are read from left to right; of others SQLite may begin with all SMS, and sort them
    with_envoi = tables.mail.outerjoin(tables.envoi, _envoi.mail_id == _mail.id)
    its = with_envoi.outerjoin(tables.sms, _sms.envoi_id == _envoi.id)
    some = mails.select_from(its).with_only_columns(_mail.id.label("mail_id"), is_it.label("is_it"))
    each = some.limit(most).subquery().c
    numbers = sa.func.count().label("number"), sa.func.max(each.is_it).label("is_it")
    return sa.select(each.mail_id, *numbers).group_by(each.mail_id).order_by(each.mail_id.desc())


def _matching(connection: sa.Connection, marks: Marks, ids: Sequence[str], size: int) -> list[str]:
    """Those of the mails that have all the marks, the newest first."""
    if not ids:
        return []
    query = sa.select(_mail.id).where(_mail.id.in_(ids))
    if marks.account is not None:
        query = query.where(_mail.account == marks.account)
    of_sms = _marks_of_sms(marks)
    if of_sms:
        its = tables.envoi.join(tables.sms, _sms.envoi_id == _envoi.id)
        found = sa.select(sa.literal(1)).select_from(its).where(_envoi.mail_id == _mail.id, *of_sms)
        query = query.where(found.exists())
    return list(connection.scalars(query.order_by(_mail.id.desc()).limit(size)))


def _marks_of_sms(marks: Marks) -> list[sa.ColumnElement[bool]]:
    """What an SMS of the mail must have."""
    found: list[sa.ColumnElement[bool]] = []
    if marks.states:
        found.append(_sms.state.in_(marks.states))
    if marks.provider is not None:
        found.append(_sms.provider == marks.provider)
    if marks.msisdn is not None:
        found.append(_sms.msisdn == marks.msisdn)
    elif marks.tel is not None:
        found.append(sa.and_(_sms.tel == marks.tel, _sms.msisdn.is_(None)))
    if marks.text is not None:
        found.append(sa.or_(has(_sms.text, marks.text), has(_sms.reason, marks.text)))
    return found


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
