"""The queue for a child: who gives up, when, and what becomes of the seat meanwhile."""

import asyncio

import pytest

from gateway.reader.seats import QueueFull, Seat, Seats

PATIENCE_S = 0.2


def make_seats(count: int = 1) -> tuple[Seats, list[Seat]]:
    """Return seats of which none is free, and who holds them."""
    seats = Seats(count, max_waiting=3, patience_s=PATIENCE_S)
    return seats, [seat for _ in range(count) if (seat := seats.take_free(is_large=False))]


async def give_up(seats: Seats) -> float:
    """Wait in vain; return for how long."""
    loop = asyncio.get_running_loop()
    began_at = loop.time()
    with pytest.raises(TimeoutError):
        await seats.wait_for_one(is_large=False)
    return loop.time() - began_at


async def test_everybody_has_the_same_patience_whenever_he_came() -> None:
    seats, [seat] = make_seats()
    loop, later = asyncio.get_running_loop(), asyncio.Event()
    loop.call_later(PATIENCE_S / 2, later.set)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(give_up(seats)) for _ in range(2)]
        await later.wait()
        tasks.append(group.create_task(give_up(seats)))
    seats.give_back(seat)

    assert all(task.result() > 0.9 * PATIENCE_S for task in tasks)
    assert seats.take_free(is_large=False) is seat


async def test_who_gave_up_makes_room_in_the_queue() -> None:
    seats, _ = make_seats()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(seats.wait_for_one(is_large=False)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(QueueFull):
            await seats.wait_for_one(is_large=False)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

        await give_up(seats)


async def test_a_seat_goes_past_who_was_broken_off() -> None:
    seats, [seat] = make_seats()
    async with asyncio.TaskGroup() as group:
        first, second = (group.create_task(seats.wait_for_one(is_large=False)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        seats.give_back(seat)

    assert second.result() is seat
    assert seats.take_free(is_large=False) is None


async def test_a_seat_that_was_given_in_the_moment_of_breaking_off_is_not_lost() -> None:
    seats, [seat] = make_seats()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(seats.wait_for_one(is_large=False))
        await asyncio.sleep(0)
        seats.give_back(seat)
        task.cancel()

    assert seats.take_free(is_large=False) is seat


async def test_a_large_mail_lets_small_ones_past_to_a_seat_it_cannot_use() -> None:
    seats, held = make_seats(2)
    small_only = next(seat for seat in held if not seat.takes_large)
    async with asyncio.TaskGroup() as group:
        large = group.create_task(seats.wait_for_one(is_large=True))
        small = group.create_task(seats.wait_for_one(is_large=False))
        await asyncio.sleep(0)
        seats.give_back(small_only)
        assert await small is small_only
        assert not large.done()
        seats.give_back(next(seat for seat in held if seat.takes_large))

    assert large.result().takes_large
