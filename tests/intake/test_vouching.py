"""docs/protocol.md §1.3: clients from anywhere, whose mails others vouch for."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from ipaddress import ip_network

import pytest

from gateway.identity.settings import SenderSettings
from gateway.identity.vouching import Vouching
from gateway.intake import Intake
from gateway.policy.accounts import Accounts
from tests.identity.conftest import Key, make_key, sign
from tests.intake.conftest import Desk, write_envoi, write_mail
from tests.support.accounts import make_account
from tests.support.clock import ManualClock
from tests.support.dns import SERVFAIL, DnsServer, dns_server

ABROAD = "192.0.2.1"
NAME = "s1._domainkey.masociete.com"
STRANGER = "550 5.7.1 You may not send SMS through this gateway"
LATER = "451 4.4.3 Who you are cannot be found out at the moment, try again later"
OURS = (b"from", b"message-id", b"content-type", b"content-transfer-encoding")


@pytest.fixture(scope="module")
def key() -> Key:
    return make_key(2_048)


@pytest.fixture
async def dns() -> AsyncIterator[DnsServer]:
    async with dns_server() as server:
        yield server


@pytest.fixture
def intake(desk: Desk, dns: DnsServer) -> Intake:
    """A stage with an account that goes by signatures, and one whose network is trusted, with a domain in common."""
    accounts = Accounts(
        [
            make_account(auth=("dkim", "smtp_auth"), domains=("masociete.com", "shared.fr")),
            make_account(
                name="near", keyid="near-key", auth=("network",), domains=("shared.fr",), networks=("10.0.0.0/8",)
            ),
        ]
    )
    settings = SenderSettings.model_validate({"dns_servers": [dns.server], "dns_timeout_s": 0.3})
    clock = ManualClock(datetime.now(UTC))  # noqa: TID251 - dkimpy looks at the machine's clock, too
    return desk.intake(accounts=accounts, vouching=Vouching(settings, clock, needs_dns=True))


def signed(key: Key, **elements: str) -> bytes:
    return sign(write_mail(write_envoi(**elements)), key, headers=OURS)


async def test_signed_mail_is_taken_from_anywhere(desk: Desk, intake: Intake, dns: DnsServer, key: Key) -> None:
    dns.add(NAME, "TXT", key.record)

    reply = await desk.submit(signed(key), intake=intake, peer=ABROAD)

    assert reply.code == 250
    assert desk.rows("SELECT account, proof FROM mail") == [("masociete", "dkim")]


async def test_signature_never_makes_up_for_the_key(desk: Desk, intake: Intake, dns: DnsServer, key: Key) -> None:
    dns.add(NAME, "TXT", key.record)

    reply = await desk.submit(signed(key, keyid="wrong"), intake=intake, peer=ABROAD)

    assert str(reply).startswith("550 5.7.1 Refused with code 3")
    assert desk.rows("SELECT count(*) FROM sms") == [(0,)]


async def test_unsigned_mail_from_anywhere_is_a_strangers(desk: Desk, intake: Intake, dns: DnsServer) -> None:
    reply = await desk.submit(write_mail(write_envoi()), intake=intake, peer=ABROAD)

    assert str(reply) == STRANGER
    assert desk.rows("SELECT count(*) FROM refusal") == [(0,)]
    assert dns.asked == {}


async def test_mail_from_a_domain_of_nobody_asks_nothing(desk: Desk, intake: Intake, dns: DnsServer, key: Key) -> None:
    content = sign(
        write_mail(write_envoi(), sender="a@elsewhere.example"), key, domain="elsewhere.example", headers=OURS
    )

    assert str(await desk.submit(content, intake=intake, peer=ABROAD)) == STRANGER
    assert dns.asked == {}


async def test_silent_dns_makes_the_mail_come_back(desk: Desk, intake: Intake, dns: DnsServer, key: Key) -> None:
    dns.break_name(NAME, "TXT", SERVFAIL)

    assert str(await desk.submit(signed(key), intake=intake, peer=ABROAD)) == LATER
    assert desk.rows("SELECT count(*) FROM refusal") == [(0,)]
    dns.add(NAME, "TXT", key.record)
    assert (await desk.submit(signed(key), intake=intake, peer=ABROAD)).code == 250


async def test_silent_dns_is_no_reason_to_refuse_a_client_that_another_account_trusts(
    desk: Desk, intake: Intake, dns: DnsServer, key: Key
) -> None:
    name = "s1._domainkey.shared.fr"
    content = sign(write_mail(write_envoi(), sender="a@shared.fr"), key, domain="shared.fr", headers=OURS)
    facts = {"peer": "10.0.0.1", "networks": (ip_network("10.0.0.0/8"),)}
    dns.break_name(name, "TXT", SERVFAIL)

    assert str(await desk.submit(content, intake=intake, **facts)) == LATER
    dns.zone.clear()
    assert "code 14" in str(await desk.submit(content, intake=intake, **facts))


async def test_client_that_is_proven_already_asks_nothing(desk: Desk, intake: Intake, dns: DnsServer, key: Key) -> None:
    reply = await desk.submit(signed(key), intake=intake, peer=ABROAD, authenticated_account="masociete")

    assert reply.code == 250
    assert dns.asked == {}


async def test_mail_whose_headers_cannot_be_read_is_a_strangers(desk: Desk, intake: Intake) -> None:
    reply = await desk.submit(b"X: " + b"y" * 100_000 + b"\r\n\r\n", intake=intake, peer=ABROAD)

    assert str(reply) == STRANGER
