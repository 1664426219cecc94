"""Who has something to send, and taking it: SMS for the dispatcher.

A claim commits the attempt before the carrier is called: whatever dies then, the row says that a call may have been
made. The SMS of one claim have the same account and the same options, so that they fit into one call.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from gateway.lifecycle import SMS_MOVES, EnvoiId, MailId, SmsEvent, SmsId, SmsState
from gateway.pauses import PausePoint, pause_at
from gateway.store import optouts, tables
from gateway.store.base import ClaimedSms
from gateway.store.errors import StoreError
from gateway.store.inserts import insert_all
from gateway.store.questions import Found, Question
from gateway.store.repeats import Repeated
from gateway.store.tables import by_index, one_of

_WINDOW = 20
"""How far a claim looks for SMS with the options of the oldest: this many times its limit.

A lane of a hundred thousand SMS must not be read from end to end for one with options of its own.
"""

_sms = tables.sms.c
_IS_QUEUED = one_of("sms.state", (SmsState.QUEUED,))
_READ = (
    _sms.id,
    _sms.mail_id,
    _sms.envoi_id,
    _sms.account,
    _sms.epoch,
    _sms.attempts,
    _sms.msisdn,
    _sms.text,
    _sms.tracker,
    _sms.originator,
    _sms.max_parts,
    _sms.nostop,
    _sms.ucs2,
    _sms.commercial,
    _sms.due_at,
    _sms.expires_at,
    _sms.deliver_at,
)
"""What a call needs: of a row of more than forty columns a third."""

_OPTIONS = (_sms.originator, _sms.max_parts, _sms.nostop, _sms.ucs2, _sms.commercial, _sms.deliver_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Who takes what, until when."""

    lane: str
    provider: str
    now: datetime
    lease_until: datetime
    limit: int


def due_lanes_query(now: datetime | sa.BindParameter[datetime]) -> sa.Select[Any]:
    """The lanes that have an SMS to send, by hopping through the index from lane to lane."""
    first = sa.select(sa.func.min(_sms.lane).label("lane")).where(_IS_QUEUED)
    lane = by_index(first, tables.sms, "ix_sms_lane").cte("lane", recursive=True)
    following = sa.select(sa.func.min(_sms.lane)).where(_IS_QUEUED, _sms.lane > lane.c.lane)
    hop = by_index(following, tables.sms, "ix_sms_lane").scalar_subquery()
    lane = lane.union_all(sa.select(hop).where(lane.c.lane.is_not(None)))
    is_due = sa.exists().where(_IS_QUEUED, _sms.lane == lane.c.lane, _sms.due_at <= now, _sms.expires_at > now)
    return sa.select(lane.c.lane).where(lane.c.lane.is_not(None), is_due)


_DUE_LANES = due_lanes_query(sa.bindparam("b_now"))


def due_lanes(connection: sa.Connection, now: datetime) -> tuple[str, ...]:
    """The lanes that have an SMS to send, by name."""
    return tuple(sorted(connection.scalars(_DUE_LANES, {"b_now": now})))


def lane_query(lane: str | sa.BindParameter[str], now: datetime | sa.BindParameter[datetime]) -> sa.Select[Any]:
    """What is to be sent in a lane, the oldest first. What another node is claiming is left to it."""
    return (
        sa.select(*_READ)
        .where(_IS_QUEUED, _sms.lane == lane, _sms.due_at <= now, _sms.expires_at > now)
        .order_by(_sms.due_at, _sms.id)
        .with_for_update(skip_locked=True)
    )


def batch_query(oldest: Found, claim: Claim) -> sa.Select[Any]:
    """The oldest and those near it that can go in one call with it."""
    near = tables.sms.alias("near")
    window = (
        sa.select(near.c.id)
        .where(one_of("near.state", (SmsState.QUEUED,)), near.c.lane == claim.lane, near.c.due_at <= claim.now)
        .order_by(near.c.due_at, near.c.id)
        .limit(claim.limit * _WINDOW)
    )
    same = [column == oldest[column.name] for column in _OPTIONS]  # IS NULL, for an originator that is None
    return lane_query(claim.lane, claim.now).where(_sms.id.in_(window), *same).limit(claim.limit)


_OLDEST = Question(lane_query(sa.bindparam("b_lane"), sa.bindparam("b_now")).limit(sa.bindparam("b_limit")))
TAKE = Repeated(
    tables.sms.update()
    # As a parameter: written out, it would lead SQLite to the index of all that is queued, not to the id
    .where(_sms.id == sa.bindparam("b_id"), _sms.state == SmsState.QUEUED)
    .values(
        state=SMS_MOVES[SmsState.QUEUED][SmsEvent.CLAIMED],
        since_at=sa.bindparam("b_now"),
        lease_until=sa.bindparam("b_lease_until"),
        provider=sa.bindparam("b_provider"),
        epoch=_sms.epoch + 1,
        attempts=_sms.attempts + 1,
    )
)


def claim_batch(connection: sa.Connection, claim: Claim) -> tuple[ClaimedSms, ...]:
    """The oldest SMS of the lane and its like are in `sending`, each with its attempt."""
    wanted = {"b_lane": claim.lane, "b_now": claim.now, "b_limit": claim.limit}
    rows: Sequence[Found] = _OLDEST.find(connection, wanted)
    if not rows:
        return ()
    options = _options(rows[0])
    if any(_options(row) != options for row in rows):  # seldom: look further for the like of the oldest
        rows = [dict(row) for row in connection.execute(batch_query(rows[0], claim)).mappings()]
    common = {"b_now": claim.now, "b_lease_until": claim.lease_until, "b_provider": claim.provider}
    if TAKE.run(connection, [{**common, "b_id": row["id"]} for row in rows]) != len(rows):
        raise StoreError("a locked SMS was moved by somebody else")
    insert_all(
        connection,
        tables.attempt,
        [
            {
                "sms_id": row["id"],
                "epoch": row["epoch"] + 1,
                "number": row["attempts"] + 1,
                "provider": claim.provider,
                "begun_at": claim.now,
            }
            for row in rows
        ],
    )
    numbers: dict[str, set[str]] = {}
    for row in rows:
        numbers.setdefault(row["account"], set()).add(row["msisdn"])
    opted_out = optouts.find_listed(connection, numbers)
    pause_at(PausePoint.SMS_CLAIMING)
    return tuple(_claimed(row, claim, opted_out) for row in rows)


def _options(row: Found) -> list[object]:
    return [row[column.name] for column in _OPTIONS]


def _claimed(row: Found, claim: Claim, opted_out: Collection[tuple[str, str]]) -> ClaimedSms:
    return ClaimedSms(
        id=SmsId(row["id"]),
        mail_id=MailId(row["mail_id"]),
        envoi_id=EnvoiId(row["envoi_id"]),
        account=row["account"],
        provider=claim.provider,
        epoch=row["epoch"] + 1,
        attempt=row["attempts"] + 1,
        msisdn=row["msisdn"],
        text=row["text"],
        tracker=row["tracker"],
        originator=row["originator"],
        max_parts=row["max_parts"],
        nostop=row["nostop"],
        ucs2=row["ucs2"],
        commercial=row["commercial"],
        due_at=row["due_at"],
        expires_at=row["expires_at"],
        is_opted_out=(row["account"], row["msisdn"]) in opted_out,
        deliver_at=row["deliver_at"],
    )
