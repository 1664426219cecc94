"""A group of options is as many options to who calls, and one value to the command."""

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from gateway.cli.sharing import with_options


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    town: Annotated[str | None, typer.Option(help="Where.")] = None
    floor: Annotated[int, typer.Option("--at", min=0)] = 1


@pytest.fixture
def seen() -> list[object]:
    return []


@pytest.fixture
def app(seen: list[object]) -> typer.Typer:
    made = typer.Typer()

    @made.command()
    @with_options
    def visit(name: str, *, place: Place, loud: bool = False) -> None:
        """Visit somebody."""
        seen.extend((name, place, loud))

    return made


def test_options_reach_the_command_as_one_value(app: typer.Typer, seen: list[object]) -> None:
    done = CliRunner().invoke(app, ["Marie", "--town", "Lyon", "--at", "3", "--loud"])

    assert (done.exit_code, seen) == (0, ["Marie", Place(town="Lyon", floor=3), True])


def test_what_is_not_said_is_as_the_group_has_it(app: typer.Typer, seen: list[object]) -> None:
    done = CliRunner().invoke(app, ["Marie"])

    assert (done.exit_code, seen) == (0, ["Marie", Place(), False])


def test_each_option_is_checked_and_explained(app: typer.Typer, seen: list[object]) -> None:
    wrong = CliRunner().invoke(app, ["Marie", "--at", "-1"])
    explained = CliRunner().invoke(app, ["--help"])

    assert (wrong.exit_code, seen) == (2, [])
    assert "Where." in explained.output
    assert "Visit somebody." in explained.output
    assert "place" not in explained.output
