"""The process around the gateway: signals, supervisor, exit status. Signals are handled here and nowhere else.

SIGTERM and SIGINT drain; a second one breaks everything off, and what has not ended two seconds later is cut. SIGHUP
reads the configuration again: an unusable one changes nothing and is logged as an error. SIGUSR1 and SIGUSR2 do
nothing.

Diagnostics: events `drain_began`, `daemon_stopped`, `configuration_reloaded` (info), `configuration_doubtful`
(warning), `configuration_unusable`, `daemon_failed` (error), `start_delayed`, `watchdog_unfed` (warning).
"""

import asyncio
import gc
import os
import resource
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

import structlog
import uvloop

from gateway import pauses
from gateway.activation import GivenSockets
from gateway.clock import SystemClock
from gateway.config import Config, ConfigError, load
from gateway.daemon.gateway import Daemon
from gateway.daemon.systemd import Notifier
from gateway.errors import GatewayError
from gateway.log import register_secrets, set_up_logging
from gateway.metrics import RELOADED, count_line
from gateway.smtp.listener import ListenError
from gateway.store import StoreUnavailable, StoreUnusable
from gateway.web.server import HttpUnavailable

_log = structlog.get_logger(__name__)

STOPPED, FAILED, STORE_OR_NETWORK = 0, 1, 4

_CUT_AFTER_S = 2.0
_START_PAUSE_S = 5.0
_STATUS_EVERY_S = 30.0
_EXTEND_EVERY_S = 5.0
_EXTEND_BY_S = 15.0
_NOT_RELOADED = "all goes on with the configuration before; mend this, try `mail2sms check-config`, and reload again"

_NOTHING: Mapping[str, str] = MappingProxyType({})


def run(path: Path, overrides: Mapping[str, str] = _NOTHING) -> int:
    """Run the gateway until it is told to stop; return the exit status.

    Raises ConfigError, or another GatewayError that says why it could not start, before anything was accepted.
    """
    config = load(path, overrides)
    _set_up(config)
    if pauses.ARMED is not None:
        _log.error("pause_armed", point=pauses.ARMED, advice=f"unset {pauses.VARIABLE} and start again: it will freeze")
    process = _Process(config, overrides, GivenSockets.receive())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(process.run())


def _set_up(config: Config) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # keys, numbers and texts are in memory: it is not left on a disk
    register_secrets(config.secrets)
    set_up_logging(form=config.log.format, level=config.log.level, count=count_line)
    for doubt in config.warnings:
        _log.warning("configuration_doubtful", problem=str(doubt))


class _Process:
    def __init__(self, config: Config, overrides: Mapping[str, str], given: GivenSockets) -> None:
        self._config = config
        self._overrides = overrides
        self._given = given
        self._daemon = Daemon(config, given=given)
        self._notifier = Notifier()
        self._stop = asyncio.Event()
        self._reload = asyncio.Event()
        self._main: asyncio.Task[None] | None = None
        self._is_cut = False

    async def run(self) -> int:
        self._take_signals()
        if not await self._start():
            return STOPPED
        gc.collect()
        gc.freeze()  # what is there now stays: looking through it again and again doubled the slowest mails
        try:
            async with asyncio.TaskGroup() as group:
                helpers = [group.create_task(self._reload_when_asked(), name="reload")]
                if self._notifier.is_supervised:
                    helpers.append(group.create_task(self._tell_supervisor(), name="supervisor"))
                self._main = group.create_task(self._daemon.run(self._stop), name="gateway")
                self._announce()
                await asyncio.wait({self._main})
                for helper in helpers:
                    helper.cancel()
        except ExceptionGroup as errors:
            return _tell_failure(errors)
        finally:
            self._ignore_signals()
        _log.info("daemon_stopped", is_cut=self._is_cut)
        return FAILED if self._is_cut else STOPPED

    async def _start(self) -> bool:
        """Return whether it started, and was not told to stop before.

        Under a supervisor, what may come back is waited for: an end would look like one that an operator must see to.
        """
        while True:
            try:
                await self._daemon.start()
            except (StoreUnavailable, ListenError, HttpUnavailable) as error:
                if not self._notifier.is_supervised:
                    raise
                _log.warning("start_delayed", error=str(error), pause_s=_START_PAUSE_S)
                self._notifier.extend(_START_PAUSE_S + _EXTEND_BY_S, f"waiting to start: {error}")
            else:
                return True
            self._daemon = Daemon(self._config, given=self._given)
            with suppress(TimeoutError):
                async with asyncio.timeout(_START_PAUSE_S):
                    await self._stop.wait()
                return False

    def _announce(self) -> None:
        sys.stdout.write(self._ready_line + "\n")
        sys.stdout.flush()
        self._notifier.ready(self._ready_line)

    @property
    def _ready_line(self) -> str:
        return f"ready {self._daemon.addresses}"

    # --- signals -------------------------------------------------------------------------------------------------

    def _take_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop_or_cut, number)
        loop.add_signal_handler(signal.SIGHUP, self._reload.set)
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)  # other daemons reopen their logs on them: unheeded, they would kill

    def _ignore_signals(self) -> None:
        """All is recorded: a signal that comes while the process falls apart must not become its exit status."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)

    def _stop_or_cut(self, number: signal.Signals) -> None:
        if not self._stop.is_set():
            _log.info("drain_began", signal=number.name)
            self._notifier.stopping()
            self._stop.set()
            return
        _log.warning("drain_cut", signal=number.name)
        self._is_cut = True
        if self._main is not None:
            self._main.cancel()  # what was under way is recorded
        asyncio.get_running_loop().call_later(_CUT_AFTER_S, os._exit, FAILED)

    # --- reload --------------------------------------------------------------------------------------------------

    async def _reload_when_asked(self) -> None:
        while True:
            await self._reload.wait()
            self._reload.clear()
            self._notifier.reloading(SystemClock().monotonic())  # the loop's own is behind, by the length of a turn
            await self._reload_once()
            self._notifier.ready(self._ready_line)

    async def _reload_once(self) -> None:
        try:
            config = await asyncio.to_thread(load, self._config.path, self._overrides)
            register_secrets(config.secrets)
            await self._daemon.reload(config)
        except ConfigError as error:
            RELOADED.set(0)
            for problem in error.problems:
                _log.error("configuration_unusable", problem=str(problem), advice=_NOT_RELOADED)
        except GatewayError as error:
            RELOADED.set(0)
            _log.error("configuration_unusable", problem=str(error), advice=_NOT_RELOADED)
        else:
            RELOADED.set(1)
            _set_up(config)
            self._config = config
            _log.info("configuration_reloaded", accounts=len(config.accounts), providers=len(config.providers))

    # --- supervisor ----------------------------------------------------------------------------------------------

    async def _tell_supervisor(self) -> None:
        """How it is, and that it lives; once it drains, that it does, so that nobody loses patience."""
        async with asyncio.TaskGroup() as group:
            watches = [group.create_task(self._tell_status(), name="status")]
            if self._notifier.watchdog_s is not None:
                watches.append(group.create_task(self._feed_watchdog(self._notifier.watchdog_s), name="watchdog"))
            await self._stop.wait()
            self._tell_draining()
            for watch in watches:  # they ask the store, which will be closed
                watch.cancel()
        while True:
            await asyncio.sleep(_EXTEND_EVERY_S)
            self._tell_draining()

    def _tell_draining(self) -> None:
        self._notifier.extend(_EXTEND_BY_S, f"draining; {self._daemon.vitals.count_clients()} clients connected")
        self._notifier.alive()

    async def _tell_status(self) -> None:
        """The operator reads it in `systemctl status`."""
        while True:
            self._notifier.status(f"{self._daemon.addresses}; {await self._daemon.vitals.describe()}")
            await asyncio.sleep(_STATUS_EVERY_S)

    async def _feed_watchdog(self, interval_s: float) -> None:
        """The supervisor gets its sign of life as long as the loop turns and all that it needs is alive."""
        while True:
            dead = await self._daemon.vitals.find_dead(interval_s / 3)
            if dead:
                _log.warning("watchdog_unfed", dead=dead, interval_s=interval_s)
            else:
                self._notifier.alive()
            await asyncio.sleep(interval_s / 3)


def _tell_failure(errors: BaseExceptionGroup[BaseException]) -> int:
    """Log why the gateway ends by itself; return the exit status. A store that needs an operator is no bug of ours."""
    error: BaseException | None = errors.subgroup(StoreUnusable)
    if error is None:
        _log.error("daemon_failed", exc_info=errors)
        return FAILED
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    _log.error("daemon_failed", error=str(error))
    return STORE_OR_NETWORK
