"""Help is complete, and every command line in a document is one that the real command understands."""

import re

import pytest

from gateway.cli import COMMANDS
from tests.cli.conftest import Run
from tests.cli.documented import DOCUMENTS, ROOT, parse, read_shown, unknown_in_usage, walk

SHOWN = [one for document in DOCUMENTS for one in read_shown(document)]
BY_NAME = dict(walk())


def test_documents_show_nearly_every_command() -> None:
    assert len(SHOWN) > 60
    assert set(COMMANDS) - {one.text.split()[0] for one in SHOWN} <= {"demo", "version", "inject"}


@pytest.mark.parametrize("text", sorted({one.text for one in SHOWN if not one.is_usage}))
def test_a_line_that_is_shown_can_be_typed(text: str) -> None:
    shown = next(one for one in SHOWN if one.text == text)

    assert shown.words[0] in COMMANDS, shown

    parse(shown.words)


def test_a_line_that_cannot_be_typed_is_found() -> None:
    with pytest.raises(Exception, match="No such option"):
        parse(["queue", "list", "--config", "x", "--acount", "y"])
    with pytest.raises(Exception, match="No such command"):
        parse(["credit", "sett", "masociete", "1000", "--config", "x"])

    assert unknown_in_usage("queue list --config FILE [--acount A]") == ["--acount"]


@pytest.mark.parametrize("text", sorted({one.text for one in SHOWN if one.is_usage}))
def test_a_usage_that_is_shown_names_options_there_are(text: str) -> None:
    assert text.split(maxsplit=1)[0] in COMMANDS
    assert unknown_in_usage(text) == []


@pytest.mark.parametrize("name", BY_NAME)
def test_every_option_and_argument_says_what_it_is_for(name: str) -> None:
    silent = [one.name for one in BY_NAME[name].params if not getattr(one, "help", None)]

    assert silent == []
    assert BY_NAME[name].help


@pytest.mark.parametrize("name", [name for name in BY_NAME if not hasattr(BY_NAME[name], "commands")])
def test_help_ends_with_exit_statuses_and_where_examples_are(name: str, run: Run) -> None:
    first, *rest = name.split()
    of_one = ["NAME"] if first == "carrier" else []
    text = " ".join(run(first, *of_one, *rest, "--help").stdout.split())
    found = re.search(r"Exit status 0: done\. 1: .* Examples: (\S+)\.$", text)

    assert found, text
    assert re.search(rf"\b{name.split(maxsplit=1)[0]}\b", (ROOT / found[1]).read_text("utf-8")), found[1]
