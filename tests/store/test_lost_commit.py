"""PostgreSQL: a COMMIT whose answer is lost. Who is told that it is stored finds it so, and nobody is told so else."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.store import Store, StoreSettings, StoreUnavailable, tables
from gateway.store.base import Duplicate, Retransmitted, Stored
from tests.store.samples import new_mail, new_order, row, rows
from tests.support.pg_proxy import CommitCutter, Cut, commit_cutter
from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.slow

ROUNDS = 25


@pytest.fixture
async def cutter(postgres: PostgresServer) -> AsyncIterator[tuple[CommitCutter, Path]]:
    with tempfile.TemporaryDirectory(prefix="cut-") as folder:  # the address of a socket must be short
        async with commit_cutter(postgres.socket_directory, Path(folder)) as cutter:
            yield cutter, Path(folder)


@pytest.fixture
async def cut_store(
    cutter: tuple[CommitCutter, Path], postgres: PostgresServer, postgres_settings: StoreSettings
) -> AsyncIterator[tuple[Store, CommitCutter]]:
    proxy, folder = cutter
    url = postgres_settings.url.replace(str(postgres.socket_directory), str(folder))
    store = await Store.open(StoreSettings(url=url, deadline_s=10))
    yield store, proxy
    proxy.cut = Cut.NOT
    await store.close()


async def test_what_was_committed_is_said_to_be_stored(
    cut_store: tuple[Store, CommitCutter], postgres_settings: StoreSettings
) -> None:
    store, proxy = cut_store
    direct = await Store.open(postgres_settings)
    for _ in range(ROUNDS):
        order = new_order()
        proxy.cut = Cut.AFTER
        outcome = await store.admit(order)

        assert isinstance(outcome, Stored)
        assert (await row(direct, tables.mail, id=order.mail.id))["id"] == outcome.mail_id
        assert proxy.cut is Cut.NOT  # it was cut
    assert len(await rows(direct, tables.mail)) == ROUNDS
    await direct.close()


async def test_what_was_not_committed_is_to_come_again_and_is_stored_once(
    cut_store: tuple[Store, CommitCutter], postgres_settings: StoreSettings
) -> None:
    store, proxy = cut_store
    for _ in range(ROUNDS):
        order = new_order()
        proxy.cut = Cut.BEFORE
        with pytest.raises(StoreUnavailable):
            await store.admit(order)

        assert proxy.cut is Cut.NOT
        assert isinstance(await store.admit(order), Stored)
    assert len(await rows(store, tables.mail)) == ROUNDS
    assert len(await rows(store, tables.sms)) == ROUNDS


async def test_mails_that_share_the_transaction_each_get_their_own_answer(
    cut_store: tuple[Store, CommitCutter],
) -> None:
    store, proxy = cut_store
    first = new_order(email_id="77")
    await store.admit(first)
    proxy.cut = Cut.AFTER
    mail = new_mail(message_id="<same@acme.example>")
    again = new_mail(message_id="<same@acme.example>")
    orders = [new_order(mail=mail), new_order(mail=again), new_order(email_id="77"), new_order(), new_order()]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(store.admit(order)) for order in orders]

    outcomes = [type(task.result()) for task in tasks]
    assert outcomes == [Stored, Retransmitted, Duplicate, Stored, Stored]


async def test_when_nobody_can_be_asked_nothing_is_said_to_be_stored(
    cut_store: tuple[Store, CommitCutter],
) -> None:
    store, proxy = cut_store
    proxy.cut = Cut.AFTER
    proxy.is_deaf_after_cut = True
    with pytest.raises(StoreUnavailable):
        await store.admit(new_order())

    assert proxy.cut is Cut.NOT
