"""What the sandbox took: the SMS that a real carrier would now be sending."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Literal, TypedDict, final

from gateway.sandbox.pulse import Pulse

MOST_MESSAGES = 100_000
"""Beyond this the oldest are forgotten."""

State = Literal["scheduled", "waiting", "delivered", "undelivered", "cancelled", "trial"]
"""`scheduled`: not sent yet. `waiting`: sent, its fate not known. `trial`: never sent."""


@final
class CarriedSms(TypedDict):
    """One accepted SMS, as `GET /sandbox/messages` lists it."""

    id: int  # the sandbox's own, from 1
    api: str  # isendpro, smspartner
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
    state: State
    state_at: str  # since when, ISO 8601, UTC
    deliver_at: str | None  # for when it is scheduled, ISO 8601, UTC
    message_id: int | None  # what the client was told, where the carrier tells anything
    long_number: str | None  # from which it goes
    receipts_to: str | None  # addresses given with the call itself
    replies_to: str | None


class MessageBox:
    """The accepted SMS, oldest first."""

    def __init__(self, pulse: Pulse | None = None) -> None:
        self._messages: OrderedDict[int, CarriedSms] = OrderedDict()
        self._calls: dict[int, list[int]] = {}  # message_id: ids
        self._scheduled: set[int] = set()  # also of those that were forgotten: they go all the same
        self._changed = asyncio.Condition()
        self._pulse = Pulse() if pulse is None else pulse

    async def add(self, messages: Iterable[CarriedSms]) -> None:
        """Keep these, and wake whoever waits for them."""
        async with self._changed:
            for message in messages:
                self._messages[message["id"]] = message
                if message["state"] == "scheduled":
                    self._scheduled.add(message["id"])
                if message["message_id"] is not None:
                    self._calls.setdefault(message["message_id"], []).append(message["id"])
            while len(self._messages) > MOST_MESSAGES:
                _, oldest = self._messages.popitem(last=False)
                if oldest["message_id"] is not None:
                    self._calls.pop(oldest["message_id"], None)
            self._changed.notify_all()
        self._pulse.beat()

    def move(self, sms_id: int, state: State, at: str) -> None:
        """The SMS is in this state now; one that was forgotten stays so."""
        self._scheduled.discard(sms_id)  # no state leads back there
        message = self._messages.get(sms_id)
        if message is not None:
            self._messages[sms_id] = {**message, "state": state, "state_at": at}
            self._pulse.beat()

    def is_scheduled(self, sms_id: int) -> bool:
        """Tell whether this SMS is still to be sent, forgotten or not."""
        return sms_id in self._scheduled

    def of_call(self, message_id: int) -> Sequence[CarriedSms]:
        """Return the SMS of one call, by what its client was told; nothing if there is no such call."""
        found = (self._messages.get(sms_id) for sms_id in self._calls.get(message_id, ()))
        return [message for message in found if message is not None]

    def list(self) -> Sequence[CarriedSms]:
        """Return all that are kept."""
        return tuple(self._messages.values())

    def backwards(self) -> Iterator[CarriedSms]:
        """Yield all, newest first. Nothing may be added meanwhile."""
        return iter(reversed(self._messages.values()))

    def newest(self, count: int) -> Sequence[CarriedSms]:
        """Return the last ones, newest first."""
        return [*islice(self.backwards(), count)]

    def clear(self) -> None:
        """Forget all."""
        self._messages.clear()
        self._calls.clear()
        self._pulse.beat()

    def unschedule(self) -> None:
        """Nothing is to be sent any more."""
        self._scheduled.clear()

    def __len__(self) -> int:
        return len(self._messages)

    async def wait_for(self, count: int) -> None:
        """Return when there are at least `count`. The caller sets the deadline."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._messages) >= count)
