"""Every move of an SMS after its claim, and the Not that follows from the last of an envoi.

A move names the state it comes from and the epoch of the claim: whoever comes second moves nothing. The Not is staged
in the transaction of the move that completes its envoi, so neither can exist without the other.

Locks are taken in one order everywhere, first SMS by id, then envois by id, then credits by account: two nodes that
settle the last SMS of one envoi wait for one another, and the second sees what the first has done.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from gateway.lifecycle import SMS_MOVES, EnvoiId, MailId, ReportId, SmsEvent, SmsId, SmsState
from gateway.pauses import PausePoint, pause_at
from gateway.protocol.codes import Code
from gateway.protocol.report import SmsAnswer
from gateway.store import credit, tables
from gateway.store.base import AnsweredEnvoi, RenderNot, Settled, Settlement
from gateway.store.errors import StoreError
from gateway.store.inserts import insert_all
from gateway.store.order_rows import report_row
from gateway.store.repeats import Repeated
from gateway.store.tables import LATER_WORDS, SMS_UNANSWERED, SMS_WAITING, UNCOUNTED

_sms = tables.sms.c
_envoi = tables.envoi.c
_attempt = tables.attempt.c


def settle(
    connection: sa.Connection, settlements: Sequence[Settlement], now: datetime, render_not: RenderNot
) -> Settled:
    """The moves are made, those that somebody else did not make first; the Not reports that follow are staged."""
    targets = _targets(settlements)
    rows = _lock(connection, targets)
    moving = [one for one in settlements if _is_still_so(rows.get(one.sms_id), one)]
    if not moving:
        return Settled(moved=())
    _move(connection, [_move_row(rows[one.sms_id], one, targets[one.sms_id], now) for one in moving])
    _note_attempts(connection, moving, now)
    touched = {EnvoiId(rows[one.sms_id]["envoi_id"]) for one in moving if targets[one.sms_id].is_answered}
    reports = _stage_nots(connection, sorted(touched), now, render_not)
    credit.settle_reserved(connection, [(rows[one.sms_id], targets[one.sms_id]) for one in moving], now)
    pause_at(PausePoint.SMS_RECORDING)
    return Settled(moved=tuple(one.sms_id for one in moving), reports=reports)


def _targets(settlements: Iterable[Settlement]) -> dict[SmsId, SmsState]:
    """The state each move leads to. Raises `ValueError` for what no caller may ask."""
    targets: dict[SmsId, SmsState] = {}
    for one in settlements:
        target = SMS_MOVES[one.from_state].get(one.event)
        if target is None:
            raise ValueError(f"no move leads from {one.from_state.value} by {one.event.value}")
        if one.event is SmsEvent.CLAIMED:
            raise ValueError("a claim needs a lease: claim_sms makes it")
        if one.sms_id in targets:
            raise ValueError("one SMS is moved twice at once")
        if target is SmsState.QUEUED and one.due_at is None and one.event is not SmsEvent.RELEASED:
            raise ValueError("what is queued again needs its due_at")
        targets[one.sms_id] = target
    return targets


_READ = (
    _sms.id,
    _sms.envoi_id,
    _sms.account,
    _sms.state,
    _sms.epoch,
    _sms.attempts,
    _sms.due_at,
    _sms.code,
    _sms.provider_ref,
    _sms.billed_parts,
    _sms.reserved_parts,
)


_IDS: sa.BindParameter[Any] = sa.bindparam("b_ids", expanding=True)
_LOCK = sa.select(*_READ).where(_sms.id.in_(_IDS)).order_by(_sms.id).with_for_update(key_share=True)


def _lock(connection: sa.Connection, ids: Iterable[SmsId]) -> dict[str, sa.RowMapping]:
    return {row["id"]: row for row in connection.execute(_LOCK, {"b_ids": sorted(ids)}).mappings()}


def _is_still_so(row: sa.RowMapping | None, one: Settlement) -> bool:
    return row is not None and row["state"] is one.from_state and row["epoch"] == one.epoch


def _move_row(row: sa.RowMapping, one: Settlement, target: SmsState, now: datetime) -> Mapping[str, object]:
    """What the move leaves in the row; what it does not speak of stays."""
    return {
        "b_id": one.sms_id,
        "b_from": one.from_state,
        "b_epoch": one.epoch,
        "b_state": target,
        "b_since_at": now,
        "b_settled_at": now if target.is_final else None,
        "b_attempts": row["attempts"] - (one.from_state is SmsState.SENDING and one.event in UNCOUNTED),
        "b_due_at": one.due_at or row["due_at"],
        "b_code": row["code"] if one.code is None and _is_still_waiting(one) else one.code,
        "b_reason": one.reason,
        "b_provider_ref": one.provider_ref or row["provider_ref"],
        "b_billed_parts": row["billed_parts"] if one.parts is None else one.parts,
        "b_reserved_parts": None if target.is_answered else row["reserved_parts"],
    }


def _is_still_waiting(one: Settlement) -> bool:
    """True when nothing new was learnt: the code of a "not now" stands until the next answer."""
    return one.from_state in SMS_WAITING or one.event is SmsEvent.POSTPONED


_WRITTEN = (
    "state",
    "since_at",
    "settled_at",
    "attempts",
    "due_at",
    "code",
    "reason",
    "provider_ref",
    "billed_parts",
    "reserved_parts",
)
_MOVE = Repeated(
    tables.sms.update()
    .where(_sms.id == sa.bindparam("b_id"), _sms.state == sa.bindparam("b_from"), _sms.epoch == sa.bindparam("b_epoch"))
    .values({name: sa.bindparam(f"b_{name}") for name in _WRITTEN} | {"lease_until": None})
)


def _move(connection: sa.Connection, rows: Sequence[Mapping[str, object]]) -> None:
    if _MOVE.run(connection, rows) != len(rows):
        raise StoreError("a locked SMS was moved by somebody else")


def _note_attempts(connection: sa.Connection, moving: Sequence[Settlement], now: datetime) -> None:
    """The attempts have their verdict, or the carrier's later word; a claim without a call leaves none behind."""
    verdicts = [one for one in moving if one.from_state is SmsState.SENDING and one.event not in UNCOUNTED]
    uncalled = [one for one in moving if one.from_state is SmsState.SENDING and one.event in UNCOUNTED]
    words = [one for one in moving if one.from_state is not SmsState.SENDING and one.event in LATER_WORDS]
    _END.run(connection, [_attempt_row(one, now) for one in verdicts])
    _FORGET.run(connection, [{"b_id": one.sms_id, "b_epoch": one.epoch} for one in uncalled])
    _LEARN.run(connection, [_attempt_row(one, now) for one in words])


_THIS_ATTEMPT = (_attempt.sms_id == sa.bindparam("b_id"), _attempt.epoch == sa.bindparam("b_epoch"))
_FORGET = Repeated(tables.attempt.delete().where(*_THIS_ATTEMPT))
_END = Repeated(
    tables.attempt.update()
    .where(*_THIS_ATTEMPT)
    .values(
        ended_at=sa.bindparam("b_now"),
        verdict=sa.bindparam("b_event"),
        code=sa.bindparam("b_code"),
        raw=sa.bindparam("b_raw"),
    )
)
_LEARN = Repeated(
    tables.attempt.update()
    .where(*_THIS_ATTEMPT)
    .values(learnt_at=sa.bindparam("b_now"), learnt=sa.bindparam("b_event"), learnt_raw=sa.bindparam("b_raw"))
)


def _attempt_row(one: Settlement, now: datetime) -> dict[str, object]:
    return {
        "b_id": one.sms_id,
        "b_epoch": one.epoch,
        "b_now": now,
        "b_event": one.event,
        "b_code": one.code,
        "b_raw": one.raw,
    }


def _stage_nots(
    connection: sa.Connection, touched: Sequence[EnvoiId], now: datetime, render_not: RenderNot
) -> tuple[ReportId, ...]:
    """Those of the envois that have their last answer are marked; a Not that is wanted waits for the mailer."""
    locked = _lock_unstaged(connection, touched)
    # Only now: what another node did to the same envois is visible to a statement that begins after the lock is held
    answers = _answers(connection, _complete(connection, list(locked)))
    if not answers:
        return ()
    connection.execute(tables.envoi.update().where(_envoi.id.in_(list(answers))).values(not_staged_at=now))
    rows = []
    for envoi_id, given in answers.items():
        row = locked[envoi_id]
        if row["not_to"] is not None:
            report = render_not(_answered(row, given))
            rows.append(report_row(report, now, mail_id=row["mail_id"], envoi_id=envoi_id))
    insert_all(connection, tables.report, rows)
    return tuple(ReportId(str(row["id"])) for row in rows)


_LOCK_UNSTAGED = (
    sa.select(tables.envoi, tables.mail.c.message_id)
    .join_from(tables.envoi, tables.mail)
    .where(_envoi.id.in_(_IDS), _envoi.not_staged_at.is_(None))
    .order_by(_envoi.id)
    .with_for_update(key_share=True, of=tables.envoi)
)


def _lock_unstaged(connection: sa.Connection, ids: Sequence[EnvoiId]) -> dict[EnvoiId, sa.RowMapping]:
    if not ids:
        return {}
    return {EnvoiId(row["id"]): row for row in connection.execute(_LOCK_UNSTAGED, {"b_ids": ids}).mappings()}


def unanswered_query(ids: Sequence[EnvoiId] | sa.BindParameter[Any]) -> sa.Select[Any]:
    """Those of the envois with an SMS that has no answer yet."""
    # From the last one back, for they go in order: of 500 recipients, one is looked at until the end. States as
    # parameters: written out, they would lead SQLite to the index of all that is open, not to these envois
    waiting = sa.select(_sms.id).where(_sms.envoi_id == _envoi.id, _sms.state.in_(SMS_UNANSWERED))
    last = waiting.order_by(_sms.position.desc()).limit(1).scalar_subquery()
    return sa.select(_envoi.id).where(_envoi.id.in_(ids), last.is_not(None))


_UNANSWERED = unanswered_query(_IDS)


def _complete(connection: sa.Connection, ids: Sequence[EnvoiId]) -> list[EnvoiId]:
    """Those of the envois whose every SMS has its answer."""
    unanswered = set(connection.scalars(_UNANSWERED, {"b_ids": ids})) if ids else set()
    return [envoi_id for envoi_id in ids if envoi_id not in unanswered]


def answers_query(ids: Sequence[EnvoiId]) -> sa.Select[Any]:
    """The SMS of the envois, in order of position."""
    return (
        sa.select(_sms.envoi_id, _sms.tel, _sms.state, _sms.code)
        .where(_sms.envoi_id.in_(ids))
        .order_by(_sms.envoi_id, _sms.position)
    )


def _answers(connection: sa.Connection, ids: Sequence[EnvoiId]) -> dict[EnvoiId, list[SmsAnswer]]:
    """What the sender is told of each SMS, in order of position (docs/protocol.md §8.2)."""
    answers: dict[EnvoiId, list[SmsAnswer]] = {}
    for row in connection.execute(answers_query(ids)) if ids else ():
        answers.setdefault(row.envoi_id, []).append(SmsAnswer(tel=row.tel, code=_answer_code(row.state, row.code)))
    return answers


def _answer_code(state: SmsState, code: Code | None) -> Code:
    """0 means that the provider accepted it; what became of the rest has its code, or 999 (docs/protocol.md §9)."""
    if state in (SmsState.ACCEPTED, SmsState.DELIVERED):
        return Code.C0_SENT
    return Code.C999_ERROR if code is None else code


def _answered(row: sa.RowMapping, answers: Sequence[SmsAnswer]) -> AnsweredEnvoi:
    return AnsweredEnvoi(
        envoi_id=EnvoiId(row["id"]),
        mail_id=MailId(row["mail_id"]),
        account=row["account"],
        email_id=row["email_id"],
        message_id=row["message_id"],
        not_to=row["not_to"],
        report_format=row["report_format"],
        answers=tuple(answers),
    )
