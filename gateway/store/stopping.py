"""A STOP takes effect: the number is on the list, and what waits for it is cancelled, in one transaction.

What is just being claimed is looked at again by its claimer (`ClaimedSms.is_opted_out`); so is whatever waited beyond
`_MOST`, and an SMS that another node was storing at the same moment.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from gateway.lifecycle import EnvoiId, SmsEvent, SmsId
from gateway.protocol.codes import Code
from gateway.store import optouts, settling, tables
from gateway.store.base import Settlement
from gateway.store.refusing import OPTED_OUT
from gateway.store.staging import Writers
from gateway.store.stoplist import EVERYBODY, OptOut
from gateway.store.tables import SMS_WAITING, by_index
from gateway.store.two_way import Stopped, StoppedSms, StopRules

_sms = tables.sms.c

_MOST = 1000
"""SMS that one opt-out, or one piece of an import, cancels at once; the rest are cancelled when they are claimed."""


def stop(
    connection: sa.Connection, new: Sequence[OptOut], rules: StopRules, now: datetime, writers: Writers
) -> Stopped:
    """The numbers are on the list, the carriers that keep lists are to be told, and what waits is cancelled."""
    waiting = _find_waiting(connection, new, rules.exempt)
    settlements = [
        Settlement(
            sms_id=SmsId(row["id"]),
            epoch=row["epoch"],
            from_state=row["state"],
            event=SmsEvent.CANCELLED,
            code=Code.C11_NUMBER_BLACKLISTED,  # docs/protocol.md §5.6
            reason=OPTED_OUT,
        )
        for row in waiting
    ]
    moves = settling.Moves(connection, now)
    moved = moves.make(settlements) if settlements else ()
    reports = moves.finish(writers)
    # After the SMS, as whoever settles does: in another order two nodes could lock each other out
    added = optouts.add(connection, new)
    optouts.tell_carriers(connection, new, rules, now)
    cancelled = tuple(
        StoppedSms(id=SmsId(row["id"]), envoi_id=EnvoiId(row["envoi_id"]), account=row["account"])
        for row in waiting
        if row["id"] in moved
    )
    return Stopped(added=added, cancelled=cancelled, reports=reports)


def waiting_query(account: str, numbers: Collection[str], exempt: Collection[str], limit: int) -> sa.Select[Any]:
    """What waits for these numbers; of all accounts but the exempt ones, or of one."""
    scope = _sms.account.not_in(sorted(exempt)) if account == EVERYBODY else _sms.account == account
    query = (
        sa.select(_sms.id, _sms.envoi_id, _sms.account, _sms.state, _sms.epoch)
        .where(_sms.msisdn.in_(sorted(numbers)), _sms.state.in_(SMS_WAITING), scope)
        .limit(limit)
    )
    return by_index(query, tables.sms, "ix_sms_msisdn")


def _find_waiting(connection: sa.Connection, stopped: Iterable[OptOut], exempt: Collection[str]) -> list[sa.RowMapping]:
    numbers: dict[str, set[str]] = {}
    for one in stopped:
        if one.account not in exempt:
            numbers.setdefault(one.account, set()).add(one.msisdn)
    found: dict[str, sa.RowMapping] = {}
    for account, wanted in numbers.items():
        rows = connection.execute(waiting_query(account, wanted, exempt, _MOST)).mappings()
        found |= {row["id"]: row for row in rows}
    return list(found.values())
