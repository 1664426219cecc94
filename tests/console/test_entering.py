"""Logging in and out: who gets in, for how long, and what every answer forbids."""

import re

import httpx
import pytest

from gateway.console.roles import ConsoleUser, Role
from gateway.console.sessions import IDLE_S, LONGEST_S
from gateway.console.surroundings import Place
from tests.console.conftest import served
from tests.console.house import MAIL_ID, PASSWORD, House, Operator, shown, story

pytestmark = pytest.mark.slow


async def test_who_is_not_logged_in_is_led_to_the_log_in_and_back(operator: Operator) -> None:
    first = await operator.get("/console/queue?state=held")
    await operator.get(first.headers["location"])
    answer = await operator.post(
        "/console/login", {"name": "vera", "password": PASSWORD, "next": "/console/queue?state=held"}
    )

    assert first.status_code == 303
    assert first.headers["location"] == "/console/login?next=/console/queue%3Fstate%3Dheld"
    assert answer.headers["location"] == "/console/queue?state=held"
    assert (await operator.get("/console/queue")).status_code == 200


@pytest.mark.parametrize(
    "elsewhere",
    ["https://evil.example", "//evil.example", "/console//evil.example", "/console/\\evil", "/livez", "/console/login"],
)
async def test_nobody_is_led_elsewhere_after_the_log_in(operator: Operator, elsewhere: str) -> None:
    await operator.get("/console/login")
    answer = await operator.post("/console/login", {"name": "vera", "password": PASSWORD, "next": elsewhere})

    assert answer.headers["location"] == "/console"


@pytest.mark.parametrize(
    ("name", "password"), [("vera", "wrong"), ("nobody", PASSWORD), ("vera", ""), ("", ""), ("vera", "x" * 2000)]
)
async def test_a_wrong_name_and_a_wrong_password_are_answered_alike(
    operator: Operator, name: str, password: str
) -> None:
    answer = await operator.log_in(name, password)

    assert answer.status_code == 403
    assert "The name or the password is wrong." in shown(answer)
    assert "session" not in answer.headers.get("set-cookie", "")


async def test_a_session_has_a_name_that_scripts_and_other_sites_do_not_get(operator: Operator) -> None:
    answer = await operator.log_in("vera")
    cookie = next(one for one in answer.headers.get_list("set-cookie") if "mail2sms_session" in one)

    assert re.fullmatch(r"mail2sms_session=[A-Za-z0-9_-]{43}; HttpOnly; Path=/; SameSite=strict", cookie)


async def test_behind_tls_cookies_go_nowhere_else(house: House) -> None:
    async with served(house, Place(is_secure=True)), httpx.AsyncClient(base_url=house.base_url) as client:
        page = await client.get("/console/login")
        guest = re.search(r"(__Host-mail2sms_guest=[^;]*)", page.headers["set-cookie"])
        assert guest is not None
        operator = Operator(client)
        operator._remember(page)
        answer = await operator.post("/console/login", {"name": "vera", "password": PASSWORD}, cookie=guest[1])

        assert all("; Secure" in one for one in answer.headers.get_list("set-cookie"))
        assert answer.headers.get_list("set-cookie")[0].startswith("__Host-mail2sms_session=")


async def test_the_store_does_not_hold_what_the_browser_holds(operator: Operator, console: House) -> None:
    await operator.log_in("vera")
    token = operator.client.cookies["mail2sms_session"]
    await console.store.close()

    database = (
        next(console.store._database.path.parent.glob("store.db")) if hasattr(console.store._database, "path") else None
    )
    assert token
    assert database is None or token.encode() not in database.read_bytes()


async def test_a_session_somebody_planted_is_not_raised_to_one(operator: Operator) -> None:
    operator.client.cookies.set("mail2sms_session", "A" * 43, domain="127.0.0.1", path="/")
    await operator.log_in("vera")

    held = {cookie.value for cookie in operator.client.cookies.jar if cookie.name == "mail2sms_session"}
    assert "A" * 43 not in held or len(held) == 2


async def test_a_second_log_in_ends_the_first_session_of_that_browser(operator: Operator) -> None:
    await operator.log_in("vera")
    first = operator.client.cookies["mail2sms_session"]
    await operator.log_in("otto")
    operator.client.cookies.clear()

    answer = await operator.client.get("/console", headers={"cookie": f"mail2sms_session={first}"})

    assert answer.status_code == 303


async def test_who_logs_out_is_out(operator: Operator) -> None:
    await operator.log_in("vera")
    token = operator.client.cookies["mail2sms_session"]
    answer = await operator.post("/console/logout", {})
    again = await operator.client.get("/console", headers={"cookie": f"mail2sms_session={token}"})

    assert (answer.status_code, answer.headers["location"]) == (303, "/console/login")
    assert again.status_code == 303


async def test_a_session_ends_without_its_user(operator: Operator, console: House) -> None:
    await operator.log_in("vera")
    console.clock.advance(IDLE_S - 1)
    before = await operator.get("/console")
    console.clock.advance(IDLE_S)
    after = await operator.get("/console")

    assert (before.status_code, after.status_code) == (200, 303)


async def test_what_a_page_asks_for_by_itself_is_no_sign_of_its_user(operator: Operator, console: House) -> None:
    await operator.log_in("vera")
    answers = []
    for _ in range(3):
        console.clock.advance(IDLE_S / 2)
        answers.append(await operator.get("/console/live/overview", **{"hx-request": "true"}))

    assert [answer.status_code for answer in answers] == [200, 401, 401]
    assert answers[-1].headers["hx-redirect"] == "/console/login"


async def test_a_session_ends_in_any_case(operator: Operator, console: House) -> None:
    await operator.log_in("vera")
    statuses = []
    for _ in range(int(LONGEST_S / 1200) + 1):
        statuses.append((await operator.get("/console")).status_code)
        console.clock.advance(1200)

    assert set(statuses[:-1]) == {200}
    assert statuses[-1] == 303


@pytest.mark.parametrize("change", ["gone", "password"])
async def test_a_session_ends_with_its_user_or_the_password(operator: Operator, console: House, change: str) -> None:
    await operator.log_in("vera")
    if change == "gone":
        del console.users["vera"]
    else:
        console.users["vera"] = ConsoleUser(name="vera", password_hash="another hash", role=Role.VIEW)

    assert (await operator.get("/console")).status_code == 303


async def test_a_role_that_is_taken_away_is_gone_at_once(operator: Operator, console: House) -> None:
    await operator.log_in("otto")
    before = await operator.get("/console/compose")
    console.users["otto"] = ConsoleUser(name="otto", password_hash="hash of otto", role=Role.VIEW)
    after = await operator.get("/console/compose")

    assert (before.status_code, after.status_code) == (200, 403)


# --- guessing --------------------------------------------------------------------------------------------------------


async def test_who_guesses_waits(operator: Operator, console: House) -> None:
    answers = [await operator.log_in("vera", f"guess {number}") for number in range(12)]
    right = await operator.log_in("vera")
    console.clock.advance(120)
    later = await operator.log_in("vera")

    assert [answer.status_code for answer in answers] == [403] * 10 + [429] * 2
    assert (right.status_code, int(right.headers["retry-after"]) > 0) == (429, True)
    assert console.checked == 11
    assert later.status_code == 303


async def test_passwords_that_cannot_be_checked_now_are_not_wrong(operator: Operator, console: House) -> None:
    console.is_busy = True
    answer = await operator.log_in("vera")

    assert answer.status_code == 503
    assert "Try again in a moment" in shown(answer)


async def test_what_strangers_type_for_a_name_is_not_kept(operator: Operator, console: House) -> None:
    await operator.log_in("my secret passphrase", "x")
    await operator.log_in("vera", "wrong")
    noted = await console.store.console_actions(before=None, limit=10)

    assert [(one.who, one.action, one.outcome) for one in noted] == [("vera", "login", "wrong password")]


# --- forms of others -------------------------------------------------------------------------------------------------


async def test_a_form_without_the_token_changes_nothing(operator: Operator, console: House) -> None:
    await operator.log_in("otto")
    operator.token = "0" * 64
    answer = await operator.post("/console/act", {"action": "hold", "sms": "S1"})

    assert answer.status_code == 403
    assert console.acted == []


async def test_the_token_of_one_session_is_none_of_another(operator: Operator, console: House) -> None:
    await operator.log_in("otto")
    stolen = operator.token
    async with httpx.AsyncClient(base_url=console.base_url) as client:
        other = Operator(client)
        await other.log_in("ada")
        other.token = stolen
        answer = await other.post("/console/act", {"action": "hold", "sms": "S1"})

    assert answer.status_code == 403
    assert console.acted == []


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
async def test_a_form_of_another_site_changes_nothing(
    operator: Operator, console: House, headers: dict[str, str]
) -> None:
    await operator.log_in("otto")
    answer = await operator.post("/console/act", {"action": "hold", "sms": "S1"}, **headers)

    assert answer.status_code == 403
    assert console.acted == []


async def test_a_log_in_from_another_site_is_none(operator: Operator) -> None:
    await operator.get("/console/login")
    answer = await operator.post(
        "/console/login", {"name": "vera", "password": PASSWORD}, origin="https://evil.example"
    )

    assert answer.status_code == 403
    assert "mail2sms_session" not in operator.client.cookies


@pytest.mark.parametrize(
    "path",
    ["/console/act", "/console/optouts/add", "/console/optouts/remove", "/console/logout", "/console/preferences"],
)
async def test_nothing_changes_by_get(operator: Operator, path: str) -> None:
    await operator.log_in("ada")

    assert (await operator.get(path)).status_code in {404, 405}


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (b"x" * 300_000, "application/x-www-form-urlencoded", 413),
        (b"a=1&" * 700, "application/x-www-form-urlencoded", 400),
        (b"\xff\xfe", "application/x-www-form-urlencoded", 400),
        (b"{}", "application/json", 415),
        (b"", "multipart/form-data; boundary=x", 415),
    ],
)
async def test_a_form_is_borne_within_bounds(
    operator: Operator, content: bytes, content_type: str, status: int
) -> None:
    await operator.log_in("otto")
    answer = await operator.client.post("/console/act", content=content, headers={"content-type": content_type})

    assert answer.status_code == status


# --- names and headers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8025", "127.0.0.1.evil.example", "[", ""])
async def test_no_other_name_is_answered(operator: Operator, host: str) -> None:
    answer = await operator.get("/console/login", host=host)

    assert answer.status_code == 421 or (host in {"", "["} and answer.status_code == 400)
    assert "password" not in answer.text


@pytest.mark.parametrize(
    "host", ["localhost:8025", "127.0.0.1", "[::1]:8025", "192.0.2.7:443", "gw.example.org", "GW.example.org:8443"]
)
async def test_names_of_ours_and_addresses_are_answered(house: House, host: str) -> None:
    async with (
        served(house, Place(hosts=frozenset({"gw.example.org"}))),
        httpx.AsyncClient(base_url=house.base_url) as client,
    ):
        assert (await client.get("/console/login", headers={"host": host})).status_code == 200


async def test_nothing_is_served_in_clear_beyond_this_machine(house: House) -> None:
    async with served(house, Place(is_exposed=True)), httpx.AsyncClient(base_url=house.base_url) as client:
        answer = await client.get("/console/login")

        assert answer.status_code == 403
        assert "tls_proxy = true" in shown(answer)
        assert (await client.get("/livez")).status_code == 200


async def test_without_users_there_is_no_console(house: House) -> None:
    house.users.clear()
    async with served(house, Place()), httpx.AsyncClient(base_url=house.base_url) as client:
        statuses = {path: (await client.get(path)).status_code for path in ("/", "/console", "/console/login")}

        assert statuses == {"/": 404, "/console": 404, "/console/login": 404}
        assert (await client.get("/livez")).status_code == 200


@pytest.mark.parametrize(
    "path", ["/", "/console", "/console/login", "/console/nothing", f"/console/mail/{MAIL_ID}", "/console/mail/none"]
)
async def test_every_answer_forbids_what_a_console_has_no_use_for(
    operator: Operator, console: House, path: str
) -> None:
    console.stories.stories[MAIL_ID] = story()
    await operator.log_in("otto")
    answer = await operator.get(path)

    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-security-policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not re.search(r"<script(?! src=)|<style|\son[a-z]+=|\sstyle=|hx-on|javascript:", answer.text)


async def test_the_consoles_own_files_may_be_kept(operator: Operator) -> None:
    page = await operator.get("/console/login")
    addresses = re.findall(r'(?:src|href)="(/console/static/[^"]+)"', page.text)
    answers = [await operator.get(address) for address in addresses]

    assert len(set(addresses)) == 4
    assert {answer.status_code for answer in answers} == {200}
    assert all("immutable" in answer.headers["cache-control"] for answer in answers)


async def test_a_link_from_elsewhere_finds_who_is_logged_in(operator: Operator) -> None:
    answer = await operator.get("/console/mail/1?a=%22%3E%3Cscript%3E", **{"sec-fetch-site": "cross-site"})

    assert answer.status_code == 200
    assert '<meta http-equiv="refresh" content="0; url=/console/mail/1?a=%22%3E%3Cscript%3E">' in answer.text
