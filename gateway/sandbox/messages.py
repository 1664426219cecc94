"""What the sandbox took: the SMS that a real carrier would now be sending."""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from typing import TypedDict

MOST_MESSAGES = 100_000
"""Beyond this the oldest are forgotten."""


class CarriedSms(TypedDict):
    """One accepted SMS, as `GET /sandbox/messages` lists it."""

    number: str  # as it came
    text: str
    originator: str | None
    tracker: str | None
    parts: int
    time: str  # ISO 8601, UTC
    msisdn: str  # E.164
    batch: int  # the how-manieth call brought it, from 1
    key: str  # masked
    nostop: bool
    ucs2: bool
    smslong: int | None
    date_envoi: str | None
    trial: bool  # came with `sandbox`: a real carrier would not send it


class MessageBox:
    """The accepted SMS, oldest first."""

    def __init__(self) -> None:
        self._messages: deque[CarriedSms] = deque(maxlen=MOST_MESSAGES)
        self._changed = asyncio.Condition()

    async def add(self, messages: Iterable[CarriedSms]) -> None:
        """Keep these, and wake whoever waits for them."""
        async with self._changed:
            self._messages.extend(messages)
            self._changed.notify_all()

    def list(self) -> Sequence[CarriedSms]:
        """Return all that are kept."""
        return tuple(self._messages)

    def newest(self, count: int) -> Sequence[CarriedSms]:
        """Return the last ones, newest first."""
        return [message for message, _ in zip(reversed(self._messages), range(count), strict=False)]

    def clear(self) -> None:
        """Forget all."""
        self._messages.clear()

    def __len__(self) -> int:
        return len(self._messages)

    async def wait_for(self, count: int) -> None:
        """Return when there are at least `count`. The caller sets the deadline."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._messages) >= count)
