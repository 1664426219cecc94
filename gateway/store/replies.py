"""What was answered by SMS: stored once, with everything that follows from it, in one transaction.

A carrier calls again when it did not hear our answer, so every reply is recognised when it comes again: a whole one by
its marks, a part of a long one by its place. Parts are kept for a while after they were joined, for that alone.

Diagnostics: none; who calls tells.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from gateway.ids import new_id
from gateway.lifecycle import ReplyId, SmsId
from gateway.store import stopping, tables
from gateway.store.inserts import insert_all
from gateway.store.order_rows import report_row
from gateway.store.staging import Writers
from gateway.store.stoplist import OptOut, OptOutSource
from gateway.store.tables import by_index
from gateway.store.two_way import (
    AnsweredSms,
    NewPart,
    NewReply,
    PartKey,
    ReplyIncomplete,
    ReplyKnown,
    ReplyOutcome,
    ReplyRules,
    ReplyStored,
    Stopped,
    TakenReply,
)

ANSWERS_WITHIN = timedelta(days=30)
"""A reply that does not say which SMS it answers is taken to answer the last one, if it moved this lately."""

_LOOKED_AT = 1000
"""So many of the latest SMS to a number are looked at for that."""

_sms = tables.sms.c
_part = tables.reply_part.c


def mark_of(*values: str) -> bytes:
    """What is the same when the same reply comes again."""
    digest = hashlib.sha256()
    for value in values:
        octets = value.encode("utf-8", "surrogatepass")
        digest.update(len(octets).to_bytes(4, "big") + octets)
    return digest.digest()


def take(connection: sa.Connection, new: NewReply, rules: ReplyRules, writers: Writers) -> ReplyOutcome:
    """The reply is stored, or was before; a part of one that lacks others waits for them."""
    if new.part is None:
        return _store(connection, new, rules, writers)
    return _take_part(connection, new, new.part, rules, writers)


# --- a whole reply ---------------------------------------------------------------------------------------------------


def _store(
    connection: sa.Connection,
    new: NewReply,
    rules: ReplyRules,
    writers: Writers,
    *,
    parts: tuple[int, ...] = (1,),
    total: int = 1,
) -> ReplyOutcome:
    if _is_known(connection, new.marks):
        return ReplyKnown()
    answers = _find_answered(connection, new)
    taken = TakenReply(
        id=ReplyId(new_id(new.received_at)),
        received_at=new.received_at,
        provider=new.provider,
        msisdn=new.msisdn,
        sent_to=new.sent_to,
        text=new.text,
        is_stop=new.is_stop or rules.is_stop(new.text),
        account=answers.account if answers else rules.owners.get(new.provider),
        answers=answers,
        parts=parts,
        total=total,
    )
    if not _insert(connection, taken, new):
        return ReplyKnown()  # the same callback twice at once
    stopped = _heed(connection, taken, rules, writers)
    report = rules.render(taken)
    if report is not None:
        insert_all(connection, tables.report, [report_row(report, report.due_at, reply_id=taken.id)])
    return ReplyStored(reply=taken, stopped=stopped, report=report.id if report else None)


def _is_known(connection: sa.Connection, marks: Sequence[bytes]) -> bool:
    known = sa.select(tables.reply.c.id).where(tables.reply.c.fingerprint.in_(marks)).limit(1)
    return connection.scalar(known) is not None


def _insert(connection: sa.Connection, taken: TakenReply, new: NewReply) -> bool:
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    row = {
        "id": taken.id,
        "received_at": taken.received_at,
        "provider": taken.provider,
        "msisdn": taken.msisdn,
        "sent_to": taken.sent_to,
        "text": taken.text,
        "is_stop": taken.is_stop,
        "account": taken.account,
        "sms_id": taken.answers.sms_id if taken.answers else None,
        "fingerprint": new.marks[0],
        "raw": new.raw,
    }
    inserted = insert(tables.reply).values(row).on_conflict_do_nothing(index_elements=[tables.reply.c.fingerprint])
    return connection.scalar(inserted.returning(tables.reply.c.id)) is not None


def _heed(connection: sa.Connection, taken: TakenReply, rules: ReplyRules, writers: Writers) -> Stopped:
    """The number is on the list when it asked for that, and what waited for it is cancelled (docs/protocol.md §8.6)."""
    if taken.stops is None:
        return Stopped()
    optout = OptOut(
        account=taken.stops,
        msisdn=taken.msisdn,
        since_at=taken.received_at,
        source=OptOutSource.REPLY,
        note=f"reply {taken.id} by {taken.provider}",
    )
    return stopping.stop(connection, [optout], rules.stop, taken.received_at, writers)


# --- what it answers -------------------------------------------------------------------------------------------------

_ANSWERED = (
    sa.select(
        _sms.id,
        _sms.account,
        _sms.position,
        tables.envoi.c.email_id,
        tables.mail.c.message_id,
        tables.mail.c.received_at,
    )
    .join_from(tables.sms, tables.envoi)
    .join(tables.mail, tables.mail.c.id == tables.envoi.c.mail_id)
)


def last_sent_query(msisdn: str, provider: str, since: datetime) -> sa.Select[Any]:
    """The last SMS that this carrier was handed for the number."""
    latest = sa.select(_sms.id).where(_sms.msisdn == msisdn).order_by(_sms.id.desc()).limit(_LOOKED_AT)
    near = by_index(latest, tables.sms, "ix_sms_msisdn").subquery()
    return (
        sa.select(_sms.id)
        .where(_sms.id.in_(sa.select(near.c.id)), _sms.provider == provider, _sms.attempts > 0, _sms.since_at >= since)
        .order_by(_sms.id.desc())
        .limit(1)
    )


def _find_answered(connection: sa.Connection, new: NewReply) -> AnsweredSms | None:
    """The SMS it answers: by what the carrier says of it, else the last one to the number."""
    by_ref = (_sms.provider == new.provider, _sms.provider_ref == new.provider_ref, _sms.msisdn == new.msisdn)
    last = last_sent_query(new.msisdn, new.provider, new.received_at - ANSWERS_WITHIN)
    ways = (
        None if new.tracker is None else _ANSWERED.where(_sms.tracker == new.tracker),
        None if new.provider_ref is None else _ANSWERED.where(*by_ref).order_by(_sms.id.desc()).limit(1),
        _ANSWERED.where(_sms.id == last.scalar_subquery()),
    )
    for way in ways:
        row = None if way is None else connection.execute(way).first()
        if row is not None:
            return AnsweredSms(
                sms_id=SmsId(row.id),
                account=row.account,
                position=row.position,
                email_id=row.email_id,
                message_id=row.message_id,
                asked_at=row.received_at,
            )
    return None


# --- parts -----------------------------------------------------------------------------------------------------------


def _take_part(
    connection: sa.Connection, new: NewReply, part: NewPart, rules: ReplyRules, writers: Writers
) -> ReplyOutcome:
    rows = _lock_parts(connection, part.key)
    is_here = any(row["number"] == part.number and row["text"] == new.text for row in rows)
    if is_here or _is_known(connection, _marks_alone(new, part)):
        return ReplyKnown()
    is_used_again = any(row["number"] == part.number or row["total"] != part.total for row in rows)
    has_waiting = any(row["joined_at"] is None for row in rows)
    if is_used_again and has_waiting:
        return _store_alone(connection, new, part, rules, writers)  # of another reply: its place here is taken
    if is_used_again:
        connection.execute(tables.reply_part.delete().where(*_is_of(part.key)))
        rows = []
    is_late = bool(rows) and not has_waiting  # the others went without it
    row = {
        "provider": part.key.provider,
        "msisdn": part.key.msisdn,
        "sent_to": part.key.sent_to,
        "reference": part.key.reference,
        "number": part.number,
        "total": part.total,
        "text": new.text,
        "received_at": new.received_at,
        "joined_at": new.received_at if is_late else None,
        "raw": new.raw,
    }
    insert_all(connection, tables.reply_part, [row])
    if is_late:
        return _store_alone(connection, new, part, rules, writers)
    if len(rows) + 1 < part.total:
        return ReplyIncomplete()
    return _join(connection, new, _lock_parts(connection, part.key), rules, writers)


def _store_alone(
    connection: sa.Connection, new: NewReply, part: NewPart, rules: ReplyRules, writers: Writers
) -> ReplyOutcome:
    alone = replace(new, marks=_marks_alone(new, part))
    return _store(connection, alone, rules, writers, parts=(part.number,), total=part.total)


def _marks_alone(new: NewReply, part: NewPart) -> tuple[bytes, ...]:
    """What a part that is a reply of its own is known by, for a day or two: references are used again."""
    key, day = part.key, new.received_at.toordinal()
    content = (key.provider, key.msisdn, key.sent_to, key.reference, str(part.number), new.text)
    return tuple(mark_of("part", *content, str(one)) for one in (day, day - 1))


def _join(
    connection: sa.Connection,
    new: NewReply,
    rows: Sequence[sa.RowMapping],
    rules: ReplyRules,
    writers: Writers,
) -> ReplyOutcome:
    """The parts there are, in order, are one reply; `new` says of it what they have in common."""
    first = rows[0]
    key = PartKey(**{name: first[name] for name in ("provider", "msisdn", "sent_to", "reference")})
    connection.execute(tables.reply_part.update().where(*_is_of(key)).values(joined_at=new.received_at))
    text = "".join(row["text"] for row in rows)
    began_at = min(row["received_at"] for row in rows)
    mark = mark_of("parts", key.provider, key.msisdn, key.sent_to, key.reference, began_at.isoformat(), text)
    whole = replace(new, text=text, marks=(mark,), part=None, raw="\n".join(row["raw"] for row in rows))
    numbers = tuple(row["number"] for row in rows)
    return _store(connection, whole, rules, writers, parts=numbers, total=first["total"])


def _is_of(key: PartKey) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        _part.provider == key.provider,
        _part.msisdn == key.msisdn,
        _part.sent_to == key.sent_to,
        _part.reference == key.reference,
    )


def _lock_parts(connection: sa.Connection, key: PartKey) -> Sequence[sa.RowMapping]:
    """The parts that are there, by number; nobody else adds one before this transaction ends."""
    if connection.dialect.name == "postgresql":  # a row that is not there yet cannot be locked
        lock = int.from_bytes(mark_of(key.provider, key.msisdn, key.sent_to, key.reference)[:8], "big", signed=True)
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(lock)))
    found = connection.execute(sa.select(tables.reply_part).where(*_is_of(key)).order_by(_part.number))
    return found.mappings().all()


def overdue_query(before: datetime, now: datetime, limit: int) -> sa.Select[Any]:
    """Parts that wait for others since before that instant; or, when the clock was set back, since later than now."""
    return (
        sa.select(_part.provider, _part.msisdn, _part.sent_to, _part.reference)
        .where(_part.joined_at.is_(None), sa.or_(_part.received_at <= before, _part.received_at > now))
        .order_by(_part.received_at)
        .limit(limit)
    )


def find_overdue(connection: sa.Connection, before: datetime, now: datetime, limit: int) -> tuple[PartKey, ...]:
    """The replies that have waited long enough for parts."""
    found = connection.execute(overdue_query(before, now, limit)).mappings()
    return tuple(dict.fromkeys(PartKey(**row) for row in found))


def finish(connection: sa.Connection, key: PartKey, now: datetime, rules: ReplyRules, writers: Writers) -> ReplyOutcome:
    """What there is of the reply is stored as it is, unless the others have come meanwhile."""
    rows = [row for row in _lock_parts(connection, key) if row["joined_at"] is None]
    if not rows:
        return ReplyKnown()
    new = NewReply(
        received_at=now,
        provider=key.provider,
        msisdn=key.msisdn,
        sent_to=key.sent_to or None,
        text="",
        raw="",
        marks=(),
    )
    return _join(connection, new, rows, rules, writers)


def forget_parts(connection: sa.Connection, before: datetime) -> int:
    """Parts that came before that instant and are part of a reply are gone; return how many there were."""
    old = tables.reply_part.delete().where(_part.received_at < before, _part.joined_at.is_not(None))
    return connection.execute(old).rowcount
