"""T17 to T19 at the HTTP listener: no forged receipt moves an SMS, and no client keeps a carrier or a probe out."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.web import connection
from gateway.web.connection import MOST_CONNECTIONS
from gateway.web.server import HttpServer
from tests.faults.carriers import Carrier, accepts
from tests.faults.field import Field, make_mail
from tests.threats.attacker import (
    DEADLINE_S,
    connected,
    http,
    http_address,
    is_served,
    siege,
    submit,
    waits_of_a_good_client,
)

pytestmark = pytest.mark.slow

SECRET, OTHER_SECRET = "a-secret-of-the-carrier", "a-secret-of-another-one"
PUBLIC = {"listen": "127.0.0.1:0", "public_url": "https://gw.example.org"}


@asynccontextmanager
async def calling(folder: Path, carrier: Carrier) -> AsyncIterator[Field]:
    """Run a gateway that two carriers call back."""
    wanted: Mapping[str, Any] = {
        "http": PUBLIC,
        "account": {"receipts": "mail"},
        "provider": {"callback_secret": SECRET},
        "more_providers": [{"name": "another", "callback_secret": OTHER_SECRET}],
    }
    async with siege(folder, carrier, **wanted) as ground:
        yield ground


def request(path: str, method: str = "GET", body: bytes = b"", *headers: str) -> bytes:
    """Return a request after which the connection is to end."""
    lines = [f"{method} {path} HTTP/1.1", "Host: gw.example.org", "Connection: close", *headers]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def receipt(tracker: str, status: int, *, name: str = "carrier", secret: str = SECRET) -> bytes:
    """Return the callback that says this of an SMS."""
    return request(f"/receipts/{name}/{secret}?tracker={tracker}&statut={status}&tel=33601020304")


def fate(ground: Field) -> list[tuple[str, int | None, int | None]]:
    """State and both codes of each SMS."""
    return [(sms["state"], sms["code"], sms["network_code"]) for sms in ground.sms()]


async def test_forged_and_repeated_receipts_change_nothing(tmp_path: Path) -> None:
    """T17: a wrong secret, another carrier's, guessed trackers, one word fifty times, a worse one later."""
    async with Carrier(accepts) as carrier, calling(tmp_path, carrier) as ground:
        await submit(ground, make_mail("1", "0601020304"))
        await ground.until(lambda: ground.states() == ["accepted"])
        tracker = ground.sms()[0]["tracker"]
        before = fate(ground)
        forged = {
            "no secret": receipt(tracker, 0, secret=""),
            "a wrong one": receipt(tracker, 0, secret=SECRET[:-1] + "x"),
            "half of it": receipt(tracker, 0, secret=SECRET[:-1]),
            "in other letters": receipt(tracker, 0, secret=SECRET.upper()),
            "of another carrier": receipt(tracker, 0, secret=OTHER_SECRET),
            "an unknown carrier": receipt(tracker, 0, name="nobody"),
            "climbing": request(f"/receipts/../receipts/carrier/x?tracker={tracker}&statut=0"),
            "in a parameter": request(f"/receipts/carrier/?secret={SECRET}&tracker={tracker}&statut=0"),
            "a NUL": request(f"/receipts/carrier/{SECRET}%00?tracker={tracker}&statut=0"),
            "another path": request(f"//receipts/carrier/{SECRET}?tracker={tracker}&statut=0"),
        }
        answers = {name: (await http(ground, octets))[:12] for name, octets in forged.items()}
        proven = [
            await http(ground, receipt(f"{tracker[:10]}{index:010d}", 0, name="another", secret=OTHER_SECRET))
            for index in range(20)  # its first half tells when the SMS was asked for, its second is 50 random bits
        ]
        proven += [
            await http(ground, receipt("01AAAAAAAAAAAAAAAAAA", 0)),
            await http(ground, receipt("'%20OR%201=1%20--", 0)),
        ]
        assert answers == dict.fromkeys(forged, b"HTTP/1.1 404")
        assert {one[:12] for one in proven} == {b"HTTP/1.1 200"}  # which tells nobody what is known here
        assert fate(ground) == before

        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(http(ground, receipt(tracker, 0))) for _ in range(50)]
        assert {call.result()[:12] for call in calls} == {b"HTTP/1.1 200"}
        delivered = fate(ground)
        assert delivered != before
        await ground.mailbox.wait_for(3, timeout_s=40)
        for status in (1, 2, 999, 0):
            await http(ground, receipt(tracker, status))
        await is_served(ground, "2")  # whatever the receipts caused would have been mailed by now

        assert fate(ground)[0] == delivered[0]
        assert sum(b"etatAr" in mail.content for mail in ground.mailbox.mails) == 1


ODD = {
    "a long address": request("/receipts/carrier/" + "x" * 60_000),
    "many parameters": request(f"/receipts/carrier/{SECRET}?" + "&".join(f"p{n}=1" for n in range(3_000))),
    "a long parameter": request(f"/receipts/carrier/{SECRET}?tracker=" + "x" * 17_000),
    "a bomb of JSON": request(f"/receipts/carrier/{SECRET}", "POST", b"[" * 16_000, "Content-Type: application/json"),
    "numbers without end": request(
        f"/receipts/carrier/{SECRET}", "POST", b"9" * 16_000, "Content-Type: application/json"
    ),
    "a large body": request(f"/receipts/carrier/{SECRET}", "POST", b"x" * 100_000),
    "many headers": request("/livez", "GET", b"", *[f"X-{n}: 1" for n in range(5_000)]),
    "a header without end": b"GET /livez HTTP/1.1\r\nX: " + b"x" * 200_000,
    "no HTTP": b"\x16\x03\x01" + b"\0" * 300,
    "SMTP": b"EHLO a\r\nMAIL FROM:<a@b.c>\r\n",
    "two lengths": b"POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a negative length": b"POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    "a length beyond numbers": b"POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: " + b"9" * 40 + b"\r\n\r\n",
    "two hosts": b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "a folded header": b"GET /livez HTTP/1.1\r\nHost: a\r\nX: 1\r\n Transfer-Encoding: chunked\r\n\r\n",
    "a chunk that lies": b"POST /livez HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nx",
    "a method of its own": b"EVIL /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "a proxy's request": b"CONNECT victim.example:443 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "a whole address": b"GET http://victim.example/livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "control characters": b"GET /\x1b[31m HTTP/1.1\r\nHost: a\r\n\r\n",
    "an upgrade": b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\n\r\n",
}


async def test_odd_requests_are_refused_or_harmless(tmp_path: Path) -> None:
    """T17, T19: none is answered with an error of ours, repeated, or logged line by line."""
    async with Carrier(accepts) as carrier, calling(tmp_path, carrier) as ground:
        answers = {}
        for name, octets in ODD.items():
            async with connected(http_address(ground)) as raw:
                await raw.send(octets)
                if raw.writer.can_write_eof():
                    raw.writer.write_eof()
                answers[name] = await raw.all()
        statuses = {name: answer[9:12].decode() for name, answer in answers.items()}

        assert set(statuses.values()) <= {"", "200", "400", "404", "405", "413", "414"}, statuses
        assert "200" not in {
            statuses[name] for name in ("two lengths", "a negative length", "no HTTP", "SMTP", "two hosts")
        }
        assert not [name for name, answer in answers.items() if b"victim" in answer or b"\x1b" in answer]
        assert len(ground.gateway.read_log().splitlines()) < 30
        await is_served(ground, "after")


def smuggled(length: int) -> list[bytes]:
    """Return requests whose end a proxy in front could see elsewhere, each with another one inside."""
    hidden = b"GET /receipts/carrier/x HTTP/1.1\r\nHost: a\r\n\r\n"
    path = f"/receipts/carrier/{SECRET}"
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\n".encode()
    chunks = b"0\r\n\r\n" + hidden
    return [
        head + b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n" % length + chunks,
        head + b"Transfer-Encoding: chunked\r\nContent-Length: %d\r\n\r\n" % length + chunks,
        head + b"Transfer-Encoding: identity\r\nContent-Length: %d\r\n\r\n" % length + chunks,
        head + b"Transfer-Encoding: chunked, identity\r\n\r\n" + chunks,
        head + b"Transfer-Encoding: \x0bchunked\r\nContent-Length: %d\r\n\r\n" % length + chunks,
        head + b"Transfer-Encoding : chunked\r\nContent-Length: %d\r\n\r\n" % length + chunks,
        head + b"Content-Length: %d, 5\r\n\r\n" % length + chunks,
        head + b"Content-Length: +%d\r\n\r\n" % length + chunks,
        head.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n" + chunks,
    ]


async def test_no_request_hides_in_another(tmp_path: Path) -> None:
    """T17: what could have two ends is refused, and the connection ends with it."""
    async with Carrier(accepts) as carrier, calling(tmp_path, carrier) as ground:
        for octets in smuggled(6):
            answer = await http(ground, octets)

            assert [one[1] for one in re.finditer(rb"HTTP/1\.1 (\d+)", answer)] in ([b"400"], [b"501"]), octets
        assert ground.events("callback_refused") == []  # the hidden one was never looked at


async def test_slow_and_silent_clients_keep_nobody_out(tmp_path: Path) -> None:
    """T19: a thousand connections that say nothing, half a head, or a body that trickles; SMTP does not notice."""
    silent = b""
    half = b"GET /livez HTTP/1.1\r\nHost: a\r\nX: "
    body = b"POST /receipts/nobody/x HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\nx"
    async with AsyncExitStack() as stack:
        carrier = await stack.enter_async_context(Carrier(accepts))
        ground = await stack.enter_async_context(calling(tmp_path, carrier))
        before = ground.descriptors()
        for number in range(600):
            raw = await stack.enter_async_context(connected(http_address(ground)))
            await raw.send((silent, half, body)[number % 3])
        answers = [await http(ground, request("/livez")) for _ in range(5)]
        ready = await http(ground, request("/readyz"))
        called = await http(ground, request(f"/receipts/carrier/{SECRET}?x=1"))

        assert {answer[:12] for answer in (*answers, ready, called)} == {b"HTTP/1.1 200"}
        assert ground.descriptors() <= before + MOST_CONNECTIONS + 20
        assert (await waits_of_a_good_client(ground, "good"))[3] < 2
        assert ground.status("VmHWM") < 512 * 1024


async def test_a_request_that_does_not_come_and_a_body_that_does_not_end_are_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """T19: whatever trickles in meanwhile; nobody holds a place for longer than the deadline (a shorter one here)."""
    monkeypatch.setattr(connection, "WAITING_S", 0.5)
    monkeypatch.setattr(connection, "REQUEST_S", 1.0)

    async def hang(_request: Request) -> Response:
        await asyncio.sleep(3_600)
        return Response()

    server = HttpServer(
        Starlette(routes=[Route("/", lambda _: Response()), Route("/hang", hang)]), listen="127.0.0.1:0"
    )
    address = await server.bind()
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(server.serve())
        trickling = [
            group.create_task(trickle(address, head, piece))
            for head, piece in (
                (b"", b""),
                (b"GET / HTTP/1.1\r\nHost: a\r\n", b"X: y\r\n"),
                (b"POST /hang HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999\r\n\r\n", b"x"),
                (b"POST /nobody HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999\r\n\r\n", b"x"),
                (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\r\n"),
            )
        ]
        await asyncio.wait(trickling, timeout=DEADLINE_S)
        server.stop()
        await serving

    assert [one.done() and one.result() for one in trickling] == [True] * 5


async def trickle(address: tuple[str, int], head: bytes, piece: bytes) -> bool:
    """Return True once a connection has been ended over which a piece comes again and again."""
    async with connected(address) as raw, asyncio.TaskGroup() as group:
        await raw.send(head)
        reading = group.create_task(raw.all())
        while not reading.done():
            await raw.send(piece)
            await asyncio.wait({reading}, timeout=0.1)
        return True


async def test_what_is_counted_over_http_names_nobody(tmp_path: Path) -> None:
    """T16: the metrics hold no number, key, address or text, and no label that a stranger chooses."""
    async with Carrier(accepts) as carrier, calling(tmp_path, carrier) as ground:
        await submit(ground, make_mail("1", "0601020304"))
        for octets in (request("/x%1b?tel=0601020304"), request("/receipts/evil-label/x"), ODD["control characters"]):
            await http(ground, octets)
        metrics = (await http(ground, request("/metrics"))).decode()

        assert "mail2sms_mails_total" in metrics
        assert not re.search(r"0?601020304|a296464ce012|masociete|evil-label|Salut", metrics)
        assert json.dumps(metrics).count("\\u001b") == 0
