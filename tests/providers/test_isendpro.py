"""iSendPro's own ways: the request on the wire, every shape of answer, every code (docs/protocol.md §9).

The answers are composed from the platform's guides, its published specification and what clients have met.
"""

import json
from collections.abc import Sequence
from datetime import timedelta

import pytest

from gateway.lifecycle import Accepted, NotSent, Refused, Uncertain, Verdict
from gateway.protocol.codes import Code
from gateway.providers.base import Batch, SendOptions
from gateway.providers.isendpro_answers import MEANINGS, Meaning
from tests.providers.carriers import KEY, batch_of, provider_at
from tests.support.clock import START
from tests.support.rawhttp import RawServer, answer

A, B, C = "+33612340001", "+33612340002", "+33612340003"


def entries(*items: object) -> bytes:
    """Return an answer in the documented shape."""
    return json.dumps({"etat": {"etat": list(items)}}).encode()


def said(code: object, tel: str | None = None, **more: object) -> dict[str, object]:
    """Return one entry."""
    return {"code": code, "message": "quoi que ce soit", **({} if tel is None else {"tel": tel}), **more}


async def ask(
    batch: Batch, body: bytes, *, status: str = "200 OK", headers: Sequence[str] = (), **settings: object
) -> Sequence[Verdict]:
    """Return what comes of the batch when the carrier answers so."""
    async with (
        RawServer(answer(body, *headers, status=status)) as server,
        provider_at("isendpro", server.url, **settings) as provider,
    ):
        return await provider.submit(batch)


async def wire(batch: Batch, **settings: object) -> tuple[str, dict[str, object]]:
    """Return the path and the fields of the call that carries the batch."""
    async with (
        RawServer(answer(b"{}")) as server,
        provider_at("isendpro", server.url, **settings) as provider,
    ):
        await provider.submit(batch)
        [request] = server.requests
    assert "content-type: application/json" in request.head.lower()
    return request.head.split()[1], json.loads(request.body)


def short(verdict: Verdict) -> str:
    """Return a verdict in a few characters, for tables."""
    match verdict:
        case Accepted():
            return "accepted"
        case Refused():
            return f"refused {verdict.code.value}"
        case NotSent():
            return f"not sent, {verdict.hold.value} {verdict.code.value}"
        case Uncertain():
            return "uncertain"


# --- the request -----------------------------------------------------------------------------------------------------


async def test_one_sms_goes_to_sms_with_plain_values() -> None:
    assert await wire(batch_of(A, text="L'été\nfini, 50€")) == (
        "/cgi-bin/sms",
        {"keyid": KEY, "num": "33612340001", "sms": "L'été\nfini, 50€ 0", "tracker": "T0"},
    )


async def test_several_sms_go_to_smsmulti_with_lists() -> None:
    assert await wire(batch_of(A, B)) == (
        "/cgi-bin/smsmulti",
        {
            "keyid": KEY,
            "num": ["33612340001", "33612340002"],
            "sms": ["Bonjour 0", "Bonjour 1"],
            "tracker": ["T0", "T1"],
        },
    )


async def test_options_travel_as_strings_and_sandbox_as_a_number() -> None:
    options = SendOptions(account_key=KEY, originator="MaSociete", max_parts=6, nostop=True, ucs2=True)
    _, fields = await wire(batch_of(A, options=options), sandbox=True)

    assert {name: fields[name] for name in ("emetteur", "smslong", "nostop", "ucs2", "sandbox")} == {
        "emetteur": "MaSociete",
        "smslong": "6",
        "nostop": "1",
        "ucs2": "1",
        "sandbox": 1,
    }


async def test_stop_mention_is_not_asked_for_because_the_carrier_adds_it_by_itself() -> None:
    plain = await wire(batch_of(A))
    commercial = await wire(batch_of(A, options=SendOptions(account_key=KEY, commercial=True)))

    assert commercial == plain


async def test_key_of_the_provider_goes_before_that_of_the_account() -> None:
    _, fields = await wire(batch_of(A), keyid="0123456789abcdef0123")

    assert fields["keyid"] == "0123456789abcdef0123"


# --- the shapes of the answer ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        entries(said(0, "0612340001")),
        entries(said("0", "0612340001")),
        entries(said(" 0 ", "33612340001")),
        entries(said(0, "+33 6 12 34 00 01")),
        entries(said(0, "0033612340001")),
        entries({"code": 0, "tel": 612340001}),
        entries({"code": 0, "tel": 33612340001}),
        entries(said(0)),
        entries(said(0, "")),
        entries(said(0, "06xxxxxx01")),
        json.dumps({"etat": {"etat": said(0, "0612340001")}}).encode(),
        json.dumps({"etat": said("0", "0612340001")}).encode(),
        json.dumps({"etat": [said(0, "0612340001")]}).encode(),
        b"\xef\xbb\xbf" + entries(said(0, "0612340001")),
        '{"etat":{"etat":[{"code":0,"tel":"0612340001","message":"Votre message a bien été envoyé"}]}}'.encode(
            "latin-1"
        ),
    ],
)
async def test_every_shape_of_yes_is_understood(body: bytes) -> None:
    [verdict] = await ask(batch_of(A), body)

    assert short(verdict) == "accepted"


@pytest.mark.parametrize(
    "body",
    [
        entries(said("00", "0612340001")),
        entries(said("+0", "0612340001")),
        entries(said("0x0", "0612340001")),
        entries(said("０", "0612340001")),
        entries(said(0.0, "0612340001")),
        entries(said(-1, "0612340001")),
        entries({"code": False, "tel": "0612340001"}),
        entries(said(None, "0612340001")),
        entries(said([0], "0612340001")),
        entries(said("9" * 5000, "0612340001")),
        entries({"tel": "0612340001"}),
        entries("0"),
        entries(),
        json.dumps({"etat": {}}).encode(),
        json.dumps({"etat": 0}).encode(),
        json.dumps({"code": 0, "tel": "0612340001"}).encode(),
        entries(said(0, "0699999999")),
        entries(said(0, "0612340001"), said(11, "0612340001")),
        entries(said(0), said(11)),
        entries(said(1000, "0612340001")),
        entries(said(230, "0612340001")),
        entries(said(250, "0612340001")),
    ],
)
async def test_what_is_no_clear_yes_or_no_proves_nothing(body: bytes) -> None:
    [verdict] = await ask(batch_of(A), body)

    assert short(verdict) == "uncertain"


@pytest.mark.parametrize(
    ("batch", "body", "expected"),
    [
        (batch_of(A, B, C), entries(said("0", "0612340001"), said("11", "0612340002"), said(21, "0612340003")),
         ["accepted", "refused 11", "refused 21"]),
        (batch_of(A, B), entries(said(11, "0612340002"), said(0, "0612340001")), ["accepted", "refused 11"]),
        (batch_of(A, B), entries(said(0, "0612340001")), ["accepted", "uncertain"]),
        (batch_of(A, B), entries(said(0, "0612340001"), said(0, "0612340002"), said(11, "0612340003")),
         ["accepted", "accepted"]),
        (batch_of(A, A), entries(said(0, "0612340001"), said(21, "0612340001")), ["accepted", "refused 21"]),
        (batch_of(A, A), entries(said(0, "0612340001")), ["accepted", "uncertain"]),
        (batch_of(A, B), entries(said(0), said(21)), ["accepted", "refused 21"]),
        (batch_of(A, B), entries(said(0, "0612340001"), said(21)), ["accepted", "refused 21"]),
        (batch_of(A, B, C), entries(said(0, "0612340002"), said(21), said(22)),
         ["uncertain", "accepted", "refused 22"]),
        (batch_of(A, B, C), entries(said(0, "0612340001"), said(12)), ["accepted", "uncertain", "uncertain"]),
        (batch_of(A, B), entries(said("3")), ["not sent, account 3", "not sent, account 3"]),
        (batch_of(A, B), entries(said(0, "0612340001"), "?"), ["accepted", "uncertain"]),
    ],
)  # fmt: skip
async def test_each_sms_gets_the_answer_that_names_it(batch: Batch, body: bytes, expected: list[str]) -> None:
    verdicts = await ask(batch, body)

    assert [short(verdict) for verdict in verdicts] == expected


async def test_parts_are_believed_within_reason() -> None:
    told = [said(0, A, smslong="3"), said(0, B, smslong=999), said(0, C)]
    verdicts = await ask(batch_of(A, B, C), entries(*told))

    assert [verdict.parts for verdict in verdicts if isinstance(verdict, Accepted)] == [3, None, None]


async def test_kept_answer_is_that_about_the_one_sms() -> None:
    [first, _] = await ask(batch_of(A, B), entries(said(0, "0612340001"), said(11, "0612340002")))

    assert first.raw == 'HTTP 200 {"code":0,"message":"quoi que ce soit","tel":"0612340001"}'


# --- the codes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        *((code, f"not sent, account {code}") for code in (1, 2, 3, 12, 14, 30)),
        *((code, f"refused {code}") for code in (6, 7, 11, 16, 21, 22, 23, 27, 33, 34, *range(100, 108))),
        *((code, "refused 999") for code in (4, 5, 8, 13, 35, 99, 998, 12345)),
        (24, "not sent, sms 24"),
        (29, "not sent, provider 29"),
        (999, "uncertain"),
    ],
)
@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request"])
async def test_code_means_what_the_table_says_whatever_the_status(code: int, expected: str, status: str) -> None:
    [verdict] = await ask(batch_of(A), entries(said(str(code), "0612340001")), status=status)

    assert short(verdict) == expected
    assert f'"code":"{code}"' in verdict.raw


def test_every_code_of_the_annex_has_its_meaning() -> None:
    assert {code.value for code in Code} <= MEANINGS.keys()


def test_only_code_0_is_ever_acceptance() -> None:
    assert [code for code, meaning in MEANINGS.items() if meaning is Meaning.ACCEPTED] == [0]


async def test_999_is_a_refusal_where_the_operator_says_so() -> None:
    [verdict] = await ask(batch_of(A), entries(said(999, "0612340001")), on_999="refused")

    assert short(verdict) == "refused 999"


@pytest.mark.parametrize("status", ["201 Created", "302 Found", "400 Bad Request", "429 Slow Down", "500 Oops"])
async def test_yes_with_another_status_than_200_contradicts_itself(status: str) -> None:
    [verdict] = await ask(batch_of(A), entries(said(0, "0612340001")), status=status)

    assert short(verdict) == "uncertain"


# --- the status, when the body says nothing --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (204, "uncertain"),
        (301, "refused 999"),
        (400, "refused 999"),
        (401, "not sent, account 999"),
        (403, "not sent, account 999"),
        (404, "refused 999"),
        (405, "refused 999"),
        (408, "uncertain"),
        (409, "uncertain"),
        (413, "refused 999"),
        (422, "refused 999"),
        (429, "not sent, provider 29"),
        (500, "uncertain"),
        (502, "uncertain"),
        (503, "uncertain"),
        (504, "uncertain"),
        (599, "uncertain"),
    ],
)
@pytest.mark.parametrize("body", [b"", b"<html>", b'{"etat":{"etat":[{"message":"?"}]}}'])
async def test_status_decides_when_the_body_does_not(status: int, expected: str, body: bytes) -> None:
    if status == 204:
        body = b""
    verdicts = await ask(batch_of(A, B), body, status=f"{status} X")

    assert [short(verdict) for verdict in verdicts] == [expected, expected]


async def test_503_is_not_sent_where_the_operator_says_so() -> None:
    [verdict] = await ask(batch_of(A), b"busy", status="503 Busy", headers=["Retry-After: 60"], on_503="not_taken")

    assert short(verdict) == "not sent, provider 29"
    assert isinstance(verdict, NotSent)
    assert verdict.retry_at == START + timedelta(seconds=60)


@pytest.mark.parametrize(
    ("header", "expected_s"),
    [
        ("120", 120),
        ("0", 0),
        ("86400", 3600),
        ("9" * 400, 3600),
        ("Wed, 04 Mar 2026 09:40:00 GMT", 600),
        ("Wed, 04 Mar 2026 09:40:00", 600),
        ("Wed, 04 Mar 2026 10:40:00 +0100", 600),
        ("Thu, 05 Mar 2026 09:40:00 GMT", 3600),
        ("Tue, 03 Mar 2026 09:40:00 GMT", 0),
        ("soon", None),
        ("-5", None),
        ("²", None),
        ("Wed, 99 Mar 2026 09:40:00 GMT", None),
    ],
)
async def test_retry_after_is_kept_within_an_hour(header: str, expected_s: int | None) -> None:
    body = f"HTTP/1.1 429 Slow Down\r\nContent-Length: 0\r\nRetry-After: {header}\r\n\r\n".encode("latin-1")
    async with RawServer(body) as server, provider_at("isendpro", server.url) as provider:
        [verdict] = await provider.submit(batch_of(A))

    assert isinstance(verdict, NotSent)
    assert verdict.retry_at == (None if expected_s is None else START + timedelta(seconds=expected_s))


async def test_overflow_keeps_the_wish_of_the_header() -> None:
    [verdict] = await ask(batch_of(A), entries(said(29)), headers=["Retry-After: 10"])

    assert isinstance(verdict, NotSent)
    assert verdict.retry_at == START + timedelta(seconds=10)
