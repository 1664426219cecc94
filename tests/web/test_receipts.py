"""Callbacks of carriers: who is let in, how much is borne, and what is answered."""

import asyncio
import json

import httpx
import pytest
import structlog

from gateway.store import StoreUnavailable, StoreUnusable
from gateway.web import receipts
from gateway.web.token_bucket import TokenBucket
from tests.support.clock import ManualClock
from tests.web.conftest import PREVIOUS, SECRET, Carrier, Desk

GOOD = f"/receipts/carrier/{SECRET}"

pytestmark = pytest.mark.slow


# --- who is let in ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", [SECRET, PREVIOUS, f"{SECRET}/"])
async def test_either_secret_lets_a_carrier_in(client: httpx.AsyncClient, desk: Desk, secret: str) -> None:
    answer = await client.get(f"/receipts/carrier/{secret}", params={"tracker": "T1"})

    assert (answer.status_code, answer.content) == (200, b"")
    assert desk.receipts == [("carrier", "T1")]


@pytest.mark.parametrize(
    "path",
    [
        "/receipts/carrier/wrong",
        f"/receipts/carrier/{SECRET[:-1]}",
        f"/receipts/carrier/{SECRET}0",
        f"/receipts/carrier/{SECRET.upper()}",
        f"/receipts/carrier//{SECRET}",
        f"/receipts/carrier/{SECRET}/x",
        "/receipts/carrier/",
        "/receipts/carrier",
        "/receipts/",
        f"/receipts/nobody/{SECRET}",
        f"/receipts/other/{SECRET}",
        "/receipts/carrier/%F0%9F%90%B4%ED%A0%80",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_everybody_else_is_told_the_same(
    client: httpx.AsyncClient, desk: Desk, carrier: Carrier, method: str, path: str
) -> None:
    told = await client.request(method, path, params={"tracker": "T1"})
    of_nobody = await client.request(method, f"/receipts/nobody-at-all/{'x' * 32}", params={"tracker": "T1"})

    assert (told.status_code, told.text) == (404, "Not Found\n")
    assert (told.status_code, told.content, dict(told.headers)) == (404, of_nobody.content, dict(of_nobody.headers))
    assert (carrier.callbacks, desk.receipts) == ([], [])


async def test_a_strangers_body_is_not_waited_for(address: tuple[str, int]) -> None:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"POST /receipts/carrier/wrong HTTP/1.1\r\nHost: gw\r\nContent-Length: 100\r\n\r\n")
    async with asyncio.timeout(5):
        status = await reader.readline()
    writer.close()

    assert status == b"HTTP/1.1 404 Not Found\r\n"


async def test_head_is_answered_and_does_nothing(client: httpx.AsyncClient, carrier: Carrier) -> None:
    good = await client.head(GOOD, params={"tracker": "T1"})
    bad = await client.head("/receipts/carrier/wrong")

    assert (good.status_code, good.content, bad.status_code) == (200, b"", 404)
    assert carrier.callbacks == []


@pytest.mark.parametrize("path", [GOOD, "/receipts/carrier/wrong", "/receipts/nobody/x"])
@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_other_methods_are_refused_whoever_asks(client: httpx.AsyncClient, method: str, path: str) -> None:
    assert (await client.request(method, path)).status_code == 405


# --- what is read ----------------------------------------------------------------------------------------------------


async def test_a_form_and_json_reach_the_carrier_as_they_came(client: httpx.AsyncClient, carrier: Carrier) -> None:
    await client.post(GOOD, params={"a": "1"}, data={"b": "é &"})
    await client.post(GOOD, json={"c": [1]})
    form, json_ = carrier.callbacks

    assert (form.method, form.query, form.body) == ("POST", [("a", "1")], b"b=%C3%A9+%26")
    assert form.content_type == "application/x-www-form-urlencoded"
    assert (json_.content_type, json.loads(json_.body)) == ("application/json", {"c": [1]})


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("a=%C3%A9t%C3%A9&b=", [("a", "été"), ("b", "")]),
        ("a=%E9t%E9+%80", [("a", "été €")]),
        ("a=1&a=2", [("a", "1"), ("a", "2")]),
        ("", []),
    ],
)
async def test_an_address_is_read_in_utf_8_or_else_windows_1252(
    client: httpx.AsyncClient, carrier: Carrier, query: str, expected: list[tuple[str, str]]
) -> None:
    await client.get(f"{GOOD}?{query}")

    assert carrier.callbacks[0].query == expected


async def test_receipts_and_replies_of_one_callback_go_where_they_belong(client: httpx.AsyncClient, desk: Desk) -> None:
    await client.post(GOOD, params={"tracker": "T1", "text": "STOP"})

    assert (desk.receipts, desk.replies) == ([("carrier", "T1")], [("carrier", "STOP")])


async def test_what_means_nothing_is_answered_200_and_told_without_content(
    client: httpx.AsyncClient, desk: Desk
) -> None:
    with structlog.testing.capture_logs() as lines:
        unreadable = await client.get(GOOD, params={"nonsense": "secret text"})
        empty = await client.get(GOOD)

    assert (unreadable.status_code, empty.status_code, desk.receipts) == (200, 200, [])
    assert [line["event"] for line in lines] == ["callback_unreadable"]
    assert "secret text" not in str(lines)
    assert SECRET not in str(lines)


# --- how much is borne -----------------------------------------------------------------------------------------------


async def test_a_body_may_have_16_kib_and_no_more(client: httpx.AsyncClient, carrier: Carrier) -> None:
    good = await client.post(GOOD, content=b"x" * receipts.MOST_BODY_BYTES)
    told = await client.post(GOOD, content=b"x" * (receipts.MOST_BODY_BYTES + 1))

    async def chunks() -> object:
        for _ in range(20):
            yield b"x" * 1024

    untold = await client.post(GOOD, content=chunks())  # type: ignore[arg-type]

    assert (good.status_code, told.status_code, untold.status_code) == (200, 413, 413)
    assert len(carrier.callbacks) == 1


@pytest.mark.parametrize("is_form", [True, False])
async def test_so_many_parameters_are_read_and_no_more(
    client: httpx.AsyncClient, carrier: Carrier, is_form: bool
) -> None:
    async def ask(count: int) -> int:
        pairs = "&".join(f"p{number}=1" for number in range(count))
        headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
        if is_form:
            return (await client.post(GOOD, content=pairs, headers=headers)).status_code
        return (await client.get(f"{GOOD}?{pairs}")).status_code

    assert [await ask(count) for count in (50, 51)] == [200, 400]
    assert len(carrier.callbacks) == 1


async def test_an_address_beyond_all_bounds_is_refused(client: httpx.AsyncClient, carrier: Carrier) -> None:
    answer = await client.get(f"{GOOD}?tracker={'x' * 17_000}")

    assert answer.status_code in (400, 414)  # 400 when it comes in pieces, for the server itself bears no more
    assert carrier.callbacks == []


@pytest.mark.parametrize("body", [b"", b"tracker=T"])
async def test_a_body_that_does_not_come_is_given_up(address: tuple[str, int], carrier: Carrier, body: bytes) -> None:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(f"POST {GOOD} HTTP/1.1\r\nHost: gw\r\nContent-Length: 100\r\n\r\n".encode() + body)
    async with asyncio.timeout(5):
        status = await reader.readline()
    writer.close()

    assert status == b"HTTP/1.1 408 Request Timeout\r\n"
    assert carrier.callbacks == []


async def test_a_body_that_breaks_off_is_not_read(
    address: tuple[str, int], client: httpx.AsyncClient, carrier: Carrier
) -> None:
    _, writer = await asyncio.open_connection(*address)
    writer.write(f"POST {GOOD} HTTP/1.1\r\nHost: gw\r\nContent-Length: 100\r\n\r\ntracker".encode())
    await writer.drain()
    writer.close()
    await client.get(GOOD)

    assert [one.method for one in carrier.callbacks] == ["GET"]


async def test_too_many_calls_of_a_carrier_are_put_off_and_harm_no_other(
    client: httpx.AsyncClient, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receipts, "CALLS_AT_ONCE", 3)
    statuses = [(await client.get(GOOD)).status_code for _ in range(4)]
    other = await client.get(f"/receipts/other/{'other' * 4}")
    clock.advance(1)
    again = await client.get(GOOD)

    assert statuses == [200, 200, 200, 429]
    assert (other.status_code, again.status_code) == (200, 200)


async def test_strangers_are_turned_away_faster_and_keep_no_carrier_waiting(client: httpx.AsyncClient) -> None:
    with structlog.testing.capture_logs() as lines:
        statuses = [
            (await client.get(f"/receipts/{name}/wrong")).status_code
            for name in ("carrier", "nobody") * (receipts.STRANGERS_AT_ONCE // 2 + 1)
        ]
    carrier = await client.get(GOOD)

    assert statuses == [404] * receipts.STRANGERS_AT_ONCE + [429, 429]
    assert carrier.status_code == 200
    assert {line["event"] for line in lines} == {"callback_refused"}
    assert len(lines) <= 20


# --- when it cannot be stored ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [StoreUnavailable("locked"), StoreUnusable("gone")])
@pytest.mark.parametrize("said", [{"tracker": "T1"}, {"text": "STOP"}])
async def test_while_the_store_is_away_the_carrier_is_to_come_back(
    client: httpx.AsyncClient, desk: Desk, error: Exception, said: dict[str, str]
) -> None:
    desk.error = error
    answer = await client.get(GOOD, params=said)

    assert (answer.status_code, answer.text) == (503, "Service Unavailable\n")
    assert answer.headers["retry-after"] == "10"


def test_a_bucket_gives_back_over_time_and_never_more_than_it_holds() -> None:
    clock = ManualClock()
    bucket = TokenBucket(clock, per_s=2, at_once=3)
    first = [bucket.take() for _ in range(4)]
    clock.advance(0.5)
    second = [bucket.take() for _ in range(2)]
    clock.advance(3600)
    third = [bucket.take() for _ in range(4)]

    assert (first, second, third) == ([True] * 3 + [False], [True, False], [True] * 3 + [False])
