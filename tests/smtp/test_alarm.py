"""A wait is over when somebody wakes who waits, or when the moment has come; all that with one timer."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Callable

import pytest

from gateway.smtp.alarm import LOOK_S, Alarm

SOON_S = 0.02
LONG_S = 30.0


@pytest.fixture
async def alarm() -> AsyncIterator[Alarm]:
    alarm = Alarm(asyncio.get_running_loop())
    yield alarm
    alarm.close()


class Loop:
    """A clock that is moved by hand, and its timers."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.timers: list[asyncio.TimerHandle] = []

    def time(self) -> float:
        return self.now

    def call_at(self, at: float, ring: Callable[[], None]) -> asyncio.TimerHandle:
        self.timers.append(asyncio.TimerHandle(at, ring, (), asyncio.get_running_loop()))
        return self.timers[-1]

    def create_future(self) -> asyncio.Future[None]:
        return asyncio.get_running_loop().create_future()

    def pass_time(self, seconds: float) -> None:
        """Ring what is due, one after the other."""
        end = self.now + seconds
        while due := [timer for timer in self.timers if not timer.cancelled() and timer.when() <= end]:
            timer = min(due, key=asyncio.TimerHandle.when)
            self.timers.remove(timer)
            self.now = max(self.now, timer.when())
            timer._run()
        self.now = end


@pytest.fixture
def loop() -> Loop:
    return Loop()


def by_hand(loop: Loop) -> Alarm:
    return Alarm(loop)  # type: ignore[arg-type]  # as much of one as an alarm needs


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_a_wait_that_is_too_long_is_a_timeout(alarm: Alarm) -> None:
    for _ in range(3):
        alarm.set(now() + SOON_S)
        with pytest.raises(TimeoutError):
            await alarm.wait()


async def test_a_moment_that_is_past_ends_the_wait(alarm: Alarm) -> None:
    alarm.set(now() - 1)

    with pytest.raises(TimeoutError):
        await alarm.wait()


async def test_it_rings_although_somebody_wakes_at_every_turn(alarm: Alarm) -> None:
    """What comes at every turn of the loop comes before its timers: a trickle must not outrun every deadline."""
    loop = asyncio.get_running_loop()
    is_over = False

    def wake() -> None:
        alarm.wake()
        if not is_over:
            loop.call_soon(wake)

    async def wait_on() -> None:
        while True:
            await alarm.wait()

    loop.call_soon(wake)
    alarm.set(now() + SOON_S)
    try:
        async with asyncio.timeout(LONG_S):
            with pytest.raises(TimeoutError):
                await wait_on()
    finally:
        is_over = True


async def test_who_is_woken_goes_on(alarm: Alarm) -> None:
    alarm.set(now() + LONG_S)
    asyncio.get_running_loop().call_soon(alarm.wake)

    async with asyncio.timeout(LONG_S / 2):
        await alarm.wait()


async def test_waking_nobody_is_not_remembered(alarm: Alarm) -> None:
    alarm.wake()
    alarm.set(now() + SOON_S)

    with pytest.raises(TimeoutError):
        await alarm.wait()


async def test_waking_twice_and_too_late_changes_nothing(loop: Loop) -> None:
    alarm = by_hand(loop)
    alarm.set(loop.now + 1)
    woken = alarm.wait()
    alarm.wake()
    alarm.wake()
    loop.pass_time(2)
    alarm.set(loop.now + 1)
    too_late = alarm.wait()
    loop.pass_time(2)
    alarm.wake()

    assert woken.exception() is None
    assert isinstance(too_late.exception(), TimeoutError)


@pytest.mark.parametrize("seconds", [1.0, LOOK_S, 3.5 * LOOK_S])
async def test_it_rings_at_the_moment_and_not_before(loop: Loop, seconds: float) -> None:
    alarm = by_hand(loop)
    alarm.set(loop.now + seconds)
    wait = alarm.wait()

    loop.pass_time(seconds - 0.01)
    assert not wait.done()
    loop.pass_time(0.01)
    assert isinstance(wait.exception(), TimeoutError)


async def test_a_timer_of_a_wait_that_is_over_does_not_disturb_the_next(loop: Loop) -> None:
    alarm = by_hand(loop)
    alarm.set(loop.now + 1)
    alarm.wait()
    alarm.wake()
    alarm.set(loop.now + LONG_S)
    wait = alarm.wait()

    loop.pass_time(LONG_S - 1)
    assert not wait.done()
    loop.pass_time(1)
    assert isinstance(wait.exception(), TimeoutError)


async def test_nothing_rings_between_two_waits(loop: Loop) -> None:
    alarm = by_hand(loop)
    alarm.set(loop.now + 1)
    alarm.wait()
    alarm.wake()
    loop.pass_time(5)
    alarm.set(loop.now + 1)
    wait = alarm.wait()
    assert not wait.done()
    loop.pass_time(1)

    assert isinstance(wait.exception(), TimeoutError)


@pytest.mark.parametrize(("first_s", "then_s"), [(1.0, LONG_S), (LONG_S, 1.0), (LONG_S, -1.0)])
async def test_a_wait_can_be_made_longer_and_shorter(loop: Loop, first_s: float, then_s: float) -> None:
    alarm = by_hand(loop)
    alarm.set(loop.now + first_s)
    wait = alarm.wait()
    alarm.set(loop.now + then_s)

    loop.pass_time(max(0, then_s - 0.01))
    assert wait.done() == (then_s < 0)
    loop.pass_time(0.01)
    assert isinstance(wait.exception(), TimeoutError)


async def test_a_dialogue_of_many_waits_has_one_timer(loop: Loop) -> None:
    alarm = by_hand(loop)
    for seconds in (LONG_S, 2 * LOOK_S, LOOK_S, LONG_S):
        alarm.set(loop.now + seconds)
        alarm.wait()
        alarm.wake()
        loop.pass_time(0.1)

    assert len(loop.timers) == 1


async def test_who_is_cancelled_is_cancelled_and_can_be_woken_without_harm(alarm: Alarm) -> None:
    began = asyncio.Event()

    async def wait() -> None:
        alarm.set(now() + LONG_S)
        began.set()
        await alarm.wait()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(wait())
        await began.wait()
        task.cancel()
        await asyncio.wait({task})
        alarm.wake()

    assert task.cancelled()


async def test_who_cancels_while_it_rings_is_heard(alarm: Alarm) -> None:
    """The alarm rings first, somebody cancels before the task has taken a step: the task is cancelled."""
    began = asyncio.Event()

    async def wait() -> None:
        alarm.set(now() + LONG_S)
        began.set()
        await alarm.wait()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(wait())
        await began.wait()
        alarm.set(now())
        alarm._ring()
        task.cancel()

    assert task.cancelled()


async def test_closed_it_holds_nothing() -> None:
    class Session:
        def __init__(self) -> None:
            self.alarm = Alarm(asyncio.get_running_loop())

    session = Session()
    session.alarm.set(now() + LONG_S)
    asyncio.get_running_loop().call_soon(session.alarm.wake)
    await session.alarm.wait()
    session.alarm.close()
    gone = weakref.ref(session)
    del session
    gc.collect()

    assert gone() is None
