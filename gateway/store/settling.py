"""Every move of an SMS after its claim, and the reports that follow from the last of an envoi (`staging`).

A move names the state it comes from and the epoch of the claim: whoever comes second moves nothing.

Locks are taken in one order everywhere, first SMS by id, then envois by id, then credits by account: two nodes that
settle the last SMS of one envoi wait for one another, and the second sees what the first has done. New opt-outs, which
a carrier's code 11 makes, come last.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import sqlalchemy as sa

from gateway.lifecycle import SMS_MOVES, EnvoiId, ReportId, SmsEvent, SmsId, SmsState
from gateway.pauses import PausePoint, pause_at
from gateway.protocol.codes import Code
from gateway.store import credit, optouts, tables
from gateway.store.base import Settlement
from gateway.store.errors import StoreError
from gateway.store.questions import Found, Question
from gateway.store.repeats import Repeated
from gateway.store.staging import Writers, stage_reports
from gateway.store.stoplist import OptOut, OptOutSource
from gateway.store.tables import LATER_WORDS, SMS_WAITING, UNCOUNTED

_sms = tables.sms.c
_attempt = tables.attempt.c


class Moves:
    """The moves of one transaction: made in one go or several, then `finish`."""

    def __init__(self, connection: sa.Connection, now: datetime) -> None:
        self._connection = connection
        self._now = now
        self._answered: set[EnvoiId] = set()
        self._ended: set[EnvoiId] = set()
        self._paid: list[tuple[Found, SmsState]] = []
        self._blacklisted: list[OptOut] = []
        self.opted_out: tuple[OptOut, ...] = ()

    def make(self, settlements: Sequence[Settlement]) -> tuple[SmsId, ...]:
        """The moves are made, those that somebody else did not make first; returns whose."""
        targets = _targets(settlements)
        rows = lock(self._connection, targets)
        moving = [one for one in settlements if _is_still_so(rows.get(one.sms_id), one)]
        if not moving:
            return ()
        _move(self._connection, [_move_row(rows[one.sms_id], one, targets[one.sms_id], self._now) for one in moving])
        _note_attempts(self._connection, moving, self._now)
        for one in moving:
            row, target = rows[one.sms_id], targets[one.sms_id]
            if target.is_answered:
                self._answered.add(EnvoiId(row["envoi_id"]))
            if target.is_final:
                self._ended.add(EnvoiId(row["envoi_id"]))
            self._paid.append((row, target))
            if _is_blacklisted(one):
                self._blacklisted.append(_optout(row, self._now))
        return tuple(one.sms_id for one in moving)

    def finish(self, writers: Writers) -> tuple[ReportId, ...]:
        """The reports, the credit and the opt-outs that follow from all of them are written; returns the reports.

        `opted_out` is then what is new on the STOP list, by the carriers' word.
        """
        if not self._paid:
            return ()
        reports = stage_reports(self._connection, self._answered, self._ended, self._now, writers)
        credit.settle_reserved(self._connection, self._paid, self._now)
        if self._blacklisted:
            self.opted_out = optouts.add(self._connection, self._blacklisted)
        pause_at(PausePoint.SMS_RECORDING)
        return reports


def _is_blacklisted(one: Settlement) -> bool:
    """True when the carrier says that the number wants nothing: so nothing more is asked of it (§5.6)."""
    return one.code is Code.C11_NUMBER_BLACKLISTED and one.event in (SmsEvent.REFUSED, SmsEvent.UNDELIVERED)


def _optout(row: Found, now: datetime) -> OptOut:
    return OptOut(
        account=row["account"],
        msisdn=row["msisdn"],
        since_at=now,
        source=OptOutSource.CARRIER,
        note=f"code 11 of {row['provider']}",
    )


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
    _sms.tracker,
    _sms.msisdn,
    _sms.provider,
    _sms.state,
    _sms.epoch,
    _sms.attempts,
    _sms.due_at,
    _sms.code,
    _sms.provider_ref,
    _sms.billed_parts,
    _sms.reserved_parts,
    _sms.cost_micros,
    _sms.currency,
    _sms.network_at,
    _sms.network_code,
)


_LOCK = Question(
    sa.select(*_READ)
    .where(_sms.id.in_(sa.bindparam("ids", expanding=True)))
    .order_by(_sms.id)
    .with_for_update(key_share=True)
)


def lock(connection: sa.Connection, ids: Iterable[SmsId]) -> dict[str, Found]:
    """What is known of the SMS; nobody else moves them during the transaction."""
    return {row["id"]: row for row in _LOCK.find(connection, {"ids": sorted(ids)})}


def _is_still_so(row: Found | None, one: Settlement) -> bool:
    return row is not None and row["state"] is one.from_state and row["epoch"] == one.epoch


def _move_row(row: Found, one: Settlement, target: SmsState, now: datetime) -> Mapping[str, object]:
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
        "b_cost_micros": row["cost_micros"] if one.cost_micros is None else one.cost_micros,
        "b_currency": row["currency"] if one.cost_micros is None else one.currency,
        "b_ask_at": one.ask_at,
        "b_network_at": one.network_at or row["network_at"],
        "b_network_code": row["network_code"] if one.network_code is None else one.network_code,
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
    "cost_micros",
    "currency",
    "ask_at",
    "network_at",
    "network_code",
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
        "b_epoch": one.epoch if one.attempt_epoch is None else one.attempt_epoch,
        "b_now": now,
        "b_event": one.event,
        "b_code": one.code,
        "b_raw": one.raw,
    }
