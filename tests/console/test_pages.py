"""What pages show, to whom, and in which language; whatever a stranger wrote stays text."""

import html
import re
from dataclasses import replace
from datetime import timedelta
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from gateway.console.surroundings import CarrierHealth
from gateway.console.words import WORDS
from gateway.lifecycle import SmsId, SmsState
from gateway.store import StoreUnavailable
from gateway.store.stoplist import EVERYBODY, OptOut, OptOutSource
from gateway.store.two_way import StopRules
from gateway.stories import Filter, FoundKind, Step, StepKind
from gateway.stories.masking import mask_story
from tests.console.house import MAIL_ID, MASKED, NUMBER, TEXT, House, Operator, found, row, shown, story
from tests.store.samples import new_mail, new_order, new_sms
from tests.support.clock import START

pytestmark = pytest.mark.slow

PAYLOADS = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "</textarea></pre></title><svg onload=alert(1)>",
    "javascript:alert(1)",
    "\u202egnp.exe\u0000\x1b[31m",
)


class Markup(HTMLParser):
    """Collects what of a page is markup."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def find_harm(page: str) -> list[object]:
    """Return markup that no template of ours has: what a stranger wrote has become some."""
    parser = Markup()
    parser.feed(page)
    harm: list[object] = []
    for tag, attributes in parser.tags:
        if any(name.startswith("on") or name == "style" for name in attributes):
            harm.append((tag, attributes))
        if tag in {"script", "img"} and not (attributes.get("src") or "").startswith("/console/static/"):
            harm.append((tag, attributes))
        if tag == "svg" and not (attributes.get("class") or "").startswith("chart "):
            harm.append((tag, attributes))
        harm += [
            value for value in (attributes.get("href"), attributes.get("action")) if value and value[0] not in "/#"
        ]
    return harm


@pytest.mark.parametrize("payload", PAYLOADS)
async def test_every_field_of_a_story_stays_text(operator: Operator, console: House, payload: str) -> None:
    data = {key.partition(".")[2]: payload for key in WORDS if key.startswith("detail.")} | {
        "notes": (payload, payload),
        "unknown_key": {"deep": payload},
    }
    steps = tuple(
        Step(
            kind=kind, at=START, sentence=payload, data=data, sms_id=SmsId("S1") if place % 2 else None, is_trouble=True
        )
        for place, kind in enumerate(StepKind)
    )
    told = replace(
        story(),
        found=found(
            sender=payload, email_id=payload, message_id=payload, peer=payload, account=payload, summary=payload
        ),
        reason=payload,
        steps=steps,
    )
    console.stories.stories[MAIL_ID] = told
    await operator.log_in("otto")
    answers = [
        await operator.get(f"/console/mail/{MAIL_ID}", **{"accept-language": language}) for language in ("en", "fr")
    ]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert [find_harm(answer.text) for answer in answers] == [[], []]
    assert all(payload in unescape(answer.text) for answer in answers)


@pytest.mark.parametrize("payload", PAYLOADS)
async def test_lists_and_what_was_asked_for_stay_text(operator: Operator, console: House, payload: str) -> None:
    console.stories.found = [
        found(
            kind=kind,
            id="a/../b?c",
            sender=payload,
            email_id=payload,
            summary=payload,
            states={},
            peer=payload,
            account=payload,
        )
        for kind in FoundKind
    ]
    console.stories.rows = [
        replace(row(), waits_for=payload, reason=payload, tel=payload, msisdn=None, account=payload)
    ]
    console.stories.next = payload
    console.health.append(
        CarrierHealth(name=payload, kind=payload, is_open=False, opens_in_s=3, waiting_accounts=(payload,))
    )
    console.obstacles.append(payload)
    optout = OptOut(
        account=EVERYBODY, msisdn=NUMBER, since_at=START, source=OptOutSource.REPLY, note=payload.replace("\0", "")
    )
    await console.store.stop([optout], StopRules(), START, *console.writers(START))
    await operator.log_in("otto")
    parameters = {
        "q": payload,
        "number": payload,
        "text": payload,
        "after": payload,
        "state": payload,
        "since": payload,
    }
    answers = [
        await operator.client.get(path, params=asked)
        for path in ("/console", "/console/search", "/console/queue", "/console/optouts", "/console/compose")
        for asked in ({}, parameters)
    ]

    assert all(answer.status_code in {200, 422} for answer in answers)
    assert [harm for answer in answers for harm in find_harm(answer.text)] == []


@pytest.mark.parametrize("payload", PAYLOADS)
async def test_the_mail_as_it_came_stays_text(operator: Operator, console: House, payload: str) -> None:
    raw = f"Subject: {payload}\r\n\r\n{payload}\xff".encode("utf-8", "surrogateescape")
    order = new_order(mail=replace(new_mail(), raw=raw))
    await console.store.admit(order)
    await operator.log_in("otto")
    answer = await operator.get(f"/console/mail/{order.mail.id}/source")

    assert answer.status_code == 200
    assert find_harm(answer.text) == []
    assert not re.search("[\x00-\x08\x0b-\x1f\u202e]", answer.text)


async def test_the_mail_as_it_came_does_not_show_its_key(operator: Operator, console: House) -> None:
    raw = b"Subject: x\r\n\r\n<envoi><keyid>a296464ce0=\r\n12b8ab</keyid><KeyID>a296</KeyID><sms>seen</sms></envoi>"
    order = new_order(mail=replace(new_mail(), raw=raw))
    await console.store.admit(order)
    await operator.log_in("otto")
    page = html.unescape((await operator.get(f"/console/mail/{order.mail.id}/source")).text)

    assert "<keyid>********</keyid><KeyID>********</KeyID><sms>seen</sms>" in page
    assert "a296" not in page
    assert "12b8ab" not in page


# --- who sees what ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipient", ["0612345678@gw.example.org", "+33 6 12 34 56 78@gw.example.org"])
async def test_who_may_only_view_sees_no_number_that_a_client_wrote_to(
    operator: Operator, console: House, recipient: str
) -> None:
    data = {"peer": "192.0.2.1", "facts": {"recipient": recipient, "cause": f"no mailbox {recipient}", "tls": None}}
    step = Step(kind=StepKind.TURNED_AWAY, at=START, sentence=f"wrote to {recipient}", data=data, is_trouble=True)
    told = replace(story(), steps=(step,))
    console.stories.stories[MAIL_ID] = told
    pages = {}
    for name in ("vera", "otto"):
        await operator.log_in(name)
        pages[name] = shown(await operator.get(f"/console/mail/{MAIL_ID}"))

    assert "@gw.example.org" in pages["vera"]
    assert recipient not in pages["vera"]
    assert recipient in pages["otto"]
    assert recipient not in str(mask_story(told))


@pytest.mark.parametrize("language", ["en", "fr"])
async def test_who_may_only_view_sees_no_number_and_no_text(operator: Operator, console: House, language: str) -> None:
    console.stories.stories[MAIL_ID] = story()
    console.stories.rows = [row()]
    console.stories.found = [found(states={}, summary=f"to {NUMBER}")]
    optout = OptOut(
        account=EVERYBODY, msisdn=NUMBER, since_at=START, source=OptOutSource.REPLY, note=f"it was {NUMBER}"
    )
    await console.store.stop([optout], StopRules(), START, *console.writers(START))
    await operator.log_in("vera")
    paths = (
        "/console",
        "/console/search",
        "/console/queue",
        f"/console/mail/{MAIL_ID}",
        "/console/optouts",
        "/console/configured",
    )
    pages = {path: (await operator.get(path, **{"accept-language": language})).text for path in paths}

    for path, page in pages.items():
        assert NUMBER not in page, path
        assert "612345678" not in page, path
        assert TEXT not in unescape(page), path
    assert all(
        MASKED in pages[path]
        for path in paths
        if path in {"/console/queue", f"/console/mail/{MAIL_ID}", "/console/optouts"}
    )


async def test_who_may_only_view_sees_nothing_that_is_not_known_to_be_harmless(
    operator: Operator, console: House
) -> None:
    waits = f"all waits at carrier acme; the carrier's answer: {TEXT}"
    steps = (
        Step(kind=StepKind.SMS_QUEUED, at=START, sentence=TEXT, data={"added_tomorrow": TEXT, "max_parts": 7_531}),
        Step(kind=StepKind.NEXT, at=None, sentence=waits, data={"what": waits, "needs_operator": True}),
    )
    console.stories.stories[MAIL_ID] = replace(story(), reason=TEXT, steps=steps)
    await operator.log_in("vera")
    page = shown(await operator.get(f"/console/mail/{MAIL_ID}"))

    assert TEXT not in page
    assert "7531" in page
    assert "all waits at carrier acme" in page
    assert "the carrier's answer" not in page


async def test_who_may_operate_sees_all(operator: Operator, console: House) -> None:
    console.stories.stories[MAIL_ID] = story()
    await operator.log_in("otto")
    page = shown(await operator.get(f"/console/mail/{MAIL_ID}"))

    assert NUMBER in page
    assert TEXT in page
    assert "waits for +33612345678" in page


@pytest.mark.parametrize(
    ("path", "least"),
    [
        ("/console", "vera"),
        ("/console/search", "vera"),
        ("/console/queue", "vera"),
        ("/console/optouts", "vera"),
        ("/console/configured", "vera"),
        (f"/console/mail/{MAIL_ID}", "vera"),
        (f"/console/mail/{MAIL_ID}/source", "otto"),
        ("/console/compose", "otto"),
        ("/console/audit", "ada"),
    ],
)
async def test_each_page_is_for_its_role_and_those_above(
    operator: Operator, console: House, path: str, least: str
) -> None:
    console.stories.stories[MAIL_ID] = story()
    statuses = {}
    for name in ("vera", "otto", "ada"):
        await operator.log_in(name)
        statuses[name] = (await operator.get(path)).status_code
    names = list(statuses)

    assert statuses == {name: 200 if names.index(name) >= names.index(least) else 403 for name in names}


@pytest.mark.parametrize(
    "path",
    ["/console/act", "/console/optouts/add", "/console/optouts/remove", "/console/compose", "/console/compose/verdict"],
)
async def test_who_may_only_view_changes_nothing(operator: Operator, console: House, path: str) -> None:
    await operator.log_in("vera")
    answer = await operator.post(path, {"action": "hold", "sms": "S1", "number": NUMBER, "account": "*", "sure": "yes"})

    assert answer.status_code == 403
    assert (console.acted, console.delivered, console.examined) == ([], [], [])
    assert await console.store.optouts(account=None, after=None, limit=1) == ()


async def test_a_place_in_the_queue_that_is_none_is_no_fault_of_the_gateway(operator: Operator) -> None:
    await operator.log_in("otto")
    answer = await operator.get("/console/queue?after=%00")

    assert answer.status_code == 400


async def test_configuration_is_shown_without_a_secret(operator: Operator, console: House) -> None:
    await operator.log_in("ada")
    page = (await operator.get("/console/configured")).text

    assert "a296464ce012b8ab710a" not in page
    assert "f00dfeedf00dfeed" not in page
    assert "127.0.0.1:9/cgi-bin" in page
    assert page.count("********") >= 3


# --- pages -----------------------------------------------------------------------------------------------------------


async def test_the_overview_says_what_waits_and_for_how_long(operator: Operator, console: House) -> None:
    await console.store.admit(new_order(new_sms(1), new_sms(2)))
    console.health[0] = CarrierHealth(
        name="carrier",
        kind="isendpro",
        is_open=False,
        opens_in_s=65,
        left=3.5,
        currency="EUR",
        is_low=True,
        waiting_accounts=("masociete",),
    )
    console.obstacles.append("the disk is full")
    await operator.log_in("vera")
    console.clock.advance(600)
    page = shown(await operator.get("/console/live/overview"))

    assert "queued 2 10 min" in page
    assert "Mail is not taken: the disk is full" in page
    assert "does not answer; asked again in 1 min" in page
    assert "3.50 EUR – low" in page
    assert "Turns away: masociete." in page


async def test_a_carrier_that_did_not_answer_is_not_said_to_be_in_use(operator: Operator, console: House) -> None:
    console.health[0] = CarrierHealth(name="carrier", kind="isendpro", is_open=True, opens_in_s=0, is_suspect=True)
    await operator.log_in("vera")
    page = shown(await operator.get("/console/live/overview"))

    assert "did not answer last; asked again with the next SMS" in page
    assert "in use" not in page


@pytest.mark.parametrize(
    ("days", "said"), [(-1, "has run out, on"), (13, "The certificate of the listeners runs out on"), (15, "")]
)
async def test_a_certificate_is_spoken_of_when_it_is_to_be_renewed(
    days: int, said: str, operator: Operator, console: House
) -> None:
    console.certificate_ends_at = console.clock.now() + timedelta(days=days)
    await operator.log_in("vera")
    page = shown(await operator.get("/console/live/overview"))

    assert said in page
    assert ("certificate" in page) is bool(said)


async def test_the_pulse_counts_each_minute_once_it_is_over(operator: Operator, console: House) -> None:
    await operator.log_in("vera")
    first = (await operator.get("/console")).text
    console.clock.advance(300)
    again = (await operator.get("/console")).text

    assert first.count("<rect") == again.count("<rect") == 120


async def test_a_search_asks_for_what_was_typed(operator: Operator, console: House) -> None:
    await operator.log_in("vera")
    await operator.client.get("/console/search", params={"q": " 0601020304 "})
    await operator.client.get(
        "/console/search", params={"account": "masociete", "state": "held", "text": "panne", "number": "06 01"}
    )

    assert console.stories.asked == [
        "0601020304",
        Filter(account="masociete", states=(SmsState.HELD,), text="panne", number="06 01"),
    ]


async def test_a_date_that_is_none_is_said_to_be_none(operator: Operator, console: House) -> None:
    await operator.log_in("vera")
    answer = await operator.client.get("/console/search", params={"since": "yesterday"})

    assert "That date cannot be read." in shown(answer)
    assert console.stories.asked == []


async def test_a_story_that_is_over_is_not_asked_for_again(operator: Operator, console: House) -> None:
    console.stories.stories[MAIL_ID] = story()
    await operator.log_in("vera")
    running = (await operator.get(f"/console/mail/{MAIL_ID}")).text
    console.stories.stories[MAIL_ID] = story(SmsState.DELIVERED, is_over=True)
    over = (await operator.get(f"/console/mail/{MAIL_ID}")).text

    assert f'hx-get="/console/live/mail/{MAIL_ID}"' in running
    assert "hx-get" not in over


async def test_a_page_that_is_not_there_says_so(operator: Operator) -> None:
    await operator.log_in("vera")
    answers = [await operator.get(path) for path in ("/console/nothing", "/console/mail/none")]

    assert [answer.status_code for answer in answers] == [404, 404]
    assert "It may have been purged." in shown(answers[1])


async def test_a_store_that_is_away_is_said_to_be_away(operator: Operator, console: House) -> None:
    await operator.log_in("vera")
    console.stories.error = StoreUnavailable("locked")
    answer = await operator.get(f"/console/mail/{MAIL_ID}")

    assert answer.status_code == 503
    assert "The store does not answer at the moment." in shown(answer)
    assert "locked" not in answer.text


async def test_a_failure_is_logged_and_not_shown(operator: Operator, console: House) -> None:
    await operator.log_in("vera")
    console.stories.error = RuntimeError("a secret of the inside")
    answer = await operator.get(f"/console/mail/{MAIL_ID}")

    assert answer.status_code == 500
    assert "a secret of the inside" not in answer.text


async def test_language_and_colours_are_remembered(operator: Operator) -> None:
    await operator.get("/console/login", **{"accept-language": "fr-CA,en;q=0.5"})
    french = await operator.get("/console/login", **{"accept-language": "de, fr-CA;q=0.9, en;q=0.5"})
    await operator.post("/console/preferences", {"language": "en", "back": "/console/login"})
    back = await operator.post("/console/preferences", {"theme": "dark", "back": "https://evil.example"})
    english = await operator.get("/console/login", **{"accept-language": "fr"})

    assert '<html lang="fr" data-theme="auto">' in french.text
    assert "Se connecter" in french.text
    assert '<html lang="en" data-theme="dark">' in english.text
    assert back.headers["location"] == "/console"


async def test_times_are_told_as_ages(operator: Operator, console: House) -> None:
    console.stories.rows = [replace(row(), since_at=START - timedelta(days=2, hours=3))]
    await operator.log_in("vera")

    assert "2 d 3 h" in shown(await operator.get("/console/queue"))


def test_templates_name_each_field() -> None:
    folder = Path(__file__).parents[2] / "gateway" / "console" / "templates"
    fields = [
        (file.name, field)
        for file in sorted(folder.glob("*.html"))
        for field in re.findall(
            r"<(?:input|textarea|select)\b[^>]*>",
            re.sub(r"<label\b.*?</label>", "", file.read_text("utf-8"), flags=re.DOTALL),
        )
        if 'type="hidden"' not in field and "aria-label" not in field
    ]

    assert fields == []


async def test_the_queue_is_of_what_waits_alone(operator: Operator, console: House) -> None:
    await operator.log_in("vera")
    await operator.client.get("/console/queue", params={"state": "accepted", "account": "masociete"})
    await operator.client.get("/console/queue", params={"state": "held"})

    assert console.stories.asked == [Filter(account="masociete"), Filter(states=(SmsState.HELD,))]
