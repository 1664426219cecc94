"""DKIM: one aligned signature that holds, and every trick that dkimpy alone would fall for."""

import re
from datetime import timedelta

import pytest

from gateway.policy.accounts import Account
from tests.identity.conftest import LETTER, Key, make_key, proof_of, sign
from tests.support.accounts import make_account
from tests.support.clock import ManualClock
from tests.support.dns import SERVFAIL, SILENT, DnsServer

NAME = "s1._domainkey.masociete.com"


async def test_signature_of_the_senders_domain_proves_it(dns: DnsServer, clock: ManualClock, key: Key) -> None:
    dns.add(NAME, "TXT", key.record)

    assert await proof_of(sign(LETTER, key), dns, clock) == "dkim"
    assert dns.asked == {NAME: 1}


@pytest.mark.parametrize(
    ("sender", "domain", "domains", "expected"),
    [
        ("mail.masociete.com", "masociete.com", ("masociete.com", "*.masociete.com"), "dkim"),  # a parent, and listed
        ("mail.masociete.com", "masociete.com", ("mail.masociete.com",), None),  # a parent that is not the account's
        ("masociete.com", "mail.masociete.com", ("masociete.com", "*.masociete.com"), None),  # below the sender's
        ("masociete.com", "elsewhere.example", ("masociete.com",), None),
        ("masociete.com", "ciete.com", ("masociete.com", "ciete.com"), None),  # not a parent, only its end
        ("masociete.com", "MaSociete.com", ("masociete.com",), "dkim"),
    ],
)
async def test_signature_must_be_aligned_and_its_domain_the_accounts(
    dns: DnsServer,
    clock: ManualClock,
    key: Key,
    *,
    sender: str,
    domain: str,
    domains: tuple[str, ...],
    expected: str | None,
) -> None:
    dns.add(f"s1._domainkey.{domain.lower()}", "TXT", key.record)
    content = sign(LETTER.replace(b"masociete.com", sender.encode()), key, domain=domain)
    account = make_account(auth=("dkim",), domains=domains)

    assert await proof_of(content, dns, clock, account=account) == expected


def change_body(content: bytes) -> bytes:
    return content.replace(b"0601020304", b"0699999999")


def append(content: bytes) -> bytes:
    return content + b"<envoi>more</envoi>\r\n"


def change_sender(content: bytes) -> bytes:
    return content.replace(b"From: Alerte <alerte@", b"From: Chef <chef@")


def add_content_type(content: bytes) -> bytes:
    return b"Content-Type: multipart/mixed; boundary=x\r\n" + content


def change_signature(content: bytes) -> bytes:
    return re.sub(rb"( b=).{4}", rb"\1AAAA", content, count=1)


@pytest.mark.parametrize("tamper", [change_body, append, change_sender, add_content_type, change_signature])
async def test_what_was_changed_proves_nothing(dns: DnsServer, clock: ManualClock, key: Key, tamper: object) -> None:
    dns.add(NAME, "TXT", key.record)
    assert callable(tamper)

    assert await proof_of(tamper(sign(LETTER, key)), dns, clock) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"length": True},
        {"headers": (b"from",)},
        {"headers": (b"from", b"to", b"subject")},
        {"signature_algorithm": b"rsa-sha1"},
    ],
    ids=["l=", "From alone", "not Content-Type", "rsa-sha1"],
)
async def test_signature_that_leaves_room_proves_nothing(
    dns: DnsServer, clock: ManualClock, key: Key, changes: dict[str, object]
) -> None:
    dns.add(NAME, "TXT", key.record)

    assert await proof_of(sign(LETTER, key, **changes), dns, clock) is None  # type: ignore[arg-type]
    assert dns.asked == {}


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ("{p}", "dkim"),
        ("v=DKIM1; p={p}", "dkim"),
        ("k=rsa; h=sha1:sha256; s=email; t=s; p={p}", "dkim"),
        ("v=DKIM1; t=y; p={p}", None),
        ("v=DKIM1; t=s:y; p={p}", None),
        ("v=DKIM1; p=", None),
        ("v=DKIM1; h=sha1; p={p}", None),
        ("v=DKIM1; s=other; p={p}", None),
        ("v=DKIM2; p={p}", None),
        ("v=DKIM1; k=ed25519; p={p}", None),
        ("v=DKIM1; p=rubbish!", None),
        ("rubbish", None),
        ("v=DKIM1; p={p}; p={p}", None),
    ],
)
async def test_key_must_be_meant_for_it(
    dns: DnsServer, clock: ManualClock, key: Key, record: str, expected: str | None
) -> None:
    text = key.record if record == "{p}" else record.format(p=key.public)
    dns.add(NAME, "TXT", text.replace(";", "\\;"))

    assert await proof_of(sign(LETTER, key), dns, clock) == expected


async def test_key_in_two_records_is_none(dns: DnsServer, clock: ManualClock, key: Key) -> None:
    dns.add(NAME, "TXT", key.record, "v=DKIM1; p=other")

    assert await proof_of(sign(LETTER, key), dns, clock) is None


@pytest.mark.slow
@pytest.mark.parametrize(("bits", "expected"), [(768, None), (1_024, "dkim")])
async def test_short_key_proves_nothing(dns: DnsServer, clock: ManualClock, bits: int, expected: str | None) -> None:
    short = make_key(bits)
    dns.add(NAME, "TXT", short.record)

    assert await proof_of(sign(LETTER, short), dns, clock) == expected


@pytest.mark.parametrize(
    ("later", "expected"),
    [(timedelta(days=6), "dkim"), (timedelta(days=8), None), (timedelta(hours=-2), None)],
    ids=["six days", "eight days", "from the future"],
)
async def test_old_signature_proves_nothing(
    dns: DnsServer, clock: ManualClock, key: Key, later: timedelta, expected: str | None
) -> None:
    dns.add(NAME, "TXT", key.record)
    content = sign(LETTER, key)
    clock.advance(later.total_seconds())

    assert await proof_of(content, dns, clock) == expected


@pytest.mark.parametrize("how", [SERVFAIL, SILENT])
async def test_silence_of_the_dns_is_neither_yes_nor_no(dns: DnsServer, clock: ManualClock, key: Key, how: str) -> None:
    dns.break_name(NAME, "TXT", how)

    assert await proof_of(sign(LETTER, key), dns, clock) == "later"


async def test_all_of_it_has_one_deadline(dns: DnsServer, clock: ManualClock, key: Key) -> None:
    dns.break_name(NAME, "TXT", SILENT)

    assert await proof_of(sign(LETTER, key), dns, clock, dns_timeout_s=60, deadline_s=0.1) == "later"


async def test_key_that_is_not_there_is_a_no(dns: DnsServer, clock: ManualClock, key: Key) -> None:
    assert await proof_of(sign(LETTER, key), dns, clock) is None
    assert dns.asked == {NAME: 1}


async def test_second_signature_may_be_the_good_one(dns: DnsServer, clock: ManualClock, key: Key) -> None:
    dns.add(NAME, "TXT", key.record)
    dns.add("s1._domainkey.platform.example", "TXT", key.record)
    twice = sign(sign(LETTER, key), key, domain="platform.example")

    assert await proof_of(twice, dns, clock) == "dkim"
    assert dns.asked == {NAME: 1}


async def test_hundred_foreign_signatures_cost_no_question(dns: DnsServer, clock: ManualClock) -> None:
    one = b"DKIM-Signature: v=1; a=rsa-sha256; d=foreign.example; s=s%d; h=from; bh=AAAA; b=AAAA\r\n"
    content = b"".join(one % number for number in range(100)) + LETTER

    assert await proof_of(content, dns, clock) is None
    assert dns.asked == {}


async def test_hundred_own_signatures_cost_five_questions(dns: DnsServer, clock: ManualClock) -> None:
    one = b"DKIM-Signature: v=1; a=rsa-sha256; d=masociete.com; s=s%d; h=from:content-type; bh=AAAA; b=AAAA\r\n"
    content = b"".join(one % number for number in range(100)) + LETTER

    assert await proof_of(content, dns, clock) is None
    assert dns.asked.total() == 5


@pytest.mark.parametrize(
    "signature",
    [
        b"",
        b"v=1",
        b"a=rsa-sha256; d=masociete.com; s=s1; h=from:content-type; bh=AAAA; b=AAAA",
        b"v=1; a=rsa-sha256; d=masociete.com; s=../x; h=from:content-type; bh=AAAA; b=AAAA",
        b"v=1; a=rsa-sha256; d=masociete.com; s=s1; h=from:content-type; bh=AAAA; b=AAAA; t=soon",
        b"v=1; a=rsa-sha256; d=masociete.com; s=s1; h=from:content-type; bh=AAAA; b=AAAA; x=1",
        b"v=1; a=rsa-sha256; d=masociete.com; d=masociete.com; s=s1; h=from:content-type; bh=AAAA; b=AAAA",
        b"v=1; a=rsa-sha256; d=masoci\xe9te.com; s=s1; h=from:content-type; bh=AAAA; b=AAAA",
    ],
)
async def test_malformed_signature_costs_no_question(dns: DnsServer, clock: ManualClock, signature: bytes) -> None:
    assert await proof_of(b"DKIM-Signature: " + signature + b"\r\n" + LETTER, dns, clock) is None
    assert dns.asked == {}


@pytest.mark.parametrize(
    "account",
    [
        make_account(auth=("network", "smtp_auth", "spf", "authres")),
        make_account(auth=("dkim",), domains=("other.fr",)),
    ],
)
async def test_account_that_does_not_go_by_signatures_has_none_looked_at(
    dns: DnsServer, clock: ManualClock, key: Key, account: Account
) -> None:
    dns.add(NAME, "TXT", key.record)

    assert await proof_of(sign(LETTER, key), dns, clock, account=account, envelope_from="a@else.example") is None
    assert dns.asked == {}
