"""The parts of the console that are no pages: words, charts, throttles, roles."""

import re
import string
import tomllib
from pathlib import Path

import pytest

import gateway.console
from gateway.console.charts import Bar, draw_bars
from gateway.console.roles import Role, highest
from gateway.console.throttle import Throttle
from gateway.console.words import LANGUAGES, WORDS, choose_language, say
from gateway.lifecycle import ReportState, SmsEvent, SmsState
from gateway.protocol.report import ReportKind
from gateway.store.stoplist import OptOutSource
from gateway.stories import Action, FoundKind, StepKind
from tests.support.clock import ManualClock

FOLDER = Path(gateway.console.__file__).parent
NAMED_BY_VALUE = {
    "state": {state.value for state in SmsState},
    "report_state": {state.value for state in ReportState},
    "event": {event.value for event in SmsEvent},
    "report": {kind.value for kind in ReportKind},
    "source": {source.value for source in OptOutSource},
    "step": {kind.value for kind in StepKind},
    "found": {kind.value for kind in FoundKind},
    "role": {role.value for role in Role},
    "action": {action.value for action in Action} | {"login", "logout", "compose", "optout_add", "optout_remove"},
    "theme": {"auto", "light", "dark"},
    "menu": {"overview", "search", "queue", "compose", "optouts", "configured", "audit"},
    "kind": {"same", "own", "csv"},
    "email_id": {"new", "used", "same mail", "missing", "unknown"},
}
"""Sections whose keys are values of the code."""


def used_keys() -> set[str]:
    """Return the keys that templates and code name as a whole."""
    found = set()
    for file in [*FOLDER.rglob("*.html"), *FOLDER.glob("*.py")]:
        found |= {one for one in re.findall(r"[\"']([a-z_]+\.[a-z_]+)[\"']", file.read_text("utf-8")) if one in WORDS}
    return found


def asked_keys() -> set[str]:
    """Return the keys that templates ask for with `t`, whether there are words or not."""
    return {
        key
        for file in FOLDER.rglob("*.html")
        for key in re.findall(r"\bt\([\"']([a-z_.]+)[\"'][,)]", file.read_text("utf-8"))
    }


def test_everything_is_said_in_every_language() -> None:
    raw = tomllib.loads((FOLDER / "words.toml").read_text("utf-8"))
    lacking = [
        (section, key)
        for section, entries in raw.items()
        for key, words in entries.items()
        if set(words) != set(LANGUAGES) or not all(words.values())
    ]

    assert lacking == []


def test_each_language_puts_in_the_same_values() -> None:
    parts = string.Formatter()
    differing = [
        key
        for key, words in WORDS.items()
        if len({frozenset(name for _, name, _, _ in parts.parse(text) if name) for text in words.values()}) != 1
    ]

    assert differing == []


def test_no_page_asks_for_words_that_there_are_not() -> None:
    assert asked_keys() - WORDS.keys() == set()


@pytest.mark.parametrize("section", NAMED_BY_VALUE)
def test_every_value_that_is_shown_has_words(section: str) -> None:
    keys = {key.removeprefix(f"{section}.") for key in WORDS if key.startswith(f"{section}.")}

    assert keys == NAMED_BY_VALUE[section]


def test_no_words_are_left_over() -> None:
    computed = {key for key in WORDS if key.partition(".")[0] in {*NAMED_BY_VALUE, "detail"}}
    patterns = {
        key
        for key in WORDS
        if re.fullmatch(
            r"confirm\.(yes_)?(cancel|retry)|compose\.hint_\w+|optouts\.(added|was_there|removed|was_not_there)|overview\.(mails|sms)_chart",
            key,
        )
    }

    assert WORDS.keys() - used_keys() - asked_keys() - computed - patterns == set()


@pytest.mark.parametrize(
    ("chosen", "accepted", "language"),
    [
        (None, "", "en"),
        (None, "fr", "fr"),
        (None, "fr-CA, en;q=0.5", "fr"),
        (None, "en;q=0.4, fr;q=0.8", "fr"),
        (None, "de, *", "en"),
        (None, "fr;q=0", "en"),
        (None, "fr;q=nonsense", "en"),
        (None, ";;,,q=,\x00" * 500, "en"),
        ("fr", "en", "fr"),
        ("xx", "fr", "fr"),
    ],
)
def test_the_language_is_the_chosen_one_or_one_that_is_accepted(
    chosen: str | None, accepted: str, language: str
) -> None:
    assert choose_language(chosen, accepted) == language


def test_words_take_values() -> None:
    assert say("fr", "acted.moved", changed="1", all="2") == "Fait pour 1 SMS sur 2."


def test_a_chart_is_as_high_as_its_highest_bar_and_its_words_are_text() -> None:
    chart = draw_bars([Bar(label="<b>", value=value) for value in (0, 1, 100)], title='"<i>', css_class="sms")

    assert re.findall(r'height="([\d.]+)"', chart) == ["0.5", "4.0", "116.0"]
    assert "<b>" not in chart
    assert 'aria-label="&#34;&lt;i&gt;"' in chart


def test_a_chart_of_nothing_is_empty() -> None:
    assert "<rect" not in draw_bars([], title="none", css_class="sms")


def test_who_tried_too_often_waits_and_is_forgiven() -> None:
    clock = ManualClock()
    throttle = Throttle(clock, at_once=2, forgiven_every_s=10)
    waits = []
    for _ in range(3):
        waits.append(throttle.wait_s("a"))
        throttle.add("a")
    clock.advance(15)

    assert waits == [0, 0, 10]
    assert (throttle.wait_s("a"), throttle.wait_s("b")) == (5, 0)


def test_only_so_many_are_counted() -> None:
    throttle = Throttle(ManualClock(), at_once=1, forgiven_every_s=10, max_keys=2)
    for key in ("a", "b", "c"):
        throttle.add(key)

    assert [throttle.wait_s(key) for key in ("a", "b", "c")] == [0, 10, 10]


def test_the_highest_role_counts() -> None:
    assert highest((Role.VIEW, Role.ADMIN, Role.OPERATE)) is Role.ADMIN
    assert highest(()) is None
