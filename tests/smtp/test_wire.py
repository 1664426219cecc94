"""Cutting bytes into lines and mails, wherever the network cut them first."""

import asyncio
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.smtp.alarm import Alarm
from gateway.smtp.wire import (
    CUT_BYTES,
    LINES_AT_ONCE,
    MAX_AHEAD_BYTES,
    MAX_UNENDED_BYTES,
    ByteBudget,
    Flooded,
    HungUp,
    NoMail,
    Wire,
)
from tests.smtp.house import DEADLINE_S, until

TEXT = st.lists(st.sampled_from([b"\r\n", b".", b"..", b"\r", b"\n", b"a", b"mail"]), max_size=20).map(b"".join)


class Transport(asyncio.ReadTransport):
    """Remembers whether it is read."""

    def __init__(self) -> None:
        super().__init__()
        self.is_paused = False
        self.changes = 0

    def pause_reading(self) -> None:
        self.is_paused = True
        self.changes += 1

    def resume_reading(self) -> None:
        self.is_paused = False
        self.changes += 1


def wire_of(*pieces: bytes, eof: bool = True, transport: Transport | None = None) -> Wire:
    """Return a wire that gets these pieces one after the other, each in its own turn of the loop, while it is read."""
    loop, source = asyncio.get_running_loop(), transport or Transport()
    alarm = Alarm(loop)
    alarm.set(loop.time() + DEADLINE_S)
    wire = Wire(alarm)
    wire.attach(source)

    def feed(rest: Sequence[bytes]) -> None:
        if source.is_paused:
            loop.call_soon(feed, rest)
        elif rest:
            wire.feed(rest[0])
            loop.call_soon(feed, rest[1:])
        elif eof:
            wire.end()

    loop.call_soon(feed, [piece for piece in pieces if piece])
    return wire


def take_all(_size: int) -> bool:
    return True


async def test_line_ends_are_removed() -> None:
    wire = wire_of(b"EHLO a\r\nMAIL\nNOOP\r\r\n\r\n")

    assert [await wire.read_line() for _ in range(4)] == [b"EHLO a", b"MAIL", b"NOOP\r", b""]
    with pytest.raises(HungUp):
        await wire.read_line()


async def test_unended_line_is_a_hang_up() -> None:
    wire = wire_of(b"QUI")

    with pytest.raises(HungUp):
        await wire.read_line()


async def test_line_without_end_is_a_flood() -> None:
    wire = wire_of(*[b"A" * 16_384] * 8, eof=False)

    with pytest.raises(Flooded):
        await wire.read_line()
    assert len(wire._ahead) <= MAX_UNENDED_BYTES + 65_536


@pytest.mark.parametrize("piece", [1_000, 65_536, 200_000])
async def test_longest_line_is_the_same_wherever_the_network_cuts_it(piece: int) -> None:
    longest = b"A" * MAX_UNENDED_BYTES
    stream = longest + b"\nA" + longest + b"\n"
    wire = wire_of(*[stream[at : at + piece] for at in range(0, len(stream), piece)])

    assert await wire.read_line() == longest
    with pytest.raises(Flooded):
        await wire.read_line()


@given(
    stream=st.lists(st.sampled_from([b"\r\n", b"\n", b"\r", b"\r\r\n", b"NOOP", b"x"]), max_size=30).map(b"".join),
    cuts=st.lists(st.integers(0, 60), max_size=8),
)
def test_lines_are_the_same_wherever_the_network_cuts_them(stream: bytes, cuts: list[int]) -> None:
    bounds = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]

    async def read() -> list[bytes]:
        wire, lines = wire_of(*[stream[start:end] for start, end in pairwise(bounds)]), []
        try:
            while True:
                lines.append(await wire.read_line())
        except HungUp:
            return lines

    expected = [line.removesuffix(b"\r") for line in stream.split(b"\n")[:-1]]

    assert asyncio.run(read()) == expected


async def test_what_came_before_a_hang_up_is_still_read() -> None:
    wire = wire_of(b"MAIL\r\nDA")
    await wire.hear()
    wire.end()

    assert await wire.read_line() == b"MAIL"
    with pytest.raises(HungUp):
        await wire.read_line()


async def test_hang_up_wakes_whoever_reads() -> None:
    wire = wire_of(eof=False)
    asyncio.get_running_loop().call_soon(wire.end)

    with pytest.raises(HungUp):
        await wire.read_line()


async def test_lines_that_are_there_are_taken_without_a_turn_of_the_loop() -> None:
    wire = wire_of(b"NOOP\r\n" * LINES_AT_ONCE)
    await wire.hear()
    turns = count_turns()
    lines = [await wire.read_line() for _ in range(LINES_AT_ONCE)]

    assert lines == [b"NOOP"] * LINES_AT_ONCE
    assert not turns


async def test_after_so_many_lines_it_is_the_turn_of_others() -> None:
    wire = wire_of(b"NOOP\r\n" * (3 * LINES_AT_ONCE + 1))
    await wire.hear()
    turns = count_turns()
    for _ in range(3 * LINES_AT_ONCE + 1):
        await wire.read_line()

    assert len(turns) == 3


def count_turns() -> list[None]:
    """Return a list that gets longer by one with each turn of the loop."""
    turns: list[None] = []

    def count() -> None:
        turns.append(None)
        asyncio.get_running_loop().call_soon(count)

    asyncio.get_running_loop().call_soon(count)
    return turns


async def test_client_that_sends_faster_than_it_is_read_is_made_to_wait() -> None:
    transport = Transport()
    line, piece = b"x" * 1_022 + b"\r\n", 16_384
    wire = wire_of(*[line * (piece // len(line))] * 32, transport=transport)
    most = lines = 0
    try:
        while await wire.read_line():
            lines, most = lines + 1, max(most, len(wire._ahead))
            if not lines % 64:  # busy with something else, until the client has to wait
                await until(lambda: transport.is_paused or wire._has_ended)
    except HungUp:
        pass

    assert lines == 32 * piece // len(line)
    assert MAX_AHEAD_BYTES - piece < most <= MAX_AHEAD_BYTES + piece
    assert transport.changes >= 2
    assert not transport.is_paused


async def test_at_the_bound_nobody_waits_and_one_octet_beyond_it_the_client_does() -> None:
    transport = Transport()
    wire = wire_of(eof=False, transport=transport)
    wire.feed((b"x" * (MAX_AHEAD_BYTES // 2 - 1) + b"\n") * 2)
    assert not transport.is_paused
    wire.feed(b"y")
    assert transport.is_paused
    wire.feed(b"y")
    assert transport.changes == 1
    await wire.read_line()
    await wire.read_line()
    asyncio.get_running_loop().call_soon(wire.feed, b"\r\n")

    assert await wire.read_line() == b"yy"
    assert not transport.is_paused


async def test_large_mail_passes_through_the_bound() -> None:
    content = b"x" * 998 + b"\r\n"
    transport = Transport()
    wire = wire_of(b"DATA\r\n", content * 200, content * 200 + b".\r\n", transport=transport)
    assert await wire.read_line() == b"DATA"
    await until(lambda: transport.is_paused)

    assert await wire.read_mail(1_000_000, take_all) == content * 400


async def test_what_came_before_there_was_a_transport_is_bounded_too() -> None:
    transport = Transport()
    wire = Wire(Alarm(asyncio.get_running_loop()))
    wire.feed(b"x" * (MAX_AHEAD_BYTES + 1))
    wire.attach(transport)

    assert transport.is_paused


@given(
    lines=st.lists(st.binary(max_size=8).filter(lambda line: b"\n" not in line and b"\r" not in line), max_size=8),
    cuts=st.lists(st.integers(0, 100), max_size=6),
    behind=st.sampled_from([b"", b"QUIT\r\n", b"\r\n.\r\n"]),
)
def test_mail_is_the_same_wherever_the_network_cuts_it(lines: list[bytes], cuts: list[int], behind: bytes) -> None:
    stuffed = b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in lines)
    stream = stuffed + b".\r\n" + behind
    bounds = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    pieces = [stream[start:end] for start, end in pairwise(bounds)]

    async def read() -> tuple[bytes | NoMail, bytes]:
        wire = wire_of(*pieces)
        mail = await wire.read_mail(1_000, take_all)
        rest = b""
        try:
            while True:
                rest += await wire.read_line() + b"\r\n"
        except HungUp:
            return mail, rest

    assert asyncio.run(read()) == (stuffed, behind)


@given(text=TEXT)
def test_only_a_lone_dot_between_crlf_ends_a_mail(text: bytes) -> None:
    stream = b"x" + text + b"\r\n.\r\n"

    async def read() -> bytes | NoMail:
        return await wire_of(stream).read_mail(1_000, take_all)

    expected = stream[: stream.index(b"\r\n.\r\n") + 2]

    assert asyncio.run(read()) == expected


@pytest.mark.parametrize("extra", [0, 1])
@pytest.mark.parametrize("piece", [1, 7, 65_536])
async def test_limit_is_exact(piece: int, extra: int) -> None:
    content = b"x" * (98 + extra) + b"\r\n"
    stream = content + b".\r\nQUIT\r\n"
    wire = wire_of(*[stream[at : at + piece] for at in range(0, len(stream), piece)])

    mail = await wire.read_mail(100, take_all)

    assert mail == (NoMail.TOO_BIG if extra else content)
    assert await wire.read_line() == b"QUIT"


async def test_endless_mail_is_cut_soon_behind_the_limit() -> None:
    taken = 0

    def take(size: int) -> bool:
        nonlocal taken
        taken += size
        return True

    wire = wire_of(*[b"x" * 8_192] * 100, eof=False)

    assert await wire.read_mail(100_000, take) is NoMail.ENDLESS
    assert taken <= 100_000 + 2 * 8_192  # what is dropped takes no room


async def test_mail_without_room_is_read_to_its_end() -> None:
    wire = wire_of(b"x" * 50, b"y" * 50 + b"\r\n.\r\nQUIT\r\n")

    assert await wire.read_mail(1_000, lambda _size: False) is NoMail.NO_ROOM
    assert await wire.read_line() == b"QUIT"


async def test_mail_without_end_is_a_hang_up() -> None:
    wire = wire_of(b"x\r\n.", b"\r")

    with pytest.raises(HungUp):
        await wire.read_mail(1_000, take_all)


async def test_discard_is_bounded() -> None:
    wire = wire_of(*[b"x" * 1_000] * 20, eof=False)

    async with asyncio.timeout(5):
        await wire.discard(CUT_BYTES // 8)


def test_budget_is_given_back_once() -> None:
    budget = ByteBudget(100)
    share = budget.share()

    assert share.take(60)
    assert not share.take(41)
    held = share.hand_over()
    share.give_back()
    assert budget.used == 60
    held.give_back()
    held.give_back()
    assert budget.used == 0
    assert budget.has_room_for(100)
    assert not budget.has_room_for(101)
