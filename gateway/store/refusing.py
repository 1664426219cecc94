"""SMS that the store refuses while it stores an order, because of what only it knows. Pure."""

from collections.abc import Collection
from dataclasses import replace

from gateway.lifecycle import SmsId, SmsState
from gateway.protocol.codes import Code
from gateway.protocol.report import SmsAnswer
from gateway.store.base import NewSms, Order

OPTED_OUT = "the number is on the STOP list"

_REASONS = {
    Code.C11_NUMBER_BLACKLISTED: OPTED_OUT,
    Code.C12_NO_CREDIT: "the account's credit is not enough",
}
CODES = (*_REASONS, Code.C29_OVERFLOW)
"""What only the store refuses SMS with."""


def refuse(
    order: Order,
    opted_out: Collection[SmsId],
    unpaid: Collection[SmsId],
    held_back: Collection[tuple[SmsId, str]] = (),
) -> Order:
    """The order with these SMS refused, and with its Not when none is left to wait for.

    docs/protocol.md §5.6 for the first, §10.3 for the second, §10.5 for the last, which come with the reason.
    """
    if order.envoi is None or not (opted_out or unpaid or held_back):
        return order
    codes = dict.fromkeys(unpaid, Code.C12_NO_CREDIT) | dict.fromkeys(opted_out, Code.C11_NUMBER_BLACKLISTED)
    causes = {sms_id: (code, _REASONS[code]) for sms_id, code in codes.items()}
    causes |= {sms_id: (Code.C29_OVERFLOW, reason) for sms_id, reason in held_back}
    sms = tuple(_refused(one, *causes[one.id]) if one.id in causes else one for one in order.envoi.sms)
    refused = replace(order, envoi=replace(order.envoi, sms=sms))
    if order.early_not is None or not all(one.state.is_answered for one in sms):
        return refused
    in_order = sorted(sms, key=lambda one: one.position)
    answers = tuple(SmsAnswer(tel=one.tel, code=Code.C999_ERROR if one.code is None else one.code) for one in in_order)
    return replace(refused, reports=(*order.reports, order.early_not(answers)))


def _refused(sms: NewSms, code: Code, reason: str) -> NewSms:
    return replace(sms, state=SmsState.REFUSED, code=code, reason=reason, due_at=None, expires_at=None)
