"""What carriers say later: each word finds its SMS, moves it, or is kept until it can (docs/protocol.md §8.6).

Words come late, twice, in any order, and before the answer to the call they speak of. So a word is a move like any
other: one that the lifecycle does not know from where the SMS stands changes nothing. The first final word wins:
neither "delivered" nor "not delivered" is ever overwritten. While the call is under way (`sending`), and when no SMS is
found, a word is kept for `KEPT`, once however often it comes, and applied by whoever records the answer, or by
`learn_kept`. Of one carrier `MOST_KEPT` are kept; the oldest go first.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from gateway.lifecycle import SMS_MOVES, EnvoiId, SmsEvent, SmsId, SmsState
from gateway.protocol.codes import Code
from gateway.store import tables
from gateway.store.base import Move, Settled, Settlement
from gateway.store.questions import Found, Question
from gateway.store.settling import Moves, lock
from gateway.store.staging import Writers
from gateway.store.tables import LATER_WORDS
from gateway.store.words import Learnt, Word, Words

KEPT = timedelta(hours=24)
MOST_KEPT = 10_000

_sms = tables.sms.c
_attempt = tables.attempt.c
_receipt = tables.receipt.c

_Row = Found


# --- the steps -------------------------------------------------------------------------------------------------------


def settle(connection: sa.Connection, settlements: Sequence[Settlement], now: datetime, writers: Writers) -> Settled:
    """The moves are made, and so are those of words about the same SMS that came before their answer was known."""
    moves = Moves(connection, now)
    moved = moves.make(settlements)
    learnt: tuple[Move, ...] = ()
    called = {one.sms_id for one in settlements if one.from_state is SmsState.SENDING} & set(moved)
    if called and _is_any_kept(connection):
        learnt = _take_kept(connection, moves, lock(connection, called).values(), now)
    reports = moves.finish(writers)
    return Settled(moved=moved, reports=reports, learnt=learnt, opted_out=moves.opted_out)


def learn(connection: sa.Connection, said: Words, now: datetime, writers: Writers) -> Learnt:
    """What the words say is so, as far as they find their SMS; the rest is kept."""
    rows = lock(connection, _find(connection, said))
    about = _assign(said, rows.values())
    kept = [
        word for word, found in zip(said.words, about, strict=True) if _must_wait(word, [rows[one] for one in found])
    ]
    moves = Moves(connection, now)
    made = _apply(connection, moves, said, _by_sms(said.words, about, rows), now)
    if kept:
        _keep(connection, said.provider, kept, now)
    reports = moves.finish(writers)
    return Learnt(moves=made, kept=len(kept), reports=reports, opted_out=moves.opted_out)


def learn_kept(connection: sa.Connection, now: datetime, limit: int, writers: Writers) -> Learnt:
    """Words that were kept and whose SMS can move now do so; those too old to be kept are gone.

    For what slipped through: a word that was kept in the moment in which another node recorded the answer.
    """
    connection.execute(tables.receipt.delete().where(_receipt.received_at <= now - KEPT))
    ids = connection.scalars(_RIPE, {"limit": limit}).all() if _is_any_kept(connection) else ()
    moves = Moves(connection, now)
    made = _take_kept(connection, moves, lock(connection, map(SmsId, ids)).values(), now) if ids else ()
    reports = moves.finish(writers)
    return Learnt(moves=made, reports=reports, opted_out=moves.opted_out)


# --- which SMS a word is about ---------------------------------------------------------------------------------------


def tracker_query(trackers: Iterable[str]) -> sa.Select[Any]:
    """The SMS with these trackers."""
    return sa.select(_sms.id).where(_sms.tracker.in_(sorted(set(trackers))))


def ref_query(provider: str, refs: Iterable[str]) -> sa.Select[Any]:
    """The SMS that the carrier calls so; a batch may have one name for all of it."""
    found = sa.select(_sms.id).where(_sms.provider == provider, _sms.provider_ref.in_(sorted(set(refs))))
    return tables.by_index(found, tables.sms, "ix_sms_ref")


def _find(connection: sa.Connection, said: Words) -> set[SmsId]:
    trackers = {word.tracker.upper() for word in said.words if word.tracker}
    refs = {word.provider_ref for word in said.words if word.provider_ref}
    numbers = {word.msisdn for word in said.words if word.provider_ref and word.msisdn}
    found: set[SmsId] = set()
    if trackers:
        found |= {SmsId(one) for one in connection.scalars(tracker_query(trackers))}
    if refs:
        query = ref_query(said.provider, refs)
        if all(word.msisdn for word in said.words if word.provider_ref):
            query = query.where(_sms.msisdn.in_(sorted(numbers)))
        found |= {SmsId(one) for one in connection.scalars(query)}
    return found


def _assign(said: Words, rows: Iterable[_Row]) -> list[list[str]]:
    """For each word the ids of the SMS it is about."""
    by_tracker: dict[str, str] = {}
    by_ref: dict[str, list[_Row]] = {}
    for row in rows:
        by_tracker[row["tracker"]] = row["id"]
        if row["provider"] == said.provider and row["provider_ref"] is not None:
            by_ref.setdefault(row["provider_ref"], []).append(row)
    return [_about(word, by_tracker, by_ref) for word in said.words]


def _about(word: Word, by_tracker: Mapping[str, str], by_ref: Mapping[str, list[_Row]]) -> list[str]:
    """One, as a rule. Two SMS of one batch to one number have one name: the carrier itself cannot tell them apart."""
    if word.tracker and (found := by_tracker.get(word.tracker.upper())):
        return [found]
    named = by_ref.get(word.provider_ref or "", [])
    if word.msisdn is None:
        return [row["id"] for row in named] if len(named) == 1 else []
    return [row["id"] for row in named if row["msisdn"] == word.msisdn]


def _must_wait(word: Word, found: Sequence[_Row]) -> bool:
    """True when it may still do something: nothing is found, or the answer to the call is not recorded yet."""
    return word.event is not None and (not found or any(row["state"] is SmsState.SENDING for row in found))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Subject:
    """An SMS and what was said of it, in order."""

    row: _Row
    words: Sequence[Word]


def _by_sms(words: Sequence[Word], about: Sequence[Sequence[str]], rows: Mapping[str, _Row]) -> list[_Subject]:
    said: dict[str, list[Word]] = {}
    for word, ids in zip(words, about, strict=True):
        for one in ids:
            said.setdefault(one, []).append(word)
    return [
        _Subject(row=rows[one], words=about_it)
        for one, about_it in said.items()
        if rows[one]["state"] is not SmsState.SENDING
    ]


# --- what a word does ------------------------------------------------------------------------------------------------


def _apply(
    connection: sa.Connection, moves: Moves, said: Words, subjects: Sequence[_Subject], now: datetime
) -> tuple[Move, ...]:
    epochs = _attempt_epochs(connection, [one.row for one in subjects], said.provider)
    ways = [(one.row, _find_way(one, said, epochs.get(one.row["id"]), now)) for one in subjects]
    made: list[Move] = []
    for step in range(_MOST_STEPS):
        steps = [(row, way[step]) for row, way in ways if len(way) > step]
        moved = set(moves.make([settlement for _, settlement in steps])) if steps else set()
        made += [_move_of(row, settlement, said.provider) for row, settlement in steps if settlement.sms_id in moved]
    gone = {one.sms_id for one in made}
    _note(connection, [one for one in subjects if one.row["id"] not in gone], now)
    return tuple(made)


_MOST_STEPS = 2
"""Accepted, and then its end: no way is longer, and each step answers for itself what the Not and the credit go by."""


def _find_way(subject: _Subject, said: Words, attempt_epoch: int | None, now: datetime) -> list[Settlement]:
    """The moves that all the words come to, one after the other; none when they change nothing."""
    state: SmsState = subject.row["state"]
    way: list[Settlement] = []
    for word in subject.words:
        event = _event(state, word)
        if event is not None:
            way.append(_settlement(subject.row, state, event, word, said=said, now=now, attempt_epoch=attempt_epoch))
            state = SMS_MOVES[state][event]
    return way


def _settlement(
    row: _Row, state: SmsState, event: SmsEvent, word: Word, *, said: Words, now: datetime, attempt_epoch: int | None
) -> Settlement:
    ends = event in (SmsEvent.DELIVERED, SmsEvent.UNDELIVERED)
    return Settlement(
        sms_id=SmsId(row["id"]),
        epoch=row["epoch"],
        from_state=state,
        event=event,
        code=_code(state, event, word),
        reason=f"{said.provider} says: {event.value}",
        provider_ref=word.provider_ref,
        raw=word.raw,
        cost_micros=word.cost_micros,
        currency=word.currency,
        ask_at=said.ask_at if SMS_MOVES[state][event] is SmsState.ACCEPTED else None,
        network_at=(word.at or now) if ends else None,
        network_code=_reason_code(word) if event is SmsEvent.UNDELIVERED else None,
        attempt_epoch=attempt_epoch,
    )


def _event(state: SmsState, word: Word) -> SmsEvent | None:
    """The move that the word causes from there, if any."""
    event = word.event
    if event is SmsEvent.REFUSED and state is SmsState.ACCEPTED:
        event = SmsEvent.UNDELIVERED  # it had accepted it: for the sender that was 0, and now it did not arrive
    return event if event in SMS_MOVES[state] else None


def _code(state: SmsState, event: SmsEvent, word: Word) -> Code:
    """What the Not says: 0 when a carrier had accepted it, whatever came after (docs/protocol.md §9.3)."""
    if state is SmsState.ACCEPTED or event in (SmsEvent.TAKEN, SmsEvent.DELIVERED):
        return Code.C0_SENT
    return _reason_code(word) or Code.C999_ERROR


def _reason_code(word: Word) -> Code | None:
    return None if word.code is Code.C0_SENT else word.code


def _move_of(row: _Row, settlement: Settlement, provider: str) -> Move:
    return Move(
        sms_id=settlement.sms_id,
        envoi_id=EnvoiId(row["envoi_id"]),
        account=row["account"],
        provider=provider,
        event=settlement.event,
        from_state=settlement.from_state,
        state=SMS_MOVES[settlement.from_state][settlement.event],
        code=settlement.network_code or settlement.code,
    )


def _attempt_epochs(connection: sa.Connection, rows: Sequence[_Row], provider: str) -> dict[str, int]:
    """Of SMS with several attempts, which one the carrier speaks of: its own last."""
    several = [row["id"] for row in rows if row["attempts"] > 1]
    if not several:
        return {}
    query = (
        sa.select(_attempt.sms_id, sa.func.max(_attempt.epoch).label("epoch"))
        .where(_attempt.sms_id.in_(several), _attempt.provider == provider)
        .group_by(_attempt.sms_id)
    )
    return {row.sms_id: row.epoch for row in connection.execute(query)}


_THIS = (_attempt.sms_id == sa.bindparam("b_id"), _attempt.epoch == sa.bindparam("b_epoch"), _attempt.learnt.is_(None))
_NOTE = (
    tables.attempt.update()
    .where(*_THIS, sa.or_(_attempt.learnt_raw.is_(None), _attempt.learnt_raw != sa.bindparam("b_raw")))
    .values(learnt=sa.bindparam("b_event"), learnt_at=sa.bindparam("b_now"), learnt_raw=sa.bindparam("b_raw"))
)
_COST = (
    tables.sms.update()
    .where(_sms.id == sa.bindparam("b_id"), _sms.cost_micros.is_(None))
    .values(cost_micros=sa.bindparam("b_cost"), currency=sa.bindparam("b_currency"))
)


def _note(connection: sa.Connection, unmoved: Sequence[_Subject], now: datetime) -> None:
    """Words that move nothing are there for the operator, unless an earlier one is; a cost is, unless one is known."""
    notes, costs = [], []
    for one in unmoved:
        word = one.words[-1]
        event = word.event if word.event in LATER_WORDS else None
        notes.append(
            {"b_id": one.row["id"], "b_epoch": one.row["epoch"], "b_event": event, "b_now": now, "b_raw": word.raw}
        )
        if one.row["cost_micros"] is None and word.cost_micros is not None:
            costs.append({"b_id": one.row["id"], "b_cost": word.cost_micros, "b_currency": word.currency})
    if notes:
        connection.execute(_NOTE, notes)
    if costs:
        connection.execute(_COST, costs)


# --- what is kept ----------------------------------------------------------------------------------------------------


_ANY_KEPT = Question(sa.select(sa.select(sa.literal(1)).select_from(tables.receipt).exists()))


def _is_any_kept(connection: sa.Connection) -> bool:
    return bool(_ANY_KEPT.ask(connection, {})[0][0])


_RIPE = (
    sa.select(_sms.id)
    .join_from(tables.receipt, tables.sms, _sms.tracker == _receipt.tracker)
    .where(_sms.state != SmsState.SENDING)
    .union(
        sa.select(_sms.id)
        .join_from(
            tables.receipt,
            tables.sms,
            sa.and_(_sms.provider == _receipt.provider, _sms.provider_ref == _receipt.provider_ref),
        )
        .where(_sms.state != SmsState.SENDING, sa.or_(_receipt.msisdn.is_(None), _receipt.msisdn == _sms.msisdn))
    )
    .limit(sa.bindparam("limit"))
)


def kept_query(rows: Sequence[_Row]) -> sa.Select[Any]:
    """Words about SMS with these trackers, or these names at these carriers, in the order in which they came."""
    trackers = [row["tracker"] for row in rows]
    named = [row for row in rows if row["provider_ref"] is not None]
    is_named = sa.and_(
        _receipt.provider.in_({row["provider"] for row in named}),
        _receipt.provider_ref.in_([row["provider_ref"] for row in named]),
    )
    is_about = sa.or_(_receipt.tracker.in_(trackers), is_named)
    return sa.select(tables.receipt).where(is_about).order_by(_receipt.received_at, _receipt.id)


def _take_kept(connection: sa.Connection, moves: Moves, rows: Iterable[_Row], now: datetime) -> tuple[Move, ...]:
    """The words that were kept for these SMS have done what they do, and are kept no longer."""
    by_id = {row["id"]: row for row in rows}
    kept: Sequence[_Row] = [dict(row) for row in connection.execute(kept_query(list(by_id.values()))).mappings()]
    made: tuple[Move, ...] = ()
    taken: list[str] = []
    for provider in dict.fromkeys(row["provider"] for row in kept):
        ours = [row for row in kept if row["provider"] == provider]
        said = Words(provider=provider, words=tuple(map(_word_of, ours)))
        about = _assign(said, by_id.values())
        made += _apply(connection, moves, said, _by_sms(said.words, about, by_id), now)
        taken += [row["id"] for row, ids in zip(ours, about, strict=True) if ids]
        by_id = {row["id"]: row for row in lock(connection, map(SmsId, by_id)).values()}  # where they stand now
    if taken:
        connection.execute(tables.receipt.delete().where(_receipt.id.in_(taken)))
    return made


def _keep(connection: sa.Connection, provider: str, words: Sequence[Word], now: datetime) -> None:
    """The words are kept, each once; beyond `MOST_KEPT` of a carrier the oldest are dropped."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    rows = {row["id"]: row for row in (_row_of(provider, word, now) for word in words)}
    connection.execute(insert(tables.receipt).on_conflict_do_nothing(), list(rows.values()))
    newest = (
        sa.select(_receipt.id)
        .where(_receipt.provider == provider)
        .order_by(_receipt.received_at.desc(), _receipt.id)
        .limit(MOST_KEPT)
    )
    count = connection.scalar(sa.select(sa.func.count()).where(_receipt.provider == provider)) or 0
    if count > MOST_KEPT:
        too_many = tables.receipt.delete().where(_receipt.provider == provider, _receipt.id.not_in(newest))
        connection.execute(too_many)


def _row_of(provider: str, word: Word, now: datetime) -> dict[str, object]:
    return {
        "id": _fingerprint(provider, word),
        "received_at": now,
        "provider": provider,
        "tracker": None if word.tracker is None else word.tracker.upper(),
        "provider_ref": word.provider_ref,
        "msisdn": word.msisdn,
        "fate": word.event,
        "code": word.code,
        "at": word.at,
        "cost_micros": word.cost_micros,
        "currency": word.currency,
        "raw": word.raw,
    }


def _word_of(row: _Row) -> Word:
    return Word(
        event=row["fate"],
        tracker=row["tracker"],
        provider_ref=row["provider_ref"],
        msisdn=row["msisdn"],
        code=row["code"],
        at=row["at"],
        cost_micros=row["cost_micros"],
        currency=row["currency"],
        raw=row["raw"],
    )


def _fingerprint(provider: str, word: Word) -> str:
    """The same for a word that comes again, so that it is kept once."""
    parts = (provider, repr(replace(word, msisdn=None, raw="")), word.msisdn or "", word.raw)
    digest = hashlib.sha256()
    for part in parts:
        octets = part.encode("utf-8", "surrogatepass")
        digest.update(len(octets).to_bytes(4, "big") + octets)
    return digest.hexdigest()
