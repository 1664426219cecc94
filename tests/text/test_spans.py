"""Durations in words."""

import pytest

from gateway.text.spans import write_span


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-3, "0 s"),
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (3_599, "59 min 59 s"),
        (3_600, "1 h"),
        (3_900, "1 h 5 min"),
        (86_399, "23 h 59 min"),
        (86_400, "1 d"),
        (183_600, "2 d 3 h"),
    ],
)
def test_a_span_is_told_in_its_two_largest_units(seconds: float, expected: str) -> None:
    assert write_span(seconds) == expected


def test_days_have_the_sign_of_the_language() -> None:
    assert write_span(183_600, day="j") == "2 j 3 h"
