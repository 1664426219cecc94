"""What SMS Partner is asked: look-ups, the balance, its STOP list, a cancellation."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from urllib.parse import parse_qsl, urlsplit

import pytest

from gateway.providers.base import Balance, Fate, Inquiry, Receipt, Untold
from gateway.providers.smspartner import SmsPartnerProvider
from gateway.providers.smspartner_questions import Cancellation
from tests.providers.carriers import KEY, provider_at
from tests.support.rawhttp import End, RawRequest, RawServer, answer

A, B = "+33612340001", "+33612340002"
Asked = list[tuple[str, str, dict[str, object]]]
Answers = Callable[[str, Mapping[str, object]], object]


@asynccontextmanager
async def partner(answers: Answers, **settings: object) -> AsyncIterator[tuple[SmsPartnerProvider, Asked]]:
    """Yield a provider whose questions are answered by path and fields, and the list of them."""
    asked: Asked = []

    def reply(request: RawRequest) -> list[bytes]:
        method, target, _ = request.head.split(" ", 2)
        parts = urlsplit(target)
        fields: dict[str, object] = json.loads(request.body) if request.body else dict(parse_qsl(parts.query))
        asked.append((method, parts.path, fields))
        return [answer(json.dumps(answers(parts.path, fields)).encode())]

    async with RawServer(pieces_for=reply) as server, provider_at("smspartner", server.url, **settings) as provider:
        assert isinstance(provider, SmsPartnerProvider)
        yield provider, asked


def ok(**fields: object) -> dict[str, object]:
    return {"success": True, "code": 200, **fields}


def no(code: int, message: str = "?") -> dict[str, object]:
    return {"success": False, "code": code, "message": message}


def told(found: object) -> list[tuple[str | None, str | None, Fate]]:
    assert isinstance(found, list)
    assert all(isinstance(one, Receipt) for one in found)
    return [(one.tracker, one.provider_ref, one.fate) for one in found]


# --- look-ups --------------------------------------------------------------------------------------------------------


async def test_sms_are_looked_up_by_id_and_number_in_one_call() -> None:
    listed = [
        {**ok(), "phoneNumber": "0612340002", "messageId": "7", "statut": "Not delivered", "stopSms": "0"},
        {
            **ok(),
            "phoneNumber": A,
            "messageId": 7,
            "status": "Delivered",
            "date": "1772440267",
            "cost": "0.045",
            "currency": "EUR",
        },
        {**no(4), "phoneNumber": "+33612340009", "messageId": 1, "status": "Numéro introuvable"},
    ]
    inquiries = [
        Inquiry(tracker="TA", msisdn=A, provider_ref="7"),
        Inquiry(tracker="TB", msisdn=B, provider_ref="7"),
        Inquiry(tracker="TC", msisdn="+33612340009", provider_ref="1"),
    ]
    async with partner(lambda _path, _fields: ok(StatutResponse_List=listed)) as (provider, asked):
        found = await provider.look_up(inquiries, account_key="")

    assert told(found) == [("TA", "7", Fate.DELIVERED), ("TB", "7", Fate.UNDELIVERED)]
    assert isinstance(found, list)
    assert (found[0].cost, found[0].at.isoformat()) == (Decimal("0.045"), "2026-03-02T08:31:07+00:00")
    [(method, path, fields)] = asked
    assert (method, path) == ("POST", "/v1/multi-status")
    assert fields == {
        "apiKey": KEY,
        "SMSStatut_List": [
            {"phoneNumber": A, "messageId": 7},
            {"phoneNumber": B, "messageId": 7},
            {"phoneNumber": "+33612340009", "messageId": 1},
        ],
        "_format": "json",
    }


async def test_two_answers_that_disagree_are_none() -> None:
    listed = [{**ok(), "phoneNumber": A, "messageId": 7, "status": status} for status in ("Delivered", "Waiting")]
    async with partner(lambda _path, _fields: ok(StatutResponse_List=listed)) as (provider, _):
        found = await provider.look_up([Inquiry(tracker="TA", msisdn=A, provider_ref="7")], account_key="")

    assert told(found) == []


async def test_sms_whose_answer_was_lost_is_looked_for_by_its_tag() -> None:
    def answers(_path: str, fields: Mapping[str, object]) -> object:
        if fields["tag"] == "ta":
            return ok(message_id="9", StatutResponse_List=[{"phoneNumber": A, "status": "Waiting", "stopSMS": False}])
        return no(4)

    inquiries = [Inquiry(tracker="TA", msisdn=A), Inquiry(tracker="TB", msisdn=B)]
    async with partner(answers) as (provider, asked):
        found = await provider.look_up(inquiries, account_key="")

    assert told(found) == [("TA", "9", Fate.TAKEN)]
    assert asked == [
        ("GET", "/v1/bulk-status-by-tag", {"apiKey": KEY, "tag": tag, "_format": "json"}) for tag in ("ta", "tb")
    ]


async def test_tag_that_finds_another_number_finds_nothing() -> None:
    listed = [{"phoneNumber": B, "status": "Delivered"}]
    async with partner(lambda _path, _fields: ok(message_id="9", StatutResponse_List=listed)) as (provider, _):
        found = await provider.look_up([Inquiry(tracker="TA", msisdn=A)], account_key="")

    assert told(found) == []


async def test_both_ways_of_looking_up_go_together() -> None:
    def answers(_path: str, _fields: Mapping[str, object]) -> object:
        item = {"phoneNumber": A, "status": "ko", "messageId": 7}
        return ok(StatutResponse_List=[item])

    inquiries = [Inquiry(tracker="TA", msisdn=A, provider_ref="7"), Inquiry(tracker="TB", msisdn=A)]
    async with partner(answers) as (provider, _):
        found = await provider.look_up(inquiries, account_key="")

    assert told(found) == [("TA", "7", Fate.REFUSED), ("TB", "7", Fate.REFUSED)]


@pytest.mark.slow
async def test_look_up_by_tag_ends_with_its_deadline_and_keeps_what_it_has() -> None:
    served = asyncio.Event()

    def answers(request: RawRequest) -> list[bytes]:
        if "tag=t0" not in request.head:
            return []
        served.set()
        listed = [{"phoneNumber": A, "status": "Delivered"}]
        return [answer(json.dumps(ok(message_id="9", StatutResponse_List=listed)).encode())]

    inquiries = [Inquiry(tracker=f"T{position}", msisdn=A) for position in range(4)]
    async with (
        RawServer(pieces_for=answers, end=End.STALL) as server,
        provider_at("smspartner", server.url, timeout_s=0.2) as provider,
        asyncio.timeout(5),
    ):
        assert isinstance(provider, SmsPartnerProvider)
        found = await provider.look_up(inquiries, account_key="")

    assert served.is_set()
    assert told(found) == [("T0", "9", Fate.DELIVERED)]


async def test_wrong_key_is_told_without_the_key() -> None:
    async with partner(lambda _path, _fields: no(10, f"Clef {KEY} incorrecte")) as (provider, asked):
        found = await provider.look_up([Inquiry(tracker=f"T{n}", msisdn=A) for n in range(9)], account_key="")

    assert found == Untold(reason="HTTP 200, code 10: Clef *** incorrecte")
    assert len(asked) == 1  # the first answer tells for all


# --- the balance -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        (
            {"creditSms": 1200, "balance": "54.120", "currency": "EUR"},
            Balance(amount=Decimal("54.12"), currency="EUR", sms=1200),
        ),
        ({"creditSms": 0, "solde": 0}, Balance(amount=Decimal(0), sms=0)),
        ({"solde": "1.5", "currency": "EUR"}, Balance(amount=Decimal("1.5"), currency="EUR")),
    ],
)
async def test_balance_is_told(left: dict[str, object], expected: Balance) -> None:
    async with partner(lambda _path, _fields: ok(user={"username": "x"}, credits=left)) as (provider, asked):
        found = await provider.balance()

    assert found == expected
    assert asked == [("GET", "/v1/me", {"apiKey": KEY, "_format": "json"})]


@pytest.mark.parametrize("left", [None, {}, [], {"balance": "lots"}])
async def test_balance_that_is_not_told_is_untold(left: object) -> None:
    async with partner(lambda _path, _fields: ok(credits=left)) as (provider, _):
        assert isinstance(await provider.balance(), Untold)


# --- the STOP list ---------------------------------------------------------------------------------------------------


class StopList:
    """A STOP list as the platform keeps it, so many entries a page."""

    def __init__(self, *numbers: str, page_size: int = 100, heeds_page: bool = True) -> None:
        self.entries = dict(enumerate(numbers, 1))
        self._page_size = page_size
        self._heeds_page = heeds_page

    def __call__(self, path: str, fields: Mapping[str, object]) -> object:
        match path.rpartition("/")[2]:
            case "list":
                page = int(str(fields.get("page", 1))) if self._heeds_page else 1
                listed = [
                    {"id": entry_id, "phoneNumber": number, "createdAt": "2026-03-02 08:31:07"}
                    for entry_id, number in self.entries.items()
                ]
                return ok(nbData=len(listed), data=listed[(page - 1) * self._page_size :][: self._page_size])
            case "add" if fields["phoneNumber"] in self.entries.values():
                return no(3, "MessageId requis")
            case "add":
                self.entries[len(self.entries) + 100] = str(fields["phoneNumber"])
                return ok(stopId=7)
            case "delete":
                return ok() if self.entries.pop(int(str(fields["id"])), None) else no(4)
            case _:
                return no(9)


async def test_number_is_added_once() -> None:
    stops = StopList(A)
    async with partner(stops) as (provider, asked):
        found = [await provider.add_optout(number) for number in (A, B, B)]

    assert found == [None] * 3
    assert list(stops.entries.values()) == [A, B]
    assert asked[0] == ("POST", "/v1/stop-sms/add", {"apiKey": KEY, "phoneNumber": A, "_format": "json"})


async def test_number_is_removed_by_the_ids_that_the_list_tells() -> None:
    stops = StopList(A, B, A)
    async with partner(stops) as (provider, asked):
        found = [await provider.remove_optout(number) for number in (A, A)]

    assert found == [None] * 2
    assert list(stops.entries.values()) == [B]
    assert [path for _, path, _ in asked] == [f"/v1/stop-sms/{what}" for what in ("list", "delete", "delete", "list")]


async def test_list_is_read_page_by_page() -> None:
    numbers = [f"+336123400{number:02d}" for number in range(25)]
    async with partner(StopList(*numbers, page_size=10)) as (provider, asked):
        found = await provider.list_optouts()

    assert found == numbers
    assert [fields.get("page") for _, _, fields in asked] == [None, "2", "3"]


async def test_half_a_list_is_none() -> None:
    numbers = [f"+336123400{number:02d}" for number in range(25)]
    async with partner(StopList(*numbers, page_size=10, heeds_page=False)) as (provider, _):
        found = [await provider.list_optouts(), await provider.remove_optout(numbers[0])]

    assert found == [Untold(reason="it lists 10 numbers and says that there are more")] * 2


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"nbData": 1, "data": [{"id": 1, "phoneNumber": "?"}]},
        {"nbData": 1, "data": [{"phoneNumber": A}]},
        {"nbData": 1, "data": [7]},
        {"data": []},
        {"nbData": 0},
    ],
)
async def test_list_that_cannot_be_read_is_untold(fields: dict[str, object]) -> None:
    async with partner(lambda _path, _fields: ok(**fields)) as (provider, _):
        assert isinstance(await provider.list_optouts(), Untold)


async def test_invalid_number_is_not_on_the_list() -> None:
    async with partner(lambda _path, _fields: no(9, "invalide")) as (provider, _):
        assert await provider.add_optout(A) == Untold(reason="HTTP 200, code 9: invalide")


# --- cancelling ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (ok(message="L'envoi du SMS a été annulé."), Cancellation.DONE),
        (no(5), Cancellation.DONE),
        (no(4), Cancellation.UNKNOWN_SMS),
        (no(6), Cancellation.TOO_LATE),
        (no(7), Cancellation.TOO_LATE),
    ],
)
async def test_cancellation_says_what_became_of_it(said: object, expected: Cancellation) -> None:
    async with partner(lambda _path, _fields: said) as (provider, asked):
        found = await provider.cancel("5510032")

    assert found is expected
    assert asked == [("GET", "/v1/message-cancel", {"apiKey": KEY, "messageId": "5510032", "_format": "json"})]


@pytest.mark.parametrize("said", [no(10), no(200), {"success": True, "code": 5}, {}])
async def test_cancellation_that_is_not_answered_is_untold(said: object) -> None:
    async with partner(lambda _path, _fields: said) as (provider, _):
        assert isinstance(await provider.cancel("5510032"), Untold)
