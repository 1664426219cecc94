"""docs/protocol.md §1.3: who may send. The tables are complete: every way in, every way to be wrong."""

from dataclasses import replace
from ipaddress import ip_network
from itertools import product

import pytest

from gateway.policy.accounts import Accounts, AuthMethod
from gateway.policy.sender import (
    NOT_PROVEN,
    Allowed,
    Client,
    ClientCertificate,
    Greeted,
    Network,
    NotAnOrder,
    ProvenButWrong,
    Stranger,
    check_key,
    greet_sender,
    is_proven,
    prove_client,
)
from gateway.protocol.codes import Code
from gateway.protocol.mime import Headers
from tests.support.accounts import make_account

LISTENER: tuple[Network, ...] = (ip_network("127.0.0.0/8"), ip_network("::1/128"))

OPEN = make_account(name="open", keyid="key-open", domains=("open.fr", "shared.fr", "*.open.fr"))
OWN = make_account(
    name="own", keyid="key-own", domains=("own.fr", "shared.fr"), networks=("10.1.0.0/16", "2001:db8:1::/48")
)
LOGIN = make_account(name="login", keyid="key-login", domains=("login.fr",), auth=("smtp_auth",))
FENCED = make_account(
    name="fenced", keyid="key-fenced", domains=("fenced.fr",), auth=("network",), networks=("10.2.0.0/16",)
)
ACCOUNTS = Accounts([OPEN, OWN, LOGIN, FENCED])


def headers(
    from_address: str | None = "alerte@open.fr", *, problem: str | None = None, auto_submitted: bool = False
) -> Headers:
    return Headers(
        message_id=None,
        from_address=from_address,
        from_count=0 if from_address is None else 1,
        from_problem=problem,
        auto_submitted=auto_submitted,
        is_bounce=False,
    )


def client(peer: str = "127.0.0.1", *, login: str | None = None) -> Client:
    return Client(peer=peer, networks=LISTENER, authenticated_account=login)


@pytest.mark.parametrize(
    ("peer", "login", "proven"),
    [
        # account without networks of its own: those of the listener
        ("127.0.0.1", None, {"open": "network"}),
        ("::1", None, {"open": "network"}),
        ("::ffff:127.0.0.1", None, {"open": "network"}),
        # account with networks: these, and the listener's no more
        ("10.1.2.3", None, {"own": "network"}),
        ("::ffff:10.1.2.3", None, {"own": "network"}),
        ("2001:db8:1::5", None, {"own": "network"}),
        ("2001:db8:2::5", None, {}),
        ("10.2.0.9", None, {"fenced": "network"}),
        ("10.3.0.1", None, {}),
        ("fe80::1%eth0", None, {}),
        ("unix:/run/relay", None, {}),
        ("", None, {}),
        # authenticated: for that account only, from anywhere, if the account lists it
        ("192.0.2.1", "login", {"login": "smtp_auth"}),
        ("192.0.2.1", "open", {"open": "smtp_auth"}),
        ("192.0.2.1", "own", {"own": "smtp_auth"}),
        ("192.0.2.1", "fenced", {}),
        ("192.0.2.1", "nobody", {}),
        ("127.0.0.1", "login", {"open": "network", "login": "smtp_auth"}),
        ("127.0.0.1", "open", {"open": "network"}),
    ],
)
def test_client_is_proven_for_each_account_by_itself(peer: str, login: str | None, proven: dict[str, str]) -> None:
    proofs = {account.name: prove_client(client(peer, login=login), account) for account in ACCOUNTS}

    assert {name: proof.value for name, proof in proofs.items() if proof} == proven
    assert is_proven(client(peer, login=login), ACCOUNTS) is bool(proven)


SCANNER = ClientCertificate(fingerprint="ab" * 32, names=frozenset({"scanner.shown.fr", "mail@shown.fr"}))


@pytest.mark.parametrize(
    ("wanted", "auth", "is_enough"),
    [
        (("AB:" * 31 + "AB",), ("tls_client_cert",), True),
        (("ab" * 32,), ("tls_client_cert",), True),
        (("Scanner.shown.fr",), ("tls_client_cert",), True),
        (("mail@shown.fr",), ("network", "tls_client_cert"), True),
        (("cd" * 32, "shown.fr", "r.shown.fr"), ("tls_client_cert",), False),
        ((), ("tls_client_cert",), False),
        (("ab" * 32,), ("network", "smtp_auth"), False),
    ],
)
def test_certificate_proves_the_accounts_that_name_it(
    wanted: tuple[str, ...], auth: tuple[str, ...], *, is_enough: bool
) -> None:
    account = make_account(auth=auth, client_certificates=wanted)
    stranger = Client(peer="192.0.2.1", networks=LISTENER)
    shown = replace(stranger, certificate=SCANNER)

    assert prove_client(stranger, account) is None
    assert prove_client(shown, account) is (AuthMethod.TLS_CLIENT_CERT if is_enough else None)


def greet(
    who: Client, what: Headers, envelope_from: str = "relay@elsewhere.example", *, accounts: Accounts = ACCOUNTS
) -> object:
    return greet_sender(who, what, envelope_from, accounts) if is_proven(who, accounts) else NOT_PROVEN


def test_proven_client_with_a_domain_of_somebody_here_is_greeted() -> None:
    assert greet(client(), headers("alerte@open.fr")) == Greeted(client=client(), domain="open.fr", owners=(OPEN,))
    assert greet(client(), headers("alerte@shared.fr")) == Greeted(
        client=client(), domain="shared.fr", owners=(OPEN, OWN)
    )
    assert greet(client(), headers("a@mail.open.fr")) == Greeted(client=client(), domain="mail.open.fr", owners=(OPEN,))


def test_mail_without_from_is_judged_by_its_envelope_sender() -> None:
    assert greet(client(), headers(None), "script@OWN.fr") == Greeted(client=client(), domain="own.fr", owners=(OWN,))


@pytest.mark.parametrize(
    ("who", "what", "envelope_from", "cause"),
    [
        (client("10.3.0.1"), headers(), "a@open.fr", "the client is not proven for any account"),
        (client("10.3.0.1"), headers(auto_submitted=True), "", "the client is not proven for any account"),
        (client(), headers("a@stranger.fr"), "a@open.fr", "From: domain of no account"),
        (client(), headers("a@sub.own.fr"), "a@own.fr", "From: domain of no account"),
        (client(), headers("a@"), "a@open.fr", "From: malformed address"),
        (client(), headers(None, problem="two From headers"), "a@open.fr", "From: two From headers"),
        (client(), headers(None), "a@stranger.fr", "envelope sender, no From: domain of no account"),
        (client(), headers(None), '"a b"@open.fr', "envelope sender, no From: malformed address"),
    ],
)
def test_anybody_else_is_a_stranger(who: Client, what: Headers, envelope_from: str, cause: str) -> None:
    assert greet(who, what, envelope_from) == Stranger(cause=cause)


@pytest.mark.parametrize("envelope_from", ["", "<>"])
def test_null_sender_is_never_an_order(envelope_from: str) -> None:
    assert greet(client(), headers(), envelope_from) == NotAnOrder(cause="A bounce (null sender) is not an order")


def test_automatic_answer_is_never_an_order() -> None:
    expected = NotAnOrder(cause="An automatic answer (Auto-Submitted) is not an order")

    assert greet(client(), headers(auto_submitted=True)) == expected


def test_mail_that_a_program_wrote_by_itself_is_an_order_where_the_account_says_so() -> None:
    generated = replace(headers(), auto_generated=True)
    willing = OPEN.model_copy(update={"auto_generated": True})

    assert greet(client(), generated, accounts=Accounts([willing])) == Greeted(
        client=client(), domain="open.fr", owners=(willing,)
    )
    refused = greet(client(), generated)
    assert isinstance(refused, NotAnOrder)
    assert refused.cause.endswith("an account with auto_generated = true")


CLIENTS = {
    "listener": client("127.0.0.1"),
    "own": client("10.1.2.3"),
    "fenced": client("10.2.0.9"),
    "login": client("192.0.2.1", login="login"),
}
KEYS = {"open": "key-open", "own": "key-own", "login": "key-login", "fenced": "key-fenced"}
PROVEN_FOR = {"listener": {"open"}, "own": {"own"}, "fenced": {"fenced"}, "login": {"login"}}
OWNERS = {
    "open.fr": {"open"},
    "own.fr": {"own"},
    "login.fr": {"login"},
    "fenced.fr": {"fenced"},
    "shared.fr": {"open", "own"},
}


@pytest.mark.parametrize(("who", "key", "domain"), list(product(CLIENTS, [None, "", "wrong", *KEYS], OWNERS)))
def test_key_client_and_domain_must_be_of_one_account(who: str, key: str | None, domain: str) -> None:
    greeted = greet(CLIENTS[who], headers(f"a@{domain}"))
    assert isinstance(greeted, Greeted)
    outcome = check_key(greeted, KEYS.get(key or "", key), ACCOUNTS)

    if not key:
        expected: Code | None = Code.C1_KEY_EMPTY
    elif key not in KEYS:
        expected = Code.C3_KEY_UNKNOWN
    elif key not in PROVEN_FOR[who]:
        expected = Code.C14_ADDRESS_NOT_ALLOWED
    elif key not in OWNERS[domain]:
        expected = Code.C30_DOMAIN_NOT_ALLOWED
    else:
        expected = None
    if isinstance(outcome, Allowed):
        assert (expected, outcome.account.name) == (None, key)
    else:
        assert isinstance(outcome, ProvenButWrong)
        assert outcome.code == expected
        assert outcome.account.name in OWNERS[domain]  # reports are judged by the owner of the domain (§8.4)


def test_proof_is_told() -> None:
    by_network = greet(client("10.1.2.3"), headers("a@own.fr"))
    by_login = greet(client("192.0.2.1", login="own"), headers("a@own.fr"))
    assert isinstance(by_network, Greeted)
    assert isinstance(by_login, Greeted)

    assert check_key(by_network, "key-own", ACCOUNTS) == Allowed(account=OWN, proof=AuthMethod.NETWORK)
    assert check_key(by_login, "key-own", ACCOUNTS) == Allowed(account=OWN, proof=AuthMethod.SMTP_AUTH)


@pytest.mark.parametrize(
    ("peer", "key", "expected"),
    [
        ("10.1.2.3", None, "own"),  # the one that knows the client
        ("10.1.2.3", "key-open", "open"),  # the one whose key it is
        ("127.0.0.1", None, "open"),
        ("10.2.0.9", None, "open"),  # nobody's client: the first
        ("10.2.0.9", "key-fenced", "open"),  # the key's account has no part in this domain
    ],
)
def test_one_owner_of_a_shared_domain_answers(peer: str, key: str | None, expected: str) -> None:
    greeted = greet(client(peer), headers("a@shared.fr"))
    assert isinstance(greeted, Greeted)
    outcome = check_key(greeted, key, ACCOUNTS)

    assert isinstance(outcome, ProvenButWrong)
    assert outcome.account.name == expected


def test_each_wrong_has_its_own_sentence() -> None:
    greeted = greet(client("10.1.2.3"), headers("a@open.fr"))
    assert isinstance(greeted, Greeted)
    outcomes = [check_key(greeted, key, ACCOUNTS) for key in ("", "wrong", "key-open", "key-own")]

    assert [outcome.cause for outcome in outcomes if isinstance(outcome, ProvenButWrong)] == [
        "the <keyid> is missing or empty",
        "the <keyid> is not known",
        "the account of this <keyid> does not accept this client",
        "the sender's domain does not belong to the account of this <keyid>",
    ]
