"""Trouble on command, by each way of asking for it."""

import json

import httpx
import pytest

from gateway.sandbox import Fault, FaultName, Sandbox, Shape, read_faults
from tests.sandbox.calls import SMS, send


@pytest.mark.parametrize(
    ("fault", "taken"),
    [
        ("reset", 0),
        ("reset before the answer", 0),
        ("lost", 1),
        ("answer lost after accepting", 1),
        ("half", 1),
        ("half an answer", 1),
    ],
)
async def test_connection_is_broken_on_command(
    sandbox: Sandbox, client: httpx.AsyncClient, fault: str, taken: int
) -> None:
    await client.post("/sandbox/faults", json={"fault": fault, "count": 1})
    with pytest.raises(httpx.TransportError):
        await client.post("/cgi-bin/sms", json=SMS)

    assert len(sandbox.messages) == taken
    assert await send(client, SMS) == (200, [(0, "0612340001")])


@pytest.mark.parametrize(
    ("fault", "expected", "taken"),
    [
        ("500", (500, "scripted by the sandbox"), 0),
        ({"fault": "500", "accepts": True}, (500, "scripted by the sandbox"), 1),
        ({"fault": "status", "status": 418}, (418, "scripted by the sandbox"), 0),
        ("not JSON", (200, "etat: 0"), 1),
        ("html", (200, "<!doctype html>"), 0),
        ("wrong counts", (200, '{"etat": {"etat": []}}'), 1),
        ("credit gone", (200, '{"etat": {"etat": [{"code": 12, "tel": "0612340001"'), 0),
        ({"fault": "refuse", "code": 21}, (200, '{"etat": {"etat": [{"code": 21, "tel": "0612340001"'), 0),
        ("flat", (200, '{"etat": {"code": 0, "tel": "0612340001"'), 1),
        ("single object", (200, '{"etat": {"etat": {"code": 0, "tel": "0612340001"'), 1),
        ("string codes", (200, '{"etat": {"etat": [{"code": "0", "tel": "0612340001"'), 1),
        ("slow", (200, '{"etat": {"etat": [{"code": 0, "tel": "0612340001"'), 1),
        ("trickle", (200, '{"etat": {"etat": [{"code": 0, "tel": "0612340001"'), 1),
        ("redirect", (302, ""), 0),
    ],
)
async def test_answer_is_spoilt_on_command(
    sandbox: Sandbox, client: httpx.AsyncClient, fault: str | dict[str, object], expected: tuple[int, str], taken: int
) -> None:
    named = {"fault": fault} if isinstance(fault, str) else fault
    scripted = await client.post("/sandbox/faults", json={"count": 1, "delay_s": 0.0001, **named})
    answer = await client.post("/cgi-bin/sms", json=SMS)

    assert scripted.status_code == 200
    assert (answer.status_code, answer.text[: len(expected[1])]) == expected
    assert len(sandbox.messages) == taken
    assert sandbox.faults == ()


async def test_429_says_when_to_come_back(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.misbehave("429")
    answer = await client.post("/cgi-bin/sms", json=SMS)

    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "30")


async def test_bomb_is_small_and_unpacks_large(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.misbehave("gzip bomb")
    async with client.stream("POST", "/cgi-bin/sms", json=SMS) as answer:
        packed = sum([len(chunk) async for chunk in answer.aiter_raw()])

    assert answer.headers["Content-Encoding"] == "gzip"
    assert packed < 100_000


async def test_trickle_ends_when_the_client_goes(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.misbehave("trickle", delay_s=0.001, count=1)
    async with client.stream("POST", "/cgi-bin/sms", json=SMS) as answer:
        async for _ in answer.aiter_raw():
            break

    assert await send(client, SMS) == (200, [(0, "0612340001")])


async def test_faults_are_used_up_in_order(client: httpx.AsyncClient) -> None:
    script = [{"fault": "500", "count": 2}, {"fault": "refuse", "code": 21, "count": 1}, "flat"]
    await client.post("/sandbox/faults", json=script)
    statuses = [(await client.post("/cgi-bin/sms", json=SMS)).status_code for _ in range(2)]
    refused = await send(client, SMS)
    flat = [(await client.post("/cgi-bin/sms", json=SMS)).json()["etat"]["code"] for _ in range(2)]
    left = (await client.get("/sandbox/faults")).json()
    await client.delete("/sandbox/faults")

    assert statuses == [500, 500]
    assert refused == (200, [(21, "0612340001")])
    assert flat == [0, 0]
    assert [(fault["fault"], fault["count"]) for fault in left] == [("shape", None)]
    assert await send(client, SMS) == (200, [(0, "0612340001")])


async def test_request_that_is_wrong_stays_wrong_under_a_fault(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.misbehave("flat")
    reply = await send(client, {**SMS, "keyid": ""})

    assert reply == (400, ["1"])


async def test_trouble_is_for_the_carrier_s_calls_alone(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.misbehave("reset")
    listed = await client.get("/sandbox/messages")

    assert listed.status_code == 200
    assert sandbox.calls == 0


async def test_behaving_forgets_all_trouble(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.misbehave("500")
    sandbox.behave()

    assert await send(client, SMS) == (200, [(0, "0612340001")])


@pytest.mark.parametrize(
    "script",
    [
        b"",
        b"{",
        b"5",
        b"[[]]",
        b"[" * 100_000,
        b'"no such fault"',
        b'{"fault": 5}',
        b'{"fault": "slow", "count": 0}',
        b'{"fault": "slow", "delay_s": -1}',
        b'{"fault": "slow", "delays": 1}',
        b'"999"',
        b'{"fault": "429", "retry_after": "1\\r\\nX: y"}',
        json.dumps(["slow"] * 1001).encode(),
    ],
)
async def test_unreadable_script_is_refused_and_changes_nothing(client: httpx.AsyncClient, script: bytes) -> None:
    answer = await client.post("/sandbox/faults", content=script)

    assert answer.status_code == 400
    assert answer.json()["error"].startswith("not a script of faults: ")
    assert (await client.get("/sandbox/faults")).json() == []


async def test_script_does_not_grow_without_bound(client: httpx.AsyncClient) -> None:
    statuses = [(await client.post("/sandbox/faults", json=["slow"] * 600)).status_code for _ in range(2)]

    assert statuses == [200, 400]


def test_every_fault_has_a_name_of_its_own() -> None:
    script = [{"fault": name.value} for name in FaultName]

    assert [fault.fault for fault in read_faults(json.dumps(script))] == list(FaultName)


def test_details_win_over_a_plain_word() -> None:
    [fault] = read_faults('{"fault": "429", "retry_after": "5", "count": 3}')

    assert fault == Fault(fault=FaultName.STATUS, status=429, retry_after="5", count=3)
    assert read_faults('"string codes"')[0].shape is Shape.STRING_CODES
