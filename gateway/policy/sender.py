"""Who may send (docs/protocol.md §1.3): a proven client, the key of an account, and a From: of that account's domains.

In steps, because the key stands in the body. Where an account lets others vouch for its senders (`authres`, `dkim`,
`spf`), `find_claimants` says from the headers whose word is worth asking for. `is_proven` asks for the client alone;
`greet_sender` says whether it may be answered in detail, before the body is; `check_key` says whether the mail is
allowed. To a stranger every cause looks the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from types import MappingProxyType
from typing import Literal, NewType, TypeGuard

from gateway.policy.accounts import Account, Accounts, AuthMethod
from gateway.policy.addresses import parse_address
from gateway.protocol.codes import Code
from gateway.protocol.mime import Headers

Network = IPv4Network | IPv6Network
WrongCode = Literal[Code.C1_KEY_EMPTY, Code.C3_KEY_UNKNOWN, Code.C14_ADDRESS_NOT_ALLOWED, Code.C30_DOMAIN_NOT_ALLOWED]

_CAUSES: Mapping[WrongCode, str] = MappingProxyType(
    {
        Code.C1_KEY_EMPTY: "the <keyid> is missing or empty",
        Code.C3_KEY_UNKNOWN: "the <keyid> is not known",
        Code.C14_ADDRESS_NOT_ALLOWED: "the account of this <keyid> does not accept this client",
        Code.C30_DOMAIN_NOT_ALLOWED: "the sender's domain does not belong to the account of this <keyid>",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCertificate:
    """What a client has proven in the TLS handshake: that it holds the key of this certificate, which was verified."""

    fingerprint: str  # SHA-256 of all of it, in lower-case hexadecimal
    names: frozenset[str]  # of hosts and mail addresses, in lower case

    def is_one_of(self, wanted: Sequence[str]) -> bool:
        """True when it is named there, by fingerprint or by a name that stands in it."""
        return any(entry == self.fingerprint or entry in self.names for entry in wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Voucher:
    """Somebody's word that a mail is from this domain: a relay's, a signature's, or the DNS's for an address.

    The domain is that of the mail's sender, or lies above it.
    """

    method: AuthMethod
    domain: str


VOUCHING = (AuthMethod.AUTHRES, AuthMethod.DKIM, AuthMethod.SPF)
"""Methods that need the mail's headers, in the order in which they are looked at: the cheapest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """What is known of who sends a mail, before its body is looked at."""

    peer: str  # address; an IPv4-mapped IPv6 address counts as the IPv4 one
    networks: Sequence[Network]  # trusted by the listener
    authenticated_account: str | None = None  # by SMTP AUTH
    certificate: ClientCertificate | None = None
    vouchers: frozenset[Voucher] = frozenset()
    unheard: frozenset[Voucher] = frozenset()  # might have been heard, had the DNS answered
    is_encrypted: bool = False  # the mail came over TLS


ProvenClient = NewType("ProvenClient", Client)
"""A client of which `is_proven` was true: there is no other way to one, which the type checker sees to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeted:
    """A proven client with a domain that somebody here owns: it may be told what is wrong with its mail."""

    client: Client
    domain: str
    owners: tuple[Account, ...]  # of the domain, in the order of the file; never empty


@dataclass(frozen=True, slots=True, kw_only=True)
class Stranger:
    """Gets one same reply for every cause, and no mail goes to anybody. `cause` is for the operator only."""

    cause: str


NOT_PROVEN = Stranger(cause="the client is not proven for any account")


@dataclass(frozen=True, slots=True, kw_only=True)
class NotAnOrder:
    """A bounce, or a mail that a robot sent in answer to another."""

    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """The mail is this account's. `proof` says what proved the client."""

    account: Account
    proof: AuthMethod
    has_previous_key: bool = False  # the one that the operator wants to take out


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenButWrong:
    """A known client with the wrong key, address or domain. `account` owns the From: domain: §8.4 is judged by it."""

    code: WrongCode
    cause: str  # one sentence, for the client too
    account: Account


@dataclass(frozen=True, slots=True, kw_only=True)
class InClear:
    """All is right but that the mail, and the key in it, came without TLS, which the account requires."""

    account: Account
    cause: str  # one sentence, for the client too


_GENERATED = (
    "A mail that a program wrote by itself (Auto-Submitted: auto-generated) is an order only for an account with "
    "auto_generated = true"
)


def greet_sender(
    client: ProvenClient, headers: Headers, envelope_from: str, accounts: Accounts
) -> Greeted | Stranger | NotAnOrder:
    """Return whether this client may be answered in detail, from what precedes the body.

    `envelope_from` is "" or "<>" for the null sender.
    """
    if envelope_from in {"", "<>"}:
        return NotAnOrder(cause="A bounce (null sender) is not an order")
    if headers.auto_submitted:
        return NotAnOrder(cause="An automatic answer (Auto-Submitted) is not an order")
    if headers.from_problem is not None:
        return Stranger(cause=f"From: {headers.from_problem}")
    sender, where = headers.from_address, "From:"
    if sender is None:  # docs/protocol.md §1.3: judged by its envelope sender
        sender, where = envelope_from, "envelope sender, no From:"
    address = parse_address(sender)
    if address is None:
        return Stranger(cause=f"{where} malformed address")
    owners = accounts.by_domain(address.domain)
    if not owners:
        return Stranger(cause=f"{where} domain of no account")
    if headers.auto_generated and not any(owner.auto_generated for owner in owners):
        return NotAnOrder(cause=_GENERATED)
    return Greeted(client=client, domain=address.domain, owners=owners)


def check_key(greeted: Greeted, keyid: str | None, accounts: Accounts) -> Allowed | ProvenButWrong | InClear:
    """Return the account the mail is allowed for, or what is wrong with it."""
    if not keyid:
        return _wrong(Code.C1_KEY_EMPTY, greeted)
    owner = accounts.find_key(keyid)
    account = None if owner is None else accounts.by_name(owner.name)
    if owner is None or account is None:
        return _wrong(Code.C3_KEY_UNKNOWN, greeted)
    proof = prove_client(greeted.client, account)
    if proof is None:
        return _wrong(Code.C14_ADDRESS_NOT_ALLOWED, greeted, account)
    if not account.owns_domain(greeted.domain):
        return _wrong(Code.C30_DOMAIN_NOT_ALLOWED, greeted)
    if account.require_tls and not greeted.client.is_encrypted:
        return InClear(account=account, cause="the account of this <keyid> takes mails over TLS alone: use STARTTLS")
    return Allowed(account=account, proof=proof, has_previous_key=owner.is_previous)


def is_proven(client: Client, accounts: Accounts) -> TypeGuard[ProvenClient]:
    """True when the client is proven for some account: it may be told more than a stranger."""
    return any(prove_client(client, account) for account in accounts)


def prove_client(client: Client, account: Account) -> AuthMethod | None:
    """Return what proves the client for this account; None: nothing does."""
    if AuthMethod.NETWORK in account.auth and is_within(client.peer, account.networks or client.networks):
        return AuthMethod.NETWORK
    if AuthMethod.SMTP_AUTH in account.auth and client.authenticated_account == account.name:
        return AuthMethod.SMTP_AUTH
    shown = client.certificate
    if AuthMethod.TLS_CLIENT_CERT in account.auth and shown and shown.is_one_of(account.client_certificates):
        return AuthMethod.TLS_CLIENT_CERT
    return next((method for method in VOUCHING if is_vouched(method, account, client.vouchers)), None)


def may_be_proven_later(client: Client, account: Account) -> bool:
    """True when the account would perhaps be proven, had the DNS answered: a mail that is to come back."""
    return any(is_vouched(method, account, client.unheard) for method in VOUCHING)


def find_claimants(client: Client, headers: Headers, envelope_from: str, accounts: Accounts) -> tuple[Account, ...]:
    """Return the accounts that own the sender's domain, are not proven yet, and let others vouch for it."""
    domain = find_sender_domain(headers, envelope_from)
    owners = () if domain is None else accounts.by_domain(domain)
    return tuple(
        owner for owner in owners if not set(VOUCHING).isdisjoint(owner.auth) and prove_client(client, owner) is None
    )


def find_sender_domain(headers: Headers, envelope_from: str) -> str | None:
    """Return the domain the mail is judged by: of its From:, or of its envelope sender when it has none (§1.3)."""
    if headers.from_problem is not None:
        return None
    address = parse_address(envelope_from if headers.from_address is None else headers.from_address)
    return None if address is None else address.domain


def is_aligned(domain: str, sender_domain: str) -> bool:
    """True when the domain is the sender's, or lies above it."""
    return sender_domain == domain or sender_domain.endswith(f".{domain}")


def is_vouched(method: AuthMethod, account: Account, vouchers: frozenset[Voucher]) -> bool:
    """True when one of them proves the account by this method."""
    if method not in account.auth:
        return False
    return any(voucher.method is method and account.owns_domain(voucher.domain) for voucher in vouchers)


def choose_owner(greeted: Greeted, key_owner: Account | None = None) -> Account:
    """Return the account that answers for the domain: the key's, else one that proves the client, else the first."""
    if key_owner in greeted.owners:
        return key_owner
    proven = (owner for owner in greeted.owners if prove_client(greeted.client, owner))
    return next(proven, greeted.owners[0])


def _wrong(code: WrongCode, greeted: Greeted, key_owner: Account | None = None) -> ProvenButWrong:
    return ProvenButWrong(code=code, cause=_CAUSES[code], account=choose_owner(greeted, key_owner))


def is_within(peer: str, networks: Sequence[Network]) -> bool:
    """True when the address lies in one of them."""
    address = _read_peer(peer)
    return address is not None and any(address in network for network in networks)


@lru_cache(maxsize=1_024)  # the same few clients, asked about several times for each mail
def _read_peer(peer: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(peer)
    except ValueError:  # a UNIX socket has no address, hence no network
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
