"""One timer for two ends: the deadline, and the grace of who does not end by it."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from gateway.store.patience import Patience

NEVER_S = 3_600.0


async def test_who_is_done_in_time_is_left_alone() -> None:
    with Patience(NEVER_S, grace_s=NEVER_S):
        await asyncio.sleep(0)

    assert _cancellations() == 0


async def test_who_waits_too_long_is_broken_off() -> None:
    with pytest.raises(TimeoutError), Patience(0.001, grace_s=NEVER_S):
        await asyncio.Event().wait()

    assert _cancellations() == 0


async def test_end_of_who_is_broken_off_is_waited_for() -> None:
    ended = asyncio.Event()

    async def end() -> None:
        await asyncio.sleep(0.01)
        ended.set()

    with pytest.raises(TimeoutError), Patience(0.001, grace_s=NEVER_S):
        await _wait_for_ever(end)

    assert ended.is_set()


async def test_end_is_waited_for_no_longer_than_the_grace() -> None:
    with pytest.raises(TimeoutError), Patience(0.001, grace_s=0.001):
        await _wait_for_ever(asyncio.Event().wait)

    assert _cancellations() == 0


async def test_what_is_raised_on_being_broken_off_comes_out() -> None:
    async def fail() -> None:
        raise LookupError

    with pytest.raises(LookupError), Patience(0.001, grace_s=NEVER_S):
        await _wait_for_ever(fail)

    assert _cancellations() == 0


async def test_who_is_cancelled_meanwhile_is_cancelled_not_late() -> None:
    is_late = asyncio.Event()
    raised: list[type[BaseException]] = []

    async def end() -> None:
        is_late.set()
        await asyncio.Event().wait()

    async def wait() -> None:
        try:
            with Patience(0.001, grace_s=NEVER_S):
                await _wait_for_ever(end)
        except BaseException as error:
            raised.append(type(error))
            raise

    async with asyncio.TaskGroup() as group:
        task = group.create_task(wait())
        await is_late.wait()
        task.cancel()

    assert raised == [asyncio.CancelledError]
    assert task.cancelled()


async def test_nobody_but_a_task_can_be_broken_off() -> None:
    raised: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def enter() -> None:
        try:
            with Patience(NEVER_S, grace_s=NEVER_S):
                raised.set_result("nothing")
        except RuntimeError as error:
            raised.set_result(str(error))

    asyncio.get_running_loop().call_soon(enter)

    assert await raised == "patience is for a task"


async def _wait_for_ever(end: Callable[[], Awaitable[object]]) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        await end()


def _cancellations() -> int:
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()
