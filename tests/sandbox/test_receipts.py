"""What the client is told later: receipts, replies, and trouble with them."""

import json

import httpx
import pytest

from gateway.sandbox import Api, Sandbox, SandboxError
from tests.sandbox.calls import LONG, MULTI, PARTNER, SMS, send
from tests.sandbox.listener import Call, Listener
from tests.support.clock import ManualClock

AT = "2026-03-04 10:30:00"  # 09:30 UTC is 10:30 in Paris
EPOCH = 1772616600


# --- receipts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "statut"), [("0612340001", "0"), ("0699000001", "0"), ("0699000002", "21")])
async def test_isendpro_tells_by_get(client: httpx.AsyncClient, listener: Listener, number: str, statut: str) -> None:
    await send(client, {**SMS, "num": number})
    [call] = await listener.wait_for(1)

    query = {"tel": number, "statut": statut, "tracker": "T1", "date": AT}
    assert call == Call(method="GET", path="/isendpro", query=query)


@pytest.mark.parametrize(("number", "status"), [("0612340001", "delivered"), ("0699000002", "not delivered")])
async def test_sms_partner_tells_by_json(
    client: httpx.AsyncClient, listener: Listener, number: str, status: str
) -> None:
    where = f"{listener.url}/dlr/SECRET"
    answer = await client.post("/v1/send", json={**PARTNER, "phoneNumbers": number, "tag": "q7h2k9", "urlDlr": where})
    [call] = await listener.wait_for(1)

    assert (call.method, call.path) == ("POST", "/dlr/SECRET")
    assert call.body == {
        "status": status,
        "msgId": str(answer.json()["message_id"]),
        "date": EPOCH,
        "phone": "+33" + number[1:],
        "cost": "0.045",
        "currency": "EUR",
        "tag": "q7h2k9",
    }


async def test_account_s_address_counts_when_the_call_has_none(client: httpx.AsyncClient, listener: Listener) -> None:
    await client.post("/v1/send", json=PARTNER)
    [call] = await listener.wait_for(1)

    assert call.path == "/smspartner"


async def test_address_keeps_what_it_asks_already(client: httpx.AsyncClient, listener: Listener) -> None:
    told = await client.put("/sandbox/callbacks", json={"isendpro": f"{listener.url}/cb?secret=a%26b"})
    await send(client, SMS)
    [call] = await listener.wait_for(1)

    assert told.json()["addresses"]["isendpro"] == f"{listener.url}/cb?secret=a%26b"
    assert (call.path, call.query["secret"], call.query["statut"]) == ("/cb", "a&b", "0")


async def test_nothing_is_heard_again_of_the_silent_number(
    sandbox: Sandbox, client: httpx.AsyncClient, listener: Listener
) -> None:
    await send(client, {**SMS, "num": "0699000003"})
    await send(client, SMS)
    calls = await listener.wait_for(1)

    assert [call.query["tel"] for call in calls] == ["0612340001"]
    assert [sms["state"] for sms in sandbox.messages] == ["waiting", "delivered"]


async def test_receipts_come_after_the_connection_was_cut(client: httpx.AsyncClient, listener: Listener) -> None:
    with pytest.raises(httpx.TransportError):
        await client.post("/cgi-bin/sms", json={**SMS, "num": "0699000006"})
    [call] = await listener.wait_for(1)

    assert call.query["statut"] == "0"


async def test_trial_is_not_sent_and_nothing_is_told(
    sandbox: Sandbox, client: httpx.AsyncClient, listener: Listener
) -> None:
    await send(client, {**SMS, "sandbox": 1})
    await send(client, {**SMS, "num": "0612340009"})
    [call] = await listener.wait_for(1)

    assert call.query["tel"] == "0612340009"
    assert sandbox.messages[0]["state"] == "trial"


@pytest.mark.parametrize("api", ["isendpro", "smspartner"])
async def test_callbacks_are_listed_with_the_answer(client: httpx.AsyncClient, listener: Listener, api: str) -> None:
    path, sms = ("/cgi-bin/sms", SMS) if api == "isendpro" else ("/v1/send", PARTNER)
    async with client.stream("GET", "/sandbox/events") as events:
        lines = events.aiter_lines()
        await client.post(path, json=sms)
        await listener.wait_for(1)
        async for line in lines:
            [record] = (await client.get("/sandbox/callbacks")).json()["callbacks"] or [{}]
            if line.startswith("data") and record.get("outcome") == "answered":
                break

    assert (record["api"], record["kind"], record["tries"], record["status"]) == (api, "receipt", 1, 200)
    assert (record["answer"], record["error"]) == ("ok", None)


@pytest.mark.slow
async def test_callback_is_tried_again(client: httpx.AsyncClient, listener: Listener) -> None:
    listener.statuses = [500, 302]
    await send(client, SMS)
    calls = await listener.wait_for(3)

    assert [call.query["statut"] for call in calls] == ["0", "0", "0"]


@pytest.mark.slow
async def test_client_that_cannot_be_called_is_given_up(client: httpx.AsyncClient) -> None:
    await client.put("/sandbox/callbacks", json={"isendpro": "http://127.0.0.1:1/"})
    async with client.stream("GET", "/sandbox/events") as events:
        await send(client, SMS)
        async for _ in events.aiter_lines():
            found = (await client.get("/sandbox/callbacks")).json()["callbacks"]
            if found and found[0]["outcome"] == "failed":
                break

    assert (found[0]["tries"], found[0]["status"], bool(found[0]["error"])) == (3, None, True)


# --- later -----------------------------------------------------------------------------------------------------------


async def test_scheduled_sms_goes_when_its_time_has_come(
    sandbox: Sandbox, client: httpx.AsyncClient, listener: Listener, clock: ManualClock
) -> None:
    await send(client, {**SMS, "date_envoi": "2026-03-04 12:00"})
    await send(client, {**SMS, "num": "0612340002", "date_envoi": "2026-03-04 12:00", "gmt_zone": "Europe/London"})
    before = [(sms["state"], sms["deliver_at"]) for sms in sandbox.messages]
    clock.advance(90 * 60)
    sandbox.wake()
    [call] = await listener.wait_for(1)
    states = [sms["state"] for sms in sandbox.messages]

    assert before == [("scheduled", "2026-03-04T11:00:00+00:00"), ("scheduled", "2026-03-04T12:00:00+00:00")]
    assert call.query == {"tel": "0612340001", "statut": "0", "tracker": "T1", "date": "2026-03-04 12:00:00"}
    assert states == ["delivered", "scheduled"]


async def test_what_is_scheduled_can_be_sent_at_once(
    sandbox: Sandbox, client: httpx.AsyncClient, listener: Listener
) -> None:
    await send(client, {**SMS, "date_envoi": "2027-03-04 12:00"})
    sent = await client.post("/sandbox/scheduled")
    await listener.wait_for(1)

    assert sent.json() == {"sent": 1}
    assert [sms["state"] for sms in sandbox.messages] == ["delivered"]


async def test_what_went_or_was_cancelled_does_not_go_again_when_it_is_forgotten(
    sandbox: Sandbox, client: httpx.AsyncClient, listener: Listener, clock: ManualClock
) -> None:
    when = {"scheduledDeliveryDate": "04/03/2026", "time": 11, "minute": 0}
    cancelled = (await client.post("/v1/send", json={**PARTNER, **when})).json()["message_id"]
    await client.get("/v1/message-cancel", params={"apiKey": "any", "messageId": cancelled})
    await send(client, {**SMS, "date_envoi": "2026-03-04 11:00"})
    await client.post("/sandbox/scheduled")
    await listener.wait_for(1)
    await send(client, {**SMS, "num": "0612340002", "date_envoi": "2026-03-04 11:01"})
    await client.delete("/sandbox/messages")
    clock.advance(3600)
    sandbox.wake()
    calls = await listener.wait_for(2)

    assert [call.query["tel"] for call in calls] == ["0612340001", "0612340002"]


async def test_what_is_under_way_never_arrives_after_a_reset(
    sandbox: Sandbox, client: httpx.AsyncClient, listener: Listener, clock: ManualClock
) -> None:
    await send(client, {**SMS, "date_envoi": "2026-03-04 11:00"})
    await client.post("/sandbox/reset")
    clock.advance(3600)
    sandbox.wake()
    await send(client, {**SMS, "num": "0612340002"})
    [call] = await listener.wait_for(1)

    assert call.query["tel"] == "0612340002"


async def test_date_that_has_passed_means_at_once(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    await send(client, {**SMS, "date_envoi": "2026-03-04 10:00"})

    assert sandbox.messages[0]["deliver_at"] is None


@pytest.mark.parametrize(
    "change",
    [
        {"date_envoi": "2026-02-30 10:00"},
        {"date_envoi": "9999-12-31 23:59", "gmt_zone": "Pacific/Midway"},
        {"gmt_zone": "Europe/Paris"},
        {"gmt_zone": 1},
        {"numAzur": []},
        {"nostop": True},
    ],
)
async def test_impossible_date_and_zone_are_refused(client: httpx.AsyncClient, change: dict[str, object]) -> None:
    assert await send(client, {**SMS, "date_envoi": "2026-05-01 10:00", **change}) == (400, ["999"])


# --- replies ---------------------------------------------------------------------------------------------------------


async def test_reply_goes_to_isendpro_s_client(client: httpx.AsyncClient, listener: Listener) -> None:
    await send(client, SMS)
    await listener.wait_for(1)
    reply = await client.post("/sandbox/replies", json={"number": "0612340001", "text": "Oui & merci é"})
    call = (await listener.wait_for(2))[1]

    query = {"tel": "0612340001", "message": "Oui & merci é", "date": AT, "tracker": "T1"}
    assert call == Call(method="GET", path="/isendpro", query=query)
    assert reply.status_code == 201
    assert (reply.json()["number"], reply.json()["told"], reply.json()["stop"]) == ("+33612340001", True, False)


@pytest.mark.parametrize(("text", "kind"), [("OK pour 10h", "response"), ("Stop.", "stop")])
async def test_reply_to_the_short_code(client: httpx.AsyncClient, listener: Listener, text: str, kind: str) -> None:
    answer = await client.post("/v1/send", json={**PARTNER, "urlResponse": f"{listener.url}/mo"})
    await listener.wait_for(1)
    await client.post("/sandbox/replies", json={"number": "+33612340001", "text": text})
    call = (await listener.wait_for(2))[1]

    assert (call.method, call.path) == ("POST", "/mo")
    message_id = answer.json()["message_id"]
    assert call.body == {"type": kind, "phone_number": "+33612340001", "text": text, "message_id": message_id}


async def test_long_reply_to_a_long_number_comes_in_parts(client: httpx.AsyncClient, listener: Listener) -> None:
    text = "Je confirme " + "bien " * 40 + "é"
    await client.post("/v1/vn/send", json=LONG)
    await listener.wait_for(1)
    await client.post("/sandbox/replies", json={"number": "0612340001", "text": text})
    bodies = [call.body or {} for call in (await listener.wait_for(3))[1:]]

    assert "".join(str(body["text"]) for body in bodies) == text
    assert [(body["concat"], body["concat-total"], body["concat-part"]) for body in bodies] == [
        ("true", "2", "1"),
        ("true", "2", "2"),
    ]
    assert len({body["concat-ref"] for body in bodies}) == 1
    first = bodies[0]
    assert (first["msisdn"], first["to"], first["type"]) == ("33612340001", "33755500011", "text")
    assert (first["keyword"], first["message-timestamp"]) == ("JE", AT)


async def test_stop_by_telephone_puts_the_number_on_that_carrier_s_list(
    client: httpx.AsyncClient, listener: Listener
) -> None:
    await send(client, {**SMS, "num": "0699000004"})
    calls = await listener.wait_for(2)
    refused = await send(client, {**SMS, "num": "0699000004"})
    other = await client.post("/v1/send", json={**PARTNER, "phoneNumbers": "0699000004"})

    assert [call.query.get("message") for call in calls] == [None, "STOP"]
    assert refused == (200, [(11, "0699000004")])
    assert other.json()["success"] is True


async def test_consenting_number_answers_oui(client: httpx.AsyncClient, listener: Listener) -> None:
    await client.post("/v1/send", json={**PARTNER, "phoneNumbers": "0699000005"})
    bodies = [call.body or {} for call in await listener.wait_for(2)]

    assert (bodies[1]["type"], bodies[1]["text"]) == ("response", "OUI")


async def test_reply_answers_the_newest_sms_or_the_one_it_names(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    await client.post("/v1/vn/send", json=LONG)
    await send(client, SMS)
    newest = sandbox.answer("+33612340001", "Oui")
    named = sandbox.answer("+33612340001", "Oui", to="33755500011")

    assert (newest["api"], newest["answers"], newest["told"]) == ("isendpro", 2, False)
    assert (named["api"], named["answers"]) == ("smspartner", 1)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"[" * 100_000,
        b'{"number": "0612340001"}',
        b'{"number": "x", "text": "y"}',
        b'{"text": "y"}',
        b'{"number": "0612340001", "text": "Oui"}',
        b'{"number": "0612340001", "text": "Oui", "more": 1}',
    ],
)
async def test_reply_that_cannot_be_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post("/sandbox/replies", content=body)

    assert answer.status_code == 400
    assert answer.json()["error"]


def test_client_that_has_no_address_cannot_be_called() -> None:
    with pytest.raises(SandboxError, match="not an address"):
        Sandbox().call_back(Api.ISENDPRO, "nowhere")


def test_nobody_answers_what_they_never_got() -> None:
    with pytest.raises(SandboxError, match="nothing was sent"):
        Sandbox().answer("+33612340001", "Oui")


async def test_form_answers_and_leads_back_to_the_telephone(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    await send(client, SMS)
    answer = await client.post("/sandbox/replies", data={"number": "+33612340001", "text": "", "stop": "true"})

    assert (answer.status_code, answer.headers["Location"]) == (303, "/#phone-33612340001")
    assert [(reply["text"], reply["stop"]) for reply in sandbox.replies] == [("STOP", True)]


# --- trouble ---------------------------------------------------------------------------------------------------------


async def test_doubled_receipts_come_twice(sandbox: Sandbox, client: httpx.AsyncClient, listener: Listener) -> None:
    sandbox.misbehave("receipts doubled", count=1)
    await send(client, SMS)
    first, second = await listener.wait_for(2)

    assert first == second


async def test_missing_receipts_do_not_come(sandbox: Sandbox, client: httpx.AsyncClient, listener: Listener) -> None:
    sandbox.misbehave("receipts missing", count=1)
    await send(client, SMS)
    await send(client, {**SMS, "num": "0612340002"})
    [call] = await listener.wait_for(1)

    assert call.query["tel"] == "0612340002"
    assert [sms["state"] for sms in sandbox.messages] == ["delivered", "delivered"]


@pytest.mark.parametrize("answer", [None, "lost"])
async def test_receipts_come_before_the_answer(
    sandbox: Sandbox, client: httpx.AsyncClient, listener: Listener, answer: str | None
) -> None:
    sandbox.misbehave("receipts before the answer")
    if answer is not None:
        sandbox.misbehave(answer)
    try:
        await client.post("/cgi-bin/smsmulti", json=MULTI)
    except httpx.TransportError:
        assert answer == "lost"

    assert {call.query["tracker"] for call in listener.calls} == {"T1", "T2"}


async def test_late_receipts_come_later(
    sandbox: Sandbox, client: httpx.AsyncClient, listener: Listener, clock: ManualClock
) -> None:
    sandbox.misbehave("receipts late", delay_s=60, count=1)
    await send(client, SMS)
    await send(client, {**SMS, "num": "0612340002"})
    await listener.wait_for(1)
    clock.advance(60)
    sandbox.wake()
    calls = await listener.wait_for(2)

    assert [call.query["tel"] for call in calls] == ["0612340002", "0612340001"]


async def test_receipts_out_of_order_end_with_what_is_no_news(
    sandbox: Sandbox, client: httpx.AsyncClient, listener: Listener
) -> None:
    sandbox.misbehave("receipts out of order")
    await client.post("/v1/send", json={**PARTNER, "phoneNumbers": "0612340001,0612340002"})
    bodies = [call.body or {} for call in await listener.wait_for(4)]

    assert [(body["phone"], body["status"]) for body in bodies] == [
        ("+33612340002", "delivered"),
        ("+33612340002", "waiting"),
        ("+33612340001", "delivered"),
        ("+33612340001", "waiting"),
    ]


@pytest.mark.parametrize(
    "told",
    [{"isendpro": "ftp://x/"}, {"isendpro": "http://"}, {"isendpro": "http://x:99999/"}, {"other": "http://x/"}, []],
)
async def test_address_that_is_none_is_refused(client: httpx.AsyncClient, told: object) -> None:
    answer = await client.put("/sandbox/callbacks", content=json.dumps(told))

    assert answer.status_code == 400
    assert (await client.get("/sandbox/callbacks")).json() == {
        "addresses": {"isendpro": None, "smspartner": None},
        "callbacks": [],
    }


async def test_address_is_forgotten_with_null(client: httpx.AsyncClient, listener: Listener) -> None:
    left = await client.post("/sandbox/callbacks", json={"isendpro": None})

    assert left.json()["addresses"] == {"isendpro": None, "smspartner": f"{listener.url}/smspartner"}
