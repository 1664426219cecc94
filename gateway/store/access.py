"""A store that is open: asked and written in time, never again once it is ruined, with a reserve for a full disk."""

import asyncio
import copy
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Concatenate, ParamSpec, Self, TypeVar

import sqlalchemy as sa

from gateway.store.database import Database, connect
from gateway.store.durations import timed
from gateway.store.errors import StoreUnavailable, StoreUnusable, translated
from gateway.store.patience import Patience
from gateway.store.reserve import Reserve
from gateway.store.schema import check
from gateway.store.settings import StoreSettings

P = ParamSpec("P")
T = TypeVar("T")

_FLUSH_S = 60.0
"""Longer than any step: there may be a log of some gigabytes."""


class StoreAccess:
    """What every step goes through. `Store` has the steps.

    After `StoreUnusable` every step raises it, and `on_ruin` is called: who found it may be one mail's session.
    """

    on_ruin: Callable[[], None] = staticmethod(lambda: None)

    def __init__(self, database: Database, settings: StoreSettings) -> None:
        self._database = database
        self._settings = settings
        self._reserve: Reserve | None = None
        self._ruin: StoreUnusable | None = None

    @classmethod
    async def open(
        cls,
        settings: StoreSettings,
        *,
        read_only: bool = False,
        may_be_copy: bool = False,
        reserve: Reserve | None = None,
    ) -> Self:
        """The store is there, of this version, and durable; else `StoreUnusable`. Creates and changes nothing.

        `read_only`: steps that write raise `StoreUnavailable`; a daemon at work on the store is not disturbed. A backup
        that was put into place is refused for writing until it was accepted, unless `may_be_copy`. `reserve` is
        spent when the disk is full; from then until it is filled again nothing is admitted, and nothing claimed.
        """
        with translated():
            database = connect(settings, read_only=read_only)
            store = cls(database, settings)
        store._reserve = reserve
        try:
            step = partial(check, may_be_copy=read_only or may_be_copy)
            await (store._read(step) if read_only else store._write(step))
            await store.ping()
        except BaseException:
            await store.close()
            raise
        return store

    async def close(self) -> None:
        """Every connection is closed; nothing may be asked any more."""
        with translated():
            await self._database.close()

    async def ping(self) -> None:
        """The store answers a question, and is still the one that was opened (readiness)."""
        with self._watched():
            self._database.check_presence()
        await self._read(lambda connection: connection.scalar(sa.select(1)))

    async def beat(self) -> None:
        """A transaction was committed, the way all of them are (the watchdog); no row is different for it."""
        await self._write(_beat)

    async def flush(self) -> None:
        """Everything that can be read is on disk; for a start, before anything is promised that rests on it.

        A process that was killed in the middle of a commit leaves it in the system's memory, readable and not durable.
        """
        with translated():
            async with asyncio.timeout(max(_FLUSH_S, self._settings.deadline_s)):
                await self._database.flush()

    # --- for the steps -----------------------------------------------------------------------------------------------

    async def _write(self, step: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        with timed("write"):
            return await self._in_time(
                lambda: self._database.write(lambda: lambda connection: step(connection, *args, **kwargs))
            )

    async def _read(self, step: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        with timed("read"):
            return await self._in_time(
                lambda: self._database.read(lambda connection: step(connection, *args, **kwargs))
            )

    async def _in_time(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Return what the database answers. Raises StoreError, within the deadlines."""
        # Out of time, the transaction is cut off and its end waited for; the grace is for one that has none, say on a
        # disk that no longer answers
        with self._watched(), Patience(self._settings.deadline_s, grace_s=self._settings.busy_timeout_s):
            return await ask()

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """What is raised within is ours, and what it means for the whole store is drawn from it."""
        self.raise_if_ruined()
        try:
            with translated():
                yield
        except StoreUnavailable as error:
            if error.is_full and self._reserve is not None:
                self._reserve.spend()  # whoever has a result to store tries again, and finds room
            raise
        except StoreUnusable as error:
            self._ruin = error
            self.on_ruin()
            raise

    def raise_if_ruined(self) -> None:
        """Raises what made the store unusable, if anything has."""
        if self._ruin is not None:
            raise copy.copy(self._ruin)  # its own, for a traceback grows where it is raised

    @property
    def _is_full(self) -> bool:
        return self._reserve is not None and self._reserve.is_spent

    def _refuse_if_full(self) -> None:
        if self._is_full:
            raise StoreUnavailable("the disk of the store is full", is_full=True)


def _beat(connection: sa.Connection) -> None:
    is_sqlite = connection.dialect.name == "sqlite"
    # Each makes the transaction one that writes: the header of the file, which nobody reads; a number of its own
    connection.exec_driver_sql("PRAGMA user_version = 0" if is_sqlite else "SELECT pg_current_xact_id()")
