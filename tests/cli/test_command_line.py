"""The commands that need no store, run in this process."""

import errno
import json
import os
import tomllib
from pathlib import Path

import pytest

from gateway import __version__
from gateway.cli import COMMANDS
from tests.cli.conftest import CONFIG, KEYID, Run


def test_help_lists_every_command_with_the_first_line_of_its_own_help(run: Run) -> None:
    listed = run("--help")
    for name, about in COMMANDS.items():
        own = run(name, "--help")

        assert own.status == 0, own.stderr
        assert own.stdout.splitlines()[2].strip() == about
        assert f"{name} " in listed.stdout
        assert about in listed.stdout


def test_version_is_for_people_and_for_programs(run: Run) -> None:
    human = run("version")
    program = run("version", "--json")

    assert human.stdout.splitlines()[0] == f"mail2sms-gateway {__version__}"
    assert json.loads(program.stdout)["version"] == __version__
    assert json.loads(program.stdout)["libraries"]["lxml"] is not None


@pytest.mark.parametrize(
    "arguments",
    [["chek-config"], ["version", "--jsn"], ["serve"], ["check-config"], ["serve", "-c", "x", "--set", "y"]],
)
def test_a_wrong_command_line_is_status_2_and_on_stderr(arguments: list[str], run: Run) -> None:
    done = run(*arguments)

    assert (done.status, done.stdout) == (2, "")
    assert "Error: " in done.stderr


def test_a_mistyped_command_is_told_the_right_one(run: Run) -> None:
    done = run("chek-config")

    assert "Did you mean 'check-config'?" in done.stderr


def test_check_config_says_that_a_good_one_is_good(config: Path, run: Run) -> None:
    done = run("check-config", str(config))

    assert (done.status, done.stderr) == (0, "")
    assert done.stdout == f"{config} is good: 1 account, 1 provider.\n"


def test_check_config_gives_errors_and_warnings_to_programs(config: Path, run: Run) -> None:
    config.write_text(CONFIG.replace(KEYID, "short"))
    doubtful = run("check-config", "--json", str(config))
    config.write_text(CONFIG.replace("domains", "domain"))
    wrong = run("check-config", "--json", str(config))

    assert (doubtful.status, wrong.status) == (0, 3)
    assert json.loads(doubtful.stdout)["ok"] is True
    assert [one["path"] for one in json.loads(doubtful.stdout)["warnings"]] == ["accounts[0].keyid"]
    assert json.loads(wrong.stdout)["ok"] is False
    assert [one["path"] for one in json.loads(wrong.stdout)["errors"]] == ["accounts[0].domains", "accounts[0].domain"]


def test_check_config_shows_what_is_in_force_without_secrets(
    config: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAIL2SMS_SMTP__MAX_ERRORS", "3")
    done = run("check-config", "--show", str(config), "--set", "reports.timeout_s=7")
    shown = tomllib.loads(done.stdout)

    assert done.status == 0
    assert shown["reports"]["timeout_s"] == 7
    assert shown["smtp"]["max_errors"] == 3
    assert KEYID not in done.stdout


def test_the_schema_and_the_reference_need_no_file(run: Run) -> None:
    schema = run("check-config", "--schema")
    reference = run("check-config", "--reference")

    assert set(json.loads(schema.stdout)["properties"]) >= {"smtp", "store", "reports", "http", "accounts", "providers"}
    assert reference.stdout.startswith("# Configuration\n")


@pytest.mark.parametrize("arguments", [["check-config"], ["why", "1", "--config"], ["health", "--config"]])
def test_a_configuration_that_one_may_not_read_is_a_matter_of_the_configuration(
    arguments: list[str], config: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    # to root nothing is closed: what the command line asks of the system, and what opening says, as for others
    monkeypatch.setattr(os, "access", lambda *_args, **_options: False)
    monkeypatch.setattr(Path, "open", refuse)
    done = run(*arguments, str(config))

    assert done.status == 3
    assert f"{config}: cannot be read: Permission denied; run this as the user of the gateway" in done.stderr


def refuse(path: Path, *_args: object, **_options: object) -> None:
    raise PermissionError(errno.EACCES, "Permission denied", str(path))
