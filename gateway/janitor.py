"""What nobody rings for: calls that ended with the process, fates nobody learnt, time that is over, a clock set back.

Promises. Each round is bounded: what is left waits for the next, which follows at once. A round moves rows only from a
known state and epoch, so two nodes that clean at the same time harm nothing. Whether a claimer is dead is told without
any wall clock: its row stands there unchanged for longer than its lease, as this node's monotonic clock measures it.

Diagnostics: events `clock_stepped`, `rows_pulled_in`, `report_deferred` (warning).
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TypeVar

import structlog
from pydantic import Field

from gateway.clock import Clock
from gateway.outcomes import Outcomes
from gateway.receipts import Receipts
from gateway.settings import Seconds, Settings
from gateway.store import Store
from gateway.store.base import LostSms
from gateway.store.outgoing import SendingReport
from gateway.worker import Bell, Crew, Stage

_log = structlog.get_logger(__name__)

_AT_ONCE = 500
"""Rows of one kind that one round moves, in one transaction."""

_MOST_WATCHED = 10_000
"""Claims that are watched at a time; there are as many as SMS are inside calls, which is far fewer."""

_STEP_S = 60.0
"""What makes a step of the wall clock worth a line; a time server corrects less without anybody noticing."""

_LAST_QUESTION_S = 300.0
"""So much longer an unknown fate waits for a carrier that is still to be asked for it, and does not answer."""

_KEPT_EVERY_S = 60.0
"""How often words of carriers that came too early are looked at: what records the answer does so by itself."""

_ClaimT = TypeVar("_ClaimT", LostSms, SendingReport)


class JanitorSettings(Settings):
    """When rows that nobody rings for are looked at."""

    every_s: Seconds = Field(default=10, description="How often they are looked at.")
    reconcile_window_s: Seconds = Field(
        default=900,
        description="So long an SMS of unknown fate waits for word of it; then the account's `on_unknown` applies.",
    )
    receipt_window_s: Seconds = Field(
        default=259_200,
        description="So long the network's last word on an accepted SMS is waited for; then none is expected any more.",
    )


class _Leases:
    """Tells which claims have outlived their lease, by one monotonic clock.

    The instants in the row are another node's, and either wall clock may have been set since: by them, a call that is
    alive could be taken for dead, and its SMS be sent again.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen_at: dict[tuple[str, int], float] = {}

    def find_over(self, claims: Sequence[_ClaimT]) -> list[_ClaimT]:
        """Return those of all the claims there are that have been there for as long as their lease."""
        now = self._clock.monotonic()
        self._seen_at = {(one.id, one.epoch): self._seen_at.get((one.id, one.epoch), now) for one in claims}
        return [
            one for one in claims if one.lease and now - self._seen_at[one.id, one.epoch] >= one.lease.total_seconds()
        ]


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
        receipts: Receipts,
    ) -> None:
        self._store = store
        self._outcomes = outcomes
        self._receipts = receipts
        self._clock = clock
        self._mailer_bell = mailer_bell
        self._settings = settings
        self._sms_leases = _Leases(clock)
        self._report_leases = _Leases(clock)
        self._looked_at_kept = float("-inf")
        self._offset_s: float | None = None  # of the wall clock against the monotonic one
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
        while await self._outcomes.recover_lost(await self._store.sending_sms(_AT_ONCE)):
            pass
        while await self._recover_reports(await self._store.sending_reports(_AT_ONCE)):
            pass

    async def resolve_all(self) -> None:
        """Every unknown fate is resolved now, not after the window: for a store that was restored from a backup."""
        now = self._clock.now()
        while await self._outcomes.resolve_uncertain(before=now, limit=_AT_ONCE) >= _AT_ONCE:
            pass

    async def clean(self) -> bool:
        """One round is done; return whether it was full, so that more is left."""
        now = self._clock.now()
        self._notice_step(now)
        lost = self._sms_leases.find_over(await self._store.sending_sms(_MOST_WATCHED))
        moved = [
            await self._pull_in(now),
            await self._outcomes.recover_lost(lost[:_AT_ONCE]),
            await self._resolve_uncertain(now),
            await self._outcomes.expire(limit=_AT_ONCE),
            await self._outcomes.end_unheard(
                before=now - timedelta(seconds=self._settings.receipt_window_s), limit=_AT_ONCE
            ),
            await self._take_kept(),
        ]
        reports = self._report_leases.find_over(await self._store.sending_reports(_MOST_WATCHED))
        await self._recover_reports(reports[:_AT_ONCE])
        return max(moved) >= _AT_ONCE

    async def _look(self, _crew: Crew) -> float:
        return 0.0 if await self.clean() else self._settings.every_s

    async def _resolve_uncertain(self, now: datetime) -> int:
        """Decide about fates nobody learnt in time; where the carrier can be asked, after the last question."""
        window_s = self._settings.reconcile_window_s
        return await self._outcomes.resolve_uncertain(
            before=now - timedelta(seconds=window_s),
            unasked_before=now - timedelta(seconds=window_s + _LAST_QUESTION_S),
            limit=_AT_ONCE,
        )

    async def _take_kept(self) -> int:
        now = self._clock.monotonic()
        if now - self._looked_at_kept < _KEPT_EVERY_S:
            return 0
        self._looked_at_kept = now
        return await self._receipts.take_kept(limit=_AT_ONCE)

    def _notice_step(self, now: datetime) -> None:
        """Tell the operator that the wall clock went another way than time does: it was set, or the machine slept."""
        offset_s = now.timestamp() - self._clock.monotonic()
        before_s, self._offset_s = self._offset_s, offset_s
        if before_s is not None and abs(offset_s - before_s) >= _STEP_S:
            _log.warning("clock_stepped", step_s=round(offset_s - before_s), advice="see that the time is right")

    async def _pull_in(self, now: datetime) -> int:
        """Return of how many rows of one kind, at most, the time had not come because the clock was set back."""
        pulled_in = await self._store.pull_in(now, _AT_ONCE)
        if pulled_in.sms or pulled_in.reports:
            _log.warning("rows_pulled_in", sms=pulled_in.sms, reports=pulled_in.reports, cause="the clock was set back")
            self._mailer_bell.ring()
        return max(pulled_in.sms, pulled_in.reports)

    async def _recover_reports(self, lost: Sequence[SendingReport]) -> int:
        recovered = await self._store.recover_reports(lost, self._clock.now()) if lost else ()
        for report_id in recovered:
            _log.warning("report_deferred", report_id=report_id, reason="the process ended while it was sent")
        if recovered:
            self._mailer_bell.ring()
        return len(recovered)
