"""Reports on their way to the smarthost.

A report may go twice (its Message-ID stays the same), so what was lost in the middle of a call simply goes again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from gateway.lifecycle import REPORT_MOVES, ReportEvent, ReportId, ReportState
from gateway.pauses import PausePoint, pause_at
from gateway.store import tables
from gateway.store.errors import StoreError
from gateway.store.outgoing import ClaimedReport, ReportSettlement, SendingReport
from gateway.store.questions import Found, Question
from gateway.store.repeats import Repeated
from gateway.store.tables import by_index, one_of

_report = tables.report.c
_IS_DUE = one_of("report.state", (ReportState.DUE,))
_IS_SENDING = one_of("report.state", (ReportState.SENDING,))


def due_reports_query(now: datetime | sa.BindParameter[datetime], limit: int | sa.BindParameter[int]) -> sa.Select[Any]:
    """The oldest that are due; what another node is claiming is left to it."""
    query = (
        sa.select(tables.report)
        .where(_IS_DUE, _report.due_at <= now)
        .order_by(_report.due_at, _report.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return by_index(query, tables.report, "ix_report_due")


_DUE = Question(due_reports_query(sa.bindparam("b_now"), sa.bindparam("b_limit")))
CLAIM = Repeated(
    tables.report.update()
    # One by one: from several ids and a state SQLite goes by the index of the state, and reads all that is due
    .where(_report.id == sa.bindparam("b_id"), _report.state == ReportState.DUE)
    .values(
        state=REPORT_MOVES[ReportState.DUE][ReportEvent.CLAIMED],
        since_at=sa.bindparam("b_since_at"),
        lease_until=sa.bindparam("b_lease_until"),
        epoch=_report.epoch + 1,
        attempts=_report.attempts + 1,
    )
)


def claim(connection: sa.Connection, now: datetime, lease_until: datetime, limit: int) -> tuple[ClaimedReport, ...]:
    """The oldest due reports are in `sending`."""
    rows = _DUE.find(connection, {"b_now": now, "b_limit": limit})
    if not rows:
        return ()
    claimed = [{"b_id": row["id"], "b_since_at": now, "b_lease_until": lease_until} for row in rows]
    if CLAIM.run(connection, claimed) != len(rows):
        raise StoreError("a locked report was moved by somebody else")
    pause_at(PausePoint.REPORT_CLAIMING)
    return tuple(_claimed(row) for row in rows)


def _claimed(row: Found) -> ClaimedReport:
    kept = {field.name: row[field.name] for field in fields(ClaimedReport) if field.name not in {"epoch", "attempt"}}
    return ClaimedReport(**kept, epoch=row["epoch"] + 1, attempt=row["attempts"] + 1)


_SENDING = Question(
    sa.select(_report.id, _report.epoch, _report.due_at, _report.attempts, _report.reason)
    .where(_report.id.in_(sa.bindparam("ids", expanding=True)), _report.state == ReportState.SENDING)
    .order_by(_report.id)
    .with_for_update(key_share=True)
)
_WRITTEN = ("state", "since_at", "settled_at", "due_at", "attempts", "reason")
_MOVE = Repeated(
    tables.report.update()
    .where(_report.id == sa.bindparam("b_id"), _IS_SENDING, _report.epoch == sa.bindparam("b_epoch"))
    .values({name: sa.bindparam(f"b_{name}") for name in _WRITTEN} | {"lease_until": None})
)


def settle(connection: sa.Connection, settlements: Sequence[ReportSettlement], now: datetime) -> tuple[ReportId, ...]:
    """The moves are made, those that somebody else did not make first."""
    targets = {one.report_id: _target(one) for one in settlements}
    if len(targets) != len(settlements):
        raise ValueError("one report is moved twice at once")
    rows = {row["id"]: row for row in _SENDING.find(connection, {"ids": sorted(targets)})}
    moving = [one for one in settlements if one.report_id in rows and rows[one.report_id]["epoch"] == one.epoch]
    moved = [_move_row(rows[one.report_id], one, targets[one.report_id], now) for one in moving]
    if _MOVE.run(connection, moved) != len(moved):
        raise StoreError("a locked report was moved by somebody else")
    pause_at(PausePoint.REPORT_RECORDING)
    return tuple(one.report_id for one in moving)


def _move_row(row: Found, one: ReportSettlement, target: ReportState, now: datetime) -> Mapping[str, object]:
    """What the move leaves in the row; of a delivery that was not tried nothing is counted or learnt."""
    was_tried = one.event is not ReportEvent.POSTPONED
    return {
        "b_id": one.report_id,
        "b_epoch": one.epoch,
        "b_state": target,
        "b_since_at": now,
        "b_settled_at": now if target.is_final else None,
        "b_due_at": one.due_at or row["due_at"],
        "b_attempts": row["attempts"] if was_tried else row["attempts"] - 1,
        "b_reason": one.reason if was_tried else row["reason"],
    }


def _target(one: ReportSettlement) -> ReportState:
    target = REPORT_MOVES[ReportState.SENDING].get(one.event)
    if target is None:
        raise ValueError(f"no move leads from sending by {one.event.value}")
    if one.event is ReportEvent.DEFERRED and one.due_at is None:
        raise ValueError("what is due again needs its due_at")
    return target


def sending_query(limit: int) -> sa.Select[Any]:
    """In `sending`, the first whose lease is over first."""
    columns = (_report.id, _report.epoch, _report.since_at, _report.lease_until)
    return sa.select(*columns).where(_IS_SENDING).order_by(_report.lease_until).limit(limit)


def find_sending(connection: sa.Connection, limit: int) -> tuple[SendingReport, ...]:
    """What is in `sending`, and how long that may take."""
    rows = connection.execute(sending_query(limit))
    return tuple(SendingReport(id=row.id, epoch=row.epoch, lease=row.lease_until - row.since_at) for row in rows)


def recover(connection: sa.Connection, lost: Sequence[SendingReport], now: datetime) -> tuple[ReportId, ...]:
    """Those that are still in `sending`, by the same claim, are due now."""
    locked = connection.execute(
        sa.select(_report.id, _report.epoch)
        .where(_report.id.in_(sorted(one.id for one in lost)), _IS_SENDING)
        .order_by(_report.id)
        .with_for_update(key_share=True)
    )
    epochs = {row.id: row.epoch for row in locked}
    still = [one.id for one in lost if epochs.get(one.id) == one.epoch]
    found = connection.execute(
        tables.report.update()
        .where(_report.id.in_(still), _IS_SENDING)
        .values(
            state=REPORT_MOVES[ReportState.SENDING][ReportEvent.DEFERRED],
            since_at=now,
            lease_until=None,
            due_at=now,
            reason="the gateway stopped in the middle of a delivery",
        )
        .returning(_report.id)
    )
    recovered = tuple(ReportId(name) for name in sorted(found.scalars()))
    if recovered:
        pause_at(PausePoint.REPORT_RECOVERING)
    return recovered
