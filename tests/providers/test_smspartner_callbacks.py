"""What SMS Partner tells by HTTP request, in each of the ways it may come."""

import json
from collections.abc import Mapping
from decimal import Decimal
from urllib.parse import urlencode

import pytest

from gateway.providers.base import Callback, CallbackUnreadable, Fate, Receipt, Reply, ReplyPart
from gateway.providers.masking import recorder
from gateway.providers.smspartner_callbacks import parse_callback

DLR = {
    "status": "delivered",
    "msgId": "5510032",
    "date": 1772440267,
    "phone": "+33612340001",
    "cost": "0.045",
    "currency": "EUR",
    "tag": "0q7h2k9m4t8x1b5n3w60",
}
SHORT = {"type": "response", "phone_number": "+33612340001", "text": "OK pour 10h", "message_id": 5510032}
LONG = {
    "msisdn": "33612340001",
    "to": "33755500011",
    "messageId": "6c1f0c2e-77aa-4c0e-9d0e-2b1d5a0e1f33",
    "text": "Je confirme",
    "type": "text",
    "keyword": "JE",
    "message-timestamp": "2026-03-02 09:51:46",
}
WAYS = ("json", "form", "query", "untyped")


def called(fields: Mapping[str, object], way: str = "json") -> Receipt | Reply:
    """Return the one thing that a request with these fields says."""
    texts = {name: str(value) for name, value in fields.items()}
    callback = {
        "json": Callback(method="POST", query=(), content_type="application/json", body=json.dumps(fields).encode()),
        "untyped": Callback(method="POST", query=(), body=json.dumps(fields).encode()),
        "form": Callback(
            method="POST",
            query=(),
            content_type="application/x-www-form-urlencoded",
            body=urlencode(texts, errors="replace").encode(),
        ),
        "query": Callback(method="GET", query=tuple(texts.items())),
    }[way]
    [found] = parse_callback(callback, record=recorder([]))
    return found


def receipt(fields: Mapping[str, object], way: str = "json") -> Receipt:
    found = called(fields, way)
    assert isinstance(found, Receipt)
    return found


def reply(fields: Mapping[str, object], way: str = "json") -> Reply:
    found = called(fields, way)
    assert isinstance(found, Reply)
    return found


@pytest.mark.parametrize("way", WAYS)
def test_receipt_is_read_however_it_comes(way: str) -> None:
    found = receipt(DLR, way)

    assert (found.tracker, found.provider_ref, found.msisdn) == ("0Q7H2K9M4T8X1B5N3W60", "5510032", "+33612340001")
    assert (found.fate, found.cost, found.currency) == (Fate.DELIVERED, Decimal("0.045"), "EUR")
    assert found.at is not None
    assert found.at.isoformat() == "2026-03-02T08:31:07+00:00"


@pytest.mark.parametrize("ref", ["msgId", "messageId", "message_id"])
@pytest.mark.parametrize("phone", ["phone", "phoneNumber", "phone_number"])
@pytest.mark.parametrize("status", ["status", "statut"])
def test_receipt_has_several_spellings(ref: str, phone: str, status: str) -> None:
    found = receipt({status: "Not Delivered", ref: 5510032, phone: "0612340001"})

    assert (found.fate, found.provider_ref, found.msisdn) == (Fate.UNDELIVERED, "5510032", "+33612340001")
    assert found.tracker is None


def test_tag_of_several_sms_is_no_tracker() -> None:
    found = receipt({**DLR, "tag": "lq7h2k9m4t8x1b5n3w60"})

    assert (found.tracker, found.provider_ref, found.msisdn) == (None, "5510032", "+33612340001")


@pytest.mark.parametrize(
    ("status", "fate"),
    [("waiting", Fate.TAKEN), ("KO", Fate.REFUSED), (" DELIVRD ", Fate.DELIVERED), ("perdu", Fate.UNKNOWN)],
)
def test_status_is_read_in_any_case(status: str, fate: Fate) -> None:
    assert receipt({**DLR, "status": status}).fate is fate


@pytest.mark.parametrize("way", WAYS)
def test_reply_to_a_short_code_names_the_sms_it_answers(way: str) -> None:
    found = reply(SHORT, way)

    assert (found.msisdn, found.text, found.provider_ref) == ("+33612340001", "OK pour 10h", "5510032")
    assert (found.is_stop, found.reference, found.part) == (False, None, None)


def test_stop_is_one_whatever_its_text() -> None:
    assert reply({**SHORT, "type": "stop", "text": None}).is_stop
    assert reply({**SHORT, "type": "stop"}).text == "OK pour 10h"


@pytest.mark.parametrize("way", WAYS)
def test_reply_to_a_long_number_names_itself(way: str) -> None:
    found = reply(LONG, way)

    assert (found.msisdn, found.to, found.text) == ("+33612340001", "+33755500011", "Je confirme")
    assert (found.reference, found.provider_ref) == ("6c1f0c2e-77aa-4c0e-9d0e-2b1d5a0e1f33", None)
    assert found.at is not None
    assert found.at.isoformat() == "2026-03-02T08:51:46+00:00"


def test_reply_to_a_short_code_in_the_other_form_keeps_the_code() -> None:
    assert reply({**LONG, "to": "36180"}).to == "36180"


@pytest.mark.parametrize("way", WAYS)
def test_part_of_a_long_reply_keeps_its_blanks(way: str) -> None:
    fields = {
        **LONG,
        "text": "  et la suite",
        "concat": "true",
        "concat-ref": "7",
        "concat-total": "3",
        "concat-part": "2",
    }
    found = reply(fields, way)

    assert found.part == ReplyPart(reference="7", number=2, total=3)
    assert found.text == "  et la suite"


@pytest.mark.parametrize(
    "part",
    [
        {"concat-total": "1"},
        {"concat-part": "4"},
        {"concat-part": "0"},
        {"concat-total": "256"},
        {"concat-ref": ""},
        {"concat-ref": None},
        {"concat": "false"},
    ],
)
def test_part_that_makes_no_sense_is_a_reply_of_its_own(part: dict[str, object]) -> None:
    whole = {**LONG, "concat": "true", "concat-ref": "7", "concat-total": "3", "concat-part": "2"}

    assert reply({**whole, **part}).part is None


def test_text_is_fit_for_any_database() -> None:
    assert reply({**LONG, "text": "a\x00b\ud83d"}).text == "a\ufffdb?"


@pytest.mark.parametrize(
    "callback",
    [
        Callback(method="GET", query=()),
        Callback(method="POST", query=(), body=b"{}"),
        Callback(method="POST", query=(), body=b"[]"),
        Callback(method="POST", query=(), body=b"{", content_type="application/json"),
        Callback(method="POST", query=(), body=b"\xff\xfe"),
        Callback(method="POST", query=(), body=b"&".join([b"a=1"] * 101)),
        Callback(method="GET", query=(("status", "delivered"),)),
        Callback(method="GET", query=(("status", "delivered"), ("msgId", "7"))),
        Callback(method="GET", query=(("status", "delivered"), ("phone", "+33612340001"))),
        Callback(method="GET", query=(("msisdn", "MaSociete"), ("text", "x"))),
        Callback(method="GET", query=(("msisdn", "33612340001"),)),
        Callback(method="GET", query=(("type", "response"), ("phone_number", "+33612340001"))),
        Callback(method="GET", query=(("type", "stop"), ("phone_number", "?"))),
        Callback(
            method="POST", query=(), body=b'{"phone":"+33612340001","messageId":"x","mccMnc":"20801","ported":false}'
        ),
    ],
    ids=str,
)
def test_anything_else_is_unreadable(callback: Callback) -> None:
    with pytest.raises(CallbackUnreadable):
        parse_callback(callback, record=recorder([]))


def test_key_is_masked_in_what_is_kept() -> None:
    fields = {**DLR, "apiKey": "Zx9+/k y"}
    [found] = parse_callback(
        Callback(method="POST", query=(), body=json.dumps(fields).encode()), record=recorder(["Zx9+/k y"])
    )

    assert "Zx9" not in found.raw
    assert "***" in found.raw
