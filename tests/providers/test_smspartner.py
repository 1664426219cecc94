"""SMS Partner: the calls it is made, field by field."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from gateway.lifecycle import Accepted, NotSent, SmsId, Uncertain
from gateway.providers.base import Batch, Message, SendOptions
from gateway.providers.registry import build_provider
from gateway.providers.smspartner import SmsPartnerSettings
from gateway.providers.transport import ProviderUnusable
from tests.providers.carriers import CALLBACK_URL, KEY, Desk, batch_of, provider_at
from tests.support.clock import START, ManualClock
from tests.support.rawhttp import RawRequest, RawServer

OPTIONS = SendOptions(account_key="of the client", originator="AtelierNord")


def message(number: str, text: str, position: int = 0) -> Message:
    return Message(sms_id=SmsId(f"S{position}"), msisdn=number, text=text, tracker=f"0Q7H2K9M4T8X1B5N3W6{position}")


async def call_with(
    *messages: Message, options: SendOptions = OPTIONS, **settings: object
) -> tuple[str, dict[str, Any]]:
    """Return the path and the fields of the call that carries these."""
    name = "smspartner-long" if "long_number" in settings else "smspartner"
    async with Desk(name) as desk, provider_at(name, desk.url, **settings) as provider:
        await provider.submit(Batch(options=options, messages=messages))
        [request] = desk.requests
    return request.head.split(" ")[1], json.loads(request.body)


async def test_one_text_to_several_is_one_send() -> None:
    path, fields = await call_with(message("+33612340001", "Bonjour"), message("+4915112345678", "Bonjour", 1))

    assert path == "/v1/send"
    assert fields == {
        "apiKey": KEY,
        "phoneNumbers": "+33612340001,+4915112345678",
        "message": "Bonjour",
        "sender": "AtelierNord",
        "tag": "lq7h2k9m4t8x1b5n3w60",
        "urlDlr": CALLBACK_URL,
        "urlResponse": CALLBACK_URL,
        "_format": "json",
    }


async def test_different_texts_are_one_bulk_send() -> None:
    path, fields = await call_with(message("+33612340001", "Un"), message("+33612340002", "Deux", 1))

    assert path == "/v1/bulk-send"
    assert fields == {
        "apiKey": KEY,
        "SMSList": [
            {"phoneNumber": "+33612340001", "message": "Un"},
            {"phoneNumber": "+33612340002", "message": "Deux"},
        ],
        "sender": "AtelierNord",
        "tag": "lq7h2k9m4t8x1b5n3w60",
        "_format": "json",
    }


async def test_bulk_send_names_the_address_of_callbacks_when_told_to() -> None:
    _, fields = await call_with(message("+33612340001", "Un"), message("+33612340002", "Deux", 1), bulk_callbacks=True)

    assert (fields["urlDlr"], fields["urlResponse"]) == (CALLBACK_URL, CALLBACK_URL)


async def test_long_number_sends_one_sms_and_has_no_sender() -> None:
    path, fields = await call_with(message("+33612340001", "Bonjour"), long_number="+33 7 55 50 00 11")

    assert path == "/v1/vn/send"
    assert fields == {
        "apiKey": KEY,
        "to": "33612340001",
        "from": "33755500011",
        "message": "Bonjour",
        "tag": "0q7h2k9m4t8x1b5n3w60",
        "urlDlr": CALLBACK_URL,
        "urlResponse": CALLBACK_URL,
        "_format": "json",
    }


async def test_tag_of_one_sms_is_its_tracker() -> None:
    _, fields = await call_with(message("+33612340001", "Bonjour"))

    assert fields["tag"] == "0q7h2k9m4t8x1b5n3w60"


@pytest.mark.parametrize("long_number", [{}, {"long_number": "33755500011"}], ids=["send", "vn/send"])
@pytest.mark.parametrize(
    ("options", "added"),
    [
        (SendOptions(account_key=""), {}),
        (SendOptions(account_key="", commercial=True), {"isStopSms": 1}),
        (SendOptions(account_key="", commercial=True, nostop=True), {}),
        (SendOptions(account_key="", ucs2=True), {"isUnicode": 1}),
    ],
)
async def test_options_are_said_only_when_on(
    long_number: dict[str, object], options: SendOptions, added: dict[str, object]
) -> None:
    _, plain = await call_with(message("+33612340001", "Bonjour"), options=SendOptions(account_key=""), **long_number)
    _, fields = await call_with(message("+33612340001", "Bonjour"), options=options, **long_number)

    assert "sender" not in fields  # a short code instead, which can be answered
    assert {name: value for name, value in fields.items() if name not in plain} == added


async def test_trial_is_asked_for() -> None:
    _, fields = await call_with(message("+33612340001", "Bonjour"), sandbox=True)

    assert fields["sandbox"] == 1


@pytest.mark.parametrize(
    ("text", "ucs2", "expected"),
    [
        ("Un\nDeux", False, "Un:br:Deux"),
        ("Un\r\nDeux\rTrois", False, "Un:br:Deux:br:Trois"),
        ("10€", False, "10:euro:"),
        ("10€ Ω 漢", True, "10€ Ω 漢"),
        ("a:br:b :euro: :BR:", False, "a: br:b : euro: : BR:"),
        (":br:br:\n", True, ": br: br::br:"),
        (":b^r:", False, ": br:"),
        ("Zäh [ÄÖÜ] {ñÑ} ^~|\\§ ü", False, "Zah (AOU) (nN)  u"),
        ("äé[", True, "äé["),
        ("éèàùìòç£$@ÇÉß", False, "éèàùìòç£$@ÇÉß"),
        ('dit "oui"', False, 'dit "oui"'),
    ],
)
async def test_text_is_written_as_the_platform_reads_it(text: str, ucs2: bool, expected: str) -> None:
    _, fields = await call_with(message("+33612340001", text), options=SendOptions(account_key="", ucs2=ucs2))

    assert fields["message"] == expected


async def test_texts_that_become_alike_are_one_text() -> None:
    path, _ = await call_with(message("+33612340001", "[x]"), message("+33612340002", "(x)", 1))

    assert path == "/v1/send"


@pytest.mark.parametrize(
    ("deliver_at", "expected"),
    [
        (datetime(2026, 3, 5, 7, 0, tzinfo=UTC), ("05/03/2026", 8, 0)),
        (datetime(2026, 3, 5, 7, 0, 1, tzinfo=UTC), ("05/03/2026", 8, 5)),
        (datetime(2026, 3, 5, 22, 56, tzinfo=UTC), ("06/03/2026", 0, 0)),
        (datetime(2026, 7, 1, 6, 31, tzinfo=UTC), ("01/07/2026", 8, 35)),
    ],
)
async def test_later_send_is_rounded_up_to_five_minutes_of_paris(
    deliver_at: datetime, expected: tuple[str, int, int]
) -> None:
    options = SendOptions(account_key="", deliver_at=deliver_at)
    _, fields = await call_with(message("+33612340001", "Bonjour"), options=options)

    assert (fields["scheduledDeliveryDate"], fields["time"], fields["minute"]) == expected


async def test_date_that_is_past_is_not_said() -> None:
    options = SendOptions(account_key="", deliver_at=START - timedelta(seconds=1))
    _, fields = await call_with(message("+33612340001", "Bonjour"), options=options)

    assert "scheduledDeliveryDate" not in fields


async def test_number_stands_in_a_call_once_and_its_sms_keep_their_order() -> None:
    numbers = ["+33612340001", "+33612340002", "+33612340001", "+33612340001"]
    async with Desk("smspartner") as desk, provider_at("smspartner", desk.url) as provider:
        verdicts = await provider.submit(batch_of(*numbers))
        paths = [request.head.split(" ")[1] for request in desk.requests]
        messages = desk.messages

    assert [type(verdict) for verdict in verdicts] == [Accepted] * 4
    assert paths == ["/v1/bulk-send", "/v1/send", "/v1/send"]
    assert [one.text for one in messages if one.msisdn == numbers[0]] == ["Bonjour 0", "Bonjour 2", "Bonjour 3"]


async def test_further_call_is_not_begun_after_one_without_an_answer() -> None:
    async with RawServer(b"") as server, provider_at("smspartner", server.url) as provider:
        verdicts = await provider.submit(batch_of("+33612340001", "+33612340001", "+33612340001"))
        calls = len(server.requests)

    assert [type(verdict) for verdict in verdicts] == [Uncertain, NotSent, NotSent]
    assert calls == 1


async def test_further_call_is_not_begun_late() -> None:
    clock = ManualClock()

    class SlowDesk(Desk):
        def _answer(self, request: RawRequest) -> Iterable[bytes]:
            clock.advance(2)
            return super()._answer(request)

    async with SlowDesk("smspartner") as desk:
        settings = SmsPartnerSettings.model_validate({"name": "p", "base_url": f"{desk.url}/v1", "api_key": KEY})
        provider = build_provider(settings, clock)
        verdicts = await provider.submit(batch_of("+33612340001", "+33612340001"))
        await provider.close()

    assert [type(verdict) for verdict in verdicts] == [Accepted, NotSent]


async def test_account_key_is_never_passed_on() -> None:
    async with Desk("smspartner") as desk, provider_at("smspartner", desk.url) as provider:
        await provider.submit(Batch(options=OPTIONS, messages=(message("+33612340001", "x"),)))

        assert "of the client" not in desk.requests[0].body.decode()


async def test_without_an_address_of_callbacks_none_is_named() -> None:
    async with Desk("smspartner-long") as desk:
        settings = SmsPartnerSettings.model_validate(
            {"name": "p", "base_url": f"{desk.url}/v1", "api_key": KEY, "long_number": "33755500011"}
        )
        provider = build_provider(settings, ManualClock())
        await provider.submit(batch_of("+33612340001"))
        await provider.close()
        fields = json.loads(desk.requests[0].body)

    assert not {"urlDlr", "urlResponse"} & set(fields)


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("block", "problem"),
    [
        ({}, "a key is missing: write api_key_file, or api_key"),
        ({"api_key": ""}, "at least 1"),
        ({"api_key": KEY, "long_number": "MaSociete"}, "write it with its country code"),
        ({"api_key": KEY, "long_number": "33755500011", "batch_size": 10}, "batch_size has no effect with long_number"),
        ({"api_key": KEY, "batch_size": 501}, "less than or equal to 500"),
        ({"api_key": KEY, "base_url": "http://api.smspartner.fr/v1"}, "must start with https://"),
        ({"api_key": KEY, "keyid": "x"}, "Extra inputs"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(block: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        SmsPartnerSettings.model_validate({"name": "p", **block})


def test_settings_need_a_key_only() -> None:
    settings = SmsPartnerSettings.model_validate({"name": "p", "api_key": KEY})

    assert (settings.base_url, settings.batch_size) == ("https://api.smspartner.fr/v1", 50)
    assert KEY not in repr(settings)


def test_key_file_that_was_not_read_is_said() -> None:
    settings = SmsPartnerSettings.model_validate({"name": "p", "api_key_file": "smspartner.key"})

    with pytest.raises(ProviderUnusable, match="api_key_file"):
        build_provider(settings, ManualClock())
