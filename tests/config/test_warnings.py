"""What works and is probably not what was meant."""

from pathlib import Path

import pytest

from gateway.config import load
from tests.config.conftest import GOOD, HASH, KEYID, Load


def warnings_of(load_text: Load, text: str) -> list[str]:
    return [str(warning) for warning in load_text(text).warnings]


def test_a_good_configuration_gives_none(load_text: Load) -> None:
    assert warnings_of(load_text, GOOD) == []


def test_a_short_keyid_gives_one(load_text: Load) -> None:
    found = warnings_of(load_text, GOOD.replace(KEYID, KEYID[:20]))

    assert found == ["accounts[0].keyid: is shorter than 32 characters: easy to guess"]


@pytest.mark.parametrize(
    ("auth", "more", "expected"),
    [
        ('["network", "dkim"]', "", []),
        ('["spf"]', "", ['accounts[0].auth: "spf" is proven by everybody whose mails leave through the same provider']),
        ('["authres"]', "", ['accounts[0].auth: "authres" proves nobody: there is no relay in [[senders.relays]]']),
        ('["authres"]', '[[senders.relays]]\nnetworks = ["10.0.0.2"]\nauthserv_id = "mx.example.org"\n', []),
    ],
)
def test_a_method_that_proves_too_much_or_nobody_gives_one(
    load_text: Load, auth: str, more: str, expected: list[str]
) -> None:
    found = warnings_of(load_text, GOOD.replace("domains", f"auth = {auth}\ndomains") + more)

    assert [one[: len(start)] for one, start in zip(found, expected, strict=True)] == expected


@pytest.mark.parametrize(
    ("block", "auth", "expected"),
    [
        ('account = "masociete"', "", "users[0]: can authenticate on loopback alone"),
        ('account = "masociete"\n[smtp.starttls]\ncertificate = "c"\nkey = "k"', "", None),
        ('account = "masociete"', 'auth = ["network"]', 'users[0].account: account "masociete" does not have'),
        ("", "", "users[0].account: is absent, and so are roles: the user can neither send nor use the console"),
        ('roles = ["view"]', "", "users[0].roles: are of no use: without http.listen"),
        ('roles = ["view"]\n[http]\nlisten = "127.0.0.1:0"', "", None),
        ('roles = ["view"]\n[http]\nlisten = "[::1]:0"', "", None),
        ('roles = ["view"]\n[http]\nlisten = "localhost:0"', "", None),
        ('roles = ["view"]\n[http]\nlisten = "0.0.0.0:8025"\ntls_proxy = true', "", None),
        ('roles = ["view"]\n[http]\nlisten = "0.0.0.0:8025"', "", "http.listen: is not loopback"),
        ('roles = ["view"]\n[http]\nlisten = "gw.example.org:8025"', "", "http.listen: is not loopback"),
        (
            'account = "masociete"\n[[smtp.listeners]]\nname = "a"\nlisten = ["127.0.0.1:0"]\nauth = false',
            "",
            "users[0]: is of no use: no listener offers AUTH",
        ),
    ],
)
def test_a_user_whose_password_proves_nothing_gives_one(
    load_text: Load, block: str, auth: str, expected: str | None
) -> None:
    user = f'[[users]]\nname = "glpi"\npassword_hash = "{HASH}"\n{block}\n'

    found = warnings_of(load_text, GOOD.replace("domains", f"{auth}\ndomains") + user)

    assert [one.startswith(expected or "") for one in found] == ([True] if expected else [])


@pytest.mark.parametrize(
    ("account", "smtp", "expected"),
    [
        ('auth = ["tls_client_cert"]', "", "accounts[0].client_certificates: is empty"),
        (f'auth = ["tls_client_cert"]\nclient_certificates = ["{"ab:" * 31}AB"]', "", "no client is asked"),
        ('client_certificates = ["scanner.masociete.com"]', "", "proves nobody"),
        ("", '[smtp.starttls]\ncertificate = "c"\nkey = "k"\nclient_ca = "ca"\n', "client_ca: clients are asked"),
    ],
)
def test_a_client_certificate_that_proves_nothing_gives_one(
    load_text: Load, account: str, smtp: str, expected: str
) -> None:
    (found,) = warnings_of(load_text, GOOD.replace("domains", f"{account}\ndomains") + smtp)

    assert expected in found


def test_reading_that_takes_longer_than_a_session_waits_gives_one(load_text: Load) -> None:
    found = warnings_of(load_text, GOOD + "[reading]\ndeadline_s = 26\n")

    assert found == [
        "reading.deadline_s: twice this and patience_s exceed smtp.handler_timeout_s: what is read late is given up"
    ]


def test_a_carrier_without_a_key_of_its_own_gives_one(load_text: Load) -> None:
    found = warnings_of(load_text, GOOD.replace('kind = "sandbox"', 'kind = "isendpro"'))

    assert found == [
        "providers[0].keyid_file: is absent: the keyid of each account that uses this carrier is passed on to it"
    ]


def test_a_carrier_that_no_account_uses_gives_one(load_text: Load) -> None:
    found = warnings_of(load_text, GOOD + '[[providers]]\nname = "spare"\nkind = "sandbox"\n')

    assert found == ["providers[1]: is not used by any account"]


@pytest.mark.parametrize(("mode", "count"), [(0o644, 1), (0o640, 0), (0o600, 0)])
def test_a_file_with_secrets_that_everybody_can_read_gives_one(tmp_path: Path, mode: int, count: int) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(GOOD)
    file.chmod(mode)

    warnings = load(file, environ={}).warnings

    assert [warning.path for warning in warnings] == [str(file)] * count


def test_a_file_without_secrets_may_be_read_by_everybody(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(GOOD.replace(f'keyid = "{KEYID}"', 'keyid_file = "client.key"'))
    file.chmod(0o644)
    key = tmp_path / "client.key"
    key.write_text(KEYID)
    key.chmod(0o644)

    warnings = load(file, environ={}).warnings

    assert [str(warning) for warning in warnings] == [
        f"accounts[0].keyid_file: everybody on this machine can read {key}; chmod 0600 would mend it"
    ]


def with_callbacks(http: str = "", account: str = "", provider: str = 'callback_secret = "0123456789abcdef"') -> str:
    text = GOOD.replace("[[accounts]]", f"[http]\n{http}\n[[accounts]]\n{account}", 1)
    return text.replace('kind = "sandbox"', f'kind = "sandbox"\n{provider}', 1)


PUBLIC = 'listen = "127.0.0.1:0"\npublic_url = "https://gw.example.org"'


def test_callbacks_that_can_come_give_none(load_text: Load) -> None:
    assert warnings_of(load_text, with_callbacks(PUBLIC, 'receipts = "mail"')) == []


@pytest.mark.parametrize(
    ("http", "keys"),
    [
        ("", "public_url of [http] and listen of [http]"),
        ('listen = "127.0.0.1:0"', "public_url of [http]"),
        ('public_url = "https://gw.example.org"', "listen of [http]"),
    ],
)
def test_a_secret_for_callbacks_that_cannot_come_gives_one(load_text: Load, http: str, keys: str) -> None:
    found = warnings_of(load_text, with_callbacks(http))

    assert found == [f"providers[0].callback_secret: has no effect without {keys}: nobody calls back"]


def test_receipts_that_no_carrier_gives_give_one(load_text: Load) -> None:
    found = warnings_of(load_text, with_callbacks(PUBLIC, 'receipts = "mail"', provider=""))

    assert found == [
        "accounts[0].receipts: asks for what none of its carriers says: none has a callback_secret that takes effect"
    ]


def test_a_previous_secret_alone_gives_one(load_text: Load) -> None:
    (found,) = warnings_of(load_text, with_callbacks(PUBLIC, provider='previous_callback_secret = "0123456789abcdef"'))

    assert found.startswith("providers[0].previous_callback_secret: stands without callback_secret")


def test_secrets_in_the_clear_give_one(load_text: Load) -> None:
    found = warnings_of(load_text, with_callbacks(PUBLIC.replace("https", "http")))

    assert found == ["http.public_url: is http: the secrets of callbacks can be read on their way; write https"]


def test_a_short_previous_keyid_gives_one(load_text: Load) -> None:
    found = warnings_of(load_text, GOOD.replace("domains", 'previous_keyid = "short"\ndomains'))

    assert found == ["accounts[0].previous_keyid: is shorter than 32 characters: easy to guess"]


def test_an_account_that_requires_tls_where_there_is_none_gives_one(load_text: Load) -> None:
    found = warnings_of(load_text, GOOD.replace("domains", "require_tls = true\ndomains"))

    assert len(found) == 1
    assert found[0].startswith("accounts[0].require_tls: is true, and there is no certificate (smtp.starttls)")
