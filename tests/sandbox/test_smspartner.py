"""SMS Partner's interface, as its documents and its clients have it."""

import xml.etree.ElementTree as ET

import httpx
import pytest

from gateway.sandbox import Sandbox
from tests.sandbox.calls import BULK, KEY, LONG, PARTNER
from tests.sandbox.listener import Listener
from tests.support.clock import ManualClock

FIRST = 5_510_001


async def post(client: httpx.AsyncClient, path: str, fields: object) -> tuple[int, dict[str, object]]:
    answer = await client.post(path, json=fields)
    return answer.status_code, answer.json()


async def ask(client: httpx.AsyncClient, path: str, **query: object) -> dict[str, object]:
    answer = await client.get(path, params={"apiKey": KEY, **{name: str(value) for name, value in query.items()}})
    found: dict[str, object] = answer.json()
    return found


# --- what is taken ---------------------------------------------------------------------------------------------------


async def test_send_answers_with_six_keys_in_their_order(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    fields = {**PARTNER, "phoneNumbers": "+33612340001, 0612340002", "sender": "AtelierNord", "tag": "q7h2k9"}
    status, told = await post(client, "/v1/send", fields)

    expected = {"success": True, "code": 200, "message_id": FIRST, "nb_sms": 2, "cost": 0.09, "currency": "EUR"}
    assert (status, list(told.items())) == (200, list(expected.items()))
    assert [(sms["msisdn"], sms["originator"], sms["tracker"], sms["message_id"]) for sms in sandbox.messages] == [
        ("+33612340001", "AtelierNord", "q7h2k9", FIRST),
        ("+33612340002", "AtelierNord", "q7h2k9", FIRST),
    ]


async def test_bulk_answers_for_each_number(client: httpx.AsyncClient) -> None:
    status, told = await post(client, "/v1/bulk-send", BULK)

    assert (status, told) == (
        200,
        {
            "success": True,
            "code": 200,
            "message_id": FIRST,
            "currency": "EUR",
            "cost": 0.09,
            "nbSMS": 2,
            "SMSResponse_List": [
                {"success": True, "code": 200, "nbSms": 1, "cost": 0.045, "phoneNumber": "+33612340001"},
                {"success": True, "code": 200, "nbSms": 1, "cost": 0.045, "phoneNumber": "+33612340002"},
            ],
        },
    )


async def test_long_number_sends_one(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    status, told = await post(client, "/v1/vn/send", LONG)

    expected = {"success": True, "code": 200, "message_id": FIRST, "nb_sms": 1, "cost": 0.045, "currency": "EUR"}
    assert (status, told) == (200, expected)
    assert (sandbox.messages[0]["originator"], sandbox.messages[0]["long_number"]) == ("+33755500011", "33755500011")


async def test_xml_has_the_same_values_without_names(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/vn/send", json={**LONG, "_format": "xml"})

    assert answer.headers["Content-Type"].startswith("application/xml")
    assert answer.text == (
        "<?xml version='1.0' encoding='UTF-8'?>\n<result><entry>true</entry><entry>200</entry>"
        f"<entry>{FIRST}</entry><entry>1</entry><entry>0.045</entry><entry><![CDATA[EUR]]></entry></result>\n"
    )


async def test_xml_names_what_belongs_to_a_user(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/me", params={"apiKey": KEY, "_format": "xml"})
    root = ET.fromstring(answer.text)  # noqa: S314 - our own

    assert [child.text for child in root[:2]] == ["true", "200"]
    assert root[2].findtext("username") == "sandbox@example.org"
    assert [entry.text for entry in root[3]][4:] == ["500.000", "EUR"]


async def test_xml_of_a_list_is_nested_and_holds_any_text(client: httpx.AsyncClient) -> None:
    bulk = await client.post("/v1/bulk-send", json={**BULK, "_format": "xml"})
    strange = await client.post("/v1/lookup", json={"apiKey": KEY, "phoneNumbers": "a]]>\x01<b>", "_format": "xml"})

    assert [len(entry) for entry in ET.fromstring(bulk.text)] == [0, 0, 0, 0, 0, 0, 2]  # noqa: S314 - our own
    assert ET.fromstring(strange.text)[2][0][0].text == "a]]>\ufffd<b>"  # noqa: S314 - our own


async def test_text_is_what_the_telephone_shows(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    await post(client, "/v1/send", {**PARTNER, "message": "Prêt:br:5:euro: [ça] « ñ » 20° à é", "tag": "t"})
    await post(client, "/v1/send", {**PARTNER, "message": "Прêt", "isUnicode": 1})

    assert [sms["text"] for sms in sandbox.messages] == ['Pret\n5€ (Ça) " n " 20. à é', "Прêt"]


@pytest.mark.parametrize(
    ("message", "count"), [("x" * 160, 1), ("x" * 161, 2), ("x" * 159 + ":br:", 2), ("x" * 1530, 10)]
)
async def test_sms_are_counted(client: httpx.AsyncClient, message: str, count: int) -> None:
    _, told = await post(client, "/v1/send", {**PARTNER, "message": message})

    assert told["nb_sms"] == count


async def test_scheduled_send_says_when(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    when = {"scheduledDeliveryDate": "05/03/2026", "time": 8, "minute": "30"}
    _, told = await post(client, "/v1/send", {**PARTNER, **when})

    assert told["scheduledDeliveryDate"] == "2026-03-05 08:30:00"
    assert (sandbox.messages[0]["state"], sandbox.messages[0]["deliver_at"]) == (
        "scheduled",
        "2026-03-05T07:30:00+00:00",
    )


async def test_trial_costs_nothing_and_is_not_sent(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    await client.put("/sandbox/credit", json={"smspartner": 1})
    _, told = await post(client, "/v1/send", {**PARTNER, "sandbox": 1})

    assert (told["success"], sandbox.messages[0]["state"]) == (True, "trial")
    assert (await client.get("/sandbox/credit")).json() == {"isendpro": None, "smspartner": 1.0}


# --- the four shapes of errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "fields", "code"),
    [
        ("/v1/send", {**PARTNER, "apiKey": ""}, 1),
        ("/v1/send", {"apiKey": KEY}, 2),
        ("/v1/send", {**PARTNER, "phoneNumbers": ","}, 2),
        ("/v1/send", {**PARTNER, "phoneNumbers": ",".join(["0612340001"] * 501)}, 50),
        ("/v1/send", {**PARTNER, "message": "x" * 1531}, 52),
        ("/v1/send", {**PARTNER, "message": "x" * 161, "gamme": 2}, 42),
        ("/v1/send", {**PARTNER, "time": 8}, 45),
        ("/v1/send", {**PARTNER, "scheduledDeliveryDate": "05/03/2026"}, 46),
        ("/v1/send", {**PARTNER, "scheduledDeliveryDate": "05/03/2026", "time": 25, "minute": 0}, 46),
        ("/v1/send", {**PARTNER, "scheduledDeliveryDate": "05/03/2026", "time": 8}, 47),
        ("/v1/send", {**PARTNER, "scheduledDeliveryDate": "05/03/2026", "time": 8, "minute": 7}, 48),
        ("/v1/send", {**PARTNER, "scheduledDeliveryDate": "31/02/2026", "time": 8, "minute": 0}, 49),
        ("/v1/send", {**PARTNER, "scheduledDeliveryDate": "2026-03-05", "time": 8, "minute": 0}, 49),
        ("/v1/send", {**PARTNER, "scheduledDeliveryDate": "03/03/2026", "time": 8, "minute": 0}, 49),
        ("/v1/send", {**PARTNER, "scheduledDeliveryDate": "31/12/9999", "time": 24, "minute": 0}, 49),
        ("/v1/send", [], 90),
        ("/v1/bulk-send", {"apiKey": KEY}, 5),
        ("/v1/bulk-send", {"apiKey": KEY, "SMSList": []}, 5),
        ("/v1/bulk-send", {"apiKey": KEY, "SMSList": ["x"]}, 6),
        ("/v1/bulk-send", {**BULK, "SMSList": [{"phoneNumber": "0612340001", "message": "x"}] * 501}, 50),
    ],
)
async def test_shape_1_says_what_is_wrong_with_a_call(
    sandbox: Sandbox, client: httpx.AsyncClient, path: str, fields: object, code: int
) -> None:
    status, told = await post(client, path, fields)

    assert (status, told["success"], told["code"], isinstance(told["message"], str)) == (400, False, code, True)
    assert sandbox.messages == ()


@pytest.mark.parametrize("body", [b"", b"nonsense", b"[" * 100_000, b"\xff", b'{"apiKey": "\\ud800"}'])
async def test_what_is_no_json_is_code_90(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post("/v1/send", content=body)

    assert (answer.status_code, answer.json()["code"]) == (400, 90)


@pytest.mark.parametrize(
    ("path", "fields", "key", "names"),
    [
        ("/v1/send", {"apiKey": KEY, "phoneNumbers": "06123"}, "errors", ["message", "phoneNumbers"]),
        ("/v1/send", {**PARTNER, "sender": "é!"}, "errors", ["sender"]),
        ("/v1/send", {**PARTNER, "sender": []}, "errors", ["sender"]),
        ("/v1/send", {**PARTNER, "tag": "Has Space"}, "errors", ["tag"]),
        ("/v1/send", {**PARTNER, "urlDlr": "nowhere"}, "errors", ["urlDlr"]),
        ("/v1/bulk-send", {**BULK, "SMSList": [{"phoneNumber": None}]}, "error", ["message", "phoneNumber"]),
        ("/v1/vn/send", {**LONG, "from": "MaSociete"}, "errors", ["from"]),
        ("/v1/vn/send", {**LONG, "to": "x"}, "errors", ["to"]),
    ],
)
async def test_shape_2_lists_what_is_wrong_with_a_form(
    client: httpx.AsyncClient, path: str, fields: object, key: str, names: list[str]
) -> None:
    answer = await client.post(path, json=fields)
    told = answer.json()

    assert (answer.status_code, told["success"], told["code"]) == (400, False, 9)
    assert [one["elementId"] for one in told[key]] == [f"children[{name}].data" for name in names]


@pytest.mark.parametrize(
    ("number", "inner"),
    [("1595", "9"), ("0123456789", "9"), ("0600000009", "9"), ("0600000013", "13"), ("0600000014", "14")],
)
async def test_shape_3_says_what_is_wrong_with_a_number(client: httpx.AsyncClient, number: str, inner: str) -> None:
    status, told = await post(client, "/v1/send", {**PARTNER, "phoneNumbers": number})
    errors = told["errors"]

    assert (status, told["success"], told["code"]) == (200, False, 55)
    assert isinstance(errors, list)
    assert [(one["success"], one["code"]) for one in errors] == [(False, inner)]


async def test_shape_4_says_that_the_credit_is_gone(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    await client.put("/sandbox/credit", json={"smspartner": 0.05})
    reply = await post(client, "/v1/send", {**PARTNER, "phoneNumbers": "0612340001,0612340002"})

    left = {"creditSms": 1, "creditSmsLowCost": 1, "toSend": 0, "solde": 0.05}
    assert reply == (200, {"success": False, "code": 11, "error": {"message": "NOCREDITS"}, "credits": left})
    assert sandbox.messages == ()


@pytest.mark.parametrize("code", [10, 11, 20, 22, 30, 40, 96])
async def test_reserved_number_answers_its_code_for_the_whole_call(client: httpx.AsyncClient, code: int) -> None:
    _, told = await post(client, "/v1/send", {**PARTNER, "phoneNumbers": f"06000000{code}"})

    assert (told["success"], told["code"]) == (False, code)


async def test_refused_number_among_others_is_told_and_the_others_are_taken(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    numbers = "0612340001,0600000014,0612340001"
    _, told = await post(client, "/v1/send", {**PARTNER, "phoneNumbers": numbers})
    items = [{"phoneNumber": "0600000013", "message": "x"}, *BULK["SMSList"]]
    _, bulk = await post(client, "/v1/bulk-send", {**BULK, "SMSList": items})
    errors, listed = told["errors"], bulk["SMSResponse_List"]

    assert isinstance(errors, list)
    assert isinstance(listed, list)
    assert (told["success"], told["nb_sms"]) == (True, 1)
    assert [(one["code"], one["phoneNumber"]) for one in errors] == [("14", "+33600000014"), ("15", "+33612340001")]
    assert (bulk["nbSMS"], [one["success"] for one in listed]) == (2, [False, True, True])
    assert (listed[0]["code"], listed[0]["phoneNumber"]) == (13, "+33600000013")
    assert len(sandbox.messages) == 3


# --- what became of SMS ----------------------------------------------------------------------------------------------


async def test_status_of_one(client: httpx.AsyncClient) -> None:
    await post(client, "/v1/send", PARTNER)
    async with client.stream("GET", "/sandbox/events") as events:
        async for _ in events.aiter_lines():
            told = await ask(client, "/v1/message-status", messageId=FIRST, phoneNumber="0612340001")
            if told["statut"] == "Delivered":
                break

    assert told == {
        "success": True,
        "code": 200,
        "number": "0612340001",
        "messageId": str(FIRST),
        "stopSms": False,
        "date": "2026-03-04 10:30:00",
        "statut": "Delivered",
        "cost": 0.045,
        "countryCode": "FR",
        "currency": "EUR",
    }


async def test_status_of_several(client: httpx.AsyncClient) -> None:
    await post(client, "/v1/send", {**PARTNER, "phoneNumbers": "0699000003"})
    pairs = [{"phoneNumber": "+33699000003", "messageId": FIRST}, {"phoneNumber": "+33612340009", "messageId": "1"}]
    _, told = await post(client, "/v1/multi-status", {"apiKey": KEY, "SMSStatut_List": pairs})

    known = {"success": True, "code": 200, "phoneNumber": "+33699000003", "messageId": FIRST, "status": "Waiting"}
    assert told["StatutResponse_List"] == [
        {**known, "date": "1772616600", "stopSms": "0", "isSpam": "0"},
        {
            "success": False,
            "code": 4,
            "phoneNumber": "+33612340009",
            "messageId": "1",
            "status": "Numéro introuvable",
        },
    ]


async def test_status_of_a_call_and_of_a_tag(client: httpx.AsyncClient) -> None:
    await post(client, "/v1/send", {**PARTNER, "phoneNumbers": "0699000003", "tag": "q7h2k9"})
    by_call = await ask(client, "/v1/bulk-status", messageId=FIRST)
    by_tag = await ask(client, "/v1/bulk-status-by-tag", tag="q7h2k9")

    one = {"phoneNumber": "+33699000003", "status": "Waiting", "stopSMS": False, "date": "1772616600"}
    assert by_call == {"success": True, "code": 200, "message_id": str(FIRST), "StatutResponse_List": [one]}
    assert by_tag == {"success": True, "code": 200, "currentPage": 1, "total": 1, "StatutResponse_List": [one]}


@pytest.mark.parametrize(
    ("path", "query", "code"),
    [
        ("/v1/message-status", {"apiKey": ""}, 1),
        ("/v1/message-status", {}, 2),
        ("/v1/message-status", {"phoneNumber": "0612340001"}, 3),
        ("/v1/message-status", {"phoneNumber": "0612340001", "messageId": "1"}, 4),
        ("/v1/message-status", {"phoneNumber": "0612340001", "messageId": "x"}, 4),
        ("/v1/bulk-status", {}, 3),
        ("/v1/bulk-status", {"messageId": "1"}, 4),
        ("/v1/bulk-status-by-tag", {}, 3),
        ("/v1/bulk-status-by-tag", {"tag": "x"}, 4),
        ("/v1/bulk-status-by-tag", {"tag": "x", "page": "0"}, 6),
        ("/v1/message-cancel", {}, 3),
        ("/v1/message-cancel", {"messageId": "1"}, 4),
        ("/v1/stop-sms/delete", {}, 3),
        ("/v1/stop-sms/delete", {"id": "7"}, 4),
        ("/v1/me", {"apiKey": ""}, 1),
    ],
)
async def test_question_that_cannot_be_answered(
    client: httpx.AsyncClient, path: str, query: dict[str, str], code: int
) -> None:
    told = await ask(client, path, **query)

    assert (told["success"], told["code"]) == (False, code)


@pytest.mark.parametrize(
    ("body", "code"),
    [({}, 5), ({"SMSStatut_List": ["x"]}, 6), ({"SMSStatut_List": [{}] * 501}, 50), ({"SMSStatut_List": {}}, 5)],
)
async def test_list_that_cannot_be_looked_up(client: httpx.AsyncClient, body: dict[str, object], code: int) -> None:
    _, told = await post(client, "/v1/multi-status", {"apiKey": KEY, **body})

    assert told["code"] == code


async def test_scheduled_send_is_cancelled_once_and_in_time(
    sandbox: Sandbox, client: httpx.AsyncClient, clock: ManualClock
) -> None:
    await client.put("/sandbox/credit", json={"smspartner": 1})
    when = {"scheduledDeliveryDate": "04/03/2026", "time": 11, "minute": 0}
    for _ in range(2):
        await post(client, "/v1/send", {**PARTNER, **when})
    await post(client, "/v1/send", PARTNER)
    cancelled = await ask(client, "/v1/message-cancel", messageId=FIRST)
    again = await ask(client, "/v1/message-cancel", messageId=FIRST)
    clock.advance(26 * 60)
    late = await ask(client, "/v1/message-cancel", messageId=FIRST + 1)
    gone = await ask(client, "/v1/message-cancel", messageId=FIRST + 2)

    assert cancelled == {"success": True, "code": 200, "message": "L'envoi du SMS a été annulé."}
    assert [again["code"], late["code"], gone["code"]] == [5, 6, 7]
    assert (await client.get("/sandbox/credit")).json()["smspartner"] == pytest.approx(0.91)
    clock.advance(3600)
    sandbox.wake()
    assert sandbox.messages[0]["state"] == "cancelled"


# --- the account -----------------------------------------------------------------------------------------------------


async def test_balance_runs_down(client: httpx.AsyncClient) -> None:
    await client.put("/sandbox/credit", json={"smspartner": 54.12})
    await post(client, "/v1/send", {**PARTNER, "message": "x" * 161})
    told = await ask(client, "/v1/me")

    counts = {"creditSms": 1200, "creditSmsECO": 1200, "creditHlr": 5403, "toSend": 0}
    user = {"username": "sandbox@example.org", "firstname": "Sand", "lastname": "Box"}
    balance = {**counts, "balance": "54.030", "currency": "EUR"}
    assert told == {"success": True, "code": 200, "user": user, "credits": balance}


async def test_stop_list(client: httpx.AsyncClient) -> None:
    added = await post(client, "/v1/stop-sms/add", {"apiKey": KEY, "phoneNumber": "0612340001"})
    again = await post(client, "/v1/stop-sms/add", {"apiKey": KEY, "phoneNumber": "+33612340001"})
    wrong = await post(client, "/v1/stop-sms/add", {"apiKey": KEY, "phoneNumber": "x"})
    none = await post(client, "/v1/stop-sms/add", {"apiKey": KEY})
    listed = await ask(client, "/v1/stop-sms/list")
    _, refused = await post(client, "/v1/send", PARTNER)
    deleted = await ask(client, "/v1/stop-sms/delete", id=1)
    _, taken = await post(client, "/v1/send", PARTNER)

    assert added == (200, {"success": True, "code": 200, "stopId": 1})
    assert [again[1]["code"], wrong[1]["code"], none[1]["code"]] == [3, 9, 2]
    assert listed["data"] == [{"id": 1, "phoneNumber": "+33612340001", "createdAt": "2026-03-04 10:30:00"}]
    assert (listed["nbData"], refused["code"], deleted) == (1, 55, {"success": True, "code": 200})
    assert taken["success"] is True


async def test_lookup_describes_numbers(client: httpx.AsyncClient) -> None:
    _, told = await post(client, "/v1/lookup", {"apiKey": KEY, "phoneNumbers": "0612340000, x"})

    names = {
        "e164": "+33612340000",
        "international": "+33 6 12 34 00 00",
        "national": "06 12 34 00 00",
        "rfc3966": "tel:+33-6-12-34-00-00",
    }
    known = {"request": "0612340000", "success": True, "countryCode": "FR", "prefixCode": 33}
    known |= {"phoneNumber": "+33612340000", "type": "Mobile", "network": "Orange"}
    unknown = {"request": "x", "success": False, "message": "Le numéro n'est pas valide"}
    assert told["lookup"] == [{**known, "format": names}, unknown]


async def test_hlr_is_notified(client: httpx.AsyncClient, listener: Listener) -> None:
    fields = {"apiKey": KEY, "phoneNumbers": "0612340001,0600000021", "notifyUrl": f"{listener.url}/hlr"}
    _, told = await post(client, "/v1/hlr/notify", fields)
    bodies = [call.body or {} for call in await listener.wait_for(2)]

    assert (told["number"], told["currency"], str(told["campaign_id"])[:3]) == (2, "EUR", "HLR")
    assert [(body["phone"], body["errorGrpId"]) for body in bodies] == [("+33612340001", 0), ("+33600000021", 1)]


@pytest.mark.parametrize(
    ("path", "fields", "code"),
    [("lookup", {}, 2), ("lookup", {"phoneNumbers": "1," * 501}, 50), ("hlr/notify", {"phoneNumbers": "1"}, 9)],
)
async def test_look_up_that_is_wrong(
    client: httpx.AsyncClient, path: str, fields: dict[str, object], code: int
) -> None:
    status, told = await post(client, f"/v1/{path}", {"apiKey": KEY, **fields})

    assert (status, told["code"]) == (400, code)


# --- trouble ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "expected", "taken"),
    [
        ("credit gone", '{"success": false, "code": 11, "error": {"message": "NOCREDITS"}', 0),
        ({"fault": "refuse", "code": 20}, '{"success": false, "code": 20, "message": "Compte', 0),
        ({"fault": "refuse", "code": 14}, '{"success": false, "code": 55, ', 0),
        ("string codes", '{"success": true, "code": "200", "message_id": "5510001"', 1),
        ("wrong counts", '{"success": true, "code": 200, "message_id": 5510001, "nb_sms": 0', 1),
        ("false success", '{"success": true, "code": 200, "message": "Request queued for processing"}', 0),
        ("flat", '{"success": true, "code": 200, "message_id": 5510001', 1),
    ],
)
async def test_answer_is_spoilt_on_command(
    sandbox: Sandbox, client: httpx.AsyncClient, fault: object, expected: str, taken: int
) -> None:
    await client.post("/sandbox/faults", json=fault)
    answer = await client.post("/v1/send", json=PARTNER)

    assert answer.text[: len(expected)] == expected
    assert len(sandbox.messages) == taken


async def test_faults_concern_the_interface_and_the_path_they_name(client: httpx.AsyncClient) -> None:
    script = [
        {"fault": "500", "api": "smspartner"},
        {"fault": "503", "path": "/v1/me"},
        {"fault": "refuse", "code": 3, "path": "/cgi-bin/credit"},
        {"fault": "no_credit", "api": "isendpro", "path": "/cgi-bin/comptage"},
    ]
    await client.post("/sandbox/faults", json=script)
    other = await client.post("/cgi-bin/sms", json={"keyid": KEY, "num": "0612340001", "sms": "x"})
    concerned = await client.post("/v1/send", json=PARTNER)
    named = await client.get("/v1/me", params={"apiKey": KEY})
    unnamed = await client.get("/v1/stop-sms/list", params={"apiKey": KEY})
    refused = await client.get("/cgi-bin/credit", params={"keyid": KEY, "credit": "1"})

    statuses = [answer.status_code for answer in (other, concerned, named, unnamed, refused)]
    assert statuses == [200, 500, 503, 200, 400]
    assert refused.json()["etat"]["etat"][0]["code"] == "3"


async def test_too_large_body_is_refused(client: httpx.AsyncClient) -> None:
    assert (await client.post("/v1/send", content=b" " * (1024 * 1024 + 1))).status_code == 413
