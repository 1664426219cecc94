"""New rows, as fast as the drivers take them.

SQLAlchemy goes through the parameters of a statement anew for each row, which for rows as wide as ours takes longer
than the database does to store them. So a statement is compiled once, and its values are made ready here, by the same
types.
"""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import Dialect

from gateway.store import driving
from gateway.store.repeats import make_column, process_of

_statements: dict[tuple[str, str, tuple[str, ...]], "_Insert"] = {}


def insert_all(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, object]]) -> None:
    """The rows, which name the same columns, are in the table; none is fine."""
    if not rows:
        return
    key = (connection.dialect.name, table.name, tuple(rows[0]))
    insert = _statements.get(key) or _statements.setdefault(key, _Insert(connection.dialect, table, key[2]))
    driving.execute_many(connection, insert.text, insert.make_ready(rows))


class _Insert:
    """One statement for one set of columns."""

    def __init__(self, dialect: Dialect, table: sa.Table, columns: Sequence[str]) -> None:
        compiled = table.insert().compile(dialect=dialect, column_keys=list(columns))
        self.text = str(compiled)
        self._names = list(compiled.positiontup or columns)
        self._is_positional = compiled.positiontup is not None
        self._processors = [process_of(table.c[name], dialect) for name in self._names]

    def make_ready(self, rows: Sequence[Mapping[str, object]]) -> driving.Rows:
        columns = [
            make_column([row[name] for row in rows], process)
            for name, process in zip(self._names, self._processors, strict=True)
        ]
        if self._is_positional:
            return list(zip(*columns, strict=True))
        return [dict(zip(self._names, values, strict=True)) for values in zip(*columns, strict=True)]
