"""Authentication-Results: believed from a listed relay, in the one place where only the relay can have written it."""

import pytest

from tests.identity.conftest import LETTER, proof_of
from tests.support.accounts import make_account
from tests.support.clock import ManualClock
from tests.support.dns import DnsServer

AUTHRES = make_account(auth=("authres",), domains=("masociete.com", "*.masociete.com"))
RELAYS = [{"networks": ["10.0.0.0/24"], "authserv_id": "MX.example.org"}]
GOOD = "mx.example.org; dkim=pass header.d=masociete.com"


async def ask(dns: DnsServer, clock: ManualClock, top: str, *, peer: str = "10.0.0.2", **relay: object) -> str | None:
    relays = [RELAYS[0] | relay]
    content = top.replace("\n", "\r\n").encode() + LETTER
    proof = await proof_of(content, dns, clock, account=AUTHRES, peer=peer, relays=relays)
    assert dns.asked == {}
    return proof


@pytest.mark.parametrize(
    "results",
    [
        GOOD,
        "MX.Example.org; dkim=pass header.d=masociete.com",
        "mx.example.org 1; dkim=pass header.d=masociete.com",
        "mx.example.org;\n\tspf=fail smtp.mailfrom=x.example;\n\tdkim=pass (a key; x) header.d=masociete.com",
        "mx.example.org; dkim=fail header.d=masociete.com; dkim=pass header.d=masociete.com",
        "mx.example.org; dmarc=pass (p=reject) header.from=masociete.com",
        'mx.example.org; dkim=pass reason="good; really" header.d=masociete.com header.i=@masociete.com header.b="a;b"',
    ],
)
async def test_relay_that_says_pass_proves_the_sender(dns: DnsServer, clock: ManualClock, results: str) -> None:
    assert await ask(dns, clock, f"Authentication-Results: {results}\n") == "authres"


@pytest.mark.parametrize(
    "results",
    [
        "mx.example.org; dkim=fail header.d=masociete.com",
        "mx.example.org; dkim=none header.d=masociete.com",
        "mx.example.org; dkim=pass header.d=elsewhere.example",
        "mx.example.org; dkim=pass header.d=ciete.com",
        "mx.example.org; dkim=pass header.d=mail.masociete.com",
        "mx.example.org; dkim=pass header.i=@masociete.com",
        "mx.example.org; dkim=pass",
        "mx.example.org; dkim=passed header.d=masociete.com",
        "mx.example.org; spf=pass smtp.mailfrom=masociete.com",
        "mx.example.org; dmarc=pass header.d=masociete.com",
        "mx.example.org; arc=pass header.d=masociete.com",
        "mx.example.org; dkim=fail header.d=x.example (dkim=pass header.d=masociete.com)",
        'mx.example.org; dkim=fail reason="; dkim=pass header.d=masociete.com" header.d=x.example',
        "mx.example.org; dkim=pass header.d=x.example header.d=masociete.com",
        "mx.example.org; dkim=pass header.d=masociete.com rubbish",
        "mx.example.org; none",
        "mx.example.org",
        "other.example.org; dkim=pass header.d=masociete.com",
        "(mx.example.org); dkim=pass header.d=masociete.com",
        "",
    ],
)
async def test_anything_else_proves_nothing(dns: DnsServer, clock: ManualClock, results: str) -> None:
    assert await ask(dns, clock, f"Authentication-Results: {results}\n") is None


async def test_word_counts_from_the_relay_alone(dns: DnsServer, clock: ManualClock) -> None:
    assert await ask(dns, clock, f"Authentication-Results: {GOOD}\n", peer="10.0.1.2") is None


async def test_topmost_word_of_the_relay_counts_and_no_other(dns: DnsServer, clock: ManualClock) -> None:
    forged = f"Authentication-Results: {GOOD}\n"
    real = "Authentication-Results: mx.example.org; dkim=none\n"
    foreign = "Authentication-Results: other.example; dkim=fail header.d=masociete.com\n"

    assert await ask(dns, clock, real + forged) is None
    assert await ask(dns, clock, foreign + forged) == "authres"


@pytest.mark.parametrize(
    ("received", "received_above", "expected"),
    [(0, 1, "authres"), (1, 1, "authres"), (2, 1, None), (2, 2, "authres"), (1, 0, None)],
)
async def test_word_must_stand_where_only_the_relay_writes(
    dns: DnsServer, clock: ManualClock, received: int, received_above: int, expected: str | None
) -> None:
    top = "Received: from a by b; today\n" * received + f"Authentication-Results: {GOOD}\n"

    assert await ask(dns, clock, top, received_above=received_above) == expected


async def test_long_and_nested_header_is_read_in_no_time(dns: DnsServer, clock: ManualClock) -> None:
    for evil in ('x"(', '"("(', "(" * 3_000, "(()" * 1_000, '"' * 3_001, "a=b " * 1_500, "; dkim=pass" * 500):
        assert await ask(dns, clock, f"Authentication-Results: mx.example.org; dkim=pass {evil}\n") is None
