"""What docs/deploying.md tells people to do can be done: commands, options, files and settings are there."""

import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.cli import COMMANDS
from gateway.config import load
from tests.support.configuration import render_config

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "deploying.md").read_text()
OURS = re.compile(r"(?:^|\s)(?:\S*/bin/mail2sms|mail2sms|as_mail2sms)\s+(?P<rest>[a-z][a-z-]* .*)$")


def blocks(language: str) -> Iterator[str]:
    yield from re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)


def shell_lines() -> Iterator[str]:
    """Every command, its lines joined, without its remark."""
    for block in blocks("sh"):
        for line in block.replace("\\\n", " ").splitlines():
            yield re.sub(r"\s+#.*", "", line)


def our_commands() -> list[list[str]]:
    found = (OURS.search(line) for line in shell_lines())
    return [shlex.split(one["rest"]) for one in found if one and one["rest"].split()[0] in COMMANDS]


def test_the_document_has_commands_of_ours() -> None:
    assert {words[0] for words in our_commands()} >= {"init", "migrate", "backup", "restore", "verify", "health"}


def read_help(command: str) -> str:
    asked = [sys.executable, "-m", "gateway", command, "--help"]
    return subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout


@pytest.mark.slow
def test_every_option_of_our_commands_exists() -> None:
    help_of = {command: read_help(command) for command in {words[0] for words in our_commands()}}
    unknown = [
        words
        for words in our_commands()
        if not all(word in help_of[words[0]] for word in words if word.startswith("--"))
    ]

    assert unknown == []


def test_every_shell_block_can_be_read_by_a_shell() -> None:
    for block in blocks("sh"):
        said = subprocess.run(["sh", "-n"], input=block, capture_output=True, text=True, timeout=30, check=False)

        assert said.returncode == 0, block + said.stderr


def test_every_file_of_deploy_that_is_named_is_there_and_the_other_way_round() -> None:
    named = set(re.findall(r"\bdeploy/[A-Za-z0-9_./-]+[A-Za-z0-9_]", DOCUMENT))
    made = {"deploy/secrets"}
    folders = (ROOT / "deploy" / name for name in ("postfix", "haproxy", "fail2ban"))
    shipped = {str(file.relative_to(ROOT)) for folder in folders for file in folder.iterdir()}

    assert [name for name in sorted(named - made) if not (ROOT / name).exists()] == []
    assert shipped <= named


@pytest.mark.parametrize("block", list(blocks("toml")))
def test_the_configurations_shown_are_read(block: str, tmp_path: Path) -> None:
    """Each stands for a part: it is put over a configuration that is whole."""
    (tmp_path / "isendpro.key").write_text("of-the-carrier-0123456789")
    (tmp_path / "isendpro.key").chmod(0o600)
    shown = tomllib.loads(block)
    accounts, providers = shown.pop("accounts", [{}]), shown.pop("providers", [{}])
    listeners = shown.get("smtp", {}).get("listeners")
    if listeners:
        shown["smtp"]["listen"] = []
    file = tmp_path / "gateway.toml"
    name = {"name": "carrier"} if "kind" in providers[0] else {}
    provider = {**providers[0], **name, **({"base_url": None} if name else {})}
    file.write_text(render_config(account=accounts[0], provider=provider, **shown))
    file.chmod(0o600)

    load(file, environ={})
