"""The list of SMS that wait, the longest in its state first. Reads only.

Those at their end are in it when they are asked for: behind the others, the first that came first, because no index has
them by time. As with mails, so many rows are looked at for a part of the list and no more.
"""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from gateway.ids import floor_id
from gateway.lifecycle import SmsState
from gateway.store import tables
from gateway.store.finding import has
from gateway.store.listing import Marks
from gateway.store.records import SmsRecord, Waits
from gateway.store.story_tables import SMS_TROUBLE
from gateway.store.tables import SMS_OPEN, by_index, one_of
from gateway.store.telling import columns_of, record_of

LOOKED_AT = 5_000
"""SMS that are looked at for one part of the list, of each state."""

WAITING = (SmsState.HELD, SmsState.UNCERTAIN, SmsState.SENDING, SmsState.QUEUED)
"""Unless others are asked for. What a carrier accepted waits for nothing but its word."""

_AT_ITS_END = datetime.max.replace(tzinfo=UTC)
"""Stands for the time in its state of an SMS that waits no more: behind all others."""

_sms = tables.sms.c
_envoi = tables.envoi.c


def queue(connection: sa.Connection, marks: Marks, size: int, after: str | None) -> Waits:
    """SMS in these states (`WAITING` unless given) with these marks, the longest in its state first.

    `after` is `next` of the part before; ValueError when it is none.
    """
    found: dict[str, str] = {}  # the ids, by place
    ends: list[str] = []
    for state in marks.states or WAITING:
        rows = connection.execute(queue_query(state, marks, after, size + 1)).all()
        found |= {_place(state, row): row.id for row in rows}
        last = rows[-1] if len(rows) > size else connection.execute(last_looked_at_query(state, marks, after)).first()
        if last is not None:
            ends.append(_place(state, last))
    end = min(ends, default=None)
    places = sorted(place for place in found if end is None or place <= end)
    shown = places[:size]
    whole = sa.select(*columns_of(tables.sms, SmsRecord)).where(_sms.id.in_([found[place] for place in shown]))
    records = (record_of(SmsRecord, row) for row in connection.execute(whole).mappings()) if shown else ()
    by_id: dict[str, SmsRecord] = {record.id: record for record in records}
    sms = tuple(by_id[found[place]] for place in shown)
    return Waits(sms=sms, next=shown[-1] if len(places) > size else end)


def queue_query(state: SmsState, marks: Marks, after: str | None, size: int) -> sa.Select[Any]:
    """The first in the state and with the marks, of the SMS that are looked at."""
    more: list[sa.Column[Any]] = [_sms.state, _sms.account, _sms.provider, _sms.tel]
    if marks.text is not None:  # they are long, and would be sorted with the rest
        more += [_sms.text, _sms.reason]
    looked = _looked_at(state, marks, after, *more).limit(LOOKED_AT).subquery().c
    within: list[sa.ColumnElement[bool]] = [looked.state == state]
    if marks.account is not None:
        within.append(looked.account == marks.account)
    if marks.provider is not None:
        within.append(looked.provider == marks.provider)
    if marks.msisdn is None and marks.tel is not None:
        within.append(looked.tel == marks.tel)
    if marks.since is not None:
        within.append(looked.id >= floor_id(marks.since))
    if marks.until is not None:
        within.append(looked.id < floor_id(marks.until))
    if marks.text is not None:
        within.append(sa.or_(has(looked.text, marks.text), has(looked.reason, marks.text)))
    if len(within) == 1 and state is not SmsState.DELIVERED:  # as they come
        return _looked_at(state, marks, after).limit(size)
    order = (looked.since_at, looked.id) if state in SMS_OPEN else (looked.id,)
    return sa.select(looked.id, looked.since_at).where(*within).order_by(*order).limit(size)


def last_looked_at_query(state: SmsState, marks: Marks, after: str | None) -> sa.Select[Any]:
    """The last of the SMS that are looked at; none: all are."""
    return _looked_at(state, marks, after).limit(1).offset(LOOKED_AT - 1)


def _looked_at(state: SmsState, marks: Marks, after: str | None, *more: sa.Column[Any]) -> sa.Select[Any]:
    """SMS by the mark that tells most of them apart, in the order of the list.

    They are in the state, but for `DELIVERED`, which nearly all are at last: those that have it are among all.
    """
    query = sa.select(_sms.id, _sms.since_at, *more)
    if state is not SmsState.DELIVERED:
        query = query.where(one_of("sms.state", (state,)))
    query = _in_order(query, state, after)
    if marks.mails is not None:
        return query.where(_sms.envoi_id.in_(sa.select(_envoi.id).where(_envoi.mail_id.in_(marks.mails))))
    if marks.msisdn is not None:
        of_number = (_sms.msisdn == marks.msisdn, _sms.msisdn.is_not(None))
        return by_index(query.where(*of_number), tables.sms, "ix_sms_msisdn")
    if state in SMS_OPEN:
        return by_index(query, tables.sms, "ix_sms_open")
    return by_index(query, tables.sms, "ix_sms_trouble") if state in SMS_TROUBLE else query


def _in_order(query: sa.Select[Any], state: SmsState, after: str | None) -> sa.Select[Any]:
    """The query, from behind this place on."""
    since, _, last = (after or "").partition(" ")
    since_at = datetime.fromisoformat(since) if since else None
    if since_at is not None and since_at.tzinfo is None:
        raise ValueError(f"no place of ours: {since}")
    if state not in SMS_OPEN:
        return (query.where(_sms.id > last) if since_at == _AT_ITS_END else query).order_by(_sms.id)
    if since_at is not None:
        later = sa.and_(_sms.since_at == since_at, _sms.id > last)
        query = query.where(_sms.since_at >= since_at, sa.or_(_sms.since_at > since_at, later))
    return query.order_by(_sms.since_at, _sms.id)


def _place(state: SmsState, row: sa.Row[Any]) -> str:
    since = row.since_at if state in SMS_OPEN else _AT_ITS_END
    return f"{since.isoformat(timespec='microseconds')} {row.id}"
