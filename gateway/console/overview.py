"""The first page: is all well, what waits and for how long, what came, how carriers are, who was refused and why."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from starlette.responses import Response
from starlette.routing import Route

from gateway.console.charts import Bar, draw_bars
from gateway.console.door import Door
from gateway.console.rendering import ROOT, render
from gateway.console.surroundings import Surroundings
from gateway.console.visit import Visit
from gateway.store import Store
from gateway.store.console_reading import Pulse

MINUTES = 60
_LAST_REFUSALS = 8
_MINUTE = timedelta(minutes=1)
_SOON = timedelta(days=14)
_SETTLED = timedelta(seconds=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """How much is in a state, and since when the oldest is."""

    state: str
    count: int
    since: datetime | None


class Pulses:
    """What came in each of the last minutes. One that is over is counted once, whoever asks."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._over: dict[datetime, Pulse] = {}
        self._lock = asyncio.Lock()

    async def read(self, now: datetime) -> Mapping[datetime, Pulse]:
        """Return the last hour's minutes, the present one last."""
        present = now.replace(second=0, microsecond=0)
        minutes = [present - place * _MINUTE for place in range(MINUTES - 1, -1, -1)]
        async with self._lock:  # several browsers ask at once
            unknown = [minute for minute in minutes if minute not in self._over]
            counted = dict(zip(unknown, await self._store.pulses(unknown), strict=True))
            known = {minute: counted.get(minute) or self._over[minute] for minute in minutes}
            # Until it has been over for a while, mails that came in it may still be on their way to the disk
            is_settled = now - present > _SETTLED
            late = {present, *(() if is_settled else (present - _MINUTE,))}
            self._over = {minute: pulse for minute, pulse in known.items() if minute not in late}
        return known


class Overview:
    """The first page, and the part of it that is drawn again."""

    def __init__(self, around: Surroundings, door: Door) -> None:
        self._around = around
        self._door = door
        self._pulses = Pulses(around.store)

    @property
    def routes(self) -> list[Route]:
        """What is answered."""
        return [
            Route(ROOT, self._door.page(self._show), methods=["GET"]),
            Route(f"{ROOT}/live/overview", self._door.page(self._show_part, is_live=True), methods=["GET"]),
        ]

    async def _show(self, visit: Visit) -> Response:
        return render("overview.html", visit, **await self._look(visit))

    async def _show_part(self, visit: Visit) -> Response:
        return render("overview_live.html", visit, **await self._look(visit))

    async def _look(self, visit: Visit) -> dict[str, object]:
        around = self._around
        backlog = await around.store.backlog()
        pulses = await self._pulses.read(visit.now)
        return {
            "obstacles": await around.find_obstacles(),
            "sms": [
                Waits(state=state, count=count, since=backlog.oldest_sms.get(state))
                for state, count in backlog.sms.items()
            ],
            "reports": [
                Waits(state=state, count=count, since=backlog.oldest_reports.get(state))
                for state, count in backlog.reports.items()
            ],
            "charts": [
                {
                    "key": key,
                    "svg": draw_bars(bars, title=visit.say(f"overview.{key}_chart"), css_class=key),
                    "most": max(bar.value for bar in bars),
                    "total": sum(bar.value for bar in bars),
                }
                for key in ("mails", "sms")
                for bars in [_bars(pulses, key)]
            ],
            "certificate": self._certificate(visit.now),
            "carriers": around.health(),
            "refusals": await around.store.last_refusals(_LAST_REFUSALS),
        }

    def _certificate(self, now: datetime) -> Mapping[str, object] | None:
        """Return what is to be said of the listeners' certificate; None: nothing."""
        ends_at = self._around.certificate_ends_at()
        if ends_at is None or ends_at - now > _SOON:
            return None
        return {"is_over": ends_at <= now, "day": f"{ends_at.astimezone():%Y-%m-%d %H:%M}"}


def _bars(pulses: Mapping[datetime, Pulse], key: str) -> list[Bar]:
    return [
        Bar(label=f"{minute.astimezone():%H:%M}", value=pulse.mails if key == "mails" else pulse.sms)
        for minute, pulse in pulses.items()
    ]
