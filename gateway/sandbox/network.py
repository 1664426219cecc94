"""What happens to an SMS once a carrier has it: it arrives, or does not; somebody answers; the client is told."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial

from gateway.clock import Clock
from gateway.sandbox.account import Account
from gateway.sandbox.callbacks import Callback, Caller, Chain
from gateway.sandbox.faults import Fault, FaultName, SandboxError
from gateway.sandbox.messages import CarriedSms, MessageBox, State
from gateway.sandbox.orders import (
    CONSENTING_NUMBER,
    SILENT_NUMBER,
    STOPPING_NUMBER,
    UNDELIVERED_NUMBER,
    Api,
)
from gateway.sandbox.phones import Replies, SentReply, is_stop
from gateway.sandbox.receipts import write_receipt, write_reply
from gateway.sandbox.timetable import Timetable

_BEFORE_ANSWER_S = 30.0
_ANSWERS: Mapping[str, str] = {STOPPING_NUMBER: "STOP", CONSENTING_NUMBER: "OUI"}


class Network:
    """Carries SMS, and people's answers."""

    def __init__(
        self,
        box: MessageBox,
        replies: Replies,
        *,
        accounts: Mapping[Api, Account],
        caller: Caller,
        timetable: Timetable,
        clock: Clock,
        delay_s: float,
    ) -> None:
        self._box = box
        self._replies = replies
        self._accounts = accounts
        self._caller = caller
        self._timetable = timetable
        self._clock = clock
        self._delay = timedelta(seconds=delay_s)

    async def carry(self, messages: Sequence[CarriedSms], fault: Fault | None) -> None:
        """These SMS of one call are under way; if their receipts are to come before its answer, they have come."""
        now = self._clock.now()
        scheduled = [sms for sms in messages if sms["state"] == "scheduled"]
        for sms in scheduled:
            due_at = datetime.fromisoformat(sms["deliver_at"] or sms["time"])
            self._timetable.put(due_at, partial(self._send_off, sms, fault))
        at_once = [sms for sms in messages if sms["state"] == "waiting"]
        if not at_once:
            return
        if fault is not None and fault.fault is FaultName.RECEIPTS_BEFORE:
            await self._arrive(at_once, fault, is_waited_for=True)
        else:
            self._timetable.put(now + self._delay_of(fault), partial(self._arrive, at_once, fault))

    def send_scheduled(self) -> int:
        """What is scheduled is sent now; return how many SMS that was."""
        due = [sms for sms in self._box.list() if sms["state"] == "scheduled"]
        for sms in due:
            self._timetable.put(self._clock.now(), partial(self._send_off, sms, None))
        return len(due)

    def answer(self, number: str, text: str, to: str | None = None) -> SentReply:
        """Somebody answers the newest SMS they got, or the newest that came from `to`; the client is told.

        SandboxError if there is no such SMS. STOP also puts the number on the list of the carrier that brought it.
        """
        sms = self._find_answered(number, to)
        if sms is None:
            raise SandboxError("nothing was sent to this number, so there is nothing to answer")
        now = self._clock.now()
        api = Api(sms["api"])
        stops = is_stop(text)
        if stops:
            self._accounts[api].stops.add(number, now)
        address = sms["replies_to"] or self._caller.addresses.get(api)
        reply_id = self._replies.next_id()
        if address is not None:
            long_number = to if to is not None and to.removeprefix("+").isdecimal() and len(to) > 5 else None
            self._caller.send(
                write_reply(sms, text, now, to=address, number=long_number, is_stop=stops, reference=reply_id)
            )
        reply = SentReply(
            id=reply_id,
            api=api.value,
            number=number,
            text=text,
            to=to or sms["long_number"],
            time=now.isoformat(timespec="milliseconds"),
            answers=sms["id"],
            stop=stops,
            told=address is not None,
        )
        self._replies.add(reply)
        return reply

    async def _send_off(self, sms: CarriedSms, fault: Fault | None) -> None:
        """A scheduled SMS goes, unless it has gone or was cancelled; one that was forgotten goes all the same."""
        if self._box.is_scheduled(sms["id"]):
            self._move(sms, "waiting")
            waiting: CarriedSms = {**sms, "state": "waiting"}
            self._timetable.put(self._clock.now() + self._delay_of(fault), partial(self._arrive, [waiting], fault))

    async def _arrive(
        self, messages: Sequence[CarriedSms], fault: Fault | None, *, is_waited_for: bool = False
    ) -> None:
        """The SMS reach their telephones, or do not; receipts are on their way, and answers will be."""
        chains = []
        told: list[Callback] = []
        for sms in messages:
            state: State = "undelivered" if sms["msisdn"] == UNDELIVERED_NUMBER else "delivered"
            if sms["msisdn"] == SILENT_NUMBER:
                continue
            self._move(sms, state)
            receipts = list(self._write_receipts(sms, state, fault))
            if fault is not None and fault.fault is FaultName.RECEIPTS_OUT_OF_ORDER:
                told[:0] = receipts  # the last SMS first
            elif receipts:
                chains.append(self._caller.send(receipts))
            if sms["msisdn"] in _ANSWERS:
                self._timetable.put(self._clock.now() + self._delay, partial(self._answer_by_itself, sms))
        if told:
            chains.append(self._caller.send(told))
        if is_waited_for:
            await _wait_for(chains)

    async def _answer_by_itself(self, sms: CarriedSms) -> None:
        with suppress(SandboxError):  # the SMS were forgotten
            self.answer(sms["msisdn"], _ANSWERS[sms["msisdn"]])

    def _write_receipts(self, sms: CarriedSms, state: State, fault: Fault | None) -> Iterator[Callback]:
        api = Api(sms["api"])
        address = sms["receipts_to"] or self._caller.addresses.get(api)
        kind = None if fault is None else fault.fault
        if address is None or kind is FaultName.RECEIPTS_MISSING:
            return
        now = self._clock.now()
        cost = str(self._accounts[api].price * sms["parts"])
        receipt = write_receipt(sms, state, now, to=address, cost=cost)
        yield receipt
        if kind is FaultName.RECEIPTS_DOUBLED:
            yield receipt
        if kind is FaultName.RECEIPTS_OUT_OF_ORDER:
            yield write_receipt(sms, "waiting", now, to=address, cost=cost)

    def _find_answered(self, number: str, to: str | None) -> CarriedSms | None:
        found = None
        for sms in self._box.backwards():
            if sms["msisdn"] != number or sms["state"] in {"scheduled", "cancelled"}:
                continue
            if to is None or to in {sms["originator"], sms["long_number"]}:
                return sms
            found = found or sms
        return found

    def _move(self, sms: CarriedSms, state: State) -> None:
        self._box.move(sms["id"], state, self._clock.now().isoformat(timespec="milliseconds"))

    def _delay_of(self, fault: Fault | None) -> timedelta:
        if fault is not None and fault.fault is FaultName.RECEIPTS_LATE:
            return self._delay + timedelta(seconds=fault.delay_s)
        return self._delay


async def _wait_for(chains: Sequence[Chain]) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(_BEFORE_ANSWER_S):
            for chain in chains:
                await chain.ended.wait()
