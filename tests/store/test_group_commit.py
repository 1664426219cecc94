"""Group commit alone, with a writer that does what it is told: who leads, who waits, who gives up."""

import asyncio
from collections.abc import Callable, Sequence

import pytest

from gateway.protocol.codes import AckCode
from gateway.store.base import Order, Stored
from gateway.store.errors import StoreError, StoreUnavailable
from gateway.store.group_commit import GROUP, GroupCommit, Result
from tests.store.samples import new_mail, new_order


class Writer:
    """Counts the groups; before each commit it waits for its turn and for the word to go on."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.turn = asyncio.Event()
        self.commit = asyncio.Event()
        self.began = asyncio.Event()
        self.gathered = asyncio.Event()
        self.is_full = False
        self.bad: set[str] = set()
        self.last_thing: Callable[[], object] = lambda: None
        self.turn.set()
        self.commit.set()

    async def __call__(self, gather: Callable[[], Sequence[Order]]) -> Sequence[Result]:
        self.began.set()
        await self.turn.wait()
        orders = gather()
        self.groups.append([order.mail.id for order in orders])
        self.gathered.set()
        await self.commit.wait()
        if self.is_full:
            raise StoreUnavailable("full", is_full=True)
        self.last_thing()
        return [
            StoreError("bad") if order.mail.id in self.bad else Stored(mail_id=order.mail.id, ack_code=AckCode.A2_NO_ID)
            for order in orders
        ]


class Run:
    """Callers and what they got, by their order."""

    def __init__(self, group: asyncio.TaskGroup, writer: Writer) -> None:
        self.group = group
        self.commit = GroupCommit(writer)
        self.results: dict[str, object] = {}

    def start(self) -> tuple[str, asyncio.Task[None]]:
        order = new_order()
        return order.mail.id, self.group.create_task(self._admit(order))

    async def _admit(self, order: Order) -> None:
        try:
            self.results[order.mail.id] = await self.commit.admit(order)
        except StoreError as error:
            self.results[order.mail.id] = error


def stored(mail_id: str) -> object:
    return Stored(mail_id=mail_id, ack_code=AckCode.A2_NO_ID)  # type: ignore[arg-type]


async def test_who_comes_during_a_commit_shares_the_next() -> None:
    writer = Writer()
    writer.commit.clear()
    async with asyncio.TaskGroup() as group:
        run = Run(group, writer)
        first, _ = run.start()
        await writer.gathered.wait()
        rest = [run.start()[0] for _ in range(5)]
        await asyncio.sleep(0)
        writer.commit.set()

    assert writer.groups == [[first], rest]
    assert run.results == {each: stored(each) for each in [first, *rest]}


async def test_who_comes_before_the_turn_shares_it() -> None:
    writer = Writer()
    writer.turn.clear()
    async with asyncio.TaskGroup() as group:
        run = Run(group, writer)
        everybody = [run.start()[0] for _ in range(5)]
        await writer.began.wait()
        writer.turn.set()

    assert writer.groups == [everybody]


async def test_a_group_has_a_bound() -> None:
    writer = Writer()
    writer.turn.clear()
    async with asyncio.TaskGroup() as group:
        run = Run(group, writer)
        everybody = [run.start()[0] for _ in range(2 * GROUP + 1)]
        await writer.began.wait()
        writer.turn.set()

    assert [len(each) for each in writer.groups] == [GROUP, GROUP, 1]
    assert set(run.results) == set(everybody)


async def test_a_group_has_a_bound_in_bytes() -> None:
    writer = Writer()
    writer.turn.clear()
    async with asyncio.TaskGroup() as group:
        commit = GroupCommit(writer)
        for _ in range(3):
            group.create_task(commit.admit(new_order(mail=new_mail(body=b"x" * (9 * 1024 * 1024)))))
        await writer.began.wait()
        writer.turn.set()

    assert [len(each) for each in writer.groups] == [2, 1]


async def together(run: Run, writer: Writer, number: int) -> list[str]:
    """So many are stored in one group; their names."""
    writer.turn.clear()
    begun = [run.start() for _ in range(number)]
    await writer.began.wait()
    writer.turn.set()
    await asyncio.wait([task for _, task in begun])
    writer.began.clear()
    return [name for name, _ in begun]


async def test_who_came_together_is_waited_for() -> None:
    writer = Writer()
    async with asyncio.TaskGroup() as group:
        run = Run(group, writer)
        before = await together(run, writer, 3)
        after = []
        for _ in range(3):
            assert not writer.began.is_set()
            after.append(run.start()[0])
            await asyncio.sleep(0)
        await writer.began.wait()

    assert writer.groups == [before, after]


async def test_who_does_not_come_again_is_not_waited_for_long_nor_twice() -> None:
    writer = Writer()
    async with asyncio.TaskGroup() as group:
        run = Run(group, writer)
        await together(run, writer, 3)
        _, alone = run.start()
        await alone
        writer.began.clear()
        run.start()
        await asyncio.sleep(0)

        assert writer.began.is_set()

    assert [len(each) for each in writer.groups] == [3, 1, 1]


async def test_a_leader_cancelled_while_it_waits_for_company_is_replaced() -> None:
    writer = Writer()
    async with asyncio.TaskGroup() as group:
        run = Run(group, writer)
        before = await together(run, writer, 3)
        _, leader = run.start()
        await asyncio.sleep(0)
        leader.cancel()
        await asyncio.wait([leader])
        rest = [run.start()[0] for _ in range(3)]

    assert leader.cancelled()
    assert writer.groups == [before, rest]


async def test_a_leader_cancelled_before_its_turn_is_replaced() -> None:
    writer = Writer()
    writer.turn.clear()
    async with asyncio.TaskGroup() as group:
        run = Run(group, writer)
        _, leader = run.start()
        rest = [run.start()[0] for _ in range(3)]
        await writer.began.wait()
        leader.cancel()
        await asyncio.wait([leader])
        writer.turn.set()

    assert leader.cancelled()
    assert writer.groups == [rest]
    assert run.results == {each: stored(each) for each in rest}


async def test_a_leader_cancelled_in_the_middle_takes_nobody_with_it() -> None:
    writer = Writer()
    writer.turn.clear()
    writer.commit.clear()
    async with asyncio.TaskGroup() as group:
        run = Run(group, writer)
        first, leader = run.start()
        rest = [run.start()[0] for _ in range(3)]
        await writer.began.wait()
        writer.turn.set()
        await writer.gathered.wait()
        leader.cancel()
        await asyncio.wait([leader])
        writer.commit.set()

    assert writer.groups == [[first, *rest], rest]
    assert run.results == {each: stored(each) for each in rest}


async def test_a_follower_that_gives_up_is_not_stored() -> None:
    writer = Writer()
    writer.turn.clear()
    async with asyncio.TaskGroup() as group:
        run = Run(group, writer)
        first, _ = run.start()
        _, gone = run.start()
        last, _ = run.start()
        await writer.began.wait()
        gone.cancel()
        writer.turn.set()  # before the cancelled task has run

    assert writer.groups == [[first, last]]
    assert set(run.results) == {first, last}


async def test_a_follower_cancelled_while_its_group_commits_harms_nobody() -> None:
    writer = Writer()
    writer.turn.clear()
    writer.commit.clear()
    async with asyncio.TaskGroup() as group:
        run = Run(group, writer)
        first, _ = run.start()
        _, gone = run.start()
        last, _ = run.start()
        await writer.began.wait()
        writer.turn.set()
        await writer.gathered.wait()
        gone.cancel()
        await asyncio.wait([gone])
        writer.commit.set()

    assert set(run.results) == {first, last}


async def test_a_lead_given_to_somebody_cancelled_is_passed_on() -> None:
    writer = Writer()
    writer.commit.clear()
    async with asyncio.TaskGroup() as group:
        run = Run(group, writer)
        first, _ = run.start()
        await writer.gathered.wait()
        _, next_leader = run.start()
        last, _ = run.start()
        await asyncio.sleep(0)
        # runs after the next leader is called, and before it hears it
        writer.last_thing = lambda: asyncio.get_running_loop().call_soon(next_leader.cancel)
        writer.commit.set()

    assert writer.groups == [[first], [last]]
    assert set(run.results) == {first, last}


async def test_a_bad_order_has_its_own_result() -> None:
    writer = Writer()
    writer.turn.clear()
    async with asyncio.TaskGroup() as group:
        run = Run(group, writer)
        first, bad, last = (run.start()[0] for _ in range(3))
        writer.bad.add(bad)
        await writer.began.wait()
        writer.turn.set()

    assert (run.results[first], run.results[last]) == (stored(first), stored(last))
    assert isinstance(run.results[bad], StoreError)


async def test_a_failed_transaction_fails_its_group_and_no_other() -> None:
    writer = Writer()
    writer.is_full = True
    writer.commit.clear()
    async with asyncio.TaskGroup() as group:
        run = Run(group, writer)
        first, _ = run.start()
        await writer.gathered.wait()
        second, _ = run.start()
        third, _ = run.start()
        await asyncio.sleep(0)
        writer.commit.set()

    assert writer.groups == [[first], [second, third]]
    failures = list(run.results.values())
    assert [isinstance(each, StoreUnavailable) and each.is_full for each in failures] == [True] * 3
    assert len({id(each) for each in failures}) == 3


async def test_a_leader_that_never_got_its_turn_fails_alone() -> None:
    gathered: list[int] = []

    async def write(gather: Callable[[], Sequence[Order]]) -> Sequence[Result]:
        if not gathered:
            gathered.append(0)
            raise StoreUnavailable("locked")
        gathered.append(len(gather()))
        return [Stored(mail_id=order.mail.id, ack_code=AckCode.A2_NO_ID) for order in [kept]]

    kept = new_order()
    commit = GroupCommit(write)
    with pytest.raises(StoreUnavailable):
        await commit.admit(new_order())

    assert await commit.admit(kept) == stored(kept.mail.id)
    assert gathered == [0, 1]
