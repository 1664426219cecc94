"""A key, a number and a text are planted, everything that can go wrong does, and no output shows any of them."""

import base64
import quopri
import resource
import signal
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from gateway.cli.examples.client import submit
from gateway.sandbox import Sandbox
from gateway.smtp.mailbox import Mailbox
from tests.daemon.test_process import until
from tests.support.configuration import RECIPIENT, SENDER, write_config
from tests.support.gateway import GatewayProcess, run_command, serve

pytestmark = pytest.mark.slow

KEY = "kanari0a7f3e5d9c1b2f4e6a8d"
CARRIER_KEY = "Kanari-Carrier-91d2c3b4a5"
WRONG_KEY = "kanari-wrong-5b5b5b5b5b5b"
SECRET = "kanari-callback-77aa77aa77"
NATIONAL = "0698712345"
TEXT = "kanariuntexteintrouvable"
PLANTED = (KEY, CARRIER_KEY, WRONG_KEY, SECRET, NATIONAL, NATIONAL[1:], TEXT)

TROUBLES = ("slow", "500", "reset", "lost", "half", "not_json", "html", "wrong_count", "redirect", "no_credit")
"""The last one makes the gateway wait before it calls again."""


def forms(planted: str) -> set[str]:
    """What it looks like in the encodings that outputs have."""
    plain = planted.encode()
    encoded = {base64.b64encode(b" " * skip + plain)[4:-4].decode() for skip in range(3)}
    return {planted, planted.upper(), quote(planted), quopri.encodestring(plain).decode(), *encoded}


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
    assert [] == [
        (planted, form, text[max(0, text.find(form) - 80) : text.find(form) + 40])
        for planted in PLANTED
        for form in forms(planted)
        for text in outputs
        if form in text
    ]


async def test_a_process_that_dies_leaves_no_memory_behind(tmp_path: Path, sandbox: Sandbox) -> None:
    """Keys, numbers and texts are in its memory; a core file would have them all."""
    config = write_config(tmp_path / "gateway.toml", carrier=sandbox.url)
    await run_command("migrate", "--config", str(config))
    async with serve(config) as gateway:
        limits = [resource.prlimit(one, resource.RLIMIT_CORE) for one in family(gateway.process.pid)]

    assert len(limits) > 1
    assert set(limits) == {(0, 0)}
