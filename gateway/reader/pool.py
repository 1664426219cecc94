"""Reads mails in child processes: what takes long, takes all memory or kills the parser harms only itself.

Promises. A mail costs others at most the seat it sits on, for `deadline_s`. A child that dies, overruns or talks
nonsense is killed and replaced. A mail whose child died is read once more by a fresh one, for something else may have
killed it; when that dies, too, when reading takes too long or fails in a way it should not, the client is told to come
back (the fault is ours), and a copy is kept for whoever finds out why. No child outlives `close`, or this process,
however that ends. When no child can be started, mails are deferred and it is tried again, ever less often.

Diagnostics: events `reading_failed`, `reader_unstartable` (error), `reader_replaced`, `quarantine_failed` (warning);
metrics `mail2sms_reader_troubles_total` and `mail2sms_reader_starts_total`.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from enum import Enum, unique

import structlog
from prometheus_client import Counter

from gateway.clock import Clock
from gateway.metrics import REGISTRY
from gateway.protocol.reading import Limits, Mode, Unreadable
from gateway.reader.answers import Answer, Failed, Garbled, decode_answer, longest_answer
from gateway.reader.inline import LARGE_BYTES, TOO_SLOW, NotRead
from gateway.reader.mail import MailRead
from gateway.reader.process import Child, ChildDied, default_command
from gateway.reader.quarantine import Quarantine
from gateway.reader.seats import QueueFull, Seat, Seats
from gateway.reader.settings import ReadingSettings

_log = structlog.get_logger(__name__)

_TROUBLES = Counter("mail2sms_reader_troubles_total", "Mails not read, by cause.", ("cause",), registry=REGISTRY)
_STARTS = Counter("mail2sms_reader_starts_total", "Processes started to read mails.", registry=REGISTRY)

_FIRST_DELAY_S, _LONGEST_DELAY_S = 0.5, 30.0
_KEEPING_DEADLINE_S = 10.0

NOT_NOW = "The mail cannot be read at the moment, try again later"
TOO_MANY = "Too many mails are being read at the moment, try again later"
ADVICE = (
    "ask `mail2sms lint FILE --config FILE` what the mail is, from `kept`; take the file away when it is understood"
)


@unique
class Trouble(Enum):
    """Why a mail was not read: the label of the metric."""

    DIED = "died"  # its children, twice
    OVERRAN = "overran"
    FAILED = "failed"
    UNSTARTABLE = "unstartable"
    BUSY = "busy"


class _Bad(Exception):
    """Reading this mail went wrong; the child is gone, or as good as new. `is_final`: no use trying once more."""

    def __init__(self, trouble: Trouble, cause: str, *, is_final: bool) -> None:
        super().__init__(cause)
        self.trouble = trouble
        self.is_final = is_final


class ReaderPool:
    """The children, and the queue before them."""

    def __init__(
        self,
        settings: ReadingSettings,
        limits: Limits,
        *,
        clock: Clock,
        quarantine: Quarantine | None,
        command: Sequence[str] | None = None,
    ) -> None:
        """Be ready to start. `command`, unless it is the package's own child, is given the same arguments."""
        self._settings = settings
        self._limits = limits
        self._clock = clock
        self._quarantine = quarantine
        self._command = tuple(command or default_command())
        self._longest_answer = longest_answer(limits)
        self._seats = Seats(settings.workers, max_waiting=settings.max_waiting, patience_s=settings.patience_s)
        self._failed_starts = 0
        self._start_again_at = float("-inf")
        self._children: list[Child] = []  # all that may not have ended
        self._is_closed = False

    # --- life ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """The children are on their way. Where there can be none, it is tried again when a mail comes."""
        for seat in self._seats.all:
            await self._replace(seat)

    async def close(self) -> None:
        """No child is left. Mails that are being read are not."""
        self._is_closed = True
        for child in self._children:
            child.kill()
        for child in self._children:
            await child.end()

    @property
    def is_unstartable(self) -> bool:
        """True from a failed start to the next try: mails are answered 451 without one. The next mail then tries."""
        return self._failed_starts > 0 and self._clock.monotonic() < self._start_again_at

    # --- reading -------------------------------------------------------------------------------------------------

    async def read(self, content: bytes, mode: Mode, *, name: str) -> MailRead | Unreadable:
        """Return what the mail says; `name` is what a copy of it would be called. Raises NotRead."""
        is_large = len(content) > LARGE_BYTES
        seat = self._seats.take_free(is_large=is_large) or await self._wait_for_seat(is_large=is_large)
        try:
            return await self._read_on(seat, content, mode)
        except _Bad as error:
            bad = error
        except NotRead:
            _TROUBLES.labels(Trouble.UNSTARTABLE.value).inc()
            raise
        finally:
            self._seats.give_back(seat)
        raise await self._give_up(name, content, bad) from bad

    async def _give_up(self, name: str, content: bytes, bad: _Bad) -> NotRead:
        """Return what the client is told; a copy is kept, and the operator knows."""
        kept = await self._keep(name, content)
        _TROUBLES.labels(bad.trouble.value).inc()
        _log.error("reading_failed", cause=str(bad), kept=kept, bytes=len(content), advice=ADVICE)
        return NotRead(str(bad), sentence=TOO_SLOW if bad.trouble is Trouble.OVERRAN else NOT_NOW)

    async def _wait_for_seat(self, *, is_large: bool) -> Seat:
        try:
            return await self._seats.wait_for_one(is_large=is_large)
        except (QueueFull, TimeoutError) as error:
            _TROUBLES.labels(Trouble.BUSY.value).inc()
            cause = "too many mails wait to be read" if isinstance(error, QueueFull) else "waited too long to be read"
            raise NotRead(cause, sentence=TOO_MANY) from error

    async def _read_on(self, seat: Seat, content: bytes, mode: Mode) -> MailRead | Unreadable:
        """Return what the mail says, from the second child if need be. Raises _Bad, NotRead."""
        child = await self._staff(seat)
        try:
            return await self._ask(seat, child, content, mode)
        except _Bad as bad:
            if bad.is_final:
                await self._replace(seat)
                raise
            _log.warning("reader_replaced", cause=str(bad), bytes=len(content))
        child = await self._staff(seat)
        try:
            return await self._ask(seat, child, content, mode)
        except _Bad:
            await self._replace(seat)
            raise

    async def _ask(self, seat: Seat, child: Child, content: bytes, mode: Mode) -> MailRead | Unreadable:
        """Return the child's answer. Raises _Bad; a child that is of no more use is gone, and its seat empty."""
        due_at = asyncio.get_running_loop().time() + self._settings.deadline_s
        try:
            data = await child.ask(content, mode, longest_answer=self._longest_answer, due_at=due_at)
            answer = decode_answer(data) if len(data) <= LARGE_BYTES else await _decode_in_thread(data, due_at)
        except TimeoutError as error:
            await _dismiss(seat)
            raise _Bad(Trouble.OVERRAN, "not read within deadline_s of [reading]", is_final=True) from error
        except (ChildDied, Garbled) as error:
            cause = f"the process that read it: {error}, {await _dismiss(seat)}"
            raise _Bad(Trouble.DIED, cause, is_final=False) from error
        except BaseException:  # cancelled: what it says next would be taken for the answer about the next mail
            child.kill()
            seat.child = None
            raise
        if isinstance(answer, Failed):
            if answer.is_memory:  # it may have been the mails before: a fresh one is to try
                await _dismiss(seat)
            cause = f"reading it raised {answer.error} in {answer.where or 'a library'}"
            raise _Bad(Trouble.FAILED, cause, is_final=not answer.is_memory)
        return answer

    async def _keep(self, name: str, content: bytes) -> str | None:
        """Return where a copy of the mail is; None: there is none."""
        if self._quarantine is None:
            return None
        try:
            async with asyncio.timeout(_KEEPING_DEADLINE_S):
                path = await asyncio.to_thread(self._quarantine.keep, name, content)
        except OSError as error:  # TimeoutError is one, without words
            _log.warning("quarantine_failed", reason=error.strerror or "not written in time")
            return None
        return None if path is None else str(path)

    # --- children ------------------------------------------------------------------------------------------------

    async def _staff(self, seat: Seat) -> Child:
        """Return the seat's child, ready; a new one if need be. Raises NotRead when there can be none at the moment."""
        if seat.is_deserted:
            _log.warning("reader_replaced", cause=f"it ended by itself: {await _dismiss(seat)}")
        child = seat.child or await self._start_child(seat)
        try:
            await child.wait_until_ready()
        except ChildDied as error:
            raise self._note_failed_start(f"{error}, {await _dismiss(seat)}") from error
        self._failed_starts = 0
        return child

    async def _start_child(self, seat: Seat) -> Child:
        """Return the seat's new child, on its way. Raises NotRead."""
        if self._is_closed:
            raise NotRead("the gateway is stopping", sentence=NOT_NOW)
        if self._clock.monotonic() < self._start_again_at:
            raise _unstartable()
        try:
            seat.child = await Child.start(
                self._command,
                memory_bytes=self._settings.memory_bytes,
                deadline_s=self._settings.deadline_s,
                limits=self._limits,
            )
        except OSError as error:
            raise self._note_failed_start(error.strerror or type(error).__name__) from error
        _STARTS.inc()
        self._children = [child for child in self._children if not child.has_ended]
        self._children.append(seat.child)
        return seat.child

    async def _replace(self, seat: Seat) -> None:
        """The next mail finds a child, if there can be one."""
        if seat.child is None:
            with suppress(NotRead):
                await self._start_child(seat)

    def _note_failed_start(self, cause: str) -> NotRead:
        """Return what is raised; no other start is tried for a while."""
        delay_s = min(_FIRST_DELAY_S * 2**self._failed_starts, _LONGEST_DELAY_S)
        self._failed_starts += 1
        self._start_again_at = self._clock.monotonic() + delay_s
        _log.error(
            "reader_unstartable", cause=cause, again_in_s=delay_s, advice="no mail can be read: memory, processes?"
        )
        return _unstartable()


async def _decode_in_thread(data: bytes, due_at: float) -> Answer:
    """Return the answer. Raises Garbled, TimeoutError."""
    async with asyncio.timeout_at(due_at):
        return await asyncio.to_thread(decode_answer, data)


async def _dismiss(seat: Seat) -> str:
    """The seat is empty; return how its child ended, for the operator."""
    child, seat.child = seat.child, None
    return "gone" if child is None else await child.end()


def _unstartable() -> NotRead:
    return NotRead("no process can be started to read it", sentence=NOT_NOW)
