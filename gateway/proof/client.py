"""The client side of a mail, which says where it is: so the gateway can be killed while it waits for the next line."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import Enum, unique

from gateway.proof.orders import RECIPIENT, Order

_DEADLINE_S = 30.0
_MOST_REPLY_LINES = 20


@unique
class Moment(Enum):
    """What the client has just seen, or done."""

    GREETED = "greeted"
    SENDER_TAKEN = "sender-taken"
    RECIPIENT_TAKEN = "recipient-taken"
    HALF_SENT = "half-sent"  # half of the mail; the dot is still to come
    ANSWERED = "answered"  # the answer to the dot has been read


async def _go_on(_: Moment) -> None:
    """Do nothing at any moment."""


async def submit(address: tuple[str, int], order: Order, *, at: Callable[[Moment], Awaitable[None]] = _go_on) -> str:
    """Send the mail; return the reply to its dot, the first refusal before it, or "" when the dialogue broke.

    `at` is awaited at every moment, before the client goes on.
    """
    with suppress(OSError, EOFError, ValueError):
        async with asyncio.timeout(_DEADLINE_S):
            reader, writer = await asyncio.open_connection(*address)
            try:
                return await _converse(reader, writer, order, at)
            finally:
                writer.close()
    return ""


async def _converse(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    order: Order,
    at: Callable[[Moment], Awaitable[None]],
) -> str:
    async def ask(line: str) -> str:
        await say(f"{line}\r\n".encode("ascii"))
        return await _read_reply(reader)

    async def say(content: bytes) -> None:
        writer.write(content)
        await writer.drain()

    reply = await _read_reply(reader)
    await at(Moment.GREETED)
    for command, moment in (
        ("EHLO client.example", None),
        (f"MAIL FROM:<{order.sender}>", Moment.SENDER_TAKEN),
        (f"RCPT TO:<{RECIPIENT}>", Moment.RECIPIENT_TAKEN),
        ("DATA", None),
    ):
        if not reply.startswith("2"):
            return reply
        reply = await ask(command)
        if moment is not None:
            await at(moment)
    if not reply.startswith("3"):
        return reply
    middle = len(order.mail) // 2
    await say(order.mail[:middle])
    await at(Moment.HALF_SENT)
    reply = await ask(order.mail[middle:].decode("ascii") + ".")
    await at(Moment.ANSWERED)
    writer.write(b"QUIT\r\n")
    return reply


async def _read_reply(reader: asyncio.StreamReader) -> str:
    """Return the last line of a reply. Raises EOFError when the connection ends before it does."""
    for _ in range(_MOST_REPLY_LINES):
        line = (await reader.readuntil(b"\n")).decode("latin-1").rstrip("\r\n")
        if line[3:4] != "-":
            return line
    raise ValueError
