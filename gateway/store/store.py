"""The store itself: one public method per step of the flow, one transaction each."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Self

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.lifecycle import ReportId
from gateway.store import admission, claims, credit, reports, settling, stepping, watch
from gateway.store.base import (
    AdmitOutcome,
    Backlog,
    ClaimedReport,
    ClaimedSms,
    Credit,
    Foreseen,
    LostSms,
    Order,
    PulledIn,
    Refusal,
    RenderNot,
    ReportSettlement,
    SendingReport,
    Settled,
    Settlement,
)
from gateway.store.database import Database, Transaction, connect
from gateway.store.errors import translated
from gateway.store.group_commit import GroupCommit, Result
from gateway.store.schema import check
from gateway.store.settings import StoreSettings


class Store:
    """The steps of the flow, each one transaction: committed when the method returns, undone when it raises.

    Instants are aware; the store reads no clock, each step is told the time. Every step raises `StoreUnavailable`
    (come back later; `is_full` when it is the disk) within the deadline of the settings, `StoreUnusable` when somebody
    must act, `StoreError` for a row that contradicts the others. A cancelled step is undone, unless it was already
    committing; no step leaves the store unusable for the next.
    """

    def __init__(self, database: Database, settings: StoreSettings) -> None:
        self._database = database
        self._settings = settings
        self._group = GroupCommit(self._admit_all)

    @classmethod
    async def open(cls, settings: StoreSettings, *, read_only: bool = False) -> Self:
        """The store is there, of this version, and durable; else `StoreUnusable`. Creates and changes nothing.

        `read_only`: steps that write raise `StoreUnavailable`; a daemon at work on the store is not disturbed.
        """
        with translated():
            database = connect(settings, read_only=read_only)
            store = cls(database, settings)
        try:
            async with store._step(database.read if read_only else database.write) as connection:
                await check(connection)
            await store.ping()
        except BaseException:
            await store.close()
            raise
        return store

    async def close(self) -> None:
        """Every connection is closed; nothing may be asked any more."""
        with translated():
            await self._database.close()

    async def ping(self) -> None:
        """The store answers a question, and is still the one that was opened (readiness)."""
        with translated():
            self._database.check_presence()
        async with self._step(self._database.read) as connection:
            await connection.execute(sa.select(1))

    # --- intake ------------------------------------------------------------------------------------------------------

    async def admit(self, order: Order) -> AdmitOutcome:
        """The mail with all it causes is on disk, or was there before: 250 may be said (docs/protocol.md §7.2).

        Looked at in this order: the same mail again (nothing is written), an emailId used before (the mail and
        `duplicate_reports` are written), else all of it. An envoi that is answered from the start (a fault, every SMS
        refused) brings its Not in `reports`; any other must not. Where the account has a credit, each SMS reserves its
        parts, or is refused with code 12; `unpaid_reports` go too when that answers the envoi (docs/protocol.md §10.3).
        Mails that arrive together share a transaction, and one that cannot be stored, or whose caller gives up, harms
        no other. After `StoreUnavailable` it may be stored all the same: the sender sends it again, and it is found.
        """
        async with self._in_time():
            return await self._group.admit(order)

    async def foresee(self, order: Order) -> Foreseen:
        """What `admit` would say to the order now; nothing is written."""
        async with self._step(self._database.read) as connection:
            return await admission.foresee(connection, order)

    async def _admit_all(self, gather: Callable[[], Sequence[Order]]) -> Sequence[Result]:
        with translated():
            async with self._database.write() as connection:
                return await admission.store_orders(connection, gather())

    async def refuse(self, refusal: Refusal) -> None:
        """The refusal and its reports are on disk (docs/protocol.md §1.3)."""
        async with self._step(self._database.write) as connection:
            await admission.store_refusal(connection, refusal)

    # --- dispatcher and outcomes -------------------------------------------------------------------------------------

    async def due_lanes(self, now: datetime) -> tuple[str, ...]:
        """The accounts that have an SMS due and still valid, by name."""
        async with self._step(self._database.read) as connection:
            return tuple(sorted(await connection.scalars(claims.due_lanes_query(now))))

    async def claim_sms(
        self, *, account: str, provider: str, now: datetime, lease_until: datetime, limit: int
    ) -> tuple[ClaimedSms, ...]:
        """The oldest due SMS of the account and up to `limit` - 1 more with equal options are in `sending`.

        Oldest first; none when nothing is due. The attempts are committed: the call to the carrier may begin. Whoever
        got them must settle them before `lease_until`; after it they are taken for lost. `limit` is 1 to 500.
        """
        claim = claims.Claim(account=account, provider=provider, now=now, lease_until=lease_until, limit=limit)
        async with self._step(self._database.write) as connection:
            return await claims.claim_batch(connection, claim)

    async def settle_sms(self, settlements: Sequence[Settlement], now: datetime, render_not: RenderNot) -> Settled:
        """The SMS are moved, but for those somebody else moved first; each envoi answered by it has its Not.

        `render_not` is called once in the life of an envoi, when its every SMS has its answer, and only if the Not is
        wanted. `POSTPONED` and `CANCELLED` out of `sending` mean that no call was made: the attempt is forgotten and
        not counted. What an SMS had reserved of its account's credit is spent when a carrier took it, and given back
        when it has any other answer. Raises `ValueError` for a move that the lifecycle does not know, for a move to
        `queued` without `due_at` (but for RELEASED, which keeps the old one), and for one SMS twice.
        """
        async with self._step(self._database.write) as connection:
            return await settling.settle(connection, settlements, now, render_not)

    # --- janitor -----------------------------------------------------------------------------------------------------

    async def sending_sms(self, limit: int) -> tuple[LostSms, ...]:
        """SMS in `sending`, with their `lease`: whoever sees one for longer knows that its claimer died."""
        async with self._step(self._database.read) as connection:
            return await watch.find(connection, watch.sending_query(limit))

    async def uncertain_sms(self, before: datetime, limit: int) -> tuple[LostSms, ...]:
        """SMS in `uncertain` since `before` or longer. Longest first."""
        async with self._step(self._database.read) as connection:
            return await watch.find(connection, watch.uncertain_query(before, limit))

    async def expired_sms(self, now: datetime, limit: int) -> tuple[LostSms, ...]:
        """SMS in `queued` or `held` past their validity. Longest first."""
        async with self._step(self._database.read) as connection:
            return await watch.find(connection, watch.expired_query(now, limit))

    async def pull_in(self, now: datetime, limit: int) -> PulledIn:
        """What the clock was set back from under is counted from now on: at most `limit` SMS, and as many reports.

        A wait becomes one of at most 15 minutes. Dates that an envoi asks for, and opening hours, stay.
        """
        async with self._step(self._database.write) as connection:
            return await stepping.pull_in(connection, now, limit)

    # --- mailer ------------------------------------------------------------------------------------------------------

    async def claim_reports(self, *, now: datetime, lease_until: datetime, limit: int) -> tuple[ClaimedReport, ...]:
        """The oldest due reports, at most `limit`, are in `sending`. An overdue one too: its claimer gives it up."""
        async with self._step(self._database.write) as connection:
            return await reports.claim(connection, now, lease_until, limit)

    async def settle_reports(self, settlements: Sequence[ReportSettlement], now: datetime) -> tuple[ReportId, ...]:
        """The claimed reports are moved, but for those that somebody else moved first; returns those that moved.

        Raises `ValueError` for a move that the lifecycle does not know, for DEFERRED without `due_at`, and for one
        report twice.
        """
        async with self._step(self._database.write) as connection:
            return await reports.settle(connection, settlements, now)

    async def sending_reports(self, limit: int) -> tuple[SendingReport, ...]:
        """Reports in `sending`: whoever sees one for longer than its lease knows that its claimer died."""
        async with self._step(self._database.read) as connection:
            return await reports.find_sending(connection, limit)

    async def recover_reports(self, lost: Sequence[SendingReport], now: datetime) -> tuple[ReportId, ...]:
        """Those of the reports that are still in `sending` are due now; returns them. The attempt stays counted."""
        async with self._step(self._database.write) as connection:
            return await reports.recover(connection, lost, now)

    # --- operators ---------------------------------------------------------------------------------------------------

    async def credits(self) -> tuple[Credit, ...]:
        """The accounts that have, or had, a credit, by name; all others have no limit (docs/protocol.md §10.3)."""
        async with self._step(self._database.read) as connection:
            return await credit.read_all(connection)

    async def add_credit(self, account: str, parts: int, now: datetime) -> Credit:
        """The account may send so many parts more; if it had no limit, these are all it may send."""
        async with self._step(self._database.write) as connection:
            return await credit.add(connection, account, parts, now)

    async def set_credit(self, account: str, parts: int | None, now: datetime) -> Credit:
        """The account may send so many parts beside those reserved; None: any number."""
        async with self._step(self._database.write) as connection:
            return await credit.put(connection, account, parts, now)

    # --- everybody ---------------------------------------------------------------------------------------------------

    async def next_due_at(self, now: datetime) -> datetime | None:
        """When the next SMS or report becomes due, after `now`: how long to sleep. None when none waits."""
        async with self._step(self._database.read) as connection:
            return await watch.next_due_at(connection, now)

    async def backlog(self) -> Backlog:
        """How much there is in each state that is not final, and since when."""
        async with self._step(self._database.read) as connection:
            return await watch.backlog(connection)

    @asynccontextmanager
    async def _step(self, begin: Callable[[], Transaction]) -> AsyncIterator[AsyncConnection]:
        async with self._in_time(), begin() as connection:
            yield connection

    @asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        # The first timeout cuts the statement off and closes its connection, which waits for the driver; the second
        # is for a driver that hangs, say on a disk that no longer answers
        with translated():
            async with asyncio.timeout(self._settings.deadline_s + self._settings.busy_timeout_s):
                async with asyncio.timeout(self._settings.deadline_s):
                    yield
