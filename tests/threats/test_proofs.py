"""Passwords that are guessed, and T24, T25: signatures of strangers; T15: no answer of a carrier leads elsewhere."""

import asyncio
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.smtp.passwords import hash_password
from tests.faults.carriers import Carrier, accepts, answer, says
from tests.faults.field import Field, make_mail
from tests.identity.conftest import make_key, sign
from tests.smtp.house import Pem, client_context, make_certificate
from tests.smtp.test_auth import CHEAP
from tests.support.configuration import SENDER
from tests.support.dns import dns_server
from tests.threats.attacker import ENVOI, STRANGER, connected, from_headers, greeted, is_served, siege, submit

pytestmark = pytest.mark.slow

NAME, PASSWORD = "glpi", "ouvre-toi, s\u00e9same"
USERS = [{"name": NAME, "password_hash": CHEAP.hash(PASSWORD), "account": "masociete"}]
PROVEN_BY_PASSWORD: Mapping[str, Any] = {"users": USERS, "account": {"auth": ["smtp_auth"]}}


def plain(name: str, password: str) -> str:
    return "AUTH PLAIN " + b64encode(f"\0{name}\0{password}".encode()).decode()


def listening(folder: Path, **more: object) -> dict[str, object]:
    """Return settings of `smtp` with a certificate, and AUTH over it."""
    pem = make_certificate(folder)
    return {"starttls": {"certificate": str(pem.certificate), "key": str(pem.key)}, **more}


async def guess(ground: Field, folder: Path, source: str, *passwords: tuple[str, str]) -> list[str]:
    """Return the replies to these names and passwords, over one connection with TLS, until it ends."""
    context = client_context(Pem(certificate=folder / "gw.example.org.pem", key=folder / "gw.example.org.key"))
    async with greeted(ground, source=source) as raw:
        assert (await raw.ask("STARTTLS")).startswith("220")
        await raw.begin_tls(context)
        await raw.ask("EHLO a")
        replies = []
        for name, password in passwords:
            replies.append(await raw.ask(plain(name, password)))
            if replies[-1][:3] in {"421", ""}:
                break
        return replies


async def test_guessing_passwords_is_slow_and_short_and_names_are_not_told(tmp_path: Path) -> None:
    """Three tries a connection, ten an address and then no check at all; unknown names are answered like known ones."""
    smtp = listening(tmp_path, max_errors=100)
    async with siege(tmp_path, smtp=smtp, **PROVEN_BY_PASSWORD) as ground:
        kinds = [(NAME, "wrong"), ("nobody", "wrong"), ("nobody", PASSWORD)]
        told = await guess(ground, tmp_path, STRANGER, *kinds)
        assert [reply[:9] for reply in told] == ["535 5.7.8", "535 5.7.8", "421 4.7.0"]
        assert told[0] == told[1]

        for _ in range(4):
            await guess(ground, tmp_path, STRANGER, *kinds)
        locked = await guess(ground, tmp_path, STRANGER, (NAME, PASSWORD))
        assert locked[0][:9] == "454 4.7.0"  # the right one is not even looked at
        elsewhere = await guess(ground, tmp_path, "127.0.0.70", (NAME, PASSWORD))
        assert elsewhere[0][:9] == "235 2.7.0"  # nobody locks out a user at another address

        checked = await ground.metric('mail2sms_smtp_authentications_total{outcome="failed"}')
        assert checked <= 13  # one is forgiven a minute
        log = ground.gateway.read_log()
        assert (PASSWORD in log, "nobody" in log) == (False, False)  # people type passwords where names belong


async def test_no_password_is_taken_or_asked_for_in_clear(tmp_path: Path) -> None:
    """From anywhere but this machine, where it is told of: nothing is offered, and what is sent is not believed."""
    smtp = listening(tmp_path)
    smtp["listeners"] = [
        {"name": "far", "listen": ["127.0.0.1:0"], "networks": [], "require_tls": True, "proxies": ["127.0.0.1/32"]}
    ]
    async with siege(tmp_path, smtp={**smtp, "listen": []}, **PROVEN_BY_PASSWORD) as ground:
        async with connected(ground.gateway.smtp) as raw:
            await raw.send(b"PROXY TCP4 192.0.2.9 192.0.2.1 1 2\r\n")
            assert (await raw.reply())[:3] == "220"
            await raw.send(b"EHLO a\r\n")
            offered = [await raw.line()]
            while offered[-1][3] == "-":
                offered.append(await raw.line())
            replies = [await raw.ask(plain(NAME, PASSWORD)), await raw.ask("AUTH LOGIN")]

        assert [line for line in offered if "AUTH" in line] == []
        assert [reply[:3] for reply in replies] == ["538", "538"]
        assert len(ground.events("password_exposed")) == 1
        assert PASSWORD not in ground.gateway.read_log()


async def test_a_flood_of_guesses_keeps_no_client_waiting(tmp_path: Path) -> None:
    """Twenty connections from ten addresses with costly passwords to check; a trusted client sends meanwhile."""
    users = [{"name": NAME, "password_hash": hash_password(PASSWORD), "account": "masociete"}]
    smtp = listening(tmp_path, max_auth_failures=50)
    async with siege(tmp_path, smtp=smtp, users=users) as ground, asyncio.TaskGroup() as group:
        guessing = [
            group.create_task(guess(ground, tmp_path, f"127.0.9.{1 + number // 2}", (NAME, f"{number}")))
            for number in range(20)
        ]
        waits_s = []
        for number in range(7):
            began = time.monotonic()  # noqa: TID251 of the test
            reply = await submit(ground, make_mail(str(number), f"060102040{number}"))
            waits_s.append(time.monotonic() - began)  # noqa: TID251 of the test
            assert reply.startswith("250 ")
        await asyncio.wait(guessing)
        await is_served(ground, "after")

        assert sorted(waits_s)[3] < 5
        assert ground.status("VmHWM") < 512 * 1024
        assert {reply[:3] for task in guessing for reply in task.result()} <= {"535", "454", "421", ""}


async def test_strangers_have_nobody_asked_in_the_dns(tmp_path: Path) -> None:
    """T25: a hundred signatures of foreign domains, and mails from domains of nobody: not one question."""
    key = make_key(1_024)
    async with dns_server() as dns:
        dns.add("s1._domainkey.evil.example", "TXT", key.record)
        wanted: Mapping[str, Any] = {
            "account": {"auth": ["dkim", "spf"]},
            "senders": {"dns_servers": [dns.server], "dns_timeout_s": 1},
        }
        forged = from_headers("From: evil@evil.example", "Content-Type: text/plain", body=ENVOI)
        for number in range(20):
            forged = sign(forged, key, domain=f"evil{number}.example", headers=(b"from", b"content-type"))
        ours = from_headers(f"From: {SENDER}", "Content-Type: text/plain", body=ENVOI)
        foreign = ours
        for _ in range(40):
            foreign = sign(foreign, key, domain="evil.example", headers=(b"from", b"content-type"))
        async with siege(tmp_path, **wanted) as ground:
            replies: Counter[str] = Counter()
            for content, sender in ((forged, "evil@evil.example"), (foreign, "evil@evil.example")):
                for _ in range(5):
                    replies[(await submit(ground, content, source=STRANGER, sender=sender))[:9]] += 1

            assert replies == {"550 5.7.1": 10}
            assert dns.asked == {}
            assert ground.sms() == []


async def test_a_signature_that_leaves_room_proves_nobody(tmp_path: Path) -> None:
    """T24: a part of the body, no Content-Type, another body, another From; and the right one, from anywhere."""
    key = make_key(2_048)
    async with dns_server() as dns:
        dns.add("s1._domainkey.masociete.com", "TXT", key.record)
        dns.add("t1._domainkey.masociete.com", "TXT", f"{key.record}; t=y")
        mail = from_headers(f"From: {SENDER}", "Content-Type: text/plain; charset=utf-8", body=ENVOI)
        signed = (b"from", b"content-type")
        good = sign(mail, key, headers=signed)
        tricks = {
            "half of the body": sign(mail, key, headers=signed, length=True).replace(b"</envoi>", b"</envoi>\r\nmore"),
            "From alone": sign(mail, key, headers=(b"from",)),
            "a key in testing": sign(mail, key, headers=signed, selector="t1"),
            "another number": good.replace(b"0601020304", b"0899123456"),
            "a second From on top": b"From: evil@evil.example\r\n" + good,
            "a second From below": good.replace(b"\r\n\r\n", b"\r\nFrom: evil@evil.example\r\n\r\n", 1),
            "another type on top": b"Content-Type: text/html\r\n" + good,
            "a sister's signature": sign(mail, key, domain="sub.masociete.com", headers=signed),
        }
        wanted: Mapping[str, Any] = {
            "account": {"auth": ["dkim"]},
            "senders": {"dns_servers": [dns.server], "dns_timeout_s": 2},
        }
        async with Carrier(accepts) as carrier, siege(tmp_path, carrier, **wanted) as ground:
            replies = {name: await submit(ground, content, source=STRANGER) for name, content in tricks.items()}

            assert {name: reply[:3] for name, reply in replies.items()} == dict.fromkeys(tricks, "550")
            assert (ground.sms(), carrier.requests) == ([], [])
            assert (await submit(ground, good, source=STRANGER)).startswith("250 ")
            assert (await submit(ground, good, source=STRANGER)).startswith("250 ")  # T22: played again
            await ground.until(lambda: ground.states() == ["accepted"])
            assert len(carrier.numbers) == 1


async def test_a_carrier_leads_the_gateway_nowhere(tmp_path: Path) -> None:
    """T15: redirects to this machine, by any status and in any form, and addresses in answers are not followed."""
    async with Carrier(accepts) as inside:
        forms = [f"{inside.url}/admin", f"//127.0.0.1:{inside.port}/", "file:///etc/passwd", "gopher://127.0.0.1/x"]
        codes = [301, 302, 303, 307, 308]
        remaining = [(status, form) for status in codes for form in forms]

        async def redirect(writer: asyncio.StreamWriter) -> None:
            status, form = remaining.pop()
            headers = (f"Location: {form}", f"Refresh: 0; url={form}", f"Link: <{form}>; rel=preload")
            await says(answer(f'{{"url": "{form}"}}'.encode(), *headers, status=status))(writer)

        async with Carrier(redirect) as carrier, siege(tmp_path, carrier, provider={"batch_size": 1}) as ground:
            for number in range(len(remaining)):
                await submit(ground, make_mail(str(number), f"06010203{number:02d}"))
            await ground.until(lambda: not remaining)
            await ground.until(lambda: set(ground.states()) <= {"refused", "uncertain"})

            assert inside.requests == []
            assert len(carrier.requests) == len(codes) * len(forms)
