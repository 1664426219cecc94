"""Carriers under test: each kind of the registry in each of its ways, what its own server says, and batches."""

import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from pydantic import TypeAdapter

from gateway.lifecycle import SmsId
from gateway.protocol.codes import Code
from gateway.providers.base import Batch, Batches, Message, Provider, SendOptions
from gateway.providers.numbers import e164
from gateway.providers.registry import ProviderSettings, build_provider
from tests.support.clock import ManualClock
from tests.support.rawhttp import RawRequest, RawServer, answer

KEY = "a296464ce012b8ab710a"
CALLBACK_SECRET = "Zk3vQ0wT8xY1bN5m"
CALLBACK_URL = f"https://gw.example.org/receipts/carrier/{CALLBACK_SECRET}"
DEADLINE_S = 10.0

PATHS = {"isendpro": "/cgi-bin", "sandbox": "/cgi-bin", "smspartner": "/v1", "webhook": "/sms"}
"""Where each kind finds its interface below an address."""

SETTINGS: TypeAdapter[ProviderSettings] = TypeAdapter(ProviderSettings)

BLACKLISTED = "+33600000011"
"""Every carrier's own server refuses this number for good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One SMS as the carrier's server read it."""

    msisdn: str
    text: str
    originator: str | None
    tracker: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Carrier:
    """One kind of the registry, in one of its ways: how to set it up, and what its own server reads and answers."""

    kind: str
    settings: Mapping[str, object] = field(default_factory=dict)
    read: Callable[[RawRequest], list[Sent]]
    accept: Callable[[Sequence[Sent]], dict[str, object]]  # all but BLACKLISTED, whom it refuses with its own code
    wrong_key: Callable[[str], dict[str, object]]  # the key repeated in a label
    half_truths: tuple[str, ...]  # nearly acceptances, that prove nothing
    refusal_code: Code = Code.C11_NUMBER_BLACKLISTED
    carries_originator: bool = True


# --- iSendPro ---


def _read_isendpro(request: RawRequest) -> list[Sent]:
    fields = json.loads(request.body)
    numbers, texts, trackers = (
        [found] if isinstance(found, str) else found for found in (fields["num"], fields["sms"], fields["tracker"])
    )
    return [
        Sent(msisdn=e164(number) or "", text=text, originator=fields.get("emetteur"), tracker=tracker)
        for number, text, tracker in zip(numbers, texts, trackers, strict=True)
    ]


def _accept_isendpro(sent: Sequence[Sent]) -> dict[str, object]:
    entries = [{"code": 11 if one.msisdn == BLACKLISTED else 0, "tel": one.msisdn[1:]} for one in sent]
    return {"etat": {"etat": entries}}


def _isendpro(kind: str) -> Carrier:
    return Carrier(
        kind=kind,
        read=_read_isendpro,
        accept=_accept_isendpro,
        wrong_key=lambda key: {"etat": {"etat": [{"code": 3, "message": f"bad key {key}"}]}},
        half_truths=(
            '{"etat":{"etat":[{"code":NaN}]}}',
            '{"etat":{"etat":[{"code":0,"code":11}]}}',
            '{"etat":' * 20_000,
        ),
    )


# --- SMS Partner ---


def _unescape(text: str) -> str:
    return text.replace(":br:", "\n").replace(":euro:", "€")


def _read_partner(request: RawRequest) -> list[Sent]:
    fields = json.loads(request.body)
    if "to" in fields:
        pairs = [(fields["to"], fields["message"])]
    elif "SMSList" in fields:
        pairs = [(one["phoneNumber"], one["message"]) for one in fields["SMSList"]]
    else:
        pairs = [(number, fields["message"]) for number in fields["phoneNumbers"].split(",")]
    tracker = fields["tag"].upper() if len(pairs) == 1 else None
    return [
        Sent(msisdn=e164(number) or "", text=_unescape(text), originator=fields.get("sender"), tracker=tracker)
        for number, text in pairs
    ]


def _accept_partner(sent: Sequence[Sent]) -> dict[str, object]:
    taken = [one for one in sent if one.msisdn != BLACKLISTED]
    if not taken:
        inner = [{"success": False, "code": "14", "phoneNumber": one.msisdn} for one in sent]
        return {"success": False, "code": 55, "errors": inner}
    head = {"success": True, "code": 200, "message_id": 5510032, "currency": "EUR"}
    if len({one.text for one in sent}) == 1:
        return {**head, "nb_sms": len(taken), "cost": 0.045 * len(taken)}
    items: list[dict[str, object]] = [
        {"success": False, "code": 14, "phoneNumber": one.msisdn, "message": "STOP"}
        if one.msisdn == BLACKLISTED
        else {"success": True, "code": 200, "nbSms": 1, "cost": 0.045, "phoneNumber": one.msisdn}
        for one in sent
    ]
    return {**head, "nbSMS": len(taken), "cost": 0.045 * len(taken), "SMSResponse_List": items}


def _partner(**settings: object) -> Carrier:
    return Carrier(
        kind="smspartner",
        settings={"api_key": KEY, "rate": 0, **settings},
        read=_read_partner,
        accept=_accept_partner,
        wrong_key=lambda key: {"success": False, "code": 10, "message": f"Clef {key} incorrecte"},
        half_truths=(
            '{"success":true,"code":200,"message":"Request queued for processing"}',
            '{"success":true,"code":200,"message_id":""}',
            '{"success":true,"code":200,"message_id":null}',
            '{"success":true,"code":200,"message_id":NaN}',
            '{"success":true,"code":200,"code":10,"message_id":5}',
            '{"success":true,"code":500,"message_id":5}',
            '{"success":"true","code":200,"message_id":5}',
            '{"success":false,"code":500}',
            "<result><entry>true</entry><entry>200</entry><entry></entry></result>",
        ),
        carries_originator="long_number" not in settings,
    )


# --- described in the configuration ---

_WEBHOOK = {
    "secret": KEY,
    "answer_id": "/messages/0/id",
    "answer_error": "error.code",
    "answer_error_text": "error.text",
    "errors": {"stop": 11, "key": "hold", "busy": "pause"},
    "success_statuses": [200],
    "receipt_id": "id",
    "receipt_number": "to",
    "receipt_status": "status",
    "receipt_statuses": {"DELIVRD": "delivered", "UNDELIV": "undelivered"},
    "reply_from": "from",
    "reply_text": "text",
    "callback_secret": CALLBACK_SECRET,
}
_WEBHOOK_BODY = """{
    "key": "{secret}", "to": ["{to}"], "text": "{text}", "from": "{originator}", "ref": "{tracker}",
    "options": {"callback": "{callback_url}", "flash": false}
}"""


def _read_webhook(request: RawRequest) -> list[Sent]:
    fields = json.loads(request.body)
    return [Sent(msisdn=fields["to"][0], text=fields["text"], originator=fields.get("from"), tracker=fields["ref"])]


def _read_webhook_get(request: RawRequest) -> list[Sent]:
    target = urlsplit(request.head.split(" ")[1])
    fields = {name: values[0] for name, values in parse_qs(target.query, strict_parsing=True).items()}
    number, originator = fields["to"], fields.get("from")
    return [Sent(msisdn=e164(number) or "", text=fields["text"], originator=originator, tracker=fields["ref"])]


def _accept_webhook(sent: Sequence[Sent]) -> dict[str, object]:
    if sent[0].msisdn == BLACKLISTED:
        return {"error": {"code": "stop", "text": "opted out"}}
    return {"messages": [{"id": "m-1"}], "error": None}


def _webhook(**settings: object) -> Carrier:
    return Carrier(
        kind="webhook",
        settings={**_WEBHOOK, **settings},
        read=_read_webhook_get if settings["method"] == "GET" else _read_webhook,
        accept=_accept_webhook,
        wrong_key=lambda key: {"error": {"code": "key", "text": f"bad key {key}"}},
        half_truths=(
            '{"messages":[{"id":"m-1"}],"error":{"code":"new"}}',
            '{"messages":[{"id":""}]}',
            '{"messages":[{"id":{}}]}',
            '{"messages":[{"id":NaN}]}',
            '{"messages":[]}',
            '{"messages":[{"id":"a","id":"b"}]}',
        ),
    )


CARRIERS: Mapping[str, Carrier] = {
    "isendpro": _isendpro("isendpro"),
    "sandbox": _isendpro("sandbox"),
    "smspartner": _partner(),
    "smspartner-long": _partner(long_number="33755500011"),
    "webhook": _webhook(method="POST", body=_WEBHOOK_BODY),
    "webhook-get": _webhook(
        method="GET",
        url="?key={secret}&to={to}&text={text}&from={originator}&ref={tracker}",
        number_format="international",
    ),
}
"""By the name of the carrier under test."""


@asynccontextmanager
async def provider_at(name: str, url: str, **settings: object) -> AsyncIterator[Provider]:
    """Build this carrier so that it calls `url`, and close it."""
    carrier = CARRIERS[name]
    address = url + PATHS[carrier.kind]
    block = {"name": "carrier", "kind": carrier.kind, "timeout_s": DEADLINE_S, **carrier.settings, **settings}
    if carrier.kind == "webhook":
        block["url"] = address + str(block.get("url", ""))
    else:
        block["base_url"] = address
    provider = build_provider(SETTINGS.validate_python(block), ManualClock(), callback_url=CALLBACK_URL)
    try:
        yield provider
    finally:
        await provider.close()


class Desk(RawServer):
    """The carrier's own server: takes everything but `BLACKLISTED`, after the answers it was given first."""

    def __init__(self, name: str, *first: bytes) -> None:
        super().__init__(pieces_for=self._answer)
        self._carrier = CARRIERS[name]
        self._first = list(first)
        self.messages: list[Sent] = []

    def _answer(self, request: RawRequest) -> Iterable[bytes]:
        sent = self._carrier.read(request)
        self.messages += sent
        return [self._first.pop(0)] if self._first else [answer(json.dumps(self._carrier.accept(sent)).encode())]


def batch_of(*numbers: str, text: str = "Bonjour", options: SendOptions | None = None) -> Batch:
    """Return a batch with one SMS per number, trackers T0, T1, ..."""
    return Batch(
        options=SendOptions(account_key=KEY) if options is None else options,
        messages=tuple(
            Message(sms_id=SmsId(f"S{position}"), msisdn=number, text=f"{text} {position}", tracker=f"T{position}")
            for position, number in enumerate(numbers)
        ),
    )


def batches_for(provider: Provider, *numbers: str, text: str = "Bonjour", alike: bool = False) -> Iterator[Batch]:
    """Yield batches that this provider takes, which together have one SMS per number; `alike`: with the same text."""
    size = provider.batch_size if isinstance(provider, Batches) else 1
    whole = batch_of(*numbers, text=text)
    messages = [
        Message(sms_id=one.sms_id, msisdn=one.msisdn, text=text if alike else one.text, tracker=one.tracker)
        for one in whole.messages
    ]
    for start in range(0, len(messages), size):
        yield Batch(options=whole.options, messages=tuple(messages[start : start + size]))
