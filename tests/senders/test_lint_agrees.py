"""What `mail2sms lint` says of each mail of docs/senders.md is what the gateway did, and it says what proved it."""

import re
from pathlib import Path

import pytest

from gateway.cli.client import Said, compose
from gateway.cli.lint import examine
from gateway.clock import SystemClock
from gateway.config import Config
from gateway.intake import Reply
from gateway.intake.findings import Findings
from tests.identity.conftest import Key
from tests.senders.document import Row, read_rows
from tests.senders.letters import write_letter
from tests.senders.test_matrix import REPLIES
from tests.senders.world import Certificates, find_keyid, load_config
from tests.support.dns import DnsServer

BEFORE_THE_MAIL = {"no TLS", "554 bare CR", "550 null sender"}
USER = re.compile(r"user (\w+)")


def say(row: Row, certificates: Certificates) -> Said:
    """Return what one says on the command line of such a client; a password that is not taken is not said."""
    is_direct, is_encrypted = row.client.startswith("127."), "TLS" in row.shows
    users = [found[1] for one in row.shows if (found := USER.fullmatch(one)) and found[1] != "visitor"]
    names = [one.removeprefix("certificate ") for one in row.shows if one.startswith("certificate ")]
    return Said(
        peer=row.client,
        listener="direct" if is_direct else "proxied",
        user=users[0] if users and (is_encrypted or is_direct) else None,
        certificate=certificates.clients[names[0]].certificate if names else None,
        is_encrypted=is_encrypted,
    )


async def lint(row: Row, config: Config, certificates: Certificates, keys: dict[str, Key]) -> Findings:
    letter = write_letter(row.sender, row.shows, find_keyid(row.key, config), keys)
    submission = compose(letter.content, letter.envelope_from, say(row, certificates), config, default="lint")
    assert not isinstance(submission, Reply), submission
    return await examine(config, submission, mode=None, now=SystemClock().now(), asks_dns=True)


@pytest.mark.slow
@pytest.mark.parametrize("is_dns_silent", [False, True])
async def test_lint_says_of_each_row_what_happened(
    database: Path, certificates: Certificates, keys: dict[str, Key], dns: DnsServer, *, is_dns_silent: bool
) -> None:
    config = load_config(database, certificates, dns, is_dns_silent=is_dns_silent)
    rows = [row for row in read_rows() if row.reply not in BEFORE_THE_MAIL and row.meets_silence is is_dns_silent]
    wrong = []
    for row in rows:
        findings = await lint(row, config, certificates, keys)
        standing = findings.standing
        held = {(one.account, one.method) for one in standing.tried if one.holds} if standing else set()
        if not re.fullmatch(REPLIES[row.reply].replace("[0-9A-Z]{20}", "ITS-ID"), str(findings.reply)):
            wrong.append(f"{row.number}: {findings.reply}")
        if row.proof is not None and (row.account, row.proof) not in held:
            wrong.append(f"{row.number}: {held}")
        if row.reply == "550 stranger" and row.account is None and held:
            wrong.append(f"{row.number}: a stranger, and {held}")

    assert rows
    assert wrong == []


WHY = (
    ("N16", "203.0.113.7 is not in the listener's networks: 10.0.0.0/8"),
    ("N20", "2001:db8:1::7 is in the account's networks"),
    ("D14", "signature 1: it covers a part of the body only (l=)"),
    ("D19", "signature 1: it is not rsa-sha256 (a=)"),
    ("D17", "signature 1: it does not sign From, Content-Type and Content-Transfer-Encoding"),
    ("D15", "it does not sign From, Content-Type and Content-Transfer-Encoding as often as they are there"),
    ("D21", "signature 1: it has run out (x=)"),
    ("D22", "signature 1: it is older than max_signature_age_s (t=)"),
    ("D23", "signature 1: its key is in testing (t=y)"),
    ("D25", "signature 1: 0 keys are at absent._domainkey.signed.fr, not one"),
    ("D26", "signature 1: 2 keys are at twice._domainkey.signed.fr, not one"),
    ("D11", "signature 1: it does not hold: what it signs was changed, its key is another, or too short"),
    ("D10", "the mail has no signature"),
    ("D8", "signature 1: its d= is not the sender's domain or above it, or not the account's"),
    ("D42", "signature 6: 5 others stand above it"),
    ("D35", "the DNS has not answered"),
    ("S11", "203.0.113.7 is not permitted by the envelope sender's domain: fail"),
    ("S20", "by the envelope sender's domain: permerror"),
    ("S15", "the envelope sender's domain permits every address"),
    ("S7", "the envelope sender's domain is not that of From:"),
    ("R3", "the relay says of no domain that it passed"),
    ("R16", "203.0.113.7 is no relay of senders.relays"),
    ("C8", "client_certificates has not the one shown (other.example; SHA-256 "),
    ("C10", "no certificate was shown"),
    ("A12", "nobody has authenticated"),
    ("X20", "a user of account login"),
    ("X1", "not looked at: network proves the client"),
)


@pytest.mark.slow
async def test_lint_says_why(database: Path, certificates: Certificates, keys: dict[str, Key], dns: DnsServer) -> None:
    config = load_config(database, certificates, dns, is_dns_silent=False)
    rows = {row.number: row for row in read_rows()}
    missed = []
    for number, expected in WHY:
        standing = (await lint(rows[number], config, certificates, keys)).standing
        assert standing is not None
        if not any(expected in one.why for one in standing.tried):
            missed.append((number, expected, [one.why for one in standing.tried]))

    assert missed == []
