"""What every carrier of the registry must do, whatever the network and the carrier do (docs/states.md: uncertain)."""

import asyncio
import json
import ssl
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from gateway.lifecycle import Accepted, Hold, NotSent, Refused, Uncertain
from gateway.protocol.codes import Code
from gateway.providers.base import Batches, SendOptions
from gateway.providers.registry import KINDS
from gateway.providers.transport import RAW_LIMIT
from gateway.sandbox import Sandbox
from tests.providers.carriers import KEY, PATHS, batch_of, provider_at
from tests.support.rawhttp import End, RawRequest, RawServer, answer, closed_port

pytestmark = pytest.mark.parametrize("kind", sorted(KINDS))

SHORT_S = 0.15
"""A deadline for calls that are meant to miss it."""

ONE = batch_of("+33612340001")
TWO = batch_of("+33612340001", "+33612340002")


async def test_kind_is_part_of_this_suite(kind: str) -> None:
    assert kind in PATHS


async def test_batch_size_is_within_what_carriers_take(kind: str) -> None:
    async with provider_at(kind, "http://127.0.0.1:9") as provider:
        assert provider.name == "carrier"
        assert isinstance(provider, Batches)
        assert 1 <= provider.batch_size <= 500


async def test_sms_arrives_as_it_is(kind: str) -> None:
    options = SendOptions(account_key=KEY, originator="MaSociete", max_parts=6, nostop=True)
    async with Sandbox() as sandbox, provider_at(kind, sandbox.url) as provider:
        verdicts = await provider.submit(batch_of("+33612340001", text="L'été à 10€\n[fin]", options=options))
        [message] = sandbox.messages

    assert [type(verdict) for verdict in verdicts] == [Accepted]
    assert message["msisdn"] == "+33612340001"
    assert message["text"] == "L'été à 10€\n[fin] 0"
    assert message["originator"] == "MaSociete"
    assert message["tracker"] == "T0"
    assert message["nostop"]


async def test_one_verdict_per_sms_in_order(kind: str) -> None:
    numbers = ["+33612340001", "+33600000011", "+33612340002", "+33600000021", "+33612340001", "+4915112345678"]
    async with Sandbox() as sandbox, provider_at(kind, sandbox.url) as provider:
        verdicts = await provider.submit(batch_of(*numbers))
        messages = sandbox.messages

    assert [verdict.code if isinstance(verdict, Refused) else type(verdict) for verdict in verdicts] == [
        Accepted,
        Code.C11_NUMBER_BLACKLISTED,
        Accepted,
        Code.C21_NUMBER_UNASSIGNED,
        Accepted,
        Accepted,
    ]
    assert [(message["msisdn"], message["tracker"], message["text"]) for message in messages] == [
        ("+33612340001", "T0", "Bonjour 0"),
        ("+33612340002", "T2", "Bonjour 2"),
        ("+33612340001", "T4", "Bonjour 4"),
        ("+4915112345678", "T5", "Bonjour 5"),
    ]


async def test_fullest_batch_is_one_call(kind: str) -> None:
    numbers = [f"+336123{number:05d}" for number in range(500)]
    async with Sandbox() as sandbox, provider_at(kind, sandbox.url, batch_size=500) as provider:
        verdicts = await provider.submit(batch_of(*numbers))
        calls, messages = sandbox.calls, sandbox.messages

    assert {type(verdict) for verdict in verdicts} == {Accepted}
    assert [message["msisdn"] for message in messages] == numbers
    assert calls == 1


async def test_text_with_half_a_surrogate_pair_does_not_raise(kind: str) -> None:
    async with Sandbox() as sandbox, provider_at(kind, sandbox.url) as provider:
        verdicts = await provider.submit(batch_of("+33612340001", text="\ud83d"))

    assert [type(verdict) for verdict in verdicts] == [Uncertain]


# --- what proves that nothing was sent -------------------------------------------------------------------------------


async def test_refused_connection_proves_that_nothing_was_sent(kind: str) -> None:
    async with provider_at(kind, f"http://127.0.0.1:{await closed_port()}") as provider:
        verdicts = await provider.submit(TWO)

    assert [(type(verdict), getattr(verdict, "hold", None)) for verdict in verdicts] == [(NotSent, Hold.PROVIDER)] * 2


async def test_broken_tls_handshake_proves_that_nothing_was_sent(kind: str) -> None:
    async with Sandbox() as sandbox:  # speaks plain HTTP
        async with provider_at(kind, sandbox.url.replace("http:", "https:")) as provider:
            [verdict] = await provider.submit(ONE)
        calls = sandbox.calls

    assert isinstance(verdict, NotSent)
    assert verdict.hold is Hold.PROVIDER
    assert calls == 0


@pytest.mark.slow
async def test_call_that_finds_no_free_connection_never_left(kind: str) -> None:
    async with RawServer(end=End.STALL) as server, provider_at(kind, server.url, width=1, timeout_s=0.8) as provider:
        async with asyncio.TaskGroup() as group:
            first = group.create_task(provider.submit(ONE))
            await server.wait_for_request()
            second = group.create_task(provider.submit(ONE))
        requests = server.requests

    assert [type(verdict) for verdict in (*first.result(), *second.result())] == [Uncertain, NotSent]
    assert len(requests) == 1


async def test_closed_provider_sends_nothing(kind: str) -> None:
    async with Sandbox() as sandbox, provider_at(kind, sandbox.url) as provider:
        await provider.close()
        [verdict] = await provider.submit(ONE)
        calls = sandbox.calls

    assert isinstance(verdict, NotSent)
    assert calls == 0


async def test_429_is_not_sent_and_its_wish_is_kept(kind: str) -> None:
    async with Sandbox() as sandbox, provider_at(kind, sandbox.url) as provider:
        sandbox.misbehave("429", retry_after="120")
        verdicts = await provider.submit(TWO)

    assert [(type(verdict), getattr(verdict, "hold", None)) for verdict in verdicts] == [(NotSent, Hold.PROVIDER)] * 2
    assert {
        verdict.retry_at.isoformat() for verdict in verdicts if isinstance(verdict, NotSent) and verdict.retry_at
    } == {"2026-03-04T09:32:00+00:00"}


# --- what proves nothing ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    ["reset before the answer", "answer lost after accepting", "half an answer", "not JSON", "html", "gzip bomb"],
)
async def test_broken_answer_proves_nothing(kind: str, fault: str) -> None:
    async with Sandbox() as sandbox, provider_at(kind, sandbox.url) as provider:
        sandbox.misbehave(fault)
        verdicts = await provider.submit(TWO)
        calls = sandbox.calls

    assert [type(verdict) for verdict in verdicts] == [Uncertain, Uncertain]
    assert calls == 1  # never a second try by itself


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
async def test_status_of_a_front_proves_nothing(kind: str, status: int) -> None:
    async with Sandbox() as sandbox, provider_at(kind, sandbox.url) as provider:
        sandbox.misbehave("status", status=status)
        verdicts = await provider.submit(TWO)
        calls = sandbox.calls

    assert [type(verdict) for verdict in verdicts] == [Uncertain, Uncertain]
    assert calls == 1


@pytest.mark.parametrize(
    "fault", [{"fault": "slow", "delay_s": 60.0}, {"fault": "trickle", "delay_s": SHORT_S / 5}], ids=["slow", "trickle"]
)
async def test_deadline_is_that_of_the_whole_call(kind: str, fault: dict[str, object]) -> None:
    async with Sandbox() as sandbox, provider_at(kind, sandbox.url, timeout_s=SHORT_S) as provider:
        sandbox.misbehave(**fault)  # type: ignore[arg-type]  # the first is the name
        async with asyncio.timeout(5):
            [verdict] = await provider.submit(ONE)
        accepted = len(sandbox.messages)

    assert isinstance(verdict, Uncertain)
    assert f"no complete answer within {SHORT_S} s" in verdict.raw
    assert accepted == 1


@pytest.mark.slow
async def test_broken_calls_give_their_connection_back(kind: str) -> None:
    async with Sandbox() as sandbox, provider_at(kind, sandbox.url, timeout_s=SHORT_S, width=1) as provider:
        for fault in ("slow", "half", "gzip bomb", "reset"):
            sandbox.misbehave(fault, delay_s=60, count=1)
        verdicts = [(await provider.submit(ONE))[0] for _ in range(5)]

    assert [type(verdict) for verdict in verdicts] == [Uncertain] * 4 + [Accepted]


def _endless_continue(_request: RawRequest) -> Iterator[bytes]:
    while True:
        yield b"HTTP/1.1 100 Continue\r\n\r\n"


def _endless_body(_request: RawRequest) -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\n\r\n"
    while True:
        yield b'{"etat":' * 1000


async def test_endless_body_is_cut_off(kind: str) -> None:
    async with RawServer(pieces_for=_endless_body) as server, provider_at(kind, server.url) as provider:
        [verdict] = await provider.submit(ONE)

    assert isinstance(verdict, Uncertain)
    assert "longer than 262144 bytes" in verdict.raw


@pytest.mark.slow
async def test_endless_interim_answers_end_at_the_deadline(kind: str) -> None:
    async with (
        RawServer(pieces_for=_endless_continue) as server,
        provider_at(kind, server.url, timeout_s=SHORT_S) as provider,
        asyncio.timeout(5),
    ):
        [verdict] = await provider.submit(ONE)

    assert isinstance(verdict, Uncertain)


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
        (answer(b'{"etat":' * 20_000),),
        (answer(b"{}"),),
        (answer(b"[]"),),
        (answer(b"null"),),
        (answer(b'{"etat":{"etat":[{"code":NaN}]}}'),),
        (answer(b'{"etat":{"etat":[{"code":0,"code":11}]}}'),),
        (answer(b"\xff\xfe\x00"),),
        (answer(b'{"etat":{"etat":[{"code":0}]}}', "Content-Encoding: br"),),
        (answer(b'{"etat":{"etat":[{"code":0}]}}', status="201 Created"),),
    ],
    ids=lambda pieces: ascii(b"".join(pieces)[-24:]),
)
async def test_unreadable_answer_proves_nothing(kind: str, pieces: Sequence[bytes]) -> None:
    async with RawServer(*pieces) as server, provider_at(kind, server.url) as provider:
        verdicts = await provider.submit(TWO)

    assert [type(verdict) for verdict in verdicts] == [Uncertain, Uncertain]


@pytest.mark.parametrize("end", [End.CLOSE, End.RESET], ids=["close", "reset"])
async def test_connection_that_ends_after_the_request_proves_nothing(kind: str, end: End) -> None:
    async with RawServer(end=end) as server, provider_at(kind, server.url) as provider:
        [verdict] = await provider.submit(ONE)
        requests = server.requests

    assert isinstance(verdict, Uncertain)
    assert len(requests) == 1


async def test_cancellation_passes_through(kind: str) -> None:
    async with (
        RawServer(end=End.STALL) as server,
        provider_at(kind, server.url) as provider,
        asyncio.TaskGroup() as group,
    ):
        call = group.create_task(provider.submit(ONE))
        await server.wait_for_request()
        call.cancel()

    assert call.cancelled()


# --- what must not happen --------------------------------------------------------------------------------------------


async def test_redirect_is_a_refusal_and_is_not_followed(kind: str) -> None:
    async with RawServer(answer(b"{}")) as elsewhere:
        found = answer(b"", f"Location: {elsewhere.url}/cgi-bin/sms", status="302 Found")
        async with RawServer(found) as server, provider_at(kind, server.url) as provider:
            verdicts = await provider.submit(TWO)
        hits = len(elsewhere.requests)

    assert [getattr(verdict, "code", None) for verdict in verdicts] == [Code.C999_ERROR] * 2
    assert {type(verdict) for verdict in verdicts} == {Refused}
    assert hits == 0


async def test_key_never_stands_in_what_is_kept(kind: str) -> None:
    def echo(request: RawRequest) -> Iterator[bytes]:
        body = json.loads(request.body)
        yield answer(json.dumps({"etat": {"etat": [{"code": 3, "message": f"bad key {body['keyid']}"}]}}).encode())

    def echo_as_html(request: RawRequest) -> Iterator[bytes]:
        yield answer(b"x" * (RAW_LIMIT - 40) + request.body, status="500 Oops")

    raws = []
    for pieces in (echo, echo_as_html):
        async with RawServer(pieces_for=pieces) as server, provider_at(kind, server.url) as provider:
            [verdict] = await provider.submit(ONE)
            raws.append(verdict.raw)
            sent = server.requests[0].body.decode()

    assert KEY in sent
    assert [KEY[:6] in raw for raw in raws] == [False, False]
    assert ["***" in raw for raw in raws] == [True, True]


async def test_kept_answer_is_bounded_and_fit_for_any_database(kind: str) -> None:
    body = b"\x00\xff" + "é".encode() * 50_000
    async with RawServer(answer(body, status="500 Oops")) as server, provider_at(kind, server.url) as provider:
        [verdict] = await provider.submit(ONE)

    assert len(verdict.raw) <= RAW_LIMIT
    assert "\x00" not in verdict.raw
    assert verdict.raw.startswith("HTTP 500")


async def test_environment_is_not_listened_to(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = f"http://127.0.0.1:{await closed_port()}"
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, dead)
    async with Sandbox() as sandbox, provider_at(kind, sandbox.url) as provider:
        [verdict] = await provider.submit(ONE)

    assert isinstance(verdict, Accepted)


async def test_cookies_are_not_kept_and_compression_is_not_asked_for(kind: str) -> None:
    reply = answer(b"{}", "Set-Cookie: front=7; Path=/")
    async with RawServer(reply, end=End.KEEP) as server, provider_at(kind, server.url) as provider:
        await provider.submit(ONE)
        await provider.submit(ONE)
        heads = [request.head.lower() for request in server.requests]

    assert len(heads) == 2
    assert ["cookie:" in head for head in heads] == [False, False]
    assert ["accept-encoding: identity" in head for head in heads] == [True, True]


async def test_connection_is_kept_between_calls(kind: str) -> None:
    async with RawServer(answer(b"{}"), end=End.KEEP) as server, provider_at(kind, server.url) as provider:
        await provider.submit(ONE)
        await provider.submit(ONE)
        connections = server.connections

    assert connections == 1


async def test_certificate_is_checked_against_the_named_authority_alone(
    kind: str, own_authority: tuple[Path, ssl.SSLContext]
) -> None:
    authority, context = own_authority
    async with RawServer(answer(b"{}"), tls=context) as server:
        async with provider_at(kind, server.url) as provider:
            [without] = await provider.submit(ONE)
        async with provider_at(kind, server.url, ca_file=str(authority)) as provider:
            [with_it] = await provider.submit(ONE)

    assert isinstance(without, NotSent)
    assert "CERTIFICATE_VERIFY_FAILED" in without.raw
    assert isinstance(with_it, Uncertain)
