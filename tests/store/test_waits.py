"""Store.waits: who waits, by lane and by carrier, since when."""

from datetime import timedelta

from gateway.lifecycle import SmsEvent, SmsState
from gateway.store import Store
from gateway.store.waits import RETRY_WINDOW, Waiting
from tests.store.samples import LATER, NotMaker, claim, new_mail, new_order, new_report, new_sms, settlement
from tests.support.clock import START

HOUR = timedelta(hours=1)


async def test_an_empty_store_has_nobody_waiting(store: Store) -> None:
    found = await store.waits(START)

    assert (found.lanes, found.carriers, found.reports) == ({}, {}, Waiting())


async def test_what_could_go_waits_since_its_mail_was_taken(store: Store) -> None:
    await store.admit(new_order(new_sms(1), new_sms(2)))
    await store.admit(new_order(new_sms(1), mail=new_mail(account="other")))

    found = await store.waits(START + HOUR)

    assert found.lanes == {"acme": Waiting(rows=2, since=START), "other": Waiting(rows=1, since=START)}


async def test_what_is_asked_for_later_does_not_wait(store: Store) -> None:
    await store.admit(new_order(new_sms(1, due_at=START + HOUR)))

    early, late = await store.waits(START), await store.waits(START + HOUR)

    assert early.lanes == {"acme": Waiting()}
    assert late.lanes == {"acme": Waiting(rows=1, since=START)}


async def test_a_try_that_failed_does_not_begin_the_wait_anew(store: Store) -> None:
    await store.admit(new_order())
    (sms,) = await claim(store)
    again_at = LATER + RETRY_WINDOW
    await store.settle_sms([settlement(sms, SmsEvent.NOT_SENT, due_at=again_at)], LATER, NotMaker())

    assert (await store.waits(LATER)).lanes == {"acme": Waiting(rows=1, since=START)}
    assert (await store.waits(LATER - timedelta(seconds=1))).lanes == {"acme": Waiting()}


async def test_what_a_carrier_has_counts_for_the_carrier(store: Store) -> None:
    await store.admit(new_order(new_sms(1), new_sms(2), new_sms(3)))
    first, second, _third = await claim(store)
    await store.settle_sms([settlement(first, SmsEvent.TAKEN), settlement(second, SmsEvent.LOST)], LATER, NotMaker())

    assert (await store.waits(LATER)).carriers == {
        ("carrier", SmsState.SENDING): Waiting(rows=1, since=START),
        ("carrier", SmsState.ACCEPTED): Waiting(rows=1, since=LATER),
        ("carrier", SmsState.UNCERTAIN): Waiting(rows=1, since=LATER),
    }


async def test_reports_wait_since_they_were_made(store: Store) -> None:
    await store.admit(new_order(reports=[new_report(), new_report(due_at=LATER)]))

    assert (await store.waits(LATER)).reports == Waiting(rows=2, since=START)
