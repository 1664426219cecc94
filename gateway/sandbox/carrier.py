"""Both carriers: what they know, and what they do with a call."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from starlette.types import ASGIApp

from gateway.clock import Clock
from gateway.sandbox import isendpro
from gateway.sandbox.account import Account
from gateway.sandbox.callbacks import Caller
from gateway.sandbox.faults import Fault, FaultName, FaultScript, Shape
from gateway.sandbox.isendpro_extras import IsendproExtras
from gateway.sandbox.messages import CarriedSms, MessageBox, State
from gateway.sandbox.network import Network
from gateway.sandbox.options import PRICES, SandboxOptions
from gateway.sandbox.orders import Answer, Api, Line, Order
from gateway.sandbox.phones import Replies
from gateway.sandbox.pulse import Pulse
from gateway.sandbox.senders import IsendproSender, Sender, SmsPartnerSender
from gateway.sandbox.server import Reset
from gateway.sandbox.smspartner import read_fields, wants_xml
from gateway.sandbox.smspartner_answers import Complained, Wrong, complain, refuse, render
from gateway.sandbox.smspartner_queries import Declined, SmsPartnerQueries
from gateway.sandbox.spoil import spoil, to_response
from gateway.sandbox.timetable import Timetable

_SHOWN_OF_KEY = 4

Sent = Mapping[str, object] | bytes
"""What came with a call: the fields of its query or form, or a body that is to be JSON."""


class Carrier:
    """What the sandbox knows, and what it does with a call."""

    def __init__(self, script: FaultScript, clock: Clock, options: SandboxOptions) -> None:
        self.pulse = Pulse()
        self.box = MessageBox(self.pulse)
        self.replies = Replies(self.pulse)
        self.script = script
        self.calls = 0
        self.stopping = asyncio.Event()
        self.accounts = {
            api: Account(price=price, euros=options.euros(api), pulse=self.pulse) for api, price in PRICES.items()
        }
        self.caller = Caller(clock, self.pulse, options.callbacks)
        self.timetable = Timetable(clock)
        self.network = Network(
            self.box,
            self.replies,
            accounts=self.accounts,
            caller=self.caller,
            timetable=self.timetable,
            clock=clock,
            delay_s=options.receipt_delay_s,
        )
        self.isendpro = IsendproExtras(self.accounts[Api.ISENDPRO], self.box, clock)
        self.smspartner = SmsPartnerQueries(self.accounts[Api.SMSPARTNER], self.box, self.caller, clock)
        self.senders: Mapping[Api, Sender] = {
            Api.ISENDPRO: IsendproSender(self.accounts[Api.ISENDPRO], self.isendpro),
            Api.SMSPARTNER: SmsPartnerSender(self.accounts[Api.SMSPARTNER]),
        }
        self._options = options
        self._clock = clock
        self._taken = 0

    async def run(self) -> None:
        """Do what is due and call the client, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.timetable.run(), name="sandbox-timetable")
            group.create_task(self.caller.run(), name="sandbox-callbacks")

    def reset(self) -> None:
        """Everything is as it was at the start, but for the addresses of callbacks; what is under way never arrives."""
        self.timetable.clear()
        self.box.unschedule()
        self.box.clear()
        self.replies.clear()
        self.caller.clear()
        self.script.clear()
        self.isendpro.clear()
        for api, account in self.accounts.items():
            account.stops.clear()
            account.purse.set(self._options.euros(api))

    # --- calls that send ---------------------------------------------------------------------------------------------

    async def take(self, api: Api, path: str, body: bytes) -> ASGIApp:
        """Do what a call that sends asks for, and return the answer: the true one, or a broken one."""
        self.calls += 1
        batch = self.calls
        sender = self.senders[api]
        fault = self.script.take(api, path, sends=True)
        receipts = self.script.take(api, path, sends=True, of_receipts=True)
        order = sender.read(path, body, self._clock.now())
        if isinstance(order, Answer):
            return to_response(order) if fault is None else await spoil(fault, order, None, self.stopping)
        is_taken = fault is None or fault.is_taken
        order = sender.settle(_overrule(order, fault, sender.credit_code), charges=is_taken)
        good = sender.answer(order, path, batch=batch)
        if is_taken:
            await self._accept(sender, order, batch, receipts)
        if fault is not None:

            def remake(shape: Shape | None, is_short: bool) -> Answer:
                return sender.answer(order, path, batch=batch, shape=shape, is_short=is_short)

            return await spoil(fault, good, remake, self.stopping)
        return Reset() if order.cuts else to_response(good)

    async def _accept(self, sender: Sender, order: Order, batch: int, fault: Fault | None) -> None:
        now = self._clock.now()
        carried = [
            self._carry(line, line.msisdn, order, batch=batch, now=now, message_id=sender.message_id(batch))
            for line in order.lines
            if line.code == 0 and line.msisdn is not None
        ]
        await self.box.add(carried)
        await self.network.carry(carried, fault)

    def _carry(
        self, line: Line, msisdn: str, order: Order, *, batch: int, now: datetime, message_id: int | None
    ) -> CarriedSms:
        self._taken += 1
        at = now.isoformat(timespec="milliseconds")
        deliver_at = order.deliver_at if order.deliver_at is not None and order.deliver_at > now else None
        state: State = "trial" if order.is_trial else "waiting" if deliver_at is None else "scheduled"
        return CarriedSms(
            id=self._taken,
            api=order.api.value,
            number=line.number,
            text=line.text,
            originator=order.originator,
            tracker=line.tracker,
            parts=line.parts,
            time=at,
            msisdn=msisdn,
            batch=batch,
            key=_mask_key(order.key),
            nostop=order.nostop,
            ucs2=order.ucs2,
            smslong=order.smslong,
            date_envoi=order.date_envoi,
            trial=order.is_trial,
            state=state,
            state_at=at,
            deliver_at=None if deliver_at is None else deliver_at.astimezone(UTC).isoformat(timespec="seconds"),
            message_id=message_id,
            long_number=order.long_number,
            receipts_to=order.receipts_to,
            replies_to=order.replies_to,
        )

    # --- other calls -------------------------------------------------------------------------------------------------

    async def tell(self, api: Api, method: str, path: str, fields: Sent) -> ASGIApp:
        """Answer a call that sends nothing, with its query or its body; faults concern it only if they name it."""
        fault = self.script.take(api, path, sends=False)
        kind = None if fault is None else fault.fault
        if fault is not None and not fault.is_taken and kind not in {FaultName.NO_CREDIT, FaultName.REFUSE}:
            return await spoil(fault, Answer(body=b"{}"), None, self.stopping)
        refused = fault.code if fault is not None and kind is FaultName.REFUSE else None
        is_gone = kind is FaultName.NO_CREDIT or self._is_credit_gone(api)
        ask = self._ask_isendpro if api is Api.ISENDPRO else self._ask_smspartner
        good = ask(method, path, fields, is_gone=is_gone, refused=refused)
        return to_response(good) if fault is None else await spoil(fault, good, None, self.stopping)

    def _ask_isendpro(self, method: str, path: str, sent: Sent, *, is_gone: bool, refused: int | None) -> Answer:
        extras = self.isendpro
        if refused is not None:
            return isendpro.answer_wrong(isendpro.Wrong(refused))
        try:
            fields = isendpro.read_fields(sent) if isinstance(sent, bytes) else sent
            if path == "/cgi-bin/credit":
                return extras.tell_credit(fields, is_gone=is_gone)
            call = extras.by_query.get((method, path)) or extras.by_body[method, path]
            return call(fields)
        except isendpro.Wrong as wrong:
            return isendpro.answer_wrong(wrong)

    def _ask_smspartner(self, method: str, path: str, sent: Sent, *, is_gone: bool, refused: int | None) -> Answer:
        queries = self.smspartner
        fields: Mapping[str, object] = {}
        try:
            fields = read_fields(sent) if isinstance(sent, bytes) else sent
            if refused is not None:
                return refuse(refused, wants_xml=wants_xml(fields))
            if path == "/v1/me":
                return queries.tell_balance(fields, is_gone=is_gone)
            call = queries.by_query.get((method, path)) or queries.by_body[method, path]
            return call(fields)
        except Wrong as wrong:
            return refuse(wrong.code, wants_xml=wants_xml(fields))
        except Complained as complained:
            return complain(complained.complaints, wants_xml=wants_xml(fields))
        except Declined as declined:
            told = {"success": False, "code": declined.code, "message": declined.message}
            return render(told, wants_xml=wants_xml(fields))

    def _is_credit_gone(self, api: Api) -> bool:
        return any(fault.fault is FaultName.NO_CREDIT and fault.api in {None, api} for fault in self.script.list())


def _overrule(order: Order, fault: Fault | None, credit_code: int) -> Order:
    """Return the order with the code that is scripted for all its SMS."""
    if fault is None or fault.fault not in {FaultName.NO_CREDIT, FaultName.REFUSE}:
        return order
    code = credit_code if fault.fault is FaultName.NO_CREDIT else fault.code
    return replace(order, lines=[replace(line, code=code) if line.code == 0 else line for line in order.lines])


def _mask_key(key: str) -> str:
    return "…" + key[-_SHOWN_OF_KEY:] if len(key) > 2 * _SHOWN_OF_KEY else "…"
