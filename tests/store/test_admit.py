"""Store.admit and Store.refuse: what a mail leaves behind."""

import asyncio
import dataclasses
from datetime import timedelta

import pytest
import sqlalchemy as sa

from gateway.lifecycle import MailId, SmsState
from gateway.protocol.codes import AckCode, Code
from gateway.protocol.report import ReportKind
from gateway.store import Store, StoreError, driving, tables
from gateway.store.base import Duplicate, Order, Refusal, Retransmitted, Stored
from gateway.store.database import PostgresDatabase, SqliteDatabase
from tests.store.samples import new_mail, new_order, new_report, new_sms, refused_sms, row, rows
from tests.support.clock import START


async def test_first_arrival_is_stored_whole(store: Store) -> None:
    order = new_order(new_sms(1), refused_sms(2))
    assert order.envoi is not None

    assert await store.admit(order) == Stored(mail_id=order.mail.id, ack_code=AckCode.A0_PROCESSED)
    mail = await row(store, tables.mail)
    assert {key: mail[key] for key in ("id", "received_at", "raw", "notes", "header_from")} == {
        "id": order.mail.id,
        "received_at": START,
        "raw": order.mail.raw,
        "notes": ("read as windows-1252",),
        "header_from": "GLPI <glpi@acme.example>",
    }
    sent, refused = await rows(store, tables.sms)
    assert (sent["state"], sent["text"], sent["due_at"], sent["settled_at"]) == (
        SmsState.QUEUED,
        "Bonjour 1 €",
        START,
        None,
    )
    assert (refused["state"], refused["code"], refused["settled_at"]) == (
        SmsState.REFUSED,
        Code.C7_NUMBER_MALFORMED,
        START,
    )
    ack = await row(store, tables.report)
    assert (ack["kind"], ack["mail_id"], ack["envoi_id"]) == (ReportKind.ACK, order.mail.id, order.envoi.id)
    assert (await row(store, tables.email_id))["envoi_id"] == order.envoi.id
    assert (await row(store, tables.envoi))["not_staged_at"] is None


async def test_mail_without_email_id_leaves_its_ack_alone(store: Store) -> None:
    order = Order(mail=new_mail(), envoi=None, reports=(new_report(),))

    assert await store.admit(order) == Stored(mail_id=order.mail.id, ack_code=AckCode.A2_NO_ID)
    assert (await row(store, tables.report))["envoi_id"] is None
    assert await rows(store, tables.envoi) == []
    assert await rows(store, tables.email_id) == []


async def test_second_mail_with_an_email_id_is_a_duplicate(store: Store) -> None:
    first, second = new_order(email_id="12"), new_order(email_id="12")
    assert first.envoi is not None
    await store.admit(first)

    assert await store.admit(second) == Duplicate(mail_id=second.mail.id, first_envoi_id=first.envoi.id)
    assert [envoi["id"] for envoi in await rows(store, tables.envoi)] == [first.envoi.id]
    assert len(await rows(store, tables.sms)) == 1
    report = await row(store, tables.report, mail_id=second.mail.id)
    assert (report["id"], report["envoi_id"]) == (second.duplicate_reports[0].id, None)


async def test_two_accounts_may_use_one_email_id(store: Store) -> None:
    await store.admit(new_order(email_id="12", mail=new_mail(account="acme")))
    outcome = await store.admit(new_order(email_id="12", mail=new_mail(account="other")))

    assert isinstance(outcome, Stored)


async def test_the_same_mail_again_writes_nothing(store: Store) -> None:
    first = new_order(mail=new_mail(message_id="<1@acme.example>"))
    # judged whatever account the second would belong to
    again = new_order(mail=new_mail(message_id="<1@acme.example>", account="other"))
    await store.admit(first)

    assert await store.admit(again) == Retransmitted(first_mail_id=first.mail.id)
    assert len(await rows(store, tables.mail)) == 1
    assert len(await rows(store, tables.report)) == 1


async def test_a_duplicate_sent_again_is_not_answered_twice(store: Store) -> None:
    await store.admit(new_order(email_id="12"))
    duplicate = new_order(email_id="12", mail=new_mail(message_id="<2@acme.example>"))
    await store.admit(duplicate)
    outcome = await store.admit(new_order(email_id="12", mail=new_mail(message_id="<2@acme.example>")))

    assert outcome == Retransmitted(first_mail_id=duplicate.mail.id)


@pytest.mark.parametrize(
    "change",
    [
        {"envelope_from": "x@acme.example"},
        {"body_digest": b"\1" * 32},
        {"message_id": "<2@acme.example>"},
        {"message_id": None},
    ],
)
async def test_a_mail_that_differs_is_not_the_same_mail(store: Store, change: dict[str, object]) -> None:
    mail = new_mail(message_id="<1@acme.example>")
    await store.admit(new_order(mail=mail))
    other = dataclasses.replace(mail, id=MailId("OTHER"), **change)  # type: ignore[arg-type]

    assert isinstance(await store.admit(new_order(mail=other)), Stored)


async def test_mails_without_message_id_are_never_the_same(store: Store) -> None:
    await store.admit(new_order(mail=new_mail(message_id=None)))

    assert isinstance(await store.admit(new_order(mail=new_mail(message_id=None))), Stored)


@pytest.mark.parametrize("duplicate", [False, True])
async def test_storing_one_order_twice_gives_the_same_outcome_once(store: Store, *, duplicate: bool) -> None:
    if duplicate:
        await store.admit(new_order(email_id="12"))
    order = new_order(email_id="12")
    first = await store.admit(order)
    mails = len(await rows(store, tables.mail))

    assert await store.admit(order) == first
    assert len(await rows(store, tables.mail)) == mails
    assert len(await rows(store, tables.sms)) == 1


async def test_an_order_without_email_id_is_found_again_too(store: Store) -> None:
    order = Order(mail=new_mail(message_id=None), envoi=None, reports=(new_report(),))
    first = await store.admit(order)

    assert await store.admit(order) == first


@pytest.mark.parametrize("fault", [None, Code.C102_FILE_INVALID])
async def test_an_envoi_answered_from_the_start_brings_its_not(store: Store, fault: Code | None) -> None:
    sms = () if fault else (refused_sms(1), refused_sms(2))
    await store.admit(new_order(*sms, fault=fault, reports=(new_report(), new_report(ReportKind.NOT))))

    assert (await row(store, tables.envoi))["not_staged_at"] == START
    assert {report["kind"] for report in await rows(store, tables.report)} == {ReportKind.ACK, ReportKind.NOT}


async def test_a_not_before_its_time_is_refused(store: Store) -> None:
    with pytest.raises(StoreError):
        await store.admit(new_order(reports=(new_report(ReportKind.NOT),)))

    assert await rows(store, tables.mail) == []


async def test_an_sms_cannot_begin_anywhere(store: Store) -> None:
    sms = dataclasses.replace(new_sms(), state=SmsState.ACCEPTED)
    with pytest.raises(StoreError):
        await store.admit(new_order(sms))

    assert await rows(store, tables.mail) == []


async def test_orders_that_come_together_share_transactions(store: Store) -> None:
    commits = count_commits(store)
    async with asyncio.TaskGroup() as group:
        for _ in range(100):
            group.create_task(store.admit(new_order()))

    assert len(await rows(store, tables.mail)) == 100
    # the first alone or with others, then the rest 64 at a time
    assert len(commits) <= 3


@pytest.mark.slow
async def test_a_bad_order_harms_only_itself(store: Store) -> None:
    taken = new_sms()
    bad = {
        "tracker": new_order(dataclasses.replace(new_sms(), tracker=taken.tracker)),
        "naive instant": new_order(dataclasses.replace(new_sms(), due_at=START.replace(tzinfo=None))),
        "not a character": new_order(dataclasses.replace(new_sms(), text="\ud800")),
        "positions": new_order(new_sms(1), new_sms(1)),
        "number": new_order(dataclasses.replace(new_sms(), parts=2**70)),
    }
    await store.admit(new_order(taken))
    good = [new_order() for _ in range(10)]
    results: dict[str, object] = {}

    async def admit(key: str, order: Order) -> None:
        try:
            results[key] = await store.admit(order)
        except StoreError as error:
            results[key] = error.temporary

    async with asyncio.TaskGroup() as group:
        for number, order in enumerate(good):
            group.create_task(admit(f"good {number}", order))
        for key, order in bad.items():
            group.create_task(admit(key, order))

    assert {key: results[key] for key in bad} == dict.fromkeys(bad, False)
    assert [results[f"good {number}"] for number in range(10)] == [
        Stored(mail_id=order.mail.id, ack_code=AckCode.A0_PROCESSED) for order in good
    ]
    assert len(await rows(store, tables.mail)) == 11


async def test_of_many_copies_on_two_nodes_one_wins(store: Store, other: Store) -> None:
    orders = [new_order(email_id=str(number % 10)) for number in range(60)]
    outcomes = []

    async def admit(node: Store, order: Order) -> None:
        outcomes.append(await node.admit(order))

    async with asyncio.TaskGroup() as group:
        for number, order in enumerate(orders):
            group.create_task(admit((store, other)[number % 2 if number < 30 else (number + 1) % 2], order))

    assert sum(isinstance(outcome, Stored) for outcome in outcomes) == 10
    assert sum(isinstance(outcome, Duplicate) for outcome in outcomes) == 50
    assert len(await rows(store, tables.envoi)) == 10
    assert len(await rows(store, tables.sms)) == 10


async def test_the_same_mail_at_two_nodes_at_once_is_stored_once(store: Store, other: Store) -> None:
    copies = [new_order(email_id="12", mail=new_mail(message_id="<1@acme.example>")) for _ in range(8)]
    outcomes = []

    async def admit(node: Store, order: Order) -> None:
        outcomes.append(await node.admit(order))

    async with asyncio.TaskGroup() as group:
        for number, order in enumerate(copies):
            group.create_task(admit((store, other)[number % 2], order))

    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Retransmitted"] * 7 + ["Stored"]
    assert len(await rows(store, tables.mail)) == 1


async def test_five_hundred_sms_are_one_statement(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []
    execute_many = driving.execute_many

    def note(connection: sa.Connection, text: str, rows: driving.Rows) -> int:
        if text.startswith("INSERT INTO sms"):
            given.append(len(rows))
        return execute_many(connection, text, rows)

    monkeypatch.setattr(driving, "execute_many", note)
    await store.admit(new_order(*(new_sms(position) for position in range(1, 501))))

    assert given == [500]
    assert len(await rows(store, tables.sms)) == 500


async def test_a_refusal_is_stored_with_its_reports(store: Store) -> None:
    refusal = Refusal(
        id=MailId("M1"),
        refused_at=START + timedelta(seconds=1),
        peer="192.0.2.1",
        listener="127.0.0.1:2525",
        envelope_from="a\udcff@acme.example",  # an octet that is no character
        header_from=None,
        message_id=None,
        account="acme",
        reply="550 5.7.1 no",
        cause="key unknown\0" * 1000,
        reports=(new_report(ReportKind.NOT),),
    )
    await store.refuse(refusal)

    stored = await row(store, tables.refusal)
    assert (stored["refused_at"], stored["envelope_from"]) == (refusal.refused_at, "a�@acme.example")
    assert stored["cause"].startswith("key unknown�key")
    assert len(stored["cause"].encode()) <= 1024
    assert (await row(store, tables.report))["refusal_id"] == "M1"


def writer(store: Store) -> sa.Engine:
    database = store._database
    if isinstance(database, SqliteDatabase):
        assert database._writer._thread is not None
        return database._writer._thread._engine
    assert isinstance(database, PostgresDatabase)
    return database._engine.sync_engine


def count_commits(store: Store) -> list[None]:
    commits: list[None] = []
    sa.event.listen(writer(store), "commit", lambda _connection: commits.append(None))
    return commits
