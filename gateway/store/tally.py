"""How many rows there are in each state, final ones too: for those who count after a crash. Reads only."""

import sqlalchemy as sa

from gateway.store import tables
from gateway.store.base import Tally


def count(connection: sa.Connection) -> Tally:
    """All mails, and all SMS and reports by state; a state that no row is in is left out."""
    mails = connection.scalar(sa.select(sa.func.count()).select_from(tables.mail))
    by_state: list[dict[str, int]] = []
    for table in (tables.sms, tables.report):
        query = sa.select(table.c.state, sa.func.count().label("number")).group_by(table.c.state)
        by_state.append({row.state.value: row.number for row in connection.execute(query)})
    sms, reports = by_state
    return Tally(mails=mails or 0, sms=sms, reports=reports)
