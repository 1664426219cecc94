"""The file, then the environment, then options; secrets and paths."""

from pathlib import Path

import pytest

from gateway.config import load
from tests.config.conftest import GOOD, KEYID, Find, Load


def test_the_environment_wins_over_the_file_and_options_over_both(load_text: Load) -> None:
    environ = {"MAIL2SMS_SMTP__HOSTNAME": "env.example.org", "MAIL2SMS_SMTP__MAX_MAIL_BYTES": "5000"}

    config = load_text(environ=environ, overrides={"smtp.hostname": "option.example.org"})

    assert config.smtp.hostname == "option.example.org"
    assert config.smtp.max_mail_bytes == 5000


@pytest.mark.parametrize(
    "value", ["127.0.0.1:0, [::1]:0", '["127.0.0.1:0", "[::1]:0"]'], ids=["separated by commas", "JSON"]
)
def test_a_list_in_the_environment_is_json_or_separated_by_commas(load_text: Load, value: str) -> None:
    if value.startswith("["):
        config = load_text(environ={"MAIL2SMS_SMTP__LISTEN": value})
    else:
        config = load_text(overrides={"smtp.listen": value})

    assert config.smtp.listen == ("127.0.0.1:0", "[::1]:0")


def test_an_ipv6_address_alone_is_not_taken_for_json(load_text: Load) -> None:
    config = load_text(environ={"MAIL2SMS_SMTP__LISTEN": "[::1]:2525,127.0.0.1:2525"})

    assert config.smtp.listen == ("[::1]:2525", "127.0.0.1:2525")


def test_whole_tables_in_the_environment_are_json(load_text: Load) -> None:
    providers = '[{"name": "carrier", "kind": "sandbox", "width": 2}]'

    assert load_text(environ={"MAIL2SMS_PROVIDERS": providers}).providers[0].width == 2


def test_a_wrong_value_names_the_variable_it_comes_from(find_problems: Find) -> None:
    found = find_problems(environ={"MAIL2SMS_REPORTS__TIMEOUT_S": "soon", "MAIL2SMS_ACCOUNTS": "[{"})

    assert found == [
        "accounts: is not valid JSON (from MAIL2SMS_ACCOUNTS)",
        "reports.timeout_s: must be a number (from MAIL2SMS_REPORTS__TIMEOUT_S)",
    ]


def test_a_variable_that_names_nothing_is_an_error(find_problems: Find) -> None:
    found = find_problems(environ={"MAIL2SMS_SMPT__LISTEN": "x", "MAIL2SMS_SMTP__LISTN": "x"})

    assert found == [
        'smpt.listen: there is no section smpt; did you mean "smtp"? (from MAIL2SMS_SMPT__LISTEN)',
        'smtp.listn: unknown key; did you mean "listen"? (from MAIL2SMS_SMTP__LISTN)',
    ]


def test_a_part_of_a_list_of_tables_cannot_come_from_the_environment(find_problems: Find) -> None:
    found = find_problems(environ={"MAIL2SMS_ACCOUNTS__0__KEYID": "x"})

    assert "\n".join(found) == (
        "accounts.0.keyid: accounts is not one table; give all of it as JSON in MAIL2SMS_ACCOUNTS "
        "(from MAIL2SMS_ACCOUNTS__0__KEYID)"
    )


def test_variables_of_other_programs_are_left_alone(load_text: Load) -> None:
    config = load_text(environ={"MAIL2SMS_VERSION": "1", "MAIL": "x", "OTHER__KEY": "y"})

    assert config.warnings == ()


def test_a_secret_is_read_from_a_file_beside_the_configuration(load_text: Load, tmp_path: Path) -> None:
    (tmp_path / "client.key").write_text(f"  {KEYID}\r\n")
    (tmp_path / "client.key").chmod(0o600)

    config = load_text(GOOD.replace(f'keyid = "{KEYID}"', 'keyid_file = "client.key"'))

    assert config.accounts[0].keyid is not None
    assert config.accounts[0].keyid.get_secret_value() == KEYID
    assert config.warnings == ()


def test_a_systemd_credential_wins_over_a_file_of_the_same_name(load_text: Load, tmp_path: Path) -> None:
    (tmp_path / "client.key").write_text("from-the-file")
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "client.key").write_text(KEYID)
    (credentials / "client.key").chmod(0o400)

    config = load_text(
        GOOD.replace(f'keyid = "{KEYID}"', 'keyid_file = "client.key"'),
        environ={"CREDENTIALS_DIRECTORY": str(credentials)},
    )

    assert config.secrets == (KEYID,)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "cannot be read: No such file or directory"),
        (b" \n", "is empty"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (b"k" * 70_000, "is too large to be a secret"),
    ],
)
def test_a_secret_that_cannot_be_read_is_an_error_with_its_path(
    find_problems: Find, tmp_path: Path, content: bytes | None, complaint: str
) -> None:
    if content is not None:
        (tmp_path / "client.key").write_bytes(content)

    found = find_problems(GOOD.replace(f'keyid = "{KEYID}"', 'keyid_file = "client.key"'))

    assert found == [f"accounts[0].keyid_file: {tmp_path}/client.key {complaint}"]


def test_a_secret_and_a_file_with_it_exclude_one_another(find_problems: Find, tmp_path: Path) -> None:
    (tmp_path / "client.key").write_text(KEYID)

    found = find_problems(GOOD.replace("domains", 'keyid_file = "client.key"\ndomains'))

    assert found == ["accounts[0].keyid_file: keyid is given too: keep one of the two"]


def test_what_is_wrong_with_a_secret_names_the_file_it_was_read_from(find_problems: Find, tmp_path: Path) -> None:
    (tmp_path / "client.key").write_text("two words")

    (found,) = find_problems(GOOD.replace(f'keyid = "{KEYID}"', 'keyid_file = "client.key"'))

    assert found.startswith("accounts[0].keyid: ")
    assert found.endswith(f"(from {tmp_path}/client.key)")
    assert "two words" not in found


def test_a_relative_store_is_beside_the_configuration(load_text: Load, tmp_path: Path) -> None:
    config = load_text(GOOD.replace("[reports]", '[store]\nurl = "sqlite:///data/rows.db"\n\n[reports]'))

    assert config.store.url == f"sqlite:///{tmp_path}/data/rows.db"
    assert load_text().store.url == f"sqlite:///{tmp_path}/gateway.db"


@pytest.mark.parametrize("url", ["sqlite:////var/lib/mail2sms/gateway.db", "postgresql://mail2sms@db/mail2sms"])
def test_an_absolute_store_is_left_as_it_is(load_text: Load, url: str) -> None:
    assert load_text(overrides={"store.url": url}).store.url == url


def test_a_path_that_is_no_secret_is_made_absolute(load_text: Load, tmp_path: Path) -> None:
    config = load_text(GOOD + 'ca_file = "carrier.pem"\n')

    assert config.providers[0].ca_file == f"{tmp_path}/carrier.pem"


def test_a_relative_name_of_the_configuration_counts_from_here(
    load_text: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_text()
    monkeypatch.chdir(tmp_path)

    assert load("gateway.toml", environ={}).path == tmp_path / "gateway.toml"


def test_the_secrets_are_known_for_the_log(load_text: Load) -> None:
    config = load_text(GOOD + 'keyid = "of-the-carrier"\ncallback_secret = "of-the-callback-a"\n')

    assert set(config.secrets) == {KEYID, "of-the-carrier", "of-the-callback-a"}
