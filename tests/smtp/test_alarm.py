"""The alarm breaks off waits as `asyncio.timeout_at` does, with one timer."""

import asyncio
import gc
import weakref

import pytest

from gateway.smtp.alarm import Alarm

SOON_S = 0.02
LONG_S = 30.0


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


@pytest.fixture
async def alarm() -> Alarm:
    return Alarm(asyncio.get_running_loop())


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_a_wait_that_is_too_long_is_a_timeout(alarm: Alarm) -> None:
    with pytest.raises(TimeoutError), alarm.until(now() + SOON_S):
        await forever()


async def test_after_a_timeout_the_task_goes_on_undisturbed(alarm: Alarm) -> None:
    for _ in range(3):
        with pytest.raises(TimeoutError), alarm.until(now() + SOON_S):
            await forever()
    with alarm.until(now() + LONG_S):
        await asyncio.sleep(2 * SOON_S)
    task = asyncio.current_task()

    assert task is not None
    assert task.cancelling() == 0


async def test_a_moment_that_is_past_breaks_off_the_first_wait(alarm: Alarm) -> None:
    with pytest.raises(TimeoutError), alarm.until(now() - 1):
        await forever()


async def test_a_timer_of_a_wait_that_is_over_does_not_disturb_the_next(alarm: Alarm) -> None:
    with alarm.until(now() + SOON_S):
        await asyncio.sleep(0)
    with alarm.until(now() + LONG_S):
        await asyncio.sleep(3 * SOON_S)


async def test_nothing_is_broken_off_between_two_waits(alarm: Alarm) -> None:
    with alarm.until(now() + SOON_S):
        await asyncio.sleep(0)
    await asyncio.sleep(3 * SOON_S)
    with pytest.raises(TimeoutError), alarm.until(now() + SOON_S):
        await forever()


async def test_a_wait_can_be_made_longer_and_shorter(alarm: Alarm) -> None:
    with alarm.until(now() + SOON_S):
        alarm.move(now() + LONG_S)
        await asyncio.sleep(3 * SOON_S)
    asyncio.get_running_loop().call_later(SOON_S, lambda: alarm.move(now() + SOON_S))
    with pytest.raises(TimeoutError), alarm.until(now() + LONG_S):
        await forever()


async def test_somebody_elses_cancellation_stays_one(alarm: Alarm) -> None:
    began = asyncio.Event()

    async def wait() -> None:
        with alarm.until(now() + LONG_S):
            began.set()
            await forever()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(wait())
        await began.wait()
        task.cancel()

    assert task.cancelled()


async def test_who_cancels_while_it_rings_is_heard(alarm: Alarm) -> None:
    """The alarm rings first, somebody cancels before the task has taken a step: the task is cancelled."""
    began = asyncio.Event()

    async def wait() -> None:
        with alarm.until(now() + LONG_S):
            began.set()
            await forever()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(wait())
        await began.wait()
        alarm.move(now())
        alarm._ring()
        task.cancel()

    assert task.cancelled()


async def test_closed_it_holds_nothing() -> None:
    class Session:
        def __init__(self) -> None:
            self.alarm = Alarm(asyncio.get_running_loop())

        def ring(self) -> None:
            with self.alarm.until(now() + LONG_S):
                pass

    session = Session()
    session.ring()
    session.alarm.close()
    gone = weakref.ref(session)
    del session
    gc.collect()

    assert gone() is None
