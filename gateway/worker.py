"""What every stage is made of: a bell, a loop that looks for rows, a crew of named tasks, a gate before what may fail.

Promises. A stage is woken by whoever wrote a row and looks by itself at intervals, so a lost ring costs a delay, never
a row. A look that fails pauses the stage, longer each time, and never ends it: only a store that nobody can use without
an operator does (`StoreUnusable`), and that ends the process. A task that fails is logged with its traceback and harms
no other. A stage that is stopped claims nothing more and returns when its tasks have ended.

Two writes run to their end even if they are cancelled: storing a mail whose DATA is complete (`run_to_end`), and
recording what became of a call to a provider (`Clerks`). Nothing else is shielded.

Diagnostics: events `stage_paused` (warning, error), `task_failed`, `call_failed`, `write_failed` (error).
"""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar

import structlog

from gateway.clock import Clock
from gateway.errors import GatewayError
from gateway.store.errors import StoreUnavailable, StoreUnusable

T = TypeVar("T")

_log = structlog.get_logger(__name__)

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 10.0
"""A store that is back is noticed within this time."""


async def run_to_end(work: Coroutine[Any, Any, T], *, name: str = "run_to_end") -> T:
    """`work` has ended, even if this call was cancelled meanwhile; the cancellation is delivered afterwards.

    The work must be bounded by its own deadline. An error of work whose caller was cancelled is logged here, because
    the caller can no longer hear of it.
    """
    # The one task outside a TaskGroup: a group would cancel it together with the caller.
    task = asyncio.get_running_loop().create_task(work, name=name)
    cancellation: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancellation = error
    if cancellation is None:
        return task.result()
    if not task.cancelled() and (failure := task.exception()) is not None:
        _tell_failure(failure, task=name)
    raise cancellation


def _tell_failure(failure: BaseException, **about: str) -> None:
    told = {"error": str(failure)} if isinstance(failure, GatewayError) else {"exc_info": failure}
    _log.error("write_failed", **about, **told)


class Clerks:
    """Writes that go on beside their owner's work and run to their end, whatever becomes of the owner.

    Leaving the block waits for all of them, also when it is left by a cancellation, which is delivered afterwards; then
    the first error of theirs is raised, or logged when another exception is on its way. Each must be bounded by its
    own deadline.
    """

    def __init__(self) -> None:
        self._writes: set[asyncio.Task[Any]] = set()
        self._failure: BaseException | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        cancellation: asyncio.CancelledError | None = None
        while self._writes:
            try:
                await asyncio.wait(self._writes)
            except asyncio.CancelledError as caught:
                cancellation = caught
        if error is None and cancellation is None and self._failure is not None:
            raise self._failure
        if self._failure is not None:
            _tell_failure(self._failure)
        if cancellation is not None:
            raise cancellation

    @property
    def has_failed(self) -> bool:
        """True once a write has raised: its owner does not go on."""
        return self._failure is not None

    async def wait_for_fewer(self, count: int) -> None:
        """Return when fewer than so many are under way."""
        while len(self._writes) >= count:
            await asyncio.wait(self._writes, return_when=asyncio.FIRST_COMPLETED)

    def start(self, work: Coroutine[Any, Any, object], *, name: str) -> None:
        """`work` is under way. It logs as its owner does now."""
        # Not in a TaskGroup: a group would cancel it together with the owner, perhaps before its first step.
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._writes.add(task)
        task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[Any]) -> None:
        self._writes.discard(task)
        failure = asyncio.CancelledError() if task.cancelled() else task.exception()
        self._failure = self._failure or failure


async def call_or(call: Awaitable[T], otherwise: Callable[[], T], *, name: str) -> T:
    """Return what `call` returns; an exception it should never raise is logged, and `otherwise()` is the result."""
    try:
        return await call
    except Exception:  # noqa: BLE001 here it is logged and settled
        _log.exception("call_failed", call=name)
        return otherwise()


class Bell:
    """Wakes the one stage that waits for it. Rung once or many times before the wait: the same."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """The stage looks for rows now, or as soon as it is done with its present look. Only from the loop's thread."""
        self._rung.set()

    async def wait(self, timeout_s: float) -> None:
        """Return when the bell was rung since the last wait ended, at the latest after `timeout_s`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(timeout_s, 0)):
                await self._rung.wait()
        self._rung.clear()


class Crew:
    """A group of named tasks, each on its own: one that fails is logged, the others go on.

    Leaving the block waits for all of them; cancelling it cancels them, and they record what they must before they go.
    """

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()
        self._size = 0

    async def __aenter__(self) -> Self:
        self._context = contextvars.copy_context()
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._group.__aexit__(kind, error, trace)

    @property
    def size(self) -> int:
        """How many tasks are at work."""
        return self._size

    def start(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """`work` runs as a task with this name, whoever calls.

        It logs as the crew does: what a session has bound (its client, its mail) is not of the SMS that go out by it.
        """
        self._size += 1
        self._group.create_task(self._guard(name, work), name=name, context=self._context.copy())

    async def _guard(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except StoreUnusable:
            raise
        except StoreUnavailable as error:
            _log.warning("task_failed", task=name, error=str(error))
        except Exception:  # noqa: BLE001 one task's failure is not the stage's
            _log.exception("task_failed", task=name)
        finally:
            self._size -= (
                1  # in the same step as whatever bell the work rang at its end: there is room when it is heard
            )


ROLL: contextvars.ContextVar[list["Stage"] | None] = contextvars.ContextVar("roll", default=None)
"""Where a stage that begins to work puts itself down, for whoever watches over all of them."""


class Stage:
    """The loop of a stage: look for rows, start what there is to do, sleep until the bell or the next due row.

    `look` starts tasks in the crew it is given and returns in how many seconds it wants to look again; `poll_s` is the
    longest sleep, the safety net under a bell that nobody rang (another node, another process, a lost ring).
    """

    def __init__(self, *, name: str, bell: Bell, look: Callable[[Crew], Awaitable[float]], poll_s: float) -> None:
        self.name = name
        self.bell = bell
        self._look = look
        self._poll_s = poll_s
        self._stopping = asyncio.Event()
        self._failures = 0
        self._looks_since: float | None = None

    @property
    def looks_for_s(self) -> float:
        """How long the look that goes on now has taken; 0 between looks."""
        return 0.0 if self._looks_since is None else asyncio.get_running_loop().time() - self._looks_since

    @property
    def is_stopping(self) -> bool:
        """True once the stage claims nothing more."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """The stage claims nothing more; `run` returns when what it has begun is done. May be called twice."""
        self._stopping.set()
        self.bell.ring()

    async def run(self) -> None:
        """Work until stopped. Cancelling cancels the tasks, which record what they must."""
        roll = ROLL.get()
        if roll is not None:
            roll.append(self)
        async with Crew() as crew:
            while not self.is_stopping:
                await self._look_once(crew)

    async def _look_once(self, crew: Crew) -> None:
        try:
            wanted_s = await self._look_timed(crew)
        except StoreUnusable:
            raise
        except StoreUnavailable as error:
            _log.warning("stage_paused", stage=self.name, error=str(error))
            await self._pause()
        except Exception:  # noqa: BLE001 the rows are still there at the next look
            _log.exception("stage_paused", stage=self.name)
            await self._pause()
        else:
            self._failures = 0
            await self.bell.wait(min(wanted_s, self._poll_s))

    async def _look_timed(self, crew: Crew) -> float:
        self._looks_since = asyncio.get_running_loop().time()
        try:
            return await self._look(crew)
        finally:
            self._looks_since = None

    async def _pause(self) -> None:
        """A failing look is not repeated at once, however often the bell rings."""
        pause_s = min(_FIRST_PAUSE_S * 2**self._failures, _LONGEST_PAUSE_S)
        self._failures = min(self._failures + 1, 10)
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._stopping.wait()


class Gate:
    """Stands before something that can be down: open, shut for a while, then open for one probe.

    It shuts after `patience` failures in a row, or at once when told to; each time in a row for twice as long, from
    `first_s` up to `longest_s`. The probe's success opens it, its failure shuts it again. In memory only: rows carry
    their own `due_at`, so nothing is lost with it.
    """

    def __init__(self, *, clock: Clock, first_s: float, longest_s: float, patience: int = 1) -> None:
        self._clock = clock
        self._first_s = first_s
        self._longest_s = longest_s
        self._patience = patience
        self._failures = 0
        self._shut_times = 0
        self._opens_at = clock.monotonic()
        self._is_probing = False

    @property
    def is_suspect(self) -> bool:
        """True from when it shut until something succeeded: what enters now is a probe."""
        return self._shut_times > 0

    @property
    def is_open(self) -> bool:
        """True when one may enter."""
        return self.opens_in_s <= 0 and not self._is_probing

    @property
    def opens_in_s(self) -> float:
        """Seconds until it opens for a probe; 0 when it is open, or a probe is inside."""
        return max(0.0, self._opens_at - self._clock.monotonic())

    def enter(self) -> None:
        """The caller is inside and must call one of the methods below when it is done."""
        self._is_probing = self.is_suspect

    def leave(self) -> None:
        """Nothing was learnt."""
        self._is_probing = False

    def succeed(self) -> None:
        """It answers: the gate is open to all."""
        self._failures = self._shut_times = 0
        self._opens_at = self._clock.monotonic()
        self._is_probing = False

    def fail(self, times: int = 1, *, at_least_s: float = 0.0) -> bool:
        """Return whether that shut the gate (`shut`). A probe that fails always does."""
        self._failures += times
        if self.is_suspect or self._failures >= self._patience:
            self.shut(at_least_s)
            return True
        self._is_probing = False
        return False

    def shut(self, at_least_s: float = 0.0) -> None:
        """Nobody enters for a while. Shutting a shut gate does not lengthen the row of failures."""
        if self.opens_in_s <= 0:
            self._shut_times += 1
        pause_s = min(self._first_s * 2 ** min(self._shut_times - 1, 20), self._longest_s)
        self._opens_at = max(self._opens_at, self._clock.monotonic() + max(pause_s, at_least_s))
        self._failures = 0
        self._is_probing = False
