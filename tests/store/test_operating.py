"""What operators do about SMS that wait, on both databases: moved once, fenced, noted, reported."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from gateway.lifecycle import SmsEvent, SmsId, SmsState
from gateway.protocol.codes import Code
from gateway.protocol.report import ReportKind
from gateway.store import Store, tables
from gateway.store.operating import MOST, Operated
from gateway.store.story_tables import operation
from tests.store.samples import (
    LATER,
    ArMaker,
    NotMaker,
    change,
    claim,
    new_order,
    new_sms,
    row,
    rows,
    settlement,
)
from tests.support.clock import START


async def operate(store: Store, action: str, ids: Sequence[SmsId], *, may_double: bool = False) -> Operated:
    return await store.operate(
        action,
        ids,
        actor="night shift",
        now=LATER,
        render_not=NotMaker(),
        render_receipts=ArMaker(),
        may_double=may_double,
    )


async def waiting(store: Store) -> SmsId:
    order = new_order(new_sms())
    await store.admit(order)
    assert order.envoi is not None
    return order.envoi.sms[0].id


async def uncertain(store: Store) -> SmsId:
    sms_id = await waiting(store)
    (claimed,) = await claim(store)
    await store.settle_sms([settlement(claimed, SmsEvent.LOST)], START, NotMaker(), ArMaker())
    return sms_id


async def state_of(store: Store, sms_id: SmsId) -> SmsState:
    found: SmsState = (await row(store, tables.sms, id=sms_id))["state"]
    return found


async def test_what_is_held_is_not_claimed_until_it_is_released(store: Store) -> None:
    sms_id = await waiting(store)
    held = await operate(store, "hold", [sms_id])
    while_held = await claim(store)
    released = await operate(store, "release", [sms_id])
    after = await claim(store, now=LATER)

    assert (held.done, released.done) == (frozenset({sms_id}), frozenset({sms_id}))
    assert while_held == []
    assert [one.id for one in after] == [sms_id]


async def test_who_did_what_is_kept(store: Store) -> None:
    sms_id = await waiting(store)
    await operate(store, "hold", [sms_id])
    await operate(store, "hold", [sms_id])  # which does nothing
    await operate(store, "cancel", [sms_id])

    kept = [(one["action"], one["actor"], one["sms_id"]) for one in await rows(store, operation)]
    assert sorted(kept) == [("cancel", "night shift", sms_id), ("hold", "night shift", sms_id)]


async def test_a_cancelled_sms_is_reported_999_and_never_sent(store: Store) -> None:
    sms_id = await waiting(store)
    done = await operate(store, "cancel", [sms_id])
    sms = await row(store, tables.sms, id=sms_id)

    assert (sms["state"], sms["code"], sms["reason"]) == (
        SmsState.CANCELLED,
        Code.C999_ERROR,
        "cancelled by an operator",
    )
    assert len(done.reports) == 1
    assert [one["kind"] for one in await rows(store, tables.report, id=done.reports[0])] == [ReportKind.NOT]
    assert await claim(store) == []


async def test_cancelling_gives_the_reserved_credit_back(store: Store) -> None:
    await store.set_credit("acme", 5, START)
    sms_id = await waiting(store)
    (before,) = await store.credits()
    await operate(store, "cancel", [sms_id])
    (after,) = await store.credits()

    assert (before.balance, before.reserved) == (4, 1)
    assert (after.balance, after.reserved) == (5, 0)


async def test_an_sms_that_a_carrier_is_called_with_is_left_alone(store: Store) -> None:
    sms_id = await waiting(store)
    await claim(store)
    for action in ("hold", "release", "retry", "cancel"):
        assert (await operate(store, action, [sms_id], may_double=True)).done == frozenset()

    assert await state_of(store, sms_id) is SmsState.SENDING


async def test_what_may_have_been_sent_goes_again_only_when_that_is_accepted(store: Store) -> None:
    sms_id = await uncertain(store)
    careful = await operate(store, "retry", [sms_id])
    between = await state_of(store, sms_id)
    bold = await operate(store, "retry", [sms_id], may_double=True)
    again = await operate(store, "retry", [sms_id], may_double=True)

    assert (careful.done, between) == (frozenset(), SmsState.UNCERTAIN)
    assert bold.done == frozenset({sms_id})
    assert again.done == frozenset()  # it is due already: nothing is doubled by asking twice
    assert await state_of(store, sms_id) is SmsState.QUEUED


async def test_what_waits_for_a_later_attempt_is_due_at_once(store: Store) -> None:
    order = new_order(new_sms(due_at=LATER + timedelta(hours=2)))
    await store.admit(order)
    assert order.envoi is not None
    sms_id = order.envoi.sms[0].id
    done = await operate(store, "retry", [sms_id])

    assert done.done == frozenset({sms_id})
    assert (await row(store, tables.sms, id=sms_id))["due_at"] == LATER


async def test_what_is_at_its_end_stays_there(store: Store) -> None:
    sms_id = await waiting(store)
    await operate(store, "cancel", [sms_id])
    for action in ("hold", "release", "retry", "cancel"):
        assert (await operate(store, action, [sms_id], may_double=True)).done == frozenset()


async def test_an_id_of_nothing_is_none_of_those_that_were_there(store: Store) -> None:
    done = await operate(store, "hold", [SmsId("0" * 20)])

    assert (done.before, done.done) == ({}, frozenset())


async def test_there_is_a_limit_to_what_is_moved_at_once(sqlite_store: Store) -> None:
    with pytest.raises(ValueError, match="at most"):
        await operate(sqlite_store, "hold", [SmsId(f"{one:020}") for one in range(MOST + 1)])


async def test_the_note_goes_with_the_records(store: Store) -> None:
    sms_id = await waiting(store)
    await operate(store, "cancel", [sms_id])
    await change(store, tables.report.delete())
    await store.purge_contents(before=LATER, now=LATER, limit=10)
    await store.purge_records(before=LATER, limit=10)

    assert await rows(store, operation) == []
