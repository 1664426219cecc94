"""docs/protocol.md §10.1: one key in force, and one before it while clients are being given the new one."""

from itertools import permutations

import pytest
from pydantic import SecretStr, ValidationError

from gateway.policy.accounts import Accounts, AuthMethod
from gateway.policy.keys import KeyOwner, KeyRing
from gateway.policy.sender import Allowed, Client, Greeted, InClear, check_key
from tests.support.accounts import make_account

ROTATING = make_account(name="rotating", keyid="key-new", previous_keyid="key-old", domains=("rotating.fr",))
OTHER = make_account(name="other", keyid="key-other", domains=("other.fr",))
ACCOUNTS = Accounts([ROTATING, OTHER])
CLIENT = Client(peer="127.0.0.1", networks=(), authenticated_account="rotating")


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("key-new", KeyOwner(name="rotating", is_previous=False)),
        ("key-old", KeyOwner(name="rotating", is_previous=True)),
        ("key-other", KeyOwner(name="other", is_previous=False)),
        ("key-older", None),
        ("key-ol", None),
        ("", None),
        ("\udce9", None),
    ],
)
def test_both_keys_of_an_account_are_known_and_told_apart(key: str, expected: KeyOwner | None) -> None:
    assert ACCOUNTS.find_key(key) == expected


@pytest.mark.parametrize(("key", "is_previous"), [("key-new", False), ("key-old", True)])
def test_mail_is_allowed_with_either_and_says_with_which(key: str, *, is_previous: bool) -> None:
    verdict = check_key(Greeted(client=CLIENT, domain="rotating.fr", owners=(ROTATING,)), key, ACCOUNTS)

    assert verdict == Allowed(account=ROTATING, proof=AuthMethod.SMTP_AUTH, has_previous_key=is_previous)


@pytest.mark.parametrize("same", list(permutations(["keyid", "previous_keyid"])))
def test_no_key_is_two_accounts_whether_present_or_previous(same: tuple[str, str]) -> None:
    values = {"keyid": "k1", "previous_keyid": "k2"}
    other = make_account(name="other", **{"keyid": "k3", "previous_keyid": "k4", same[0]: values[same[1]]})

    with pytest.raises(ValueError, match='accounts "one" and "other" have the same key'):
        Accounts([make_account(name="one", **values), other])


def test_previous_key_must_be_another_one() -> None:
    with pytest.raises(ValueError, match='account "one": keyid and previous_keyid are the same key'):
        Accounts([make_account(name="one", keyid="k", previous_keyid="k")])


def test_previous_key_that_was_not_read_is_an_error() -> None:
    account = make_account(name="one", previous_keyid_file="one.key.previous")

    with pytest.raises(ValueError, match='the previous key of account "one" has not been read'):
        Accounts([account])


@pytest.mark.parametrize("key", ["", "with blank", "é", "x" * 129])
def test_previous_key_obeys_the_rules_of_keys_and_is_not_shown(key: str) -> None:
    with pytest.raises(ValidationError, match="a key is 1 to 128 printable ASCII characters") as caught:
        make_account(previous_keyid=SecretStr(key))

    assert not key or key not in str(caught.value)


def test_ring_finds_what_is_on_it_however_many_there_are() -> None:
    ring = KeyRing((f"key-{number}", KeyOwner(name=f"a{number}", is_previous=False)) for number in range(300))

    assert [ring.find(f"key-{number}") for number in (0, 150, 299)] == [
        KeyOwner(name=name, is_previous=False) for name in ("a0", "a150", "a299")
    ]
    assert ring.find("key-300") is None


# --- mails that must come over TLS -----------------------------------------------------------------------------------

SECURED = make_account(name="secured", keyid="key-secured", domains=("secured.fr",), require_tls=True)


@pytest.mark.parametrize("is_encrypted", [True, False])
def test_account_that_requires_tls_takes_nothing_in_clear(*, is_encrypted: bool) -> None:
    client = Client(peer="192.0.2.7", networks=(), authenticated_account="secured", is_encrypted=is_encrypted)
    verdict = check_key(
        Greeted(client=client, domain="secured.fr", owners=(SECURED,)), "key-secured", Accounts([SECURED])
    )

    if is_encrypted:
        assert verdict == Allowed(account=SECURED, proof=AuthMethod.SMTP_AUTH)
    else:
        cause = "the account of this <keyid> takes mails over TLS alone: use STARTTLS"
        assert verdict == InClear(account=SECURED, cause=cause)
