"""What operators do about SMS that wait: moves like all others, fenced by state and epoch, with a note of who did it.

A daemon at work on the store is not asked: it sees rows as they are. What it has claimed meanwhile is `sending`, and
so is not moved by anybody else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

import sqlalchemy as sa

from gateway.ids import new_id
from gateway.lifecycle import SMS_MOVES, ReportId, SmsEvent, SmsId, SmsState
from gateway.protocol.codes import Code
from gateway.store import settling, tables
from gateway.store.base import Settlement
from gateway.store.inserts import insert_all
from gateway.store.records import SmsRecord
from gateway.store.staging import Writers
from gateway.store.story_tables import operation
from gateway.store.telling import columns_of, record_of

_sms = tables.sms.c

MOST = 500
"""SMS at once: it is one transaction."""

_EVENTS: Mapping[str, SmsEvent] = MappingProxyType(
    {
        "hold": SmsEvent.HELD,
        "release": SmsEvent.RELEASED,
        "cancel": SmsEvent.CANCELLED,
        "retry": SmsEvent.RESENT,
    }
)
_REASONS: Mapping[str, str] = MappingProxyType(
    {
        "hold": "held by an operator",
        "release": "released by an operator",
        "cancel": "cancelled by an operator",
        "retry": "sent again at the word of an operator",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operated:
    """What was done: the SMS as they were, by id, and which of them moved, or are due now."""

    before: Mapping[SmsId, SmsRecord]
    done: frozenset[SmsId]
    reports: tuple[ReportId, ...] = ()


def operate(
    connection: sa.Connection,
    action: str,
    ids: Sequence[SmsId],
    writers: Writers,
    *,
    actor: str,
    now: datetime,
    may_double: bool,
) -> Operated:
    """The action (hold, release, retry, cancel) is done to those of the SMS that are in a state for it.

    To retry what is queued makes it due; what is uncertain goes again only with `may_double`.
    """
    if len(ids) > MOST:
        raise ValueError(f"at most {MOST} SMS at once")
    query = sa.select(*columns_of(tables.sms, SmsRecord)).where(_sms.id.in_(sorted(set(ids)))).with_for_update()
    rows = [record_of(SmsRecord, row) for row in connection.execute(query.order_by(_sms.id)).mappings()]
    moves = settling.Moves(connection, now)
    settlements = [_settlement(action, row, now) for row in rows if _applies(action, row, may_double=may_double)]
    done = set(moves.make(settlements)) if settlements else set()
    reports = moves.finish(writers)
    if action == "retry":
        done |= _make_due(connection, [row for row in rows if row.state is SmsState.QUEUED], now)
    notes: list[dict[str, object]] = [
        {"id": new_id(now), "sms_id": one, "at": now, "action": action, "actor": actor} for one in sorted(done)
    ]
    insert_all(connection, operation, notes)
    return Operated(before={row.id: row for row in rows}, done=frozenset(done), reports=reports)


def _applies(action: str, row: SmsRecord, *, may_double: bool) -> bool:
    event = _EVENTS[action]
    if event not in SMS_MOVES[row.state] or row.state is SmsState.SENDING:
        return False
    return action != "retry" or may_double


def _settlement(action: str, row: SmsRecord, now: datetime) -> Settlement:
    return Settlement(
        sms_id=row.id,
        epoch=row.epoch,
        from_state=row.state,
        event=_EVENTS[action],
        code=Code.C999_ERROR if action == "cancel" else None,  # docs/protocol.md §9: the annex has none of its own
        reason=_REASONS[action],
        due_at=now if action == "retry" else None,
    )


def _make_due(connection: sa.Connection, rows: Sequence[SmsRecord], now: datetime) -> set[SmsId]:
    """What waits for a later attempt is due now. Hours and carriers are looked at again before the call."""
    moved = set()
    for row in rows:
        if row.due_at is None or row.due_at <= now:
            continue
        is_it = (_sms.id == row.id, _sms.state == SmsState.QUEUED, _sms.epoch == row.epoch)
        if connection.execute(tables.sms.update().where(*is_it).values(due_at=now)).rowcount:
            moved.add(row.id)
    return moved
