"""What iSendPro is asked: the requests on the wire, every shape of answer, and what is said when nothing is told."""

import json
from collections.abc import Iterator, Sequence
from decimal import Decimal
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from gateway.protocol.codes import Code
from gateway.providers.base import (
    Balance,
    CountsParts,
    KeepsOptOuts,
    LooksAtNumbers,
    NumberFacts,
    PartCount,
    SendOptions,
    TellsBalance,
    Untold,
)
from gateway.providers.isendpro import IsendproProvider
from gateway.providers.isendpro_questions import IsendproQuestions
from gateway.providers.transport import Answer, Transport
from tests.providers.carriers import provider_at
from tests.providers.test_isendpro_stoplist import pack
from tests.support.rawhttp import RawRequest, RawServer, answer, closed_port

KEY = "0123456789abcdef+/ é"
"""Not what a key looks like, but nothing in it may get lost or show."""

A, B = "+33612340001", "+33612340002"
OPTIONS = SendOptions(account_key="")
ERROR = {"etat": {"etat": [{"code": "14", "message": f"bad {KEY}"}]}}


async def ask(
    question: str, body: object, *arguments: object, status: str = "200 OK", **named: object
) -> tuple[object, Sequence[RawRequest]]:
    """Return what comes of a question when the carrier answers so, and the requests."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with (
        RawServer(answer(content, status=status)) as server,
        provider_at("isendpro", server.url, keyid=KEY) as one,
    ):
        told = await getattr(one, question)(*arguments, **named)
        return told, server.requests


def query_of(request: RawRequest) -> tuple[str, str, dict[str, str]]:
    method, target, _ = request.head.split(None, 2)
    path, _, query = target.partition("?")
    return method, path, dict(parse_qsl(query))


def reason_of(told: object) -> str:
    assert isinstance(told, Untold)
    assert KEY not in told.reason
    assert "0123456789abcdef" not in told.reason
    return told.reason


async def test_all_capabilities_are_there() -> None:
    async with provider_at("isendpro", "http://127.0.0.1:9", keyid=KEY) as provider:
        for capability in (TellsBalance, KeepsOptOuts, CountsParts, LooksAtNumbers):
            assert isinstance(provider, capability)


# --- the balance -----------------------------------------------------------------------------------------------------


async def test_balance_is_asked_for_by_form() -> None:
    told, [request] = await ask("balance", {"etat": {"credit": "41.75", "quantite": "735"}})

    assert told == Balance(amount=Decimal("41.75"), currency="EUR", sms=735)
    assert query_of(request) == ("POST", "/cgi-bin/credit", {})
    assert "content-type: application/x-www-form-urlencoded" in request.head.lower()
    assert dict(parse_qsl(request.body.decode())) == {"keyid": KEY, "credit": "2"}


@pytest.mark.parametrize(
    ("etat", "expected"),
    [
        ({"credit": 41.75, "quantite": 735}, (Decimal("41.75"), 735)),
        ({"credit": 0.1, "quantite": "0"}, (Decimal("0.1"), 0)),
        ({"credit": 10, "quantite": 735.0}, (Decimal(10), 735)),
        ({"credit": " 10,50 "}, (Decimal("10.50"), None)),
        ({"credit": "-3.2", "quantite": "?"}, (Decimal("-3.2"), None)),
        ({"credit": "0.0", "quantite": True}, (Decimal("0.0"), None)),
        ([{"credit": "7"}], (Decimal(7), None)),
        ({"etat": [{"credit": "7", "quantite": "9"}]}, (Decimal(7), 9)),
        ({"etat": {"credit": "7"}}, (Decimal(7), None)),
        ({"code": "0", "credit": "7"}, (Decimal(7), None)),
    ],
)
async def test_every_shape_of_a_balance_is_read_exactly(etat: object, expected: tuple[Decimal, int | None]) -> None:
    told, _ = await ask("balance", {"etat": etat})

    assert told == Balance(amount=expected[0], currency="EUR", sms=expected[1])
    assert isinstance(told, Balance)
    assert str(told.amount) == str(expected[0])


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", {"etat": {}}, {"etat": {"credit": "beaucoup"}}, {"etat": {"credit": True}}, {"credit": "7"},
     {"etat": {"credit": "1e9"}}, {"etat": {"credit": None}}, [], {"etat": [7]}],
)  # fmt: skip
async def test_what_is_no_balance_is_untold(body: object) -> None:
    told, _ = await ask("balance", body)

    assert "an answer that is not understood: HTTP 200" in reason_of(told)


@pytest.mark.parametrize("status", ["404 Not Found", "405 Method Not Allowed"])
async def test_balance_is_asked_for_by_get_where_post_is_not_taken_and_that_is_remembered(status: str) -> None:
    def old(request: RawRequest) -> Iterator[bytes]:
        is_get = request.head.startswith("GET")
        yield answer(b'{"etat":{"credit":"10.0"}}') if is_get else answer(b"", status=status)

    async with (
        RawServer(pieces_for=old) as server,
        provider_at("isendpro", server.url, keyid=KEY) as provider,
    ):
        assert isinstance(provider, TellsBalance)
        told = [await provider.balance() for _ in range(2)]
        requests = [query_of(request) for request in server.requests]

    expected = {"keyid": KEY, "credit": "2"}
    assert told == [Balance(amount=Decimal("10.0"), currency="EUR")] * 2
    assert requests == [("POST", "/cgi-bin/credit", {}), *[("GET", "/cgi-bin/credit", expected)] * 2]


async def test_get_is_forgotten_when_it_is_not_taken_either() -> None:
    async with (
        RawServer(answer(b"", status="404 Not Found")) as server,
        provider_at("isendpro", server.url, keyid=KEY) as provider,
    ):
        assert isinstance(provider, TellsBalance)
        told = [await provider.balance() for _ in range(2)]
        methods = [request.head.split()[0] for request in server.requests]

    assert {reason_of(one) for one in told} == {"an answer that is not understood: HTTP 404 "}
    assert methods == ["POST", "GET"] * 2


# --- the STOP list ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "path", "word"),
    [
        ("add_optout", "/cgi-bin/setlistenoire", "setlisteNoire"),
        ("remove_optout", "/cgi-bin/dellistenoire", "delListeNoire"),
    ],
)
async def test_stop_list_is_changed_by_query_in_the_carriers_own_spelling(question: str, path: str, word: str) -> None:
    told, [request] = await ask(question, {"etat": {"etat": [{"tel": "0612340001", "listeNoire": "OK"}]}}, A)

    assert told is None
    assert query_of(request) == ("POST", path, {"keyid": KEY, word: "1", "num": "33612340001"})
    assert request.body == b""
    assert "content-length: 0" in request.head.lower()


@pytest.mark.parametrize("etat", [{"listeNoire": "ok"}, {"etat": {"tel": "0612340001", "listeNoire": " OK "}}])
async def test_every_shape_of_done_is_understood(etat: object) -> None:
    told, _ = await ask("add_optout", {"etat": etat}, A)

    assert told is None


@pytest.mark.parametrize("entry", [{"code": 11}, {"code": "11", "tel": "0612340001"}])
async def test_number_that_is_on_the_list_already_is_on_it(entry: dict[str, object]) -> None:
    body = {"etat": {"etat": [entry]}}
    added, _ = await ask("add_optout", body, A)
    removed, _ = await ask("remove_optout", body, A)

    assert added is None
    assert "code 11" in reason_of(removed)


@pytest.mark.parametrize(
    ("body", "status", "expected"),
    [
        ({"etat": {"etat": [{"tel": "0612340001", "listeNoire": "KO"}]}}, "200 OK", "not understood"),
        ({"etat": {"etat": [{"tel": "0612340001", "listeNoire": "OK"}]}}, "500 Oops", "not understood"),
        ({"etat": {"etat": [{"tel": "0612340001", "code": 7}]}}, "200 OK", "code 7"),
        ({"etat": {"etat": [{"tel": "0612340001", "code": 7}]}}, "400 Bad Request", "code 7"),
        (ERROR, "400 Bad Request", "code 14 (L'adresse IP n'est pas autorisée)"),
        ({"etat": {"code": 4711}}, "200 OK", "code 4711"),
    ],
)
async def test_change_that_was_not_confirmed_is_untold(body: object, status: str, expected: str) -> None:
    told, _ = await ask("add_optout", body, A, status=status)

    assert expected in reason_of(told)


async def test_stop_list_comes_as_a_zip() -> None:
    told, [request] = await ask("list_optouts", pack("tel\n0612340001\n0612340002\n"))

    assert told == (A, B)
    assert query_of(request) == ("POST", "/cgi-bin/getlistenoire", {"keyid": KEY, "getListeNoire": "1"})


async def test_stop_list_may_be_longer_than_other_answers() -> None:
    numbers = "".join(f"06{number:08d}\n" for number in range(10_000, 90_000, 7))
    told, _ = await ask("list_optouts", pack(numbers + "# " + "x" * 300_000, way=0))

    assert isinstance(told, tuple)
    assert len(told) == len(numbers.split())


async def test_endless_stop_list_is_cut_off() -> None:
    told, _ = await ask("list_optouts", b"PK" + bytes(4 * 1024 * 1024))

    assert reason_of(told) == "the answer is longer than 4194304 bytes"


async def test_line_of_the_stop_list_that_cannot_be_read_is_told_to_the_operator() -> None:
    with capture_logs() as logged:
        told, _ = await ask("list_optouts", pack("0612340001\n?\n"))

    assert told == (A,)
    assert [(line["event"], line["count"]) for line in logged] == [("optouts_skipped", 1)]


@pytest.mark.parametrize(
    ("body", "status", "expected"),
    [
        (ERROR, "400 Bad Request", "code 14"),
        (ERROR, "200 OK", "code 14"),
        (b"<html>maintenance", "200 OK", "not understood: HTTP 200 <html>maintenance"),
        (pack("0612340001"), "500 Oops", "not understood: HTTP 500"),
        (b"PK but no list", "200 OK", "no readable ZIP file"),
    ],
)
async def test_answer_without_a_stop_list_is_untold(body: object, status: str, expected: str) -> None:
    told, _ = await ask("list_optouts", body, status=status)

    assert expected in reason_of(told)


# --- counting --------------------------------------------------------------------------------------------------------


async def test_parts_are_counted_with_the_options_of_the_sms() -> None:
    options = SendOptions(account_key="", originator="MaSociete", nostop=True, ucs2=True, max_parts=3)
    body = {"etat": {"etat": [{"nb_caractere": "187", "nb_sms": "2", "tel": "0612340001"}]}}
    told, [request] = await ask("count_parts", body, "L'été\n€", msisdn=A, options=options)

    assert told == PartCount(parts=2, characters=187)
    assert request.head.startswith("POST /cgi-bin/comptage ")
    assert json.loads(request.body) == {
        "keyid": KEY,
        "num": "33612340001",
        "sms": "L'été\n€",
        "comptage": "1",
        "smslong": "999",
        "emetteur": "MaSociete",
        "nostop": "1",
        "ucs2": "1",
    }


@pytest.mark.parametrize(
    ("etat", "expected"),
    [
        ({"nb_caractere": 7, "nb_sms": 1, "tel": "0612340001"}, PartCount(parts=1, characters=7)),
        ({"etat": {"nb_sms": "1"}}, PartCount(parts=1)),
        ([{"nb_sms": "1", "nb_caractere": "x"}], PartCount(parts=1)),
    ],
)
async def test_every_shape_of_a_count_is_read(etat: object, expected: PartCount) -> None:
    told, _ = await ask("count_parts", {"etat": etat}, "x", msisdn=A, options=OPTIONS)

    assert told == expected


@pytest.mark.parametrize(
    ("body", "status", "expected"),
    [
        (ERROR, "400 Bad Request", "code 14"),
        ({"etat": {"etat": [{"code": 12}]}}, "200 OK", "code 12 (Votre crédit de MT est épuisé)"),
        ({"etat": {"etat": [{"nb_sms": "deux"}]}}, "200 OK", "not understood"),
        (b"", "502 Bad Gateway", "not understood: HTTP 502"),
    ],
)
async def test_what_is_no_count_is_untold(body: object, status: str, expected: str) -> None:
    told, _ = await ask("count_parts", body, "x", msisdn=A, options=OPTIONS, status=status)

    assert expected in reason_of(told)


# --- looking at numbers ----------------------------------------------------------------------------------------------


async def test_numbers_are_looked_at_in_one_call_and_told_in_their_order() -> None:
    body = {"etat": {"etat": [{"tel": "0612340002", "operateur": "?"}, {"tel": "33612340001", "operateur": "ORAN"}]}}
    told, [request] = await ask("look_at_numbers", body, [A, B, "+33612340003"])

    assert told == [NumberFacts(msisdn=A, operator="ORAN"), NumberFacts(msisdn=B, operator=None)]
    assert request.head.startswith("POST /cgi-bin/hlr ")
    assert json.loads(request.body) == {
        "keyid": KEY,
        "getHLR": "1",
        "num": ["33612340001", "33612340002", "33612340003"],
    }


@pytest.mark.parametrize(
    ("etat", "expected"),
    [
        ({"etat": {"tel": "0612340001", "operateur": "ORAN"}}, NumberFacts(msisdn=A, operator="ORAN")),
        ({"tel": 612340001, "operateur": " SFR0 "}, NumberFacts(msisdn=A, operator="SFR0")),
        ({"etat": [{"tel": A, "operateur": ""}]}, NumberFacts(msisdn=A, operator=None)),
        ({"etat": [{"tel": A, "code": "21"}]}, NumberFacts(msisdn=A, operator=None, code=Code.C21_NUMBER_UNASSIGNED)),
        ({"etat": [{"tel": A, "code": 4711}]}, NumberFacts(msisdn=A, operator=None, code=Code.C999_ERROR)),
        ({"etat": [{"tel": A, "code": 21, "operateur": "ORAN"}]}, NumberFacts(msisdn=A, operator=None, code=Code(21))),
        ({"etat": [{"tel": A, "code": 0, "operateur": "BOUY"}]}, NumberFacts(msisdn=A, operator="BOUY")),
    ],
)
async def test_every_shape_of_facts_is_read(etat: object, expected: NumberFacts) -> None:
    told, _ = await ask("look_at_numbers", {"etat": etat}, [A])

    assert told == [expected]


@pytest.mark.parametrize("body", [ERROR, {"etat": {"etat": [{"operateur": "ORAN"}]}}, {"etat": [{"tel": A}]}, b"?"])
async def test_what_is_said_of_no_number_is_untold(body: object) -> None:
    told, _ = await ask("look_at_numbers", body, [A])

    assert reason_of(told)


# --- when nothing is told --------------------------------------------------------------------------------------------

QUESTIONS: list[tuple[str, tuple[object, ...], dict[str, object]]] = [
    ("balance", (), {}),
    ("add_optout", (A,), {}),
    ("remove_optout", (A,), {}),
    ("list_optouts", (), {}),
    ("count_parts", ("x",), {"msisdn": A, "options": OPTIONS}),
    ("look_at_numbers", ([A],), {}),
]


@pytest.mark.parametrize(("question", "arguments", "named"), QUESTIONS, ids=lambda value: str(value)[:16])
async def test_without_a_key_of_its_own_nothing_is_asked(
    question: str, arguments: tuple[object, ...], named: dict[str, object]
) -> None:
    async with RawServer(answer(b"{}")) as server, provider_at("isendpro", server.url) as provider:
        told = await getattr(provider, question)(*arguments, **named)
        requests = server.requests

    assert "no key of its own" in reason_of(told)
    assert requests == []


@pytest.mark.parametrize(("question", "arguments", "named"), QUESTIONS, ids=lambda value: str(value)[:16])
async def test_what_the_network_does_is_told_without_the_key(
    question: str, arguments: tuple[object, ...], named: dict[str, object]
) -> None:
    async with provider_at("isendpro", f"http://127.0.0.1:{await closed_port()}", keyid=KEY) as provider:
        refused = await getattr(provider, question)(*arguments, **named)
    async with RawServer() as server, provider_at("isendpro", server.url, keyid=KEY) as provider:
        broken = await getattr(provider, question)(*arguments, **named)

    assert "127.0.0.1" in reason_of(refused)
    assert "Disconnected" in reason_of(broken)


def _echo(request: RawRequest) -> Iterator[bytes]:
    yield answer(f"<html>{request.head} {request.body.decode()}".encode())


@pytest.mark.parametrize(("question", "arguments", "named"), QUESTIONS, ids=lambda value: str(value)[:16])
async def test_carrier_that_repeats_the_key_does_not_make_it_show(
    question: str, arguments: tuple[object, ...], named: dict[str, object]
) -> None:
    async with RawServer(pieces_for=_echo) as server, provider_at("isendpro", server.url, keyid=KEY) as provider:
        told = await getattr(provider, question)(*arguments, **named)

    assert "***" in reason_of(told)


JSON_VALUES: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["OK", "0", A]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["etat", "code", "tel", "credit", "quantite", "listeNoire", "nb_sms", "operateur"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=10,
)


@given(st.fixed_dictionaries({"etat": JSON_VALUES}) | JSON_VALUES, st.sampled_from([200, 400, 404, 500]))
async def test_any_answer_is_read_without_an_exception(value: object, status: int) -> None:
    questions = IsendproQuestions(_Canned(json.dumps(value).encode(), status), name="carrier", keyid=KEY)
    for question, arguments, named in QUESTIONS:
        told = await getattr(questions, question)(*arguments, **named)

        assert told is None or isinstance(told, Untold | Balance | PartCount | list)


class _Canned(Transport):
    """Answers at once, whatever is asked: thousands of answers need no thousands of connections."""

    def __init__(self, body: bytes, status: int) -> None:
        self._answer = Answer(status=status, body=body)

    async def call(self, *_arguments: object, **_named: object) -> Answer:
        return self._answer


def test_the_provider_asks_through_its_own_connections() -> None:
    assert issubclass(IsendproProvider, IsendproQuestions)
