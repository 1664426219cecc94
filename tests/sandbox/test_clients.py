"""What clients that others wrote send, and how they read the answer: composed from their documentation, value by value.

Each reads with its own rules, so that an answer they could not use is found here.
"""

import json
from collections.abc import Mapping

import httpx
import pytest

from gateway.sandbox import Sandbox
from tests.sandbox.calls import KEY
from tests.sandbox.listener import Listener

FORM = "application/x-www-form-urlencoded"  # what curl in PHP calls any body

# --- iSendPro --------------------------------------------------------------------------------------------------------


async def test_isendpro_python_guide(client: httpx.AsyncClient) -> None:
    """The generated client leaves out what is not set; the guide prints this very answer."""
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    body = json.dumps({"keyid": KEY, "num": "0612340001", "sms": "This is a one-time test!"})
    answer = await client.post("/cgi-bin/sms", content=body, headers=headers)
    [entry] = answer.json()["etat"]["etat"]

    assert (answer.status_code, entry["code"], entry["tel"]) == (200, 0, "0612340001")
    assert set(entry) == {"code", "tel", "message"}


@pytest.mark.parametrize(("number", "is_general"), [("0612340001", False), ("0600000021", False), ("", True)])
async def test_isendpro_php_sample_tells_errors_apart_by_tel(
    client: httpx.AsyncClient, number: str, is_general: bool
) -> None:
    fields = {"keyid": KEY, "num": [number], "sms": ["Bonjour"], "emetteur": "iSendPro", "smslong": "999"}
    answer = await client.post("/cgi-bin/smsmulti", content=json.dumps(fields), headers={"Content-Type": FORM})
    entry = answer.json()["etat"]["etat"][0]

    assert ("tel" not in entry, answer.status_code) == (is_general, 400 if is_general else 200)


@pytest.mark.parametrize("is_trial", [0, 1])
async def test_isendpro_symfony_notifier_sends_sandbox_as_a_number(client: httpx.AsyncClient, is_trial: int) -> None:
    fields = {
        "keyid": KEY,
        "num": "0612340001",
        "sms": "Hello!",
        "sandbox": is_trial,
        "nostop": "1",
        "emetteur": "Cabinet",
    }
    answer = await client.post("/cgi-bin/sms", json=fields)
    refused = await client.post("/cgi-bin/sms", json={**fields, "num": "0600000003"})

    assert (answer.status_code, answer.json()["etat"]["etat"][0]["code"]) == (200, 0)
    assert int(refused.json()["etat"]["etat"][0]["code"]) == 3


async def test_isendpro_php_client_asks_for_the_credit_by_form(client: httpx.AsyncClient) -> None:
    answer = await client.post("/cgi-bin/credit", content=f"keyid={KEY}&credit=2", headers={"Content-Type": FORM})

    assert answer.json()["etat"] == {"credit": "500.0", "quantite": "10000"}


async def test_isendpro_integration_reads_tel_and_statut(client: httpx.AsyncClient, listener: Listener) -> None:
    await client.post("/cgi-bin/sms", json={"keyid": KEY, "num": "0612340001", "sms": "Bonjour", "tracker": "g1k7"})
    [call] = await listener.wait_for(1)

    assert (call.method, call.query["tel"], int(call.query["statut"]), call.query["tracker"]) == (
        "GET",
        "0612340001",
        0,
        "g1k7",
    )


# --- SMS Partner -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content_type", [FORM, "application/json", "application/json; charset=utf-8", ""])
async def test_sms_partner_long_number_guide(client: httpx.AsyncClient, content_type: str) -> None:
    """PHP, curl, Visual Basic and Python's requests each name another type for the same body."""
    body = '{"apiKey":"xxxxx","to":"33612340001","from":"33755500011","message":"test"}'
    headers = {"Content-Type": content_type} if content_type else {}
    answer = await client.post("/v1/vn/send", content=body, headers=headers)

    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")
    expected = {"success": True, "code": 200, "message_id": 5510001, "nb_sms": 1, "cost": 0.045, "currency": "EUR"}
    assert list(answer.json().items()) == list(expected.items())


async def test_sms_partner_go_client_decodes_into_its_types(client: httpx.AsyncClient) -> None:
    fields = {"apiKey": KEY, "phoneNumbers": "+33612340001, +33612340002", "message": "Bonjour", "gamme": 1}
    when = {"scheduledDeliveryDate": "21/11/2026", "time": 20, "minute": 0}
    told = (await client.post("/v1/send", json={**fields, **when, "isStopSms": 0, "sandbox": 1})).json()

    types = {"success": bool, "code": int, "message_id": int, "nb_sms": int, "cost": float, "currency": str}
    assert {name: type(told[name]) for name in types} == types
    assert told["scheduledDeliveryDate"] == "2026-11-21 20:00:00"


async def test_sms_partner_careful_client_wants_an_id(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    """It learnt that `success` alone proves nothing."""

    def is_accepted(told: Mapping[str, object]) -> bool:
        return told["success"] is True and told["code"] == 200 and bool(told.get("message_id"))

    fields = {"apiKey": KEY, "phoneNumbers": "+33612340001", "message": "Bonjour"}
    good = (await client.post("/v1/send", json=fields)).json()
    sandbox.misbehave("false success")
    false = (await client.post("/v1/send", json=fields)).json()

    assert (is_accepted(good), is_accepted(false), false["success"]) == (True, False, True)


async def test_sms_partner_callback_route_finds_its_send(client: httpx.AsyncClient, listener: Listener) -> None:
    """It keys on id and number, and takes the id as a string or a number."""
    fields = {"apiKey": KEY, "phoneNumbers": "0612340001,0699000002", "message": "Bonjour", "urlDlr": listener.url}
    told = (await client.post("/v1/send", json=fields)).json()
    bodies = [call.body or {} for call in await listener.wait_for(2)]

    found = {(int(str(body["msgId"])), str(body["phone"])): body["status"] for body in bodies}
    message_id = told["message_id"]
    assert found == {(message_id, "+33612340001"): "delivered", (message_id, "+33699000002"): "not delivered"}


@pytest.mark.parametrize("path", ["/v1/send", "/v1/bulk-send", "/v1/vn/send"])
async def test_sms_partner_cuts_the_connection_for_the_reserved_number(
    sandbox: Sandbox, client: httpx.AsyncClient, path: str
) -> None:
    number = "0699000006"
    fields = {"phoneNumbers": number, "SMSList": [{"phoneNumber": number, "message": "x"}], "to": number}
    with pytest.raises(httpx.TransportError):
        await client.post(path, json={"apiKey": KEY, "from": "33755500011", "message": "x", **fields})

    assert [sms["msisdn"] for sms in sandbox.messages] == ["+33699000006"]
