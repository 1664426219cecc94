"""What iSendPro can be asked: the balance, its STOP list, the length of a text, the operator of a number.

Quirks: each answer has another shape, and an error may come in any of them; `/credit` was GET and became a POST form;
the names of the STOP list's parameters differ in case (`setlisteNoire`, `delListeNoire`) and travel in the query of an
empty POST. All need a key of our own: where the clients' keys are passed on, there is nobody to ask for.

Diagnostics: event `optouts_skipped` (warning).
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import assert_never
from urllib.parse import urlencode

import structlog

from gateway.protocol.codes import Code
from gateway.providers.answers import decode_object
from gateway.providers.base import Balance, NumberFacts, PartCount, SendOptions, Untold
from gateway.providers.isendpro_answers import read_code, read_tel
from gateway.providers.isendpro_stoplist import ZIP_LIMIT_BYTES, ListUnreadable, is_zip, read_stop_list
from gateway.providers.transport import Answer, Broken, CallOutcome, NeverLeft, Transport, recorded

_log = structlog.get_logger(__name__)

MOST_NUMBERS = 500
_NO_KEY = "the provider has no key of its own (keyid_file): those of the clients are passed on, and say nothing of us"
_FORM: Mapping[str, str] = MappingProxyType({"Content-Type": "application/x-www-form-urlencoded"})
_WRONG_METHOD = frozenset({404, 405})
_AMOUNT = re.compile(r"-?[0-9]{1,12}(?:[.,][0-9]{1,8})?")
_COUNT = re.compile(r"([0-9]{1,9})(?:\.0+)?")
_NO_OPERATOR = frozenset({"", "?"})


class IsendproQuestions:
    """Asks, with the key of `keyid`. Never raises; what is not told is Untold, with the reason."""

    def __init__(self, transport: Transport, *, name: str, keyid: str | None) -> None:
        self._transport = transport
        self._provider_name = name
        self._keyid = keyid
        self._credit_is_get = False  # learnt from its answer

    async def balance(self) -> Balance | Untold:
        if self._keyid is None:
            return Untold(reason=_NO_KEY)
        fields = {"keyid": self._keyid, "credit": "2"}
        outcome: CallOutcome | None = None
        if not self._credit_is_get:
            outcome = await self._transport.call("POST", "/credit", content=urlencode(fields).encode(), headers=_FORM)
            self._credit_is_get = _is_wrong_method(outcome)
        if self._credit_is_get:
            outcome = await self._transport.call("GET", "/credit", query=fields)
            self._credit_is_get = not _is_wrong_method(outcome)
        assert outcome is not None  # noqa: S101 # one of the two was asked
        entries = self._entries(outcome)
        if isinstance(entries, Untold):
            return entries
        for entry in entries:
            amount = _read_amount(entry.get("credit"))
            if amount is not None:
                return Balance(amount=amount, currency="EUR", sms=_read_count(entry.get("quantite")))
        return self._odd(outcome)

    async def add_optout(self, msisdn: str) -> Untold | None:
        # Code 11, "is on the list", is what we want to hear.
        return await self._change_list("/setlistenoire", "setlisteNoire", msisdn, done=Code.C11_NUMBER_BLACKLISTED)

    async def remove_optout(self, msisdn: str) -> Untold | None:
        return await self._change_list("/dellistenoire", "delListeNoire", msisdn)

    async def list_optouts(self) -> Sequence[str] | Untold:
        if self._keyid is None:
            return Untold(reason=_NO_KEY)
        query = {"keyid": self._keyid, "getListeNoire": "1"}
        outcome = await self._transport.call("POST", "/getlistenoire", query=query, limit_bytes=ZIP_LIMIT_BYTES)
        if not (isinstance(outcome, Answer) and outcome.status == 200 and is_zip(outcome.body)):
            entries = self._entries(outcome)
            return entries if isinstance(entries, Untold) else self._odd(outcome)
        try:
            found = await asyncio.to_thread(read_stop_list, outcome.body)
        except ListUnreadable as error:
            return Untold(reason=str(error))
        if found.skipped:
            _log.warning(
                "optouts_skipped",
                provider=self._provider_name,
                count=found.skipped,
                advice="lines of the carrier's STOP list without a number that can be read: look at it there",
            )
        return found.msisdns

    async def count_parts(self, text: str, *, msisdn: str, options: SendOptions) -> PartCount | Untold:
        fields = {"num": msisdn.removeprefix("+"), "sms": text, "comptage": "1", "smslong": "999"}
        if options.originator is not None:
            fields["emetteur"] = options.originator
        if options.nostop:
            fields["nostop"] = "1"
        if options.ucs2:
            fields["ucs2"] = "1"
        outcome = await self._ask("/comptage", fields)
        entries = self._entries(outcome)
        if isinstance(entries, Untold):
            return entries
        for entry in entries:
            parts = _read_count(entry.get("nb_sms"))
            if parts is not None:
                return PartCount(parts=parts, characters=_read_count(entry.get("nb_caractere")))
        return self._odd(outcome)

    @property
    def numbers_size(self) -> int:
        return MOST_NUMBERS

    async def look_at_numbers(self, msisdns: Sequence[str]) -> Sequence[NumberFacts] | Untold:
        numbers = [msisdn.removeprefix("+") for msisdn in msisdns]
        outcome = await self._ask("/hlr", {"getHLR": "1", "num": numbers})
        entries = self._entries(outcome)
        if isinstance(entries, Untold):
            return entries
        told: dict[str, tuple[str | None, Code | None]] = {}
        for entry in entries:
            number, facts = read_tel(entry), _read_facts(entry)
            if number is not None and facts is not None:
                told.setdefault(number, facts)
        if not told:
            return self._odd(outcome)
        return [
            NumberFacts(msisdn=msisdn, operator=told[number][0], code=told[number][1])
            for msisdn, number in zip(msisdns, numbers, strict=True)
            if number in told
        ]

    async def _change_list(self, path: str, what: str, msisdn: str, *, done: Code | None = None) -> Untold | None:
        if self._keyid is None:
            return Untold(reason=_NO_KEY)
        number = msisdn.removeprefix("+")
        outcome = await self._transport.call("POST", path, query={"keyid": self._keyid, what: "1", "num": number})
        entries = self._entries(outcome, fine=done)
        if isinstance(entries, Untold):
            return entries
        for entry in entries:
            if str(entry.get("listeNoire")).strip().upper() == "OK" or (done and read_code(entry) == done):
                return None
        return _error_in(entries) or self._odd(outcome)

    async def _ask(self, path: str, fields: Mapping[str, object]) -> CallOutcome:
        if self._keyid is None:
            return NeverLeft(reason=_NO_KEY)
        return await self._transport.post_json(path, {"keyid": self._keyid, **fields})

    def _entries(self, outcome: CallOutcome, *, fine: Code | None = None) -> Sequence[Mapping[str, object]] | Untold:
        """Return what stands in the answer, in any of the shapes seen; Untold if it is an error, or none of these.

        One entry with a code is an error as a whole, but for 0 and `fine`; of several, each speaks for itself.
        """
        match outcome:
            case NeverLeft() | Broken():
                return Untold(reason=recorded(outcome.reason, secret=self._keyid or ""))
            case Answer():
                pass
            case _:
                assert_never(outcome)
        root = decode_object(outcome.body)
        found = None if root is None else root.get("etat")
        if isinstance(found, dict) and "etat" in found:
            found = found["etat"]
        items = found if isinstance(found, list) else [found]
        entries = [item for item in items if isinstance(item, dict)]
        code = read_code(entries[0]) if len(entries) == 1 and "tel" not in entries[0] else None
        if code is not None and code not in {0, fine}:
            return Untold(reason=_describe(code))
        if not entries or outcome.status != 200:
            return _error_in(entries) or self._odd(outcome)
        return entries

    def _odd(self, outcome: CallOutcome) -> Untold:
        if not isinstance(outcome, Answer):
            return Untold(reason=recorded(outcome.reason, secret=self._keyid or ""))
        text = f"an answer that is not understood: HTTP {outcome.status} {outcome.body.decode('utf-8', 'replace')}"
        return Untold(reason=recorded(text, secret=self._keyid or ""))


def _error_in(entries: Sequence[Mapping[str, object]]) -> Untold | None:
    return next((Untold(reason=_describe(code)) for code in map(read_code, entries) if code), None)


def _is_wrong_method(outcome: CallOutcome) -> bool:
    return isinstance(outcome, Answer) and outcome.status in _WRONG_METHOD


def _describe(code: int) -> str:
    known = next((one.label for one in Code if one == code), None)
    return f"the carrier answered code {code}" + ("" if known is None else f" ({known})")


def _read_amount(value: object) -> Decimal | None:
    """Return an amount that is written as a number or as a string, exactly as it is written."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    text = str(value).strip()
    return Decimal(text.replace(",", ".")) if _AMOUNT.fullmatch(text) else None


def _read_count(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    found = _COUNT.fullmatch(str(value).strip())
    return int(found[1]) if found else None


def _read_facts(entry: Mapping[str, object]) -> tuple[str | None, Code | None] | None:
    """Return the operator and the code of an entry; None if it has neither."""
    operator, code = entry.get("operateur"), read_code(entry)
    if not isinstance(operator, str) and code is None:
        return None
    known = operator.strip()[:64] if isinstance(operator, str) else ""
    annex = next((one for one in Code if one == code), Code.C999_ERROR) if code else None
    return (None if known in _NO_OPERATOR or annex else known), annex
