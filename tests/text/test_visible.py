"""What strangers wrote, shown without doing anything."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.text.visible import visible

HARMFUL = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Control, format (bidirectional ones among them), halves of pairs, ends of lines and paragraphs."""


@given(text=st.text(st.characters(exclude_categories=())))
def test_nothing_is_left_that_a_terminal_obeys(text: str) -> None:
    shown = visible(text)

    assert shown.encode("utf-8").decode("utf-8") == shown
    assert [one for one in shown if unicodedata.category(one) in HARMFUL] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Bonjour, 5 € à l'été 🙂", "Bonjour, 5 € à l'été 🙂"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("a\x7f\x85\x9b", "a\\x7f\\x85\\x9b"),
        ("\u202eabc\u2066\u200f\u061c", "\\u202eabc\\u2066\\u200f\\u061c"),
        ("a\u2028b\u2029", "a\\u2028b\\u2029"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_what_does_not_print_is_an_escape(text: str, expected: str) -> None:
    assert visible(text) == expected


def test_what_is_spared_stays() -> None:
    assert visible("a\n\tb\x1b", spared="\n\t") == "a\n\tb\\x1b"
