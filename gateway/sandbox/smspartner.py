"""SMS Partner's side of `/send`, `/bulk-send` and `/vn/send`: what is checked, and how it answers.

Not documented, and decided here: a number that gets nothing among others that do is told under `errors`, and the call
is a success; when none is left the call is refused, for the reason of the only number or with code 55.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from gateway.sandbox.account import Purse, StopList
from gateway.sandbox.callbacks import is_address
from gateway.sandbox.faults import Shape
from gateway.sandbox.orders import MOST_NUMBERS, Answer, Api, Line, Order, reserved_code
from gateway.sandbox.receipts import PARIS, write_local
from gateway.sandbox.smspartner_answers import (
    OF_NUMBERS,
    Complained,
    Complaint,
    Wrong,
    explain_numbers,
    label_of,
    refuse,
    refuse_credit,
    refuse_numbers,
    render,
)
from gateway.sandbox.smspartner_text import count_sms, to_phone
from gateway.text.msisdn import Msisdn, parse_number

MOST_PARTS = 10
_LANDLINE = re.compile(r"\+33[1-589]\d{8}")
_SENDER = re.compile(r"[A-Za-z0-9 ._-]{3,11}")
_TAG = re.compile(r"[^\sA-Z]{1,20}")
_DATE = re.compile(r"(\d{2})/(\d{2})/(\d{4})", re.ASCII)
_LONG_NUMBER = re.compile(r"\d{8,15}", re.ASCII)
_NUMBER_INVALID = "Ce numero de telephone n'est pas valide (12)"
_MESSAGE_MISSING = "Le message est requis"


def read_fields(body: bytes) -> Mapping[str, object]:
    """Return the fields of a POST; Wrong if they are none."""
    try:
        found = json.loads(body)
        json.dumps(found, ensure_ascii=False).encode("utf-8")  # half a surrogate pair is no text
    except (ValueError, RecursionError):
        raise Wrong(90) from None
    if not isinstance(found, dict):
        raise Wrong(90)
    return found


def read_key(fields: Mapping[str, object]) -> str:
    """Return the key, which may be any."""
    key = fields.get("apiKey")
    if not isinstance(key, str) or not key.strip():
        raise Wrong(1)
    return key.strip()


def wants_xml(fields: Mapping[str, object]) -> bool:
    """Tell whether `_format` says so; everything else is JSON."""
    return str(fields.get("_format", "")).lower() == "xml"


def read_number(number: object) -> str | None:
    """Return the number as E.164: national, or international with or without plus."""
    if isinstance(number, bool) or not isinstance(number, str | int):
        return None
    text = str(number).strip()
    found = parse_number(text if text[:1] in {"0", "+"} else f"+{text}")
    return found.e164 if isinstance(found, Msisdn) else None


# --- reading ---------------------------------------------------------------------------------------------------------


def read_send(fields: Mapping[str, object], now: datetime) -> Order:
    """Return what `/send` asks for: one text, 1 to 500 numbers separated by commas."""
    key = read_key(fields)
    numbers = fields.get("phoneNumbers")
    if not isinstance(numbers, str | int) or isinstance(numbers, bool) or not str(numbers).strip():
        raise Wrong(2)
    split = [number.strip() for number in str(numbers).split(",") if number.strip()]
    pairs = [(number, fields.get("message")) for number in split]
    if not pairs:
        raise Wrong(2)
    return _read(fields, key, pairs, now, number_field="phoneNumbers", are_alike=True)


def read_bulk(fields: Mapping[str, object], now: datetime) -> Order:
    """Return what `/bulk-send` asks for: 1 to 500 pairs of number and text."""
    key = read_key(fields)
    items = fields.get("SMSList")
    if not isinstance(items, list) or not items or not all(isinstance(item, dict) for item in items):
        raise Wrong(5 if items in ([], None) else 6)
    pairs = [(item.get("phoneNumber"), item.get("message")) for item in items]
    return _read(fields, key, pairs, now, number_field="phoneNumber")


def read_long(fields: Mapping[str, object], now: datetime) -> Order:
    """Return what `/vn/send` asks for: one number, one text, at once, from a long number."""
    key = read_key(fields)
    come_from = fields.get("from")
    if isinstance(come_from, bool) or not _LONG_NUMBER.fullmatch(str(come_from)):
        raise Complained([Complaint(field="from", message=_NUMBER_INVALID)])
    options = {name: value for name, value in fields.items() if name not in {"sender", "scheduledDeliveryDate"}}
    order = _read(options, key, [(fields.get("to"), fields.get("message"))], now, number_field="to")
    return replace(order, originator=f"+{come_from}", long_number=str(come_from))


def _read(
    fields: Mapping[str, object],
    key: str,
    pairs: Sequence[tuple[object, object]],
    now: datetime,
    *,
    number_field: str,
    are_alike: bool = False,
) -> Order:
    if len(pairs) > MOST_NUMBERS:
        raise Wrong(50)
    _check_form(fields, pairs, number_field)
    is_unicode = _is_on(fields.get("isUnicode"))
    tag = fields.get("tag")
    lines: list[Line] = []
    seen: set[str] = set()
    for number, message in pairs:
        msisdn = read_number(number)
        parts = count_sms(str(message), is_unicode=is_unicode)
        if parts > MOST_PARTS:
            raise Wrong(52)
        if parts > 1 and str(fields.get("gamme")) == "2":
            raise Wrong(42)
        code = _judge_number(msisdn or "", is_again=are_alike and msisdn in seen)
        seen.add(msisdn or "")
        text = to_phone(str(message), is_unicode=is_unicode)
        lines.append(
            Line(
                number=str(number),
                msisdn=msisdn,
                text=text,
                tracker=tag if isinstance(tag, str) else None,
                parts=parts,
                code=code,
            )
        )
    sender = fields.get("sender")
    return Order(
        api=Api.SMSPARTNER,
        key=key,
        originator=sender if isinstance(sender, str) and sender else None,
        lines=lines,
        deliver_at=_read_date(fields, now),
        nostop=not _is_on(fields.get("isStopSms")),
        ucs2=is_unicode,
        is_trial=_is_on(fields.get("sandbox")),
        receipts_to=_read_address(fields, "urlDlr"),
        replies_to=_read_address(fields, "urlResponse"),
        wants_xml=wants_xml(fields),
    )


def _check_form(fields: Mapping[str, object], pairs: Sequence[tuple[object, object]], number_field: str) -> None:
    complaints = []
    if not all(isinstance(message, str) and message.strip() for _, message in pairs):
        complaints.append(Complaint(field="message", message=_MESSAGE_MISSING))
    if not all(_is_written_number(number) for number, _ in pairs):
        complaints.append(Complaint(field=number_field, message=_NUMBER_INVALID))
    sender, tag = fields.get("sender"), fields.get("tag")
    if not _is_absent(sender) and not (isinstance(sender, str) and _SENDER.fullmatch(sender)):
        complaints.append(Complaint(field="sender", message="L'émetteur est invalide"))
    if not _is_absent(tag) and not (isinstance(tag, str) and _TAG.fullmatch(tag)):
        complaints.append(Complaint(field="tag", message="Le tag n'est pas valide"))
    if complaints:
        raise Complained(complaints)


def _is_written_number(number: object) -> bool:
    """True for what may be a number; a service's short one (1595) may, and is refused as no mobile."""
    return read_number(number) is not None or (
        isinstance(number, str) and re.fullmatch(r"[1-9]\d{2,5}", number) is not None
    )


def _judge_number(msisdn: str, *, is_again: bool) -> int:
    reserved = reserved_code(msisdn)
    if reserved is not None:
        return reserved
    if not msisdn or _LANDLINE.fullmatch(msisdn):
        return 9
    return 15 if is_again else 0


def _read_date(fields: Mapping[str, object], now: datetime) -> datetime | None:
    """Return when to send; None: at once. Times are Paris's; they are to be a multiple of five minutes."""
    date, hour, minute = (fields.get(name) for name in ("scheduledDeliveryDate", "time", "minute"))
    if _is_absent(date):
        if _is_absent(hour) and _is_absent(minute):
            return None
        raise Wrong(45)
    found = _DATE.fullmatch(str(date))
    if found is None:
        raise Wrong(49)
    if _is_absent(hour):
        raise Wrong(46)
    minutes = _read_integer(minute, 47)
    if not 0 <= minutes <= 55 or minutes % 5:
        raise Wrong(48)
    hours = _read_integer(hour, 46)
    if not 0 <= hours <= 24:
        raise Wrong(46)
    try:
        day = datetime(int(found[3]), int(found[2]), int(found[1]), tzinfo=PARIS)
        deliver_at = (day + timedelta(hours=hours, minutes=minutes)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Wrong(49) from None
    if deliver_at < now:
        raise Wrong(49)
    return deliver_at


def _read_integer(value: object, code: int) -> int:
    if isinstance(value, bool) or not re.fullmatch(r"\d{1,2}", str(value), re.ASCII):
        raise Wrong(code)
    return int(str(value))


def _read_address(fields: Mapping[str, object], name: str) -> str | None:
    value = fields.get(name)
    if _is_absent(value):
        return None
    if not isinstance(value, str) or len(value) > 2000 or not is_address(value):
        raise Complained([Complaint(field=name, message="Cette valeur n'est pas une URL valide.")])
    return value


def _is_on(value: object) -> bool:
    return str(value) == "1"


def _is_absent(value: object) -> bool:
    return value is None or value == ""


# --- answering -------------------------------------------------------------------------------------------------------


def settle(order: Order, *, stops: StopList, purse: Purse | None, price: Decimal) -> Order:
    """Return the order with the numbers on the STOP list (14); all with 11 if the credit is not enough for them.

    What is left is paid for; with no `purse`, nothing is.
    """
    lines = [replace(line, code=14) if line.code == 0 and line.msisdn in stops else line for line in order.lines]
    cost = price * sum(line.parts for line in lines if line.code == 0)
    if purse is not None and not order.is_trial and not purse.spend(cost):
        lines = [replace(line, code=11) if line.code == 0 else line for line in lines]
    return replace(order, lines=lines)


def answer_order(
    order: Order,
    *,
    path: str,
    message_id: int,
    price: Decimal,
    left: Decimal,
    shape: Shape | None = None,
    is_short: bool = False,
) -> Answer:
    """Return the answer about these SMS; `is_short`: the last of them is left out."""
    taken = [line for line in order.lines if line.code == 0]
    refused = [(line.msisdn or line.number, line.code) for line in order.lines if line.code]
    if not taken:
        return _refuse(refused, left=left, price=price, order=order)
    counted = taken[:-1] if is_short else taken
    parts = sum(line.parts for line in counted)
    cost = _to_number(price * parts)
    wants_strings = shape is Shape.STRING_CODES
    success: dict[str, object] = {"success": True, "code": "200" if wants_strings else 200}
    success["message_id"] = str(message_id) if wants_strings else message_id
    if path.endswith("/bulk-send"):
        success |= {"currency": "EUR", "cost": cost, "nbSMS": parts}
        listed = order.lines[:-1] if is_short else order.lines
        success["SMSResponse_List"] = [_bulk_item(line, price, wants_strings=wants_strings) for line in listed]
    else:
        success |= {"nb_sms": parts, "cost": cost, "currency": "EUR"}
        if refused:
            success["errors"] = explain_numbers(refused)
    if order.deliver_at is not None:
        success["scheduledDeliveryDate"] = write_local(order.deliver_at)
    return render(success, wants_xml=order.wants_xml)


def _refuse(refused: Sequence[tuple[str, int]], *, left: Decimal, price: Decimal, order: Order) -> Answer:
    codes = {code for _, code in refused}
    if 11 in codes:
        return refuse_credit(left, price, wants_xml=order.wants_xml)
    if codes <= OF_NUMBERS or len(codes) > 1:
        return refuse_numbers(refused, wants_xml=order.wants_xml)
    return refuse(refused[0][1], wants_xml=order.wants_xml, number=refused[0][0])


def _bulk_item(line: Line, price: Decimal, *, wants_strings: bool) -> Mapping[str, object]:
    number = line.msisdn or line.number
    code = line.code or 200
    told = str(code) if wants_strings else code
    if line.code:
        return {"success": False, "code": told, "message": label_of(line.code, number), "phoneNumber": number}
    cost = _to_number(price * line.parts)
    return {"success": True, "code": told, "nbSms": line.parts, "cost": cost, "phoneNumber": number}


def _to_number(amount: Decimal) -> float | int:
    return float(amount) if amount % 1 else int(amount)
