"""Store.purge_contents, purge_records and forget: what is erased, what is kept, what is left alone."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from gateway.lifecycle import ReportEvent, SmsEvent
from gateway.protocol.codes import Code
from gateway.protocol.report import ReportKind
from gateway.store import Store, tables
from gateway.store.base import Duplicate, NewReport, Order, Refusal
from gateway.store.outgoing import ReportSettlement
from gateway.store.purging import FORGOTTEN, Purged
from gateway.store.records import TurnedAwayRecord
from gateway.store.story_tables import turned_away
from tests.store.samples import (
    NotMaker,
    change,
    claim,
    claim_reports,
    name,
    new_mail,
    new_order,
    new_report,
    new_sms,
    row,
    rows,
    settlement,
)
from tests.support.clock import START

AFTER = START + timedelta(days=31)
SECRET = b"a text that nobody is to find"


def secret_order(*positions: int) -> Order:
    mail = new_mail(body=SECRET)
    return new_order(*(new_sms(position) for position in positions), mail=mail, reports=[new_report()])


async def send(store: Store, *, event: SmsEvent = SmsEvent.REFUSED, limit: int = 50) -> None:
    """Everything that is due has its last word."""
    claimed = await claim(store, account="acme", limit=limit)
    raw = SECRET.decode()
    moves = [settlement(sms, event, code=Code.C21_NUMBER_UNASSIGNED, raw=raw) for sms in claimed]
    await store.settle_sms(moves, START, NotMaker())


async def deliver(store: Store) -> None:
    """Every report that is due is delivered."""
    claimed = await claim_reports(store)
    moves = [ReportSettlement(report_id=one.id, epoch=one.epoch, event=ReportEvent.TAKEN) for one in claimed]
    await store.settle_reports(moves, START)


async def finish(store: Store, *orders: Order) -> None:
    """These orders are over."""
    for order in orders:
        await store.admit(order)
    await send(store)
    await deliver(store)


async def purge_contents(store: Store, before: datetime = AFTER, *, limit: int = 100) -> Purged:
    return await store.purge_contents(before=before, now=AFTER, limit=limit)


async def purge_records(store: Store, before: datetime = AFTER, *, limit: int = 100) -> Purged:
    return await store.purge_records(before=before, limit=limit)


def away(sender: str, recipient: str | None = None) -> TurnedAwayRecord:
    """Somebody who was told that there is no such recipient."""
    return TurnedAwayRecord(
        id=name("T"),
        peer="192.0.2.9",
        sender=sender,
        reply="550 5.1.1 There is no such mailbox",
        count=1,
        first_at=START,
        last_at=START,
        facts={"recipient": recipient},
    )


async def all_of(store: Store) -> str:
    """Every value of every row."""
    return " ".join([str(await rows(store, table)) for table in tables.metadata.sorted_tables])


async def test_contents_go_and_records_stay(store: Store) -> None:
    order = secret_order(1, 2)
    await finish(store, order)
    before = await rows(store, tables.sms)

    assert await purge_contents(store) == Purged(mails=1)

    sms, mail = await rows(store, tables.sms), await row(store, tables.mail)
    reports, attempts = await rows(store, tables.report), await rows(store, tables.attempt)
    assert [one["text"] for one in sms] == [None, None]
    assert [{**one, "text": None} for one in before] == sms
    assert (mail["raw"], mail["purged_at"], mail["header_from"]) == (b"", AFTER, order.mail.header_from)
    assert {one["body"] for one in reports} == {b""}
    assert {one["raw"] for one in attempts} == {None}
    assert SECRET.decode() not in await all_of(store)


async def test_what_is_younger_is_kept(store: Store) -> None:
    await finish(store, secret_order(1))
    before = await all_of(store)

    assert await purge_contents(store, START) == Purged()
    assert await purge_records(store, START) == Purged()
    assert before == await all_of(store)


@pytest.mark.parametrize("waits", ["sms", "report", "accepted"])
async def test_what_is_not_over_is_left_alone(store: Store, waits: str) -> None:
    await store.admit(secret_order(1))
    if waits == "report":
        await send(store)
    if waits == "accepted":
        await send(store, event=SmsEvent.TAKEN)
    if waits != "report":
        await deliver(store)
    before = await all_of(store)

    assert await purge_contents(store) == Purged()
    assert await purge_records(store) == Purged()
    assert before == await all_of(store)


async def test_one_that_waits_does_not_keep_others(store: Store) -> None:
    await finish(store, secret_order(1))
    await store.admit(secret_order(2))

    assert await purge_contents(store, limit=1) == Purged(mails=1)
    assert await purge_contents(store, limit=1) == Purged()


async def test_records_go_when_their_contents_have_gone(store: Store) -> None:
    await finish(store, secret_order(1, 2))

    assert await purge_records(store) == Purged()
    await purge_contents(store)
    assert await purge_records(store) == Purged(mails=1)

    for table in (tables.mail, tables.envoi, tables.sms, tables.attempt, tables.report):
        assert await rows(store, table) == []


async def test_a_used_id_outlives_everything(store: Store) -> None:
    """docs/protocol.md §7.1."""
    order = secret_order(1)
    assert order.envoi is not None
    await finish(store, order)
    await purge_contents(store)
    await purge_records(store)
    again = new_order(new_sms(1), email_id=order.envoi.email_id)

    found = await store.admit(again)

    assert found == Duplicate(mail_id=again.mail.id, first_envoi_id=order.envoi.id)
    assert await rows(store, tables.sms) == []


async def test_a_step_has_a_bound(store: Store) -> None:
    await finish(store, *(secret_order(1) for _ in range(5)))

    assert [(await purge_contents(store, limit=2)).mails for _ in range(4)] == [2, 2, 1, 0]
    assert [(await purge_records(store, limit=2)).mails for _ in range(4)] == [2, 2, 1, 0]


def new_refusal(body: bytes = b"<etatNot/>") -> Refusal:
    return Refusal(
        id=new_mail().id,
        refused_at=START,
        peer="192.0.2.1",
        listener="127.0.0.1:2525",
        envelope_from="a@acme.example",
        header_from=None,
        message_id=None,
        account=None,
        reply="550 5.7.1 no",
        cause="unknown",
        reports=(replace(new_report(), body=body),),
    )


async def test_a_refusal_goes_with_its_reports_once_they_are_sent(store: Store) -> None:
    await store.refuse(new_refusal())

    assert await purge_records(store) == Purged()
    await deliver(store)
    assert await purge_records(store) == Purged(refusals=1)
    assert (await rows(store, tables.refusal), await rows(store, tables.report)) == ([], [])


async def test_the_report_of_a_refusal_is_emptied_with_the_contents_once_it_is_sent(store: Store) -> None:
    await store.refuse(new_refusal(SECRET))

    assert await purge_contents(store) == Purged()
    await deliver(store)
    assert await purge_contents(store, START) == Purged()  # not so old
    assert await purge_contents(store) == Purged(refusals=1)
    assert await purge_contents(store) == Purged()
    assert SECRET.decode() not in await all_of(store)
    assert len(await rows(store, tables.refusal)) == 1


@pytest.mark.parametrize(("kept_days", "known_days"), [(7, 7), (365, 30)])
async def test_who_was_turned_away_is_known_for_a_month_or_as_long_as_contents(
    store: Store, kept_days: int, known_days: int
) -> None:
    await store.note_turned_away([away("a@acme.example")], START)
    left = []
    for now in (START + timedelta(days=known_days), START + timedelta(days=known_days, seconds=1)):
        await store.purge_contents(before=now - timedelta(days=kept_days), now=now, limit=100)
        left.append(len(await rows(store, turned_away)))

    assert left == [1, 0]


async def add_reply(store: Store, msisdn: str = "+33600000001") -> str:
    """A reply that was mailed on; its id."""
    reply_id = name("R")
    await change(
        store,
        tables.reply.insert().values(
            id=reply_id,
            received_at=START,
            provider="carrier",
            msisdn=msisdn,
            text=SECRET.decode(),
            is_stop=False,
            fingerprint=reply_id.encode(),
            raw=SECRET.decode(),
        ),
        tables.report.insert().values(**report_of(reply_id)),
    )
    return reply_id


def report_of(reply_id: str) -> dict[str, object]:
    report: NewReport = new_report(ReportKind.REPLY)
    kept = {column: getattr(report, column) for column in ("id", "kind", "recipient", "message_id", "in_reply_to")}
    times = {"due_at": report.due_at, "expires_at": report.expires_at, "created_at": START, "since_at": START}
    return {**kept, **times, "body": SECRET, "state": "due", "epoch": 0, "attempts": 0, "reply_id": reply_id} | {
        "subject": "SMS reply: +33600000001"
    }


async def test_a_reply_is_emptied_then_erased_once_it_was_mailed_on(store: Store) -> None:
    await add_reply(store)

    assert await purge_contents(store) == Purged()
    await deliver(store)
    assert await purge_contents(store) == Purged(replies=1)
    assert SECRET.decode() not in await all_of(store)
    assert await purge_records(store) == Purged(replies=1)
    assert (await rows(store, tables.reply), await rows(store, tables.report)) == ([], [])


async def test_a_number_is_forgotten_wherever_it_stands(store: Store) -> None:
    await finish(store, secret_order(1, 2), secret_order(1), secret_order(3))
    await add_reply(store)
    await deliver(store)

    forgotten = await store.forget("+33600000001", now=AFTER, limit=100)

    assert (forgotten.sms, forgotten.mails, forgotten.replies, forgotten.waiting) == (2, 2, 1, 0)
    everything = await all_of(store)
    assert "600000001" not in everything
    assert everything.count("+33600000002") == 1  # another's number stays, and what became of the SMS
    assert [one["raw"] for one in await rows(store, tables.mail)].count(b"") == 2
    assert [one["tel"] for one in await rows(store, tables.sms, msisdn=None)] == [FORGOTTEN, FORGOTTEN]


@pytest.mark.parametrize("written", ["+33600000001", "0600000001", "06 00 00 00 01", "+33 (0)6-00.00.00.01"])
async def test_a_number_is_forgotten_where_only_a_refusal_names_it(store: Store, written: str) -> None:
    """docs/protocol.md §8.2: the Not of a mail for one number names it, also when the mail was refused."""
    for number in (written, "+33600000002"):
        await store.refuse(new_refusal(f"<etatNot><tel>{number}</tel></etatNot>".encode()))
        await store.note_turned_away([away(f"{number}@sms.example"), away("", f"{number}@gw.example.org")], START)
    await deliver(store)

    await store.forget("+33600000001", now=AFTER, limit=100)

    everything = await all_of(store)
    assert written not in everything
    assert everything.count("+33600000002") == 3  # another's stay


async def test_a_number_is_not_forgotten_while_anything_waits(store: Store) -> None:
    await store.admit(secret_order(1, 2))
    await send(store, limit=1)
    before = await all_of(store)

    forgotten = await store.forget("+33600000001", now=AFTER, limit=100)

    assert (forgotten.sms, forgotten.waiting) == (0, 1)
    assert before == await all_of(store)


async def test_the_stop_list_remembers_who_is_forgotten(store: Store) -> None:
    listed = {"account": "acme", "msisdn": "+33600000001", "since_at": START, "source": "reply"}
    await change(store, tables.optout.insert().values(**listed))

    assert (await store.forget("+33600000001", now=AFTER, limit=100)).is_on_stop_list
    assert not (await store.forget("+33600000002", now=AFTER, limit=100)).is_on_stop_list
    assert len(await rows(store, tables.optout)) == 1
