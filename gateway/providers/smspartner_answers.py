"""SMS Partner's answers to a send: every shape they come in, and the verdict for each SMS.

An SMS is accepted only if `success` is true, `code` is 200 and there is a message id: a degraded front has been seen to
answer the first two to anything. Of errors there are four shapes; the codes within come before the one outside, which
is generic. What is said about a number is found by the number, then by its place; what is said about nobody in
particular in a call of several proves nothing about any of them.

Diagnostics: events `answer_unreadable` (error), `id_missing` (info).
"""

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

import structlog

from gateway.lifecycle import Accepted, Hold, NotSent, Refused, Uncertain, Verdict
from gateway.protocol.codes import Code
from gateway.protocol.positional_xml import Entry, read_entries
from gateway.providers.answers import decode_exactly, verdict_of_status
from gateway.providers.handling import Handling, verdict_of
from gateway.providers.masking import Record
from gateway.providers.numbers import e164
from gateway.providers.smspartner_codes import BROKEN_CONSTRAINT, CODES, ELEMENTS, SCHEDULE_CODES
from gateway.providers.smspartner_wire import (
    read_code,
    read_cost,
    read_count,
    read_currency,
    read_parts,
    read_ref,
    share,
)

_log = structlog.get_logger(__name__)

Fields = Mapping[str, object]

_ELEMENT = re.compile(r"children\[(\w{1,40})\](?!.*children\[)")
_IN_BRACKETS = re.compile(r"\(([+0-9][0-9 .,;+-]{2,4000})\)")
_MOST_FAULTS = 1000

_SEND_ORDER = ("success", "code", "message_id", "nb_sms", "cost", "currency")
_BULK_ORDER = ("success", "code", "message_id", "currency", "cost", "nbSMS", "SMSResponse_List")
_BULK_ITEM_ORDER = ("success", "code", "nbSms", "cost", "phoneNumber")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """The call that an answer is about."""

    provider: str
    numbers: Sequence[str] = field(repr=False)  # E.164; none twice
    is_bulk: bool
    is_trial: bool
    deliver_at: datetime | None  # when the platform was asked to wait
    record: Record = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """An answer, read as HTTP."""

    status: int
    body: bytes = field(repr=False)
    retry_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fault:
    """One error of an answer: what is done about it, and whom it names."""

    handling: Handling
    code: Code
    is_about_date: bool
    is_of_form: bool  # the call broke a constraint, so that nothing of it was looked at
    numbers: frozenset[str]


def read_answer(body: bytes, *, is_bulk: bool = False) -> Fields | None:
    """Return the fields of an answer of this platform; None if it is something else.

    XML is never asked for; should it come, its nameless values are known by their places.
    """
    found = decode_exactly(body)
    if not isinstance(found, dict):
        entries = read_entries(body)
        found = None if entries is None else _name_entries(entries, is_bulk=is_bulk)
    return found if found is not None and isinstance(found.get("success"), bool) else None


def read_verdicts(question: Question, said: Said) -> list[Verdict]:
    """Return a verdict for each of the numbers, in order."""
    fields = read_answer(said.body, is_bulk=question.is_bulk)
    whole = question.record(f"HTTP {said.status} {said.body.decode('utf-8', 'replace')}")
    count = len(question.numbers)
    if fields is None:
        advice = "not the carrier's own words: see its base_url, and what stands between"
        _log.error("answer_unreadable", provider=question.provider, status=said.status, count=count, advice=advice)
        return [verdict_of_status(said.status, raw=whole, retry_at=said.retry_at)] * count
    if fields["success"] is not True:
        return _read_refusal(fields, question, said, whole)
    if read_code(fields.get("code")) != 200 or said.status != 200:  # contradicts itself
        return [Uncertain(raw=whole)] * count
    ref = read_ref(fields.get("message_id"))
    if ref is None:
        if not question.is_trial:
            advice = "success without a message_id: something before the carrier may have answered; ask it"
            _log.error("answer_unreadable", provider=question.provider, status=said.status, count=count, advice=advice)
            return [Uncertain(raw=whole)] * count
        _log.info("id_missing", provider=question.provider, count=count)
    if question.is_bulk:
        return _read_items(fields, question, said, ref)
    return _read_common(fields, question, said, ref, whole)


# --- success ---------------------------------------------------------------------------------------------------------


def _read_common(fields: Fields, question: Question, said: Said, ref: str | None, whole: str) -> list[Verdict]:
    """Return the verdicts of one text to one or several: one id, one count and one cost for all of them."""
    refused = [_fault_of(number, _read_faults(fields)) for number in question.numbers]
    taken = sum(fault is None for fault in refused)
    parts = read_count(fields.get("nb_sms"))
    if taken == 0 or (parts is not None and parts < taken):  # somebody is missing, and nobody can tell who
        return [Uncertain(raw=whole)] * len(refused)
    cost, currency = read_cost(fields.get("cost")), read_currency(fields.get("currency"))
    shares = iter(share(cost, [1] * taken) if cost is not None and currency is not None else [None] * taken)
    each = None if parts is None or parts % taken else read_parts(parts // taken)
    return [
        _verdict_of_fault(fault, question, said, whole)
        if fault is not None
        else _accept(ref, raw=whole, parts=each, cost=next(shares), currency=currency)
        for fault in refused
    ]


def _read_items(fields: Fields, question: Question, said: Said, ref: str | None) -> list[Verdict]:
    """Return the verdicts of different texts: each number has its item; one without has no verdict."""
    listed = fields.get("SMSResponse_List")
    items = [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
    currency = read_currency(fields.get("currency"))
    found = assign(items, question.numbers)
    costs = _costs_of(fields, found) if currency is not None else [None] * len(found)
    verdicts: list[Verdict] = []
    for item, cost in zip(found, costs, strict=True):
        told = {"message_id": ref, "currency": currency, **item} if item is not None else {"message_id": ref}
        raw = question.record(f"HTTP {said.status} {_to_json(told)}")
        code = read_code(item.get("code")) if item is not None else None
        if item is None or code is None:
            verdicts.append(Uncertain(raw=raw))
        elif item.get("success") is True and code == 200:
            parts = read_parts(item.get("nbSms"))
            verdicts.append(_accept(ref, raw=raw, parts=parts, cost=cost, currency=currency))
        elif item.get("success") is False:
            verdicts.append(_verdict_of_fault(_fault(code, None, ""), question, said, raw))
        else:
            verdicts.append(Uncertain(raw=raw))
    return verdicts


def _costs_of(fields: Fields, items: Sequence[Fields | None]) -> list[Decimal | None]:
    """Return what each SMS cost: what its item says, else its share of the total by its parts if all are known."""
    costs = [None if item is None else read_cost(item.get("cost")) for item in items]
    total = read_cost(fields.get("cost"))
    parts = [None if item is None else read_parts(item.get("nbSms")) for item in items]
    known = [count for count in parts if count is not None]
    if total is None or any(cost is not None for cost in costs) or len(known) != len(parts):
        return costs
    return list(share(total, known))


def _accept(ref: str | None, *, raw: str, parts: int | None, cost: Decimal | None, currency: str | None) -> Accepted:
    return Accepted(raw=raw, provider_ref=ref, parts=parts, cost=cost, currency=None if cost is None else currency)


def assign(items: Sequence[Fields], numbers: Sequence[str]) -> list[Fields | None]:
    """Return for each number the item that speaks of it; None if that cannot be told.

    An item belongs to the number it names, the n-th to its n-th occurrence; one that names none belongs to the number
    in its place, if there are as many of both. Two items about one number that say different things are none.
    """
    said: defaultdict[str, list[Fields]] = defaultdict(list)
    for item in items:
        number = e164(item.get("phoneNumber"))
        if number is not None:
            said[number].append(item)
    places: defaultdict[str, list[int]] = defaultdict(list)
    for position, number in enumerate(numbers):
        places[number].append(position)
    found: list[Fields | None] = [None] * len(numbers)
    for number, positions in places.items():
        claims = said[number]
        if len(claims) > len(positions) and len({_to_json(claim.get("code")) for claim in claims}) > 1:
            continue
        for position, claim in zip(positions, claims, strict=False):
            found[position] = claim
    if len(items) == len(numbers):
        for position, item in enumerate(items):
            if item.get("phoneNumber") is None and found[position] is None:
                found[position] = item
    return found


# --- errors ----------------------------------------------------------------------------------------------------------


def _read_refusal(fields: Fields, question: Question, said: Said, whole: str) -> list[Verdict]:
    """Return the verdicts of a call that was refused as a whole, which does not mean that all its numbers were bad."""
    outer = read_code(fields.get("code"))
    faults = _read_faults(fields)
    if not faults and outer is not None:
        faults = [_fault(outer, None, fields.get("message"))]
    if not faults:
        return [verdict_of_status(said.status, raw=whole, retry_at=said.retry_at)] * len(question.numbers)
    if len(faults) == len(question.numbers) and not any(fault.numbers for fault in faults):
        return [_verdict_of_fault(fault, question, said, whole) for fault in faults]
    common = next((fault for fault in faults if fault.handling is not Handling.NUMBER), None)
    if common is None and len(question.numbers) == 1:
        common = faults[0]
    is_named = any(not fault.numbers.isdisjoint(question.numbers) for fault in faults)
    is_form = all(fault.is_of_form for fault in faults)
    verdicts: list[Verdict] = []
    for number in question.numbers:
        fault = _fault_of(number, faults) or common
        if fault is not None:
            verdicts.append(_verdict_of_fault(fault, question, said, whole))
        elif is_named and is_form:  # nothing of the call was taken, and this number is not to blame
            verdicts.append(NotSent(raw=whole, hold=Hold.SMS, code=Code.C999_ERROR))
        else:
            verdicts.append(Uncertain(raw=whole))
    return verdicts


def _read_faults(fields: Fields) -> list[_Fault]:
    """Return the errors inside an answer: a list or an object, under `errors` or `error`."""
    faults = []
    for key in ("errors", "error"):
        found = fields.get(key)
        items = found if isinstance(found, list) else [found]
        for item in items[:_MOST_FAULTS]:
            if not isinstance(item, dict):
                continue
            code, element = read_code(item.get("code")), item.get("elementId")
            if code is None and isinstance(element, str):
                faults.append(_fault_of_element(element, item.get("message")))
            elif code is not None:
                faults.append(_fault(code, item.get("phoneNumber"), item.get("message")))
    return faults


def _fault(code: int, number: object, label: object) -> _Fault:
    handling, ours = CODES.get(code, (Handling.UNKNOWN, Code.C999_ERROR))
    return _Fault(
        handling=handling,
        code=ours,
        is_about_date=code in SCHEDULE_CODES,
        is_of_form=False,
        numbers=_numbers_in(number, label),
    )


def _fault_of_element(element: str, label: object) -> _Fault:
    named = _ELEMENT.search(element[:400])
    handling, ours = ELEMENTS.get(named[1], BROKEN_CONSTRAINT) if named else BROKEN_CONSTRAINT
    return _Fault(
        handling=handling,
        code=ours,
        is_about_date=handling is Handling.RETRY,
        is_of_form=True,
        numbers=_numbers_in(None, label) if handling is Handling.NUMBER else frozenset(),
    )


def _numbers_in(number: object, label: object) -> frozenset[str]:
    """Return whom an error names: in its own field, or else in brackets in its label, which is all that some have."""
    told = [number]
    if number is None and isinstance(label, str):
        told = [piece for found in _IN_BRACKETS.findall(label[:8000]) for piece in re.split("[,;]", found)]
    return frozenset(found for found in map(e164, told) if found is not None)


def _fault_of(number: str, faults: Sequence[_Fault]) -> _Fault | None:
    return next((fault for fault in faults if number in fault.numbers), None)


def _verdict_of_fault(fault: _Fault, question: Question, said: Said, raw: str) -> Verdict:
    if fault.is_about_date:
        if question.deliver_at is None:
            return Refused(raw=raw, code=Code.C999_ERROR)
        return NotSent(raw=raw, code=fault.code, retry_at=question.deliver_at)
    return verdict_of(fault.handling, fault.code, raw=raw, retry_at=said.retry_at)


# --- the rest --------------------------------------------------------------------------------------------------------


def _name_entries(entries: Sequence[Entry], *, is_bulk: bool) -> dict[str, object]:
    """Return the nameless values of an XML answer by the names that their places have in JSON."""
    if len(entries) < 2 or entries[0] != "true":
        label = entries[2] if len(entries) > 2 else None
        named: dict[str, object] = {"code": entries[1] if len(entries) > 1 else None, "message": label}
        return {"success": False, **named} if entries and entries[0] == "false" else {}
    found: dict[str, object] = dict(zip(_BULK_ORDER if is_bulk else _SEND_ORDER, entries, strict=False))
    found["success"] = True
    listed = found.get("SMSResponse_List")
    if isinstance(listed, tuple):
        items = [dict(zip(_BULK_ITEM_ORDER, item, strict=False)) for item in listed if isinstance(item, tuple)]
        found["SMSResponse_List"] = [{**item, "success": item.get("success") == "true"} for item in items]
    return found


def _to_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
