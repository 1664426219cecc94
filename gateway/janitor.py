"""What nobody rings for: calls that ended with the process, fates nobody learnt, validity that ran out.

Promises. Each round is bounded: what is left waits for the next, which follows at once. A round writes only through
`outcomes`, row by row from a known state, so two nodes that clean at the same time harm nothing.
"""

from datetime import datetime, timedelta

import structlog
from pydantic import Field

from gateway.clock import Clock
from gateway.outcomes import Outcomes
from gateway.settings import Seconds, Settings
from gateway.store import Store
from gateway.worker import Bell, Crew, Stage

_log = structlog.get_logger(__name__)

_AT_ONCE = 500
"""Rows of one kind that one round moves, in one transaction."""

_LONGEST_LEASE = timedelta(days=1)
"""Longer than any lease that is given out."""


class JanitorSettings(Settings):
    """When rows that nobody rings for are looked at."""

    every_s: Seconds = Field(default=10, description="How often they are looked at.")
    reconcile_window_s: Seconds = Field(
        default=900,
        description="So long an SMS of unknown fate waits for word of it; then the account's `on_unknown` applies.",
    )


class Janitor:
    """The stage that cleans, every `every_s` and when its bell is rung."""

    def __init__(
        self,
        *,
        store: Store,
        outcomes: Outcomes,
        clock: Clock,
        mailer_bell: Bell,
        settings: JanitorSettings,
    ) -> None:
        self._store = store
        self._outcomes = outcomes
        self._clock = clock
        self._mailer_bell = mailer_bell
        self._settings = settings
        self.bell = Bell()
        self._stage = Stage(name="janitor", bell=self.bell, look=self._look, poll_s=settings.every_s)

    async def run(self) -> None:
        """Work until stopped."""
        await self._stage.run()

    def stop(self) -> None:
        """No further round begins."""
        self._stage.stop()

    async def recover_own(self) -> None:
        """What this node had claimed before it ended is settled, without waiting for the leases.

        Only for a store that no other node uses, and before any stage runs: then every claim in it is ours, and dead.
        """
        now = self._clock.now()
        as_of = now + _LONGEST_LEASE
        moved = _AT_ONCE
        while moved >= _AT_ONCE:
            moved = await self._outcomes.recover_lost(as_of=as_of, limit=_AT_ONCE)
        await self._recover_reports(now, as_of=as_of)

    async def resolve_all(self) -> None:
        """Every unknown fate is resolved now, not after the window: for a store that was restored from a backup."""
        now = self._clock.now()
        while await self._outcomes.resolve_uncertain(before=now, limit=_AT_ONCE) >= _AT_ONCE:
            pass

    async def clean(self) -> bool:
        """One round is done; return whether it was full, so that more is left."""
        now = self._clock.now()
        moved = [
            await self._outcomes.recover_lost(as_of=now, limit=_AT_ONCE),
            await self._outcomes.resolve_uncertain(
                before=now - timedelta(seconds=self._settings.reconcile_window_s), limit=_AT_ONCE
            ),
            await self._outcomes.expire(limit=_AT_ONCE),
        ]
        await self._recover_reports(now, as_of=now)
        return max(moved) >= _AT_ONCE

    async def _look(self, _crew: Crew) -> float:
        return 0.0 if await self.clean() else self._settings.every_s

    async def _recover_reports(self, now: datetime, *, as_of: datetime) -> None:
        recovered = await self._store.recover_reports(now, as_of=as_of)
        for report_id in recovered:
            _log.warning("report_deferred", report_id=report_id, reason="the process ended while it was sent")
        if recovered:
            self._mailer_bell.ring()
