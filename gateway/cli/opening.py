"""The opening of the store, for commands that ask it something or change it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from gateway.clock import Clock, SystemClock
from gateway.config import Config
from gateway.daemon.ownership import is_owned
from gateway.policy.accounts import Accounts
from gateway.store import Store
from gateway.store.database import sqlite_path
from gateway.stories import Stories

T = TypeVar("T")


def with_stories(settings: Config, step: Callable[[Stories], Awaitable[T]]) -> T:
    """Return what is asked of the stories of the store, which is only read; a gateway at work is not disturbed."""
    return with_store(settings, lambda store: step(new_stories(settings, store, SystemClock())), read_only=True)


def with_store(settings: Config, step: Callable[[Store], Awaitable[T]], *, read_only: bool = False) -> T:
    """Return what is done with the store."""

    async def run() -> T:
        async with opened(settings, read_only=read_only) as store:
            return await step(store)

    return asyncio.run(run())


@asynccontextmanager
async def opened(settings: Config, *, read_only: bool = False) -> AsyncIterator[Store]:
    """The store is open meanwhile."""
    store = await Store.open(settings.store, read_only=read_only)
    try:
        yield store
    finally:
        await store.close()


def new_stories(settings: Config, store: Store, clock: Clock) -> Stories:
    """Return the stories of the store, told with the accounts of this configuration."""
    accounts, database = Accounts(settings.accounts), sqlite_path(settings.store)
    return Stories(store, clock, lambda: accounts, is_serving=lambda: None if database is None else is_owned(database))
