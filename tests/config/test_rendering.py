"""The example, the reference and what is in force all come from the settings."""

import re
import tomllib
from pathlib import Path

import pytest

from gateway.config import Document, load
from gateway.config.rendering import render_example, render_in_force, render_reference
from tests.config.conftest import GOOD, KEYID, Load

ROOT = Path(__file__).parents[2]


def test_the_example_is_a_good_configuration_as_it_is(load_text: Load) -> None:
    config = load_text(render_example())

    assert [warning.path for warning in config.warnings] == ["providers[0].keyid_file"]


def test_each_example_has_a_key_of_its_own() -> None:
    keys = {tomllib.loads(render_example())["accounts"][0]["keyid"] for _ in range(3)}

    assert len(keys) == 3
    assert all(re.fullmatch(r"[0-9a-f]{32}", key) for key in keys)


def test_what_the_example_comments_out_is_the_default(load_text: Load) -> None:
    example = render_example(keyid=KEYID)
    commented = re.compile(r'^# ([a-z_0-9]+ = (?!"").+)$', re.MULTILINE)

    assert len(commented.findall(example)) > 50
    assert load_text(commented.sub(r"\1", example)).model_dump() == load_text(example).model_dump()


def test_the_example_has_every_key_but_of_what_does_not_work_yet() -> None:
    example = render_example()
    left_out = {"users", "routes", *Document.model_fields["users"].annotation.__args__[0].model_fields}  # type: ignore[union-attr]
    keys = set(re.findall(r"^\| `([a-z_0-9]+)` ", render_reference(), re.MULTILINE))

    assert keys - set(re.findall(r"^(?:# *)?([a-z_0-9]+) = ", example, re.MULTILINE)) <= left_out


def test_a_block_that_may_be_added_is_good_once_it_is_filled_in(load_text: Load) -> None:
    example = render_example()
    block = example[example.index("# [[accounts.routes]]") :].split("\n\n")[0]
    lines = [line.removeprefix("#").strip() for line in block.splitlines()]
    kept = [line for line in lines if line.startswith("[[") or (" = " in line and not line.startswith("Shares"))]
    filled = "\n".join(kept).replace('name = ""', 'name = "west"').replace("prefixes = []", 'prefixes = ["+336"]')
    config = load_text(example.replace(block, filled.replace("providers = []", 'providers = ["carrier"]')))

    assert [route.key for route in config.accounts[0].routes] == ["west"]


def test_the_reference_in_the_documents_is_current() -> None:
    """Make it with `mail2sms check-config --reference > docs/configuration.md`."""
    assert (ROOT / "docs" / "configuration.md").read_text("utf-8") == render_reference()


def test_what_is_in_force_is_itself_a_configuration(load_text: Load) -> None:
    config = load_text(GOOD + 'keyid = "of-the-carrier"\n')

    shown = render_in_force(config)

    assert KEYID not in shown
    assert "of-the-carrier" not in shown
    assert load_text(shown).smtp == config.smtp
    assert load_text(shown).reports == config.reports


@pytest.mark.parametrize("file", ["deploy/compose.toml"])
def test_configurations_that_are_shipped_are_good(file: str) -> None:
    config = load(ROOT / file, environ={})

    assert [warning for warning in config.warnings if warning.path != str(config.path)] == []
