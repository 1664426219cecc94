"""Bell, crew, stage, gate, and the helper that lets a write run to its end."""

import asyncio

import pytest
import structlog

from gateway.store import StoreUnavailable, StoreUnusable
from gateway.worker import Bell, Clerks, Crew, Gate, Stage, call_or, run_to_end
from tests.support.clock import ManualClock

DEADLINE_S = 5.0


async def wait_for(event: asyncio.Event) -> None:
    async with asyncio.timeout(DEADLINE_S):
        await event.wait()


# --- clerks ----------------------------------------------------------------------------------------------------------


async def test_what_a_clerk_writes_goes_on_beside_its_owner_and_is_waited_for() -> None:
    go_on, seen = asyncio.Event(), list[str]()

    async def write() -> None:
        await go_on.wait()
        seen.append("written")

    async with asyncio.timeout(DEADLINE_S):
        async with Clerks() as clerks:
            clerks.start(write(), name="write")
            await asyncio.sleep(0)
            seen.append("owner goes on")
            go_on.set()
        seen.append("left")

    assert seen == ["owner goes on", "written", "left"]


async def test_a_clerk_that_had_not_begun_when_its_owner_was_cancelled_writes_all_the_same() -> None:
    begun, seen = asyncio.Event(), list[str]()

    async def write() -> None:
        await asyncio.sleep(0)
        seen.append("written")

    async def owner() -> None:
        async with Clerks() as clerks:
            try:
                begun.set()
                await asyncio.Event().wait()
            finally:
                clerks.start(write(), name="write")
        seen.append("not reached")

    async with asyncio.TaskGroup() as group:
        task = group.create_task(owner())
        await wait_for(begun)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()

    assert seen == ["written"]
    assert task.cancelled()


async def test_a_clerk_s_failure_ends_its_owner_s_work_and_is_raised_when_it_leaves() -> None:
    async def fail() -> None:
        raise StoreUnavailable("gone")

    async def succeed() -> None:
        await asyncio.sleep(0)

    async def own() -> None:
        async with Clerks() as clerks:
            clerks.start(fail(), name="fail")
            clerks.start(succeed(), name="succeed")
            await clerks.wait_for_fewer(1)

            assert clerks.has_failed

    with pytest.raises(StoreUnavailable):
        await own()


async def test_a_clerk_s_failure_is_logged_when_its_owner_fails_too() -> None:
    async def fail() -> None:
        raise StoreUnavailable("gone")

    async def own() -> None:
        async with Clerks() as clerks:
            clerks.start(fail(), name="fail")
            raise KeyError("x")

    with structlog.testing.capture_logs() as lines, pytest.raises(KeyError):
        await own()

    assert [(line["event"], line["error"]) for line in lines] == [("write_failed", "gone")]


async def test_no_more_writes_are_under_way_than_asked_for() -> None:
    events = [asyncio.Event() for _ in range(3)]

    async def write(event: asyncio.Event) -> None:
        await event.wait()

    async with asyncio.timeout(DEADLINE_S), Clerks() as clerks:
        for event in events[:2]:
            clerks.start(write(event), name="write")
        waiting = asyncio.get_running_loop().create_future()

        async def wait() -> None:
            await clerks.wait_for_fewer(2)
            waiting.set_result(None)

        clerks.start(wait(), name="wait")
        await asyncio.sleep(0)

        assert not waiting.done()
        for event in events:
            event.set()

    assert waiting.done()


# --- run_to_end ------------------------------------------------------------------------------------------------------


async def test_work_that_is_not_cancelled_returns_its_result() -> None:
    async def work() -> int:
        return 7

    assert await run_to_end(work()) == 7


async def test_an_error_of_the_work_reaches_the_caller() -> None:
    async def work() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await run_to_end(work())


async def test_cancelled_twice_the_work_still_ends_and_then_the_caller_is_cancelled() -> None:
    begun, go_on, seen = asyncio.Event(), asyncio.Event(), list[str]()

    async def work() -> None:
        begun.set()
        await go_on.wait()
        seen.append("written")

    async def caller() -> None:
        await run_to_end(work())
        seen.append("not reached")

    async with asyncio.TaskGroup() as group:
        task = group.create_task(caller())
        await wait_for(begun)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        go_on.set()

    assert seen == ["written"]
    assert task.cancelled()


async def test_a_deadline_around_it_fires_after_the_work() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    seen = list[str]()

    async def work() -> None:
        begun.set()
        await go_on.wait()
        seen.append("written")

    async def caller() -> None:
        async with asyncio.timeout(None) as deadline, asyncio.TaskGroup() as group:
            group.create_task(_cut(deadline, begun, go_on))
            await run_to_end(work())

    with pytest.raises(TimeoutError):
        await caller()

    assert seen == ["written"]


async def _cut(deadline: asyncio.Timeout, begun: asyncio.Event, go_on: asyncio.Event) -> None:
    await wait_for(begun)
    deadline.reschedule(asyncio.get_running_loop().time())
    for _ in range(3):
        await asyncio.sleep(0)
    go_on.set()


async def test_an_error_nobody_can_hear_of_is_logged() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        await go_on.wait()
        raise StoreUnavailable("the disk is full")

    with structlog.testing.capture_logs() as lines:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(run_to_end(work(), name="record"))
            await wait_for(begun)
            task.cancel()
            await asyncio.sleep(0)
            go_on.set()

    assert task.cancelled()
    assert lines == [{"event": "write_failed", "log_level": "error", "task": "record", "error": "the disk is full"}]


async def test_an_exception_that_should_not_be_becomes_the_other_value() -> None:
    async def call() -> str:
        raise RuntimeError("never")

    assert await call_or(call(), lambda: "settled", name="x") == "settled"


# --- bell ------------------------------------------------------------------------------------------------------------


async def test_a_ring_before_the_wait_is_not_lost() -> None:
    bell = Bell()
    bell.ring()
    bell.ring()

    async with asyncio.timeout(DEADLINE_S):
        await bell.wait(3600)


async def test_a_wait_uses_up_the_rings_before_it() -> None:
    bell = Bell()
    bell.ring()
    await bell.wait(3600)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await bell.wait(3600)


async def test_without_a_ring_the_wait_ends_by_itself() -> None:
    async with asyncio.timeout(DEADLINE_S):
        await Bell().wait(0)


# --- crew ------------------------------------------------------------------------------------------------------------


async def test_a_task_does_not_log_under_the_name_of_who_started_it() -> None:
    seen: list[dict[str, object]] = []

    async def work() -> None:
        seen.append(structlog.contextvars.get_contextvars())

    with structlog.contextvars.bound_contextvars(stage="dispatcher"):
        async with Crew() as crew:
            with structlog.contextvars.bound_contextvars(mail_id="of a session"):
                crew.start("lane", work)

    assert seen == [{"stage": "dispatcher"}]


async def test_a_task_that_fails_harms_no_other() -> None:
    done = asyncio.Event()

    async def fail() -> None:
        raise RuntimeError("boom")

    async def go_on() -> None:
        await asyncio.sleep(0)
        done.set()

    async with Crew() as crew:
        crew.start("bad", fail)
        crew.start("good", go_on)

        assert crew.size == 2

    assert done.is_set()
    assert crew.size == 0


async def test_a_store_that_cannot_be_used_ends_the_crew() -> None:
    async def fail() -> None:
        raise StoreUnusable("the schema is another")

    with pytest.raises(ExceptionGroup) as raised:
        async with Crew() as crew:
            crew.start("bad", fail)

    assert raised.group_contains(StoreUnusable)


# --- stage -----------------------------------------------------------------------------------------------------------


class Looker:
    """Counts looks, and fails when told to."""

    def __init__(self) -> None:
        self.looks = 0
        self.looked = asyncio.Event()
        self.errors: list[Exception] = []

    async def look(self, crew: Crew) -> float:
        self.looks += 1
        self.looked.set()
        if self.errors:
            raise self.errors.pop(0)
        return 3600.0

    async def next_look(self) -> None:
        await wait_for(self.looked)
        self.looked.clear()


def stage_of(looker: Looker) -> Stage:
    return Stage(name="test", bell=Bell(), look=looker.look, poll_s=3600)


async def test_a_stage_looks_at_once_and_then_at_each_ring() -> None:
    looker = Looker()
    stage = stage_of(looker)
    async with asyncio.TaskGroup() as group:
        group.create_task(stage.run())
        await looker.next_look()
        stage.bell.ring()
        await looker.next_look()
        stage.stop()

    assert looker.looks == 2


async def test_a_failing_look_is_not_repeated_at_each_ring() -> None:
    looker = Looker()
    looker.errors = [StoreUnavailable("locked"), RuntimeError("bug")]
    stage = stage_of(looker)
    async with asyncio.TaskGroup() as group:
        group.create_task(stage.run())
        await looker.next_look()
        for _ in range(50):
            stage.bell.ring()
            await asyncio.sleep(0)

        assert looker.looks == 1
        stage.stop()


@pytest.mark.slow
async def test_a_stage_resumes_by_itself_after_failing() -> None:
    looker = Looker()
    looker.errors = [StoreUnavailable("locked")]
    stage = stage_of(looker)
    async with asyncio.TaskGroup() as group:
        group.create_task(stage.run())
        await looker.next_look()
        await looker.next_look()
        stage.stop()

    assert looker.looks == 2


async def test_a_store_that_cannot_be_used_ends_the_stage() -> None:
    looker = Looker()
    looker.errors = [StoreUnusable("corrupt")]

    with pytest.raises(ExceptionGroup) as raised:
        await stage_of(looker).run()

    assert raised.group_contains(StoreUnusable)


async def test_a_stopped_stage_waits_for_what_it_has_begun() -> None:
    begun, go_on, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        await go_on.wait()
        done.set()

    async def look(crew: Crew) -> float:
        crew.start("work", work)
        return 3600.0

    stage = Stage(name="test", bell=Bell(), look=look, poll_s=3600)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(stage.run())
        await wait_for(begun)
        stage.stop()
        await asyncio.sleep(0)
        await asyncio.sleep(0)

        assert not task.done()
        go_on.set()

    assert done.is_set()


# --- gate ------------------------------------------------------------------------------------------------------------


def test_a_gate_is_open_until_patience_ends() -> None:
    gate = Gate(clock=ManualClock(), first_s=5, longest_s=60, patience=3)

    assert [gate.fail(), gate.fail(), gate.is_open, gate.fail(), gate.is_open] == [False, False, True, True, False]


def test_a_success_starts_the_count_again() -> None:
    gate = Gate(clock=ManualClock(), first_s=5, longest_s=60, patience=2)
    gate.fail()
    gate.succeed()
    gate.fail()

    assert gate.is_open


def test_after_the_pause_one_probe_may_enter() -> None:
    clock = ManualClock()
    gate = Gate(clock=clock, first_s=5, longest_s=60)
    gate.fail()
    clock.advance(4.9)

    assert not gate.is_open

    clock.advance(0.1)

    assert (gate.is_open, gate.is_suspect) == (True, True)

    gate.enter()

    assert not gate.is_open

    gate.succeed()

    assert (gate.is_open, gate.is_suspect) == (True, False)


def test_a_probe_that_learnt_nothing_makes_room_for_another() -> None:
    clock = ManualClock()
    gate = Gate(clock=clock, first_s=5, longest_s=60)
    gate.fail()
    clock.advance(5)
    gate.enter()
    gate.leave()

    assert (gate.is_open, gate.is_suspect) == (True, True)


def test_each_pause_in_a_row_is_twice_as_long_up_to_the_longest() -> None:
    clock = ManualClock()
    gate = Gate(clock=clock, first_s=5, longest_s=60)
    pauses = []
    for _ in range(6):
        gate.enter()
        gate.fail()
        pauses.append(gate.opens_in_s)
        clock.advance(gate.opens_in_s)

    assert pauses == [5, 10, 20, 40, 60, 60]


def test_failures_of_calls_that_were_already_inside_do_not_lengthen_the_row() -> None:
    clock = ManualClock()
    gate = Gate(clock=clock, first_s=5, longest_s=60)
    for _ in range(10):
        gate.fail()

    assert gate.opens_in_s == 5


def test_a_wish_may_be_longer_than_the_pause() -> None:
    gate = Gate(clock=ManualClock(), first_s=5, longest_s=60)
    gate.shut(at_least_s=90)

    assert gate.opens_in_s == 90


def test_the_wall_clock_does_not_open_a_gate() -> None:
    clock = ManualClock()
    gate = Gate(clock=clock, first_s=5, longest_s=60)
    gate.fail()
    clock.step(86_400 * 3)

    assert not gate.is_open
