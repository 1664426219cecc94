"""A restored store accepted: what becomes of the SMS that waited in it when the copy was made.

They may have been sent since, so nobody but an operator decides. Each decision removes the mark of the copy in the
transaction that moves the SMS: cut off before, it is to be made again.
"""

from datetime import datetime

import sqlalchemy as sa

from gateway.lifecycle import SMS_MOVES, SmsEvent, SmsState
from gateway.store import copies, tables
from gateway.store.tables import one_of

HELD_BECAUSE = "waited in a backup that was restored: it may have been sent since"

_sms = tables.sms.c


def hold(connection: sa.Connection, now: datetime) -> int:
    """What is queued is held; return how many moved. It expires at the end of its validity, or is released."""
    moved = connection.execute(
        tables.sms.update()
        .where(one_of("sms.state", (SmsState.QUEUED,)))
        .values(state=SMS_MOVES[SmsState.QUEUED][SmsEvent.HELD], since_at=now, reason=HELD_BECAUSE)
    )
    copies.remove_mark(connection)
    return moved.rowcount


def release(connection: sa.Connection, now: datetime) -> int:
    """What `hold` held is queued again, due as it was; return how many are queued in all."""
    connection.execute(
        tables.sms.update()
        .where(one_of("sms.state", (SmsState.HELD,)), _sms.reason == HELD_BECAUSE)
        .values(state=SMS_MOVES[SmsState.HELD][SmsEvent.RELEASED], since_at=now, reason=None)
    )
    copies.remove_mark(connection)
    waiting = sa.select(sa.func.count()).where(one_of("sms.state", (SmsState.QUEUED,))).select_from(tables.sms)
    return connection.scalar(waiting) or 0
