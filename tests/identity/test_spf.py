"""SPF: the envelope sender's domain permits the address, and not just any."""

import pytest

from tests.identity.conftest import LETTER, proof_of
from tests.support.accounts import make_account
from tests.support.clock import ManualClock
from tests.support.dns import SERVFAIL, SILENT, DnsServer

SPF = make_account(auth=("spf",), domains=("masociete.com", "*.masociete.com"))


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ("v=spf1 ip4:192.0.2.0/24 -all", "spf"),
        ("v=spf1 a:mail.masociete.com -all", "spf"),
        ("v=spf1 mx -all", "spf"),
        ("v=spf1 include:provider.example -all", "spf"),
        ("v=spf1 redirect=provider.example", "spf"),
        ("v=spf1 ip4:198.51.100.0/24 -all", None),
        ("v=spf1 ip4:192.0.2.7 ip4:192.0.2.7/99 -all", None),
        ("v=spf1 -ip4:192.0.2.7 +all", None),
        ("v=spf1 ~ip4:192.0.2.7 -all", None),
        ("v=spf1 ?ip4:192.0.2.7 -all", None),
        ("v=spf1 +all", None),
        ("v=spf1 all", None),
        ("v=spf1 ip4:0.0.0.0/0 -all", None),
        ("v=spf1 include:open.example -all", None),
        ("v=spf1 include:masociete.com -all", None),
        ("v=spf1 nonsense -all", None),
        ("not spf", None),
    ],
)
async def test_envelope_domain_permits_the_address(
    dns: DnsServer, clock: ManualClock, record: str, expected: str | None
) -> None:
    dns.add("masociete.com", "TXT", record)
    dns.add("masociete.com", "MX", "10 mail.masociete.com.")
    dns.add("mail.masociete.com", "A", "192.0.2.7")
    dns.add("provider.example", "TXT", "v=spf1 ip4:192.0.2.0/28 -all")
    dns.add("open.example", "TXT", "v=spf1 +all")

    assert await proof_of(LETTER, dns, clock, account=SPF) == expected


@pytest.mark.parametrize(
    ("sender", "envelope_from", "expected"),
    [
        ("masociete.com", "bounce@masociete.com", "spf"),
        ("mail.masociete.com", "bounce@masociete.com", "spf"),
        ("masociete.com", "bounce@mail.masociete.com", None),
        ("masociete.com", "bounce@platform.example", None),
        ("masociete.com", "bounce@ciete.com", None),
    ],
)
async def test_envelope_sender_must_be_aligned(
    dns: DnsServer, clock: ManualClock, sender: str, envelope_from: str, expected: str | None
) -> None:
    dns.add(envelope_from.partition("@")[2], "TXT", "v=spf1 ip4:192.0.2.7 -all")
    content = LETTER.replace(b"alerte@masociete.com", f"alerte@{sender}".encode())

    assert await proof_of(content, dns, clock, account=SPF, envelope_from=envelope_from) == expected
    assert bool(dns.asked) is (expected is not None)


@pytest.mark.parametrize("how", [SERVFAIL, SILENT])
async def test_silence_of_the_dns_is_neither_yes_nor_no(dns: DnsServer, clock: ManualClock, how: str) -> None:
    dns.break_name("masociete.com", "TXT", how)

    assert await proof_of(LETTER, dns, clock, account=SPF) == "later"


async def test_address_of_another_client_proves_nothing(dns: DnsServer, clock: ManualClock) -> None:
    dns.add("masociete.com", "TXT", "v=spf1 ip6:2001:db8::/32 -all")

    assert await proof_of(LETTER, dns, clock, account=SPF, peer="2001:db8::7") == "spf"
    assert await proof_of(LETTER, dns, clock, account=SPF, peer="2001:db9::7") is None
