"""The calls that hand SMS to SMS Partner, with the fields that its documents list for each, and no others.

`/vn/send` takes one SMS from a long number, now. `/send` takes one text for up to 500 numbers, `/bulk-send` a text for
each; both can wait. `_format` is always said: the other format has no names.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from gateway.providers.base import Batch, SendOptions
from gateway.providers.smspartner_settings import SmsPartnerSettings
from gateway.providers.smspartner_wire import schedule_fields, tag_of, wire_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call, ready to be made."""

    path: str
    fields: Mapping[str, object] = field(repr=False)

    @property
    def is_bulk(self) -> bool:
        """True when each number has a text, and so an item in the answer."""
        return self.path == "/bulk-send"


def long_number_call(batch: Batch, settings: SmsPartnerSettings, *, key: str, callback_url: str | None) -> Call:
    """Return the call for one SMS from the long number. There is no sender and no later date to it."""
    [message] = batch.messages
    fields: dict[str, object] = {
        "apiKey": key,
        "to": message.msisdn.removeprefix("+"),  # without plus in all samples
        "from": settings.long_number,
        "message": wire_text(message.text, ucs2=batch.options.ucs2),
        "tag": tag_of(batch.messages),
        **_callback_fields(callback_url),
        **_common_fields(batch.options, settings),
    }
    return Call(path="/vn/send", fields=fields)


def send_call(batch: Batch, settings: SmsPartnerSettings, *, key: str, callback_url: str | None, now: datetime) -> Call:
    """Return the call for SMS from a sender's name, or from a short code if there is none."""
    options = batch.options
    texts = [wire_text(message.text, ucs2=options.ucs2) for message in batch.messages]
    numbers = [message.msisdn for message in batch.messages]
    fields: dict[str, object] = {"apiKey": key}
    if len(set(texts)) == 1:
        path = "/send"
        fields |= {"phoneNumbers": ",".join(numbers), "message": texts[0]}
    else:
        path = "/bulk-send"
        pairs = zip(numbers, texts, strict=True)
        fields["SMSList"] = [{"phoneNumber": number, "message": text} for number, text in pairs]
    if options.originator is not None:
        fields["sender"] = options.originator
    fields["tag"] = tag_of(batch.messages)
    if path == "/send" or settings.bulk_callbacks:
        fields |= _callback_fields(callback_url)
    if options.deliver_at is not None:
        fields |= schedule_fields(options.deliver_at, now)
    return Call(path=path, fields={**fields, **_common_fields(options, settings)})


def _callback_fields(callback_url: str | None) -> Mapping[str, object]:
    return {} if callback_url is None else {"urlDlr": callback_url, "urlResponse": callback_url}


def _common_fields(options: SendOptions, settings: SmsPartnerSettings) -> Mapping[str, object]:
    fields: dict[str, object] = {}
    if options.commercial and not options.nostop:
        fields["isStopSms"] = 1  # of vn/send only the older page lists it, as mandatory for commercial SMS
    if options.ucs2:
        fields["isUnicode"] = 1  # has to be enabled for the account there
    if settings.sandbox:
        fields["sandbox"] = 1
    return {**fields, "_format": "json"}
