"""Pools of real child processes, and mails that tell an evil child what to do."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import uvloop

from gateway.clock import Clock, SystemClock
from gateway.protocol.reading import Mode, Unreadable
from gateway.reader.mail import MailRead
from gateway.reader.pool import ReaderPool
from gateway.reader.process import default_command
from gateway.reader.quarantine import Quarantine
from gateway.reader.settings import ReadingSettings
from tests.intake.conftest import write_envoi, write_mail
from tests.reader.evil import EVIL

ROOT = Path(__file__).parents[2]
ORDINARY = write_mail(write_envoi())
MAIL_BYTES = 10_485_760

OpenPool = Callable[..., Awaitable[ReaderPool]]


def evil_command(function: str = "main") -> tuple[str, ...]:
    """Return the command of the child in `tests/reader/evil.py`."""
    boot = f"import sys; sys.path[:0] = [{str(ROOT)!r}]; from tests.reader.evil import {function}; {function}()"
    return (sys.executable, "-c", boot)


def evil_mail(word: str, *, body: str = "") -> bytes:
    """Return a mail on which the evil child does `word`."""
    return write_mail(write_envoi() + body, headers=(EVIL.decode() + word,))


def children_of(pool: ReaderPool) -> list[int]:
    """Return the process ids of the children there are."""
    return [seat.child._process.pid for seat in pool._seats.all if seat.child is not None]


def is_running(pid: int) -> bool:
    """True while the process is there; a zombie is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def read(pool: ReaderPool, content: bytes = ORDINARY) -> MailRead | Unreadable:
    return await pool.read(content, Mode.LENIENT, name=f"M{os.getpid()}")


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run these tests in the daemon's own loop, which starts processes in its own way; others run in the usual one."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def open_pool(tmp_path: Path) -> AsyncIterator[OpenPool]:
    """Return what opens a pool; none of its children outlives the test."""
    async with AsyncExitStack() as stack:

        async def open_(
            *, command: tuple[str, ...] | None = None, clock: Clock | None = None, start: bool = True, **facts: object
        ) -> ReaderPool:
            settings = ReadingSettings.model_validate(facts)
            pool = ReaderPool(
                settings,
                settings.limits(mail_bytes=MAIL_BYTES),
                clock=clock or SystemClock(),
                quarantine=Quarantine(tmp_path / "quarantine", max_files=3, max_bytes=1_000_000),
                command=command or default_command(),
            )
            stack.push_async_callback(pool.close)
            if start:
                await pool.start()
            return pool

        yield open_
