"""The store itself: one public method per step of the flow, one transaction each."""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

import sqlalchemy as sa

from gateway.lifecycle import ReportId
from gateway.store import (
    admission,
    claims,
    credit,
    inquiries,
    optouts,
    purging,
    quotas,
    receipts,
    replies,
    reports,
    restoring,
    stepping,
    stopping,
    tally,
    waits,
    watch,
)
from gateway.store.base import (
    AdmitOutcome,
    Backlog,
    ClaimedSms,
    Credit,
    Foreseen,
    LostSms,
    Order,
    Refusal,
    RenderNot,
    Settled,
    Settlement,
    Tally,
)
from gateway.store.console import ConsoleSteps
from gateway.store.database import Database
from gateway.store.durations import timed
from gateway.store.errors import StoreUnavailable, translated
from gateway.store.group_commit import GroupCommit, Result
from gateway.store.outgoing import ClaimedReport, ReportSettlement, SendingReport
from gateway.store.purging import Forgotten, Purged
from gateway.store.quotas import RenderOverruns, Standing, Told
from gateway.store.reading import StoreReading
from gateway.store.settings import StoreSettings
from gateway.store.staging import Writers
from gateway.store.stepping import PulledIn
from gateway.store.stoplist import OptOut
from gateway.store.two_way import CarrierOptOut, NewReply, PartKey, ReplyOutcome, ReplyRules, Stopped, StopRules
from gateway.store.waits import Waits
from gateway.store.words import ClaimedInquiry, InquirySettlement, Learnt, RenderReceipts, Words


class Store(StoreReading, ConsoleSteps):
    """The steps of the flow, each one transaction: committed when the method returns, undone when it raises.

    Instants are aware; the store reads no clock, each step is told the time. Every step raises `StoreUnavailable`
    (come back later; `is_full` when it is the disk) within the deadline of the settings, `StoreUnusable` when somebody
    must act, `StoreError` for a row that contradicts the others. A cancelled step is undone, unless it was already
    committing; no step leaves the store unusable for the next.

    After `StoreUnusable` every step raises it, and `on_ruin` is called: who found it may be one mail's session.
    """

    def __init__(self, database: Database, settings: StoreSettings) -> None:
        super().__init__(database, settings)
        self._group = GroupCommit(self._admit_all)

    # --- intake ------------------------------------------------------------------------------------------------------

    async def admit(self, order: Order) -> AdmitOutcome:
        """The mail with all it causes is on disk, or was there before: 250 may be said (docs/protocol.md §7.2).

        Looked at in this order: the same mail again (nothing is written), an emailId used before (the mail and
        `duplicate_reports` are written), else all of it. An envoi that is answered from the start (a fault, every SMS
        refused) brings its Not in `reports`; any other must not. SMS to numbers on the STOP list are refused with code
        11 (§5.6). Where the account has a credit, each other reserves its parts, or is refused with code 12, and a
        warning by `watch` goes when the credit gets low or is gone (§10.3). Those that a quota has no room for are
        refused with code 29, and a mail that a quota of mails has none for is `Deferred`: nothing is written (§10.5).
        `early_not` writes the Not when all SMS are refused.
        Mails that arrive together share a transaction, and one that cannot be stored, or whose caller gives up, harms
        no other. After `StoreUnavailable` it may be stored all the same: the sender sends it again, and it is found.
        """
        self._refuse_if_full()
        return await self._in_time(lambda: self._group.admit(order))

    async def foresee(self, order: Order) -> Foreseen:
        """What `admit` would say to the order now; nothing is written."""
        return await self._read(admission.foresee, order)

    async def _admit_all(self, gather: Callable[[], Sequence[Order]]) -> Sequence[Result]:
        written: list[Sequence[Result]] = []

        def store(connection: sa.Connection, orders: Sequence[Order]) -> Sequence[Result]:
            written.append(admission.store_orders(connection, orders))
            return written[0]

        try:
            with translated(), timed("write"):
                return await self._database.write(lambda: partial(store, orders=gather()))
        except StoreUnavailable as error:
            if not written or not self._database.can_lose_commits:
                raise
            return await self._find_out(written[0], error)

    async def _find_out(self, results: Sequence[Result], error: StoreUnavailable) -> Sequence[Result]:
        """What became of the orders whose COMMIT was sent and not answered: a new connection sees it, or it is not."""
        with translated():
            stored = await self._database.read(partial(admission.find_stored, results=results))
        return [result if is_stored else error for result, is_stored in zip(results, stored, strict=True)]

    async def refuse(self, refusal: Refusal) -> None:
        """The refusal and its reports are on disk (docs/protocol.md §1.3)."""
        self._refuse_if_full()
        await self._write(admission.store_refusal, refusal)

    # --- dispatcher and outcomes -------------------------------------------------------------------------------------

    async def due_lanes(self, now: datetime) -> tuple[str, ...]:
        """The lanes (`lane_of`) that have an SMS due and still valid, by name."""
        return await self._read(claims.due_lanes, now)

    async def claim_sms(
        self, *, lane: str, provider: str, now: datetime, lease_until: datetime, limit: int
    ) -> tuple[ClaimedSms, ...]:
        """The oldest due SMS of the lane and up to `limit` - 1 more with equal options are in `sending`.

        Oldest first; none when nothing is due. The attempts are committed: the call to the carrier may begin. Whoever
        got them must settle them before `lease_until`; after it they are taken for lost. `limit` is 1 to 500.
        """
        if self._is_full:
            return ()  # no call begins whose result might find no room
        claim = claims.Claim(lane=lane, provider=provider, now=now, lease_until=lease_until, limit=limit)
        return await self._write(claims.claim_batch, claim)

    async def settle_sms(
        self,
        settlements: Sequence[Settlement],
        now: datetime,
        render_not: RenderNot,
        render_receipts: RenderReceipts | None = None,
    ) -> Settled:
        """The SMS are moved, but for those somebody else moved first; each envoi answered by it has its Not.

        `render_not` is called once in the life of an envoi, when its every SMS has its answer, and only if the Not is
        wanted; `render_receipts` when its every SMS is final, and only if the etatAr is. `POSTPONED` and `CANCELLED`
        out of `sending` mean that no call was made: the attempt is forgotten and
        not counted. What an SMS had reserved of its account's credit is spent when a carrier took it, and given back
        when it has any other answer. What a carrier said of it before its answer is recorded is applied too. Raises
        `ValueError` for a move that the lifecycle does not know, for a move to `queued` without `due_at` (but for
        RELEASED, which keeps the old one), for one SMS twice, and for an etatAr that nothing is given to write.
        """
        writers = Writers(not_=render_not, receipts=render_receipts)
        return await self._write(receipts.settle, settlements, now, writers)

    # --- what carriers say later -------------------------------------------------------------------------------------

    async def learn(self, said: Words, now: datetime, render_not: RenderNot, render_receipts: RenderReceipts) -> Learnt:
        """What a carrier says is so: its SMS have moved, as far as the lifecycle knows such a move.

        The first final word wins; the same words again change nothing, in whatever order they come. What finds no
        SMS, or one whose answer is not recorded yet, is kept for a day, and applied as soon as it can be.
        """
        return await self._write(receipts.learn, said, now, Writers(not_=render_not, receipts=render_receipts))

    async def learn_kept(
        self, now: datetime, limit: int, render_not: RenderNot, render_receipts: RenderReceipts
    ) -> Learnt:
        """Words that were kept, and can be applied by now, are; those older than a day are gone."""
        writers = Writers(not_=render_not, receipts=render_receipts)
        return await self._write(receipts.learn_kept, now, limit, writers)

    async def claim_inquiries(
        self, *, provider: str, now: datetime, lease_until: datetime, limit: int
    ) -> tuple[ClaimedInquiry, ...]:
        """SMS that the carrier is due to be asked for, nobody else's until `lease_until`; the most overdue first."""
        if self._is_full:
            return ()
        return await self._write(inquiries.claim, provider, now, lease_until, limit)

    async def settle_inquiries(self, settlements: Sequence[InquirySettlement]) -> None:
        """The SMS are asked for again when that says so, unless they have moved since they were claimed."""
        await self._write(inquiries.settle, settlements)

    # --- janitor -----------------------------------------------------------------------------------------------------

    async def sending_sms(self, limit: int) -> tuple[LostSms, ...]:
        """SMS in `sending`, with their `lease`: whoever sees one for longer knows that its claimer died."""
        return await self._read(watch.find, watch.sending_query(limit))

    async def uncertain_sms(
        self, before: datetime, limit: int, *, unasked_before: datetime | None = None
    ) -> tuple[LostSms, ...]:
        """SMS in `uncertain` since `before` or longer. Longest first.

        Those that a carrier is still to be asked for only since `unasked_before` or longer, if that is given.
        """
        return await self._read(watch.find, watch.uncertain_query(before, limit, unasked_before=unasked_before))

    async def unheard_sms(self, before: datetime, limit: int) -> tuple[LostSms, ...]:
        """SMS in `accepted` since `before` or longer. Longest first."""
        return await self._read(watch.find, watch.unheard_query(before, limit))

    async def expired_sms(self, now: datetime, limit: int) -> tuple[LostSms, ...]:
        """SMS in `queued` or `held` past their validity. Longest first."""
        return await self._read(watch.find, watch.expired_query(now, limit))

    async def pull_in(self, now: datetime, limit: int) -> PulledIn:
        """What the clock was set back from under is counted from now on: at most `limit` SMS, and as many reports.

        A wait becomes one of at most 15 minutes. Dates that an envoi asks for, and opening hours, stay.
        """
        return await self._write(stepping.pull_in, now, limit)

    # --- quotas ------------------------------------------------------------------------------------------------------

    async def tell_overruns(self, now: datetime, limit: int, render: RenderOverruns) -> Told:
        """What quotas held back, and is due to be told, is told: with a report for each account that has a contact."""
        return await self._write(quotas.tell, now, limit, render)

    async def forget_used(self, now: datetime) -> int:
        """What no longer counts for any quota is gone, some thousand rows at a time; return how many."""
        return await self._write(quotas.forget_used, now)

    async def quota_standing(self, account: str, now: datetime, limit: int) -> Standing:
        """What the account has used of its quotas, with the `limit` most active subjects of each."""
        return await self._read(quotas.read_standing, account, now, limit)

    async def reset_quotas(self, account: str, subject: str | None) -> int:
        """The account, or one sender or number of it, has used nothing; return how many counters there were."""
        return await self._write(quotas.reset, account, subject)

    # --- mailer ------------------------------------------------------------------------------------------------------

    async def claim_reports(self, *, now: datetime, lease_until: datetime, limit: int) -> tuple[ClaimedReport, ...]:
        """The oldest due reports, at most `limit`, are in `sending`. An overdue one too: its claimer gives it up."""
        if self._is_full:
            return ()
        return await self._write(reports.claim, now, lease_until, limit)

    async def settle_reports(self, settlements: Sequence[ReportSettlement], now: datetime) -> tuple[ReportId, ...]:
        """The claimed reports are moved, but for those that somebody else moved first; returns those that moved.

        `POSTPONED` means that nothing was tried: the attempt is not counted. Raises `ValueError` for a move that the
        lifecycle does not know, for DEFERRED without `due_at`, and for one report twice.
        """
        return await self._write(reports.settle, settlements, now)

    async def sending_reports(self, limit: int) -> tuple[SendingReport, ...]:
        """Reports in `sending`: whoever sees one for longer than its lease knows that its claimer died."""
        return await self._read(reports.find_sending, limit)

    async def recover_reports(self, lost: Sequence[SendingReport], now: datetime) -> tuple[ReportId, ...]:
        """Those of the reports that are still in `sending` are due now; returns them. The attempt stays counted."""
        return await self._write(reports.recover, lost, now)

    # --- the STOP list, and replies ----------------------------------------------------------------------------------

    async def stop(
        self,
        new: Sequence[OptOut],
        rules: StopRules,
        now: datetime,
        render_not: RenderNot,
        render_receipts: RenderReceipts | None = None,
    ) -> Stopped:
        """These numbers are on the STOP list, SMS that wait for them are cancelled with code 11, with what follows.

        Carriers that keep lists are to be told. At most some hundred at once: it is one transaction.
        """
        writers = Writers(not_=render_not, receipts=render_receipts)
        return await self._write(stopping.stop, new, rules, now, writers)

    async def lift_stop(self, msisdn: str, account: str | None, rules: StopRules, now: datetime) -> tuple[OptOut, ...]:
        """The number is not on the list of the account, or on none; returns what was there. Nothing is sent by it."""
        return await self._write(optouts.remove, msisdn, account, rules, now)

    async def optouts(self, *, account: str | None, after: tuple[str, str] | None, limit: int) -> tuple[OptOut, ...]:
        """The next of the STOP list, by account and number, after that account and number."""
        return await self._read(optouts.read_page, account, after, limit)

    async def claim_untold(
        self, provider: str, *, now: datetime, lease_until: datetime, limit: int
    ) -> tuple[CarrierOptOut, ...]:
        """What the carrier is to be told of the STOP list; until then it is the caller's to tell."""
        return await self._write(optouts.claim_untold, provider, now, lease_until, limit)

    async def settle_told(self, told: CarrierOptOut, *, due_at: datetime | None, reason: str | None = None) -> bool:
        """It was told, or will be again at `due_at`; False: something else is to be told by now."""
        return await self._write(optouts.settle_told, told, due_at, reason)

    async def take_reply(
        self,
        new: NewReply,
        rules: ReplyRules,
        render_not: RenderNot,
        render_receipts: RenderReceipts | None = None,
    ) -> ReplyOutcome:
        """The reply is stored once, however often it comes, with all that follows: opt-out, cancelled SMS, mail."""
        writers = Writers(not_=render_not, receipts=render_receipts)
        return await self._write(replies.take, new, rules, writers)

    async def overdue_replies(self, before: datetime, now: datetime, limit: int) -> tuple[PartKey, ...]:
        """Long replies of which parts have been waiting for others since before that instant."""
        return await self._read(replies.find_overdue, before, now, limit)

    async def finish_reply(
        self,
        key: PartKey,
        now: datetime,
        rules: ReplyRules,
        render_not: RenderNot,
        render_receipts: RenderReceipts | None = None,
    ) -> ReplyOutcome:
        """What there is of a long reply is stored as it is."""
        writers = Writers(not_=render_not, receipts=render_receipts)
        return await self._write(replies.finish, key, now, rules, writers)

    async def forget_parts(self, before: datetime) -> int:
        """Parts of stored replies that came before that instant are gone."""
        return await self._write(replies.forget_parts, before)

    # --- operators ---------------------------------------------------------------------------------------------------

    async def credits(self) -> tuple[Credit, ...]:
        """The accounts that have, or had, a credit, by name; all others have no limit (docs/protocol.md §10.3)."""
        return await self._read(credit.read_all)

    async def add_credit(self, account: str, parts: int, now: datetime) -> Credit:
        """The account may send so many parts more; if it had no limit, these are all it may send."""
        return await self._write(credit.add, account, parts, now)

    async def set_credit(self, account: str, parts: int | None, now: datetime) -> Credit:
        """The account may send so many parts beside those reserved; None: any number."""
        return await self._write(credit.put, account, parts, now)

    async def hold_queued(self, now: datetime) -> int:
        """A restored store is accepted: what waited in it to be sent is `held`; return how many there are."""
        return await self._write(restoring.hold, now)

    async def send_queued(self, now: datetime) -> int:
        """A restored store is accepted: what waits, and what `hold_queued` held, will be sent; return how many."""
        return await self._write(restoring.release, now)

    async def purge_contents(self, *, before: datetime, now: datetime, limit: int) -> Purged:
        """Of at most `limit` mails, and as many replies, that came before then the contents are erased.

        Mail, texts, carriers' answers, reports. What has an SMS or a report that waits for anything is left alone.
        """
        return await self._write(purging.purge_contents, before, now, limit)

    async def purge_records(self, *, before: datetime, limit: int) -> Purged:
        """At most `limit` each of mails, refusals and replies that came before then are gone; emailIds stay used.

        Only what `purge_contents` has emptied.
        """
        return await self._write(purging.purge_records, before, limit)

    async def forget(self, msisdn: str, *, now: datetime, limit: int) -> Forgotten:
        """Of at most `limit` SMS to the number (E.164), and of replies from it, nothing is left that names it."""
        return await self._write(purging.forget, msisdn, now, limit)

    # --- everybody ---------------------------------------------------------------------------------------------------

    async def next_due_at(self, now: datetime) -> datetime | None:
        """When the next SMS becomes due, after `now`: how long to sleep. None when none waits."""
        return await self._read(watch.next_due, now)

    async def next_report_due_at(self, now: datetime) -> datetime | None:
        """When the next report becomes due, after `now`. None when none waits."""
        return await self._read(watch.next_report_due, now)

    async def count_waiting(self, limit: int) -> int:
        """How many SMS wait to be sent; counted up to `limit`."""
        return await self._read(lambda connection: connection.scalar(watch.waiting_query(limit)) or 0)

    async def backlog(self) -> Backlog:
        """How much there is in each state that is not final, and since when."""
        return await self._read(watch.backlog)

    async def waits(self, now: datetime) -> Waits:
        """Who waits, by lane and by carrier, and how long already; looks at a bounded number of rows."""
        return await self._read(waits.find, now)

    async def tally(self) -> Tally:
        """How much there is in each state, the final ones too; reads every row."""
        return await self._read(tally.count)
