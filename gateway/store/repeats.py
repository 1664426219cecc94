"""One UPDATE or DELETE for many rows, as fast as the drivers take it: as `inserts`, for what changes rows.

SQLAlchemy goes through the parameters of a statement anew for each row. So a statement is compiled once for each
database, and its values are made ready here, by the same types.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import Dialect

from gateway.store import driving

Process = Callable[[Any], Any] | None
"""What makes a value ready for the driver; None: it is."""

_UNSEEN = object()


class Repeated:
    """A statement that is executed once for each row of values, by the names of its bind parameters."""

    def __init__(self, statement: sa.Update | sa.Delete) -> None:
        self.statement = statement
        self._compiled: dict[str, _Compiled] = {}

    def run(self, connection: sa.Connection, rows: Sequence[Mapping[str, object]]) -> int:
        """Return how many rows of the table it has changed; without values, none."""
        if not rows:
            return 0
        name = connection.dialect.name
        compiled = self._compiled.get(name) or self._compiled.setdefault(
            name, _Compiled(connection.dialect, self.statement)
        )
        return driving.execute_many(connection, compiled.text, compiled.make_ready(rows))


class _Compiled:
    """The statement for one database."""

    def __init__(self, dialect: Dialect, statement: sa.Update | sa.Delete) -> None:
        compiled = statement.compile(dialect=dialect)
        self.text = str(compiled)
        self._is_positional = compiled.positiontup is not None
        binds = {name: bind for bind, name in compiled.bind_names.items()}
        self._names = list(compiled.positiontup or binds)
        self._written_out = compiled.params  # values that stand in the statement itself
        self._processes = [process_of(binds[name], dialect) for name in self._names]

    def make_ready(self, rows: Sequence[Mapping[str, object]]) -> driving.Rows:
        columns = [
            make_column([row.get(name, self._written_out[name]) for row in rows], process)
            for name, process in zip(self._names, self._processes, strict=True)
        ]
        if self._is_positional:
            return list(zip(*columns, strict=True))
        return [dict(zip(self._names, values, strict=True)) for values in zip(*columns, strict=True)]


def make_column(values: list[Any], process: Process) -> list[Any]:
    """Return the values of one parameter for all rows, ready for the driver; what repeats is made ready once."""
    if process is None:
        return values
    ready = []
    last, last_ready = _UNSEEN, None
    for value in values:
        if value is not last:
            last, last_ready = value, process(value)
        ready.append(last_ready)
    return ready


def process_of(value: sa.BindParameter[Any] | sa.Column[Any], dialect: Dialect) -> Process:
    """Return what makes values of the parameter, or for the column, ready."""
    return value.type.dialect_impl(dialect).bind_processor(dialect)
