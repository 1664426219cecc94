"""The way back: reports that are due go to the smarthost, one mail each (docs/protocol.md §8.3, §8.5).

Promises. A report is sent when it is due, not at the next poll. It is sent at least once; sent again it has the same
Message-ID and the same bytes, so that a double can be told. No text of a mail gets into a header: the header block is
read back before it leaves, and a report whose block is not exactly as meant is given up, not sent. A smarthost that is
down is left alone for a while, and costs the reports nothing but time; SMS do not notice.

Diagnostics: events `report_sent` (info), `report_deferred`, `outcome_delayed` (warning), `report_failed` (warning;
error when the header block was unsafe); metric `mail2sms_reports_total`.
"""

import asyncio
import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial

import structlog
from prometheus_client import Counter

from gateway.clock import Clock
from gateway.lifecycle import ReportEvent, ReportId
from gateway.mailer.mail import UnsafeHeader, render_mail
from gateway.mailer.smarthost import REASON_LIMIT, ReportSettings, Smarthost, SmarthostError
from gateway.metrics import REGISTRY
from gateway.pauses import PausePoint, pause_at
from gateway.policy.retry import report_delay
from gateway.store import Store, StoreUnavailable
from gateway.store.outgoing import ClaimedReport, ReportSettlement
from gateway.worker import Bell, Crew, Gate, Stage

__all__ = ["Mailer", "ReportSettings", "SmarthostError", "UnsafeHeader", "render_mail"]

_log = structlog.get_logger(__name__)

_REPORTS = Counter(
    "mail2sms_reports_total", "Moves of reports after their claim.", ("kind", "event"), registry=REGISTRY
)

_RECORD_PAUSES_S = (0.1, 0.5, 2.0, *[5.0] * 20)
"""Between tries to store what the smarthost answered while the store is away; then the lease decides: sent again."""

_GROUP = 8
"""Reports claimed together and sent one after the other: what one crash at worst sends again."""


class Mailer:
    """The stage that sends what is due; `bell` is rung by whoever stages a report."""

    def __init__(
        self,
        *,
        store: Store,
        settings: ReportSettings,
        hostname: str,
        clock: Clock,
        bell: Bell,
        poll_s: float = 15.0,
    ) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._smarthost = Smarthost(settings, hostname=hostname, clock=clock)
        self._gate = Gate(clock=clock, first_s=1, longest_s=60)
        self._stage = Stage(name="mailer", bell=bell, look=self._look, poll_s=poll_s)
        self._poll_s = poll_s

    async def run(self) -> None:
        """Work until stopped."""
        try:
            await self._stage.run()
        finally:
            await self._smarthost.close()

    def stop(self) -> None:
        """Nothing more is claimed; the mail under way is finished."""
        self._stage.stop()

    async def _look(self, crew: Crew) -> float:
        """Claim until there is no more, or no room; return when to look again."""
        has_claimed = False
        while self._gate.is_open and crew.size < self._settings.connections and not self._stage.is_stopping:
            limit = 1 if self._gate.is_suspect else _GROUP
            self._gate.enter()
            group = await self._claim(limit)
            if not group:
                break
            has_claimed = True
            crew.start(f"mailer:{group[0].id}", partial(self._send_group, group))
            if len(group) < limit:
                break
        if self._gate.opens_in_s > 0:
            return self._gate.opens_in_s
        return self._poll_s if has_claimed else await self._next_due_in_s()  # the end of what was claimed rings

    async def _next_due_in_s(self) -> float:
        now = self._clock.now()
        due_at = await self._store.next_report_due_at(now)
        return self._poll_s if due_at is None else (due_at - now).total_seconds()

    async def _claim(self, limit: int) -> tuple[ClaimedReport, ...]:
        group: tuple[ClaimedReport, ...] = ()
        now = self._clock.now()
        lease_s = 2 * self._settings.timeout_s * (limit + 1)
        try:
            group = await self._store.claim_reports(now=now, lease_until=now + timedelta(seconds=lease_s), limit=limit)
        finally:
            if not group:
                self._gate.leave()
        return group

    async def _send_group(self, group: Sequence[ClaimedReport]) -> None:
        try:
            for report in group:
                if self._gate.opens_in_s > 0 or self._stage.is_stopping:
                    await self._settle(report, ReportEvent.POSTPONED, reason="not tried", started=None)
                else:
                    await self._send(report)
        finally:
            self._gate.leave()
            self._stage.bell.ring()

    async def _send(self, report: ClaimedReport) -> None:
        started = self._clock.monotonic()
        pause_at(PausePoint.REPORT_CLAIMED)
        try:
            answer = await self._smarthost.send(report)
        except UnsafeHeader as error:
            await self._settle(report, ReportEvent.GIVEN_UP, reason=str(error), started=started, is_our_fault=True)
            return
        except SmarthostError as error:
            if error.is_down:
                self._gate.fail()
            event = ReportEvent.DEFERRED if error.temporary else ReportEvent.GIVEN_UP
            await self._settle(report, event, reason=str(error), started=started)
            return
        self._gate.succeed()
        pause_at(PausePoint.REPORT_ANSWERED)
        await self._settle(report, ReportEvent.TAKEN, reason=answer, started=started)
        pause_at(PausePoint.REPORT_RECORDED)

    async def _settle(
        self,
        report: ClaimedReport,
        event: ReportEvent,
        *,
        reason: str,
        started: float | None,
        is_our_fault: bool = False,
    ) -> None:
        now = self._clock.now()
        due_at = None
        if event is ReportEvent.DEFERRED:
            if now >= report.expires_at:
                event = ReportEvent.GIVEN_UP
            else:
                delay = report_delay(attempt=report.attempt, jitter=random.random())  # noqa: S311 a herd, not a secret
                due_at = min(now + delay, report.expires_at)
        settlement = ReportSettlement(
            report_id=report.id, epoch=report.epoch, event=event, due_at=due_at, reason=reason[:REASON_LIMIT]
        )
        moved = await self._record(settlement, now)
        _REPORTS.labels(report.kind.value, event.value).inc()
        log = _log.bind(
            report_id=report.id,
            kind=report.kind,
            attempt=report.attempt,
            moved=bool(moved),
            duration_ms=None if started is None else round((self._clock.monotonic() - started) * 1000),
        )
        match event:
            case ReportEvent.TAKEN:
                log.info("report_sent")
            case ReportEvent.POSTPONED:
                log.info("report_deferred", reason=reason)
            case ReportEvent.DEFERRED:
                log.warning("report_deferred", reason=reason, due_at=due_at)
            case _ if is_our_fault:
                log.error("report_failed", reason=reason)
            case _:
                log.warning("report_failed", reason=reason)

    async def _record(self, settlement: ReportSettlement, now: datetime) -> tuple[ReportId, ...]:
        """Return the report if it moved. Tries again while the store is away, for a report may not go twice for that.

        A stop is not kept waiting: what is not stored by then goes again at the next start.
        """
        for pause_s in _RECORD_PAUSES_S:
            try:
                return await self._store.settle_reports([settlement], now)
            except StoreUnavailable as error:
                if self._stage.is_stopping:
                    raise
                _log.warning("outcome_delayed", report_id=settlement.report_id, error=str(error), pause_s=pause_s)
                await asyncio.sleep(pause_s)
        return await self._store.settle_reports([settlement], now)
