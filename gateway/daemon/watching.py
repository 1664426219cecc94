"""What those who watch are told: how carriers stand, how much room there is, and how long what waits has waited."""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from gateway.clock import Clock
from gateway.daemon.present import Present
from gateway.daemon.room import Room
from gateway.daemon.vitals import Vitals
from gateway.dispatcher import Dispatcher
from gateway.policy.routing import find_path
from gateway.store import Store
from gateway.store.base import split_lane
from gateway.store.database import sqlite_path
from gateway.stories import Stories
from gateway.web.api import Api
from gateway.web.gauges import CarrierView, DiskView, Gauges, Rows, Surroundings


class Watching:
    """Looks at the parts of a gateway at work."""

    def __init__(
        self,
        *,
        store: Store,
        present: Present,
        room: Room,
        dispatcher: Dispatcher,
        vitals: Vitals,
    ) -> None:
        self._store = store
        self._present = present
        self._room = room
        self._dispatcher = dispatcher
        self._vitals = vitals

    def gauges(self, clock: Clock) -> Gauges:
        """Return what sets the figures of `/metrics`."""
        return Gauges(clock=clock, count_rows=self.count_rows, look_around=self.look_around)

    async def count_rows(self, now: datetime) -> Rows:
        """Return what the store says. Raises StoreUnavailable, StoreUnusable."""
        return Rows(backlog=await self._store.backlog(), waits=await self._store.waits(now))

    def look_around(self, rows: Rows | None) -> Surroundings:
        """Return what is known beside these rows; None: the store did not answer."""
        accounts, settings = self._present.config.accounts, self._present.config.providers
        standings = self._dispatcher.standings()
        low = {one.name: one.low_balance for one in settings}
        return Surroundings(
            is_ready=not self._vitals.list_obstacles(is_store_up=rows is not None),
            carriers={
                name: CarrierView(
                    is_up=standing.is_up, held_accounts=standing.held_accounts, low_balance=low.get(name, 0.0)
                )
                for name, standing in standings.items()
            },
            classes={account.name: account.priority.value for account in accounts},
            first_carriers={} if rows is None else self._first_carriers(rows.waits.lanes),
            disk=self._look_at_disk(),
        )

    def _first_carriers(self, lanes: Iterable[str]) -> dict[str, str]:
        """Return the carrier that is asked first for each lane; none for an account that is not configured any more."""
        found = {}
        for lane in lanes:
            name, route = split_lane(lane)
            account = self._present.accounts.by_name(name)
            if account is not None and (providers := find_path(account, route).providers):
                found[lane] = providers[0]
        return found

    def _look_at_disk(self) -> DiskView | None:
        database = sqlite_path(self._present.config.store)
        try:
            space = self._room.measure()
        except OSError:  # it is gone, which the store notices by itself
            return None
        if database is None or space is None:
            return None
        files = (database, database.with_name(f"{database.name}-wal"))
        return DiskView(free=space[0], needed=space[1], store=sum(_size(file) for file in files))


def build_api(store: Store, clock: Clock, present: Present, gauges: Gauges) -> Api:
    """Return what answers programs; its tokens are those of the configuration in force."""
    return Api(
        clock=clock,
        stories=Stories(store, clock, lambda: present.accounts),
        gauges=gauges,
        find_tokens=lambda: present.config.http.tokens,
    )


def _size(file: Path) -> int:
    """Return its bytes; 0 when it is not there."""
    try:
        return file.stat().st_size
    except OSError:
        return 0
