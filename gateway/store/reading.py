"""What is asked of a store beside the work: the life of a mail, lists, counts; and what operators do about SMS."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial

from gateway.lifecycle import SmsId
from gateway.store import counting, finding, listing, operating, queue_listing, telling, turning_away
from gateway.store.access import StoreAccess
from gateway.store.base import RenderNot
from gateway.store.counting import Age, CarrierOf
from gateway.store.finding import Wanted
from gateway.store.listing import Marks
from gateway.store.operating import Operated
from gateway.store.records import Blocked, Count, Found, Line, MailLife, RefusalLife, SmsRecord, TurnedAwayRecord, Waits
from gateway.store.staging import Writers
from gateway.store.words import RenderReceipts


class StoreReading(StoreAccess):
    """Reads for whoever asks why; every read is bounded, and none is on the way of a mail."""

    async def mail_life(self, mail_id: str, now: datetime) -> MailLife | None:
        """The mail with all that became of it; None when there is no such mail."""
        return await self._read(telling.read_mail, mail_id, now)

    async def refusal_life(self, refusal_id: str) -> RefusalLife | None:
        """The refusal with its reports; None when there is no such refusal."""
        return await self._read(telling.read_refusal, refusal_id)

    async def turned_away(self, id: str) -> TurnedAwayRecord | None:  # noqa: A002
        """The count of clients that were told no, by its id; None when there is none any more."""
        return await self._read(telling.read_turned_away, id)

    async def find_mails(self, wanted: Wanted) -> tuple[Line, ...]:
        """What the words may mean, the newest first, 50 at most."""
        return await self._read(lambda connection: listing.read_lines(connection, finding.find(connection, wanted)))

    async def mail_lines(self, ids: Sequence[str]) -> tuple[Line, ...]:
        """What a list says of these mails, refusals and counts, the newest first."""
        return await self._read(listing.read_lines, ids)

    async def search_mails(self, marks: Marks, size: int, after: str | None) -> Found:
        """Mails and refusals with these marks, the newest first, and clients turned away; a part of the list."""
        return await self._read(listing.search, marks, size, after)

    async def waiting_sms(self, marks: Marks, size: int, after: str | None) -> Waits:
        """SMS that wait, with these marks, the longest in its state first, then those at their end; a part."""
        return await self._read(queue_listing.queue, marks, size, after)

    async def blocked(self, sms: Sequence[SmsRecord], now: datetime) -> Mapping[str, Blocked]:
        """What came back last of each lane, one by one looked at, in which one of these SMS is due or tried again."""
        return await self._read(telling.read_blocked, sms, now)

    async def count_sms(self, by: str, since: datetime, until: datetime) -> tuple[Count, ...]:
        """SMS of mails that came in between, counted; `by` is account, provider or state."""
        return await self._read(counting.count, by, since, until)

    async def waiting_ages(self, now: datetime, carrier_of: CarrierOf) -> dict[str, list[Age]]:
        """How long SMS have been waiting to be sent, in seconds, and how many so long, by carrier."""
        return await self._read(counting.ages, now, carrier_of)

    async def operate(
        self,
        action: str,
        ids: Sequence[SmsId],
        *,
        actor: str,
        now: datetime,
        render_not: RenderNot,
        render_receipts: RenderReceipts,
        may_double: bool = False,
    ) -> Operated:
        """An operator's hold, release, retry or cancel is done to those of the SMS (500 at most) it applies to."""
        writers = Writers(not_=render_not, receipts=render_receipts)
        step = partial(operating.operate, actor=actor, now=now, may_double=may_double)
        return await self._write(step, action, ids, writers)

    async def note_turned_away(self, counts: Sequence[TurnedAwayRecord], now: datetime) -> None:
        """These are added to the counts of clients that were told no, unless the disk is full; the oldest are gone."""
        if self._is_full:
            return
        await self._write(turning_away.note, counts, now)
