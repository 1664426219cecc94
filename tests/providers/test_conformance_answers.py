"""Whatever bytes a carrier answers or calls back with: verdicts, an `Untold`, or a callback that cannot be read."""

import asyncio
import json
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.lifecycle import Accepted, NotSent, Refused, Uncertain
from gateway.providers.base import (
    Balance,
    Batches,
    Callback,
    CallbackUnreadable,
    Inquiry,
    KeepsOptOuts,
    LooksUp,
    ParsesCallbacks,
    Receipt,
    Reply,
    Schedules,
    TellsBalance,
    Untold,
)
from gateway.providers.transport import RAW_LIMIT
from tests.providers.carriers import CARRIERS, KEY, batches_for, provider_at
from tests.support.rawhttp import End, RawRequest, RawServer, answer

each_carrier = pytest.mark.parametrize("name", sorted(CARRIERS))

CAPABILITIES: tuple[type, ...] = (Batches, Schedules, LooksUp, TellsBalance, KeepsOptOuts, ParsesCallbacks)

CAN: dict[str, set[type]] = {
    "smspartner": {Batches, Schedules, LooksUp, TellsBalance, KeepsOptOuts, ParsesCallbacks},
    "smspartner-long": {LooksUp, TellsBalance, KeepsOptOuts, ParsesCallbacks},
    "webhook": {ParsesCallbacks},
    "webhook-get": {ParsesCallbacks},
}
"""What these carriers can do beyond sending."""

WORDS = st.sampled_from(
    (
        *("etat", "code", "tel", "message", "smslong", "success", "message_id", "nb_sms", "cost", "currency", "errors"),
        *(
            "SMSResponse_List",
            "StatutResponse_List",
            "error",
            "elementId",
            "phoneNumber",
            "messageId",
            "status",
            "date",
        ),
        *(
            "credits",
            "balance",
            "creditSms",
            "data",
            "nbData",
            "id",
            "messages",
            "type",
            "text",
            "msisdn",
            "to",
            "msgId",
        ),
        *("phone", "tag", "concat", "concat-ref", "concat-total", "concat-part", "from", "credit"),
    )
)
SCALARS = (
    st.none() | st.booleans() | st.integers(-5, 1000) | st.floats() | st.text(max_size=12)
    | st.sampled_from(["200", 200, "10", True, "+33612340001", "0612340002", "Delivered", "stop", "response", "5510032",
        "children[phoneNumbers].data", "1e400", "(0612340001)", "true", 10**400, -(10**30)])
)  # fmt: skip
JSON_VALUES: st.SearchStrategy[object] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=7), max_leaves=20
)
BODIES = (
    st.binary(max_size=300)
    | JSON_VALUES.map(lambda value: json.dumps(value).encode())
    | st.fixed_dictionaries(
        {"success": st.booleans(), "code": SCALARS}, optional={"message_id": SCALARS, "nb_sms": SCALARS,
        "SMSResponse_List": JSON_VALUES, "errors": JSON_VALUES, "error": JSON_VALUES, "cost": SCALARS,
        "StatutResponse_List": JSON_VALUES, "data": JSON_VALUES, "nbData": SCALARS, "credits": JSON_VALUES}
    ).map(lambda value: json.dumps(value).encode())
)  # fmt: skip
STATUSES = st.sampled_from([200, 201, 302, 400, 401, 404, 429, 500, 503])


class Parrot:
    """Answers every request with what it was told to say last."""

    def __init__(self) -> None:
        self.body, self.status = b"", 200

    def pieces(self, _request: RawRequest) -> Iterator[bytes]:
        yield answer(self.body, status=f"{self.status} X")


@pytest.mark.slow
@each_carrier
def test_any_answer_is_one_verdict_per_sms(name: str) -> None:
    parrot = Parrot()

    async def submit(numbers: Sequence[str], alike: bool) -> None:
        async with (
            RawServer(pieces_for=parrot.pieces, end=End.CLOSE) as server,
            provider_at(name, server.url) as provider,
        ):
            for batch in batches_for(provider, *numbers, alike=alike):
                verdicts = await provider.submit(batch)

                assert len(verdicts) == len(batch.messages)
                assert all(isinstance(verdict, Accepted | Refused | NotSent | Uncertain) for verdict in verdicts)
                assert all(len(verdict.raw) <= RAW_LIMIT and "\x00" not in verdict.raw for verdict in verdicts)
                for verdict in verdicts:
                    verdict.raw.encode("utf-8")

    with asyncio.Runner() as runner:

        @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
        @given(BODIES, STATUSES, st.lists(st.sampled_from(["+33612340001", "+33612340002", "+4915112345678"]),
            min_size=1, max_size=4), st.booleans())  # fmt: skip
        def check(body: bytes, status: int, numbers: list[str], alike: bool) -> None:
            parrot.body, parrot.status = body, status
            runner.run(submit(numbers, alike))

        check()


@pytest.mark.slow
@each_carrier
def test_any_answer_to_a_question_is_told_or_untold(name: str) -> None:
    parrot = Parrot()
    inquiries = [
        Inquiry(tracker="T0", msisdn="+33612340001", provider_ref="5510032"),
        Inquiry(tracker="T1", msisdn="+33612340002", provider_ref="x/y"),
        Inquiry(tracker="T2", msisdn="+33612340001"),
    ]

    async def ask() -> None:
        async with (
            RawServer(pieces_for=parrot.pieces, end=End.CLOSE) as server,
            provider_at(name, server.url) as provider,
        ):
            if isinstance(provider, LooksUp):
                receipts = await provider.look_up(inquiries, account_key=KEY)
                assert isinstance(receipts, Untold) or all(isinstance(one, Receipt) for one in receipts)
            if isinstance(provider, TellsBalance):
                assert isinstance(await provider.balance(), Balance | Untold)
            if isinstance(provider, KeepsOptOuts):
                listed = await provider.list_optouts()
                assert isinstance(listed, Untold) or all(number.startswith("+") for number in listed)
                assert isinstance(await provider.add_optout("+33612340001"), Untold | None)
                assert isinstance(await provider.remove_optout("+33612340001"), Untold | None)

    with asyncio.Runner() as runner:

        @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
        @given(BODIES, STATUSES)
        def check(body: bytes, status: int) -> None:
            parrot.body, parrot.status = body, status
            runner.run(ask())

        check()


@pytest.mark.slow
@each_carrier
async def test_any_callback_is_read_or_unreadable(name: str) -> None:
    async with provider_at(name, "http://127.0.0.1:9") as provider:
        if not isinstance(provider, ParsesCallbacks):
            return
        parse = provider.parse_callback

    pairs = st.lists(st.tuples(WORDS | st.text(max_size=4), st.text(max_size=20)), max_size=8)
    content_types = st.sampled_from(["", "application/json", "application/x-www-form-urlencoded", "text/\x00"])

    @settings(max_examples=300, deadline=None)
    @given(pairs, content_types, BODIES)
    def check(query: list[tuple[str, str]], content_type: str, body: bytes) -> None:
        try:
            found = parse(Callback(method="POST", query=query, content_type=content_type, body=body))
        except CallbackUnreadable:
            return
        for one in found:
            assert isinstance(one, Receipt | Reply)
            assert len(one.raw) <= RAW_LIMIT
            assert one.msisdn is None or one.msisdn.startswith("+")
            if isinstance(one, Reply):
                (one.text + (one.reference or "")).encode("utf-8")

    check()


@pytest.mark.parametrize("name", sorted(CAN))
async def test_carrier_can_what_it_says(name: str) -> None:
    async with provider_at(name, "http://127.0.0.1:9") as provider:
        can = {capability for capability in CAPABILITIES if isinstance(provider, capability)}

    assert can == CAN[name]


@each_carrier
@pytest.mark.parametrize(
    ("pieces", "end"),
    [
        ((), End.CLOSE),
        ((), End.RESET),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{",), End.CLOSE),
        ((answer(b"<html></html>"),), End.CLOSE),
        ((answer(b"{}"),), End.CLOSE),
        ((answer(b"[" * 100_000),), End.CLOSE),
        ((answer(b'{"success":true,"code":200,"credits":{"balance":NaN},"data":7}'),), End.CLOSE),
        ((answer(b'{"success":false,"code":10,"message":"Clef API incorrecte"}', status="403 No"),), End.CLOSE),
        ((answer(b"slow down", status="429 Too Many"),), End.CLOSE),
        ((answer(b"", "Location: http://127.0.0.1:9/", status="302 Found"),), End.CLOSE),
    ],
    ids=["close", "reset", "half", "page", "empty", "brackets", "NaN", "key", "429", "redirect"],
)
async def test_broken_answer_to_a_question_is_untold(name: str, pieces: Sequence[bytes], end: End) -> None:
    told: list[object] = []
    async with RawServer(*pieces, end=end) as server, provider_at(name, server.url) as provider:
        if isinstance(provider, LooksUp):
            inquiry = Inquiry(tracker="T0", msisdn="+33612340001", provider_ref="5510032")
            told.append(await provider.look_up([inquiry], account_key=KEY))
        if isinstance(provider, TellsBalance):
            told.append(await provider.balance())
        if isinstance(provider, KeepsOptOuts):
            told.append(await provider.add_optout("+33612340001"))
            told.append(await provider.remove_optout("+33612340001"))
            told.append(await provider.list_optouts())

    assert [type(one) for one in told] == [Untold] * len(told)
    assert not [one for one in told if isinstance(one, Untold) and KEY[:6] in one.reason]
