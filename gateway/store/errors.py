"""What the store raises. Exceptions of the drivers are translated here, once; no other room sees one.

StoreError                  a fault of ours or of the rows: trying again cannot help
├── StoreUnavailable        for now: locked, full, gone, too slow
└── StoreUnusable           until somebody acts: missing, corrupt, other schema, not durable
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from gateway.errors import GatewayError


class StoreError(GatewayError):
    """The store did not do what was asked; nothing of it was written."""


class StoreUnavailable(StoreError):
    """The store cannot do it now. Whether the transaction was committed may be unknown (answer lost at COMMIT)."""

    temporary = True

    def __init__(self, message: str, *, is_full: bool = False) -> None:
        super().__init__(message)
        self.is_full = is_full


class StoreUnusable(StoreError):
    """The store must not be worked with until somebody has acted; the message says how."""


_SQLITE_CORRUPT = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_SQLITE_NOT_NOW = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_INTERRUPT,
    }
)
_CONTRADICTION = "a row contradicts what the store holds"
_POSTGRESQL_CORRUPT = frozenset({"XX001", "XX002"})
_POSTGRESQL_FULL = "53100"
_POSTGRESQL_READ_ONLY = "25006"  # a standby, or the old primary after a failover
_POSTGRESQL_SCHEMA = frozenset({"42P01", "42703", "3F000", "3D000", "28000", "28P01", "42501"})


@contextmanager
def translated() -> Iterator[None]:
    """Whatever a database or its driver raises within leaves as one of ours, its cause attached."""
    try:
        yield
    except SQLAlchemyError as error:
        raise _translation(error) from error
    except sqlite3.Error as error:
        raise _of_sqlite(error) from error
    except TimeoutError as error:
        raise StoreUnavailable("the store did not answer in time") from error
    except OSError as error:
        raise StoreUnavailable("the store cannot be reached") from error


def primary_code(error: BaseException | None) -> int:
    """What SQLite calls the error, or what caused it, without its extension; SQLITE_OK for any other."""
    while isinstance(error, StoreError):
        error = error.__cause__
    original = error.orig if isinstance(error, DBAPIError) else error
    code: int = getattr(original, "sqlite_errorcode", sqlite3.SQLITE_OK)
    if code == sqlite3.SQLITE_IOERR_SHMSIZE:  # no room for the index of the log: the disk is full, not broken
        return sqlite3.SQLITE_FULL
    return code & 0xFF  # extended codes carry the primary one in their low byte


def is_locked(error: StoreError) -> bool:
    """Say whether somebody else holds an SQLite store."""
    return primary_code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _translation(error: SQLAlchemyError) -> StoreError:
    if isinstance(error, IntegrityError):
        return StoreError(_CONTRADICTION)
    if not isinstance(error, DBAPIError):
        return _of_sqlalchemy(error)
    if isinstance(error.orig, sqlite3.Error):
        return _of_sqlite(error.orig)
    return _of_postgresql(error)


def _of_sqlalchemy(error: SQLAlchemyError) -> StoreError:
    if isinstance(error, PoolTimeoutError):
        return StoreUnavailable("every connection to the store is in use")
    return StoreError("the store was asked for something impossible")


def _of_sqlite(error: sqlite3.Error) -> StoreError:
    if isinstance(error, sqlite3.IntegrityError):
        return StoreError(_CONTRADICTION)
    code = primary_code(error)
    if code in _SQLITE_CORRUPT:
        return StoreUnusable("the store is damaged, or not a database: restore a backup")
    if str(error).startswith(("no such table", "no such column")):
        return StoreUnusable("the store lacks a table or a column: restore a backup")
    if code in _SQLITE_NOT_NOW or "connection" in str(error):
        return StoreUnavailable(_SQLITE_WORDS.get(code, "the store failed"), is_full=code == sqlite3.SQLITE_FULL)
    return StoreError("the store was asked for something impossible")


_LOCKED = "the store is locked by somebody else: a shell of sqlite3, a copy by hand? fuser -v with its file says who"
_SQLITE_WORDS = {
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_FULL: "the disk of the store is full",
    sqlite3.SQLITE_IOERR: "the disk of the store failed",
    sqlite3.SQLITE_CANTOPEN: "the store cannot be opened: look at the rights of its file and its folder",
    sqlite3.SQLITE_READONLY: "the store cannot be written to: look at the rights of its file and its folder",
}


def _of_postgresql(error: DBAPIError) -> StoreError:
    state = getattr(error.orig, "sqlstate", None)
    if state in _POSTGRESQL_CORRUPT:
        return StoreUnusable("the store is damaged: restore a backup")
    if state in _POSTGRESQL_SCHEMA:
        return StoreUnusable("the store lacks a table, a column or a right: look at the grants, or restore a backup")
    if state == _POSTGRESQL_FULL:
        return StoreUnavailable("the disk of the store is full", is_full=True)
    if isinstance(error, OperationalError | InterfaceError) or state == _POSTGRESQL_READ_ONLY:
        return StoreUnavailable("the store is gone, locked or busy")
    return StoreError("the store was asked for something impossible")
