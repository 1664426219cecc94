"""What goes wrong around the store: locks, a full disk, cancelled callers, servers that go away."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, ProgrammingError

from gateway.lifecycle import SmsEvent, SmsState
from gateway.store import Store, StoreError, StoreSettings, StoreUnavailable, StoreUnusable, tables
from gateway.store.base import Stored
from gateway.store.errors import translated
from tests.store.samples import NotMaker, change, claim, new_mail, new_order, new_sms, rows, settlement, states
from tests.store.test_open import path_of
from tests.support.clock import START
from tests.support.postgres import PostgresServer


@contextlib.asynccontextmanager
async def locked_by_somebody_else(settings: StoreSettings) -> AsyncIterator[None]:
    """No writing while the block runs."""
    if settings.url.startswith("sqlite"):
        with contextlib.closing(sqlite3.connect(path_of(settings), isolation_level=None)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            yield
            connection.execute("ROLLBACK")
    else:
        async with await psycopg.AsyncConnection.connect(settings.url) as postgres:
            await postgres.execute("LOCK TABLE mail, sms IN EXCLUSIVE MODE")
            yield


async def open_impatient(settings: StoreSettings, *, busy_s: float, deadline_s: float) -> Store:
    return await Store.open(settings.model_copy(update={"busy_timeout_s": busy_s, "deadline_s": deadline_s}))


@pytest.mark.slow
@pytest.mark.parametrize(("busy_s", "deadline_s"), [(0.1, 10), (2, 0.7)], ids=["busy", "deadline"])
async def test_a_locked_store_is_unavailable_in_bounded_time(
    settings: StoreSettings, busy_s: float, deadline_s: float
) -> None:
    store = await open_impatient(settings, busy_s=busy_s, deadline_s=deadline_s)
    async with asyncio.timeout(15), locked_by_somebody_else(settings):
        for step in (store.admit(new_order()), claim(store)):
            with pytest.raises(StoreUnavailable) as caught:
                await step
            assert (caught.value.temporary, caught.value.is_full) == (True, False)
        assert await store.due_lanes(START) == ()

    assert isinstance(await store.admit(new_order()), Stored)
    assert len(await claim(store)) == 1
    await store.close()


@pytest.mark.slow
async def test_who_comes_together_to_a_locked_store_waits_together(settings: StoreSettings) -> None:
    store = await open_impatient(settings, busy_s=0.5, deadline_s=10)
    async with locked_by_somebody_else(settings):
        began = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as group:
            waiting = [group.create_task(_refused(store.admit(new_order()))) for _ in range(4)]
            waiting += [group.create_task(_refused(claim(store))) for _ in range(4)]
        took_s = asyncio.get_running_loop().time() - began
    await store.close()

    assert [task.result() for task in waiting] == [True] * 8
    assert took_s < 3  # eight times half a second, one after the other, is four


async def _refused(step: Awaitable[object]) -> bool:
    try:
        await step
    except StoreUnavailable:
        return True
    return False


async def test_who_waits_for_a_locked_store_is_served_when_it_opens(settings: StoreSettings, store: Store) -> None:
    async with asyncio.TaskGroup() as group, locked_by_somebody_else(settings):
        waiting = [group.create_task(store.admit(new_order())) for _ in range(5)]
        await asyncio.sleep(0)

    assert [type(task.result()) for task in waiting] == [Stored] * 5


async def test_a_full_disk_is_said_to_be_full(sqlite_store: Store) -> None:
    await change(sqlite_store, "PRAGMA max_page_count=60")
    with pytest.raises(StoreUnavailable) as caught:
        await sqlite_store.admit(new_order(mail=new_mail(body=b"x" * 1_000_000)))

    assert caught.value.is_full
    await change(sqlite_store, "PRAGMA max_page_count=1000000")
    stored = len(await rows(sqlite_store, tables.mail))
    await sqlite_store.admit(new_order())
    assert len(await rows(sqlite_store, tables.mail)) == stored + 1


@pytest.mark.slow
async def test_a_cancelled_admission_is_stored_whole_or_not_at_all(store: Store) -> None:
    orders = [new_order(new_sms(1), new_sms(2)) for _ in range(40)]
    for turns, order in enumerate(orders):
        await cancelled_after(turns, lambda order=order: store.admit(order))  # type: ignore[misc]

    await assert_whole(store)
    for order in orders:
        assert isinstance(await store.admit(order), Stored)
    await assert_whole(store)
    assert len(await rows(store, tables.mail)) == 40


@pytest.mark.slow
async def test_a_cancelled_caller_harms_no_other(store: Store) -> None:
    for turns in range(40):
        others = [new_order() for _ in range(3)]
        async with asyncio.TaskGroup() as group:
            leader = asyncio.get_running_loop().create_task(store.admit(new_order()))
            tasks = [group.create_task(store.admit(order)) for order in others]
            for _ in range(turns):
                await asyncio.sleep(0)
            leader.cancel()
            await asyncio.wait([leader])

        assert [type(task.result()) for task in tasks] == [Stored] * 3
    await assert_whole(store)


@pytest.mark.slow
async def test_a_cancelled_move_is_made_or_not_made(store: Store) -> None:
    await store.admit(new_order(*(new_sms(position) for position in range(1, 31))))
    for turns, sms in enumerate(await claim(store)):
        taken = [settlement(sms, SmsEvent.TAKEN)]
        await cancelled_after(turns, lambda taken=taken: store.settle_sms(taken, START, NotMaker()))  # type: ignore[misc]

    verdicts = {attempt["sms_id"]: attempt["verdict"] for attempt in await rows(store, tables.attempt)}
    expected = {SmsState.SENDING: None, SmsState.ACCEPTED: SmsEvent.TAKEN}
    assert verdicts == {sms_id: expected[state] for sms_id, state in (await states(store)).items()}


@pytest.mark.slow
async def test_a_cancelled_claim_is_made_or_not_made(store: Store) -> None:
    for turns in range(30):
        await store.admit(new_order())
        await cancelled_after(turns, lambda: claim(store))

    claimed = {sms_id for sms_id, state in (await states(store)).items() if state is SmsState.SENDING}
    assert {attempt["sms_id"] for attempt in await rows(store, tables.attempt)} == claimed
    assert len(claimed) + len(await claim(store)) == 30


async def test_a_transaction_cut_off_leaves_the_next_one_alone(store: Store) -> None:
    def fail(connection: sa.Connection) -> None:
        connection.execute(tables.email_id.insert(), _claim_row("1"))
        raise LookupError

    with pytest.raises(LookupError):
        await store._database.write(lambda: fail)

    await store.admit(new_order())
    assert [row["email_id"] for row in await rows(store, tables.email_id)] != ["1"]
    assert len(await rows(store, tables.email_id)) == 1


async def test_connections_thrown_out_by_the_server_are_replaced(
    postgres: PostgresServer, postgres_settings: StoreSettings
) -> None:
    store = await Store.open(postgres_settings)
    await store.admit(new_order())
    async with await psycopg.AsyncConnection.connect(postgres_settings.url, autocommit=True) as connection:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    assert isinstance(await store.admit(new_order()), Stored)
    await store.close()


async def test_a_connection_lost_in_the_middle_is_unavailable(postgres_settings: StoreSettings) -> None:
    store = await Store.open(postgres_settings)
    await store.admit(new_order())
    (sms,) = await claim(store)

    def lose(_envoi: object) -> object:
        # the server throws everybody else out while the transaction is open
        with psycopg.connect(postgres_settings.url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        return NotMaker()(_envoi)  # type: ignore[arg-type]

    with pytest.raises(StoreUnavailable):
        await store.settle_sms([settlement(sms, SmsEvent.TAKEN)], START, lose)  # type: ignore[arg-type]

    assert await states(store) == {sms.id: SmsState.SENDING}
    await store.close()


def _sqlite(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError("x")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("raised", "expected", "is_full"),
    [
        (OperationalError("", {}, _sqlite(sqlite3.SQLITE_BUSY_SNAPSHOT)), StoreUnavailable, False),
        (OperationalError("", {}, _sqlite(sqlite3.SQLITE_FULL)), StoreUnavailable, True),
        (OperationalError("", {}, _sqlite(sqlite3.SQLITE_IOERR_FSYNC)), StoreUnavailable, False),
        (OperationalError("", {}, _sqlite(sqlite3.SQLITE_READONLY)), StoreUnavailable, False),
        (OperationalError("", {}, _sqlite(sqlite3.SQLITE_CORRUPT)), StoreUnusable, False),
        (OperationalError("", {}, _sqlite(sqlite3.SQLITE_NOTADB)), StoreUnusable, False),
        (OperationalError("", {}, _sqlite(sqlite3.SQLITE_ERROR)), StoreError, False),
        (_sqlite(sqlite3.SQLITE_BUSY), StoreUnavailable, False),
        (IntegrityError("", {}, sqlite3.IntegrityError()), StoreError, False),
        (OperationalError("", {}, psycopg.errors.DiskFull()), StoreUnavailable, True),
        (OperationalError("", {}, psycopg.errors.LockNotAvailable()), StoreUnavailable, False),
        (OperationalError("", {}, psycopg.errors.DeadlockDetected()), StoreUnavailable, False),
        (OperationalError("", {}, psycopg.OperationalError()), StoreUnavailable, False),
        (DBAPIError("", {}, psycopg.errors.ReadOnlySqlTransaction()), StoreUnavailable, False),
        (DBAPIError("", {}, psycopg.errors.DataCorrupted()), StoreUnusable, False),
        (ProgrammingError("", {}, psycopg.errors.UndefinedTable()), StoreUnusable, False),
        (ProgrammingError("", {}, psycopg.errors.SyntaxError()), StoreError, False),
        (sa.exc.TimeoutError(), StoreUnavailable, False),
        (sa.exc.InvalidRequestError(), StoreError, False),
        (TimeoutError(), StoreUnavailable, False),
        (ConnectionResetError(), StoreUnavailable, False),
    ],
)
def test_what_a_driver_raises_becomes_one_of_ours(
    raised: Exception, expected: type[StoreError], *, is_full: bool
) -> None:
    with pytest.raises(StoreError) as caught, translated():
        raise raised

    assert type(caught.value) is expected
    assert caught.value.temporary is (expected is StoreUnavailable)
    assert getattr(caught.value, "is_full", False) is is_full
    assert caught.value.__cause__ is raised


def _claim_row(email_id: str) -> dict[str, object]:
    return {"account": "acme", "email_id": email_id, "envoi_id": "E", "used_at": START}


async def cancelled_after(turns: int, step: Callable[[], Awaitable[object]]) -> None:
    """The step has run for so many turns of the loop and was then cancelled, or was done before."""

    async def run() -> None:
        await step()

    task = asyncio.get_running_loop().create_task(run())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])


async def assert_whole(store: Store) -> None:
    """Every mail that is there has all that it caused."""
    mails = {mail["id"] for mail in await rows(store, tables.mail)}
    envois = await rows(store, tables.envoi)
    assert {envoi["mail_id"] for envoi in envois} == mails
    assert {report["mail_id"] for report in await rows(store, tables.report)} == mails
    assert {row["envoi_id"] for row in await rows(store, tables.email_id)} == {envoi["id"] for envoi in envois}
    assert {sms["envoi_id"] for sms in await rows(store, tables.sms)} == {envoi["id"] for envoi in envois}
