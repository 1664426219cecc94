"""What every carrier of the registry must do, whatever the network and the carrier do (docs/states.md: uncertain)."""

import asyncio
import gzip
import json
import ssl
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from gateway.lifecycle import Accepted, Hold, NotSent, Refused, Uncertain, Verdict
from gateway.protocol.codes import Code
from gateway.providers.base import Batches, Provider, SendOptions
from gateway.providers.registry import KINDS
from gateway.providers.transport import RAW_LIMIT
from tests.providers.carriers import (
    BLACKLISTED,
    CALLBACK_SECRET,
    CARRIERS,
    KEY,
    PATHS,
    Desk,
    Sent,
    batch_of,
    batches_for,
    provider_at,
)
from tests.support.rawhttp import End, RawRequest, RawServer, answer, closed_port

each_carrier = pytest.mark.parametrize("name", sorted(CARRIERS))

SHORT_S = 0.15
"""A deadline for calls that are meant to miss it."""

ONE = batch_of("+33612340001")
NUMBERS = ("+33612340001", "+33612340002")
TWO = [Sent(msisdn=number, text="Bonjour", originator=None, tracker="T0") for number in NUMBERS]


async def submit_two(provider: Provider, *, alike: bool = False) -> list[Verdict]:
    """Return the verdicts of one call with two SMS; with one, if the provider takes no more."""
    return list(await provider.submit(next(batches_for(provider, *NUMBERS, alike=alike))))


def test_every_kind_is_part_of_this_suite() -> None:
    assert {carrier.kind for carrier in CARRIERS.values()} == set(KINDS) == set(PATHS)


@each_carrier
async def test_batch_size_is_within_what_carriers_take(name: str) -> None:
    async with provider_at(name, "http://127.0.0.1:9") as provider:
        assert provider.name == "carrier"
        assert not isinstance(provider, Batches) or 1 <= provider.batch_size <= 500


@each_carrier
async def test_sms_arrives_as_it_is(name: str) -> None:
    options = SendOptions(account_key=KEY, originator="MaSociete", max_parts=6, nostop=True)
    text = 'L\'été à 10€\n"fin" & <b> \\ {to}%20;=+'
    async with Desk(name) as desk, provider_at(name, desk.url) as provider:
        verdicts = await provider.submit(batch_of("+33612340001", text=text, options=options))
        [message] = desk.messages

    expected = f"{text} 0"
    if CARRIERS[name].kind == "smspartner":  # which these characters would not pass
        expected = expected.replace("\\", "").replace("{", "(").replace("}", ")")
    assert [type(verdict) for verdict in verdicts] == [Accepted]
    assert message.msisdn == "+33612340001"
    assert message.text == expected
    assert message.originator == ("MaSociete" if CARRIERS[name].carries_originator else None)
    assert message.tracker == "T0"


@each_carrier
@pytest.mark.parametrize("alike", [False, True], ids=["different", "alike"])
async def test_one_verdict_per_sms_in_order(name: str, alike: bool) -> None:
    numbers = ["+33612340001", BLACKLISTED, "+33612340002", "+33612340003", "+33612340001", "+4915112345678"]
    if alike and CARRIERS[name].kind == "smspartner":  # which says nothing about one of several with one text
        numbers.remove(BLACKLISTED)
    async with Desk(name) as desk, provider_at(name, desk.url) as provider:
        batches = list(batches_for(provider, *numbers, alike=alike))
        verdicts = [verdict for batch in batches for verdict in await provider.submit(batch)]
        messages = desk.messages

    assert [verdict.code if isinstance(verdict, Refused) else type(verdict) for verdict in verdicts] == [
        CARRIERS[name].refusal_code if number == BLACKLISTED else Accepted for number in numbers
    ]
    assert sorted(message.msisdn for message in messages) == sorted(numbers)
    to_one = [message.text for message in messages if message.msisdn == numbers[0]]
    assert to_one == (["Bonjour"] * 2 if alike else ["Bonjour 0", f"Bonjour {numbers.index(numbers[0], 1)}"])


@pytest.mark.parametrize("name", ["isendpro", "sandbox", "smspartner"])
async def test_fullest_batch_is_one_call(name: str) -> None:
    numbers = [f"+336123{number:05d}" for number in range(500)]
    async with Desk(name) as desk, provider_at(name, desk.url, batch_size=500) as provider:
        verdicts = await provider.submit(batch_of(*numbers))
        calls, messages = len(desk.requests), desk.messages

    assert {type(verdict) for verdict in verdicts} == {Accepted}
    assert [message.msisdn for message in messages] == numbers
    assert calls == 1


@each_carrier
async def test_text_with_half_a_surrogate_pair_does_not_raise(name: str) -> None:
    async with Desk(name) as desk, provider_at(name, desk.url) as provider:
        verdicts = await provider.submit(batch_of("+33612340001", text="\ud83d"))

    assert len(verdicts) == 1


# --- what proves that nothing was sent -------------------------------------------------------------------------------


@each_carrier
async def test_refused_connection_proves_that_nothing_was_sent(name: str) -> None:
    async with provider_at(name, f"http://127.0.0.1:{await closed_port()}") as provider:
        verdicts = await submit_two(provider)

    assert {(type(verdict), getattr(verdict, "hold", None)) for verdict in verdicts} == {(NotSent, Hold.PROVIDER)}


@each_carrier
async def test_broken_tls_handshake_proves_that_nothing_was_sent(name: str) -> None:
    def speak_plainly(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(b"<p>this is HTTP</p>", status="400 Bad Request"))
        writer.close()

    server = await asyncio.start_server(speak_plainly, "127.0.0.1", 0)
    async with server, provider_at(name, f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}") as provider:
        [verdict] = await provider.submit(ONE)

    assert isinstance(verdict, NotSent)
    assert verdict.hold is Hold.PROVIDER


@pytest.mark.slow
@each_carrier
async def test_call_that_finds_no_free_connection_never_left(name: str) -> None:
    async with RawServer(end=End.STALL) as server, provider_at(name, server.url, width=1, timeout_s=0.8) as provider:
        async with asyncio.TaskGroup() as group:
            first = group.create_task(provider.submit(ONE))
            await server.wait_for_request()
            second = group.create_task(provider.submit(ONE))
        requests = server.requests

    assert [type(verdict) for verdict in (*first.result(), *second.result())] == [Uncertain, NotSent]
    assert len(requests) == 1


@each_carrier
async def test_closed_provider_sends_nothing(name: str) -> None:
    async with Desk(name) as desk, provider_at(name, desk.url) as provider:
        await provider.close()
        [verdict] = await provider.submit(ONE)
        calls = len(desk.requests)

    assert isinstance(verdict, NotSent)
    assert calls == 0


@each_carrier
async def test_429_is_not_sent_and_its_wish_is_kept(name: str) -> None:
    busy = answer(b"slow down", "Retry-After: 120", status="429 Too Many Requests")
    async with RawServer(busy) as server, provider_at(name, server.url) as provider:
        verdicts = await submit_two(provider)

    assert {(type(verdict), getattr(verdict, "hold", None)) for verdict in verdicts} == {(NotSent, Hold.PROVIDER)}
    assert {
        verdict.retry_at.isoformat() for verdict in verdicts if isinstance(verdict, NotSent) and verdict.retry_at
    } == {"2026-03-04T09:32:00+00:00"}


@each_carrier
@pytest.mark.parametrize("wish", ["soon", "-1", "9" * 400, "Wed, 04 Mar 2026 99:99:99 GMT", "\t"])
async def test_wish_that_makes_no_sense_harms_nobody(name: str, wish: str) -> None:
    busy = answer(b"slow down", f"Retry-After: {wish}", status="429 Too Many Requests")
    async with RawServer(busy) as server, provider_at(name, server.url) as provider:
        [verdict] = await provider.submit(ONE)

    assert isinstance(verdict, NotSent)


@each_carrier
@pytest.mark.parametrize("status", [401, 403])
async def test_front_that_does_not_let_us_in_holds_the_account(name: str, status: int) -> None:
    page = answer(b"<p>no</p>", status=f"{status} No")
    async with RawServer(page) as server, provider_at(name, server.url) as provider:
        verdicts = await submit_two(provider)

    assert {(type(verdict), getattr(verdict, "hold", None)) for verdict in verdicts} == {(NotSent, Hold.ACCOUNT)}


@each_carrier
async def test_wrong_key_holds_the_account(name: str) -> None:
    body = json.dumps(CARRIERS[name].wrong_key("?")).encode()
    async with RawServer(answer(body, status="400 Bad Request")) as server, provider_at(name, server.url) as provider:
        verdicts = await submit_two(provider)

    assert {(type(verdict), getattr(verdict, "hold", None)) for verdict in verdicts} == {(NotSent, Hold.ACCOUNT)}


# --- what proves nothing ---------------------------------------------------------------------------------------------


def _gzipped(body: bytes) -> bytes:
    return answer(gzip.compress(body), "Content-Encoding: gzip")


@each_carrier
@pytest.mark.parametrize("fault", ["close", "reset", "half", "gzip bomb", "not JSON", "page"])
async def test_broken_answer_proves_nothing(name: str, fault: str) -> None:
    whole = answer(json.dumps(CARRIERS[name].accept(TWO)).encode())
    pieces, end = {
        "close": (b"", End.CLOSE),
        "reset": (b"", End.RESET),
        "half": (whole[:-9], End.CLOSE),
        "gzip bomb": (_gzipped(b"[" * 10_000_000), End.CLOSE),
        "not JSON": (answer(b"OK"), End.CLOSE),
        "page": (answer(b"<!DOCTYPE html><html><body>Bienvenue</body></html>"), End.CLOSE),
    }[fault]
    async with RawServer(pieces, end=end) as server, provider_at(name, server.url) as provider:
        verdicts = await submit_two(provider)
        calls = len(server.requests)

    assert {type(verdict) for verdict in verdicts} == {Uncertain}
    assert calls == 1  # never a second try by itself


@each_carrier
@pytest.mark.parametrize("status", [408, 500, 502, 503, 504, 599])
async def test_status_of_a_front_proves_nothing(name: str, status: int) -> None:
    async with RawServer(answer(b"<p>Oops</p>", status=f"{status} Oops")) as server:
        async with provider_at(name, server.url) as provider:
            verdicts = await submit_two(provider)
        calls = len(server.requests)

    assert {type(verdict) for verdict in verdicts} == {Uncertain}
    assert calls == 1


@each_carrier
@pytest.mark.parametrize("status", [400, 404, 405, 413, 422])
async def test_front_that_understands_nothing_refuses(name: str, status: int) -> None:
    page = answer(b"<p>?</p>", status=f"{status} No")
    async with RawServer(page) as server, provider_at(name, server.url) as provider:
        verdicts = await submit_two(provider)

    assert {verdict.code if isinstance(verdict, Refused) else None for verdict in verdicts} == {Code.C999_ERROR}


def _trickle(_request: RawRequest) -> Iterator[bytes]:
    whole = answer(b'{"x":"' + b"x" * 10_000 + b'"}')
    yield from (whole[position : position + 1] for position in range(60))


@each_carrier
@pytest.mark.parametrize("pieces", [lambda _request: [], _trickle], ids=["slow", "trickle"])
async def test_deadline_is_that_of_the_whole_call(name: str, pieces: object) -> None:
    server = RawServer(pieces_for=pieces, end=End.STALL)  # type: ignore[arg-type] # one of the two above
    async with server, provider_at(name, server.url, timeout_s=SHORT_S) as provider:
        async with asyncio.timeout(5):
            [verdict] = await provider.submit(ONE)

    assert isinstance(verdict, Uncertain)
    assert f"no complete answer within {SHORT_S} s" in verdict.raw


@pytest.mark.slow
@each_carrier
async def test_broken_calls_give_their_connection_back(name: str) -> None:
    first = (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", _gzipped(b"{}"), b"garbage\r\n\r\n", b"")
    async with Desk(name, *first) as desk, provider_at(name, desk.url, timeout_s=SHORT_S * 4, width=1) as provider:
        verdicts = [(await provider.submit(ONE))[0] for _ in range(5)]

    assert [type(verdict) for verdict in verdicts] == [Uncertain] * 4 + [Accepted]


def _endless_continue(_request: RawRequest) -> Iterator[bytes]:
    while True:
        yield b"HTTP/1.1 100 Continue\r\n\r\n"


def _endless_body(_request: RawRequest) -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\n\r\n"
    while True:
        yield b'{"etat":' * 1000


@each_carrier
async def test_endless_body_is_cut_off(name: str) -> None:
    async with RawServer(pieces_for=_endless_body) as server, provider_at(name, server.url) as provider:
        [verdict] = await provider.submit(ONE)

    assert isinstance(verdict, Uncertain)
    assert "longer than 262144 bytes" in verdict.raw


@pytest.mark.slow
@each_carrier
async def test_endless_interim_answers_end_at_the_deadline(name: str) -> None:
    async with (
        RawServer(pieces_for=_endless_continue) as server,
        provider_at(name, server.url, timeout_s=SHORT_S) as provider,
        asyncio.timeout(5),
    ):
        [verdict] = await provider.submit(ONE)

    assert isinstance(verdict, Uncertain)


@each_carrier
@pytest.mark.parametrize(
    "pieces",
    [
        (),
        (b"\x00\xff garbage\r\n\r\n",),
        (b"HTTP/1.1 200 OK\r\n",),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n{}",),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",),
        (answer(b""),),
        (answer(b"["),),
        (answer(b"[" * 100_000),),
        (answer(b'{"messages":' * 20_000),),
        (answer(b"<result><entry>" + b"<entry>" * 30_000),),
        (answer(b"{}"),),
        (answer(b"[]"),),
        (answer(b"null"),),
        (answer(b"true"),),
        (answer(b"\xff\xfe\x00"),),
        (answer(b"9" * 100_000),),
    ],
    ids=lambda pieces: ascii(b"".join(pieces)[-24:]),
)
async def test_unreadable_answer_proves_nothing(name: str, pieces: Sequence[bytes]) -> None:
    async with RawServer(*pieces) as server, provider_at(name, server.url) as provider:
        verdicts = await submit_two(provider)

    assert {type(verdict) for verdict in verdicts} == {Uncertain}


@pytest.mark.parametrize(
    ("name", "body"), [(name, body) for name, carrier in sorted(CARRIERS.items()) for body in carrier.half_truths]
)
async def test_half_a_truth_proves_nothing(name: str, body: str) -> None:
    async with RawServer(answer(body.encode())) as server, provider_at(name, server.url) as provider:
        verdicts = await submit_two(provider)

    assert {type(verdict) for verdict in verdicts} == {Uncertain}


@each_carrier
@pytest.mark.parametrize("alike", [False, True], ids=["different", "alike"])
async def test_acceptance_under_another_status_proves_nothing(name: str, alike: bool) -> None:
    carrier = CARRIERS[name]

    def accept(request: RawRequest) -> list[bytes]:
        return [answer(json.dumps(carrier.accept(carrier.read(request))).encode(), status="206 Partial Content")]

    async with RawServer(pieces_for=accept) as server, provider_at(name, server.url) as provider:
        verdicts = await submit_two(provider, alike=alike)

    assert {type(verdict) for verdict in verdicts} == {Uncertain}


@each_carrier
async def test_cancellation_passes_through(name: str) -> None:
    async with (
        RawServer(end=End.STALL) as server,
        provider_at(name, server.url) as provider,
        asyncio.TaskGroup() as group,
    ):
        call = group.create_task(provider.submit(ONE))
        await server.wait_for_request()
        call.cancel()

    assert call.cancelled()


# --- what must not happen --------------------------------------------------------------------------------------------


@each_carrier
async def test_redirect_is_a_refusal_and_is_not_followed(name: str) -> None:
    async with RawServer(answer(b"{}")) as elsewhere:
        found = answer(b"", f"Location: {elsewhere.url}/cgi-bin/sms", status="302 Found")
        async with RawServer(found) as server, provider_at(name, server.url) as provider:
            verdicts = await submit_two(provider)
        hits = len(elsewhere.requests)

    assert {verdict.code if isinstance(verdict, Refused) else None for verdict in verdicts} == {Code.C999_ERROR}
    assert hits == 0


@each_carrier
async def test_key_never_stands_in_what_is_kept(name: str) -> None:
    def echo(_request: RawRequest) -> Iterator[bytes]:
        yield answer(json.dumps(CARRIERS[name].wrong_key(KEY)).encode())

    def echo_as_html(request: RawRequest) -> Iterator[bytes]:
        yield answer(b"x" * (RAW_LIMIT - 40) + request.head.encode() + request.body, status="500 Oops")

    raws = []
    for pieces in (echo, echo_as_html):
        async with RawServer(pieces_for=pieces) as server, provider_at(name, server.url) as provider:
            [verdict] = await provider.submit(ONE)
            raws.append(verdict.raw)
            sent = server.requests[0].head + server.requests[0].body.decode()

    assert KEY in sent
    assert [KEY[:6] in raw for raw in raws] == [False, False]
    assert "***" in raws[0]
    assert not any(CALLBACK_SECRET[:8] in raw for raw in raws)


@each_carrier
async def test_kept_answer_is_bounded_and_fit_for_any_database(name: str) -> None:
    body = b"\x00\xff" + "é".encode() * 50_000
    async with RawServer(answer(body, status="500 Oops")) as server, provider_at(name, server.url) as provider:
        [verdict] = await provider.submit(ONE)

    assert len(verdict.raw) <= RAW_LIMIT
    assert "\x00" not in verdict.raw
    assert verdict.raw.startswith("HTTP 500")


@each_carrier
async def test_environment_is_not_listened_to(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = f"http://127.0.0.1:{await closed_port()}"
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(variable, dead)
    async with Desk(name) as desk, provider_at(name, desk.url) as provider:
        [verdict] = await provider.submit(ONE)

    assert isinstance(verdict, Accepted)


@each_carrier
async def test_cookies_are_not_kept_and_compression_is_not_asked_for(name: str) -> None:
    reply = answer(b"{}", "Set-Cookie: front=7; Path=/")
    async with RawServer(reply, end=End.KEEP) as server, provider_at(name, server.url) as provider:
        await provider.submit(ONE)
        await provider.submit(ONE)
        heads = [request.head.lower() for request in server.requests]

    assert len(heads) == 2
    assert ["cookie:" in head for head in heads] == [False, False]
    assert ["accept-encoding: identity" in head for head in heads] == [True, True]


@each_carrier
async def test_connection_is_kept_between_calls(name: str) -> None:
    async with RawServer(answer(b"{}"), end=End.KEEP) as server, provider_at(name, server.url) as provider:
        await provider.submit(ONE)
        await provider.submit(ONE)
        connections = server.connections

    assert connections == 1


@each_carrier
async def test_certificate_is_checked_against_the_named_authority_alone(
    name: str, own_authority: tuple[Path, ssl.SSLContext]
) -> None:
    authority, context = own_authority
    async with RawServer(answer(b"{}"), tls=context) as server:
        async with provider_at(name, server.url) as provider:
            [without] = await provider.submit(ONE)
        async with provider_at(name, server.url, ca_file=str(authority)) as provider:
            [with_it] = await provider.submit(ONE)

    assert isinstance(without, NotSent)
    assert "CERTIFICATE_VERIFY_FAILED" in without.raw
    assert isinstance(with_it, Uncertain)
