"""A DNS server, keys to sign with, and the question whether an account is proven."""

import base64
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime

import dkim
import pytest

from gateway.identity.settings import SenderSettings
from gateway.identity.vouching import Letter, Vouching
from gateway.policy.accounts import Account, Accounts
from gateway.policy.sender import Client, find_claimants, may_be_proven_later, prove_client
from gateway.protocol.header_block import read_header_block
from gateway.protocol.mime import read_headers
from gateway.protocol.reading import Limits
from tests.support.accounts import make_account
from tests.support.clock import ManualClock
from tests.support.dns import DnsServer, dns_server

PEER = "192.0.2.7"
SENDER = "alerte@masociete.com"
LETTER = (
    b"From: Alerte <alerte@masociete.com>\r\nTo: sendsms@gw.example.org\r\nSubject: x\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n\r\n<envoi>\r\n<num>0601020304</num>\r\n</envoi>\r\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A private key as PEM, and its public half as it stands in the DNS."""

    private: bytes
    public: str

    @property
    def record(self) -> str:
        return f"v=DKIM1; k=rsa; p={self.public}"


def make_key(bits: int) -> Key:
    private = run_openssl("genrsa", "-traditional", str(bits))
    public = run_openssl("rsa", "-pubout", "-outform", "DER", stdin=private)
    return Key(private=private, public=base64.b64encode(public).decode())


def run_openssl(*arguments: str, stdin: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *arguments], input=stdin, capture_output=True, check=True).stdout


@pytest.fixture(scope="session")
def key() -> Key:
    return make_key(2_048)


@pytest.fixture
async def dns() -> AsyncIterator[DnsServer]:
    async with dns_server() as server:
        yield server


@pytest.fixture
def clock() -> ManualClock:
    """The machine's time: dkimpy looks at that, too."""
    return ManualClock(datetime.now(UTC))  # noqa: TID251 - as the line above says


def sign(
    content: bytes,
    key: Key,
    *,
    domain: str = "masociete.com",
    selector: str = "s1",
    headers: tuple[bytes, ...] = (b"from", b"to", b"subject", b"content-type"),
    **changes: object,
) -> bytes:
    """Return the mail with a signature on top."""
    signature = dkim.sign(
        content,
        selector.encode(),
        domain.encode(),
        key.private,
        canonicalize=(b"relaxed", b"relaxed"),
        include_headers=list(headers),
        **changes,
    )
    return bytes(signature) + content


async def proof_of(
    content: bytes,
    dns: DnsServer,
    clock: ManualClock,
    *,
    account: Account | None = None,
    envelope_from: str = SENDER,
    peer: str = PEER,
    **settings: object,
) -> str | None:
    """Return the method that proves the account, "later" when the DNS does not say, else None."""
    account = account or make_account(auth=("dkim",))
    chosen = SenderSettings.model_validate({"dns_servers": [dns.server], "dns_timeout_s": 0.3, **settings})
    block, headers = read_header_block(content, Limits()), read_headers(content)
    client = Client(peer=peer, networks=())
    claimants = find_claimants(client, headers, envelope_from, Accounts([account]))
    if claimants:
        letter = Letter(content=content, block=block, headers=headers, envelope_from=envelope_from, claimants=claimants)
        client = await Vouching(chosen, clock, needs_dns=True).ask(client, letter)
    proof = prove_client(client, account)
    if proof is not None:
        return proof.value
    return "later" if may_be_proven_later(client, account) else None
