"""What is wrong is said all at once, with its path, in plain words."""

from pathlib import Path

import pytest

from gateway.config import ConfigError, Document, load
from gateway.config.shape import models_in
from gateway.settings import Settings
from tests.config.conftest import GOOD, KEYID, OTHER_KEYID, Find, Load


@pytest.mark.parametrize(
    ("replaced", "by", "problem"),
    [
        ('recipients = ["sendsms', 'recipiens = ["sendsms', 'smtp.recipiens: unknown key; did you mean "recipients"?'),
        ("[smtp]", "[smtp]\nlisten = []", "smtp: listen is empty: write an address"),
        ('domains = ["masociete.com"]', "", "accounts[0].domains: is required"),
        ('hostname = "gw.example.org"', "hostname = 5", "smtp.hostname: must be text, in quotes"),
        ('hostname = "gw.example.org"', 'hostname = "a b"', "smtp.hostname: is not a well-formed hostname"),
        ("[reports]", "[reports]\ntimeout_s = 0", "reports.timeout_s: must be more than 0"),
        ("[reports]", '[reports]\ntimeout_s = "soon"', "reports.timeout_s: must be a number"),
        ("[reports]", "[reports]\nconnections = 1.5", "reports.connections: must be a whole number"),
        ("[reports]", "[reports]\nconnections = 99", "reports.connections: must be at most 50"),
        ("[smtp]", "[smtp]\nlisten = 25", "smtp.listen: must be a list"),
        ("[smtp]", "[smtp]\nmax_mail_bytes = 999999999", "smtp.max_mail_bytes: must be at most 104_857_600"),
        ("[smtp]", "[reading]\nmax_part = 9\n[smtp]", 'reading.max_part: unknown key; did you mean "max_parts"?'),
        ("[smtp]", "[reading]\nworkers = 0\n[smtp]", "reading.workers: must be at least 1"),
        (
            "[smtp]",
            "[reading]\nmax_total_text_chars = 10_000\nmax_text_chars = 20_000\n[smtp]",
            "reading: max_total_text_chars must be at least max_text_chars",
        ),
        ("[smtp]", '[log]\nlevel = "loud"\n[smtp]', 'log.level: must be one of "debug", "info", "warning" or "error"'),
        ("[smtp]", "[account]\n[smtp]", 'account: unknown section; did you mean "accounts"?'),
        ('kind = "sandbox"', 'kind = "sandbox"\nsandbox = "x"', "providers[0].sandbox: must be true or false"),
        (
            'kind = "sandbox"',
            'kind = "twilio"',
            'providers[0].kind: "twilio" is not in this version; known: "isendpro", "smspartner", "webhook", "sandbox"',
        ),
        ('kind = "sandbox"', "", "providers[0].kind: is required: it says which carrier this is"),
        (
            'kind = "sandbox"',
            'kind = "smspartner"',
            "providers[0]: a key is missing: write api_key_file, or api_key",
        ),
        ('name = "masociete"', 'name = "ma societe"', "accounts[0].name: must be made of letters, digits"),
        (
            'providers = ["carrier"]',
            'providers = ["carier"]',
            'accounts[0].providers[0]: there is no provider "carier"; did you mean "carrier"?',
        ),
        ("[smtp]", "[smtp]\nlisteners = [{}]", "smtp.listeners[0].name: is required"),
        ("[smtp]", "[smtp.starttls]\nrequired = true\n[smtp]", "smtp.starttls.certificate: is required"),
        (
            "[smtp]",
            '[senders]\ndns_servers = ["resolver.example"]\n[smtp]',
            'senders.dns_servers[0]: "resolver.example" is not the address of a DNS server',
        ),
        (
            "[[accounts]]",
            '[[smtp.listeners]]\nname = "tls"\nlisten = ["127.0.0.1:0"]\ntls = "implicit"\n[[accounts]]',
            'smtp: listener "tls" uses TLS: [smtp.starttls] with a certificate is missing',
        ),
        (
            "[[accounts]]",
            '[[users]]\nname = "a"\npassword_hash = "secret"\naccount = "masociete"\n[[accounts]]',
            "users[0].password_hash: is not a hash that can be used: `mail2sms password` makes one",
        ),
        (
            'providers = ["carrier"]',
            'providers = ["carrier"]\nroutes = [{ prefixes = ["+336"], providers = ["carier"] }]',
            'accounts[0].routes[0].providers[0]: there is no provider "carier"; did you mean "carrier"?',
        ),
        (
            'providers = ["carrier"]',
            'providers = ["carrier"]\nroutes = [{ prefixes = ["336"], providers = ["carrier"] }]',
            'accounts[0].routes[0].prefixes[0]: "336" begins no number: write a plus',
        ),
        (
            'providers = ["carrier"]',
            'providers = ["carrier"]\nroutes = [{ prefix = ["+336"], providers = ["carrier"] }]',
            'accounts[0].routes[0].prefix: unknown key; did you mean "prefixes"?',
        ),
        (
            'providers = ["carrier"]',
            'providers = ["carrier"]\nweights = { carier = 1 }',
            'accounts[0]: weights names "carier", which is not among its providers',
        ),
        (
            'providers = ["carrier"]',
            'providers = ["carrier"]\nweights = { carrier = 0 }',
            "accounts[0].weights.carrier: must be at least 1",
        ),
        (
            'name = "masociete"\n',
            'name = "masociete"\nmail = "SendSMS@gw.example.org"\n',
            "accounts[0].mail: is an address of this gateway",
        ),
        ('name = "carrier"\n', "", "providers[0].name: is required"),
        (f'keyid = "{KEYID}"', "", "accounts[0]: a key is missing: write keyid_file, or keyid"),
        (
            "[[accounts]]",
            '[[users]]\nname = "a"\npassword_hash = "x"\naccount = "maosciete"\n[[accounts]]',
            "users[0].",
        ),
    ],
)
def test_a_mistake_is_said_with_its_path(find_problems: Find, replaced: str, by: str, problem: str) -> None:
    assert replaced in GOOD
    found = find_problems(GOOD.replace(replaced, by, 1))

    assert [line for line in found if line.startswith(problem)] != [], found


@pytest.mark.parametrize(
    "smarthost", ["mail", "mail:0", "mail:65536", ":25", "my mail:25", "mail\n:25", "mail:²", "mail:٢٥"]
)
def test_a_smarthost_is_a_host_and_a_port(find_problems: Find, smarthost: str) -> None:
    found = find_problems(GOOD, overrides={"reports.smarthost": smarthost})

    assert found == ['reports.smarthost: must be "host:port" (from option reports.smarthost)']


def test_an_error_in_the_address_of_the_store_does_not_show_its_password(find_problems: Find) -> None:
    (found,) = find_problems(GOOD, overrides={"store.url": "postgresql://u:hidden@h/d"})

    assert found.startswith("store.url: holds a password")
    assert "hidden" not in found


def test_one_mistake_is_one_error(find_problems: Find) -> None:
    assert len(find_problems(GOOD.replace('"masociete.com"', ""))) == 1
    assert len(find_problems(GOOD.replace('"masociete.com"', '"a b", 5'))) == 2
    assert len(find_problems(GOOD.replace("domains", 'networks = ["x"]\ndomains'))) == 1


def test_all_mistakes_are_said_at_once(find_problems: Find) -> None:
    text = GOOD.replace("sendsms@gw.example.org", "nobody").replace('providers = ["carrier"]', 'providers = ["long"]')

    paths = [line.split(":")[0] for line in find_problems(text, environ={"MAIL2SMS_SMPT__LISTEN": "x"})]

    assert paths == ["smpt.listen", "smtp.recipients", "reports.sender", "accounts[0].providers[0]"]


def test_an_unknown_key_with_no_near_one_lists_those_there_are(find_problems: Find) -> None:
    found = find_problems(GOOD.replace("[reports]", "[reports]\nxyzzy = 1"))

    assert found == [
        "reports.xyzzy: unknown key; known here: smarthost, sender, timeout_s, connections, give_up_after_s"
    ]


def test_names_and_keys_that_two_blocks_share_are_errors(find_problems: Find) -> None:
    account = GOOD[GOOD.index("[[accounts]]") : GOOD.index("[[providers]]")]
    provider = GOOD[GOOD.index("[[providers]]") :]

    found = find_problems(GOOD + account + provider)

    assert found == [
        "accounts[1].name: is the name of accounts[0] too",
        "providers[1].name: is the name of providers[0] too",
        "accounts[1].keyid: is the keyid of accounts[0] too",
    ]


def test_an_error_never_shows_a_secret(find_problems: Find) -> None:
    secret = "deux mots"
    found = find_problems(GOOD.replace(KEYID, secret).replace('"masociete.com"', "5"))

    assert len(found) == 2
    assert not [line for line in found if secret in line]


def test_two_good_accounts_with_keys_of_their_own_are_no_error(load_text: Load) -> None:
    account = GOOD[GOOD.index("[[accounts]]") : GOOD.index("[[providers]]")]
    second = account.replace("masociete", "mairie").replace(KEYID, OTHER_KEYID)

    assert [one.name for one in load_text(GOOD + second).accounts] == ["masociete", "mairie"]


def test_no_account_and_no_provider_are_errors(find_problems: Find) -> None:
    found = find_problems(GOOD[: GOOD.index("[[accounts]]")])

    assert found == ["accounts: is required", "providers: is required"]


def test_a_file_that_is_not_toml_names_line_and_column(find_problems: Find) -> None:
    (found,) = find_problems("[smtp]\nlisten = [\n  nonsense\n")

    assert found.endswith("gateway.toml: is not TOML: Invalid value (at line 3, column 3)")


def test_a_file_that_is_not_utf8_names_the_line(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_bytes(b'[smtp]\nhostname = "caf\xe9"\n')
    with pytest.raises(ConfigError) as caught:
        load(file, environ={})

    assert str(caught.value) == f"{file}: is not UTF-8 (at line 2)"


def test_a_file_that_is_not_there_is_an_error_of_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "none.toml", environ={})

    assert (
        str(caught.value)
        == f"{tmp_path}/none.toml: cannot be read: No such file or directory; mail2sms init writes one to start from"
    )


def test_every_key_of_every_table_has_a_description() -> None:
    def undescribed(model: type[Settings]) -> list[str]:
        missing = [f"{model.__name__}.{key}" for key, field in model.model_fields.items() if not field.description]
        for field in model.model_fields.values():
            for inner in models_in(field.annotation):
                missing += undescribed(inner)
        return missing

    assert undescribed(Document) == []


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ('keyid = "a"\nprevious_keyid = "b"', 'keyid = "b"', "accounts[1].keyid: is the previous_keyid of accounts[0]"),
        ('keyid = "a"', 'keyid = "c"\nprevious_keyid = "a"', "accounts[1].previous_keyid: is the keyid of accounts[0]"),
        (
            'keyid = "a"\nprevious_keyid = "b"',
            'keyid = "c"\nprevious_keyid = "b"',
            "accounts[1].previous_keyid: is the previous_keyid of accounts[0]",
        ),
        (
            'keyid = "a"\nprevious_keyid = "a"',
            'keyid = "c"',
            "accounts[0].previous_keyid: is the keyid of accounts[0]",
        ),
    ],
)
def test_no_key_is_anybody_elses_present_or_previous_one(
    find_problems: Find, first: str, second: str, expected: str
) -> None:
    account = GOOD[GOOD.index("[[accounts]]") : GOOD.index("[[providers]]")]
    own = f'keyid = "{KEYID}"'
    other = account.replace(own, second).replace('name = "masociete"', 'name = "other"')
    assert own in account

    assert find_problems(GOOD.replace(own, first) + other) == [f"{expected} too"]
