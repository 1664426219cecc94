"""What a carrier says later, as requests to the client.

SMS Partner's are documented. Of iSendPro's it is known that they are GET requests with `tel`, `statut` (0: delivered)
and the tracker; the names `tracker`, `date` and `message`, the form of the date and every other `statut` are a guess.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from zoneinfo import ZoneInfo

from gateway.sandbox.callbacks import Callback
from gateway.sandbox.messages import CarriedSms
from gateway.sandbox.orders import Api
from gateway.text.gsm import split_parts

PARIS = ZoneInfo("Europe/Paris")
"""Where both carriers are: their times without a zone are this one's."""

ISENDPRO_DELIVERED = "0"
ISENDPRO_UNDELIVERED = "21"
"""Of the documented codes the one that says why an SMS does not arrive. No other word is published."""

_PARTNER_WORDS: Mapping[str, str] = {"delivered": "delivered", "undelivered": "not delivered", "waiting": "waiting"}


def write_local(at: datetime) -> str:
    """Return the instant as both carriers write it: `YYYY-MM-DD HH:MM:SS`, in Paris."""
    return at.astimezone(PARIS).strftime("%Y-%m-%d %H:%M:%S")


def write_receipt(sms: CarriedSms, state: str, at: datetime, *, to: str, cost: str) -> Callback:
    """Return the request that tells what became of this SMS: delivered, undelivered or waiting."""
    if sms["api"] == Api.ISENDPRO.value:
        words = {"delivered": ISENDPRO_DELIVERED, "undelivered": ISENDPRO_UNDELIVERED, "waiting": "1"}
        query = {"tel": sms["number"], "statut": words[state]}
        if sms["tracker"] is not None:
            query["tracker"] = sms["tracker"]
        return Callback(api=Api.ISENDPRO, kind="receipt", url=to, query={**query, "date": write_local(at)})
    fields = {
        "status": _PARTNER_WORDS[state],
        "msgId": str(sms["message_id"]),
        "date": int(at.timestamp()),
        "phone": sms["msisdn"],
        "cost": cost,
        "currency": "EUR",
        "tag": sms["tracker"] or "",
    }
    return Callback(api=Api.SMSPARTNER, kind="receipt", url=to, fields=fields)


def write_reply(
    sms: CarriedSms, text: str, at: datetime, *, to: str, number: str | None, is_stop: bool, reference: int
) -> Iterator[Callback]:
    """Yield the requests that bring what somebody answered; several for a long text to a long number.

    `number` is what was written to, if that is another than the SMS came from; `reference` is of this reply alone.
    """
    if sms["api"] == Api.ISENDPRO.value:
        query = {"tel": sms["number"], "message": text, "date": write_local(at)}
        if sms["tracker"] is not None:
            query["tracker"] = sms["tracker"]
        yield Callback(api=Api.ISENDPRO, kind="reply", url=to, query=query)
        return
    long_number = number or sms["long_number"]
    if long_number is None:
        fields = {
            "type": "stop" if is_stop else "response",
            "phone_number": sms["msisdn"],
            "text": text,
            "message_id": sms["message_id"],
        }
        yield Callback(api=Api.SMSPARTNER, kind="reply", url=to, fields=fields)
        return
    parts = split_parts(text, ucs2=True)
    for position, part in enumerate(parts, start=1):
        fields = {
            "msisdn": sms["msisdn"].removeprefix("+"),
            "to": long_number.removeprefix("+"),
            "messageId": f"{reference:08x}-0000-4000-8000-{position:012x}",
            "text": part,
            "type": "text",
            "keyword": (text.split() or [""])[0].upper(),
            "message-timestamp": write_local(at),
        }
        if len(parts) > 1:
            concat = {"concat": "true", "concat-ref": str(reference % 256)}
            fields |= {**concat, "concat-total": str(len(parts)), "concat-part": str(position)}
        yield Callback(api=Api.SMSPARTNER, kind="reply", url=to, fields=fields)
