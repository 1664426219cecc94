"""What a reader is, and the one that reads in the caller's own process: for commands, tests and measures."""

import asyncio
from typing import Protocol

from gateway.errors import GatewayError
from gateway.protocol.reading import Limits, Mode, Unreadable
from gateway.reader.mail import MailRead, read_mail

LARGE_BYTES = 65_536
"""A mail above this takes more than a millisecond or two to read, perhaps much more."""


class NotRead(GatewayError):
    """The mail could not be read, through no fault of its sender that is proven: the client is to come back.

    The message is for the operator; `sentence` is what the client is told.
    """

    temporary = True

    def __init__(self, cause: str, *, sentence: str) -> None:
        super().__init__(cause)
        self.sentence = sentence


TOO_SLOW = "Reading the mail takes too long at the moment, try again later"


class Reader(Protocol):
    """Reads mails, any number at the same time."""

    async def read(self, content: bytes, mode: Mode, *, name: str) -> MailRead | Unreadable:
        """Return what the mail says; `name` is what a copy of it would be called. Raises NotRead."""


class InlineReader:
    """Reads where it is called; a large mail in a thread, waited for until the deadline."""

    def __init__(self, limits: Limits, *, deadline_s: float = 20.0) -> None:
        self._limits = limits
        self._deadline_s = deadline_s

    async def read(self, content: bytes, mode: Mode, *, name: str) -> MailRead | Unreadable:
        if len(content) <= LARGE_BYTES:
            return read_mail(content, mode, self._limits)
        try:
            async with asyncio.timeout(self._deadline_s):
                return await asyncio.to_thread(read_mail, content, mode, self._limits)
        except TimeoutError as error:
            raise NotRead("not read within its deadline", sentence=TOO_SLOW) from error
