"""The transport alone: the line between what never left and what may have been sent, and what is never done."""

import asyncio
import json
import random
import re
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn
from urllib.parse import parse_qsl, quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.providers import connections
from gateway.providers.transport import Answer, Broken, NeverLeft, Transport, recorded
from tests.support.rawhttp import End, Pieces, RawRequest, RawServer, answer, closed_port

METHODS = ["POST", "GET", "PUT", "DELETE"]
"""aiohttp would send all but the first again on a connection that it finds closed."""


@asynccontextmanager
async def transport_to(
    url: str, *, timeout_s: float = 10.0, width: int = 4, ca_file: str | None = None
) -> AsyncIterator[Transport]:
    """Yield a transport, and close it."""
    transport = Transport(base_url=url, timeout_s=timeout_s, width=width, ca_file=ca_file)
    try:
        yield transport
    finally:
        await transport.close()


def first_only(*, cut: bytes = b"") -> Pieces:
    """Answer the first request; hang up on the second when it was read, after the bytes of `cut`."""
    seen = 0

    def pieces(_request: RawRequest) -> Iterator[bytes]:
        nonlocal seen
        seen += 1
        yield answer(b"first") if seen == 1 else cut
        if seen > 1:
            raise ConnectionAbortedError

    return pieces


# --- a kept connection -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("cut", [b"", b"HTTP/1.1 2"], ids=["nothing", "a beginning"])
async def test_request_on_a_kept_connection_that_ends_is_broken_and_not_sent_again(method: str, cut: bytes) -> None:
    async with RawServer(pieces_for=first_only(cut=cut), end=End.KEEP) as server, transport_to(server.url) as transport:
        first = await transport.call(method, "/x")
        second = await transport.call(method, "/x", content=b"body", headers={"Content-Type": "text/plain"})
        requests, opened = len(server.requests), server.connections

    assert isinstance(first, Answer)
    assert isinstance(second, Broken)
    assert (requests, opened) == (2, 1)


@pytest.mark.parametrize("method", METHODS)
async def test_first_request_that_is_not_answered_is_not_sent_again(method: str) -> None:
    async with RawServer() as server, transport_to(server.url) as transport:
        outcome = await transport.call(method, "/x")
        requests = len(server.requests)

    assert isinstance(outcome, Broken)
    assert requests == 1


@pytest.mark.parametrize("end", [End.CLOSE, End.RESET], ids=["close", "reset"])
async def test_kept_connection_that_ended_between_two_calls_is_not_used(end: End) -> None:
    async with RawServer(answer(b"yes"), end=end) as server, transport_to(server.url) as transport:
        outcomes = []
        for _ in range(20):  # the end has arrived, and the loop has not yet come round to it
            outcomes.append(await transport.call("POST", "/x"))
            await server.wait_until_alone()
        requests, opened = len(server.requests), server.connections

    assert {type(outcome) for outcome in outcomes} == {Answer}
    assert (requests, opened) == (20, 20)


Authority = tuple[Path, ssl.SSLContext]


async def test_encrypted_connection_is_kept(own_authority: Authority) -> None:
    authority, context = own_authority
    async with (
        RawServer(answer(b"yes"), end=End.KEEP, tls=context) as server,
        transport_to(server.url, ca_file=str(authority)) as transport,
    ):
        outcomes = [await transport.call("POST", "/x") for _ in range(5)]
        opened = server.connections

    assert {type(outcome) for outcome in outcomes} == {Answer}
    assert opened == 1


async def test_encrypted_connection_that_ended_between_two_calls_is_not_used(own_authority: Authority) -> None:
    authority, context = own_authority
    async with (
        RawServer(answer(b"yes"), tls=context) as server,
        transport_to(server.url, ca_file=str(authority)) as transport,
    ):
        outcomes = []
        for _ in range(5):
            outcomes.append(await transport.call("POST", "/x"))
            await server.wait_until_alone()
        requests = len(server.requests)

    assert {type(outcome) for outcome in outcomes} == {Answer}
    assert requests == 5


async def test_encrypted_connection_that_breaks_is_broken_and_not_sent_again(own_authority: Authority) -> None:
    authority, context = own_authority
    async with (
        RawServer(pieces_for=first_only(), end=End.KEEP, tls=context) as server,
        transport_to(server.url, ca_file=str(authority)) as transport,
    ):
        outcomes = [await transport.call("POST", "/x") for _ in range(2)]
        requests = len(server.requests)

    assert [type(outcome) for outcome in outcomes] == [Answer, Broken]
    assert requests == 2


async def test_second_answer_to_one_request_is_not_taken_for_that_to_the_next() -> None:
    seen: list[bytes] = []

    def twice(_request: RawRequest) -> Iterator[bytes]:
        seen.append(b"%d" % (len(seen) + 1))
        yield answer(seen[-1]) + answer(b"stray")

    async with RawServer(pieces_for=twice, end=End.KEEP) as server, transport_to(server.url) as transport:
        outcomes = [await transport.call("POST", "/x") for _ in range(3)]

    assert [outcome.body for outcome in outcomes if isinstance(outcome, Answer)] == [b"1", b"2", b"3"]


@pytest.mark.parametrize("is_read", [False, True], ids=["not yet read", "read"])
async def test_answer_that_nobody_asked_for_is_not_taken_for_that_to_the_next_request(is_read: bool) -> None:
    async with RawServer(answer(b"asked for"), end=End.KEEP) as server, transport_to(server.url) as transport:
        await transport.call("POST", "/x")
        await server.say(answer(b"stray"))
        if is_read:  # the loop has looked at every connection when this has made its round
            async with RawServer(answer(b"elsewhere")) as other, transport_to(other.url) as beside:
                await beside.call("POST", "/x")
        outcome = await transport.call("POST", "/x")
        opened = server.connections

    assert outcome == Answer(status=200, body=b"asked for")
    assert opened == 2


async def test_idle_connection_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "KEEPALIVE_S", 0.0)
    async with RawServer(answer(b"yes"), end=End.KEEP) as server, transport_to(server.url) as transport:
        outcomes = [await transport.call("POST", "/x") for _ in range(2)]
        opened = server.connections

    assert {type(outcome) for outcome in outcomes} == {Answer}
    assert opened == 2


async def test_no_more_connections_than_its_width() -> None:
    async with (
        RawServer(answer(b"yes"), end=End.KEEP) as server,
        transport_to(server.url, width=2) as transport,
        asyncio.TaskGroup() as group,
    ):
        calls = [group.create_task(transport.call("POST", "/x")) for _ in range(12)]

    assert {type(call.result()) for call in calls} == {Answer}
    assert server.connections <= 2


class _Moody:
    """Answers with the path it was asked for, or breaks the connection at any point, by the toss of a die."""

    def __init__(self, seed: int) -> None:
        self.seen: Counter[str] = Counter()
        self._dice = random.Random(seed)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while self._dice.random() > 0.1:  # else it hangs up, at once or on a kept connection
                path = (await reader.readuntil(b"\r\n")).split()[1].decode()
                self.seen[path] += 1
                await reader.readuntil(b"\r\n\r\n")
                mood = self._dice.randrange(10)
                if mood == 0:
                    break
                writer.write(answer(path.encode())[: 20 if mood == 1 else None])
                if mood == 2:
                    writer.write(answer(b"stray"))
                await writer.drain()
                if mood in {1, 3}:
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
async def test_whatever_breaks_nothing_is_sent_twice_or_taken_for_never_sent_or_given_to_another(seed: int) -> None:
    moody = _Moody(seed)
    server = await asyncio.start_server(moody.serve, "127.0.0.1", 0)
    outcomes: dict[str, Answer | NeverLeft | Broken] = {}

    async def call_many(transport: Transport, worker: int) -> None:
        for number in range(60):
            path = f"/{worker}-{number}"
            outcomes[path] = await transport.call(METHODS[number % len(METHODS)], path)

    port = server.sockets[0].getsockname()[1]
    async with server, transport_to(f"http://127.0.0.1:{port}", width=4) as transport, asyncio.TaskGroup() as group:
        for worker in range(8):
            group.create_task(call_many(transport, worker))

    answers = {path: outcome.body for path, outcome in outcomes.items() if isinstance(outcome, Answer)}
    assert max(moody.seen.values()) == 1
    assert [path for path, outcome in outcomes.items() if isinstance(outcome, NeverLeft) and path in moody.seen] == []
    assert answers == {path: path.encode() for path in answers}
    assert len(answers) > 100
    assert any(isinstance(outcome, Broken) for outcome in outcomes.values())


# --- what never left -------------------------------------------------------------------------------------------------


async def test_refused_connection_never_left() -> None:
    async with transport_to(f"http://127.0.0.1:{await closed_port()}") as transport:
        outcome = await transport.call("POST", "/x")

    assert isinstance(outcome, NeverLeft)
    assert "Connect call failed" in outcome.reason or "onnection refused" in outcome.reason


@pytest.mark.asyncio(loop_factories=["asyncio"])  # uvloop has a way of its own, which would ask the network
async def test_name_that_is_not_found_never_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object, **_options: object) -> NoReturn:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    async with transport_to("http://carrier.example") as transport:
        outcome = await transport.call("POST", "/x")

    assert isinstance(outcome, NeverLeft)
    assert "no such name" in outcome.reason


@pytest.mark.slow
async def test_handshake_that_is_not_answered_never_left_and_is_known_before_the_deadline() -> None:
    async with (
        RawServer() as server,  # waits for a request in plain text
        transport_to(server.url.replace("http:", "https:"), timeout_s=0.5) as transport,
        asyncio.timeout(5),
    ):
        outcome = await transport.call("POST", "/x")

    assert isinstance(outcome, NeverLeft)
    assert server.requests == []


async def test_call_of_a_transport_that_closes_is_broken_when_it_was_sent() -> None:
    async with RawServer(end=End.STALL) as server, transport_to(server.url) as transport, asyncio.TaskGroup() as group:
        call = group.create_task(transport.call("POST", "/x"))
        await server.wait_for_request()
        await transport.close()

    assert isinstance(call.result(), Broken)


# --- what is left behind ---------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
async def test_carrier_that_does_not_read_gets_nothing_more_after_the_deadline() -> None:
    content = bytes(16 * 1024 * 1024)
    is_over, read = asyncio.Event(), asyncio.Event()
    taken = 0

    async def read_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal taken
        await is_over.wait()
        try:
            while piece := await reader.read(1024 * 1024):
                taken += len(piece)
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()
            read.set()

    server = await asyncio.start_server(read_late, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, transport_to(f"http://127.0.0.1:{port}", timeout_s=0.3) as one:
        outcome = await one.call("POST", "/x", content=content)
        is_over.set()
        async with asyncio.timeout(5):
            await read.wait()

    assert isinstance(outcome, Broken)
    assert taken < len(content)


# --- the request -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["", "a b", "+33612340001", "%2B", "a&b=c#d/e?f", "é€", "x" * 500, ";", "'\"<>\\"])
async def test_query_arrives_as_it_was(value: str) -> None:
    async with RawServer(answer(b"yes")) as server, transport_to(server.url + "/cgi-bin") as transport:
        await transport.call("POST", "/x", query={"num": value, "keyid": "k"})
        [request] = server.requests

    path, _, query = request.head.split()[1].partition("?")
    assert path == "/cgi-bin/x"
    assert parse_qsl(query, keep_blank_values=True) == [("num", value), ("keyid", "k")]
    assert "content-length: 0" in request.head.lower()
    assert "content-type" not in request.head.lower()


async def test_passwords_of_the_user_are_not_looked_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    async with RawServer(answer(b"yes")) as server, transport_to(server.url) as transport:
        await transport.call("GET", "/x")
        [request] = server.requests

    assert "authorization" not in request.head.lower()


# --- what is kept of an answer ---------------------------------------------------------------------------------------


SECRETS = st.text(st.characters(exclude_characters="<>*", exclude_categories=["Cs"]), min_size=4, max_size=40)


@given(SECRETS)
@example("a/b c+d%")
def test_secret_is_masked_in_every_form_that_it_can_take(secret: str) -> None:
    escaped = quote(secret, safe="")
    spellings = [secret, json.dumps(secret)[1:-1], json.dumps(secret)[1:-1].replace("/", "\\/")]
    spellings += [escaped, quote(secret, safe="/+:"), quote_plus(secret)]
    spellings += [re.sub("%..", lambda found: found[0].lower(), escaped)]

    assert {recorded(f"<{spelling}>", secret=secret) for spelling in spellings} == {"<***>"}
