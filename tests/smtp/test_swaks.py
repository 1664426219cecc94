"""swaks, which everybody uses to try a mail server, with all that can be offered."""

import asyncio
import subprocess
from pathlib import Path

import pytest

from gateway.smtp.passwords import User
from tests.smtp.house import Pem, RememberingHandler, make_certificate, open_house, smtp_settings
from tests.smtp.test_auth import CHEAP

pytestmark = pytest.mark.slow

GLPI = User(name="glpi", password_hash=CHEAP.hash("ouvre-toi"), account="masociete")


async def swaks(address: tuple[str, int], *options: str) -> tuple[int, str]:
    host, port = address
    said = await asyncio.to_thread(
        subprocess.run,
        [
            *("swaks", "--server", host, "--port", str(port), "--from", "a@masociete.com"),
            *("--to", "sendsms@gw.example.org", "--body", "<envoi></envoi>", *options),
        ],
        capture_output=True,
        timeout=30,
        check=False,
    )
    return said.returncode, (said.stdout + said.stderr).decode(errors="replace")


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
async def test_swaks_authenticates_over_tls(pem: Pem, mechanism: str) -> None:
    handler = RememberingHandler()
    settings = smtp_settings(networks=[], starttls=pem.as_settings(required=True))
    async with open_house(handler, settings, users=[GLPI]) as house:
        status, said = await swaks(
            house.address, "--tls", "--auth", mechanism, "--auth-user", "glpi", "--auth-password", "ouvre-toi"
        )

    assert status == 0, said
    assert [mail.authenticated_account for mail in handler.stored] == ["masociete"]


async def test_swaks_shows_a_certificate_where_tls_comes_first(pem: Pem, tmp_path: Path) -> None:
    own = make_certificate(tmp_path, "scanner.masociete.com")
    handler = RememberingHandler()
    listener = {"name": "wrapped", "listen": ["127.0.0.1:0"], "tls": "implicit"}
    settings = smtp_settings(listen=[], starttls=pem.as_settings(client_ca=own.certificate), listeners=[listener])
    async with open_house(handler, settings) as house:
        status, said = await swaks(
            house.address, "--tls-on-connect", "--tls-cert", str(own.certificate), "--tls-key", str(own.key)
        )

    assert status == 0, said
    assert [mail.certificate and mail.certificate.names for mail in handler.stored] == [
        frozenset({"scanner.masociete.com"})
    ]


@pytest.mark.parametrize("version", ["1", "2"])
async def test_swaks_comes_through_a_proxy(version: str) -> None:
    handler = RememberingHandler()
    listener = {"name": "proxied", "listen": ["127.0.0.1:0"], "proxies": ["127.0.0.1"]}
    proxy = ["--proxy-version", version, "--proxy-family", "AF_INET" if version == "2" else "TCP4"]
    ends = ["--proxy-source", "192.0.2.7", "--proxy-source-port", "40000", "--proxy-dest", "198.51.100.1"]
    if version == "2":
        proxy += ["--proxy-protocol", "STREAM"]
    async with open_house(handler, smtp_settings(listen=[], listeners=[listener])) as house:
        status, said = await swaks(house.address, *proxy, *ends, "--proxy-dest-port", "25")

    assert status == 0, said
    assert [mail.peer for mail in handler.stored] == ["192.0.2.7"]


async def test_swaks_with_a_header_of_a_proxy_from_elsewhere_is_cut() -> None:
    handler = RememberingHandler()
    proxy = ["--proxy-version", "1", "--proxy-family", "TCP4", "--proxy-source", "192.0.2.7"]
    ends = ["--proxy-source-port", "1", "--proxy-dest", "198.51.100.1", "--proxy-dest-port", "25"]
    async with open_house(handler) as house:
        status, _said = await swaks(house.address, *proxy, *ends)

    assert status != 0
    assert not handler.begun


async def test_swaks_shows_a_certificate_after_starttls(pem: Pem, tmp_path: Path) -> None:
    own = make_certificate(tmp_path, "scanner.masociete.com")
    handler = RememberingHandler()
    settings = smtp_settings(networks=[], starttls=pem.as_settings(client_ca=own.certificate))
    async with open_house(handler, settings) as house:
        status, said = await swaks(
            house.address, "--tls", "--tls-cert", str(own.certificate), "--tls-key", str(own.key)
        )

    assert status == 0, said
    assert [(mail.certificate and mail.certificate.names, mail.is_encrypted) for mail in handler.stored] == [
        (frozenset({"scanner.masociete.com"}), True)
    ]


async def test_swaks_with_a_certificate_that_nobody_vouches_for_gets_no_tls(pem: Pem, tmp_path: Path) -> None:
    own, stray = (make_certificate(tmp_path, name) for name in ("scanner.masociete.com", "stray.example"))
    handler = RememberingHandler()
    settings = smtp_settings(networks=[], starttls=pem.as_settings(client_ca=own.certificate, required=True))
    async with open_house(handler, settings) as house:
        status, _said = await swaks(
            house.address, "--tls", "--tls-cert", str(stray.certificate), "--tls-key", str(stray.key)
        )

    assert status != 0
    assert not handler.begun


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
async def test_swaks_with_a_wrong_password_is_refused_and_sends_nothing(pem: Pem, mechanism: str) -> None:
    handler = RememberingHandler()
    settings = smtp_settings(networks=[], starttls=pem.as_settings())
    async with open_house(handler, settings, users=[GLPI]) as house:
        status, said = await swaks(
            house.address, "--tls", "--auth", mechanism, "--auth-user", "glpi", "--auth-password", "falsch"
        )

    assert status != 0
    assert "535 5.7.8 Name or password is wrong" in said
    assert not handler.begun


@pytest.mark.parametrize(("local", "is_proxy"), [("127.0.0.2", True), ("127.0.0.3", False)])
async def test_swaks_is_believed_as_a_proxy_from_listed_addresses_alone(local: str, *, is_proxy: bool) -> None:
    handler = RememberingHandler()
    listener = {"name": "proxied", "listen": ["127.0.0.1:0"], "proxies": ["127.0.0.2"]}
    proxy = ["--proxy-version", "1", "--proxy-family", "TCP4", "--proxy-source", "192.0.2.7"]
    ends = ["--proxy-source-port", "40000", "--proxy-dest", "198.51.100.1", "--proxy-dest-port", "25"]
    async with open_house(handler, smtp_settings(listen=[], listeners=[listener])) as house:
        status, said = await swaks(house.address, *proxy, *ends, "--local-interface", local)

    assert (status == 0) is is_proxy, said
    assert [mail.peer for mail in handler.stored] == (["192.0.2.7"] if is_proxy else [])


async def test_swaks_authenticates_over_tls_through_a_proxy(pem: Pem) -> None:
    handler = RememberingHandler()
    listener = {"name": "proxied", "listen": ["127.0.0.1:0"], "proxies": ["127.0.0.1"]}
    settings = smtp_settings(listen=[], networks=[], starttls=pem.as_settings(), listeners=[listener])
    proxy = ["--proxy-version", "1", "--proxy-family", "TCP6", "--proxy-source", "2001:db8::7"]
    ends = ["--proxy-source-port", "40000", "--proxy-dest", "2001:db8::1", "--proxy-dest-port", "25"]
    login = ["--tls", "--auth", "PLAIN", "--auth-user", "glpi", "--auth-password", "ouvre-toi"]
    async with open_house(handler, settings, users=[GLPI]) as house:
        status, said = await swaks(house.address, *proxy, *ends, *login)

    assert status == 0, said
    assert [(mail.peer, mail.authenticated_account, mail.is_encrypted) for mail in handler.stored] == [
        ("2001:db8::7", "masociete", True)
    ]


async def test_swaks_is_not_asked_for_a_password_in_clear_from_elsewhere(pem: Pem) -> None:
    handler = RememberingHandler()
    listener = {"name": "proxied", "listen": ["127.0.0.1:0"], "proxies": ["127.0.0.1"]}
    settings = smtp_settings(listen=[], networks=[], starttls=pem.as_settings(), listeners=[listener])
    proxy = ["--proxy-version", "1", "--proxy-family", "TCP4", "--proxy-source", "192.0.2.7"]
    ends = ["--proxy-source-port", "40000", "--proxy-dest", "198.51.100.1", "--proxy-dest-port", "25"]
    async with open_house(handler, settings, users=[GLPI]) as house:
        status, said = await swaks(
            house.address, *proxy, *ends, "--auth", "PLAIN", "--auth-user", "glpi", "--auth-password", "ouvre-toi"
        )

    assert status != 0
    assert "AUTH PLAIN" not in said.replace("250-AUTH", "")
    assert not handler.begun


async def test_swaks_waits_for_the_banner_as_strangers_must() -> None:
    handler = RememberingHandler()
    async with open_house(handler, smtp_settings(networks=[], greeting_delay_s=0.5)) as house:
        status, said = await swaks(house.address)

    assert status == 0, said
    assert len(handler.stored) == 1
