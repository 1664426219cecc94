"""What SMS Partner can be asked besides taking SMS: what became of them, the balance, its STOP list; and to cancel.

Nothing here sends anything. A question that is not answered, or not in the platform's own words, is `Untold`.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import Enum, unique
from types import MappingProxyType

from gateway.providers.base import Balance, Inquiry, Receipt, Untold
from gateway.providers.masking import Record
from gateway.providers.numbers import e164
from gateway.providers.smspartner_answers import Fields, read_answer
from gateway.providers.smspartner_statuses import first, read_receipt
from gateway.providers.smspartner_wire import read_amount, read_code, read_count, read_currency, read_ref
from gateway.providers.transport import Answer, Broken, NeverLeft, Transport

LOOK_UP_SIZE = 100
"""SMS in one question. The platform takes 500, but those without a message id are asked for one by one."""

_AT_A_TIME = 2  # questions, so that connections are left for sending
_MOST_PAGES = 50
_REASON_LIMIT = 200

_DONE = frozenset({200})
_ADDED = frozenset({200, 3})  # 3: it is on the list already
_KNOWN_OR_NOT = frozenset({200, 4})  # 4: there is no such thing


@unique
class Cancellation(Enum):
    """What became of the wish to stop a scheduled call."""

    DONE = "done"  # none of its SMS will be sent; also when it was cancelled before
    TOO_LATE = "too late"  # sent, or less than five minutes before it
    UNKNOWN_SMS = "unknown"  # there is no such message id


_CANCELLATIONS: Mapping[int, Cancellation] = MappingProxyType(
    {
        200: Cancellation.DONE,
        4: Cancellation.UNKNOWN_SMS,
        5: Cancellation.DONE,
        6: Cancellation.TOO_LATE,
        7: Cancellation.TOO_LATE,
    }
)


class Questions:
    """Asks the platform, with one key."""

    def __init__(self, transport: Transport, *, key: str, record: Record, timeout_s: float) -> None:
        self._transport = transport
        self._key = key
        self._record = record
        self._timeout_s = timeout_s

    async def balance(self) -> Balance | Untold:
        """Return what is left."""
        found = await self._get("/me", {})
        if isinstance(found, Untold):
            return found
        credits_left = found.get("credits")
        if not isinstance(credits_left, dict):
            return Untold(reason="the answer names no credits")
        amount = read_amount(first(credits_left, ("balance", "solde")))
        sms = read_count(credits_left.get("creditSms"))
        if amount is None and sms is None:
            return Untold(reason="the answer names no balance")
        return Balance(amount=amount, currency=read_currency(credits_left.get("currency")), sms=sms)

    async def cancel(self, provider_ref: str) -> Cancellation | Untold:
        """Stop what was scheduled under this message id: all SMS of the call that it names."""
        found = await self._get("/message-cancel", {"messageId": provider_ref}, frozenset(_CANCELLATIONS))
        return found if isinstance(found, Untold) else _CANCELLATIONS[read_code(found["code"]) or 0]

    # --- the STOP list ---

    async def add_optout(self, msisdn: str) -> Untold | None:
        """The number is on the list."""
        found = await self._post("/stop-sms/add", {"phoneNumber": msisdn}, _ADDED)
        return found if isinstance(found, Untold) else None

    async def remove_optout(self, msisdn: str) -> Untold | None:
        """The number is not on the list."""
        listed = await self._list()
        if isinstance(listed, Untold):
            return listed
        for entry_id in [entry_id for entry_id, number in listed.items() if number == msisdn]:
            found = await self._get("/stop-sms/delete", {"id": entry_id}, _KNOWN_OR_NOT)
            if isinstance(found, Untold):
                return found
        return None

    async def list_optouts(self) -> Sequence[str] | Untold:
        """Return all numbers on the list, each once."""
        listed = await self._list()
        return listed if isinstance(listed, Untold) else list(dict.fromkeys(listed.values()))

    async def _list(self) -> dict[str, str] | Untold:
        """Return the numbers by the ids of their entries.

        How a long list is paged is not documented. `page` is what another call of the platform has; a page that brings
        nothing new, while there is more, means that the list cannot be had whole, and half a list is none.
        """
        listed: dict[str, str] = {}
        for page in range(1, _MOST_PAGES + 1):
            found = await self._get("/stop-sms/list", {} if page == 1 else {"page": str(page)})
            if isinstance(found, Untold):
                return found
            data = found.get("data")
            total = read_count(found.get("nbData"))
            entries = _read_entries(data) if isinstance(data, list) else None
            if entries is None or total is None:
                return Untold(reason="the answer is no list of numbers")
            before = len(listed)
            listed |= entries
            if len(listed) >= total:
                return listed
            if len(listed) == before:
                break
        return Untold(reason=f"it lists {len(listed)} numbers and says that there are more")

    # --- what became of SMS ---

    async def look_up(self, inquiries: Sequence[Inquiry]) -> Sequence[Receipt] | Untold:
        """Return what is known of these SMS by message id and number, or by a tag that is theirs alone."""
        by_ref = [inquiry for inquiry in inquiries if read_ref(inquiry.provider_ref) is not None]
        by_tag = [inquiry for inquiry in inquiries if inquiry.provider_ref is None]
        receipts: list[Receipt] = []
        untold: Untold | None = None
        if by_ref:
            found = await self._look_up_by_ref(by_ref)
            if isinstance(found, Untold):
                untold = found
            else:
                receipts += found
        if by_tag and untold is None:
            untold = await self._look_up_by_tag(by_tag, receipts)
        return receipts if untold is None or receipts else untold

    async def _look_up_by_ref(self, inquiries: Sequence[Inquiry]) -> list[Receipt] | Untold:
        # "Statut" and POST, as in all samples; the prose has "Status", and GET.
        asked = [{"phoneNumber": one.msisdn, "messageId": _as_sent(one.provider_ref or "")} for one in inquiries]
        answer = await self._post("/multi-status", {"SMSStatut_List": asked}, _KNOWN_OR_NOT)
        if isinstance(answer, Untold):
            return answer
        told = [receipt for receipt in self._receipts_in(answer) if receipt.tracker is None]
        found: list[Receipt] = []
        for inquiry in inquiries:
            same = [one for one in told if (one.provider_ref, one.msisdn) == (inquiry.provider_ref, inquiry.msisdn)]
            if same and all(one.fate is same[0].fate for one in same):
                found.append(_about(inquiry, same[0]))
        return found

    async def _look_up_by_tag(self, inquiries: Sequence[Inquiry], receipts: list[Receipt]) -> Untold | None:
        """Add to `receipts` what is found in time. The first question alone, for it tells whether anybody answers."""
        begun = asyncio.Semaphore(_AT_A_TIME)

        async def ask(inquiry: Inquiry) -> Untold | None:
            async with begun:
                answer = await self._get("/bulk-status-by-tag", {"tag": inquiry.tracker.lower()}, _KNOWN_OR_NOT)
            if isinstance(answer, Untold):
                return answer
            told = [one for one in self._receipts_in(answer) if one.msisdn == inquiry.msisdn]
            if len(told) == 1:
                receipts.append(_about(inquiry, told[0]))
            return None

        try:
            async with asyncio.timeout(self._timeout_s), asyncio.TaskGroup() as group:
                untold = await ask(inquiries[0])
                if untold is None:
                    for inquiry in inquiries[1:]:
                        group.create_task(ask(inquiry), name="look_up_by_tag")
        except TimeoutError:
            return Untold(reason=f"not all answers within {self._timeout_s:g} s")
        return untold

    def _receipts_in(self, answer: Fields) -> list[Receipt]:
        listed = answer.get("StatutResponse_List")
        items = listed if isinstance(listed, list) else []
        ref = read_ref(answer.get("message_id"))
        told = (
            read_receipt({**item, "tag": None}, record=self._record, ref=ref or "")  # its own tag tells nothing new
            for item in items
            if isinstance(item, dict) and item.get("success") is not False
        )
        return [receipt for receipt in told if receipt is not None]

    # --- one question ---

    async def _get(self, path: str, query: Mapping[str, str], codes: frozenset[int] = _DONE) -> Fields | Untold:
        query = {"apiKey": self._key, **query, "_format": "json"}
        return self._read(await self._transport.call("GET", path, query=query), codes)

    async def _post(self, path: str, fields: Fields, codes: frozenset[int] = _DONE) -> Fields | Untold:
        fields = {"apiKey": self._key, **fields, "_format": "json"}
        return self._read(await self._transport.post_json(path, fields), codes)

    def _read(self, outcome: Answer | NeverLeft | Broken, codes: frozenset[int]) -> Fields | Untold:
        """Return the fields of an answer with one of these codes."""
        if not isinstance(outcome, Answer):
            return self._untold(outcome.reason)
        fields = read_answer(outcome.body)
        if fields is None:
            return self._untold(f"HTTP {outcome.status}, and not the carrier's own words")
        code = read_code(fields.get("code"))
        if code not in codes or (code == 200) != (fields["success"] is True):
            return self._untold(f"HTTP {outcome.status}, code {code}: {fields.get('message')}")
        return fields

    def _untold(self, reason: str) -> Untold:
        return Untold(reason=self._record(reason)[:_REASON_LIMIT])


def _about(inquiry: Inquiry, told: Receipt) -> Receipt:
    """Return what was told, about the SMS that was asked for."""
    return replace(told, tracker=inquiry.tracker, provider_ref=inquiry.provider_ref or told.provider_ref or None)


def _as_sent(ref: str) -> int | str:
    return int(ref) if ref.isdecimal() and not ref.startswith("0") else ref


def _read_entries(data: Sequence[object]) -> dict[str, str] | None:
    """Return the numbers of a STOP list by the ids of their entries; None if one of them cannot be read."""
    found: dict[str, str] = {}
    for item in data:
        entry_id = read_ref(item.get("id")) if isinstance(item, dict) else None
        number = e164(item.get("phoneNumber")) if isinstance(item, dict) else None
        if entry_id is None or number is None:
            return None
        found[entry_id] = number
    return found
