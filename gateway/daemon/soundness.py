"""The pages of an SQLite store are looked at on every start.

All of them before anything is accepted or, where that takes longer than a moment, beside the work. Damage ends the
gateway: what cannot be trusted takes no mail.

Diagnostics: event `store_checked` (info), when it went on beside the work.
"""

import asyncio
import threading
from pathlib import Path

import structlog

from gateway.clock import Clock
from gateway.store.pages import check_pages

_log = structlog.get_logger(__name__)

AT_START_S = 1.0
"""So long the start waits for it: enough for a hundred thousand SMS."""


class Soundness:
    """The stage that looks through a store too large to be looked through at the start."""

    def __init__(self, database: Path | None, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._is_checked = database is None
        self._cut = threading.Event()
        self._stopping = asyncio.Event()

    async def check_at_start(self) -> None:
        """Raises StoreUnusable for damage that is found within the time a start may take."""
        if self._database is not None:
            self._is_checked = await asyncio.to_thread(check_pages, self._database, limit_s=AT_START_S)

    async def run(self) -> None:
        """Look on where the start broke off; then wait to be stopped. Raises StoreUnusable for damage."""
        if not self._is_checked and self._database is not None:
            began_at = self._clock.monotonic()
            try:
                if await asyncio.to_thread(check_pages, self._database, stop=self._cut):
                    _log.info("store_checked", duration_ms=round((self._clock.monotonic() - began_at) * 1000))
            finally:
                self._cut.set()
        await self._stopping.wait()

    def stop(self) -> None:
        """The look is broken off."""
        self._cut.set()
        self._stopping.set()
