"""`mail2sms account rotate`: the lines that change a key without cutting anybody off."""

import re
import tomllib
from pathlib import Path

import pytest

from gateway.config import load
from gateway.policy.accounts import Accounts
from tests.cli.conftest import CONFIG, KEYID, Run

OLD_LINE = f'keyid = "{KEYID}"'
FRESH = re.compile(r"[0-9a-f]{32}")


def rotate(run: Run, config: Path) -> str:
    done = run("account", "rotate", "masociete", "--config", str(config))
    assert done.status == 0, done.stderr
    return done.stdout


def keys_of(config: Path) -> list[tuple[str, bool]]:
    """Return the keys that are good by the file, and whether each is the previous one."""
    loaded = load(config, environ={})
    (account,) = loaded.accounts
    found = [key.get_secret_value() for key in (account.keyid, account.previous_keyid) if key is not None]
    accounts = Accounts(loaded.accounts)
    return [(key, owner.is_previous) for key in found if (owner := accounts.find_key(key)) is not None]


def test_lines_make_a_fresh_key_and_keep_the_present_one(config: Path, run: Run) -> None:
    lines = rotate(run, config)
    said = tomllib.loads(lines)
    config.write_text(CONFIG.replace(OLD_LINE, lines), "utf-8")

    assert FRESH.fullmatch(said["keyid"])
    assert keys_of(config) == [(said["keyid"], False), (KEYID, True)]


def test_nothing_is_changed_and_every_key_is_fresh(config: Path, run: Run) -> None:
    first, second = (tomllib.loads(rotate(run, config))["keyid"] for _ in range(2))

    assert first != second
    assert config.read_text("utf-8") == CONFIG


def test_key_in_a_file_stays_in_a_file(config: Path, run: Run) -> None:
    file = config.with_name("masociete.key")
    file.write_text(KEYID, "utf-8")
    file.chmod(0o600)
    config.write_text(CONFIG.replace(OLD_LINE, 'keyid_file = "masociete.key"'), "utf-8")
    lines = rotate(run, config)
    (fresh,) = FRESH.findall(lines)
    file.rename(file.with_name("masociete.key.previous"))
    file.write_text(fresh, "utf-8")
    file.chmod(0o600)
    config.write_text(CONFIG.replace(OLD_LINE, f'keyid_file = "masociete.key"\n{lines}'), "utf-8")

    assert tomllib.loads(lines) == {"previous_keyid_file": "masociete.key.previous"}
    assert KEYID not in lines
    assert keys_of(config) == [(fresh, False), (KEYID, True)]


def test_second_rotation_warns_that_the_oldest_key_ends(config: Path, run: Run) -> None:
    config.write_text(CONFIG.replace(OLD_LINE, f'{OLD_LINE}\nprevious_keyid = "{"0" * 32}"'), "utf-8")
    done = run("account", "rotate", "masociete", "--config", str(config))

    assert (done.status, "has a previous key already" in done.stderr) == (0, True)
    assert tomllib.loads(done.stdout)["previous_keyid"] == KEYID


@pytest.mark.parametrize(("more", "is_passed"), [("", True), ('keyid = "0123456789abcdef"', False)])
def test_isendpro_without_a_key_of_its_own_has_to_know_it_first(
    config: Path, run: Run, more: str, *, is_passed: bool
) -> None:
    config.write_text(CONFIG.replace('kind = "sandbox"', f'kind = "isendpro"\n{more}'), "utf-8")

    assert ('# Carrier "carrier" is passed the new key' in rotate(run, config)) is is_passed


def test_account_that_is_not_there_is_said_with_those_that_are(config: Path, run: Run) -> None:
    done = run("account", "rotate", "nobody", "--config", str(config))

    assert done.status == 2
    assert 'there is no account "nobody"' in done.stderr
    assert "masociete" in done.stderr
