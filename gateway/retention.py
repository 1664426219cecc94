"""How long things are kept: contents for some weeks, records for a year or so, used emailIds for ever.

Promises. Nothing is erased that still waits for anything: an SMS on its way, a report that is not delivered. Each step
is small and paced, so that mails and SMS that come meanwhile hardly notice. What was erased is counted in the log.

Diagnostics: event `store_purged` (info).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from pydantic import Field, model_validator

from gateway.clock import Clock
from gateway.settings import Settings
from gateway.store import Store
from gateway.store.purging import Purged
from gateway.worker import Bell, Crew, Stage

_log = structlog.get_logger(__name__)

AT_ONCE = 100
"""Mails, refusals, replies that one step takes care of, in one transaction of some tens of milliseconds."""

_EVERY_S = 3600.0
_PACE_S = 1.0
"""Between two steps; so a day's purge of 100,000 mails takes a quarter of an hour."""


class RetentionSettings(Settings):
    """How long things are kept, counted from the day they came. Which emailIds are used up is kept for ever."""

    contents_days: int = Field(
        default=30, ge=1, le=36_500, description="Mails, texts, carriers' answers and reports are erased after so long."
    )
    records_days: int = Field(
        default=400,
        ge=1,
        le=36_500,
        description="That there was a mail, its numbers, what became of each SMS, and refusals: after so long.",
    )

    @model_validator(mode="after")
    def _check_together(self) -> "RetentionSettings":
        if self.records_days < self.contents_days:
            raise ValueError("records_days is less than contents_days")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one step of purging erased."""

    contents: Purged
    records: Purged

    @property
    def is_last(self) -> bool:
        """True when nothing is left that is old enough."""
        return max(self.contents.most, self.records.most) < AT_ONCE


async def purge(store: Store, settings: RetentionSettings, *, now: datetime) -> Step:
    """One step is done: of at most `AT_ONCE` old mails the contents are erased, and of as many older ones the rest."""
    step = Step(
        contents=await store.purge_contents(
            before=now - timedelta(days=settings.contents_days), now=now, limit=AT_ONCE
        ),
        records=await store.purge_records(before=now - timedelta(days=settings.records_days), limit=AT_ONCE),
    )
    for what, purged in (("contents", step.contents), ("records", step.records)):
        if purged.most:
            _log.info("store_purged", what=what, mails=purged.mails, refusals=purged.refusals, replies=purged.replies)
    return step


class Retention:
    """The stage that purges, step by step, once an hour."""

    def __init__(self, *, store: Store, clock: Clock, settings: RetentionSettings) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings
        self._stage = Stage(name="retention", bell=Bell(), look=self._look, poll_s=_EVERY_S)

    async def run(self) -> None:
        """Work until stopped."""
        await self._stage.run()

    def stop(self) -> None:
        """No further step begins."""
        self._stage.stop()

    async def _look(self, _crew: Crew) -> float:
        step = await purge(self._store, self._settings, now=self._clock.now())
        return _EVERY_S if step.is_last else _PACE_S
