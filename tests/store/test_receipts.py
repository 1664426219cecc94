"""Store.learn, learn_kept and what settle_sms does with words that came before (docs/protocol.md §8.6)."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.lifecycle import SmsEvent, SmsState
from gateway.protocol.codes import Code
from gateway.protocol.report import ReportKind
from gateway.store import Store, receipts, tables
from gateway.store.base import ClaimedSms, Settlement
from gateway.store.words import Learnt, Word, Words
from tests.store.samples import (
    LATER,
    TOMORROW,
    ArMaker,
    NotMaker,
    change,
    claim,
    name,
    new_mail,
    new_order,
    new_sms,
    refused_sms,
    row,
    rows,
    settlement,
)
from tests.support.clock import START

ARRIVED = START + timedelta(seconds=7)


def word(sms: ClaimedSms, event: SmsEvent | None = SmsEvent.DELIVERED, *, code: Code | None = None) -> Word:
    return Word(event=event, tracker=sms.tracker.lower(), code=code, at=ARRIVED, raw=f"statut={event}")


async def say(
    store: Store, *words: Word, provider: str = "carrier", make: NotMaker | None = None, ar: ArMaker | None = None
) -> Learnt:
    said = Words(provider=provider, words=words)
    return await store.learn(said, LATER, make or NotMaker(), ar or ArMaker())


async def settle(store: Store, *moves: Settlement, make: NotMaker | None = None, ar: ArMaker | None = None) -> None:
    settled = await store.settle_sms(moves, START, make or NotMaker(), ar or ArMaker())
    assert len(settled.moved) == len(moves)


async def sent(store: Store, event: SmsEvent, count: int = 1, **fields: str) -> list[ClaimedSms]:
    """SMS of one envoi after their call, in order of position."""
    sms = [new_sms(position) for position in range(1, count + 1)]
    await store.admit(new_order(*sms, **fields))  # type: ignore[arg-type]
    claimed = await claim(store)
    code = {SmsEvent.TAKEN: Code.C0_SENT, SmsEvent.REFUSED: Code.C21_NUMBER_UNASSIGNED}.get(event)
    due_at = TOMORROW if event is SmsEvent.NOT_SENT else None
    await settle(store, *(settlement(one, event, code=code, due_at=due_at) for one in claimed))
    return claimed


async def state(store: Store, sms: ClaimedSms) -> SmsState:
    found = (await row(store, tables.sms, id=sms.id))["state"]
    assert isinstance(found, SmsState)
    return found


@pytest.mark.parametrize(
    ("event", "fate", "expected"),
    [
        (SmsEvent.TAKEN, SmsEvent.TAKEN, SmsState.ACCEPTED),
        (SmsEvent.TAKEN, SmsEvent.DELIVERED, SmsState.DELIVERED),
        (SmsEvent.TAKEN, SmsEvent.UNDELIVERED, SmsState.UNDELIVERED),
        (SmsEvent.TAKEN, SmsEvent.REFUSED, SmsState.UNDELIVERED),
        (SmsEvent.LOST, SmsEvent.TAKEN, SmsState.ACCEPTED),
        (SmsEvent.LOST, SmsEvent.DELIVERED, SmsState.DELIVERED),
        (SmsEvent.LOST, SmsEvent.UNDELIVERED, SmsState.UNDELIVERED),
        (SmsEvent.LOST, SmsEvent.REFUSED, SmsState.REFUSED),
        (SmsEvent.NOT_SENT, SmsEvent.TAKEN, SmsState.ACCEPTED),
        (SmsEvent.NOT_SENT, SmsEvent.DELIVERED, SmsState.DELIVERED),
        (SmsEvent.NOT_SENT, SmsEvent.UNDELIVERED, SmsState.UNDELIVERED),
        (SmsEvent.NOT_SENT, SmsEvent.REFUSED, SmsState.QUEUED),
        (SmsEvent.REFUSED, SmsEvent.DELIVERED, SmsState.REFUSED),
        (SmsEvent.LOST, None, SmsState.UNCERTAIN),
    ],
)
async def test_a_word_moves_its_sms_from_where_it_stands(
    store: Store, event: SmsEvent, fate: SmsEvent | None, expected: SmsState
) -> None:
    (sms,) = await sent(store, event)
    learnt = await say(store, word(sms, fate))

    assert await state(store, sms) is expected
    assert learnt.kept == 0


async def test_a_word_is_kept_with_the_attempt_and_its_date_with_the_sms(store: Store) -> None:
    (sms,) = await sent(store, SmsEvent.TAKEN)
    await say(store, replace(word(sms, SmsEvent.DELIVERED), cost_micros=45_000, currency="EUR"))

    stored, attempt = await row(store, tables.sms), await row(store, tables.attempt)
    assert (attempt["verdict"], attempt["learnt"], attempt["learnt_at"]) == (SmsEvent.TAKEN, SmsEvent.DELIVERED, LATER)
    assert attempt["learnt_raw"] == f"statut={SmsEvent.DELIVERED}"
    assert (stored["network_at"], stored["settled_at"], stored["code"]) == (ARRIVED, LATER, Code.C0_SENT)
    assert (stored["cost_micros"], stored["currency"]) == (45_000, "EUR")


async def test_what_means_nothing_is_there_for_the_operator(store: Store) -> None:
    (sms,) = await sent(store, SmsEvent.TAKEN)
    for _ in range(2):
        await say(store, word(sms, None))

    attempt = await row(store, tables.attempt)
    assert (attempt["learnt"], attempt["learnt_raw"]) == (None, "statut=None")


async def test_a_cost_that_is_told_alone_is_kept_and_stays(store: Store) -> None:
    (sms,) = await sent(store, SmsEvent.TAKEN)
    for cost in (45_000, 90_000):
        await say(store, replace(word(sms, SmsEvent.TAKEN), cost_micros=cost, currency="EUR"))

    stored = await row(store, tables.sms)
    assert (stored["cost_micros"], stored["currency"]) == (45_000, "EUR")


@pytest.mark.slow
async def test_ten_thousand_replays_change_each_sms_once(store: Store) -> None:
    claimed = await sent(store, SmsEvent.TAKEN, 10)
    words = [word(sms, fate) for sms in claimed for fate in (SmsEvent.TAKEN, SmsEvent.DELIVERED)]
    moves = 0
    for _ in range(500):
        moves += len((await say(store, *words)).moves)

    assert moves == 10
    assert {one["state"] for one in await rows(store, tables.sms)} == {SmsState.DELIVERED}
    assert {one["since_at"] for one in await rows(store, tables.sms)} == {LATER}


@pytest.mark.parametrize("order", list(itertools.permutations([SmsEvent.TAKEN, SmsEvent.DELIVERED, None])))
async def test_words_may_come_in_any_order_one_by_one(store: Store, order: Sequence[SmsEvent | None]) -> None:
    (sms,) = await sent(store, SmsEvent.LOST)
    make = NotMaker()
    for fate in order:
        await say(store, word(sms, fate), make=make)

    assert await state(store, sms) is SmsState.DELIVERED
    assert [answer.code for envoi in make.asked for answer in envoi.answers] == [Code.C0_SENT]


@pytest.mark.parametrize("order", list(itertools.permutations([SmsEvent.TAKEN, SmsEvent.DELIVERED, None])))
async def test_words_may_come_in_any_order_at_once(store: Store, order: Sequence[SmsEvent | None]) -> None:
    (sms,) = await sent(store, SmsEvent.LOST)
    learnt = await say(store, *(word(sms, fate) for fate in order))
    again = await say(store, *(word(sms, fate) for fate in order))

    assert await state(store, sms) is SmsState.DELIVERED
    assert (learnt.moves[-1].state, again.moves) == (SmsState.DELIVERED, ())


@pytest.mark.parametrize("event", [SmsEvent.LOST, SmsEvent.NOT_SENT])
@pytest.mark.parametrize("last", [SmsEvent.UNDELIVERED, SmsEvent.REFUSED])
async def test_words_at_once_do_what_they_do_one_by_one(store: Store, event: SmsEvent, last: SmsEvent) -> None:
    await store.set_credit("acme", 5, START)
    apart, at_once = await sent(store, event, 2)
    for one in (SmsEvent.TAKEN, last):
        await say(store, word(apart, one))
    await say(store, word(at_once, SmsEvent.TAKEN), word(at_once, last))

    ends = [await row(store, tables.sms, id=sms.id) for sms in (apart, at_once)]
    assert [(end["state"], end["code"]) for end in ends] == [(SmsState.UNDELIVERED, Code.C0_SENT)] * 2
    assert [(one.spent, one.balance) for one in await store.credits()] == [(2, 3)]


@pytest.mark.parametrize("first", [SmsEvent.DELIVERED, SmsEvent.UNDELIVERED])
async def test_the_first_final_word_wins(store: Store, first: SmsEvent) -> None:
    (sms,) = await sent(store, SmsEvent.TAKEN)
    other = SmsEvent.UNDELIVERED if first is SmsEvent.DELIVERED else SmsEvent.DELIVERED
    await say(store, word(sms, first))
    second = await say(store, word(sms, other))

    assert (await state(store, sms)).value == first.value
    assert second.moves == ()


async def test_what_a_carrier_accepted_stays_0_in_the_not_although_it_did_not_arrive(store: Store) -> None:
    await store.admit(new_order(new_sms(1), new_sms(2)))
    first, second = await claim(store)
    make = NotMaker()
    await settle(store, settlement(first, SmsEvent.TAKEN, code=Code.C0_SENT), make=make)
    await say(store, word(first, SmsEvent.UNDELIVERED, code=Code.C21_NUMBER_UNASSIGNED), make=make)
    await settle(store, settlement(second, SmsEvent.TAKEN, code=Code.C0_SENT), make=make)

    stored = await row(store, tables.sms, id=first.id)
    assert [answer.code for answer in make.asked[0].answers] == [0, 0]
    assert (stored["state"], stored["code"], stored["network_code"]) == (SmsState.UNDELIVERED, 0, 21)


@pytest.mark.parametrize(("code", "expected"), [(None, 999), (Code.C0_SENT, 999), (Code.C21_NUMBER_UNASSIGNED, 21)])
async def test_what_was_never_known_to_be_accepted_is_reported_as_the_word_says(
    store: Store, code: Code | None, expected: int
) -> None:
    (sms,) = await sent(store, SmsEvent.LOST)
    make = NotMaker()
    await say(store, word(sms, SmsEvent.UNDELIVERED, code=code), make=make)

    assert [answer.code for answer in make.asked[0].answers] == [expected]


async def test_a_word_that_resolves_an_unknown_fate_spends_the_credit(store: Store) -> None:
    await store.set_credit("acme", 5, START)
    await store.admit(new_order(new_sms(1), new_sms(2), new_sms(3)))
    claimed = await claim(store)
    await settle(store, *(settlement(one, SmsEvent.LOST) for one in claimed))
    await say(store, word(claimed[0], SmsEvent.DELIVERED), word(claimed[1], SmsEvent.UNDELIVERED))

    (credit,) = await store.credits()
    assert (credit.balance, credit.reserved, credit.spent) == (3, 1, 1)


async def test_a_sms_that_waits_and_is_spoken_of_is_not_sent_again(store: Store) -> None:
    (sms,) = await sent(store, SmsEvent.NOT_SENT)
    await change(store, tables.sms.update().values(due_at=START))
    await say(store, word(sms, SmsEvent.TAKEN))

    assert await claim(store) == []
    assert await store.due_lanes(LATER) == ()


async def test_a_restored_sms_that_a_carrier_speaks_of_was_sent_after_the_backup(store: Store) -> None:
    new = new_sms()
    await store.admit(new_order(new))
    await say(store, Word(event=SmsEvent.DELIVERED, tracker=new.tracker, raw="ok"))

    assert (await row(store, tables.sms))["state"] is SmsState.DELIVERED


async def test_a_word_is_noted_with_the_attempt_of_the_carrier_that_says_it(store: Store) -> None:
    (sms,) = await sent(store, SmsEvent.NOT_SENT)
    await change(store, tables.sms.update().values(due_at=START))
    (again,) = await store.claim_sms(lane="acme", provider="other", now=START, lease_until=LATER, limit=1)
    await settle(store, settlement(again, SmsEvent.LOST))
    await say(store, word(sms, SmsEvent.DELIVERED), provider="carrier")

    first, second = await rows(store, tables.attempt)
    assert (first["provider"], first["learnt"]) == ("carrier", SmsEvent.DELIVERED)
    assert (second["provider"], second["learnt"]) == ("other", None)


# --- by the carrier's own name ---------------------------------------------------------------------------------------


def named(ref: str, msisdn: str | None, event: SmsEvent = SmsEvent.DELIVERED) -> Word:
    return Word(event=event, provider_ref=ref, msisdn=msisdn, raw="ok")


async def accepted_as(store: Store, ref: str, *sms: str) -> list[ClaimedSms]:
    """SMS to these numbers that the carrier has under one name."""
    await store.admit(new_order(*(replace(new_sms(n), msisdn=msisdn) for n, msisdn in enumerate(sms, start=1))))
    claimed = await claim(store)
    moves = [settlement(one, SmsEvent.TAKEN, code=Code.C0_SENT, provider_ref=ref) for one in claimed]
    await settle(store, *moves)
    return claimed


async def test_without_a_tracker_the_carriers_name_and_the_number_find_the_sms(store: Store) -> None:
    first, second = await accepted_as(store, "77", "+33600000001", "+33600000002")
    await say(store, named("77", "+33600000002"))

    assert (await state(store, first), await state(store, second)) == (SmsState.ACCEPTED, SmsState.DELIVERED)


async def test_a_name_is_that_of_one_carrier(store: Store) -> None:
    (sms,) = await accepted_as(store, "77", "+33600000001")
    learnt = await say(store, named("77", "+33600000001"), provider="other")

    assert (await state(store, sms), learnt.kept) == (SmsState.ACCEPTED, 1)


async def test_a_tracker_that_is_not_ours_does_not_hide_the_name(store: Store) -> None:
    (sms,) = await accepted_as(store, "77", "+33600000001")
    await say(store, replace(named("77", "+33600000001"), tracker="campaign"))

    assert await state(store, sms) is SmsState.DELIVERED


async def test_a_name_without_a_number_is_enough_only_for_one_sms(store: Store) -> None:
    (alone,) = await accepted_as(store, "77", "+33600000001")
    await accepted_as(store, "78", "+33600000001", "+33600000002")
    learnt = await say(store, named("77", None), named("78", None))

    assert (await state(store, alone), len(learnt.moves)) == (SmsState.DELIVERED, 1)


async def test_two_sms_that_the_carrier_cannot_tell_apart_move_together(store: Store) -> None:
    both = await accepted_as(store, "77", "+33600000001", "+33600000001")
    learnt = await say(store, named("77", "+33600000001"))

    assert {one.sms_id for one in learnt.moves} == {sms.id for sms in both}


# --- words that come too early ---------------------------------------------------------------------------------------


async def test_a_word_during_the_call_is_applied_when_its_answer_is_recorded(store: Store) -> None:
    await store.admit(new_order())
    (sms,) = await claim(store)
    for _ in range(3):
        early = await say(store, word(sms))
        assert (early.moves, early.kept) == ((), 1)
    assert len(await rows(store, tables.receipt)) == 1
    settled = await store.settle_sms([settlement(sms, SmsEvent.TAKEN, code=Code.C0_SENT)], LATER, NotMaker())

    assert await state(store, sms) is SmsState.DELIVERED
    assert [(one.sms_id, one.from_state, one.state) for one in settled.learnt] == [
        (sms.id, SmsState.ACCEPTED, SmsState.DELIVERED)
    ]
    assert await rows(store, tables.receipt) == []


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (SmsEvent.LOST, SmsState.DELIVERED),
        (SmsEvent.NOT_SENT, SmsState.DELIVERED),
        (SmsEvent.POSTPONED, SmsState.DELIVERED),
        (SmsEvent.REFUSED, SmsState.REFUSED),
    ],
)
async def test_an_early_word_counts_after_any_answer(store: Store, event: SmsEvent, expected: SmsState) -> None:
    await store.set_credit("acme", 5, START)
    await store.admit(new_order())
    (sms,) = await claim(store)
    await say(store, word(sms))
    make = NotMaker()
    await settle(store, settlement(sms, event, due_at=TOMORROW), make=make)

    (credit,) = await store.credits()
    assert await state(store, sms) is expected
    assert len(make.asked) == 1
    assert (credit.reserved, credit.spent) == (0, 0 if expected is SmsState.REFUSED else 1)


async def test_an_early_word_of_what_did_not_arrive_spends_what_was_accepted(store: Store) -> None:
    await store.set_credit("acme", 5, START)
    await store.admit(new_order())
    (sms,) = await claim(store)
    await say(store, word(sms, SmsEvent.UNDELIVERED))
    await settle(store, settlement(sms, SmsEvent.TAKEN, code=Code.C0_SENT))

    (credit,) = await store.credits()
    assert (await state(store, sms), credit.spent) == (SmsState.UNDELIVERED, 1)


async def test_an_early_word_by_the_carriers_name_finds_it_with_the_answer(store: Store) -> None:
    await store.admit(new_order())
    (sms,) = await claim(store)
    await say(store, named("77", sms.msisdn), named("77", "+33600000099"))
    await settle(store, settlement(sms, SmsEvent.TAKEN, code=Code.C0_SENT, provider_ref="77"))

    assert await state(store, sms) is SmsState.DELIVERED
    assert [kept["msisdn"] for kept in await rows(store, tables.receipt)] == ["+33600000099"]


async def test_a_word_that_was_kept_while_the_answer_was_recorded_is_not_lost(store: Store) -> None:
    await store.admit(new_order())
    (sms,) = await claim(store)
    await say(store, word(sms), named("99", sms.msisdn))
    await change(  # as another node does that does not see the word yet
        store,
        tables.sms.update().values(state=SmsState.ACCEPTED, lease_until=None, code=Code.C0_SENT),
        tables.attempt.update().values(verdict=SmsEvent.TAKEN, ended_at=START),
    )
    learnt = await store.learn_kept(LATER, 10, NotMaker(), ArMaker())

    assert [one.sms_id for one in learnt.moves] == [sms.id]
    assert [kept["provider_ref"] for kept in await rows(store, tables.receipt)] == ["99"]


async def test_a_word_that_finds_nothing_is_dropped_after_a_day(store: Store) -> None:
    await say(store, Word(event=SmsEvent.DELIVERED, tracker="UNKNOWN", raw="ok"))
    await store.learn_kept(LATER + receipts.KEPT - timedelta(seconds=1), 10, NotMaker(), ArMaker())
    kept = await rows(store, tables.receipt)
    await store.learn_kept(LATER + receipts.KEPT, 10, NotMaker(), ArMaker())

    assert [one["tracker"] for one in kept] == ["UNKNOWN"]
    assert await rows(store, tables.receipt) == []


async def test_what_means_nothing_and_finds_nothing_is_not_kept(store: Store) -> None:
    learnt = await say(store, Word(event=None, tracker="UNKNOWN", raw="ok"))

    assert (learnt.kept, await rows(store, tables.receipt)) == (0, [])


async def test_of_one_carrier_so_many_words_are_kept_and_the_oldest_go(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receipts, "MOST_KEPT", 3)
    for number in range(5):
        said = Words(provider="carrier", words=(Word(event=SmsEvent.DELIVERED, tracker=f"UNKNOWN{number}", raw="ok"),))
        await store.learn(said, START + timedelta(seconds=number), NotMaker(), ArMaker())
    await say(store, Word(event=SmsEvent.DELIVERED, tracker="UNKNOWN9", raw="ok"), provider="other")

    kept = await rows(store, tables.receipt)
    assert sorted(one["tracker"] for one in kept) == ["UNKNOWN2", "UNKNOWN3", "UNKNOWN4", "UNKNOWN9"]


# --- etatAr ----------------------------------------------------------------------------------------------------------


async def etat_ars(store: Store) -> list[dict[str, object]]:
    return await rows(store, tables.report, kind=ReportKind.RECEIPTS)


async def test_the_etat_ar_is_staged_once_with_the_last_end_of_its_envoi(store: Store) -> None:
    ar = ArMaker()
    first, second = await sent(store, SmsEvent.TAKEN, 2, receipts_to="ops@acme.example")
    await say(store, word(first), ar=ar)
    assert await etat_ars(store) == []
    learnt = await say(store, word(second, SmsEvent.UNDELIVERED, code=Code.C21_NUMBER_UNASSIGNED), ar=ar)
    for _ in range(2):
        await say(store, word(first), word(second, SmsEvent.UNDELIVERED), ar=ar)

    (report,) = await etat_ars(store)
    assert learnt.reports == (report["id"],)
    ends = [(end.state, end.code, end.network_code, end.network_at) for end in ar.asked[0].ends]
    assert ends == [
        (SmsState.DELIVERED, Code.C0_SENT, None, ARRIVED),
        (SmsState.UNDELIVERED, Code.C0_SENT, Code.C21_NUMBER_UNASSIGNED, ARRIVED),
    ]
    assert (await row(store, tables.envoi))["receipts_staged_at"] == LATER


async def test_an_account_that_wants_none_gets_no_etat_ar(store: Store) -> None:
    (sms,) = await sent(store, SmsEvent.TAKEN)
    await say(store, word(sms))

    assert await etat_ars(store) == []
    assert (await row(store, tables.envoi))["receipts_staged_at"] is None


async def test_an_end_without_a_word_completes_the_etat_ar_too(store: Store) -> None:
    ar = ArMaker()
    heard, unheard = await sent(store, SmsEvent.TAKEN, 2, receipts_to="ops@acme.example")
    await say(store, word(heard), ar=ar)
    await settle(
        store,
        settlement(unheard, SmsEvent.EXPIRED, from_state=SmsState.ACCEPTED, code=Code.C0_SENT),
        ar=ar,
    )

    assert len(await etat_ars(store)) == 1
    assert [end.state for end in ar.asked[0].ends] == [SmsState.DELIVERED, SmsState.EXPIRED]


async def test_nothing_at_a_carrier_means_no_etat_ar_for_the_not_has_said_it_all(store: Store) -> None:
    await sent(store, SmsEvent.REFUSED, receipts_to="ops@acme.example")
    await store.admit(new_order(refused_sms(), receipts_to="ops@acme.example"))

    assert await etat_ars(store) == []
    assert [one["receipts_staged_at"] for one in await rows(store, tables.envoi)] == [START, START]


async def test_two_nodes_that_learn_the_last_ends_stage_one_etat_ar(store: Store, other: Store) -> None:
    first, second = await sent(store, SmsEvent.TAKEN, 2, receipts_to="ops@acme.example")
    await say(store, word(first))
    await say(other, word(first), word(second))
    await say(store, word(second))

    assert len(await etat_ars(store)) == 1


async def test_an_etat_ar_that_nothing_is_given_to_write_is_an_error(store: Store) -> None:
    (sms,) = await sent(store, SmsEvent.TAKEN, receipts_to="ops@acme.example")
    end = settlement(sms, SmsEvent.EXPIRED, from_state=SmsState.ACCEPTED, code=Code.C0_SENT)
    with pytest.raises(ValueError, match="etatAr"):
        await store.settle_sms([end], START, NotMaker())

    assert await state(store, sms) is SmsState.ACCEPTED


# --- asking ----------------------------------------------------------------------------------------------------------


async def test_who_is_asked_for_is_nobody_elses_until_it_is_settled(store: Store, other: Store) -> None:
    await store.admit(new_order(new_sms(1), new_sms(2)))
    first, second = await claim(store)
    await settle(
        store,
        replace(settlement(first, SmsEvent.LOST), ask_at=START),
        replace(settlement(second, SmsEvent.TAKEN, code=Code.C0_SENT, provider_ref="77"), ask_at=LATER),
    )
    (asked,) = await store.claim_inquiries(provider="carrier", now=START, lease_until=TOMORROW, limit=10)
    again = await other.claim_inquiries(provider="carrier", now=LATER, lease_until=TOMORROW, limit=10)
    elsewhere = await store.claim_inquiries(provider="other", now=TOMORROW, lease_until=TOMORROW, limit=10)

    assert (asked.sms_id, asked.state, asked.tracker) == (first.id, SmsState.UNCERTAIN, first.tracker)
    assert [(one.sms_id, one.provider_ref) for one in again] == [(second.id, "77")]
    assert elsewhere == ()


async def test_a_final_word_ends_the_asking(store: Store) -> None:
    await store.admit(new_order())
    (sms,) = await claim(store)
    await settle(store, replace(settlement(sms, SmsEvent.LOST), ask_at=START))
    said = Words(provider="carrier", words=(word(sms, SmsEvent.TAKEN),), ask_at=TOMORROW)
    await store.learn(said, LATER, NotMaker(), ArMaker())
    after_taken = (await row(store, tables.sms))["ask_at"]
    await say(store, word(sms))

    assert after_taken == TOMORROW
    assert (await row(store, tables.sms))["ask_at"] is None


# --- whatever comes --------------------------------------------------------------------------------------------------

EVENTS = [SmsEvent.TAKEN, SmsEvent.DELIVERED, SmsEvent.UNDELIVERED, SmsEvent.REFUSED, None]
VERDICTS = [SmsEvent.TAKEN, SmsEvent.LOST, SmsEvent.NOT_SENT, SmsEvent.REFUSED]


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    before=st.lists(st.sampled_from(EVENTS), max_size=4),
    verdict=st.sampled_from(VERDICTS),
    after=st.lists(st.sampled_from(EVENTS), max_size=4),
    together=st.booleans(),
)
async def test_whatever_comes_the_credit_adds_up_and_one_not_and_one_etat_ar_at_most_are_made(
    store: Store,
    before: list[SmsEvent | None],
    verdict: SmsEvent,
    after: list[SmsEvent | None],
    together: bool,
) -> None:
    account, make, ar = name("account"), NotMaker(), ArMaker()
    await store.set_credit(account, 5, START)
    order = new_order(mail=new_mail(account=account), receipts_to="ops@acme.example")
    await store.admit(order)
    (sms,) = await claim(store, account=account)
    await say(store, *(word(sms, fate) for fate in before), make=make, ar=ar)
    code = Code.C0_SENT if verdict is SmsEvent.TAKEN else None
    await settle(store, settlement(sms, verdict, code=code, due_at=TOMORROW), make=make, ar=ar)
    for group in [after] if together else [[fate] for fate in after]:
        await say(store, *(word(sms, fate) for fate in group), make=make, ar=ar)

    stored = await row(store, tables.sms, id=sms.id)
    credit = next(one for one in await store.credits() if one.account == account)
    was_accepted = stored["code"] is Code.C0_SENT
    assert credit.reserved == (0 if stored["state"].is_answered else 1)
    assert credit.spent == (1 if was_accepted else 0)
    assert len(make.asked) == stored["state"].is_answered
    is_told = stored["state"] in (SmsState.DELIVERED, SmsState.UNDELIVERED)
    assert len(ar.asked) == is_told


async def test_the_words_that_are_kept_are_found_by_their_indexes(store: Store) -> None:
    await store.admit(new_order())
    (sms,) = await claim(store)
    found = await row(store, tables.sms, id=sms.id)
    query = receipts.kept_query([found])

    def ask(connection: sa.Connection) -> str:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        explain = "EXPLAIN QUERY PLAN" if connection.dialect.name == "sqlite" else "EXPLAIN"
        compiled = query.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
        return "\n".join(str(line[-1]) for line in connection.exec_driver_sql(f"{explain} {compiled}"))

    plan = await store._database.read(ask)
    assert "ix_receipt_tracker" in plan, plan
