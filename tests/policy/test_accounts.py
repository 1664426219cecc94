"""docs/protocol.md §10.1: account blocks are checked when they are read."""

from ipaddress import ip_network

import pytest
from pydantic import SecretStr, ValidationError

from gateway.policy.accounts import Account, Accounts, Priority
from gateway.policy.keys import KeyOwner
from tests.support.accounts import KEYID, make_account


@pytest.mark.parametrize(
    ("settings", "where", "sentence"),
    [
        ({"domains": ()}, "domains", "write at least one"),
        ({"domains": ("a b",)}, "domains.0", '"a b" is not a domain: write "example.org", or "*.example.org"'),
        ({"domains": ("a.fr", "*.")}, "domains.1", '"*." is not a domain'),
        ({"domains": ("*",)}, "domains.0", '"*" is not a domain'),
        ({"domains": ("b.*.fr",)}, "domains.0", '"b.*.fr" is not a domain'),
        ({"domains": ("ack@a.fr",)}, "domains.0", "is not a domain"),
        ({"report_domains": ("@a.fr",)}, "report_domains.0", "is not a domain"),
        ({"originators": ("Ma-Societe",)}, "originators.0", '"Ma-Societe" is not a sender name: 4 to 11 letters'),
        ({"originators": ("0601020304",)}, "originators.0", "not digits alone"),
        ({"countries": ("UK",)}, "countries.0", '"UK" is not a country: write its two letters, as in "FR"'),
        ({"timezone": "Europe/Pariss"}, "timezone", '"Europe/Pariss" is not a time zone this machine knows'),
        ({"timezone": "../etc/passwd"}, "timezone", "is not a time zone"),
        ({"timezone": "Europe"}, "timezone", "is not a time zone"),
        ({"holidays_subdivision": "67"}, "holidays_subdivision", '"67" has no public holidays of its own'),
        ({"holidays_subdivision": "Zone A"}, "holidays_subdivision", "write one of 57, 6AE"),
        ({"networks": ("10.0.0.1/8",)}, "networks.0", '"10.0.0.1/8" is an address in a network: write "10.0.0.0/8"'),
        ({"networks": ("10.0.0.0/33",)}, "networks.0", '"10.0.0.0/33" is not a network: write one like'),
        ({"networks": ("0.0.0.0/0",)}, "networks.0", '"0.0.0.0/0" is the whole Internet'),
        ({"auth": ()}, "auth", "write at least one"),
        (
            {"client_certificates": ("ab:cd",)},
            "client_certificates.0",
            '"ab:cd" is neither the SHA-256 fingerprint',
        ),
        ({"client_certificates": ("",)}, "client_certificates.0", '"" is neither the SHA-256 fingerprint'),
        ({"providers": ()}, "providers", "write at least one"),
        ({"keyid": ""}, "keyid", "a key is 1 to 128 printable ASCII characters without blanks"),
        ({"keyid": "two words"}, "keyid", "without blanks"),
        ({"keyid": "clé"}, "keyid", "ASCII"),
        ({"keyid": "k" * 129}, "keyid", "1 to 128"),
        ({"keyid": None}, "", "a key is missing: write keyid_file, or keyid"),
        ({"default_smslong": 3, "max_smslong": 2}, "", "default_smslong is more than max_smslong"),
        ({"outside_hours": "later"}, "outside_hours", "'refuse' or 'hold'"),
        ({"hours_profile": "af2m"}, "hours_profile", "'isendpro' or 'af2m-2026'"),
        ({"validity": 3}, "validity", "not permitted"),
    ],
)
def test_wrong_setting_is_refused_with_a_sentence(settings: dict[str, object], where: str, sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        make_account(**settings)
    (error,) = caught.value.errors()

    assert ".".join(map(str, error["loc"])) == where
    assert sentence in error["msg"]


def test_key_never_shows_in_the_sentence_about_it() -> None:
    with pytest.raises(ValidationError) as caught:
        make_account(keyid="secret with blanks")

    assert "secret with blanks" not in str(caught.value)


def test_domains_become_lower_case_ascii() -> None:
    account = make_account(domains=("MaSociete.COM", "*.Bücher.example"))

    assert account.domains == ("masociete.com", "*.xn--bcher-kva.example")


def test_networks_are_read_with_or_without_their_length() -> None:
    account = make_account(networks=("10.0.0.0/8", "192.0.2.1", "2001:db8::/32", ip_network("127.0.0.0/8")))

    assert list(map(str, account.networks)) == ["10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32", "127.0.0.0/8"]


def test_certificates_are_named_by_fingerprint_or_by_what_stands_in_them() -> None:
    account = make_account(client_certificates=("AB:" * 31 + "AB", "cd" * 32, "Scanner.Example.org", "It@example.org"))

    assert account.client_certificates == ("ab" * 32, "cd" * 32, "scanner.example.org", "it@example.org")


def test_countries_become_upper_case() -> None:
    assert make_account(countries=("fr", "BE")).countries == ("FR", "BE")


def test_key_in_a_file_is_enough_for_the_block() -> None:
    assert make_account(keyid=None, keyid_file="masociete.key").keyid is None


def test_defaults_are_the_cautious_ones() -> None:
    account = make_account()

    assert (account.outside_hours.value, account.hours_profile.value) == ("refuse", "isendpro")
    assert (account.on_unknown.value, account.nostop, account.countries) == ("hold", False, ("FR",))


@pytest.mark.parametrize(
    ("report_domains", "domain", "expected"),
    [
        ((), "masociete.com", True),
        ((), "other.fr", False),
        ((), "sub.masociete.com", False),
        (("other.fr",), "other.fr", True),
        (("other.fr",), "masociete.com", False),
        (("*.other.fr",), "mail.other.fr", True),
    ],
)
def test_reports_go_to_report_domains_or_else_to_the_domains(
    report_domains: tuple[str, ...], domain: str, expected: bool
) -> None:
    assert make_account(report_domains=report_domains).may_report_to(domain) is expected


def second(**settings: object) -> Account:
    return make_account(**({"name": "mairie", "keyid": "5f0b1d8f", "domains": ("mairie.example",)} | settings))


def test_account_is_found_by_name_key_and_domain() -> None:
    first, other = make_account(), second(domains=("mairie.example", "*.masociete.com", "masociete.com"))
    accounts = Accounts([first, other])

    assert (accounts.by_name("mairie"), accounts.by_name("nobody")) == (other, None)
    assert accounts.find_key(KEYID) == KeyOwner(name=first.name, is_previous=False)
    assert accounts.find_key("5f0b1d8f") == KeyOwner(name="mairie", is_previous=False)
    assert accounts.by_domain("masociete.com") == (first, other)
    assert accounts.by_domain("mail.masociete.com") == (other,)
    assert accounts.by_domain("nobody.fr") == ()
    assert (list(accounts), len(accounts)) == ([first, other], 2)


@pytest.mark.parametrize("keyid", ["", KEYID[:-1], KEYID + "0", KEYID.upper(), "é", "\udce9", "x" * 10_000])
def test_other_key_finds_nothing(keyid: str) -> None:
    assert Accounts([make_account()]).find_key(keyid) is None


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        ({"name": "masociete"}, 'two accounts are called "masociete"'),
        ({"keyid": SecretStr(KEYID)}, 'accounts "masociete" and "mairie" have the same key'),
        ({"keyid": None, "keyid_file": "mairie.key"}, 'the key of account "mairie" has not been read'),
    ],
)
def test_accounts_that_cannot_be_told_apart_are_refused(other: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Accounts([make_account(), second(**other)])


def test_alert_goes_before_normal_before_bulk() -> None:
    assert sorted(Priority, key=lambda one: one.rank) == [Priority.ALERT, Priority.NORMAL, Priority.BULK]


def test_contact_must_be_an_address() -> None:
    with pytest.raises(ValidationError, match="is not a mail address"):
        make_account(mail="the night shift")
