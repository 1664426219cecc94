"""The line to SQLite alone: transactions that are shared, cut off, made to fail, and left behind."""

import asyncio
import random
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NoReturn

import pytest
import sqlalchemy as sa

from gateway.store import driving
from gateway.store.errors import StoreError, StoreUnavailable
from gateway.store.sqlite_line import SqliteLine

_ROW = sa.table("row", sa.column("id"))
_PATIENCE_S = 10


class Line(SqliteLine):
    """Knows how often it was told of a failed disk."""

    def __init__(self, path: Path, *, busy_s: float = 1) -> None:
        self.failures = 0
        super().__init__(
            path, {"mode": "rw"}, is_writer=True, busy_timeout_s=busy_s, prepare=_prepare, on_failure=self._count
        )

    def _count(self) -> None:
        self.failures += 1


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA foreign_keys=ON")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "line.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE row (id INTEGER PRIMARY KEY)")
        connection.execute("CREATE TABLE child (row_id REFERENCES row (id) DEFERRABLE INITIALLY DEFERRED)")
    return path


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(_PATIENCE_S)

        assert not thread.is_alive()


@pytest.fixture
async def line(path: Path) -> AsyncIterator[Line]:
    line = Line(path)
    yield line
    await line.close()


def put(row_id: int) -> Callable[[sa.Connection], int]:
    def work(connection: sa.Connection) -> int:
        connection.execute(_ROW.insert().values(id=row_id))
        return row_id

    return work


def put_and_fail(row_id: int, error: Exception) -> Callable[[sa.Connection], NoReturn]:
    def work(connection: sa.Connection) -> NoReturn:
        connection.execute(_ROW.insert().values(id=row_id))
        raise error

    return work


def ask(statement: str) -> Callable[[sa.Connection], None]:
    def work(connection: sa.Connection) -> None:
        connection.exec_driver_sql(statement)

    return work


def rows(path: Path) -> set[int]:
    with closing(sqlite3.connect(path)) as connection:
        return {row[0] for row in connection.execute("SELECT id FROM row")}


def sqlite_error(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError("injected")
    error.sqlite_errorcode = code
    return error


async def result(step: Awaitable[object]) -> object:
    """What the step returns or raises; it must not take for ever."""
    async with asyncio.timeout(_PATIENCE_S):
        try:
            return await step
        except Exception as error:  # noqa: BLE001 whatever it is, it is looked at
            return error


async def together(line: Line, *works: Callable[[sa.Connection], object]) -> list[object]:
    """What becomes of works that share one transaction."""
    gate = threading.Event()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(result(line.run(lambda: lambda _: gate.wait(_PATIENCE_S))))
        await asyncio.sleep(0)
        tasks = [group.create_task(result(line.run(lambda work=work: work))) for work in works]  # type: ignore[misc]
        await asyncio.sleep(0)
        gate.set()
    assert first.result() is True
    return [task.result() for task in tasks]


class _NoCopyError(Exception):
    def __init__(self, *, number: int) -> None:
        super().__init__(number)


async def test_a_part_that_raises_undoes_nothing_else(line: Line, path: Path) -> None:
    results = await together(line, put(1), put_and_fail(2, LookupError()), put(3))

    assert [1, LookupError, 3] == [results[0], type(results[1]), results[2]]
    assert rows(path) == {1, 3}


async def test_a_part_is_undone_whole_also_when_it_leaves_a_savepoint_open(line: Line, path: Path) -> None:
    def leave_open(connection: sa.Connection) -> NoReturn:
        put(2)(connection)
        driving.begin_savepoint(connection, "inner")
        put_and_fail(3, LookupError())(connection)
        raise AssertionError

    results = await together(line, put(1), leave_open, put(4))

    assert [1, LookupError, 4] == [results[0], type(results[1]), results[2]]
    assert rows(path) == {1, 4}


async def test_what_cannot_be_copied_stops_nobody(line: Line, path: Path) -> None:
    results = await together(line, put(1), put_and_fail(2, _NoCopyError(number=2)), put(3))

    assert [1, _NoCopyError, 3] == [results[0], type(results[1]), results[2]]
    assert await result(line.run(lambda: put(4))) == 4
    assert rows(path) == {1, 3, 4}


async def test_what_no_future_takes_stops_nobody(line: Line, path: Path) -> None:
    alone = await result(line.run(lambda: put_and_fail(1, StopIteration())))
    shared = await together(line, put_and_fail(2, StopIteration()), put(3))

    assert [RuntimeError, RuntimeError, 3] == [type(alone), type(shared[0]), shared[1]]
    assert rows(path) == {3}


async def test_a_statement_that_is_wrong_is_the_fault_of_its_part(line: Line, path: Path) -> None:
    results = await together(line, put(1), ask("SELECT abs(-9223372036854775808)"), put(2))

    assert [1, StoreError, 2] == [results[0], type(results[1]), results[2]]
    assert rows(path) == {1, 2}


@pytest.mark.parametrize(
    "code", [sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CORRUPT], ids=["io", "full", "corrupt"]
)
async def test_what_the_store_raises_is_told_to_all_of_its_transaction(line: Line, path: Path, code: int) -> None:
    results = await together(line, put(1), put_and_fail(2, sqlite_error(code)), put(3))

    assert all(isinstance(each, StoreError) for each in results)
    assert len({id(each) for each in results}) == 3
    assert [getattr(each, "is_full", False) for each in results] == [code == sqlite3.SQLITE_FULL] * 3
    assert line.failures == (code == sqlite3.SQLITE_IOERR_FSYNC)
    assert await result(line.run(lambda: put(4))) == 4
    assert rows(path) == {4}


async def test_a_failed_commit_leaves_the_next_transaction_alone(line: Line, path: Path) -> None:
    failed = await result(line.run(lambda: ask("INSERT INTO child VALUES (7)")))
    following = await result(line.run(lambda: put(1)))

    assert isinstance(failed, sa.exc.IntegrityError)
    assert following == 1
    assert rows(path) == {1}


async def test_a_transaction_that_sqlite_has_undone_is_not_taken_for_committed(line: Line, path: Path) -> None:
    def swallow(connection: sa.Connection) -> None:
        connection.execute(_ROW.insert().values(id=1))
        connection.exec_driver_sql("ROLLBACK")

    assert isinstance(await result(line.run(lambda: swallow)), StoreUnavailable)
    assert rows(path) == set()


async def test_who_waits_behind_one_that_gave_up_waits_for_the_lock_itself(line: Line, path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        impatient = asyncio.get_running_loop().create_task(line.run(lambda: put(1)))
        await asyncio.sleep(0)
        patient = asyncio.get_running_loop().create_task(result(line.run(lambda: put(2))))
        await asyncio.sleep(0)
        impatient.cancel()
        await asyncio.wait([impatient])
        other.execute("ROLLBACK")

    assert await patient == 2
    assert rows(path) == {2}


class Hanging:
    """A transaction that hangs until it is let go, deaf to everything."""

    def __init__(self, line: Line, error: Exception | None = None) -> None:
        self._line = line
        self._error = error
        self._began = threading.Event()
        self._go = threading.Event()
        self.task = asyncio.get_running_loop().create_task(line.run(lambda: self._work))

    def _work(self, _: sa.Connection) -> None:
        self._began.set()
        self._go.wait(_PATIENCE_S)
        if self._error is not None:
            raise self._error

    async def leave(self) -> None:
        """It is under way, and nobody waits for it any more."""
        assert await asyncio.to_thread(self._began.wait, _PATIENCE_S)
        for _ in range(2):
            self.task.cancel()
            await asyncio.sleep(0)
        await asyncio.wait([self.task])

    def let_go(self) -> None:
        self._go.set()


async def test_a_disk_that_fails_late_is_heard_of_too(line: Line) -> None:
    hanging = Hanging(line, sqlite_error(sqlite3.SQLITE_IOERR_FSYNC))
    await hanging.leave()
    hanging.let_go()
    await line.close()

    assert line.failures == 1


async def test_who_waits_behind_a_transaction_left_behind_is_served(line: Line) -> None:
    hanging = Hanging(line)
    waiting = asyncio.get_running_loop().create_task(result(line.run(lambda: put(1))))
    await hanging.leave()
    told = await waiting  # the one left behind holds the lock
    hanging.let_go()

    assert isinstance(told, sqlite3.OperationalError)
    assert await result(line.run(lambda: put(2))) == 2


async def test_a_close_that_is_given_up_stops_nobody(line: Line, path: Path) -> None:
    hanging = Hanging(line)
    await asyncio.sleep(0)
    closing_it = asyncio.get_running_loop().create_task(line.close())
    await asyncio.sleep(0)
    closing_it.cancel()
    await hanging.leave()
    hanging.let_go()

    for _ in range(2):  # the first may still find the lock held
        last = await result(line.run(lambda: put(1)))
        if last == 1:
            break
    assert rows(path) == {1}


async def test_a_close_ends_what_waits_too(line: Line, path: Path) -> None:
    tasks = [asyncio.get_running_loop().create_task(line.run(lambda n=n: put(n))) for n in range(100)]  # type: ignore[misc]
    await asyncio.sleep(0)
    await line.close()

    assert [True] * 100 == [task.done() for task in tasks]
    assert rows(path) == set(range(100))


async def test_without_a_thread_everybody_hears_of_it(line: Line, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        failed = await result(line.run(lambda: put(1)))

    assert isinstance(failed, StoreUnavailable)
    assert await result(line.run(lambda: put(2))) == 2
    assert rows(path) == {2}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
async def test_whatever_happens_everybody_is_told_the_truth(path: Path, seed: int) -> None:
    """Cancellations, errors of parts and of the store: who was told "done" is there, the others are not."""
    chance = random.Random(seed)
    line = Line(path)
    told: dict[int, object] = {}
    errors: list[Callable[[], Exception]] = [
        LookupError,
        lambda: StoreError("own"),
        lambda: StoreUnavailable("all"),
        lambda: _NoCopyError(number=1),
        *(lambda code=code: sqlite_error(code) for code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE)),
    ]

    async def one(number: int) -> None:
        is_bad, is_cut = chance.random() < 0.1, chance.random() < 0.3
        work = put_and_fail(number, chance.choice(errors)()) if is_bad else put(number)
        task = asyncio.get_running_loop().create_task(result(line.run(lambda: work)))
        for _ in range(chance.choice([1, 1, 2]) if is_cut else 0):
            await asyncio.sleep(chance.random() * 0.004)
            task.cancel()
        await asyncio.wait([task])
        told[number] = "cut" if task.cancelled() else task.result()

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for number in range(400):
            group.create_task(one(number))
            await asyncio.sleep(chance.choice([0, 0, 0.001]))
    await line.close()
    there = rows(path)

    assert len(told) == 400
    assert {number for number, what in told.items() if what == number} <= there
    assert not {number for number, what in told.items() if isinstance(what, Exception)} & there
