"""Of which SMS carriers are to be asked what became of them.

A claim puts the next question off for as long as this one may take: who asks settles it, and if its process dies, the
SMS is asked for again by whoever is there.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from gateway.lifecycle import SmsId, SmsState
from gateway.store import tables
from gateway.store.tables import by_index
from gateway.store.words import ClaimedInquiry, InquirySettlement

_ASKABLE = (SmsState.UNCERTAIN, SmsState.ACCEPTED)

_sms = tables.sms.c


def due_query(provider: str, now: datetime, limit: int) -> sa.Select[Any]:
    """What the carrier is to be asked for, the most overdue first; what another node is claiming is left to it."""
    columns = (_sms.id, _sms.account, _sms.state, _sms.tracker, _sms.msisdn, _sms.provider_ref, _sms.since_at)
    query = (
        sa.select(*columns)
        .where(_sms.provider == provider, _sms.ask_at <= now, _sms.state.in_(_ASKABLE))
        .order_by(_sms.ask_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return by_index(query, tables.sms, "ix_sms_ask")


def claim(
    connection: sa.Connection, provider: str, now: datetime, lease_until: datetime, limit: int
) -> tuple[ClaimedInquiry, ...]:
    """The SMS that are due to be asked for are nobody else's until then."""
    rows = connection.execute(due_query(provider, now, limit)).mappings().all()
    if not rows:
        return ()
    ids = [row["id"] for row in rows]
    connection.execute(tables.sms.update().where(_sms.id.in_(ids)).values(ask_at=lease_until))
    return tuple(
        ClaimedInquiry(
            sms_id=SmsId(row["id"]),
            account=row["account"],
            state=row["state"],
            tracker=row["tracker"],
            msisdn=row["msisdn"],
            provider_ref=row["provider_ref"],
            since=row["since_at"],
            lease_until=lease_until,
        )
        for row in rows
    )


_SETTLE = (
    tables.sms.update()
    .where(_sms.id == sa.bindparam("b_id"), _sms.ask_at == sa.bindparam("b_lease_until"))
    .values(ask_at=sa.bindparam("b_ask_at"))
)


def settle(connection: sa.Connection, settlements: Sequence[InquirySettlement]) -> None:
    """The SMS are asked for again when it is said, but for those that moved meanwhile."""
    rows = [{"b_id": one.sms_id, "b_lease_until": one.lease_until, "b_ask_at": one.ask_at} for one in settlements]
    if rows:
        connection.execute(_SETTLE, rows)
