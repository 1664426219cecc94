"""The calls that send, one class for each carrier: read, judge, answer."""

from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Protocol

from gateway.sandbox import isendpro, smspartner
from gateway.sandbox.account import Account
from gateway.sandbox.faults import Shape
from gateway.sandbox.isendpro_extras import IsendproExtras
from gateway.sandbox.orders import Answer, Api, Order
from gateway.sandbox.smspartner_answers import Complained, Wrong, complain, refuse

FIRST_MESSAGE_ID = 5_510_000


class Sender(Protocol):
    """A carrier's way to take SMS."""

    api: Api
    credit_code: int  # of an SMS that the credit is not enough for

    def read(self, path: str, body: bytes, now: datetime) -> Order | Answer:
        """Return what is asked for; an answer if it is wrong as a whole."""

    def settle(self, order: Order, *, charges: bool) -> Order:
        """Return it with the codes of numbers that get nothing; what is left is paid for, if it is to be."""

    def message_id(self, batch: int) -> int | None:
        """Return the carrier's own name for a call, if it tells one."""

    def answer(
        self, order: Order, path: str, *, batch: int, shape: Shape | None = None, is_short: bool = False
    ) -> Answer:
        """Return the answer; in another shape, or without the last SMS."""


class IsendproSender:
    """iSendPro: a code for each number, and no id."""

    api = Api.ISENDPRO
    credit_code = 12

    def __init__(self, account: Account, extras: IsendproExtras) -> None:
        self._account = account
        self._extras = extras

    def read(self, path: str, body: bytes, now: datetime) -> Order | Answer:
        try:
            fields = isendpro.read_fields(body)
            is_multi = path.endswith("/smsmulti")
            return isendpro.read_order(fields, is_multi=is_multi, directories=self._extras.directories)
        except isendpro.Wrong as wrong:
            return isendpro.answer_wrong(wrong)

    def settle(self, order: Order, *, charges: bool) -> Order:
        purse = self._extras.purse_of(order.key) if charges else None
        return isendpro.settle(order, stops=self._account.stops, purse=purse, price=self._account.price)

    def message_id(self, batch: int) -> int | None:
        return None

    def answer(
        self,
        order: Order,
        path: str,
        *,
        batch: int,
        shape: Shape | None = None,
        is_short: bool = False,
    ) -> Answer:
        return isendpro.answer_lines(order.lines[:-1] if is_short else order.lines, shape)


class SmsPartnerSender:
    """SMS Partner: one id for a call, and all or nothing where the credit is concerned."""

    api = Api.SMSPARTNER
    credit_code = 11

    def __init__(self, account: Account) -> None:
        self._account = account

    def read(self, path: str, body: bytes, now: datetime) -> Order | Answer:
        fields: Mapping[str, object] = {}
        try:
            fields = smspartner.read_fields(body)
            return _READERS[path](fields, now)
        except Wrong as wrong:
            return refuse(wrong.code, wants_xml=smspartner.wants_xml(fields))
        except Complained as complained:
            key = "error" if path.endswith("/bulk-send") else "errors"
            return complain(complained.complaints, wants_xml=smspartner.wants_xml(fields), key=key)

    def settle(self, order: Order, *, charges: bool) -> Order:
        purse = self._account.purse if charges else None
        return smspartner.settle(order, stops=self._account.stops, purse=purse, price=self._account.price)

    def message_id(self, batch: int) -> int | None:
        return FIRST_MESSAGE_ID + batch

    def answer(
        self, order: Order, path: str, *, batch: int, shape: Shape | None = None, is_short: bool = False
    ) -> Answer:
        return smspartner.answer_order(
            order,
            path=path,
            message_id=FIRST_MESSAGE_ID + batch,
            price=self._account.price,
            left=self._account.purse.left,
            shape=shape,
            is_short=is_short,
        )


_READERS: Mapping[str, Callable[[Mapping[str, object], datetime], Order]] = MappingProxyType(
    {
        "/v1/send": smspartner.read_send,
        "/v1/bulk-send": smspartner.read_bulk,
        "/v1/vn/send": smspartner.read_long,
    }
)
