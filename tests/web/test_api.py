"""`/api/v1/…`: who may ask, what they may see, and what is borne of them."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest
from pydantic import SecretStr, TypeAdapter
from starlette.applications import Starlette

from gateway.clock import Clock
from gateway.lifecycle import SmsId, SmsState
from gateway.store.base import Backlog
from gateway.store.errors import StoreUnavailable
from gateway.stories import (
    Filter,
    Found,
    FoundKind,
    FoundPage,
    Page,
    QueuePage,
    QueueRow,
    Stats,
    StatsBy,
    StatsRow,
    Step,
    StepKind,
    Stories,
    Story,
)
from gateway.web import Gauges
from gateway.web.api import AT_ONCE, STRANGERS_AT_ONCE, Api
from gateway.web.gauges import CarrierView, Rows, Surroundings
from gateway.web.tokens import Right, Token, digest_token, find_token
from tests.support.clock import START, ManualClock

EVERYTHING, COUNTS, MAILS = ("e" * 32, "c" * 32, "m" * 32)
TEXT = "Disque plein sur le serveur bleu"
NUMBER, NATIONAL = "+33601020304", "06 01 02 03 04"
SMS_ID = SmsId("01K9ZZZZZZ0123456789")

FOUND = Found(
    kind=FoundKind.MAIL,
    id="01K9ZZZZZZAAAAAAAAAA",
    at=START,
    account="masociete",
    peer="10.0.0.5",
    sender="alerte@masociete.com",
    email_id="20261122000123",
    message_id="<1@masociete.com>",
    summary="1 SMS: 1 queued",
    states={"queued": 1},
)
REFUSED = replace(FOUND, kind=FoundKind.REFUSAL, id="01K9ZZZZZZBBBBBBBBBB", summary=f"no account sends for {NATIONAL}")
STORY = Story(
    found=FOUND,
    reason=f"waits, because the carrier answered {TEXT}",
    steps=(
        Step(
            kind=StepKind.SMS_QUEUED,
            at=START,
            sentence=f"{NATIONAL} is to get: {TEXT}",
            data={"position": 1, "tel": NATIONAL, "msisdn": NUMBER, "text": TEXT, "parts": 1, "surprise": TEXT},
            sms_id=SMS_ID,
        ),
        Step(kind=StepKind.CALLED, at=START, sentence=f"the carrier was called for {NUMBER}", data={"provider": "a"}),
    ),
)
ROW = QueueRow(
    sms_id=SMS_ID,
    mail_id=FOUND.id,
    envoi_id="01K9ZZZZZZCCCCCCCCCC",
    account="masociete",
    provider=None,
    state=SmsState.QUEUED,
    position=1,
    tel=NATIONAL,
    msisdn=NUMBER,
    text=TEXT,
    parts=1,
    attempts=0,
    since_at=START,
    due_at=START,
    expires_at=START + timedelta(days=1),
    reason=TEXT,
    epoch=0,
    waits_for="until 2026-11-22 08:00 UTC",
)
TOTAL = StatsRow(key="total", sms=1, parts=1, states={"queued": 1}, costs_micros={"EUR": 50_000}, delivery_rate=None)


class Told(Stories):
    """Tells the same to everybody, and remembers what was asked."""

    def __init__(self) -> None:
        self.asked: list[object] = []
        self.error: Exception | None = None

    def _note(self, *asked: object) -> None:
        self.asked += asked
        if self.error is not None:
            raise self.error

    async def find(self, text: str) -> list[Found]:
        self._note(text)
        return [FOUND]

    async def story(self, id: str) -> Story | None:  # noqa: A002
        self._note(id)
        return STORY if id == FOUND.id else None

    async def search(self, wanted: Filter, page: Page = Page()) -> FoundPage:  # noqa: B008
        self._note(wanted, page)
        return FoundPage(rows=(FOUND, REFUSED), next="more")

    async def queue(self, wanted: Filter, page: Page = Page()) -> QueuePage:  # noqa: B008
        self._note(wanted, page)
        return QueuePage(rows=(ROW,), next=None)

    async def stats(self, by: StatsBy, since: object) -> Stats:
        self._note(by, since)
        return Stats(by=by, since=START, rows=(), total=TOTAL, waiting=())


class House:
    """The interface with three tokens, and what is behind it."""

    def __init__(self) -> None:
        self.clock: Clock = ManualClock()
        self.told = Told()
        self.rows_error: Exception | None = None
        self.tokens = [
            Token(name="all", token=SecretStr(EVERYTHING), rights=tuple(Right)),
            Token(name="counts", token_sha256=digest_token(COUNTS).hex()),
            Token(name="mails", token=SecretStr(MAILS), rights=(Right.MAILS, Right.QUEUE)),
        ]

    def app(self) -> Starlette:
        async def count_rows(_now: object) -> Rows:
            if self.rows_error is not None:
                raise self.rows_error
            return Rows(backlog=Backlog(sms={"queued": 2}, reports={"due": 0}, oldest_sms={"queued": START}))

        around = Surroundings(
            is_ready=True,
            carriers={"a": CarrierView(is_up=False, held_accounts=1, low_balance=50)},
            classes={},
            first_carriers={},
        )
        gauges = Gauges(clock=self.clock, count_rows=count_rows, look_around=lambda _rows: around)
        api = Api(clock=self.clock, stories=self.told, gauges=gauges, find_tokens=lambda: self.tokens)
        return Starlette(routes=api.routes)


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
async def client(house: House) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=house.app())
    async with httpx.AsyncClient(transport=transport, base_url="http://gw") as opened:
        yield opened


async def ask(client: httpx.AsyncClient, path: str, token: str = EVERYTHING) -> httpx.Response:
    return await client.get(f"/api/v1/{path}", headers={"Authorization": f"Bearer {token}"})


PATHS = ("backlog", "queue", "stats", "carriers", "mails", f"mails/{FOUND.id}", "refusals", "find?q=x", "openapi.json")


@pytest.mark.parametrize("path", PATHS)
async def test_who_has_no_token_learns_nothing(client: httpx.AsyncClient, path: str) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {EVERYTHING}"}):
        answer = await client.get(f"/api/v1/{path}", headers=headers)

        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.json() == {"error": "a token is needed: Authorization: Bearer …"}


async def test_without_any_token_there_is_no_interface(client: httpx.AsyncClient, house: House) -> None:
    house.tokens = []

    assert (await ask(client, "backlog")).status_code == 404


@pytest.mark.parametrize("path", PATHS)
async def test_who_may_see_everything_does(client: httpx.AsyncClient, path: str) -> None:
    answer = await ask(client, path)

    assert answer.status_code == 200
    assert (answer.headers["cache-control"], answer.headers["content-type"]) == ("no-store", "application/json")


async def test_a_token_sees_what_it_has_a_right_to(client: httpx.AsyncClient) -> None:
    seen = {path: (await ask(client, path, COUNTS)).status_code for path in PATHS}

    assert {path for path, status in seen.items() if status == 200} == {
        "backlog",
        "queue",
        "stats",
        "carriers",
        "openapi.json",
    }
    assert set(seen.values()) == {200, 403}


@pytest.mark.parametrize("path", ["queue", "mails", f"mails/{FOUND.id}", "refusals"])
async def test_numbers_and_texts_are_hidden_from_who_may_not_see_them(client: httpx.AsyncClient, path: str) -> None:
    open_, veiled = (await ask(client, path)).text, (await ask(client, path, MAILS)).text

    assert TEXT in open_ or NATIONAL in open_
    for secret in (TEXT, "Disque", NUMBER, NATIONAL, "0601020304", "01 02 03"):
        assert secret not in veiled
    assert "01K9ZZZZZZ" in veiled


async def test_the_document_says_that_what_one_may_not_see_is_null(client: httpx.AsyncClient) -> None:
    story = (await ask(client, f"mails/{FOUND.id}", MAILS)).json()
    described = (await ask(client, "openapi.json")).json()["components"]["schemas"]

    assert story["reason"] is None
    assert described["Story"]["properties"]["reason"]["type"] == ["string", "null"]


async def test_of_a_masked_story_ids_dates_and_states_are_left(client: httpx.AsyncClient) -> None:
    story = (await ask(client, f"mails/{FOUND.id}", MAILS)).json()
    queued, called = story["steps"]

    assert story["found"]["email_id"] == "20261122000123"
    assert story["reason"] is None
    assert (queued["sentence"], queued["at"]) == ("", "2026-03-04T09:30:00Z")
    assert queued["data"] == {"position": 1, "tel": "…304", "msisdn": "…304", "parts": 1}
    assert called["sentence"] == "the carrier was called for …304"


async def test_when_it_goes_is_no_number(client: httpx.AsyncClient) -> None:
    (row,) = (await ask(client, "queue", MAILS)).json()["rows"]

    assert row["waits_for"] == "until 2026-11-22 08:00 UTC"
    assert row["tel"] == "…304"


@pytest.mark.parametrize("query", ["number=0601020304", "text=disque"])
async def test_nobody_finds_out_by_asking_what_he_may_not_see(client: httpx.AsyncClient, query: str) -> None:
    assert (await ask(client, f"mails?{query}", MAILS)).status_code == 403
    assert (await ask(client, f"queue?{query}", MAILS)).status_code == 403
    assert (await ask(client, "find?q=0601020304", MAILS)).status_code == 403
    assert (await ask(client, f"mails?{query}")).status_code == 200


async def test_what_is_wanted_is_asked_for(client: httpx.AsyncClient, house: House) -> None:
    query = "account=masociete&state=queued&state=held&since=2026-03-04T10:30:00%2B01:00&email_id=7&size=3&after=x"
    await ask(client, f"queue?{query}")

    assert house.told.asked == [
        Filter(account="masociete", states=(SmsState.QUEUED, SmsState.HELD), since=START, email_id="7"),
        Page(size=3, after="x"),
    ]


@pytest.mark.parametrize(
    "query",
    ["size=0", "size=501", "size=x", "size=٣", "state=lost", "since=yesterday", "colour=red", f"account={'a' * 501}"],
)
async def test_a_parameter_that_is_wrong_is_said_to_be(client: httpx.AsyncClient, query: str) -> None:
    answer = await ask(client, f"queue?{query}")

    assert answer.status_code == 400
    assert answer.json()["error"]


async def test_refusals_are_what_was_refused(client: httpx.AsyncClient) -> None:
    answer = (await ask(client, "refusals")).json()

    assert ([one["kind"] for one in answer["rows"]], answer["next"]) == (["refusal"], "more")


async def test_an_id_that_there_is_not_is_not_found(client: httpx.AsyncClient) -> None:
    assert (await ask(client, "mails/nobody")).status_code == 404


async def test_counts_are_of_the_last_day_unless_said_otherwise(client: httpx.AsyncClient, house: House) -> None:
    await ask(client, "stats")
    await ask(client, "stats?by=hour&since=2026-03-04")

    assert house.told.asked == [
        StatsBy.PROVIDER,
        START - timedelta(days=1),
        StatsBy.HOUR,
        START.replace(hour=0, minute=0),
    ]


async def test_what_waits_and_how_carriers_stand(client: httpx.AsyncClient) -> None:
    backlog, carriers = (await ask(client, "backlog")).json(), (await ask(client, "carriers")).json()

    assert backlog["sms"] == {"queued": {"rows": 2, "oldest_s": 0.0}}
    assert carriers == [{"name": "a", "is_up": False, "held_accounts": 1, "low_balance": 50}]


async def test_without_the_store_it_is_to_be_asked_later(client: httpx.AsyncClient, house: House) -> None:
    house.told.error = house.rows_error = StoreUnavailable("locked by 12")
    answers = [await ask(client, path) for path in ("backlog", "queue", "stats", "mails")]

    assert {answer.status_code for answer in answers} == {503}
    assert {answer.headers["retry-after"] for answer in answers} == {"10"}
    assert "locked" not in "".join(answer.text for answer in answers)


async def test_who_asks_too_much_is_told_so_and_others_are_not(client: httpx.AsyncClient) -> None:
    answers = [(await ask(client, "carriers")).status_code for _ in range(AT_ONCE + 1)]

    assert answers == [200] * AT_ONCE + [429]
    assert (await ask(client, "carriers", COUNTS)).status_code == 200


async def test_guesses_are_bounded_and_keep_nobody_out(client: httpx.AsyncClient) -> None:
    answers = [(await ask(client, "carriers", "guess")).status_code for _ in range(STRANGERS_AT_ONCE + 1)]

    assert answers == [401] * STRANGERS_AT_ONCE + [429]
    assert (await ask(client, "carriers")).status_code == 200


async def test_nothing_can_be_changed(client: httpx.AsyncClient) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        answer = await client.request(method, "/api/v1/queue", headers={"Authorization": f"Bearer {EVERYTHING}"})

        assert answer.status_code == 405


async def test_the_document_describes_every_path_there_is(client: httpx.AsyncClient, house: House) -> None:
    described = (await ask(client, "openapi.json")).json()
    paths = {getattr(route, "path", "") for route in house.app().routes}

    assert described["openapi"] == "3.1.0"
    assert set(described["paths"]) == paths


async def test_every_reference_of_the_document_leads_somewhere(client: httpx.AsyncClient) -> None:
    described = (await ask(client, "openapi.json")).json()
    references = set(_references(described))

    assert references
    assert {one.removeprefix("#/components/schemas/") for one in references} <= set(described["components"]["schemas"])


def _references(value: object) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [one for item in value.values() for one in _references(item)]
    return [one for item in value for one in _references(item)] if isinstance(value, list) else []


@pytest.mark.parametrize(
    ("path", "kind"), [("queue", QueuePage), ("mails", FoundPage), (f"mails/{FOUND.id}", Story), ("stats", Stats)]
)
async def test_answers_are_as_the_document_says(client: httpx.AsyncClient, path: str, kind: type[object]) -> None:
    answer = await ask(client, path)

    assert TypeAdapter(kind).validate_json(answer.text, strict=False)


async def test_the_document_has_examples_of_nothing_secret(client: httpx.AsyncClient) -> None:
    text = json.dumps((await ask(client, "openapi.json", COUNTS)).json())

    assert not [secret for secret in (TEXT, NUMBER, EVERYTHING) if secret in text]


def test_a_token_is_found_by_itself_or_its_digest() -> None:
    tokens = House().tokens

    assert [getattr(find_token(tokens, given), "name", None) for given in (EVERYTHING, COUNTS, MAILS, "", "x")] == [
        "all",
        "counts",
        "mails",
        None,
        None,
    ]


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"token": "short"},
        {"token": "a" * 31 + " "},
        {"token_sha256": "0" * 63},
        {"token": "a" * 32, "token_sha256": "0" * 64},
    ],
)
def test_a_token_that_could_be_guessed_or_is_none_is_an_error(given: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"characters|write one|pattern"):
        Token.model_validate({"name": "x", **given})
