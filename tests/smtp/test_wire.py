"""Cutting bytes into lines and mails, wherever the network cut them first."""

import asyncio
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.smtp.wire import CUT_BYTES, MAX_UNENDED_BYTES, ByteBudget, Flooded, HungUp, NoMail, Wire

TEXT = st.lists(st.sampled_from([b"\r\n", b".", b"..", b"\r", b"\n", b"a", b"mail"]), max_size=20).map(b"".join)


def wire_of(*pieces: bytes, eof: bool = True) -> Wire:
    """Return a wire that gets these pieces one after the other, each in its own turn of the loop."""
    reader = asyncio.StreamReader()

    def feed(rest: Sequence[bytes]) -> None:
        if rest:
            reader.feed_data(rest[0])
            asyncio.get_running_loop().call_soon(feed, rest[1:])
        elif eof:
            reader.feed_eof()

    asyncio.get_running_loop().call_soon(feed, [piece for piece in pieces if piece])
    return Wire(reader)


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
