"""Turns: who comes next, and that no turn is lost."""

import asyncio
from collections.abc import Sequence

import pytest

from gateway.turns import PATIENCE, Turns


async def settle() -> None:
    """Let everybody take the steps that can be taken."""
    for _ in range(5):
        await asyncio.sleep(0)


class Line:
    """A line before one counter; who has had a turn is noted."""

    def __init__(self, width: int = 1) -> None:
        self.turns = Turns(width)
        self.served: list[str] = []
        self.inside = 0
        self.most_inside = 0

    async def visit(self, name: str, rank: int) -> None:
        async with self.turns.turn(rank):
            self.inside += 1
            self.most_inside = max(self.inside, self.most_inside)
            self.served.append(name)
            await asyncio.sleep(0)
            self.inside -= 1


async def served(names: Sequence[str], width: int = 1) -> list[str]:
    """Return the order in which visitors who came in this order are served; the first digit is their rank."""
    line = Line(width)
    async with asyncio.TaskGroup() as group:
        for name in names:
            group.create_task(line.visit(name, int(name[0])))

    assert line.most_inside == min(width, len(names))
    return line.served


@pytest.mark.parametrize("width", [1, 3])
async def test_equals_are_served_in_the_order_they_came(width: int) -> None:
    names = [f"1{letter}" for letter in "abcdefgh"]

    assert await served(names, width) == names


async def test_the_lower_rank_comes_first() -> None:
    assert await served(["2a", "2b", "1a", "0a", "0b"]) == ["2a", "0a", "0b", "1a", "2b"]


async def test_who_has_waited_longest_has_every_fifth_turn() -> None:
    order = await served(["2-", "2a", "2b", *(f"0{number}" for number in range(12))])

    assert [index for index, name in enumerate(order) if name[0] == "2"] == [0, 1 + PATIENCE, 2 + 2 * PATIENCE]


async def test_whoever_waits_alone_in_front_is_not_owed_anything() -> None:
    order = await served(["2-", *(f"2{letter}" for letter in "abcdefgh"), "00"])

    assert order[1] == "00"


async def test_who_leaves_the_line_or_is_called_too_late_keeps_no_turn() -> None:
    line, go_on = Line(), asyncio.Event()

    async def hold() -> None:
        async with line.turns.turn(1):
            await go_on.wait()

    async with asyncio.TaskGroup() as group:
        group.create_task(hold())
        await settle()
        leaving, called, staying = (group.create_task(line.visit(name, 1)) for name in ("leaving", "called", "staying"))
        await settle()
        leaving.cancel()
        await settle()
        assert line.turns.waiting == 2
        go_on.set()
        while line.turns.waiting == 2:  # noqa: ASYNC110 the very step in which it is called
            await asyncio.sleep(0)
        called.cancel()
        await staying

    assert line.served == ["staying"]
    async with asyncio.timeout(1):
        await line.visit("another", 1)


async def test_a_turn_that_ends_while_the_next_is_being_cancelled_is_free() -> None:
    line, go_on = Line(), asyncio.Event()

    async def hold(then: "asyncio.Task[None]") -> None:
        async with line.turns.turn(1):
            await go_on.wait()
            then.cancel()

    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(line.visit("waiting", 1), name="waiting")
        waiting_first = group.create_task(hold(waiting))
        await settle()
        go_on.set()
        await waiting_first

    async with asyncio.timeout(1):
        await line.visit("another", 1)
    assert "another" in line.served
