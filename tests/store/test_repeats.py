"""Statements for many rows: what SQLAlchemy would do for each, on both databases."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine.interfaces import Dialect

from gateway.lifecycle import SmsState
from gateway.store import tables
from gateway.store.repeats import _Compiled, make_column

AT = datetime(2026, 3, 4, 9, 30, tzinfo=UTC)
DIALECTS: Mapping[str, Dialect] = {
    "sqlite": sqlite.dialect(),
    "postgresql": postgresql.psycopg.dialect(),  # type: ignore[no-untyped-call]
}

MOVE = (
    tables.sms.update()
    .where(tables.sms.c.id == sa.bindparam("b_id"), tables.sms.c.state == SmsState.QUEUED)
    .values(
        state=sa.bindparam("b_state"), since_at=sa.bindparam("b_at"), lease_until=None, epoch=tables.sms.c.epoch + 1
    )
)
ROWS: Sequence[Mapping[str, object]] = [
    {"b_id": "1", "b_state": SmsState.SENDING, "b_at": AT},
    {"b_id": "2", "b_state": SmsState.SENDING, "b_at": AT},
    {"b_id": "3", "b_state": SmsState.HELD, "b_at": AT.astimezone(timezone(timedelta(hours=2)))},
    {"b_id": "4", "b_state": SmsState.HELD, "b_at": None},
]


@pytest.mark.parametrize("name", DIALECTS)
def test_values_are_made_ready_as_sqlalchemy_would(name: str) -> None:
    dialect = DIALECTS[name]

    assert list(_Compiled(dialect, MOVE).make_ready(ROWS)) == _as_sqlalchemy_would(dialect)


def _as_sqlalchemy_would(dialect: Dialect) -> list[object]:
    compiled = MOVE.compile(dialect=dialect)
    ready: list[object] = []
    for row in ROWS:
        values = compiled.construct_params(dict(row))
        values = {
            key: process(value) if callable(process := compiled._bind_processors.get(key)) else value
            for key, value in values.items()
        }
        ready.append(tuple(values[key] for key in compiled.positiontup) if compiled.positiontup else values)
    return ready


def test_what_repeats_is_made_ready_once() -> None:
    seen = []

    def process(value: object) -> object:
        seen.append(value)
        return value

    assert make_column([AT, AT, None, None, AT], process) == [AT, AT, None, None, AT]
    assert seen == [AT, None, AT]
