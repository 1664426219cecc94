"""Store.due_lanes, claim_sms and settle_sms: every move of an SMS, and the Not that follows."""

import asyncio
import dataclasses
from datetime import timedelta

import pytest

from gateway.lifecycle import SMS_MOVES, SmsEvent, SmsId, SmsState
from gateway.protocol.codes import Code
from gateway.protocol.report import ReportFormat, ReportKind, SmsAnswer
from gateway.store import Store, tables
from gateway.store.base import AnsweredEnvoi, NewReport, Settled, Settlement
from tests.store.samples import (
    LATER,
    LEASE,
    NotMaker,
    claim,
    new_mail,
    new_order,
    new_sms,
    refused_sms,
    row,
    rows,
    settlement,
    states,
)
from tests.support.clock import START

# --- claims ----------------------------------------------------------------------------------------------------------


async def test_lanes_are_the_accounts_with_something_due_and_valid(store: Store) -> None:
    for account, sms in {
        "b-due": new_sms(),
        "a-due": new_sms(due_at=START - timedelta(days=3)),
        "later": new_sms(due_at=LATER),
        "expired": new_sms(expires_at=START),
        "refused": refused_sms(),
    }.items():
        await store.admit(new_order(sms, mail=new_mail(account=account)))

    assert await store.due_lanes(START) == ("a-due", "b-due")
    assert await store.due_lanes(START - timedelta(days=4)) == ()
    assert await store.due_lanes(LATER) == ("a-due", "b-due", "later")


async def test_a_claim_has_its_attempt_on_disk(store: Store, other: Store) -> None:
    order = new_order(dataclasses.replace(new_sms(), max_parts=3, nostop=True, ucs2=True), commercial=True)
    assert order.envoi is not None
    await store.admit(order)
    (claimed,) = await claim(store)

    sms = order.envoi.sms[0]
    same = ("id", "msisdn", "text", "tracker", "originator", "max_parts", "nostop", "ucs2", "expires_at")
    assert {field: getattr(claimed, field) for field in same} == {field: getattr(sms, field) for field in same}
    assert (claimed.mail_id, claimed.envoi_id, claimed.account) == (order.mail.id, order.envoi.id, "acme")
    assert (claimed.provider, claimed.epoch, claimed.attempt, claimed.commercial) == ("carrier", 1, 1, True)
    stored = await row(other, tables.sms)
    assert (stored["state"], stored["lease_until"], stored["since_at"]) == (SmsState.SENDING, LEASE, START)
    attempt = await row(other, tables.attempt)
    assert (attempt["number"], attempt["begun_at"], attempt["provider"], attempt["verdict"]) == (
        1,
        START,
        "carrier",
        None,
    )


async def test_a_claim_takes_the_oldest_and_its_like(store: Store) -> None:
    alike = [
        new_sms(1, due_at=START - timedelta(seconds=1)),
        new_sms(2, due_at=START - timedelta(seconds=9)),
        new_sms(3, due_at=START - timedelta(seconds=5)),
    ]
    unlike = [
        new_sms(4, originator="Other", due_at=START - timedelta(seconds=8)),
        new_sms(5, originator=None, due_at=START - timedelta(seconds=7)),
        dataclasses.replace(new_sms(6), max_parts=2),
        dataclasses.replace(new_sms(7), nostop=True),
        dataclasses.replace(new_sms(8), ucs2=True),
        new_sms(9, due_at=LATER),
        new_sms(10, expires_at=START),
    ]
    await store.admit(new_order(*alike, *unlike))
    await store.admit(new_order(new_sms(11), commercial=True))
    await store.admit(new_order(new_sms(12), mail=new_mail(account="other")))

    assert [sms.id for sms in await claim(store)] == [alike[1].id, alike[2].id, alike[0].id]
    assert [sms.id for sms in await claim(store)] == [unlike[0].id]
    assert [sms.originator for sms in await claim(store)] == [None]


async def test_a_claim_goes_beyond_one_mail_and_not_beyond_its_limit(store: Store) -> None:
    for _ in range(3):
        await store.admit(new_order(new_sms(1), new_sms(2)))

    assert len(await claim(store, limit=4)) == 4
    assert len(await claim(store, limit=4)) == 2
    assert await claim(store, limit=4) == []


@pytest.mark.slow
async def test_two_nodes_never_claim_the_same_sms(store: Store, other: Store) -> None:
    await store.admit(new_order(*(new_sms(position) for position in range(1, 101))))
    claimed: list[SmsId] = []

    async def work(node: Store) -> None:
        while batch := await claim(node, limit=7):
            claimed.extend(sms.id for sms in batch)

    async with asyncio.TaskGroup() as group:
        for node in (store, other, store, other):
            group.create_task(work(node))
    claimed.extend(sms.id for sms in await claim(store, limit=500))

    assert len(claimed) == 100
    assert len(set(claimed)) == 100
    assert {attempt["number"] for attempt in await rows(store, tables.attempt)} == {1}


# --- moves -----------------------------------------------------------------------------------------------------------


async def test_taken_by_the_provider_is_accepted(store: Store) -> None:
    await store.admit(new_order())
    (sms,) = await claim(store)
    moved = await store.settle_sms(
        [settlement(sms, SmsEvent.TAKEN, provider_ref="42", parts=2, raw='{"ok":1}')], LATER, NotMaker()
    )

    assert moved.moved == (sms.id,)
    stored = await row(store, tables.sms)
    assert {key: stored[key] for key in ("state", "lease_until", "settled_at", "provider_ref", "billed_parts")} == {
        "state": SmsState.ACCEPTED,
        "lease_until": None,
        "settled_at": None,
        "provider_ref": "42",
        "billed_parts": 2,
    }
    attempt = await row(store, tables.attempt)
    assert (attempt["verdict"], attempt["ended_at"], attempt["raw"]) == (SmsEvent.TAKEN, LATER, '{"ok":1}')


async def test_proven_not_sent_is_queued_again_and_counted(store: Store) -> None:
    await store.admit(new_order())
    (sms,) = await claim(store)
    again = settlement(sms, SmsEvent.NOT_SENT, due_at=LATER, code=Code.C12_NO_CREDIT, raw="refused", reason="down")
    await store.settle_sms([again], START, NotMaker())

    assert await claim(store) == []
    stored = await row(store, tables.sms)
    assert (stored["state"], stored["due_at"], stored["code"], stored["reason"]) == (
        SmsState.QUEUED,
        LATER,
        Code.C12_NO_CREDIT,
        "down",
    )
    (second,) = await claim(store, now=LATER)
    assert (second.attempt, second.epoch, second.tracker) == (2, 2, sms.tracker)
    assert [attempt["verdict"] for attempt in await rows(store, tables.attempt)] == [SmsEvent.NOT_SENT, None]


async def test_postponed_leaves_no_attempt_behind(store: Store) -> None:
    await store.admit(new_order())
    (sms,) = await claim(store)
    await store.settle_sms([settlement(sms, SmsEvent.POSTPONED, due_at=LATER, reason="night")], START, NotMaker())

    assert (await row(store, tables.sms))["attempts"] == 0
    assert await rows(store, tables.attempt) == []
    (second,) = await claim(store, now=LATER)
    assert (second.attempt, second.epoch) == (1, 2)


async def test_cancelled_before_the_call_leaves_no_attempt_behind(store: Store) -> None:
    await store.admit(new_order())
    (sms,) = await claim(store)
    cancelled = settlement(sms, SmsEvent.CANCELLED, code=Code.C11_NUMBER_BLACKLISTED, reason="STOP")
    await store.settle_sms([cancelled], LATER, NotMaker())

    stored = await row(store, tables.sms)
    assert (stored["state"], stored["settled_at"], stored["attempts"]) == (SmsState.CANCELLED, LATER, 0)
    assert await rows(store, tables.attempt) == []


async def test_what_is_learnt_later_stands_beside_the_verdict(store: Store) -> None:
    await store.admit(new_order())
    (sms,) = await claim(store)
    lost = settlement(sms, SmsEvent.LOST, raw="read timed out")
    receipt = settlement(sms, SmsEvent.DELIVERED, from_state=SmsState.UNCERTAIN, raw="statut=1")
    await store.settle_sms([lost], START, NotMaker())
    await store.settle_sms([receipt], LATER, NotMaker())

    attempt = await row(store, tables.attempt)
    assert (attempt["verdict"], attempt["raw"], attempt["ended_at"]) == (SmsEvent.LOST, "read timed out", START)
    assert (attempt["learnt"], attempt["learnt_raw"], attempt["learnt_at"]) == (SmsEvent.DELIVERED, "statut=1", LATER)


async def test_a_not_now_is_forgotten_by_what_comes_after_it(store: Store) -> None:
    await store.admit(new_order())
    (sms,) = await claim(store)
    no_credit = settlement(sms, SmsEvent.NOT_SENT, due_at=START, code=Code.C12_NO_CREDIT)
    await store.settle_sms([no_credit], START, NotMaker())
    (sms,) = await claim(store)
    await store.settle_sms([settlement(sms, SmsEvent.LOST)], START, NotMaker())

    assert (await row(store, tables.sms))["code"] is None


async def test_second_settle_changes_nothing(store: Store) -> None:
    await store.admit(new_order())
    (sms,) = await claim(store)
    await store.settle_sms([settlement(sms, SmsEvent.TAKEN, raw="first")], START, NotMaker())
    before = await row(store, tables.sms), await row(store, tables.attempt)
    second = await store.settle_sms([settlement(sms, SmsEvent.REFUSED, code=Code.C999_ERROR)], LATER, NotMaker())

    assert second == Settled(moved=())
    assert (await row(store, tables.sms), await row(store, tables.attempt)) == before


async def test_a_claimer_that_wakes_too_late_moves_nothing(store: Store, other: Store) -> None:
    await store.admit(new_order())
    (early,) = await claim(store)
    await other.settle_sms([settlement(early, SmsEvent.NOT_SENT, due_at=START)], START, NotMaker())
    (late,) = await claim(other)

    assert (await store.settle_sms([settlement(early, SmsEvent.TAKEN)], START, NotMaker())).moved == ()
    assert (await other.settle_sms([settlement(late, SmsEvent.TAKEN)], START, NotMaker())).moved == (late.id,)


async def test_the_others_of_a_batch_move_although_one_was_moved_before(store: Store) -> None:
    await store.admit(new_order(new_sms(1), new_sms(2)))
    first, second = await claim(store)
    await store.settle_sms([settlement(first, SmsEvent.TAKEN)], START, NotMaker())
    both = [settlement(first, SmsEvent.LOST), settlement(second, SmsEvent.TAKEN)]

    assert (await store.settle_sms(both, START, NotMaker())).moved == (second.id,)
    unknown = dataclasses.replace(both[0], sms_id=SmsId("NOBODY"))
    assert (await store.settle_sms([unknown], START, NotMaker())).moved == ()


@pytest.mark.parametrize(
    ("from_state", "event", "due_at"),
    [
        (state, event, START)
        for state in SmsState
        for event in SmsEvent
        if event not in SMS_MOVES[state] or event is SmsEvent.CLAIMED
    ]
    + [(SmsState.SENDING, SmsEvent.NOT_SENT, None), (SmsState.UNCERTAIN, SmsEvent.RESENT, None)],
)
async def test_a_move_that_the_lifecycle_does_not_know_is_an_error(
    sqlite_store: Store, from_state: SmsState, event: SmsEvent, due_at: object
) -> None:
    illegal = Settlement(
        sms_id=SmsId("S"), epoch=0, from_state=from_state, event=event, due_at=START if due_at else None
    )
    with pytest.raises(ValueError, match=r"move|due_at|lease"):
        await sqlite_store.settle_sms([illegal], START, NotMaker())


async def test_one_sms_twice_at_once_is_an_error(store: Store) -> None:
    await store.admit(new_order())
    (sms,) = await claim(store)
    with pytest.raises(ValueError, match="twice"):
        await store.settle_sms([settlement(sms, SmsEvent.TAKEN)] * 2, START, NotMaker())

    assert await states(store) == {sms.id: SmsState.SENDING}


async def test_released_keeps_its_due_at(store: Store) -> None:
    order = new_order()
    assert order.envoi is not None
    sms = order.envoi.sms[0]
    await store.admit(order)
    held = Settlement(sms_id=sms.id, epoch=0, from_state=SmsState.QUEUED, event=SmsEvent.HELD)
    released = Settlement(sms_id=sms.id, epoch=0, from_state=SmsState.HELD, event=SmsEvent.RELEASED)
    await store.settle_sms([held], START, NotMaker())

    assert await claim(store) == []
    await store.settle_sms([released], LATER, NotMaker())
    assert (await row(store, tables.sms))["due_at"] == START
    assert [each.id for each in await claim(store)] == [sms.id]


async def test_an_answer_of_any_length_and_any_octets_is_recorded(store: Store) -> None:
    await store.admit(new_order())
    (sms,) = await claim(store)
    await store.settle_sms([settlement(sms, SmsEvent.LOST, raw="é\0\udcff" * 100_000)], START, NotMaker())

    raw = (await row(store, tables.attempt))["raw"]
    assert raw.startswith("é��é")
    assert 4096 - 3 < len(raw.encode()) <= 4096


# --- the Not ---------------------------------------------------------------------------------------------------------


async def test_the_last_answer_stages_the_not(store: Store) -> None:
    order = new_order(new_sms(2), new_sms(1), refused_sms(4), new_sms(3))
    assert order.envoi is not None
    await store.admit(order)
    second, first, third = sorted(await claim(store), key=lambda sms: sms.id)
    make = NotMaker()
    refused = settlement(first, SmsEvent.REFUSED, code=Code.C21_NUMBER_UNASSIGNED)
    early = await store.settle_sms([refused, settlement(second, SmsEvent.TAKEN)], START, make)

    assert early.reports == ()
    assert make.asked == []
    settled = await store.settle_sms([settlement(third, SmsEvent.CANCELLED)], LATER, make)
    assert make.asked == [
        AnsweredEnvoi(
            envoi_id=order.envoi.id,
            mail_id=order.mail.id,
            account="acme",
            email_id=order.envoi.email_id,
            message_id=order.mail.message_id,
            not_to="ops@acme.example",
            report_format=ReportFormat.SOURCE,
            answers=(
                SmsAnswer(tel="0600000001", code=Code.C21_NUMBER_UNASSIGNED),
                SmsAnswer(tel="0600000002", code=Code.C0_SENT),
                SmsAnswer(tel="0600000003", code=Code.C999_ERROR),
                SmsAnswer(tel="0600", code=Code.C7_NUMBER_MALFORMED),
            ),
        )
    ]
    report = await row(store, tables.report, kind=ReportKind.NOT)
    assert (settled.reports, report["envoi_id"], report["mail_id"]) == (
        (report["id"],),
        order.envoi.id,
        order.mail.id,
    )
    assert (await row(store, tables.envoi))["not_staged_at"] == LATER


async def test_later_words_of_the_network_stage_no_second_not(store: Store) -> None:
    await store.admit(new_order())
    (sms,) = await claim(store)
    make = NotMaker()
    await store.settle_sms([settlement(sms, SmsEvent.TAKEN)], START, make)
    later = settlement(sms, SmsEvent.UNDELIVERED, from_state=SmsState.ACCEPTED)
    settled = await store.settle_sms([later], LATER, make)

    assert settled == Settled(moved=(sms.id,))
    assert len(make.asked) == 1
    assert len(await rows(store, tables.report, kind=ReportKind.NOT)) == 1


async def test_what_is_uncertain_is_no_answer(store: Store) -> None:
    await store.admit(new_order(new_sms(1), new_sms(2)))
    first, second = await claim(store)
    make = NotMaker()
    await store.settle_sms([settlement(first, SmsEvent.LOST), settlement(second, SmsEvent.TAKEN)], START, make)

    assert make.asked == []
    expired = settlement(first, SmsEvent.EXPIRED, from_state=SmsState.UNCERTAIN, code=Code.C999_ERROR)
    settled = await store.settle_sms([expired], LATER, make)
    assert len(settled.reports) == 1
    assert [answer.code for answer in make.asked[0].answers] == [Code.C999_ERROR, Code.C0_SENT]


async def test_no_not_is_rendered_when_none_is_wanted(store: Store) -> None:
    await store.admit(new_order(not_to=None))
    (sms,) = await claim(store)
    make = NotMaker()
    settled = await store.settle_sms([settlement(sms, SmsEvent.TAKEN)], LATER, make)

    assert settled == Settled(moved=(sms.id,))
    assert make.asked == []
    assert (await row(store, tables.envoi))["not_staged_at"] == LATER


async def test_one_batch_may_complete_many_envois(store: Store) -> None:
    for _ in range(5):
        await store.admit(new_order(new_sms(1), new_sms(2)))
    claimed = await claim(store)
    make = NotMaker()
    settled = await store.settle_sms([settlement(sms, SmsEvent.TAKEN) for sms in claimed[:-1]], START, make)

    assert len(settled.reports) == 4
    assert [len(envoi.answers) for envoi in make.asked] == [2] * 4


@pytest.mark.slow
async def test_two_nodes_that_settle_the_last_two_stage_one_not(store: Store, other: Store) -> None:
    for _ in range(20):
        await store.admit(new_order(new_sms(1), new_sms(2)))
    claimed = await claim(store)
    makers = NotMaker(), NotMaker()

    async with asyncio.TaskGroup() as group:
        for number, sms in enumerate(claimed):
            node = (store, other)[number % 2]
            group.create_task(node.settle_sms([settlement(sms, SmsEvent.TAKEN)], START, makers[number % 2]))

    assert len(makers[0].asked) + len(makers[1].asked) == 20
    assert len({envoi.envoi_id for maker in makers for envoi in maker.asked}) == 20
    assert len(await rows(store, tables.report, kind=ReportKind.NOT)) == 20


async def test_a_not_that_cannot_be_made_undoes_the_move(store: Store) -> None:
    await store.admit(new_order())
    (sms,) = await claim(store)

    def fail(_envoi: AnsweredEnvoi) -> NewReport:
        raise LookupError("no such account")

    with pytest.raises(LookupError):
        await store.settle_sms([settlement(sms, SmsEvent.TAKEN)], START, fail)
    assert await states(store) == {sms.id: SmsState.SENDING}
    assert (await store.settle_sms([settlement(sms, SmsEvent.TAKEN)], START, NotMaker())).moved == (sms.id,)


async def test_nothing_to_settle_is_fine(store: Store) -> None:
    assert await store.settle_sms([], START, NotMaker()) == Settled(moved=())
