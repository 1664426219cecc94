"""A carrier that the configuration describes: what it is sent, what its answers mean, what it may call back."""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.lifecycle import Accepted, Hold, NotSent, Refused, Uncertain, Verdict
from gateway.protocol.codes import Code
from gateway.providers.base import Callback, CallbackUnreadable, Fate, ParsesCallbacks, Receipt, Reply, SendOptions
from gateway.providers.registry import build_provider
from gateway.providers.transport import ProviderUnusable
from gateway.providers.webhook import WebhookProvider, WebhookSettings
from gateway.providers.webhook_pointers import value_at
from gateway.providers.webhook_templates import FormBody, JsonBody, TextBody
from tests.providers.carriers import CALLBACK_SECRET, CALLBACK_URL, KEY, batch_of
from tests.support.clock import ManualClock
from tests.support.rawhttp import RawRequest, RawServer, answer

ROOT = Path(__file__).resolve().parents[2]
BODY = '{"to": "{to}", "text": "{text}"}'
GOOD: dict[str, object] = {"name": "house", "url": "https://sms.example.org/v2/send", "body": BODY}


def settings_with(**fields: object) -> WebhookSettings:
    return WebhookSettings.model_validate({**GOOD, **fields})


IN_JSON = '{"from": "{originator}", "t": "{to}{text}", "f": "x{originator}"}'
IN_FORM = "from={originator}&t={to}{text}&f=x{originator}"


async def exchange(
    *, says: bytes = answer(b"{}"), options: SendOptions | None = None, text: str = "Bonjour", to: str = "+33612340001",
    url: str = "/v2/send", reading: Mapping[str, object] = MappingProxyType({}), **fields: object
) -> tuple[RawRequest, Verdict]:  # fmt: skip
    """Return the request that one SMS becomes, and the verdict about what is said to it."""
    async with RawServer(says) as server:
        settings = settings_with(**{**fields, **reading, "url": server.url + url})
        provider = build_provider(settings, ManualClock(), callback_url=CALLBACK_URL)
        [verdict] = await provider.submit(batch_of(to, text=text, options=options))
        await provider.close()
    return server.requests[0], verdict


def target_of(request: RawRequest) -> str:
    return request.head.split(" ")[1]


# --- requests --------------------------------------------------------------------------------------------------------


async def test_json_holds_whatever_a_text_says() -> None:
    text = '"}], "x": {"\\ {secret} \n€'
    request, _ = await exchange(text=text, secret=KEY, headers={"X-Key": "{secret}"})

    assert json.loads(request.body) == {"to": "+33612340001", "text": f"{text} 0"}
    assert "content-type: application/json" in request.head.lower()


async def test_form_holds_whatever_a_text_says() -> None:
    body = "to={to}&text={text}&from={originator}&fixed=a%20b%26c"
    request, _ = await exchange(text="a&to=1 +%\né", content_type="form", body=body)

    assert request.body == b"to=%2B33612340001&text=a%26to%3D1+%2B%25%0A%C3%A9+0&fixed=a+b%26c"
    assert "content-type: application/x-www-form-urlencoded" in request.head.lower()


async def test_text_holds_whatever_a_text_says() -> None:
    request, _ = await exchange(text="é\n{to}", content_type="text", body="SMS {to}\n{text}", method="PUT")

    assert request.body.decode() == "SMS +33612340001\né\n{to} 0"
    assert request.head.startswith("PUT ")


async def test_address_holds_whatever_a_text_says() -> None:
    request, _ = await exchange(
        method="GET", body=None, url="/to/{to}/{tracker}/a%2Fb?t={text}&fixed=x%26y", text="a/../?&#é "
    )

    path, _, query = target_of(request).partition("?")
    assert path == "/to/%2B33612340001/T0/a%2Fb"
    assert parse_qsl(query, strict_parsing=True) == [("t", "a/../?&#é  0"), ("fixed", "x&y")]
    assert request.body == b""
    assert "content-type" not in request.head.lower()


@pytest.mark.parametrize(
    ("number_format", "to", "expected"),
    [
        ("e164", "+33612340001", "+33612340001"),
        ("international", "+33612340001", "33612340001"),
        ("national", "+33612340001", "0612340001"),
        ("national", "+4915112345678", "004915112345678"),
    ],
)
async def test_number_is_written_as_wanted(number_format: str, to: str, expected: str) -> None:
    request, _ = await exchange(number_format=number_format, to=to)

    assert json.loads(request.body)["to"] == expected


async def test_everything_that_is_known_can_be_filled_in() -> None:
    body = """{"a": ["{to}{text}", {"b": "{originator}/{tracker}"}], "c": "{account}:{secret}",
        "d": "{callback_url}", "e": 1.5}"""
    options = SendOptions(account_key="of-the-client", originator="MaSociete")
    request, _ = await exchange(
        body=body, options=options, secret=KEY, callback_secret=CALLBACK_SECRET, headers={"X-From": "{originator} {to}"}
    )

    assert json.loads(request.body) == {
        "a": ["+33612340001Bonjour 0", {"b": "MaSociete/T0"}],
        "c": f"of-the-client:{KEY}",
        "d": CALLBACK_URL,
        "e": 1.5,
    }
    assert "x-from: masociete +33612340001" in request.head.lower()


@pytest.mark.parametrize(("content_type", "body"), [("json", IN_JSON), ("form", IN_FORM)])
async def test_originator_that_is_not_there_is_left_out(content_type: str, body: str) -> None:
    request, _ = await exchange(body=body, content_type=content_type)

    assert b"from" not in request.body
    assert b"x" in request.body


TEXTS = st.text(max_size=60)


@given(TEXTS, TEXTS)
def test_no_value_leaves_its_place(text: str, originator: str) -> None:
    values = {"to": "+33612340001", "text": text, "originator": originator, "secret": "s"}

    filled = json.loads(JsonBody('{"a": ["{text}"], "b": "{to}|{originator}|"}').fill(values))
    assert filled == {"a": [text], "b": f"+33612340001|{originator}|"}
    pairs = FormBody("a={text}&b=x{to}").fill(values)
    assert pairs.count(b"&") == 1
    assert TextBody("[{text}]").fill(values)[:1] == b"["


# --- answers ---------------------------------------------------------------------------------------------------------

READING: dict[str, object] = {
    "answer_id": "/messages/0/id",
    "answer_error": "error.code",
    "answer_error_text": "error.text",
    "errors": {"7": 7, "opted": 11, "funds": 12, "hours": 24, "busy": 29, "oops": 999, "r": "retry", "h": "hold",
        "p": "pause", "x": "refused", "u": "unknown"},
}  # fmt: skip


@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request", "500 Oops"])
@pytest.mark.parametrize(
    ("error", "kind", "detail"),
    [
        (7, Refused, Code.C7_NUMBER_MALFORMED),
        ("7", Refused, Code.C7_NUMBER_MALFORMED),
        ("opted", Refused, Code.C11_NUMBER_BLACKLISTED),
        ("oops", Refused, Code.C999_ERROR),
        ("x", Refused, Code.C999_ERROR),
        ("funds", NotSent, Hold.ACCOUNT),
        ("h", NotSent, Hold.ACCOUNT),
        ("hours", NotSent, Hold.SMS),
        ("r", NotSent, Hold.SMS),
        ("busy", NotSent, Hold.PROVIDER),
        ("p", NotSent, Hold.PROVIDER),
        ("u", Uncertain, None),
    ],
)
async def test_known_error_is_handled_as_told(status: str, error: object, kind: type, detail: object) -> None:
    says = answer(json.dumps({"error": {"code": error, "text": "why"}}).encode(), "Retry-After: 60", status=status)
    _, verdict = await exchange(says=says, reading=READING)

    assert type(verdict) is kind
    assert detail in {None, getattr(verdict, "hold", None), getattr(verdict, "code", None)}
    assert verdict.raw.startswith(f"HTTP {status[:3]} {error} why: ")


@pytest.mark.parametrize(
    ("says", "fields", "expected"),
    [
        (answer(b"whatever"), {}, Accepted),
        (answer(b"", status="202 Accepted"), {}, Accepted),
        (answer(b"", status="204 No Content"), {}, Uncertain),
        (answer(b"", status="204 No Content"), {"success_statuses": [204]}, Accepted),
        (answer(b"x", status="400 Bad"), {}, Refused),
        (answer(b"x", status="429 Busy"), {}, NotSent),
        (answer(b"x", status="418 Teapot"), {}, Uncertain),
        (answer(b'{"messages":[{"id":5}]}'), READING, Accepted),
        (answer(b'{"messages":[{"id":5}],"error":{"code":""}}'), READING, Accepted),
        (answer(b'{"messages":[{"id":5}],"error":{"code":false}}'), READING, Accepted),
        (answer(b'{"messages":[{"id":5}],"error":{"code":"new"}}'), READING, Uncertain),
        (answer(b'{"messages":[{"id":5}],"error":{"code":0}}'), READING, Uncertain),
        (answer(b'{"messages":[{"id":5}],"error":{"code":0}}'), {**READING, "success_values": ["0"]}, Accepted),
        (answer(b'{"messages":[{"id":5}]}'), {**READING, "success_values": ["0"]}, Uncertain),
        (answer(b'{"messages":[]}'), READING, Uncertain),
        (answer(b"OK"), READING, Uncertain),
        (answer(b'{"error":{"code":"new"}}', status="422 No"), READING, Refused),
        (answer(b'[{"status":"queued"}]'), {"answer_error": "/0/status", "success_values": ["queued"]}, Accepted),
        (answer(b'[{"status":"?"}]'), {"answer_error": "/0/status", "success_values": ["queued"]}, Uncertain),
    ],
)
async def test_answer_is_accepted_only_as_described(says: bytes, fields: dict[str, object], expected: type) -> None:
    _, verdict = await exchange(says=says, reading=fields)

    assert type(verdict) is expected


async def test_id_is_kept() -> None:
    _, verdict = await exchange(says=answer(b'{"messages":[{"id":5510032}]}'), reading=READING)

    assert isinstance(verdict, Accepted)
    assert verdict.provider_ref == "5510032"


@pytest.mark.parametrize(
    ("root", "pointer", "expected"),
    [
        ({"a": {"b": [1, "x"]}}, "a.b.1", "x"),
        ({"a": {"b": [1, "x"]}}, "/a/b/0", "1"),
        ({"a/b": {"~": True}}, "/a~1b/~0", "true"),
        ({"a": None}, "a", None),
        ({"a": {}}, "a", None),
        ({"a": [1]}, "a.1", None),
        ({"a": [1]}, "a.-1", None),
        ({"a": "x"}, "a.b", None),
        ([{"a": 1}], "0.a", "1"),
        (7, "a", None),
        ({"a": 1}, None, None),
    ],
)
def test_pointer_finds_single_values(root: object, pointer: str | None, expected: str | None) -> None:
    assert value_at(root, pointer) == expected


# --- callbacks -------------------------------------------------------------------------------------------------------

CALLBACKS: dict[str, object] = {
    "callback_secret": CALLBACK_SECRET,
    "receipt_id": "/sms/id",
    "receipt_tracker": "/sms/ref",
    "receipt_number": "/sms/to",
    "receipt_status": "/sms/status",
    "receipt_statuses": {"DELIVRD": "delivered", "UNDELIV": "undelivered", "SENT": "taken", "NO": "refused"},
    "reply_from": "/from",
    "reply_text": "/text",
    "reply_to": "/to",
    "reply_id": "/id",
}


def called(body: object = None, query: Sequence[tuple[str, str]] = (), **fields: object) -> Receipt | Reply:
    provider = build_provider(settings_with(**{**CALLBACKS, **fields}), ManualClock())
    assert isinstance(provider, ParsesCallbacks)
    content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    [found] = provider.parse_callback(Callback(method="POST", query=query, body=content))
    return found


@pytest.mark.parametrize(
    ("status", "fate"),
    [
        ("DELIVRD", Fate.DELIVERED),
        ("UNDELIV", Fate.UNDELIVERED),
        ("SENT", Fate.TAKEN),
        ("NO", Fate.REFUSED),
        ("?", Fate.UNKNOWN),
    ],
)
def test_receipt_is_read_as_described(status: str, fate: Fate) -> None:
    found = called({"sms": {"id": 7, "ref": "0q7h", "to": "33612340001", "status": status}})

    assert isinstance(found, Receipt)
    assert (found.provider_ref, found.tracker, found.msisdn, found.fate) == ("7", "0Q7H", "+33612340001", fate)


def test_reply_is_read_as_described() -> None:
    found = called({"from": "+33612340001", "text": " oui ", "to": "36180", "id": "r-1"})

    assert isinstance(found, Reply)
    assert (found.msisdn, found.text, found.to, found.reference) == ("+33612340001", " oui ", "36180", "r-1")


def test_reply_is_read_from_a_form_and_from_a_query() -> None:
    in_form = called(b"from=%2B33612340001&text=oui")
    in_query = called(None, [("from", "0612340001"), ("text", "oui")])

    assert isinstance(in_form, Reply)
    assert isinstance(in_query, Reply)
    assert (in_form.msisdn, in_form.text) == (in_query.msisdn, in_query.text) == ("+33612340001", "oui")


@pytest.mark.parametrize(
    "body", [{}, [], 7, b"\xff", {"sms": {"status": "DELIVRD"}}, {"from": "?", "text": "x"}, {"from": "+33612340001"}]
)
def test_callback_that_is_not_as_described_is_unreadable(body: object) -> None:
    with pytest.raises(CallbackUnreadable):
        called(body)


def test_carrier_without_callbacks_takes_none() -> None:
    provider = build_provider(settings_with(), ManualClock())

    assert isinstance(provider, WebhookProvider)
    assert not isinstance(provider, ParsesCallbacks)


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"body": '{"to": "{to}", "text": "{txt}"}'}, r"the placeholder {txt} is not known; there are: {to}, {text}"),
        ({"body": '{"to": {to}, "text": "{text}"}'}, "is not JSON: placeholders stand in quotes"),
        ({"body": '{"{to}": "{text}"}'}, "in the values of JSON, not in its names"),
        ({"body": "[" * 100_000}, "at most 65536"),
        ({"body": "[" * 60_000}, "is not JSON"),
        ({"body": None}, "a POST needs a body"),
        ({"method": "GET"}, "a GET has no body"),
        ({"body": '{"to": "{to}"}'}, "{text} stands nowhere"),
        ({"body": '"{text}"'}, "{to} stands nowhere"),
        ({"content_type": "form", "body": "to={to}&text"}, "is not a form"),
        ({"content_type": "form", "body": "{to}=a&text={text}"}, "in the values of a form, not in its names"),
        ({"url": "http://sms.example.org/send"}, "must start with https://"),
        ({"url": "https://{to}.example.org/"}, "placeholders come after it"),
        ({"url": "{secret}"}, "placeholders come after it"),
        ({"url": "https://sms.example.org/{text}"}, r"the placeholder {text} cannot stand here"),
        ({"url": "https://sms.example.org/?{to}=1"}, "not in its names"),
        ({"url": "https://sms.example.org/?a=1&a=2"}, "names something twice"),
        ({"url": "https://sms.example.org/a/%2e%2E/b"}, "without . or .."),
        ({"url": "https://sms.example.org/#x"}, "without #"),
        ({"url": "https://user:x@sms.example.org/"}, "without user"),
        ({"url": "https://[::1"}, "is not the address of a server"),
        ({"headers": {"X Y": "1"}}, "is not the name of a header"),
        ({"headers": {"Host": "x"}}, "Host is set by the gateway itself"),
        ({"headers": {"content-length": "1"}}, "is set by the gateway itself"),
        ({"headers": {"X": "a\r\nY: b"}}, "one line of printable ASCII"),
        ({"headers": {"X": "{text}"}}, r"the placeholder {text} cannot stand here"),
        ({"headers": {"X": "1", "x": "2"}}, "names a header twice"),
        ({"headers": {"X": "{secret}"}}, "{secret} is used and not given"),
        ({"secret": "a\nb"}, "one line of printable ASCII"),
        ({"secret": ".."}, "one line of printable ASCII"),
        ({"errors": {"1": 7}}, "answer_error is missing"),
        ({"success_values": ["0"]}, "answer_error is missing"),
        ({"answer_error": "e", "errors": {"1": 0}}, "must be a code of the annex"),
        ({"answer_error": "e", "errors": {"1": 5}}, "must be a code of the annex"),
        ({"answer_error": "e", "errors": {"1": True}}, "must be a code of the annex"),
        ({"answer_error": "e", "errors": {"1": "number"}}, "must be a code of the annex"),
        ({"answer_error": "a..b"}, "is not a place"),
        ({"answer_error": "/a~2"}, "is not a JSON Pointer"),
        ({"success_statuses": []}, "at least 1"),
        ({"success_statuses": [302]}, "less than or equal to 299"),
        ({"receipt_status": "s", "receipt_statuses": {"x": "taken"}}, "receipt_status needs receipt_id"),
        ({"receipt_status": "s", "receipt_id": "i"}, "receipt_status needs receipt_statuses"),
        ({"receipt_status": "s", "receipt_id": "i", "receipt_statuses": {"x": "gone"}}, "taken"),
        ({"reply_from": "f"}, "reply_from and reply_text go together"),
        ({"reply_from": "f", "reply_text": "t"}, "callbacks are described, and none are taken"),
        ({"body": '"{to}{text}{callback_url}"'}, "{callback_url} is used, and no callbacks are taken"),
    ],
)
def test_description_that_cannot_be_meant_is_refused(fields: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(problem)):
        settings_with(**fields)


def test_secret_file_that_was_not_read_is_said() -> None:
    settings = settings_with(secret_file="house.key", headers={"X": "{secret}"})

    with pytest.raises(ProviderUnusable, match="secret_file"):
        build_provider(settings, ManualClock())


def test_secret_does_not_print() -> None:
    assert KEY not in repr(settings_with(secret=KEY))


# --- the manual ------------------------------------------------------------------------------------------------------


def _example() -> dict[str, Any]:
    text = (ROOT / "docs" / "carriers.md").read_text("utf-8")
    [block] = [one for one in re.findall(r"```toml\n(.*?)```", text, re.DOTALL) if 'kind = "webhook"' in one]
    [provider] = tomllib.loads(block)["providers"]
    secrets = {"secret": KEY, "callback_secret": CALLBACK_SECRET}
    return {key: value for key, value in provider.items() if not key.endswith("_file")} | secrets


async def test_example_of_the_manual_sends_an_sms() -> None:
    def accept(_request: RawRequest) -> Iterator[bytes]:
        yield answer(b'{"messages":[{"id":"m-1"}]}', status="202 Accepted")

    block = _example()
    async with RawServer(pieces_for=accept) as server:
        url = block["url"].replace("https://sms.example.org", server.url)
        settings = WebhookSettings.model_validate({**block, "url": url})
        provider = build_provider(settings, ManualClock(), callback_url=CALLBACK_URL)
        options = replace(batch_of("+33612340001").options, originator="MaSociete")
        [verdict] = await provider.submit(batch_of("+33612340001", options=options))
        await provider.close()
        [request] = server.requests

    assert isinstance(verdict, Accepted)
    assert target_of(request) == "/v2/messages?ref=T0"
    assert f"authorization: bearer {KEY}" in request.head.lower()
    assert json.loads(request.body) == {
        "from": "MaSociete",
        "messages": [{"to": "33612340001", "text": "Bonjour 0"}],
        "receipts": CALLBACK_URL,
    }


def test_example_of_the_manual_reads_receipts_and_replies() -> None:
    provider = build_provider(WebhookSettings.model_validate(_example()), ManualClock())
    assert isinstance(provider, ParsesCallbacks)
    [receipt] = provider.parse_callback(
        Callback(method="POST", query=(), body=b'{"id":"m-1","to":"33612340001","status":"DELIVRD"}')
    )
    [reply] = provider.parse_callback(Callback(method="POST", query=(), body=b'{"from":"33612340001","text":"STOP"}'))

    assert isinstance(receipt, Receipt)
    assert (receipt.provider_ref, receipt.fate) == ("m-1", Fate.DELIVERED)
    assert isinstance(reply, Reply)
    assert (reply.msisdn, reply.text) == ("+33612340001", "STOP")
