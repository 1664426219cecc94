"""Credit of accounts: reserved with the order, spent or given back with the answer, by whichever node."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy.exc import IntegrityError

from gateway.lifecycle import SMS_MOVES, SmsEvent, SmsId, SmsState
from gateway.protocol.codes import Code
from gateway.protocol.report import ReportKind, SmsAnswer
from gateway.store import Migrated, Store, StoreError, StoreSettings, migrate, schema, tables
from gateway.store.base import (
    Credit,
    CreditAlert,
    CreditWatch,
    NewReport,
    NewSms,
    Order,
    Reserved,
    Settlement,
    Stored,
)
from gateway.store.database import connect, create_sqlite_file
from gateway.store.order_rows import envoi_row, fingerprint, mail_row, report_row, sms_row
from tests.store.revisions import NEWEST
from tests.store.samples import (
    LATER,
    NotMaker,
    change,
    claim,
    claim_reports,
    name,
    new_mail,
    new_order,
    new_report,
    new_sms,
    refused_sms,
    row,
    rows,
    settlement,
    states,
)
from tests.support.clock import START
from tests.support.postgres import PostgresServer

BIG = 10**9


def long_sms(position: int, parts: int) -> NewSms:
    return replace(new_sms(position), parts=parts)


def order_of(*parts: int, account: str = "acme") -> Order:
    """SMS of so many parts each, and the Not for when none of them can be paid."""
    sms = [long_sms(position, count) for position, count in enumerate(parts, 1)]
    return replace(new_order(*sms, mail=new_mail(account=account)), early_not=lambda _: new_report(ReportKind.NOT))


def ids(order: Order) -> list[SmsId]:
    assert order.envoi is not None
    return [sms.id for sms in order.envoi.sms]


class Contact:
    """Somebody to be told, who remembers of what."""

    def __init__(self) -> None:
        self.alerts: list[CreditAlert] = []

    def __call__(self, alert: CreditAlert) -> NewReport:
        self.alerts.append(alert)
        return new_report(ReportKind.CREDIT)


def watched(order: Order, *, threshold: int, contact: Contact | None = None) -> Order:
    return replace(order, watch=CreditWatch(threshold=threshold, render=contact or Contact()))


async def warnings(store: Store) -> list[dict[str, Any]]:
    return await rows(store, tables.report, kind=ReportKind.CREDIT)


async def amounts(store: Store, account: str = "acme") -> tuple[int | None, int, int]:
    """What is left, reserved and spent."""
    (found,) = [one for one in await store.credits() if one.account == account]
    return found.balance, found.reserved, found.spent


async def admit(store: Store, order: Order) -> Stored:
    outcome = await store.admit(order)
    assert isinstance(outcome, Stored)
    return outcome


# --- what operators do -----------------------------------------------------------------------------------------------


async def test_credits_are_set_added_to_and_lifted(store: Store) -> None:
    assert await store.credits() == ()
    first = await store.add_credit("acme", 5, START)
    added = await store.add_credit("acme", 7, LATER)
    other = await store.set_credit("other", 0, START)
    lifted = await store.set_credit("acme", None, LATER)

    assert first == Credit(account="acme", balance=5, reserved=0, spent=0, updated_at=START)
    assert (added.balance, added.updated_at) == (12, LATER)
    assert await store.credits() == (lifted, other)
    assert (lifted.balance, other.balance) == (None, 0)


async def test_two_nodes_that_add_at_once_add_both(store: Store, other: Store) -> None:
    async with asyncio.TaskGroup() as group:
        for node in (store, other) * 5:
            group.create_task(node.add_credit("acme", 3, START))

    assert await amounts(store) == (30, 0, 0)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE credit SET balance = -1",
        "UPDATE credit SET reserved = -1",
        "UPDATE credit SET spent = -1",
        "UPDATE sms SET reserved_parts = 0",
        "UPDATE sms SET reserved_parts = 1, state = 'accepted'",
    ],
)
async def test_rows_that_make_no_sense_are_refused(store: Store, statement: str) -> None:
    await store.set_credit("acme", 5, START)
    await store.admit(order_of(1))
    with pytest.raises(IntegrityError):
        await change(store, statement)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_a_store_of_the_version_before_keeps_its_rows(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path / 'old.db'}"
    if database == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        server.create("before_credit")
        url = server.url("before_credit")
    else:
        create_sqlite_file(tmp_path / "old.db")
    order, old = order_of(1), connect(StoreSettings(url=url), must_be_wal=False)
    assert order.envoi is not None
    sms = sms_row(order.mail, order.envoi, order.envoi.sms[0], is_paid=False)
    envoi = envoi_row(order.mail, order.envoi, ())
    report = report_row(new_report(), START, mail_id=order.mail.id)
    mail = mail_row(order.mail, fingerprint(order.mail), duplicate_of=None)
    for table, later in (
        (mail, ("facts", "duplicate_of")),
        (sms, ("reserved_parts", "lane", "deliver_at")),
        (envoi, ("receipts_to", "receipts_staged_at")),
        (report, ("reply_id", "subject")),
    ):
        for column in later:
            del table[column]

    def fill(connection: sa.Connection) -> None:
        upgrade_to_first(connection)
        connection.execute(tables.mail.insert(), mail)
        connection.execute(tables.envoi.insert(), envoi)
        connection.execute(tables.sms.insert(), sms)
        connection.execute(tables.report.insert(), report)

    await old.write(lambda: fill)
    await old.close()

    assert await migrate(StoreSettings(url=url)) == Migrated(from_revision="0001", to_revision=NEWEST)
    store = await Store.open(StoreSettings(url=url))
    assert {**await row(store, tables.report), **report} == await row(store, tables.report)
    assert ((await row(store, tables.sms))["reserved_parts"], (await row(store, tables.sms))["lane"]) == (None, "acme")
    await store.set_credit("acme", 1, START)
    await store.admit(watched(order_of(1), threshold=1))
    assert await amounts(store) == (0, 1, 0)
    assert len(await warnings(store)) == 1  # a kind that the version before did not know
    await store.close()


def upgrade_to_first(connection: sa.Connection) -> None:
    config = schema._config()
    config.attributes["connection"] = connection
    command.upgrade(config, "0001")


# --- admit -----------------------------------------------------------------------------------------------------------


async def test_without_a_credit_there_is_no_limit(store: Store) -> None:
    outcome = await admit(store, order_of(BIG))

    assert (outcome.unpaid, outcome.reserved) == ((), None)
    assert (await row(store, tables.sms))["reserved_parts"] is None
    assert await store.credits() == ()


async def test_what_no_longer_fits_is_refused_and_what_still_fits_goes(store: Store) -> None:
    await store.set_credit("acme", 6, START)
    order = order_of(3, 4, 2, 2, 1)
    outcome = await admit(store, order)
    first, second, third, fourth, fifth = ids(order)

    assert outcome.unpaid == (second, fourth)
    assert outcome.reserved == Reserved(before=6, after=0)
    assert await amounts(store) == (0, 6, 0)
    kept = {sms["id"]: (sms["state"], sms["code"], sms["reserved_parts"]) for sms in await rows(store, tables.sms)}
    refused = (SmsState.REFUSED, Code.C12_NO_CREDIT, None)
    assert kept == {
        first: (SmsState.QUEUED, None, 3),
        second: refused,
        third: (SmsState.QUEUED, None, 2),
        fourth: refused,
        fifth: (SmsState.QUEUED, None, 1),
    }
    assert [report["kind"] for report in await rows(store, tables.report)] == [ReportKind.ACK]


async def test_positions_count_and_not_the_order_of_rows(store: Store) -> None:
    await store.set_credit("acme", 1, START)
    late, early = new_sms(2), new_sms(1)

    assert (await admit(store, new_order(late, early))).unpaid == (late.id,)


async def test_a_not_goes_at_once_when_nothing_can_be_paid(store: Store) -> None:
    await store.set_credit("acme", 1, START)
    asked: list[tuple[SmsAnswer, ...]] = []

    def write(answers: tuple[SmsAnswer, ...]) -> NewReport:
        asked.append(answers)
        return new_report(ReportKind.NOT)

    order = replace(new_order(long_sms(1, 2), long_sms(2, 2), refused_sms(3)), early_not=write)
    outcome = await admit(store, order)

    assert outcome.unpaid == tuple(ids(order)[:2])
    assert await amounts(store) == (1, 0, 0)
    assert (await row(store, tables.envoi))["not_staged_at"] == START
    (not_,) = await rows(store, tables.report, kind=ReportKind.NOT)
    assert not_["id"] == outcome.early_not
    assert [answer.code.value for answer in asked[-1]] == [12, 12, 7]


async def test_the_not_for_nothing_paid_stays_behind_otherwise(store: Store) -> None:
    await store.set_credit("acme", 2, START)
    await admit(store, order_of(2, 2))
    await admit(store, new_order(refused_sms(), reports=(new_report(ReportKind.NOT),)))

    assert len(await rows(store, tables.report, kind=ReportKind.NOT)) == 1


async def test_orders_of_one_transaction_share_the_credit_of_their_account(store: Store) -> None:
    await store.set_credit("acme", 5, START)
    await store.set_credit("other", 2, START)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(admit(store, order_of(2))) for _ in range(4)]
        group.create_task(admit(store, order_of(2, 1, account="other")))

    assert sorted(len(task.result().unpaid) for task in tasks) == [0, 0, 1, 1]
    assert await amounts(store) == (1, 4, 0)
    assert await amounts(store, "other") == (0, 2, 0)
    chain = sorted((task.result().reserved for task in tasks), key=lambda one: -one.after if one else 0)
    assert chain == [Reserved(before=before, after=after) for before, after in ((5, 3), (3, 1), (1, 1), (1, 1))]


async def test_an_order_that_cannot_be_stored_reserves_nothing(store: Store) -> None:
    await store.set_credit("acme", 5, START)
    bad = replace(order_of(3), reports=(new_report(ReportKind.NOT),))
    async with asyncio.TaskGroup() as group:
        failing = group.create_task(swallow(store, bad))
        group.create_task(admit(store, order_of(2)))

    assert isinstance(failing.result(), StoreError)
    assert await amounts(store) == (3, 2, 0)


async def swallow(store: Store, order: Order) -> object:
    try:
        return await store.admit(order)
    except StoreError as error:
        return error


# --- warnings --------------------------------------------------------------------------------------------------------


async def test_the_order_that_takes_a_credit_below_its_threshold_stages_the_warning(store: Store) -> None:
    await store.set_credit("acme", 5, START)
    contact = Contact()
    orders = [watched(order_of(2), threshold=3, contact=contact) for _ in range(2)]
    outcomes = [await admit(store, order) for order in orders]

    expected = CreditAlert(account="acme", at=START, balance=1, threshold=3, is_low=True, is_gone=False)
    assert outcomes[0].alert is None  # 3 is not below 3
    assert (outcomes[1].alert, contact.alerts) == (expected, [expected])
    (warning,) = await warnings(store)
    assert (warning["mail_id"], warning["envoi_id"]) == (orders[1].mail.id, None)
    assert [report.kind for report in await claim_reports(store)].count(ReportKind.CREDIT) == 1


async def test_orders_that_race_across_nodes_warn_once(store: Store, other: Store) -> None:
    await store.set_credit("acme", 10, START)
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(admit(node, watched(order_of(1), threshold=5))) for node in (store, other) for _ in "1234"
        ]

    assert [task.result().alert is not None for task in tasks].count(True) == 1
    assert len(await warnings(store)) == 1
    assert await amounts(store) == (2, 8, 0)


async def test_a_credit_that_is_gone_is_warned_of_once_until_more_is_given(store: Store) -> None:
    await store.set_credit("acme", 3, START)
    alerts = [(await admit(store, watched(order_of(parts), threshold=0))).alert for parts in (2, 2, 2, 1, 1)]

    assert [alert is not None and alert.is_gone for alert in alerts] == [False, True, False, False, False]
    await store.add_credit("acme", 1, LATER)
    again = [(await admit(store, watched(order_of(2), threshold=0))).alert for _ in "12"]
    assert [alert is not None for alert in again] == [True, False]
    await store.set_credit("acme", 0, LATER)
    assert (await admit(store, watched(order_of(1), threshold=0))).alert is not None
    assert len(await warnings(store)) == 3


async def test_what_comes_back_may_be_warned_of_again_as_low_but_not_as_gone(store: Store) -> None:
    await store.set_credit("acme", 2, START)
    await admit(store, watched(order_of(2, 1), threshold=1))
    (claimed,) = await claim(store)
    await store.settle_sms([settlement(claimed, SmsEvent.REFUSED, code=Code.C21_NUMBER_UNASSIGNED)], START, NotMaker())
    outcome = await admit(store, watched(order_of(2, 1), threshold=1))

    assert outcome.alert == CreditAlert(account="acme", at=START, balance=0, threshold=1, is_low=True, is_gone=False)
    assert len(await warnings(store)) == 2


async def test_one_order_that_does_both_is_one_warning(store: Store) -> None:
    await store.set_credit("acme", 9, START)
    outcome = await admit(store, watched(order_of(9, 9), threshold=5))

    assert outcome.alert == CreditAlert(account="acme", at=START, balance=0, threshold=5, is_low=True, is_gone=True)
    assert len(await warnings(store)) == 1


async def test_nobody_is_warned_of_an_order_that_is_not_stored(store: Store) -> None:
    await store.set_credit("acme", 3, START)
    bad = watched(replace(order_of(3), reports=(new_report(ReportKind.NOT),)), threshold=3)
    assert isinstance(await swallow(store, bad), StoreError)
    foreseen = await store.foresee(watched(order_of(3), threshold=3))

    assert isinstance(foreseen.outcome, Stored)
    assert foreseen.outcome.alert is not None
    assert await warnings(store) == []
    assert (await admit(store, watched(order_of(3), threshold=3))).alert is not None


async def test_without_a_contact_the_operator_alone_is_told(store: Store) -> None:
    await store.set_credit("acme", 1, START)
    outcome = await admit(store, replace(order_of(1), watch=CreditWatch(threshold=1)))

    assert outcome.alert is not None
    assert await warnings(store) == []


async def test_an_order_stored_again_reserves_nothing_and_says_the_same(store: Store) -> None:
    await store.set_credit("acme", 3, START)
    order = order_of(2, 2)
    first = await admit(store, order)
    again = await admit(store, order)

    assert again == replace(first, reserved=None)
    assert again.unpaid == (ids(order)[1],)
    assert await amounts(store) == (1, 2, 0)


async def test_what_is_foreseen_of_a_credit_is_what_comes(store: Store) -> None:
    await store.set_credit("acme", 3, START)
    order = order_of(2, 2)
    foreseen = await store.foresee(order)

    assert await amounts(store) == (3, 0, 0)
    assert foreseen.outcome == await admit(store, order)


@pytest.mark.slow
async def test_two_nodes_spend_a_credit_to_its_last_part_and_no_further(store: Store, other: Store) -> None:
    await store.set_credit("acme", 25, START)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(admit(node, order_of(1, 2))) for node in (store, other) * 10]
    queued = [one for one, state in (await states(store)).items() if state is SmsState.QUEUED]

    assert await amounts(store) == (0, 25, 0)
    assert len(queued) == 40 - sum(len(task.result().unpaid) for task in tasks)
    assert sum(sms["reserved_parts"] or 0 for sms in await rows(store, tables.sms)) == 25


# --- settle ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("way", "left"),
    [
        ([SmsEvent.TAKEN], (2, 0, 3)),
        ([SmsEvent.TAKEN, SmsEvent.DELIVERED], (2, 0, 3)),
        ([SmsEvent.TAKEN, SmsEvent.UNDELIVERED], (2, 0, 3)),
        ([SmsEvent.TAKEN, SmsEvent.EXPIRED], (2, 0, 3)),
        ([SmsEvent.REFUSED], (5, 0, 0)),
        ([SmsEvent.CANCELLED], (5, 0, 0)),
        ([SmsEvent.POSTPONED], (2, 3, 0)),
        ([SmsEvent.NOT_SENT], (2, 3, 0)),
        ([SmsEvent.NOT_SENT, SmsEvent.EXPIRED], (5, 0, 0)),
        ([SmsEvent.LOST], (2, 3, 0)),
        ([SmsEvent.LOST, SmsEvent.RESENT], (2, 3, 0)),
        ([SmsEvent.LOST, SmsEvent.TAKEN], (2, 0, 3)),
        ([SmsEvent.LOST, SmsEvent.DELIVERED], (2, 0, 3)),
        ([SmsEvent.LOST, SmsEvent.UNDELIVERED], (5, 0, 0)),
        ([SmsEvent.LOST, SmsEvent.REFUSED], (5, 0, 0)),
        ([SmsEvent.LOST, SmsEvent.EXPIRED], (5, 0, 0)),
    ],
    ids=str,
)
async def test_an_answer_spends_or_gives_back_once(
    store: Store, way: list[SmsEvent], left: tuple[int, int, int]
) -> None:
    await store.set_credit("acme", 5, START)
    await store.admit(order_of(3))
    (sms,) = await claim(store)
    state = SmsState.SENDING
    for event in way:
        move = settlement(sms, event, from_state=state, due_at=LATER, parts=7)  # 7: what the carrier counts
        assert (await store.settle_sms([move], LATER, NotMaker())).moved == (sms.id,)
        assert (await store.settle_sms([move], LATER, NotMaker())).moved == ()
        state = SMS_MOVES[state][event]

    assert await amounts(store) == left


async def test_what_was_never_reserved_is_never_given_back(store: Store) -> None:
    await store.admit(order_of(3))
    await store.set_credit("acme", 5, START)
    (sms,) = await claim(store)
    await store.settle_sms([settlement(sms, SmsEvent.REFUSED)], START, NotMaker())

    assert await amounts(store) == (5, 0, 0)


async def test_a_limit_that_is_lifted_still_counts_what_was_reserved(store: Store) -> None:
    await store.set_credit("acme", 5, START)
    await store.admit(order_of(1, 2))
    await store.set_credit("acme", None, START)
    await store.admit(order_of(BIG))
    taken, refused, _ = sorted(await claim(store), key=lambda sms: sms.msisdn + sms.id)
    moves = [settlement(taken, SmsEvent.TAKEN), settlement(refused, SmsEvent.TAKEN)]
    await store.settle_sms(moves, START, NotMaker())

    balance, reserved, spent = await amounts(store)
    assert (balance, reserved + spent) == (None, 3)


async def test_one_batch_settles_the_credits_of_several_accounts(store: Store) -> None:
    moves = []
    for account in ("acme", "other"):
        await store.set_credit(account, 5, START)
        await store.admit(order_of(1, 2, account=account))
        first, second = sorted(await claim(store, account=account), key=lambda sms: sms.msisdn)
        moves += [settlement(first, SmsEvent.TAKEN), settlement(second, SmsEvent.REFUSED)]
    await store.settle_sms(moves, LATER, NotMaker())

    assert [await amounts(store, account) for account in ("acme", "other")] == [(4, 0, 1), (4, 0, 1)]


# --- whatever happens ------------------------------------------------------------------------------------------------

Step = tuple[str, int, SmsEvent]
walks = st.lists(
    st.tuples(
        st.sampled_from(["admit", "add", "claim", "move", "move", "move"]),
        st.integers(1, 4),
        st.sampled_from([event for event in SmsEvent if event is not SmsEvent.CLAIMED]),
    ),
    max_size=25,
)


async def move_all(store: Store, account: str, event: SmsEvent) -> None:
    """Every SMS of the account that can move so, does."""
    found = await rows(store, tables.sms, account=account)
    moves = [
        Settlement(sms_id=sms["id"], epoch=sms["epoch"], from_state=sms["state"], event=event, due_at=START)
        for sms in found
        if event in SMS_MOVES[sms["state"]]
    ]
    await store.settle_sms(moves[:2], START, NotMaker())


@pytest.mark.slow
@hypothesis_settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(walk=walks)
async def test_no_part_is_lost_and_none_is_made(store: Store, walk: list[Step]) -> None:
    account, added = name("account"), 6
    await store.set_credit(account, added, START)
    for what, number, event in walk:
        match what:
            case "admit":
                await store.admit(order_of(number, 1, number, account=account))
            case "add":
                added += number
                await store.add_credit(account, number, START)
            case "claim":
                await claim(store, account=account, limit=number)
            case _:
                await move_all(store, account, event)
        balance, reserved, spent = await amounts(store, account)
        kept = await rows(store, tables.sms, account=account)
        assert balance is not None
        assert min(balance, reserved, spent) >= 0
        assert balance + reserved + spent == added
        assert reserved == sum(sms["reserved_parts"] or 0 for sms in kept)
        answered = [sms for sms in kept if sms["state"] in {SmsState.ACCEPTED, SmsState.DELIVERED}]
        assert spent >= sum(sms["parts"] for sms in answered)
