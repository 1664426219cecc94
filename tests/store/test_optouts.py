"""The STOP list in the store: what is refused for it, what is cancelled, and what carriers are to be told."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from gateway.lifecycle import SmsEvent, SmsState
from gateway.protocol.codes import Code
from gateway.protocol.report import ReportKind, SmsAnswer
from gateway.store import Store, tables
from gateway.store.base import NewReport, Order, Stored
from gateway.store.stoplist import EVERYBODY, OptOut, OptOutSource
from gateway.store.two_way import CarrierOptOut, StopRules
from tests.store.samples import (
    LATER,
    LEASE,
    NotMaker,
    claim,
    new_mail,
    new_order,
    new_report,
    new_sms,
    row,
    rows,
    settlement,
)
from tests.support.clock import START

ONE, TWO, THREE = (f"+3360000000{place}" for place in (1, 2, 3))
NO_RULES = StopRules()
TELLING = StopRules(users={"carrier": frozenset({"acme", "other"}), "own": frozenset({"other"})})


def optout(
    msisdn: str = ONE, account: str = "acme", source: OptOutSource = OptOutSource.OPERATOR, note: str | None = None
) -> OptOut:
    return OptOut(account=account, msisdn=msisdn, since_at=START, source=source, note=note)


async def stop(store: Store, *entries: OptOut, rules: StopRules = NO_RULES) -> list[str]:
    """Put these on the list; return the SMS that were cancelled."""
    stopped = await store.stop(entries, rules, LATER, NotMaker())
    return [one.id for one in stopped.cancelled]


def early(order: Order, asked: list[tuple[SmsAnswer, ...]]) -> Order:
    """The order, with a Not when the store refuses everything."""

    def write(answers: tuple[SmsAnswer, ...]) -> NewReport:
        asked.append(answers)
        return new_report(ReportKind.NOT)

    return replace(order, early_not=write)


async def admit(store: Store, order: Order) -> Stored:
    outcome = await store.admit(order)
    assert isinstance(outcome, Stored)
    return outcome


# --- while a mail is stored ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("account", ["acme", EVERYBODY])
async def test_a_number_on_the_list_is_refused_and_the_others_go(store: Store, account: str) -> None:
    await stop(store, optout(TWO, account))
    order = new_order(new_sms(1), new_sms(2), new_sms(3))
    assert order.envoi is not None
    outcome = await admit(store, order)
    found = await rows(store, tables.sms)

    assert outcome.opted_out == (order.envoi.sms[1].id,)
    assert [(sms["state"], sms["code"], sms["reason"]) for sms in found] == [
        (SmsState.QUEUED, None, None),
        (SmsState.REFUSED, Code.C11_NUMBER_BLACKLISTED, "the number is on the STOP list"),
        (SmsState.QUEUED, None, None),
    ]
    assert found[1]["settled_at"] == START


async def test_the_list_of_an_account_is_no_other_ones(store: Store) -> None:
    await stop(store, optout(ONE, "other"))

    assert (await admit(store, new_order())).opted_out == ()


async def test_an_account_that_does_not_heed_it_sends_all_the_same(store: Store) -> None:
    await stop(store, optout(ONE), optout(ONE, EVERYBODY))

    assert (await admit(store, replace(new_order(), heeds_stop=False))).opted_out == ()


async def test_when_every_number_is_on_it_the_not_goes_at_once(store: Store) -> None:
    await stop(store, optout(ONE), optout(TWO))
    asked: list[tuple[SmsAnswer, ...]] = []
    order = early(new_order(new_sms(2), new_sms(1)), asked)
    outcome = await admit(store, order)
    (not_,) = await rows(store, tables.report, kind=ReportKind.NOT)

    assert (not_["id"], (await row(store, tables.envoi))["not_staged_at"]) == (outcome.early_not, START)
    assert asked[-1] == tuple(SmsAnswer(tel=f"060000000{place}", code=Code.C11_NUMBER_BLACKLISTED) for place in (1, 2))


async def test_stop_goes_before_credit_and_costs_none(store: Store) -> None:
    await store.set_credit("acme", 1, START)
    await stop(store, optout(ONE))
    asked: list[tuple[SmsAnswer, ...]] = []
    order = early(new_order(new_sms(1), new_sms(2), new_sms(3)), asked)
    assert order.envoi is not None
    outcome = await admit(store, order)
    (credit,) = await store.credits()

    assert (outcome.opted_out, outcome.unpaid) == ((order.envoi.sms[0].id,), (order.envoi.sms[2].id,))
    assert (credit.balance, credit.reserved, asked) == (0, 1, [])


async def test_one_stopped_and_one_unpaid_leave_nothing_to_wait_for(store: Store) -> None:
    await store.set_credit("acme", 0, START)
    await stop(store, optout(ONE))
    asked: list[tuple[SmsAnswer, ...]] = []
    outcome = await admit(store, early(new_order(new_sms(1), new_sms(2)), asked))

    assert outcome.early_not is not None
    assert [answer.code.value for answer in asked[-1]] == [11, 12]


async def test_it_is_foreseen_and_an_order_that_comes_again_is_told_the_same(store: Store) -> None:
    await stop(store, optout(ONE))
    order = new_order(new_sms(1), new_sms(2))
    foreseen = await store.foresee(order)
    first, again = await admit(store, order), await admit(store, order)

    assert foreseen.outcome == first
    assert (again.opted_out, again.unpaid) == (first.opted_out, ())


async def test_thousands_of_numbers_are_looked_up(store: Store) -> None:
    sms = [replace(new_sms(place), msisdn=f"+336{place:08}") for place in range(1, 2501)]
    await stop(store, *(optout(f"+336{place:08}") for place in (1, 1001, 2500)))
    outcome = await admit(store, new_order(*sms))

    assert outcome.opted_out == (sms[0].id, sms[1000].id, sms[2499].id)


# --- what waits ------------------------------------------------------------------------------------------------------


async def test_what_waits_is_cancelled_with_its_not_in_one_step(store: Store) -> None:
    first = new_sms(1)
    await admit(store, new_order(first))
    nots = NotMaker()
    stopped = await store.stop([optout()], NO_RULES, LATER, nots)
    sms = await row(store, tables.sms, id=first.id)

    assert (sms["state"], sms["code"], sms["settled_at"]) == (
        SmsState.CANCELLED,
        Code.C11_NUMBER_BLACKLISTED,
        LATER,
    )
    assert [answer.code.value for answer in nots.asked[0].answers] == [11]
    assert [one["id"] for one in await rows(store, tables.report, kind=ReportKind.NOT)] == list(stopped.reports)
    assert [(one.account, one.msisdn) for one in stopped.added] == [("acme", ONE)]


async def test_only_what_waits_for_that_number_and_account_is_cancelled(store: Store) -> None:
    mine, others, elsewhere = new_sms(1), new_sms(2), new_sms(1)
    await admit(store, new_order(mine, others))
    await admit(store, new_order(elsewhere, mail=new_mail(account="other")))

    assert await stop(store, optout()) == [mine.id]
    assert await stop(store, optout(ONE, EVERYBODY)) == [elsewhere.id]
    assert {sms["id"]: sms["state"] for sms in await rows(store, tables.sms)}[others.id] is SmsState.QUEUED


@pytest.mark.parametrize("account", ["acme", EVERYBODY])
async def test_nothing_of_an_exempt_account_is_cancelled(store: Store, account: str) -> None:
    await admit(store, new_order())
    cancelled = await stop(store, optout(ONE, account), rules=StopRules(exempt=frozenset({"acme"})))

    assert cancelled == []
    assert len(await store.optouts(account=account, after=None, limit=10)) == 1


async def test_a_stop_gives_the_credit_back(store: Store) -> None:
    await store.set_credit("acme", 5, START)
    await admit(store, new_order())
    await stop(store, optout())
    (credit,) = await store.credits()

    assert (credit.balance, credit.reserved, credit.spent) == (5, 0, 0)


async def test_what_is_being_sent_is_left_to_its_claimer(store: Store) -> None:
    await admit(store, new_order(new_sms(1), new_sms(2)))
    await claim(store, limit=1)

    assert await stop(store, optout(ONE)) == []
    assert (await row(store, tables.sms, msisdn=ONE))["state"] is SmsState.SENDING


async def test_who_claims_is_told_of_the_list(store: Store) -> None:
    await admit(store, new_order(new_sms(1), new_sms(2), new_sms(3)))
    exempt = StopRules(exempt=frozenset({"acme"}))  # so that they go on waiting
    await stop(store, optout(ONE), optout(TWO, EVERYBODY), optout(THREE, "other"), rules=exempt)
    claimed = await claim(store)

    assert {sms.msisdn: sms.is_opted_out for sms in claimed} == {ONE: True, TWO: True, THREE: False}


async def test_two_nodes_that_hear_it_at_once_cancel_once(store: Store, other: Store) -> None:
    await admit(store, new_order())
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(stop(node, optout())) for node in (store, other) * 3]

    assert sorted(len(task.result()) for task in tasks) == [0] * 5 + [1]
    assert len(await rows(store, tables.optout)) == 1
    assert len(await rows(store, tables.report, kind=ReportKind.NOT)) == 1


async def test_what_was_on_the_list_stays_as_it_was(store: Store) -> None:
    await stop(store, optout(note="by telephone"))
    stopped = await store.stop([optout(source=OptOutSource.REPLY)], NO_RULES, LATER, NotMaker())

    assert stopped.added == ()
    assert (await row(store, tables.optout))["note"] == "by telephone"


# --- a carrier's code 11 ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "code", "is_listed"),
    [
        (SmsEvent.REFUSED, Code.C11_NUMBER_BLACKLISTED, True),
        (SmsEvent.REFUSED, Code.C21_NUMBER_UNASSIGNED, False),
        (SmsEvent.CANCELLED, Code.C11_NUMBER_BLACKLISTED, False),
    ],
)
async def test_a_number_that_a_carrier_has_on_its_list_is_on_ours(
    store: Store, event: SmsEvent, code: Code, is_listed: bool
) -> None:
    await admit(store, new_order())
    (sms,) = await claim(store)
    settled = await store.settle_sms([settlement(sms, event, code=code)], LATER, NotMaker())
    expected = (
        [OptOut(account="acme", msisdn=ONE, since_at=LATER, source=OptOutSource.CARRIER, note="code 11 of carrier")]
        if is_listed
        else []
    )

    assert list(settled.opted_out) == expected
    assert list(await store.optouts(account=None, after=None, limit=10)) == expected
    assert await rows(store, tables.carrier_optout) == []


async def test_a_carriers_word_that_comes_twice_is_one_entry(store: Store) -> None:
    await admit(store, new_order(new_sms(1), replace(new_sms(2), msisdn=ONE)))
    moves = [settlement(sms, SmsEvent.REFUSED, code=Code.C11_NUMBER_BLACKLISTED) for sms in await claim(store)]
    first = await store.settle_sms(moves[:1], LATER, NotMaker())
    second = await store.settle_sms(moves[1:], LATER, NotMaker())

    assert (len(first.opted_out), len(second.opted_out), len(second.moved)) == (1, 0, 1)


# --- looking at it, taking off it ------------------------------------------------------------------------------------


async def test_the_list_is_read_page_by_page(store: Store) -> None:
    entries = [optout(msisdn, account) for account in (EVERYBODY, "acme", "other") for msisdn in (ONE, TWO, THREE)]
    await stop(store, *reversed(entries))
    found: list[OptOut] = []
    while page := await store.optouts(
        account=None, after=(found[-1].account, found[-1].msisdn) if found else None, limit=2
    ):
        found += page

    assert found == entries
    assert list(await store.optouts(account="acme", after=("acme", ONE), limit=9)) == entries[4:6]


async def test_taken_off_one_list_it_stays_on_the_others(store: Store) -> None:
    await stop(store, optout(ONE), optout(ONE, "other"), optout(ONE, EVERYBODY))
    first = await store.lift_stop(ONE, "acme", NO_RULES, LATER)
    left = {one.account for one in await store.optouts(account=None, after=None, limit=9)}
    second = await store.lift_stop(ONE, None, NO_RULES, LATER)

    assert ([one.account for one in first], left) == (["acme"], {"other", EVERYBODY})
    assert {one.account for one in second} == left
    assert await store.lift_stop(ONE, None, NO_RULES, LATER) == ()
    assert (await admit(store, new_order())).opted_out == ()


# --- what carriers are to be told ------------------------------------------------------------------------------------


async def told(store: Store) -> set[tuple[str, str, bool]]:
    """What is still to be told."""
    found = await rows(store, tables.carrier_optout)
    return {(one["provider"], one["msisdn"], one["is_listed"]) for one in found if one["due_at"] is not None}


async def test_the_carriers_of_the_account_are_to_be_told(store: Store) -> None:
    await stop(store, optout(ONE), optout(TWO, EVERYBODY), optout(THREE, "third"), rules=TELLING)

    assert await told(store) == {("carrier", ONE, True), ("carrier", TWO, True), ("own", TWO, True)}


async def test_a_carriers_own_word_is_not_told_back(store: Store) -> None:
    await stop(store, optout(source=OptOutSource.CARRIER), rules=TELLING)

    assert await told(store) == set()


async def test_a_carrier_forgets_a_number_only_when_none_of_its_accounts_has_it(store: Store) -> None:
    await stop(store, optout(ONE), optout(ONE, "other"), rules=TELLING)
    await store.lift_stop(ONE, "acme", TELLING, LATER)
    first = await told(store)
    await store.lift_stop(ONE, "other", TELLING, LATER)

    assert first == {("carrier", ONE, True), ("own", ONE, True)}
    assert await told(store) == {("carrier", ONE, False), ("own", ONE, False)}


async def untold(store: Store) -> list[CarrierOptOut]:
    return list(await store.claim_untold("carrier", now=LATER, lease_until=LATER + timedelta(minutes=5), limit=5))


async def test_what_was_told_is_not_told_again_unless_it_changes(store: Store) -> None:
    await stop(store, optout(), rules=TELLING)
    (first,) = await untold(store)
    between = await untold(store)
    was_settled = await store.settle_told(first, due_at=None)
    await stop(store, optout(), rules=TELLING)
    after = await untold(store)
    await store.lift_stop(ONE, None, TELLING, LATER)
    (second,) = await untold(store)

    assert (between, was_settled, after) == ([], True, [])
    assert (first.is_listed, first.attempt, second.is_listed, second.attempt) == (True, 1, False, 2)


async def test_who_tells_the_last_word_but_one_settles_nothing(store: Store) -> None:
    await stop(store, optout(), rules=TELLING)
    (first,) = await untold(store)
    await store.lift_stop(ONE, None, TELLING, LATER)

    assert not await store.settle_told(first, due_at=None)
    assert [one.is_listed for one in await untold(store)] == [False]


async def test_what_could_not_be_told_waits_and_is_free_after_its_lease(store: Store) -> None:
    await stop(store, optout(ONE), optout(TWO), rules=TELLING)
    first, _ = await untold(store)
    await store.settle_told(first, due_at=LATER + timedelta(hours=1), reason="busy")
    after_the_lease = await store.claim_untold("carrier", now=LATER + timedelta(minutes=6), lease_until=LEASE, limit=5)

    assert [one.msisdn for one in after_the_lease] == [TWO]
    assert (await row(store, tables.carrier_optout, msisdn=ONE))["reason"] == "busy"


async def test_a_clock_that_was_set_back_does_not_put_it_off(store: Store) -> None:
    await store.stop([optout()], TELLING, LATER + timedelta(days=30), NotMaker())

    assert [one.msisdn for one in await untold(store)] == [ONE]
