"""How fast a carrier is handed SMS: never faster than its rate, and nothing that may go is kept waiting."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.pace import Pace
from tests.support.clock import ManualClock


@pytest.mark.parametrize(
    ("rate", "most", "burst"), [(5, 50, 5), (200, 50, 50), (0.2, 50, 1), (1, 1, 1), (2.9, 50, 2), (1000, 500, 500)]
)
def test_at_once_there_is_a_second_s_worth_or_a_batch(rate: float, most: int, burst: int) -> None:
    pace = Pace(ManualClock(), rate=rate, most=most)

    assert (pace.take(1_000), pace.take(1)) == (burst, 0)


def test_what_was_taken_comes_back_with_time() -> None:
    clock = ManualClock()
    pace = Pace(clock, rate=5, most=50)
    pace.take(5)
    clock.advance(0.6)

    assert pace.take(5) == 3
    assert pace.opens_in_s == pytest.approx(0.2)


def test_what_was_not_used_can_be_taken_again() -> None:
    pace = Pace(ManualClock(), rate=5, most=50)
    taken = pace.take(5)
    pace.give_back(taken - 1)

    assert pace.take(5) == 4


def test_nothing_is_saved_up_beyond_the_burst() -> None:
    clock = ManualClock()
    pace = Pace(clock, rate=5, most=50)
    clock.advance(3_600)
    pace.give_back(100)

    assert pace.take(1_000) == 5


def test_a_fast_carrier_is_not_called_for_every_single_sms() -> None:
    clock = ManualClock()
    pace = Pace(clock, rate=200, most=50)
    pace.take(50)

    assert pace.opens_in_s == pytest.approx(0.1)


@given(
    rate=st.floats(0.1, 500),
    most=st.integers(1, 100),
    steps=st.lists(st.tuples(st.floats(0, 3), st.integers(1, 100), st.integers(0, 100)), min_size=1, max_size=60),
)
def test_in_no_stretch_of_time_is_more_handed_over_than_the_rate_allows(
    rate: float, most: int, steps: list[tuple[float, int, int]]
) -> None:
    clock = ManualClock()
    pace = Pace(clock, rate=rate, most=most)
    used: list[tuple[float, int]] = []
    for wait_s, wanted, unused in steps:
        clock.advance(wait_s)
        taken = pace.take(wanted)
        back = min(unused, taken)
        pace.give_back(back)
        used.append((clock.monotonic(), taken - back))
    for first in range(len(used)):
        since = used[first][0]
        for last in range(first, len(used)):
            total = sum(count for _, count in used[first : last + 1])

            assert total <= pace.burst + rate * (used[last][0] - since) + 1e-3


async def test_who_waits_goes_on_when_the_clock_says_so() -> None:
    clock = ManualClock()
    pace = Pace(clock, rate=0.01, most=50)
    pace.take(1)
    order: list[str] = []

    async def wait(name: str, rank: int) -> None:
        async with pace.turn(rank):
            order.append(f"{name} {pace.take(50)}")

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(wait("first", 1))
        await asyncio.sleep(0)
        group.create_task(wait("bulk", 2))
        group.create_task(wait("alert", 0))
        for _ in range(3):
            clock.advance(99)
            pace.nudge()
            await _turns_of_the_loop()
            before = list(order)
            clock.advance(1)
            pace.nudge()
            await _turns_of_the_loop()

            assert len(order) == len(before) + 1

    assert order == ["first 1", "alert 1", "bulk 1"]


async def _turns_of_the_loop() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_once_it_is_released_nobody_waits() -> None:
    pace = Pace(ManualClock(), rate=0.01, most=50)
    pace.take(1)

    async def wait() -> int:
        async with pace.turn(1):
            return pace.take(50)

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        tasks = [group.create_task(wait()) for _ in range(3)]
        await _turns_of_the_loop()

        assert not any(task.done() for task in tasks)
        pace.release()

    assert [task.result() for task in tasks] == [0, 0, 0]
