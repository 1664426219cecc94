"""The bytes of one client, cut into command lines and mails; every buffer bounded.

The event loop feeds a wire, one task reads it. What has come already is taken without a turn of the loop.

Diagnostics: `HungUp` when the client is gone, `Flooded` when a line has no end.
"""

import asyncio
from collections.abc import Callable
from enum import Enum, unique

from gateway.errors import GatewayError
from gateway.smtp.alarm import Alarm

MAX_AHEAD_BYTES = 131_072
"""Beyond that a client that sends faster than it is read is made to wait."""

MAX_UNENDED_BYTES = 65_536
"""A command line that has not ended by then never will. Less than the above, or its reader would wait for ever."""

LINES_AT_ONCE = 10
"""One client's thousand commands must not keep the others waiting."""

CUT_BYTES = 65_536
"""How far beyond its size limit a mail is listened to, for its end, before the connection is cut."""

END_OF_DATA = b"\r\n.\r\n"
"""The only one. `\\n.\\n`, `\\r.\\r` and their mixtures are content, and then refused as such."""


class HungUp(GatewayError):
    """The client closed its side, or the connection broke."""

    temporary = True


class Flooded(GatewayError):
    """The client sends a command line without end."""


@unique
class NoMail(Enum):
    """Why there is no mail although DATA was read."""

    TOO_BIG = "too_big"  # its end was seen
    NO_ROOM = "no_room"  # its end was seen
    ENDLESS = "endless"  # far too big and still coming: cut


class Wire:
    """What one client sends: fed by the event loop, read by the task that waits by `alarm`, which limits every wait.

    Never holds more than a mail of `limit` octets, and `MAX_AHEAD_BYTES` with what comes in one go.
    """

    def __init__(self, alarm: Alarm) -> None:
        self._alarm = alarm
        self._ahead = bytearray()  # has come and is not read yet
        self._lines_at_once = 0
        self._transport: asyncio.ReadTransport | None = None
        self._is_held = False  # the client is made to wait
        self._has_ended = False

    # --- what the event loop brings ---------------------------------------------------------------------------------

    def attach(self, transport: asyncio.ReadTransport) -> None:
        """It is this one that is held when too much has come."""
        self._transport = transport
        self.feed(b"")  # what came before may be too much

    def feed(self, octets: bytes) -> None:
        """These octets have come."""
        self._ahead += octets
        if len(self._ahead) > MAX_AHEAD_BYTES and self._transport is not None and not self._is_held:
            self._is_held = True
            self._transport.pause_reading()
        self._alarm.wake()

    def end(self) -> None:
        """Nothing more will come."""
        self._has_ended = True
        self._alarm.wake()

    # --- what the session takes -------------------------------------------------------------------------------------

    async def read_line(self) -> bytes:
        """Return the next command line without its end, which is CRLF or a bare LF (harmless in commands)."""
        if self._lines_at_once == LINES_AT_ONCE:
            self._lines_at_once = 0
            await asyncio.sleep(0)
        searched = 0
        while (end := self._ahead.find(b"\n", searched, MAX_UNENDED_BYTES + 1)) < 0:
            searched = len(self._ahead)
            if searched > MAX_UNENDED_BYTES:
                raise Flooded
            await self._more()
        self._lines_at_once += 1
        line = bytes(self._ahead[:end])
        del self._ahead[: end + 1]
        return line.removesuffix(b"\r")

    async def read_mail(self, limit: int, take: Callable[[int], bool]) -> bytes | NoMail:
        """Return the mail as it stands on the wire, up to the lone dot, which is consumed.

        `take` is told of the octets of every chunk and answers whether there is room for them. Once the mail is above
        `limit`, or there is no room, it is read to its end but not kept.
        """
        kept = bytearray(b"\r\n")  # the line end of DATA itself: an empty mail is a lone dot behind it
        dropped = 0
        fault: NoMail | None = None
        while True:
            if not self._ahead:
                await self._more()
            if fault is None and not take(len(self._ahead)):
                fault = NoMail.NO_ROOM
            search_from = max(0, len(kept) - len(END_OF_DATA) + 1)
            kept += self._ahead
            self._ahead.clear()
            end = kept.find(END_OF_DATA, search_from)
            size = dropped + (end if end >= 0 else len(kept) - 4)  # the last two may belong to the end of data
            if fault is None and size > limit:
                fault = NoMail.TOO_BIG
            if end >= 0:
                self._ahead += kept[end + len(END_OF_DATA) :]
                return fault or bytes(memoryview(kept)[2 : end + 2])
            if size > limit + CUT_BYTES:
                return NoMail.ENDLESS
            if fault is not None:
                surplus = max(0, len(kept) - len(END_OF_DATA) + 1)  # what is left may begin the end of data
                dropped += surplus
                del kept[:surplus]

    async def hear(self) -> None:
        """Something has come; it is kept."""
        if not self._ahead:
            await self._more()

    def has_more(self) -> bool:
        """Tell whether something has come that was not read yet."""
        return bool(self._ahead)

    async def discard(self, limit: int) -> None:
        """What the client still sends is thrown away, until it hangs up or `limit` octets have come."""
        while (limit := limit - len(self._ahead)) > 0:
            self._ahead.clear()
            await self._more()

    async def _more(self) -> None:
        """More has come than there was. Raises HungUp, and TimeoutError when the alarm rings."""
        self._lines_at_once = 0
        if self._is_held and self._transport is not None:
            self._is_held = False
            self._transport.resume_reading()
        before = len(self._ahead)
        while len(self._ahead) == before:
            if self._has_ended:
                raise HungUp
            await self._alarm.wait()


class ByteBudget:
    """Counts the bytes of all mails that are being received or stored, over all sessions."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.used = 0

    def has_room_for(self, size: int) -> bool:
        """Tell whether a mail of `size` octets fits at the moment; nothing is reserved."""
        return self.used + max(size, 1) <= self.total

    def share(self) -> "Share":
        """Return an empty share of the budget, for one mail."""
        return Share(self)


class Share:
    """What one mail has taken of the budget."""

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self._taken = 0

    def take(self, size: int) -> bool:
        """Take `size` more octets, if there are as many left; tell whether they were taken."""
        if not self._budget.has_room_for(size):
            return False
        self._budget.used += size
        self._taken += size
        return True

    def hand_over(self) -> "Share":
        """Return a share that holds what this one held; this one holds nothing any more."""
        other = Share(self._budget)
        other._taken, self._taken = self._taken, 0
        return other

    def give_back(self) -> None:
        """Everything taken is free again. May be called twice."""
        self._budget.used -= self._taken
        self._taken = 0
