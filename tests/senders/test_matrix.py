"""docs/senders.md, row by row (docs/protocol.md §1.3): who may send, what strangers hear, and what the DNS is asked."""

import re
from pathlib import Path

import pytest

from tests.identity.conftest import Key
from tests.senders.dialog import NO_TLS, Outcome, look, play
from tests.senders.document import Row, read_rows
from tests.senders.world import Certificates, open_world
from tests.support.dns import DnsServer

ROWS = read_rows()
REPLIES = {
    "250": r"250 2\.0\.0 Ok: queued as [0-9A-Z]{20}",
    "451": r"451 4\.4\.3 Who you are cannot be found out at the moment, try again later",
    "550 stranger": r"550 5\.7\.1 You may not send SMS through this gateway",
    "550 in clear": r"550 5\.7\.10 Refused: the account of this <keyid> takes mails over TLS alone: use STARTTLS",
    "550 generated": (
        r"550 5\.7\.1 A mail that a program wrote by itself \(Auto-Submitted: auto-generated\) is an order only for an "
        r"account with auto_generated = true"
    ),
    "550 no order": r"550 5\.7\.1 An automatic answer \(Auto-Submitted\) is not an order",
    "550 null sender": r"550 5\.7\.1 A mail without a sender address is never an order",
    "550 code 1": r"550 5\.7\.1 Refused with code 1: the <keyid> is missing or empty",
    "550 code 3": r"550 5\.7\.1 Refused with code 3: the <keyid> is not known",
    "550 code 14": r"550 5\.7\.1 Refused with code 14: the account of this <keyid> does not accept this client",
    "550 code 30": (
        r"550 5\.7\.1 Refused with code 30: the sender's domain does not belong to the account of this <keyid>"
    ),
    "554 bare CR": r"554 5\.6\.0 Mail contains a bare CR; lines must end in CRLF",
    "no TLS": NO_TLS,
}


def test_document_has_all_its_rows_and_each_its_own_number() -> None:
    numbers = [row.number for row in ROWS]

    assert len(numbers) > 200
    assert len(set(numbers)) == len(numbers)
    assert {row.reply for row in ROWS} == set(REPLIES)
    assert {row.proof for row in ROWS} - {None} == {
        "network",
        "smtp_auth",
        "tls_client_cert",
        "authres",
        "dkim",
        "spf",
    }


@pytest.mark.parametrize("row", [pytest.param(row, id=row.number) for row in ROWS])
async def test_row_is_what_happens(
    row: Row,
    database: Path,
    certificates: Certificates,
    keys: dict[str, Key],
    dns: DnsServer,
) -> None:
    async with open_world(database, certificates, dns, is_dns_silent=row.meets_silence) as world:
        reply = await play(row, world, certificates, keys)
        outcome = look(world, reply, dns.asked.total())

    assert re.fullmatch(REPLIES[row.reply], reply), reply
    assert outcome == Outcome(reply=reply, account=row.account, proof=row.proof, not_code=row.not_code, asked=row.asked)
