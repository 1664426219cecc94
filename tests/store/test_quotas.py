"""Quotas and volumes: counted with the order, exactly, by whichever node (docs/protocol.md §10.5, §10.6)."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy.exc import IntegrityError

from gateway.intake.budget import make_budget
from gateway.lifecycle import SmsId, SmsState
from gateway.protocol.codes import Code
from gateway.protocol.report import ReportKind, SmsAnswer
from gateway.store import Store, StoreError, quota_tables, tables
from gateway.store.base import Duplicate, NewReport, NewSms, Order, Retransmitted, Stored
from gateway.store.budget import Alarm, Budget, Deferred, Overrun, QuotaSpent, VolumeUnusual, VolumeWatch
from gateway.store.inserts import insert_all
from gateway.store.volume import find_threshold, find_usual
from tests.store.samples import change, name, new_mail, new_order, new_report, new_sms, row, rows, states
from tests.support.accounts import make_account
from tests.support.clock import START

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
SENDER = "glpi@acme.example"
ON_CALL = "+33600000001"


class Contact:
    """Somebody to be told, who remembers of what."""

    def __init__(self) -> None:
        self.alarms: list[Alarm] = []
        self.sums: list[tuple[str, list[Overrun]]] = []

    def __call__(self, alarm: Alarm) -> NewReport:
        self.alarms.append(alarm)
        return new_report(ReportKind.ALARM)

    def sum_up(self, account: str, overruns: Sequence[Overrun]) -> NewReport:
        self.sums.append((account, list(overruns)))
        return new_report(ReportKind.ALARM)


def quota(per: str = "account", window: str = "hour", **more: object) -> dict[str, object]:
    return {"per": per, "window": window, **({} if more else {"sms": 3}), **more}


def budget_of(*quotas: dict[str, object], sender: str = SENDER, **settings: float) -> Budget | None:
    return make_budget(make_account(quotas=quotas, **settings), sender)


def order_of(
    *sms: NewSms | str,
    budget: Budget | None,
    at: datetime = START,
    account: str = "acme",
    contact: Contact | None = None,
    **more: object,
) -> Order:
    """An order of an account with a budget: SMS, or numbers to send one to."""
    each = [one if isinstance(one, NewSms) else to(one, place) for place, one in enumerate(sms or (ON_CALL,), 1)]
    order = new_order(*each, mail=replace(new_mail(account=account), received_at=at), **more)  # type: ignore[arg-type]
    return replace(
        order,
        budget=budget,
        render_alarm=contact,
        early_not=lambda _: new_report(ReportKind.NOT),
    )


def to(msisdn: str, position: int = 1, parts: int = 1) -> NewSms:
    return replace(new_sms(position), msisdn=msisdn, parts=parts)


async def admit(store: Store, order: Order) -> Stored:
    outcome = await store.admit(order)
    assert isinstance(outcome, Stored)
    return outcome


async def admit_all(store: Store, orders: Sequence[Order]) -> list[int]:
    """How many SMS of each order were held back."""
    return [len((await admit(store, order)).held_back) for order in orders]


async def used(store: Store, account: str = "acme", at: datetime = START) -> dict[tuple[str, str], int]:
    standing = await store.quota_standing(account, at, 100)
    return {(one.quota, one.subject): one.used for one in standing.used}


def ids(order: Order) -> list[SmsId]:
    assert order.envoi is not None
    return [sms.id for sms in order.envoi.sms]


# --- what is counted, and for whom -----------------------------------------------------------------------------------


async def test_what_is_beyond_the_quota_is_refused_with_29_and_the_first_ones_go(store: Store) -> None:
    order = order_of(*[ON_CALL] * 5, budget=budget_of(quota()))
    outcome = await admit(store, order)

    reason = "quota: at most 3 SMS an hour for the account"
    assert outcome.held_back == tuple((sms_id, reason) for sms_id in ids(order)[3:])
    kept = {sms["id"]: (sms["state"], sms["code"], sms["reason"]) for sms in await rows(store, tables.sms)}
    assert [kept[one] for one in ids(order)] == [
        *[(SmsState.QUEUED, None, None)] * 3,
        *[(SmsState.REFUSED, Code.C29_OVERFLOW, reason)] * 2,
    ]
    assert await used(store) == {("account/hour/sms", ""): 3}


@pytest.mark.parametrize(
    ("given", "held_back"),
    [
        (quota("account", parts=4), [0, 1, 0]),
        (quota("account", cost=0.10), [0, 0, 1]),
        (quota("sender", sms=1), [0, 1, 1]),
        (quota("recipient", sms=1), [0, 0, 1]),
        (quota("prefix", prefixes=["+337"], sms=1), [0, 0, 0]),
        (quota("prefix", prefixes=["+336"], sms=1), [0, 1, 1]),
    ],
    ids=["parts", "cost", "sender", "recipient", "other prefix", "prefix"],
)
async def test_each_kind_of_quota_counts_what_it_is_for(
    store: Store, given: dict[str, object], held_back: list[int]
) -> None:
    budget = budget_of(given, part_price=0.02)
    orders = [
        order_of(to(ON_CALL, parts=2), budget=budget),
        order_of(to("+33600000002", parts=3), budget=budget),
        order_of(to(ON_CALL, parts=2), budget=budget),
    ]

    assert await admit_all(store, orders) == held_back


async def test_senders_and_accounts_count_apart(store: Store) -> None:
    for sender, account in ((SENDER, "acme"), ("cron@acme.example", "acme"), (SENDER, "other")):
        budget = budget_of(quota("sender", sms=1), quota("account", sms=2), sender=sender)
        assert (await admit(store, order_of(budget=budget, account=account))).held_back == ()
    both = await admit(store, order_of(budget=budget_of(quota("account", sms=2), sender="new@acme.example")))

    assert len(both.held_back) == 1
    assert await used(store, "other") == {("account/hour/sms", ""): 1, ("sender/hour/sms", SENDER): 1}


async def test_an_sms_takes_from_every_quota_or_from_none(store: Store) -> None:
    budget = budget_of(quota("account", sms=10), quota("recipient", sms=1))
    await admit(store, order_of(ON_CALL, ON_CALL, ON_CALL, "+33600000002", budget=budget))

    assert await used(store) == {
        ("account/hour/sms", ""): 2,
        ("recipient/hour/sms", ON_CALL): 1,
        ("recipient/hour/sms", "+33600000002"): 1,
    }


async def test_a_short_sms_may_go_after_a_long_one_did_not(store: Store) -> None:
    order = order_of(to(ON_CALL, 1, 2), to(ON_CALL, 2, 2), to(ON_CALL, 3, 1), budget=budget_of(quota(parts=3)))

    assert [one for one, _ in (await admit(store, order)).held_back] == [ids(order)[1]]


async def test_what_the_credit_is_not_enough_for_uses_no_quota_and_the_other_way_round(store: Store) -> None:
    await store.set_credit("acme", 4, START)
    budget = budget_of(quota("recipient", sms=1))
    order = order_of(
        to(ON_CALL, 1, 3), to(ON_CALL, 2, 1), to("+33600000002", 3, 2), to("+33600000002", 4, 1), budget=budget
    )
    outcome = await admit(store, order)

    assert ([one for one, _ in outcome.held_back], outcome.unpaid) == ([ids(order)[1]], (ids(order)[2],))
    assert await used(store) == {("recipient/hour/sms", ON_CALL): 1, ("recipient/hour/sms", "+33600000002"): 1}
    assert [one.balance for one in await store.credits()] == [0]


async def test_a_not_goes_at_once_when_the_quota_leaves_nothing(store: Store) -> None:
    asked: list[tuple[SmsAnswer, ...]] = []

    def write(answers: tuple[SmsAnswer, ...]) -> NewReport:
        asked.append(answers)
        return new_report(ReportKind.NOT)

    budget = budget_of(quota(sms=1))
    await admit(store, order_of(budget=budget))
    outcome = await admit(store, replace(order_of(ON_CALL, ON_CALL, budget=budget), early_not=write))

    assert [answer.code.value for answer in asked[-1]] == [29, 29]
    assert [one["id"] for one in await rows(store, tables.report, kind=ReportKind.NOT)] == [outcome.early_not]


# --- what uses nothing -----------------------------------------------------------------------------------------------


async def test_a_retransmission_a_duplicate_and_the_same_order_again_use_nothing(store: Store) -> None:
    budget = budget_of(quota(), quota(mails=1))
    order = order_of(*[ON_CALL] * 5, budget=budget)
    first = await admit(store, order)
    same_mail = replace(order_of(budget=budget), mail=replace(order.mail, id=new_mail().id))
    assert order.envoi is not None
    duplicate = order_of(budget=budget, email_id=order.envoi.email_id)

    assert await admit(store, order) == replace(first, alarms=())
    assert isinstance(await store.admit(same_mail), Retransmitted)
    assert isinstance(await store.admit(duplicate), Duplicate)
    assert await used(store) == {("account/hour/sms", ""): 3, ("account/hour/mails", ""): 1}


async def test_an_order_that_cannot_be_stored_uses_nothing_beside_one_that_can(store: Store) -> None:
    budget = budget_of(quota())
    bad = replace(order_of(budget=budget), reports=(new_report(ReportKind.NOT),))
    async with asyncio.TaskGroup() as group:
        failing = group.create_task(swallow(store, bad))
        group.create_task(admit(store, order_of(budget=budget)))

    assert isinstance(failing.result(), StoreError)
    assert await used(store) == {("account/hour/sms", ""): 1}


async def swallow(store: Store, order: Order) -> object:
    try:
        return await store.admit(order)
    except StoreError as error:
        return error


async def test_without_a_quota_nothing_is_written(store: Store) -> None:
    await admit(store, order_of(budget=None))

    for table in (quota_tables.quota_account, quota_tables.quota_use, quota_tables.volume):
        assert await rows(store, table) == []


async def test_what_is_foreseen_of_a_quota_is_what_comes_and_writes_nothing(store: Store) -> None:
    order = order_of(*[ON_CALL] * 5, budget=budget_of(quota(), volume_warning=1, volume_warning_factor=2))
    foreseen = await store.foresee(order)

    assert await used(store) == {}
    assert await rows(store, quota_tables.quota_account) == []
    assert foreseen.outcome == await admit(store, order)


# --- mails -----------------------------------------------------------------------------------------------------------


async def test_mails_beyond_a_quota_of_mails_are_put_off_and_leave_nothing(store: Store) -> None:
    budget = budget_of(quota("sender", "minute", mails=2))
    for _ in range(2):
        await admit(store, order_of(budget=budget))
    order = order_of(budget=budget)
    expected = Deferred(
        account="acme", quota="sender/minute/mails", sentence="at most 2 mails a minute from one sender"
    )

    assert await store.admit(order) == expected
    assert (await store.foresee(order)).outcome == expected
    assert len(await rows(store, tables.mail)) == len(await rows(store, tables.email_id)) == 2
    later = replace(order, mail=replace(order.mail, received_at=START + 2 * MINUTE))
    assert (await admit(store, later)).mail_id == order.mail.id  # the same emailId: it was not used up


# --- exactly ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_two_nodes_use_a_quota_to_its_last_sms_and_no_further(store: Store, other: Store) -> None:
    budget = budget_of(quota("account", sms=25), quota("recipient", sms=9), quota(mails=35))
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(node.admit(order_of(ON_CALL, f"+3360000{place:04}", budget=budget)))
            for place in range(20)
            for node in (store, other)
        ]
    queued = [one for one, state in (await states(store)).items() if state is SmsState.QUEUED]
    put_off = [task.result() for task in tasks if isinstance(task.result(), Deferred)]

    assert (len(queued), len(put_off)) == (25, 5)
    assert (await used(store))["recipient/hour/sms", ON_CALL] <= 9
    assert (await used(store))["account/hour/sms", ""] == 25


async def test_orders_of_one_transaction_share_the_quotas(store: Store) -> None:
    budget = budget_of(quota("recipient", sms=3))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(admit(store, order_of(ON_CALL, ON_CALL, budget=budget))) for _ in range(4)]

    assert sorted(len(task.result().held_back) for task in tasks) == [0, 1, 2, 2]


# --- time ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("window", "length"), [("minute", MINUTE), ("hour", HOUR), ("day", DAY)])
async def test_a_window_slides_and_frees_what_was_used(store: Store, window: str, length: timedelta) -> None:
    budget = budget_of(quota("account", window, sms=2))
    moments = [START, START + length / 2, START + length * 0.99, START + length * 1.09, START + length * 1.6]

    assert await admit_all(store, [order_of(budget=budget, at=at) for at in moments] + [order_of(budget=budget)]) == [
        0,
        0,
        1,
        0,  # what was used first is free again
        0,
        1,
    ]


@pytest.mark.parametrize("back", [HOUR, 400 * DAY])
async def test_a_clock_that_is_set_back_frees_nothing_and_blocks_for_one_window_at_most(
    store: Store, back: timedelta
) -> None:
    budget = budget_of(quota(sms=2))
    await admit_all(store, [order_of(budget=budget) for _ in range(2)])
    then = START - back
    after = [then, then + 0.9 * HOUR, then + 1.2 * HOUR]

    assert await admit_all(store, [order_of(budget=budget, at=at) for at in after]) == [1, 1, 0]
    assert await used(store, at=then + 1.2 * HOUR) == {("account/hour/sms", ""): 1}


async def test_a_clock_that_is_set_forward_frees_what_was_used(store: Store) -> None:
    budget = budget_of(quota(sms=1))

    assert await admit_all(store, [order_of(budget=budget), order_of(budget=budget, at=START + 2 * HOUR)]) == [0, 0]


async def test_quotas_count_through_the_hour_that_comes_twice(store: Store) -> None:
    change_at = datetime.fromisoformat("2026-10-25T01:00:00+00:00")  # 03:00 becomes 02:00 in Paris
    budget = budget_of(quota(sms=1))
    moments = [change_at - 0.5 * HOUR, change_at + 0.4 * HOUR, change_at + 0.7 * HOUR]

    assert await admit_all(store, [order_of(budget=budget, at=at) for at in moments]) == [0, 1, 0]


walks = st.lists(
    st.tuples(st.integers(0, 1500), st.sampled_from([1, 2]), st.integers(1, 3), st.booleans()), max_size=20
)


@pytest.mark.slow
@hypothesis_settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(walk=walks)
async def test_whatever_comes_no_stretch_of_time_holds_more_than_a_quota(
    store: Store, walk: list[tuple[int, int, int, bool]]
) -> None:
    account, now = name("account"), START
    budget = budget_of(quota("recipient", sms=2), quota("account", parts=5), quota("account", "minute", sms=3))
    went: list[tuple[datetime, str, int]] = []
    for step_s, place, parts, is_bad in walk:
        now += timedelta(seconds=step_s)
        number = f"+3360000000{place}"
        order = order_of(to(number, 1, parts), to(number, 2), budget=budget, at=now, account=account)
        if is_bad:  # it cannot be stored, and uses nothing
            await swallow(store, replace(order, reports=(new_report(ReportKind.NOT),)))
            continue
        held_back = {one for one, _ in (await admit(store, order)).held_back}
        assert order.envoi is not None
        went += [(now, number, sms.parts) for sms in order.envoi.sms if sms.id not in held_back]
    for first, number, _ in went:
        hour = [one for one in went if first <= one[0] < first + HOUR]
        assert sum(to_number == number for _, to_number, _ in hour) <= 2
        assert sum(parts for _, _, parts in hour) <= 5
        assert sum(at < first + MINUTE for at, _, _ in hour) <= 3


# --- what is told ----------------------------------------------------------------------------------------------------


async def test_a_spent_quota_is_told_once_and_summed_up_when_its_window_is_over(store: Store) -> None:
    contact, budget = Contact(), budget_of(quota(sms=1))
    outcomes = [await admit(store, order_of(budget=budget, contact=contact)) for _ in range(4)]
    expected = QuotaSpent(
        account="acme",
        at=START,
        quota="account/hour/sms",
        sentence="at most 1 SMS an hour for the account",
        subject="",
        is_guard=False,
    )

    assert [outcome.alarms for outcome in outcomes] == [(), (expected,), (), ()]
    assert [report["mail_id"] for report in await rows(store, tables.report, kind=ReportKind.ALARM)] == [
        outcomes[1].mail_id
    ]
    assert (await store.tell_overruns(START + HOUR, 10, contact.sum_up)).overruns == ()
    told = await store.tell_overruns(START + 1.25 * HOUR, 10, contact.sum_up)
    assert [(one.sms, one.began_at, one.mail_id) for one in told.overruns] == [(3, START, outcomes[3].mail_id)]
    assert contact.sums == [("acme", list(told.overruns))]
    assert len(told.reports) == 1
    assert await store.tell_overruns(START + 9 * HOUR, 10, contact.sum_up) == replace(told, overruns=(), reports=())


async def test_what_is_held_back_of_many_numbers_is_one_mail_in_the_end_and_none_before(store: Store) -> None:
    contact, budget = Contact(), budget_of(quota("recipient", sms=1))
    numbers = [f"+3360000{place:04}" for place in range(20)]
    outcome = await admit(store, order_of(*numbers, *numbers, *numbers, budget=budget, contact=contact))

    assert (len(outcome.held_back), len(outcome.alarms)) == (40, 20)
    assert await rows(store, tables.report, kind=ReportKind.ALARM) == []
    told = await store.tell_overruns(START + 2 * HOUR, 100, contact.sum_up)
    assert sorted((one.subject, one.sms) for one in told.overruns) == [(number, 2) for number in numbers]
    assert (await row(store, tables.report, kind=ReportKind.ALARM))["mail_id"] == outcome.mail_id


async def test_what_was_held_back_before_the_clock_was_set_back_is_told_at_once(store: Store) -> None:
    contact = Contact()
    await admit(store, order_of(ON_CALL, ON_CALL, budget=budget_of(quota(sms=1))))
    told = await store.tell_overruns(START - 300 * DAY, 10, contact.sum_up)

    assert [one.sms for one in told.overruns] == [1]


async def test_without_a_contact_or_its_mail_nothing_is_written_and_the_operator_is_told(store: Store) -> None:
    for account in ("acme", "other"):
        await admit(store, order_of(ON_CALL, ON_CALL, budget=budget_of(quota(sms=1)), account=account))
    await change(store, "DELETE FROM report", "DELETE FROM sms", "DELETE FROM envoi", "DELETE FROM mail")
    contact = Contact()
    told = await store.tell_overruns(
        START + DAY, 10, lambda account, over: contact.sum_up(account, over) if account == "acme" else None
    )

    assert ([one.account for one in told.overruns], told.reports) == (["acme", "other"], ())


async def test_two_nodes_tell_once(store: Store, other: Store) -> None:
    await admit(store, order_of(ON_CALL, ON_CALL, budget=budget_of(quota(sms=1))))
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(node.tell_overruns(START + DAY, 10, Contact().sum_up)) for node in (store, other) * 3
        ]

    assert sum(len(task.result().overruns) for task in tasks) == 1
    assert len(await rows(store, tables.report, kind=ReportKind.ALARM)) == 1


# --- volume ----------------------------------------------------------------------------------------------------------


async def volumes(
    store: Store, hours: Sequence[tuple[float, int]], account: str = "acme", **settings: float
) -> list[list[VolumeUnusual]]:
    """The alarms of orders so many hours after the start, each with so many parts."""
    found = []
    for hours_after, parts in hours:
        at = START + hours_after * HOUR
        order = order_of(
            to(ON_CALL, parts=parts), budget=make_budget(make_account(**settings), SENDER), at=at, account=account
        )
        alarms = (await admit(store, order)).alarms
        found.append([one for one in alarms if isinstance(one, VolumeUnusual)])
    return found


async def test_an_hour_with_more_than_the_threshold_is_told_once_in_a_row(store: Store) -> None:
    given = [(0, 10), (0.1, 1), (0.2, 5), (0.6, 11), (1.6, 2), (2.6, 12)]
    found = await volumes(store, given, volume_warning=10)

    assert [[(one.parts, one.threshold, one.usual) for one in alarms] for alarms in found] == [
        [],
        [(11, 10, None)],
        [],
        [],  # the hour after, which goes on with it
        [],  # a usual hour
        [(12, 10, None)],
    ]


async def test_many_times_what_is_usual_is_told_from_three_days_on(store: Store) -> None:
    quiet = [(day * 24 + hour, 20) for day in range(3) for hour in (0, 1)]
    before = await volumes(store, [(0, 10_000)], account="new", volume_warning_factor=3)
    found = await volumes(store, [*quiet, (72, 60), (72.1, 1)], volume_warning_factor=3)

    assert before == [[]]
    assert found[:-1] == [[]] * 7
    assert [(one.parts, one.threshold, one.usual) for one in found[-1]] == [(61, 60, 20)]


def hours_of(*days: Sequence[int]) -> list[tuple[datetime, int]]:
    return [
        (START + day * DAY + place * HOUR, parts) for day, hours in enumerate(days) for place, parts in enumerate(hours)
    ]


@pytest.mark.parametrize(
    ("hours", "usual"),
    [
        ([], None),
        ([(9, 9), (9,)], None),  # two days
        ([(1, 9, 2), (8,), (7,)], 8),
        ([(1,), (1,), (1,), (900,)], 1),  # the busiest day of all is not what is usual
        ([(1,), (2,), (3,), (4,)], 3),
    ],
)
def test_usual_is_the_median_of_the_busiest_hours_of_days(hours: list[tuple[int, ...]], usual: int | None) -> None:
    assert find_usual(hours_of(*hours)) == usual


@pytest.mark.parametrize(
    ("threshold", "factor", "usual", "expected"),
    [(0, 0, 100, None), (70, 0, None, 70), (0, 2.5, 100, 250), (0, 2, None, None), (99, 2, 100, 99), (0, 2, 3, 50)],
)
def test_the_smaller_threshold_counts(threshold: int, factor: float, usual: int | None, expected: int | None) -> None:
    assert find_threshold(VolumeWatch(threshold=threshold, factor=factor), usual) == expected


async def test_few_parts_are_never_unusual_by_a_factor(store: Store) -> None:
    assert await volumes(store, [(0, 1), (24, 1), (48, 1), (72, 50)], volume_warning_factor=2) == [[], [], [], []]


async def test_a_volume_is_told_anew_after_the_clock_was_set_back(store: Store) -> None:
    found = await volumes(store, [(0, 11), (-48, 11)], volume_warning=10)

    assert [len(alarms) for alarms in found] == [1, 1]


async def test_the_contact_is_written_to_with_the_mail_that_makes_the_volume_unusual(store: Store) -> None:
    contact = Contact()
    order = order_of(to(ON_CALL, parts=11), budget=budget_of(volume_warning=10), contact=contact)
    await admit(store, order)

    assert [type(alarm) for alarm in contact.alarms] == [VolumeUnusual]
    assert (await row(store, tables.report, kind=ReportKind.ALARM))["mail_id"] == order.mail.id


async def test_what_is_held_back_is_no_volume(store: Store) -> None:
    order = order_of(*[ON_CALL] * 9, budget=budget_of(quota(sms=3), volume_warning=3))

    assert [type(alarm) for alarm in (await admit(store, order)).alarms] == [QuotaSpent]
    assert (await store.quota_standing("acme", START, 9)).hour_parts == 3


# --- bounds, and what operators do -----------------------------------------------------------------------------------


async def test_what_no_longer_counts_is_forgotten(store: Store) -> None:
    budget = budget_of(quota("recipient", "minute"), quota("account", "day"), volume_warning=100)
    await admit(store, order_of(budget=budget))

    assert await store.forget_used(START + MINUTE) == 0
    assert await store.forget_used(START + 2 * MINUTE) == 1
    assert await store.forget_used(START + 16 * DAY) == 1
    assert await rows(store, quota_tables.quota_use) == await rows(store, quota_tables.volume) == []


@pytest.mark.slow
async def test_more_than_one_step_takes_are_forgotten_step_by_step(store: Store) -> None:
    values = [
        {
            "account": "acme",
            "quota": "q",
            "subject": str(number),
            "slot_at": START,
            "used": 1,
            "ends_at": START + number * MINUTE,
        }
        for number in range(1, 6001)
    ]
    await store._database.write(lambda: lambda connection: insert_all(connection, quota_tables.quota_use, values))

    assert [await store.forget_used(START + 30 * DAY) for _ in range(3)] == [5001, 999, 0]


async def test_a_reset_forgets_all_of_an_account_or_of_one_number(store: Store) -> None:
    budget = budget_of(quota("recipient", sms=1), quota("account", sms=9))
    for account in ("acme", "other"):
        await admit(store, order_of(ON_CALL, ON_CALL, "+33600000002", budget=budget, account=account))

    assert await store.reset_quotas("acme", ON_CALL) == 2  # what it used, and what was held back
    assert (await admit(store, order_of(ON_CALL, budget=budget))).held_back == ()
    assert await store.reset_quotas("acme", None) == 3
    assert await used(store) == {}
    standing = await store.quota_standing("other", START, 10)
    assert [(one.subject, one.sms) for one in standing.overruns] == [(ON_CALL, 1)]


async def test_the_most_used_of_each_quota_are_shown(store: Store) -> None:
    budget = budget_of(quota("recipient", sms=9), quota("account", sms=99))
    numbers = [f"+3360000{place:04}" for place in range(5)]
    for number in numbers:
        await admit(store, order_of(*[number] * (int(number[-1]) + 1), budget=budget))
    found = await store.quota_standing("acme", START, 2)

    assert [(one.quota, one.subject, one.used) for one in found.used] == [
        ("account/hour/sms", "", 15),
        ("recipient/hour/sms", numbers[4], 5),
        ("recipient/hour/sms", numbers[3], 4),
    ]


async def test_nothing_names_a_number_that_is_to_be_forgotten(store: Store) -> None:
    await admit(store, order_of(ON_CALL, ON_CALL, budget=budget_of(quota("recipient", sms=1))))
    await store.forget(ON_CALL, now=START, limit=10)

    for table in (quota_tables.quota_use, quota_tables.quota_overrun):
        assert await rows(store, table) == []


async def test_a_counter_of_nothing_is_refused(store: Store) -> None:
    await admit(store, order_of(budget=budget_of(quota())))
    with pytest.raises(IntegrityError):
        await change(store, "UPDATE quota_use SET used = 0")


async def test_a_name_of_any_length_and_any_characters_is_a_subject(store: Store) -> None:
    sender = f"{'x' * 60}{name('é')}@{'y' * 180}.example"
    budget = budget_of(quota("sender", sms=1), sender=sender)

    assert await admit_all(store, [order_of(budget=budget) for _ in range(2)]) == [0, 1]
