"""The example, the reference and what is in force all come from the settings."""

import re
import tomllib
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

from gateway.config import load
from gateway.config.rendering import render_example, render_in_force, render_reference
from gateway.config.shape import describe_bounds
from gateway.providers.registry import KINDS
from gateway.settings import Settings
from tests.config.conftest import GOOD, KEYID, Find, Load

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


def test_the_example_has_every_key_and_every_table_but_those_of_other_kinds_of_carriers() -> None:
    example = render_example()
    left_out = {key for model in KINDS.values() for key in model.model_fields} - set(KINDS["isendpro"].model_fields)
    keys = set(re.findall(r"^\| `([a-z_0-9]+)` ", render_reference(), re.MULTILINE))
    tables = set(re.findall(r"^## `(\[.+\])`", render_reference(), re.MULTILINE))

    assert keys - set(re.findall(r"^(?:# ?)?([a-z_0-9]+) = ", example, re.MULTILINE)) <= left_out
    assert {table for table in tables if " with kind = " not in table} <= set(
        re.findall(r"^#?(\[.+\])$", example, re.MULTILINE)
    )


def test_the_reference_in_the_documents_is_current() -> None:
    """Make it with `mail2sms check-config --reference > docs/configuration.md`."""
    assert (ROOT / "docs" / "configuration.md").read_text("utf-8") == render_reference()


class Bounded(Settings):
    some: Annotated[int, Field(ge=1, le=50)] = 1
    long: Annotated[float, Field(gt=0, le=31_536_000)] | None = None
    any: Annotated[int, Field(ge=0)] = 0
    less: float = Field(default=0, lt=1)
    name: str = Field(default="", max_length=64)
    several: tuple[Annotated[str, Field(min_length=2)], ...] = Field(default=(), min_length=1)
    free: str = ""


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("some", "1 to 50"),
        ("long", "at most 31536000, more than 0"),
        ("any", "at least 0"),
        ("less", "less than 1"),
        ("name", "at most 64 characters"),
        ("several", "at least 1 value"),
        ("free", ""),
    ],
)
def test_bounds_are_told(key: str, expected: str) -> None:
    found = describe_bounds(Bounded.model_fields[key])

    assert sorted(found.split(", ")) == sorted(expected.split(", "))


def test_told_bounds_are_those_that_hold(load_text: Load, find_problems: Find) -> None:
    told = re.findall(r"^\| `(\w+)` \| whole number, (\d+) to (\d+) \|", _section("smtp"), re.MULTILINE)

    assert len(told) > 5
    for key, least, most in told:
        variable = f"MAIL2SMS_SMTP__{key.upper()}"
        for value in (int(least) - 1, int(most) + 1):
            (problem,) = find_problems(environ={variable: str(value)})
            assert problem.startswith(f"smtp.{key}: ")
        for value in (int(least), int(most)):
            assert getattr(load_text(environ={variable: str(value)}).smtp, key) == value


def _section(name: str) -> str:
    return render_reference().partition(f"## `[{name}]`")[2].partition("\n## ")[0]


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
