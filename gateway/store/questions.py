"""Questions asked with every mail, SMS and report, compiled once: as `repeats`, for what reads.

A list among the values makes the statement longer. So that there are few statements, which SQLite too keeps ready, a
list is filled up to the next power of two with its last value, which changes no answer of an IN.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import Dialect

from gateway.store import driving
from gateway.store.repeats import process_of

_LONGEST = 1024
"""A longer list is seldom, stays as it is, and has its statement to itself."""

_Shape = tuple[str, tuple[int, ...]]
"""A database, and the lengths of the lists."""

Found = Mapping[str, Any]
"""A row by the names of its columns."""


class Question:
    """A SELECT whose lists, each in an IN (`expanding`), may have any length."""

    def __init__(self, statement: sa.Select[Any]) -> None:
        self.statement = statement
        self._compiled: dict[_Shape, _Compiled] = {}
        self._columns: dict[str, _Columns] = {}

    def find(self, connection: sa.Connection, values: Mapping[str, Any]) -> list[Found]:
        """Return the rows, their values as the columns have them."""
        name = connection.dialect.name
        columns = self._columns.get(name) or self._columns.setdefault(
            name, _Columns(connection.dialect, self.statement)
        )
        return [columns.make(row) for row in self.ask(connection, values)]

    def ask(self, connection: sa.Connection, values: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        """Return the rows, their values as the driver gives them: instants and enums are not made."""
        filled = {name: _fill(value) if isinstance(value, list) else value for name, value in values.items()}
        lengths = tuple(len(value) for value in filled.values() if isinstance(value, list))
        shape = (connection.dialect.name, lengths)
        compiled = self._compiled.get(shape)
        if compiled is None:
            compiled = _Compiled(connection.dialect, self.statement, filled)
            if max(lengths, default=0) <= _LONGEST:
                self._compiled[shape] = compiled
        return driving.query(connection, compiled.text, compiled.make_ready(filled))


class _Compiled:
    """The statement for one database and lists of these lengths."""

    def __init__(self, dialect: Dialect, statement: sa.Select[Any], values: Mapping[str, Any]) -> None:
        compiled = statement.compile(dialect=dialect)
        expanded = compiled.construct_expanded_state(values)
        of_single = {name: process_of(bind, dialect) for bind, name in compiled.bind_names.items()}
        self.text = expanded.statement
        self._is_positional = expanded.positiontup is not None
        self._names = list(expanded.positiontup or expanded.parameters)
        self._processes = [expanded.processors.get(name) or of_single.get(name) for name in self._names]
        self._of_lists = expanded.parameter_expansion
        self._written_out = {name: value for name, value in expanded.parameters.items() if name not in values}

    def make_ready(self, values: Mapping[str, Any]) -> driving.Values:
        by_name = {**self._written_out, **values}
        for name, names in self._of_lists.items():
            by_name.update(zip(names, values[name], strict=True))
        ready = [
            process(by_name[name]) if process else by_name[name]
            for name, process in zip(self._names, self._processes, strict=True)
        ]
        return ready if self._is_positional else dict(zip(self._names, ready, strict=True))


class _Columns:
    """What the statement selects from one database."""

    def __init__(self, dialect: Dialect, statement: sa.Select[Any]) -> None:
        selected = list(statement.selected_columns)
        self._names = [str(column.key) for column in selected]
        processes = {str(one.key): one.type.dialect_impl(dialect).result_processor(dialect, None) for one in selected}
        self._processes = [(name, process) for name, process in processes.items() if process is not None]

    def make(self, row: Sequence[Any]) -> Found:
        found = dict(zip(self._names, row, strict=True))
        for name, process in self._processes:
            found[name] = process(found[name])
        return found


def _fill(values: list[Any]) -> list[Any]:
    if not 0 < len(values) <= _LONGEST:
        return values
    missing = (1 << (len(values) - 1).bit_length()) - len(values)
    return values + values[-1:] * missing
