"""What docs/deploying.md tells people to do can be done: commands, options, files and settings are there."""

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.config import load
from tests.cli.documented import read_shown
from tests.support.configuration import render_config

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docs" / "deploying.md"
DOCUMENT = FILE.read_text()


def blocks(language: str) -> Iterator[str]:
    yield from re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)


def test_the_document_has_commands_of_ours() -> None:
    """That each is one the real command understands is tested for all documents together (tests/cli)."""
    shown = {one.text.split()[0] for one in read_shown(FILE)}

    assert shown >= {"init", "migrate", "backup", "restore", "verify", "health"}


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
