"""Which carrier an SMS goes to: by number, by what is up, by shares."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.policy.accounts import Account
from gateway.policy.routing import OWN, Owed, Path, choose_provider, choose_route, count_sms, find_path
from tests.support.accounts import make_account

NAMES = ("a", "b", "c", "d")
NOTHING: Owed = {}


def path(*providers: str, weights: Mapping[str, int] | None = None) -> Path:
    return Path(providers=providers, weights=weights or {})


def routed(*routes: Mapping[str, object]) -> Account:
    return make_account(providers=("own",), routes=routes)


def send(way: Path, up: set[str], counts: list[int]) -> list[tuple[str, int]]:
    """Return who got how many, batch after batch."""
    owed, sent = NOTHING, []
    for count in counts:
        name = choose_provider(way, up, owed)
        assert name is not None
        owed = count_sms(way, up, owed, provider=name, sms=count)
        sent.append((name, count))
    return sent


# --- in order --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("up", "expected"),
    [
        ({"first", "second"}, "first"),
        ({"first"}, "first"),
        ({"second"}, "second"),
        (set(), None),
        ({"other"}, None),
        ({"other", "second"}, "second"),
    ],
)
def test_the_first_provider_that_is_up_is_chosen(up: set[str], expected: str | None) -> None:
    assert choose_provider(path("first", "second"), up, NOTHING) == expected


def test_without_weights_nothing_is_counted() -> None:
    assert count_sms(path("a", "b"), {"a", "b"}, NOTHING, provider="a", sms=50) == {}


# --- by shares -------------------------------------------------------------------------------------------------------


def test_shares_are_taken_smoothly() -> None:
    sent = send(path("a", "b", "c", weights={"a": 5, "b": 1, "c": 1}), set(NAMES), [1] * 7)

    assert "".join(name for name, _ in sent) == "aabacaa"  # as nginx does it: never five of a in a row


def test_shares_are_counted_in_sms_not_in_calls() -> None:
    sent = send(path("a", "b", weights={"a": 1, "b": 1}), set(NAMES), [50, 1, 1, 48, 50])

    assert sent[:4] == [("a", 50), ("b", 1), ("b", 1), ("b", 48)]


def test_who_is_down_leaves_its_share_to_the_others_and_does_not_catch_up() -> None:
    way, owed = path("a", "b", weights={"a": 1, "b": 1}), NOTHING
    for _ in range(1_000):
        owed = count_sms(way, {"a"}, owed, provider="a", sms=50)
    names = []
    for _ in range(10):
        name = choose_provider(way, {"a", "b"}, owed)
        assert name is not None
        owed = count_sms(way, {"a", "b"}, owed, provider=name, sms=50)
        names.append(name)

    assert names.count("a") == 5


@pytest.mark.parametrize(("up", "expected"), [({"a", "spare"}, "a"), ({"spare", "last"}, "spare"), ({"last"}, "last")])
def test_who_has_no_share_goes_when_all_others_are_down(up: set[str], expected: str) -> None:
    assert choose_provider(path("spare", "a", "last", weights={"a": 1}), up, NOTHING) == expected


def test_what_goes_to_a_spare_is_owed_to_nobody() -> None:
    way = path("a", "spare", weights={"a": 1})

    assert count_sms(way, {"spare"}, NOTHING, provider="spare", sms=50) == {}


weights = st.dictionaries(st.sampled_from(NAMES), st.integers(1, 20), min_size=1)


@given(weights=weights, counts=st.lists(st.integers(1, 50), min_size=1, max_size=200))
def test_nobody_is_ever_farther_from_its_share_than_some_batches(weights: dict[str, int], counts: list[int]) -> None:
    way = path(*NAMES, weights=weights)
    sent = dict.fromkeys(weights, 0)
    for name, count in send(way, set(NAMES), counts):
        sent[name] += count
        so_far = sum(sent.values())
        parts = {one: so_far * weight / sum(weights.values()) for one, weight in weights.items()}

        assert all(abs(sent[one] - parts[one]) <= 50 * len(weights) for one in weights)


@given(
    weights=weights,
    steps=st.lists(st.tuples(st.sets(st.sampled_from(NAMES)), st.integers(1, 50)), max_size=100),
)
def test_whoever_is_up_somebody_is_chosen_and_what_is_owed_stays_bounded(
    weights: dict[str, int], steps: list[tuple[set[str], int]]
) -> None:
    way, owed = path(*NAMES, weights=weights), NOTHING
    for up, count in steps:
        name = choose_provider(way, up, owed)

        assert (name in up) if up else name is None
        if name is not None:
            owed = count_sms(way, up, owed, provider=name, sms=count)
        assert abs(sum(owed.values())) < 1e-6
        assert all(abs(one) <= 50 * 2 * len(NAMES) for one in owed.values())


# --- by number -------------------------------------------------------------------------------------------------------

MOBILE = {"name": "mobile", "prefixes": ("+336", "+337"), "providers": ("m",)}
SPECIAL = {"prefixes": ("+33700",), "providers": ("s", "m"), "weights": {"s": 2}}


@pytest.mark.parametrize(
    ("msisdn", "route"),
    [("+33612345678", "mobile"), ("+33701234567", "mobile"), ("+33700123456", "+33700"), ("+33112345678", OWN)],
)
@pytest.mark.parametrize("routes", [(MOBILE, SPECIAL), (SPECIAL, MOBILE)])
def test_the_longest_prefix_wins_wherever_it_stands(msisdn: str, route: str, routes: tuple[object, ...]) -> None:
    assert choose_route(make_account(routes=routes), msisdn) == route


def test_a_route_has_its_own_carriers_and_shares() -> None:
    account = routed(MOBILE, SPECIAL)

    assert find_path(account, "+33700") == path("s", "m", weights={"s": 2})
    assert find_path(account, OWN) == path("own")
    assert account.all_providers == ("own", "m", "s")


def test_a_route_that_is_gone_is_the_account_s_own() -> None:
    assert find_path(routed(MOBILE), "+33700") == path("own")


@given(st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True))
def test_every_number_has_a_route_that_has_carriers(msisdn: str) -> None:
    account = routed(MOBILE, SPECIAL)

    assert find_path(account, choose_route(account, msisdn)).providers


@pytest.mark.parametrize(
    ("routes", "sentence"),
    [
        ([{**MOBILE, "prefixes": ("0033",)}], "begins no number"),
        ([{**MOBILE, "prefixes": ("+0",)}], "begins no number"),
        ([{**MOBILE, "prefixes": ("+1234567890123456",)}], "begins no number"),
        ([{**MOBILE, "prefixes": ()}], "at least one"),
        ([{**MOBILE, "providers": ()}], "at least one"),
        ([{**MOBILE, "weights": {"x": 1}}], 'weights names "x", which is not among its providers'),
        ([{**MOBILE, "weights": {"m": 0}}], "greater than or equal to 1"),
        ([MOBILE, {**SPECIAL, "name": "mobile"}], 'two routes are called "mobile"'),
        ([MOBILE, {**SPECIAL, "prefixes": ("+337",)}], 'prefix "+337" stands in route "mobile" and again in "+337"'),
        ([{**MOBILE, "prefixes": ("+336", "+336")}], 'prefix "+336" stands in route "mobile" and again in "mobile"'),
    ],
)
def test_a_contradiction_among_routes_is_refused(routes: list[dict[str, object]], sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        make_account(routes=routes)

    assert sentence in str(caught.value)


def test_weights_of_an_account_name_its_own_carriers() -> None:
    with pytest.raises(ValidationError, match='weights names "x"'):
        make_account(weights={"x": 1})
