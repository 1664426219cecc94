"""Why a client is proven for an account, or not, in words for operators; decided as in `sender`."""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.policy.accounts import Account, AuthMethod
from gateway.policy.sender import Client, Network, is_vouched, is_within, prove_client

UNHEARD = "the DNS has not answered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A method of an account, and what came of it."""

    account: str
    method: AuthMethod
    holds: bool
    why: str


def explain_proofs(client: Client, account: Account, remarks: Sequence[tuple[AuthMethod, str]] = ()) -> list[Tried]:
    """Return what became of each method of the account; `remarks` are those of who asked for others' words."""
    tried = []
    for method in account.auth:
        match method:
            case AuthMethod.NETWORK:
                holds, why = _explain_network(client, account)
            case AuthMethod.SMTP_AUTH:
                holds, why = _explain_login(client, account)
            case AuthMethod.TLS_CLIENT_CERT:
                holds, why = _explain_certificate(client, account)
            case AuthMethod.AUTHRES | AuthMethod.DKIM | AuthMethod.SPF:
                holds, why = _explain_voucher(method, client, account, remarks)
        tried.append(Tried(account=account.name, method=method, holds=holds, why=why))
    return tried


def _explain_network(client: Client, account: Account) -> tuple[bool, str]:
    networks = account.networks or client.networks
    whose = "the account's" if account.networks else "the listener's"
    return is_within(client.peer, networks), (
        f"{client.peer} is in {whose} networks"
        if is_within(client.peer, networks)
        else f"{client.peer} is not in {whose} networks: {_list(networks)}"
    )


def _explain_login(client: Client, account: Account) -> tuple[bool, str]:
    if client.authenticated_account is None:
        return False, "nobody has authenticated"
    if client.authenticated_account != account.name:
        return False, f"who has authenticated is a user of account {client.authenticated_account}"
    return True, "a user of the account has authenticated"


def _explain_certificate(client: Client, account: Account) -> tuple[bool, str]:
    shown = client.certificate
    if shown is None:
        return False, "no certificate was shown"
    what = ", ".join(sorted(shown.names)) or "no name"
    if shown.is_one_of(account.client_certificates):
        return True, f"client_certificates has the one shown ({what})"
    return False, f"client_certificates has not the one shown ({what}; SHA-256 {shown.fingerprint})"


def _explain_voucher(
    method: AuthMethod, client: Client, account: Account, remarks: Sequence[tuple[AuthMethod, str]]
) -> tuple[bool, str]:
    heard = sorted(one.domain for one in client.vouchers if one.method is method and account.owns_domain(one.domain))
    if heard:
        return True, f"it vouches for {', '.join(heard)}"
    if is_vouched(method, account, client.unheard):
        return False, UNHEARD
    said = [why for about, why in remarks if about is method]
    proof = prove_client(client, account)
    if proof is not None and not said:
        return False, f"not looked at: {proof.value} proves the client"
    return False, "; ".join(dict.fromkeys(said)) or "nothing can be read from the mail's headers"


def _list(networks: Sequence[Network]) -> str:
    return ", ".join(map(str, networks)) or "there are none"
