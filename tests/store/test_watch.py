"""Store.sending_sms, uncertain_sms, expired_sms, next_due_at, backlog and ping."""

from datetime import timedelta
from pathlib import Path

from gateway.lifecycle import ReportEvent, SmsEvent, SmsState
from gateway.store import Store, StoreSettings
from gateway.store.base import LostSms, Settlement
from gateway.store.outgoing import ReportSettlement
from tests.store.samples import (
    LATER,
    LEASE,
    TOMORROW,
    NotMaker,
    claim,
    claim_reports,
    new_order,
    new_report,
    new_sms,
    settlement,
)
from tests.support.clock import START


async def test_a_claim_is_found_with_its_lease(store: Store) -> None:
    order = new_order()
    assert order.envoi is not None
    await store.admit(order)
    (sms,) = await claim(store)

    assert await store.sending_sms(10) == (
        LostSms(
            id=sms.id,
            envoi_id=order.envoi.id,
            mail_id=order.mail.id,
            account="acme",
            state=SmsState.SENDING,
            epoch=1,
            attempts=1,
            unknown_attempts=1,
            provider="carrier",
            since=START,
            expires_at=TOMORROW,
            lease=LEASE - START,
        ),
    )


async def test_uncertain_since_long_comes_first(store: Store) -> None:
    await store.admit(new_order(new_sms(1), new_sms(2)))
    first, second = await claim(store)
    await store.settle_sms([settlement(first, SmsEvent.LOST)], LATER, NotMaker())
    await store.settle_sms([settlement(second, SmsEvent.LOST)], START, NotMaker())

    assert [sms.id for sms in await store.uncertain_sms(START, 10)] == [second.id]
    assert [sms.id for sms in await store.uncertain_sms(LATER, 10)] == [second.id, first.id]
    assert [sms.id for sms in await store.uncertain_sms(LATER, 1)] == [second.id]


async def test_attempts_of_which_nothing_was_learnt_are_counted(store: Store) -> None:
    await store.admit(new_order())
    (sms,) = await claim(store)
    await store.settle_sms([settlement(sms, SmsEvent.NOT_SENT, due_at=START)], START, NotMaker())
    for _ in range(2):
        (sms,) = await claim(store)
        await store.settle_sms([settlement(sms, SmsEvent.LOST)], START, NotMaker())
        (found,) = await store.uncertain_sms(START, 10)
        resent = settlement(sms, SmsEvent.RESENT, from_state=SmsState.UNCERTAIN, due_at=START)
        await store.settle_sms([resent], START, NotMaker())

    assert (found.attempts, found.unknown_attempts) == (3, 2)


async def test_what_waits_beyond_its_validity_is_expired(store: Store) -> None:
    soon, late = new_sms(1, expires_at=LATER), new_sms(2, expires_at=START + timedelta(minutes=1))
    await store.admit(new_order(soon, late, new_sms(3)))
    held = Settlement(sms_id=late.id, epoch=0, from_state=SmsState.QUEUED, event=SmsEvent.HELD)
    await store.settle_sms([held], START, NotMaker())

    assert await store.expired_sms(START, 10) == ()
    assert [(sms.id, sms.state) for sms in await store.expired_sms(LATER, 10)] == [
        (late.id, SmsState.HELD),
        (soon.id, SmsState.QUEUED),
    ]


async def test_next_due_is_the_earliest_that_is_not_due_yet(store: Store) -> None:
    assert await store.next_due_at(START) is None
    assert await store.next_report_due_at(START) is None

    await store.admit(new_order(new_sms(1), new_sms(2, due_at=LATER), reports=[new_report(), new_report(due_at=LEASE)]))

    assert [await store.next_due_at(START), await store.next_report_due_at(START)] == [LATER, LEASE]
    assert [await store.next_due_at(LATER), await store.next_report_due_at(LEASE)] == [None, None]


async def test_backlog_counts_what_is_not_final(store: Store) -> None:
    await store.admit(new_order(new_sms(1), new_sms(2), new_sms(3)))
    await store.admit(new_order(new_sms(1, due_at=LATER)))
    first, second, _ = await claim(store)
    await store.settle_sms([settlement(first, SmsEvent.TAKEN), settlement(second, SmsEvent.REFUSED)], LATER, NotMaker())
    report, _ = await claim_reports(store)
    sent = ReportSettlement(report_id=report.id, epoch=report.epoch, event=ReportEvent.TAKEN)
    await store.settle_reports([sent], LATER)
    backlog = await store.backlog()

    assert backlog.sms == {"queued": 1, "held": 0, "sending": 1, "uncertain": 0, "accepted": 1}
    assert backlog.oldest_sms == {"queued": START, "sending": START, "accepted": LATER}
    assert backlog.reports == {"due": 0, "held": 0, "sending": 1}
    assert backlog.oldest_reports == {"sending": START}


async def test_ping_is_answered(store: Store) -> None:
    await store.ping()


async def test_a_beat_is_a_commit_and_changes_no_row(store: Store) -> None:
    await store.admit(new_order())
    before = await store.tally()
    await store.beat()
    await store.beat()

    assert await store.tally() == before


async def test_a_beat_is_flushed_to_the_log_of_sqlite(sqlite_store: Store, sqlite_settings: StoreSettings) -> None:
    log = sqlite_settings.url.removeprefix("sqlite:///") + "-wal"
    before = size_of(log)
    await sqlite_store.beat()

    assert size_of(log) > before


def size_of(file: str) -> int:
    path = Path(file)
    return path.stat().st_size if path.exists() else 0
