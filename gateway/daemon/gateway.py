"""The gateway in one object: every part built from the configuration, bound, run in one task group, drained.

Promises. Nothing is accepted before everything is bound. A part that ends by itself ends the whole. A drain refuses
what is new, stops claiming, lets mails under way and calls to carriers run to their end, records what became of them,
and is over within `GRACE_S` and a little.

Diagnostics: events `daemon_ready`, `drain_cut` (warning: what had to be broken off), `restart_needed` (warning).
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import structlog

from gateway.activation import NOTHING_GIVEN, GivenSockets
from gateway.balances import Balances
from gateway.clock import Clock, SystemClock
from gateway.config import Config
from gateway.daemon.addresses import Addresses, all_listeners
from gateway.daemon.building import (
    asking_windows,
    build_intake,
    build_room,
    build_vouching,
    own_addresses,
    own_hostname,
    reader_pool,
    report_rules,
    smtp_users,
    syncing_carriers,
    text_profiles,
)
from gateway.daemon.ownership import sole_owner
from gateway.daemon.present import Present
from gateway.daemon.soundness import Soundness
from gateway.daemon.vitals import Vitals
from gateway.dispatcher import Dispatcher
from gateway.errors import GatewayError
from gateway.inquiries import Inquiries
from gateway.janitor import Janitor
from gateway.mailer import Mailer
from gateway.optout_sync import OptOutSync
from gateway.outcomes import Outcomes
from gateway.receipts import Receipts
from gateway.replies import Replies
from gateway.retention import Retention
from gateway.smtp.listener import Listener
from gateway.store import Store, StoreUnavailable
from gateway.store.database import sqlite_path
from gateway.store.reserve import Reserve
from gateway.web import Callbacks, HttpServer, health_app
from gateway.worker import ROLL, Bell, Stage

T = TypeVar("T")

_log = structlog.get_logger(__name__)

GRACE_S = 40.0
"""For everything under way: longer than a call to a carrier, shorter than supervisors wait (45 s and more)."""

_MAIL_GRACE_S = 30.0
_CUT_S = 3.0
"""What was cancelled records what it must within this time."""


class StageEnded(GatewayError):
    """A part of the gateway ended by itself; the whole cannot go on without it."""


class Part(Protocol):
    """A stage: it works until it is stopped."""

    async def run(self) -> None:
        """Work until stopped."""

    def stop(self) -> None:
        """Nothing more is begun."""


class Daemon:
    """`async with Daemon(config) as daemon:` runs the gateway until the block ends; then it is drained.

    Or `start`, then `run(until)`. `given` are sockets that need not be opened. Raises StoreUnusable, StoreUnavailable,
    ListenError, HttpUnavailable, ActivationError or ProviderUnusable when it cannot start.
    """

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
        return self._vitals

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
            self._build()
            smtp = await self._listener.bind()
            self._resources.push_async_callback(self._listener.drain, 0)
            http = None
            if self._http is not None:
                http = await self._http.bind()
                self._resources.callback(self._http.close)
            self._addresses = Addresses(smtp=smtp, http=http)
            if sqlite_path(self._config.store) is not None:
                await self._with_reserve(
                    self._janitor.recover_own
                )  # no need to wait for the leases: nobody else uses this file
        except BaseException:
            await self._resources.aclose()
            raise

    async def run(self, until: asyncio.Event) -> None:
        """Work until told to stop, and drain. A part that fails cancels all others and raises its error in a group."""
        ROLL.set(self._roll)
        try:
            async with asyncio.TaskGroup() as group:
                stages = [self._run_stage(group, "smtp", self._listener.serve())]
                stages += [self._run_stage(group, name, part.run()) for name, part in self._stages().items()]
                http = [] if self._http is None else [self._run_stage(group, "http", self._http.serve())]
                _log.info("daemon_ready", addresses=str(self.addresses))
                await until.wait()
                await self._drain(stages)
                if self._http is not None:
                    self._http.stop()
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
        except StoreUnavailable:
            if self._reserve is None:
                raise
            self._reserve.spend()
            return await step()

    def _build(self) -> None:
        config, clock = self._config, self._clock
        self._present = present = Present(config, clock)
        self._resources.push_async_callback(present.close)
        mailer_bell, dispatcher_bell = Bell(), Bell()
        outcomes = Outcomes(
            store=self._store,
            clock=clock,
            accounts=lambda: present.accounts,
            rules=report_rules(config),
            mailer_bell=mailer_bell,
            dispatcher_bell=dispatcher_bell,
            can_ask=present.can_ask,
        )
        receipts = Receipts(
            store=self._store,
            clock=clock,
            accounts=lambda: present.accounts,
            rules=report_rules(config),
            mailer_bell=mailer_bell,
            can_ask=present.can_ask,
        )
        self._dispatcher = Dispatcher(
            store=self._store,
            outcomes=outcomes,
            clock=clock,
            bell=dispatcher_bell,
            accounts=present.accounts,
            carriers=present.carriers,
            settings=config.dispatcher,
        )
        self._intake = build_intake(
            config,
            store=self._store,
            clock=clock,
            reader=self._reader,
            on_admitted=self._dispatcher.notice,
            on_report=mailer_bell.ring,
        )
        self._room = build_room(config, store=self._store, reserve=self._reserve, clock=clock)
        self._store.on_ruin = self._room.bell.ring  # which ends the gateway, whoever it was that found the ruin
        self._listener = Listener(
            config.smtp,
            self._intake,
            users=smtp_users(config),
            clock=clock,
            given=self._given,
            find_shortage=self._room.find_shortage,
        )
        self._mailer = Mailer(
            store=self._store,
            settings=config.reports,
            hostname=own_hostname(config),
            clock=clock,
            bell=mailer_bell,
        )
        self._janitor = Janitor(
            store=self._store,
            outcomes=outcomes,
            clock=clock,
            mailer_bell=mailer_bell,
            settings=config.janitor,
            receipts=receipts,
        )
        self._build_replies(mailer_bell)
        self._retention = Retention(store=self._store, clock=clock, settings=config.retention)
        self._inquiries = Inquiries(
            store=self._store,
            receipts=receipts,
            clock=clock,
            accounts=lambda: present.accounts,
            providers=lambda: present.providers,
            windows_s=asking_windows(config),
            poll_s=config.janitor.every_s,
        )
        self._balances = Balances(clock=clock, carriers=present.carriers)
        self._vitals = Vitals(
            store=self._store,
            stages=self._roll,
            doors=lambda: self._listener.doors,
            count_clients=lambda: self._listener.open_connections,
            find_shortage=self._room.find_obstacle,
            is_draining=lambda: self._is_draining,
        )
        self._http = None
        if config.http.listen is not None:
            callbacks = Callbacks(
                clock=clock,
                find_hook=present.find_hook,
                take_receipts=receipts.take,
                take_replies=self._replies.take,
            )
            app = health_app(
                clock=clock,
                find_obstacles=self._vitals.find_obstacles,
                count_backlog=self._vitals.count_backlog,
                more_routes=callbacks.routes,
            )
            self._http = HttpServer(app, listen=config.http.listen, given=self._given)

    def _build_replies(self, mailer_bell: Bell) -> None:
        """Make what takes replies, and what tells carriers of the STOPs among them."""
        present, sync_bell = self._present, Bell()
        self._replies = Replies(
            store=self._store,
            clock=self._clock,
            accounts=lambda: present.accounts,
            syncing=lambda: syncing_carriers(present.config),
            rules=report_rules(self._config),
            own_addresses=own_addresses(self._config),
            mailer_bell=mailer_bell,
            sync_bell=sync_bell,
        )
        self._optout_sync = OptOutSync(
            store=self._store,
            clock=self._clock,
            carriers=lambda: present.carriers,
            syncing=lambda: syncing_carriers(present.config),
            bell=sync_bell,
        )

    # --- reload --------------------------------------------------------------------------------------------------

    async def reload(self, config: Config) -> None:
        """Accounts, with their limits, and carriers are those of `config` from now on; the rest waits for a restart.

        Raises ProviderUnusable or DnsUnusable, and nothing has changed, when a carrier or the DNS cannot be set up.
        """
        vouching = build_vouching(config, self._clock)
        waiting = self._sections_that_wait(config)
        present = self._present
        present.become(config)
        if waiting:
            _log.warning("restart_needed", sections=waiting)
        self._intake.reconfigure(present.accounts, text_profiles(config), vouching)
        self._balances.reconfigure(present.carriers)  # before the carriers that are gone are closed
        await self._dispatcher.reconfigure(present.accounts, present.carriers)
        await self._listener.reload(smtp_users(config))

    def _sections_that_wait(self, config: Config) -> list[str]:
        fixed = ("store", "reports", "http", "smtp", "reading", "dispatcher", "janitor", "retention")
        return [name for name in fixed if getattr(config, name) != getattr(self._present.config, name)]

    # --- stages --------------------------------------------------------------------------------------------------

    def _run_stage(self, group: asyncio.TaskGroup, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        async def stage() -> None:
            await work
            if not self._is_draining:
                raise StageEnded(f"{name} ended by itself")

        return group.create_task(stage(), name=name)

    def _stages(self) -> Mapping[str, Part]:
        """What works on the rows, beside the listeners."""
        return {
            "dispatcher": self._dispatcher,
            "mailer": self._mailer,
            "janitor": self._janitor,
            "balances": self._balances,
            "inquiries": self._inquiries,
            "replies": self._replies,
            "optouts": self._optout_sync,
            "retention": self._retention,
            "room": self._room,
            "soundness": self._soundness,
        }

    async def _drain(self, stages: Sequence[asyncio.Task[None]]) -> None:
        self._is_draining = True
        for part in self._stages().values():
            part.stop()
        try:
            async with asyncio.timeout(GRACE_S):
                await self._listener.drain(_MAIL_GRACE_S)
                await asyncio.wait(stages)
        except TimeoutError:
            late = [stage for stage in stages if not stage.done()]
            _log.warning("drain_cut", stages=[stage.get_name() for stage in late])
            for stage in late:
                stage.cancel()
            await asyncio.wait(stages, timeout=_CUT_S)
