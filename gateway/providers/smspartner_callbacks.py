"""What SMS Partner tells by HTTP request: receipts, replies to a short code or to a long number, STOPs.

JSON by POST is documented, form fields or a query have been seen: all three are read. A reply to a long number that has
several parts comes as several requests.
"""

import json
from urllib.parse import parse_qsl

from gateway.providers.answers import decode_exactly
from gateway.providers.base import Callback, CallbackUnreadable, Receipt, Reply, ReplyPart
from gateway.providers.masking import Record
from gateway.providers.numbers import e164
from gateway.providers.smspartner_statuses import Fields, first, read_receipt
from gateway.providers.smspartner_wire import read_count, read_instant, read_ref, tracker_of

_MOST_FIELDS = 100
_LONGEST_SHORT_CODE = 6
_LONGEST_REFERENCE = 64


def parse_callback(callback: Callback, *, record: Record) -> list[Receipt | Reply]:
    """Return what a request says; CallbackUnreadable if it says nothing that is known of this platform."""
    fields = _read_fields(callback)
    kind = fields.get("type")
    if isinstance(kind, str) and kind in {"stop", "response"}:
        return [_read_short_reply(fields, is_stop=kind == "stop", record=record)]
    if "msisdn" in fields:
        return [_read_long_reply(fields, record=record)]
    receipt = read_receipt(fields, record=record)
    if receipt is None:
        raise CallbackUnreadable("neither a receipt nor a reply: it names no status, or not of which SMS")
    return [receipt]


def _read_fields(callback: Callback) -> dict[str, object]:
    fields: dict[str, object] = dict(callback.query)
    if not callback.body.strip():
        return fields
    found = decode_exactly(callback.body)
    if isinstance(found, dict):
        return {**fields, **found}
    if found is not None or "json" in callback.content_type.lower():
        raise CallbackUnreadable("the body is not a JSON object")
    try:
        pairs = parse_qsl(callback.body.decode("ascii"), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError as error:  # UnicodeDecodeError is one too
        raise CallbackUnreadable("the body is neither JSON nor a form") from error
    return {**fields, **dict(pairs)}


def _read_short_reply(fields: Fields, *, is_stop: bool, record: Record) -> Reply:
    text = fields.get("text")
    if not isinstance(text, str) and not is_stop:
        raise CallbackUnreadable("a reply without text")
    return Reply(
        msisdn=_read_sender(first(fields, ("phone_number", "phoneNumber", "phone"))),
        text=_clean(text) if isinstance(text, str) else "",
        tracker=tracker_of(fields.get("tag")),
        provider_ref=read_ref(first(fields, ("message_id", "messageId", "msgId"))),  # of the SMS it answers
        is_stop=is_stop,
        at=read_instant(fields.get("date")),
        raw=record(_to_json(fields)),
    )


def _read_long_reply(fields: Fields, *, record: Record) -> Reply:
    text = fields.get("text")
    if not isinstance(text, str):
        raise CallbackUnreadable("a reply without text")
    return Reply(
        msisdn=_read_sender(fields["msisdn"]),
        text=_clean(text),  # with its blanks: they belong to the middle of a longer text
        to=_read_own_number(fields.get("to")),
        reference=_read_reference(fields.get("messageId")),  # of the reply itself
        part=_read_part(fields),
        at=read_instant(fields.get("message-timestamp")),
        raw=record(_to_json(fields)),
    )


def _read_sender(number: object) -> str:
    found = e164(number)
    if found is None:
        raise CallbackUnreadable("a reply from something that is no number")
    return found


def _read_own_number(number: object) -> str | None:
    text = str(number).strip() if isinstance(number, str | int) else ""
    if text.isascii() and text.isdigit() and len(text) <= _LONGEST_SHORT_CODE:
        return text
    return e164(number)


def _read_part(fields: Fields) -> ReplyPart | None:
    """Return which part this is; None for a whole reply, and for a count that makes no sense: the text counts more."""
    if str(fields.get("concat")).lower() != "true":
        return None
    reference = _read_reference(fields.get("concat-ref"))
    total, number = read_count(fields.get("concat-total")), read_count(fields.get("concat-part"))
    if reference is None or total is None or number is None or not 1 <= number <= total <= 255 or total < 2:
        return None
    return ReplyPart(reference=reference, number=number, total=total)


def _read_reference(value: object) -> str | None:
    text = _clean(str(value).strip()) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    return text[:_LONGEST_REFERENCE] or None


def _clean(text: str) -> str:
    """Return text that any database takes: no NUL, no half of a surrogate pair."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def _to_json(fields: Fields) -> str:
    return json.dumps(fields, ensure_ascii=False, default=str)
