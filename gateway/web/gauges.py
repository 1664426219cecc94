"""What `/metrics` shows of things that are not counted as they happen: rows that wait, carriers, the disk, readiness.

Promises. However often it is asked, the store is looked at once in `FRESH_S` at most, for `DEADLINE_S` at most, and by
one at a time: a scrape never keeps a mail waiting. While the store does not answer, `mail2sms_store_up` is 0 and there
are no figures of rows: old ones would pass for today's. Labels are states, classes and names of carriers of the
configuration; never an account, a number or an address.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from prometheus_client import Gauge

from gateway.clock import Clock
from gateway.lifecycle import SmsState
from gateway.metrics import REGISTRY
from gateway.store.base import Backlog, split_lane
from gateway.store.errors import StoreUnavailable, StoreUnusable
from gateway.store.waits import AT_CARRIERS, Waiting, Waits

Key = TypeVar("Key")

FRESH_S = 5.0
DEADLINE_S = 2.0

_STORE_UP = Gauge("mail2sms_store_up", "1 when the store answered, 0 when it did not.", registry=REGISTRY)
_READY = Gauge("mail2sms_ready", "1 when /readyz would say so, 0 when it would not.", registry=REGISTRY)

_SMS_ROWS = Gauge("mail2sms_sms_rows", "SMS that are not final, by state.", ("state",), registry=REGISTRY)
_REPORT_ROWS = Gauge("mail2sms_report_rows", "Reports that are not final, by state.", ("state",), registry=REGISTRY)
_SMS_AGE = Gauge(
    "mail2sms_sms_oldest_age_seconds", "How long the oldest SMS is in its state.", ("state",), registry=REGISTRY
)
_REPORT_AGE = Gauge(
    "mail2sms_report_oldest_age_seconds", "How long the oldest report is in its state.", ("state",), registry=REGISTRY
)
_QUEUE_ROWS = Gauge(
    "mail2sms_queue_rows", "SMS that could go now, by the class of their account.", ("class",), registry=REGISTRY
)
_QUEUE_AGE = Gauge(
    "mail2sms_queue_oldest_age_seconds",
    "How long ago the mail was taken of the oldest SMS that could go now.",
    ("class",),
    registry=REGISTRY,
)
_REPORT_WAIT = Gauge(
    "mail2sms_report_unsent_age_seconds",
    "How long ago the oldest report was made that is to be sent.",
    registry=REGISTRY,
)
_PROVIDER_ROWS = Gauge(
    "mail2sms_provider_rows", "SMS that wait for a carrier, or are there.", ("provider", "state"), registry=REGISTRY
)
_PROVIDER_AGE = Gauge(
    "mail2sms_provider_oldest_age_seconds",
    "How long the oldest SMS waits for a carrier, or is there.",
    ("provider", "state"),
    registry=REGISTRY,
)
_PROVIDER_UP = Gauge(
    "mail2sms_provider_up", "1 when a carrier is called, 0 when it is left alone.", ("provider",), registry=REGISTRY
)
_PROVIDER_HOLDS = Gauge(
    "mail2sms_provider_held_accounts", "Accounts that a carrier has turned away.", ("provider",), registry=REGISTRY
)
_LOW_BALANCE = Gauge(
    "mail2sms_provider_low_balance",
    "Below this much left at a carrier somebody is told; 0: nobody is.",
    ("provider",),
    registry=REGISTRY,
)
_DISK_FREE = Gauge("mail2sms_store_disk_free_bytes", "Free on the disk of an SQLite store.", registry=REGISTRY)
_DISK_NEEDED = Gauge(
    "mail2sms_store_disk_needed_bytes",
    "With less free than this no mail is taken; 0: not ours to watch.",
    registry=REGISTRY,
)
_STORE_BYTES = Gauge("mail2sms_store_bytes", "Size of an SQLite store with its log.", registry=REGISTRY)

_OF_ROWS = (
    _SMS_ROWS,
    _SMS_AGE,
    _REPORT_ROWS,
    _REPORT_AGE,
    _QUEUE_ROWS,
    _QUEUE_AGE,
    _PROVIDER_ROWS,
    _PROVIDER_AGE,
)

_UNKNOWN = "unknown"  # the class of SMS whose account is not configured any more


@dataclass(frozen=True, slots=True, kw_only=True)
class CarrierView:
    """What is known of a carrier without asking it."""

    is_up: bool
    held_accounts: int
    low_balance: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskView:
    """Bytes."""

    free: int
    needed: int
    store: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the gateway knows without its store."""

    is_ready: bool
    carriers: Mapping[str, CarrierView]
    classes: Mapping[str, str]  # of each account
    first_carriers: Mapping[str, str]  # of each lane that waits, the carrier it would go by
    disk: DiskView | None = None  # None: not ours to watch


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What the store says."""

    backlog: Backlog = field(default_factory=Backlog)
    waits: Waits = field(default_factory=Waits)


CountRows = Callable[[datetime], Awaitable[Rows]]
"""Asks the store. Raises StoreUnavailable or StoreUnusable."""

LookAround = Callable[[Rows | None], Surroundings]
"""Says what is known beside these rows; None: the store did not answer."""


class Gauges:
    """Sets the figures when they are asked for."""

    def __init__(self, *, clock: Clock, count_rows: CountRows, look_around: LookAround) -> None:
        self._clock = clock
        self._count_rows = count_rows
        self._look_around = look_around
        self._rows: Rows | None = None
        self._counted_at = float("-inf")
        self._asking = asyncio.Lock()

    async def look(self) -> tuple[Rows | None, Surroundings]:
        """Return what there is, at most `FRESH_S` old; no rows when the store does not answer."""
        rows = await self._fresh_rows()
        return rows, self._look_around(rows)

    async def refresh(self) -> None:
        """The figures are at most `FRESH_S` old."""
        rows, around = await self.look()
        _STORE_UP.set(rows is not None)
        _show_surroundings(around)
        for gauge in _OF_ROWS:
            gauge.clear()
        _REPORT_WAIT.set(float("nan"))
        if rows is not None:
            _show_rows(rows, around, self._clock.now())

    async def _fresh_rows(self) -> Rows | None:
        async with self._asking:
            if self._clock.monotonic() - self._counted_at >= FRESH_S:
                self._rows = await self._count()
                self._counted_at = self._clock.monotonic()
            return self._rows

    async def _count(self) -> Rows | None:
        try:
            async with asyncio.timeout(DEADLINE_S):
                return await self._count_rows(self._clock.now())
        except (StoreUnavailable, StoreUnusable, TimeoutError):
            return None


def _show_surroundings(around: Surroundings) -> None:
    _READY.set(around.is_ready)
    for gauge in (_PROVIDER_UP, _PROVIDER_HOLDS, _LOW_BALANCE):
        gauge.clear()
    for name, view in around.carriers.items():
        _PROVIDER_UP.labels(name).set(view.is_up)
        _PROVIDER_HOLDS.labels(name).set(view.held_accounts)
        _LOW_BALANCE.labels(name).set(view.low_balance)
    if around.disk is not None:
        _DISK_FREE.set(around.disk.free)
        _DISK_NEEDED.set(around.disk.needed)
        _STORE_BYTES.set(around.disk.store)


def _show_rows(rows: Rows, around: Surroundings, now: datetime) -> None:
    backlog, waits = rows.backlog, rows.waits
    for state, number in backlog.sms.items():
        _SMS_ROWS.labels(state).set(number)
        _SMS_AGE.labels(state).set(_age(backlog.oldest_sms.get(state), now))
    for state, number in backlog.reports.items():
        _REPORT_ROWS.labels(state).set(number)
        _REPORT_AGE.labels(state).set(_age(backlog.oldest_reports.get(state), now))
    _REPORT_WAIT.set(_age(waits.reports.since, now))
    by_class = {name: Waiting() for name in sorted({*around.classes.values()})}
    by_carrier = {(name, state): Waiting() for name in around.carriers for state in (SmsState.QUEUED, *AT_CARRIERS)}
    for lane, waiting in waits.lanes.items():
        _add(by_class, around.classes.get(split_lane(lane)[0], _UNKNOWN), waiting)
        if lane in around.first_carriers:
            _add(by_carrier, (around.first_carriers[lane], SmsState.QUEUED), waiting)
    for key, waiting in waits.carriers.items():
        if key[0] in around.carriers:  # else one that was configured once
            _add(by_carrier, key, waiting)
    for name, waiting in by_class.items():
        _QUEUE_ROWS.labels(name).set(waiting.rows)
        _QUEUE_AGE.labels(name).set(_age(waiting.since, now))
    for (name, at), waiting in by_carrier.items():
        _PROVIDER_ROWS.labels(name, at.value).set(waiting.rows)
        _PROVIDER_AGE.labels(name, at.value).set(_age(waiting.since, now))


def _add(sums: dict[Key, Waiting], key: Key, more: Waiting) -> None:
    known = sums.get(key, Waiting())
    since = min((at for at in (known.since, more.since) if at is not None), default=None)
    sums[key] = Waiting(rows=known.rows + more.rows, since=since)


def _age(since: datetime | None, now: datetime) -> float:
    """Return the age in seconds; 0 where nothing is."""
    return 0.0 if since is None else max(0.0, (now - since).total_seconds())
