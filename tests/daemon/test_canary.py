"""A key, a number and a text are planted, everything that can go wrong does, and no output shows any of them."""

import base64
import contextlib
import quopri
import resource
import signal
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from gateway.cli.examples.client import submit
from gateway.sandbox import Sandbox
from gateway.smtp.mailbox import Mailbox
from gateway.smtp.passwords import hash_password
from tests.console.house import Operator
from tests.daemon.test_process import until
from tests.support.configuration import RECIPIENT, SENDER, write_config
from tests.support.gateway import GatewayProcess, run_command, serve

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

KEY = "kanari0a7f3e5d9c1b2f4e6a8d"
CARRIER_KEY = "Kanari-Carrier-91d2c3b4a5"
WRONG_KEY = "kanari-wrong-5b5b5b5b5b5b"
SECRET = "kanari-callback-77aa77aa77"
PREVIOUS_KEY = "kanari4b6d8f0a2c4e6f8a0b2d"
FEW_TOKEN, ALL_TOKEN = "kanari-few-" + "5c" * 16, "kanari-all-" + "6d" * 16
PASSWORD, WRONG_PASSWORD = "Kanari-Password-8e8e", "Kanari-Wrong-9f9f9f"
NATIONAL = "0698712345"
TEXT = "kanariuntexteintrouvable"
SECRETS = (
    KEY, CARRIER_KEY, WRONG_KEY, SECRET, PREVIOUS_KEY, FEW_TOKEN, ALL_TOKEN, PASSWORD, WRONG_PASSWORD,
)  # fmt: skip
PLANTED = (*SECRETS, NATIONAL, NATIONAL[1:], TEXT)

TROUBLES = ("slow", "500", "reset", "lost", "half", "not_json", "html", "wrong_count", "redirect", "no_credit")
"""The last one makes the gateway wait before it calls again."""


def forms(planted: str) -> set[str]:
    """What it looks like in the encodings that outputs have."""
    plain = planted.encode()
    encoded = {base64.b64encode(b" " * skip + plain)[4:-4].decode() for skip in range(3)}
    return {planted, planted.upper(), quote(planted), quopri.encodestring(plain).decode(), *encoded}


def found_in(outputs: Sequence[str], planted: Sequence[str]) -> list[tuple[str, str, str]]:
    """Return what is found of it, in which form, and where."""
    return [
        (one, form, text[max(0, text.find(form) - 80) : text.find(form) + 40])
        for one in planted
        for form in forms(one)
        for text in outputs
        if form in text
    ]


def mail(number: int, *, key: str = KEY, text: str = TEXT, tel: str = NATIONAL, subject: str = "envoi") -> bytes:
    envoi = f"<envoi><keyid>{key}</keyid><num>{tel}</num><sms>{text}</sms><emailId>{number}</emailId></envoi>"
    headers = f"From: {SENDER}\r\nTo: {RECIPIENT}\r\nSubject: {subject}\r\nMessage-ID: <{number}@masociete.com>\r\n"
    return f"{headers}Content-Type: text/plain; charset=utf-8\r\n\r\n{envoi}\r\n".encode()


MAILS = {
    "good": mail(1),
    "twice": mail(1, subject="again"),
    "wrong key": mail(2, key=WRONG_KEY),
    "bad number": mail(3, tel=NATIONAL + "99"),
    "not XML": mail(4).replace(b"</sms>", b"<sms"),
    "a tag too many": mail(5).replace(b"<sms>", f"<{TEXT}><sms>".encode()),
    "no text": mail(6, text=""),
    "too long": mail(7, text=TEXT * 20),
    "another alphabet": mail(8, text=TEXT + " 漢字"),
    "secrets in the headers": mail(9, subject=f"{TEXT} {NATIONAL} {KEY}"),
    "a name of an attachment": mail(10).replace(
        b"Content-Type: text/plain; charset=utf-8", f'Content-Type: text/csv; name="{NATIONAL}{TEXT}"'.encode()
    ),
}


def family(process: int) -> list[int]:
    """The process and those it has started."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [process, *map(int, children)]


async def send(gateway: GatewayProcess, content: bytes) -> str:
    try:
        return await submit(*gateway.smtp, content, sender=SENDER, recipient=RECIPIENT)
    except OSError as error:
        return str(error)


async def begin_calls(gateway: GatewayProcess, sandbox: Sandbox, number: int, trouble: str) -> None:
    """The carrier has had a call with this trouble, and before it a good one, so that it is asked at once."""
    for what in ("", trouble):
        calls = sandbox.calls
        if what:
            sandbox.misbehave(what, count=1)
        await send(gateway, mail(number + 100 * bool(what)))
        await until(lambda calls=calls: sandbox.calls > calls)  # type: ignore[misc]


async def test_nothing_that_is_planted_is_shown(tmp_path: Path, sandbox: Sandbox, mailbox: Mailbox) -> None:
    for name, secret in (("account.key", KEY), ("carrier.key", CARRIER_KEY), ("callback", SECRET)):
        (tmp_path / name).write_text(secret)
        (tmp_path / name).chmod(0o600)
    config = write_config(
        tmp_path / "gateway.toml",
        smarthost=mailbox.address,
        carrier=sandbox.url,
        account={"keyid": None, "keyid_file": "account.key"},
        provider={"keyid_file": "carrier.key", "callback_secret_file": "callback", "timeout_s": 1},
        http={"listen": "127.0.0.1:0"},
        log={"level": "debug"},
    )
    at = ("--config", str(config))
    shown = [await run_command("check-config", "--show", str(config)), await run_command("migrate", *at)]
    outputs: list[str] = []
    async with serve(config) as gateway:
        outputs += [await send(gateway, content) for content in MAILS.values()]
        for number, trouble in enumerate(TROUBLES, start=100):
            await begin_calls(gateway, sandbox, number, trouble)
        callback = f"/receipts/carrier/{SECRET}?tel={NATIONAL}"
        async with httpx.AsyncClient(base_url=gateway.http) as client:
            for path in ("/", "/metrics", "/readyz", f"/{TEXT}", f"/?{NATIONAL}", callback):
                outputs.append((await client.get(path)).text)
        gateway.send_signal(signal.SIGHUP)
        await until(lambda: '"event": "configuration_reloaded"' in gateway.read_log())
        outputs.append(gateway.ready)
    shown += [
        await run_command(*command, *at)
        for command in (("verify",), ("credit", "show"), ("purge", "--json"), ("verify", "--json"))
    ]
    log = gateway.read_log()
    outputs += [log, *(one.stdout + one.stderr for one in shown)]

    assert log.count('"event": "sms_settled"') > len(TROUBLES)  # it did log what happened
    assert found_in(outputs, PLANTED) == []


MASKED = (
    ("doctor",),
    ("stats", "--json"),
    ("queue", "list", "--mask", "--json"),
    ("why", SENDER, "--all", "--mask"),
    ("why", SENDER, "--all", "--mask", "--json"),
)
WHOLE = (("why", SENDER, "--all"), ("queue", "list"), ("quota", "show"))
PAGES = ("", "/queue", f"/search?q={SENDER}", "/configured", "/optouts", "/live/overview", "/live/queue", "/audit")


async def see_console(gateway: GatewayProcess, ids: Sequence[str], name: str) -> list[str]:
    """Return every page of the console that this user may see, and what a wrong password leads to."""
    async with httpx.AsyncClient(base_url=gateway.http, timeout=60) as client:
        operator = Operator(client)
        wrong = await operator.log_in(name, WRONG_PASSWORD)
        right = await operator.log_in(name, PASSWORD)
        assert (wrong.status_code, right.status_code) == (403, 303)
        pages = [await operator.get(f"/console{path}") for path in (*PAGES, *(f"/mail/{one}" for one in ids))]
    assert {page.status_code for page in pages} <= {200, 403}
    return [wrong.text, *(page.text for page in pages)]


async def see_api(gateway: GatewayProcess, token: str) -> tuple[list[str], list[str]]:
    """Return what a program is told with this token, and the ids of all mails."""
    header = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=f"{gateway.http}/api/v1/", headers=header, timeout=60) as client:
        listed = [await client.get(path) for path in ("mails?size=100", "refusals?size=100")]
        ids = [one["id"] for answer in listed for one in answer.json()["rows"]]
        more = ("queue", "queue?state=accepted", "stats", "carriers", "backlog", "openapi.json")
        answers = [*listed, *[await client.get(path) for path in (*more, *(f"mails/{one}" for one in ids))]]
    assert {answer.status_code for answer in answers} == {200}
    return [answer.text for answer in answers], ids


def has_turned_away(config: Path) -> bool:
    """True once it is on disk that a client was turned away."""
    with contextlib.closing(sqlite3.connect(config.parent / "gateway.db")) as store:
        return bool(store.execute("SELECT count(*) FROM turned_away").fetchone()[0])


def write_watched_config(folder: Path, *, carrier: str, smarthost: tuple[str, int]) -> Path:
    """A configuration with every secret there is, and somebody in each role."""
    secrets = {"account": KEY, "previous": PREVIOUS_KEY, "carrier": CARRIER_KEY, "few": FEW_TOKEN, "all": ALL_TOKEN}
    for name, secret in secrets.items():
        (folder / name).write_text(secret)
        (folder / name).chmod(0o600)
    few = ["queue", "stats", "carriers", "mails"]
    tokens = [
        {"name": "few", "token_file": "few", "rights": few},
        {"name": "all", "token_file": "all", "rights": [*few, "numbers", "texts"]},
    ]
    quotas = [{"per": "recipient", "window": "day", "sms": 2}]
    keys = {"keyid": None, "keyid_file": "account", "previous_keyid_file": "previous"}
    config = write_config(
        folder / "gateway.toml",
        smarthost=smarthost,
        carrier=carrier,
        account={**keys, "quotas": quotas},
        provider={"keyid_file": "carrier", "callback_secret": SECRET},
        http={"listen": "127.0.0.1:0", "public_url": "http://127.0.0.1", "tokens": tokens},
        log={"level": "debug"},
    )
    hashed = hash_password(PASSWORD)
    with config.open("a", encoding="utf-8") as file:
        for name, role in (("vera", "view"), ("ada", "admin")):
            file.write(f'\n[[users]]\nname = "{name}"\npassword_hash = "{hashed}"\nroles = ["{role}"]\n')
    return config


async def test_only_who_may_see_numbers_and_texts_does_and_nobody_sees_a_secret(
    tmp_path: Path, sandbox: Sandbox, mailbox: Mailbox
) -> None:
    config = write_watched_config(tmp_path, carrier=sandbox.url, smarthost=mailbox.address)
    at = ("--config", str(config))
    await run_command("migrate", *at)
    in_force = await run_command("check-config", "--show", str(config))
    async with serve(config) as gateway:
        for content in (*MAILS.values(), mail(20, key=PREVIOUS_KEY), mail(21), mail(22)):
            await send(gateway, content)
        with contextlib.suppress(OSError):
            await submit(*gateway.smtp, mail(23), sender=SENDER, recipient=f"{NATIONAL}@gw.example.org")
        await until(lambda: gateway.read_log().count('"event": "sms_settled"') >= 2)
        await until(lambda: has_turned_away(config))
        everything, ids = await see_api(gateway, ALL_TOKEN)
        masked, _ = await see_api(gateway, FEW_TOKEN)
        everything += await see_console(gateway, ids, "ada")
        masked += await see_console(gateway, ids, "vera")
        async with httpx.AsyncClient(base_url=gateway.http) as client:
            masked.append((await client.get("/metrics")).text)
        for commands, outputs in ((WHOLE, everything), (MASKED, masked)):
            finished = [await run_command(*command, *at) for command in commands]
            outputs += [one.stdout + one.stderr for one in finished]
    masked += [gateway.read_log(), in_force.stdout + in_force.stderr]

    assert "[[http.tokens]]" in in_force.stdout
    assert any(TEXT in one for one in everything)  # it is told to who may see it
    assert found_in(everything, SECRETS) == []
    assert found_in(masked, PLANTED) == []


async def test_a_process_that_dies_leaves_no_memory_behind(tmp_path: Path, sandbox: Sandbox) -> None:
    """Keys, numbers and texts are in its memory; a core file would have them all."""
    config = write_config(tmp_path / "gateway.toml", carrier=sandbox.url)
    await run_command("migrate", "--config", str(config))
    async with serve(config) as gateway:
        limits = [resource.prlimit(one, resource.RLIMIT_CORE) for one in family(gateway.process.pid)]

    assert len(limits) > 1
    assert set(limits) == {(0, 0)}
