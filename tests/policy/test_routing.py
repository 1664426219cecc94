"""Which provider an account's SMS go to."""

import pytest

from gateway.policy.routing import choose_provider
from tests.support.accounts import make_account


@pytest.mark.parametrize(
    ("paused", "expected"),
    [
        (set(), "first"),
        ({"second"}, "first"),
        ({"first"}, "second"),
        ({"first", "second"}, None),
        ({"other"}, "first"),
    ],
)
def test_first_provider_that_is_not_paused_is_chosen(paused: set[str], expected: str | None) -> None:
    assert choose_provider(make_account(providers=("first", "second")), paused) == expected
