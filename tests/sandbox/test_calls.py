"""What the sandbox takes and refuses, with an ordinary HTTP client."""

import asyncio
import json

import httpx
import pytest

from gateway.sandbox import Sandbox
from gateway.sandbox.messages import MOST_MESSAGES, MessageBox
from tests.sandbox.calls import DEADLINE_S, KEY, MULTI, SMS, carried, send

# --- what it takes ---------------------------------------------------------------------------------------------------


async def test_one_sms_is_taken_and_listed(client: httpx.AsyncClient) -> None:
    assert await send(client, {**SMS, "nostop": "1", "smslong": "2", "sandbox": 1}) == (200, [(0, "0612340001")])
    assert (await client.get("/sandbox/messages")).json() == [
        {
            "id": 1,
            "api": "isendpro",
            "number": "0612340001",
            "text": "Bonjour",
            "originator": "MaSociete",
            "tracker": "T1",
            "parts": 1,
            "time": "2026-03-04T09:30:00.000+00:00",
            "msisdn": "+33612340001",
            "batch": 1,
            "key": "…710a",
            "nostop": True,
            "ucs2": False,
            "smslong": 2,
            "date_envoi": None,
            "trial": True,
            "state": "trial",
            "state_at": "2026-03-04T09:30:00.000+00:00",
            "deliver_at": None,
            "message_id": None,
            "long_number": None,
            "receipts_to": None,
            "replies_to": None,
        }
    ]


async def test_several_sms_are_taken_in_order(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    reply = await send(client, MULTI, "/cgi-bin/smsmulti")

    assert reply == (200, [(0, "0612340001"), (0, "33612340002")])
    assert [(sms["msisdn"], sms["text"], sms["tracker"], sms["batch"]) for sms in sandbox.messages] == [
        ("+33612340001", "Un", "T1", 1),
        ("+33612340002", "Deux", "T2", 1),
    ]


@pytest.mark.parametrize("text", [["Bonjour"], "Bonjour"])
async def test_common_text_goes_to_everybody(sandbox: Sandbox, client: httpx.AsyncClient, text: object) -> None:
    await send(client, {**MULTI, "sms": text}, "/cgi-bin/smsmulti")

    assert [sms["text"] for sms in sandbox.messages] == ["Bonjour", "Bonjour"]


async def test_parts_are_counted_as_the_carrier_does(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    for text, ucs2 in (("x" * 160, "0"), ("x" * 161, "0"), ("€" * 80 + "x", "0"), ("я" * 70, "1"), ("я" * 71, "1")):
        await send(client, {**SMS, "sms": text, "ucs2": ucs2})

    assert [sms["parts"] for sms in sandbox.messages] == [1, 2, 2, 1, 2]


async def test_delete_empties_the_list(client: httpx.AsyncClient) -> None:
    await send(client, SMS)
    deleted = await client.delete("/sandbox/messages")

    assert deleted.status_code == 204
    assert (await client.get("/sandbox/messages")).json() == []


async def test_waiting_ends_when_enough_has_come(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as group:
        waiting = group.create_task(sandbox.wait_for_messages(2))
        await send(client, SMS)
        assert not waiting.done()
        await send(client, SMS)

    assert len(sandbox.messages) == 2


async def test_oldest_are_forgotten_at_the_limit() -> None:
    box = MessageBox()
    await box.add(carried(batch) for batch in range(MOST_MESSAGES + 5))

    assert len(box) == MOST_MESSAGES
    assert box.list()[0]["batch"] == 5
    assert [sms["batch"] for sms in box.newest(2)] == [MOST_MESSAGES + 4, MOST_MESSAGES + 3]


# --- what it refuses -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"keyid": None}, "1"),
        ({"keyid": " "}, "1"),
        ({"num": None}, "6"),
        ({"num": ""}, "6"),
        ({"num": True}, "6"),
        ({"num": ["0612340001"]}, "6"),
        ({"emetteur": ""}, "16"),
        ({"emetteur": "abc"}, "33"),
        ({"emetteur": "12345"}, "33"),
        ({"emetteur": "TropLongEnsemble"}, "33"),
        ({"emetteur": 5}, "33"),
        ({"smslong": "deux"}, "34"),
        ({"smslong": True}, "34"),
        ({"sms": None}, "999"),
        ({"sms": ""}, "999"),
        ({"sms": "\ud83d"}, "999"),
        ({"tracker": "x" * 50}, "999"),
        ({"tracker": "a-b"}, "999"),
        ({"date_envoi": "demain"}, "999"),
    ],
)
async def test_wrong_request_is_refused_as_a_whole(
    sandbox: Sandbox, client: httpx.AsyncClient, change: dict[str, object], code: str
) -> None:
    body = json.dumps({name: value for name, value in {**SMS, **change}.items() if value is not None})
    answer = await client.post("/cgi-bin/sms", content=body)
    [entry] = answer.json()["etat"]["etat"]

    assert (answer.status_code, entry["code"], "tel" in entry) == (400, code, False)
    assert sandbox.messages == ()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"num": []}, "6"),
        ({"num": ["0612340001", None]}, "6"),
        ({"num": ["0612340001"] * 501}, "23"),
        ({"sms": ["Un", "Deux", "Trois"]}, "999"),
        ({"sms": []}, "999"),
        ({"tracker": ["T1"]}, "999"),
        ({"tracker": "T1"}, "999"),
    ],
)
async def test_wrong_lists_are_refused_as_a_whole(
    client: httpx.AsyncClient, change: dict[str, object], code: str
) -> None:
    assert await send(client, {**MULTI, **change}, "/cgi-bin/smsmulti") == (400, [code])


@pytest.mark.parametrize("body", [b"", b"[]", b"nonsense", b"[" * 100_000, b"\xff"])
async def test_what_is_no_json_object_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post("/cgi-bin/sms", content=body)

    assert answer.status_code == 400
    assert answer.json()["etat"]["etat"][0]["code"] == "999"


async def test_wrong_number_is_told_in_its_own_entry(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    reply = await send(client, {**MULTI, "num": ["06123", "4915112345678"]}, "/cgi-bin/smsmulti")

    assert reply == (200, [(7, "06123"), (0, "4915112345678")])
    assert [sms["msisdn"] for sms in sandbox.messages] == ["+4915112345678"]


async def test_text_longer_than_allowed_is_refused(client: httpx.AsyncClient) -> None:
    assert await send(client, {**SMS, "sms": "x" * 161, "smslong": "1"}) == (200, [(999, "0612340001")])


async def test_body_above_the_limit_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post("/cgi-bin/sms", content=b" " * (1024 * 1024 + 1))

    assert answer.status_code == 413


async def test_get_is_not_how_sms_are_sent(client: httpx.AsyncClient) -> None:
    assert (await client.get("/cgi-bin/sms")).status_code == 405


@pytest.mark.parametrize("code", [0, 4, 11, 12, 21, 24, 29, 99])
@pytest.mark.parametrize("form", ["06000000{:02}", "336000000{:02}", "+336000000{:02}", "00336000000{:02}"])
async def test_reserved_number_answers_its_code(client: httpx.AsyncClient, code: int, form: str) -> None:
    number = form.format(code)

    assert await send(client, {**SMS, "num": number}) == (200, [(code, number)])


async def test_reserved_number_is_taken_and_cuts_the_connection(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    with pytest.raises(httpx.TransportError):
        await client.post("/cgi-bin/smsmulti", json={**MULTI, "num": ["0612340001", "0699000006"]})

    assert [sms["number"] for sms in sandbox.messages] == ["0612340001", "0699000006"]


@pytest.mark.parametrize("number", [f"069900000{last}" for last in range(1, 6)])
async def test_numbers_reserved_for_receipts_are_taken(client: httpx.AsyncClient, number: str) -> None:
    assert await send(client, {**SMS, "num": number}) == (200, [(0, number)])


# --- the other calls -------------------------------------------------------------------------------------------------


async def test_credit_is_told_by_post_and_by_get(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    by_post = await client.post("/cgi-bin/credit", data={"keyid": KEY, "credit": "2"})
    by_get = await client.get("/cgi-bin/credit", params={"keyid": KEY, "credit": "1"})
    sandbox.misbehave("credit gone")
    gone = await client.get("/cgi-bin/credit", params={"keyid": KEY, "credit": "2"})
    nobody = await client.get("/cgi-bin/credit")

    assert by_post.json() == {"etat": {"credit": "500.0", "quantite": "10000"}}
    assert by_get.json() == {"etat": {"credit": "500.0"}}
    assert gone.json() == {"etat": {"credit": "0.0", "quantite": "0"}}
    assert (nobody.status_code, nobody.json()["etat"]["etat"][0]["code"]) == (400, "1")


async def test_comptage_counts_and_sends_nothing(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    answer = await client.post("/cgi-bin/comptage", json={**SMS, "sms": "x" * 187, "comptage": "1"})

    assert answer.json() == {"etat": {"etat": [{"nb_caractere": "187", "nb_sms": "2", "tel": "0612340001"}]}}
    assert sandbox.messages == ()
