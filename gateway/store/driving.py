"""Statements handed to the driver itself, for what is done with every mail, SMS and report.

To execute a statement, SQLAlchemy makes a dozen objects around it; measured on SQLite, that takes three times as long
as the statement does, and with a savepoint some seventy times as long. On PostgreSQL the way to the server is longer
than both, and SQLAlchemy must hear of connections that break: there everything goes through it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import sqlalchemy as sa

Values = Sequence[Any] | Mapping[str, Any]
"""The parameters of one execution, as the driver takes them."""

Rows = Sequence[Sequence[Any]] | Sequence[Mapping[str, Any]]
"""Those of several."""


class Savepoint(Protocol):
    """What was done since is kept by `commit` and undone by `rollback`; one of them ends it, the last begun first."""

    def commit(self) -> None: ...

    def rollback(self) -> None: ...


def query(connection: sa.Connection, text: str, values: Values) -> Sequence[Sequence[Any]]:
    """Return the rows that are found, with values as the driver gives them."""
    if connection.dialect.name != "sqlite":
        return connection.exec_driver_sql(text, values).all()
    cursor = connection.connection.cursor()
    try:
        cursor.execute(text, values)
        return cursor.fetchall()
    finally:
        cursor.close()


def execute_many(connection: sa.Connection, text: str, rows: Rows) -> int:
    """Execute the statement once for each row of values; return how many rows of the table it has changed."""
    if connection.dialect.name != "sqlite":
        return connection.exec_driver_sql(text, rows).rowcount
    cursor = connection.connection.cursor()
    try:
        cursor.executemany(text, rows)
        return cursor.rowcount
    finally:
        cursor.close()


def begin_savepoint(connection: sa.Connection, name: str) -> Savepoint:
    """Begin a part of the transaction that can be undone by itself.

    One within another has another name, so that the outer ends the inner too, should that have been left open.
    """
    return _SqliteSavepoint(connection, name) if connection.dialect.name == "sqlite" else connection.begin_nested()


class _SqliteSavepoint:
    """One of SQLite, which takes the last begun of a name for it."""

    def __init__(self, connection: sa.Connection, name: str) -> None:
        self._connection = connection
        self._name = name
        query(connection, f"SAVEPOINT {name}", ())

    def commit(self) -> None:
        query(self._connection, f"RELEASE {self._name}", ())

    def rollback(self) -> None:
        query(self._connection, f"ROLLBACK TO {self._name}", ())
        query(self._connection, f"RELEASE {self._name}", ())
