"""The gateway in one object: every part built from the configuration, bound, run in one task group, drained.

Promises. Nothing is accepted before everything is bound. A part that ends by itself ends the whole. A drain refuses
what is new, stops claiming, lets mails under way and calls to carriers run to their end, records what became of them,
and is over within `GRACE_S` and a little.

Diagnostics: events `daemon_ready`, `drain_cut` (warning: what had to be broken off), `restart_needed` (warning).
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self, TypeVar

import structlog

from gateway.activation import NOTHING_GIVEN, GivenSockets
from gateway.clock import Clock, SystemClock
from gateway.config import Config
from gateway.daemon.addresses import Addresses, all_listeners
from gateway.daemon.building import account_networks, build_vouching, reader_pool, smtp_users, text_profiles
from gateway.daemon.ownership import sole_owner
from gateway.daemon.parts import Ground, Parts
from gateway.daemon.soundness import Soundness
from gateway.daemon.vitals import Vitals
from gateway.errors import GatewayError
from gateway.metrics import STARTED_AT
from gateway.store import Store, StoreUnavailable
from gateway.store.database import sqlite_path
from gateway.store.errors import is_locked
from gateway.store.reserve import Reserve
from gateway.worker import ROLL, Stage

T = TypeVar("T")

_log = structlog.get_logger(__name__)

GRACE_S = 40.0
"""For everything under way: longer than a call to a carrier, shorter than supervisors wait (45 s and more)."""

_MAIL_GRACE_S = 30.0
_CUT_S = 3.0
"""What was cancelled records what it must within this time."""


class StageEnded(GatewayError):
    """A part of the gateway ended by itself; the whole cannot go on without it."""


class Daemon:
    """`async with Daemon(config) as daemon:` runs the gateway until the block ends; then it is drained.

    Or `start`, then `run(until)`; `parts` are there from `start` on. `given` are sockets that need not be opened.
    Raises StoreUnusable, StoreUnavailable, ListenError, HttpUnavailable, ActivationError or ProviderUnusable when it
    cannot start.
    """

    parts: Parts

    def __init__(self, config: Config, *, clock: Clock | None = None, given: GivenSockets = NOTHING_GIVEN) -> None:
        self._config = config
        self._given = given
        self._clock = clock or SystemClock()
        self._resources = AsyncExitStack()
        self._is_draining = False
        self._until = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None
        self._addresses: Addresses | None = None
        self._reserve: Reserve | None = None
        self._roll: list[Stage] = []

    @property
    def addresses(self) -> Addresses:
        """Where it listens, from `start` on."""
        if self._addresses is None:
            raise StageEnded("not started")
        return self._addresses

    @property
    def store(self) -> Store:
        """The store it works on, from `start` on."""
        return self._store

    @property
    def vitals(self) -> Vitals:
        """Whether it is alive and ready, and how it is, from `start` on."""
        return self.parts.vitals

    # --- life ----------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self.start()
        self._group = asyncio.TaskGroup()
        await self._group.__aenter__()
        self._group.create_task(self.run(self._until), name="gateway")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._until.set()
        if self._group is not None:
            await self._group.__aexit__(kind, error, trace)

    async def start(self) -> None:
        """Everything is built and bound; what an earlier process left claimed is settled. Nothing is accepted yet."""
        try:
            await self._given.assign(all_listeners(self._config))
            await self._start_reading()
            await self._open_store()
            self.parts = parts = self._build()
            smtp = await parts.listener.bind()
            self._resources.push_async_callback(parts.listener.drain, 0)
            http = None
            if parts.http is not None:
                http = await parts.http.bind()
                self._resources.callback(parts.http.close)
            self._addresses = Addresses(smtp=smtp, http=http)
            if sqlite_path(self._config.store) is not None:  # nobody else uses this file: no need to wait for leases
                await self._with_reserve(parts.janitor.recover_own)
        except BaseException:
            await self._resources.aclose()
            raise

    async def run(self, until: asyncio.Event) -> None:
        """Work until told to stop, and drain. A part that fails cancels all others and raises its error in a group."""
        ROLL.set(self._roll)
        parts = self.parts
        try:
            async with asyncio.TaskGroup() as group:
                stages = [self._run_stage(group, "smtp", parts.listener.serve())]
                stages += [self._run_stage(group, name, part.run()) for name, part in parts.stages.items()]
                http = [] if parts.http is None else [self._run_stage(group, "http", parts.http.serve())]
                STARTED_AT.set(self._clock.now().timestamp())
                _log.info("daemon_ready", addresses=str(self.addresses))
                await until.wait()
                await self._drain(stages)
                if parts.http is not None:
                    parts.http.stop()
                    await asyncio.wait(http)
        finally:
            await self._resources.aclose()

    # --- building ------------------------------------------------------------------------------------------------

    async def _start_reading(self) -> None:
        """The processes that read mails come up while the rest is built."""
        self._reader = reader_pool(self._config, clock=self._clock)
        self._resources.push_async_callback(self._reader.close)
        await self._reader.start()

    async def _open_store(self) -> None:
        database = sqlite_path(self._config.store)
        if database is not None:
            self._resources.enter_context(sole_owner(database))
            if self._config.store.reserve_bytes:
                self._reserve = Reserve(database, self._config.store.reserve_bytes)
                self._reserve.fill()
        self._store = await self._with_reserve(lambda: Store.open(self._config.store, reserve=self._reserve))
        self._resources.push_async_callback(self._store.close)
        await self._with_reserve(self._store.flush)
        self._soundness = Soundness(database, self._clock)
        await self._soundness.check_at_start()

    async def _with_reserve(self, step: Callable[[], Awaitable[T]]) -> T:
        """Return what the step returns. On a full disk it has the reserve: even to open a store takes room."""
        try:
            return await step()
        except StoreUnavailable as error:
            # SQLite cannot always say that it is the disk; that somebody holds a lock it can
            if self._reserve is None or is_locked(error):
                raise
            self._reserve.spend()
            return await step()

    def _build(self) -> Parts:
        parts = Parts(
            Ground(
                config=self._config,
                clock=self._clock,
                store=self._store,
                reserve=self._reserve,
                reader=self._reader,
                soundness=self._soundness,
                given=self._given,
                roll=self._roll,
                find_addresses=lambda: self.addresses.smtp,
                is_draining=lambda: self._is_draining,
            )
        )
        self._resources.push_async_callback(parts.present.close)
        return parts

    # --- reload --------------------------------------------------------------------------------------------------

    async def reload(self, config: Config) -> None:
        """Accounts, with their limits, and carriers are those of `config` from now on; the rest waits for a restart.

        Raises ProviderUnusable or DnsUnusable, and nothing has changed, when a carrier or the DNS cannot be set up.
        """
        vouching = build_vouching(config, self._clock)
        waiting = self._sections_that_wait(config)
        parts, present = self.parts, self.parts.present
        present.become(config)
        if waiting:
            _log.warning("restart_needed", sections=waiting)
        parts.intake.reconfigure(present.accounts, text_profiles(config), vouching)
        parts.balances.reconfigure(present.carriers)  # before the carriers that are gone are closed
        await parts.dispatcher.reconfigure(present.accounts, present.carriers)
        await parts.listener.reload(smtp_users(config), account_networks(config))

    def _sections_that_wait(self, config: Config) -> list[str]:
        # Held against what the parts were built from: one that was reloaded since is no more in force than this one
        fixed = ("store", "reports", "http", "smtp", "reading", "dispatcher", "janitor", "retention")
        return [name for name in fixed if _at_start(config, name) != _at_start(self._config, name)]

    # --- stages --------------------------------------------------------------------------------------------------

    def _run_stage(self, group: asyncio.TaskGroup, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        async def stage() -> None:
            await work
            if not self._is_draining:
                raise StageEnded(f"{name} ended by itself")

        return group.create_task(stage(), name=name)

    async def _drain(self, stages: Sequence[asyncio.Task[None]]) -> None:
        self._is_draining = True
        for part in self.parts.stages.values():
            part.stop()
        try:
            async with asyncio.timeout(GRACE_S):
                await self.parts.listener.drain(_MAIL_GRACE_S)
                await asyncio.wait(stages)
        except TimeoutError:
            late = [stage for stage in stages if not stage.done()]
            _log.warning("drain_cut", stages=[stage.get_name() for stage in late])
            for stage in late:
                stage.cancel()
            await asyncio.wait(stages, timeout=_CUT_S)


def _at_start(config: Config, name: str) -> object:
    """Return what of a section is in force from the start on; tokens are asked for anew with each request."""
    section = getattr(config, name)
    return section.model_copy(update={"tokens": ()}) if name == "http" else section
