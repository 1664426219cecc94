"""docs/protocol.md §5.6, §8.6: what counts as STOP, and whom it concerns."""

import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.policy.optout import find_exempt, find_sole_users, is_stop, list_keepers
from tests.support.accounts import make_account


@pytest.mark.parametrize(
    "text",
    [
        "STOP",
        "stop.",
        " Stop !",
        '"STOP"',
        "«\u00a0Stop\u00a0»",
        "STOP SMS",
        "stop sms",
        "STOPSMS",
        "STOP 36111",
        "STOP36111",
        "stop by tomorrow",
        "Stop\nmerci",
        "\ufeffSTOP",
        "ＳＴＯＰ",
        "St\u200bop",
        "36111 STOP",
        "👍 stop",
        "ARRET",
        "Arrêt",
        "arret sms",
        "ARRÊT 36111",
        "Désabonnement.",
        "unsubscribe",
    ],
)
def test_this_is_a_stop(text: str) -> None:
    assert is_stop(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "OUI",
        "non stop",
        "stopper",
        "nonstop",
        "Ne pas stopper",
        "ok stop",
        "Arrêt de travail reçu",
        "arrêt cardiaque chambre 12",
        "s.t.o.p",
        "START",
        "REPRISE",
        "36111",
        "...",
        "STOPPÉ",
    ],
)
def test_this_is_none(text: str) -> None:
    assert not is_stop(text)


NOISE = st.text(st.characters(categories=["P", "Z", "S", "Nd"], exclude_characters="´`¨^˜¯˘˙¸˛˚˝"), max_size=20)


@given(before=NOISE, after=NOISE, mask=st.integers(0, 15))
def test_neither_case_nor_what_stands_around_matters(before: str, after: str, mask: int) -> None:
    word = "".join(one.upper() if mask >> place & 1 else one for place, one in enumerate("stop"))
    assume(not any(one.isalpha() for one in unicodedata.normalize("NFKD", before + after)))  # ™ is TM

    assert is_stop(f"{before}{word}{after}")


@given(st.text(max_size=400))
def test_any_text_is_looked_at_without_an_error(text: str) -> None:
    assert is_stop(text) in (True, False)
    assert is_stop(f"stop {text}")


ACCOUNTS = [
    make_account(),
    make_account(name="alerts", keyid="2", heeds_stop=False, providers=("carrier", "own")),
]


def test_accounts_that_do_not_heed_it_are_exempt() -> None:
    assert find_exempt(ACCOUNTS) == {"alerts"}


def test_a_reply_by_way_of_a_carrier_of_one_account_is_its_own() -> None:
    assert find_sole_users(ACCOUNTS) == {"own": "alerts"}


def test_a_carrier_is_told_for_the_accounts_that_use_it() -> None:
    assert list_keepers(ACCOUNTS, ["carrier", "own", "spare"]) == {
        "carrier": {"masociete", "alerts"},
        "own": {"alerts"},
        "spare": set(),
    }


def test_a_commercial_account_heeds_it_always() -> None:
    with pytest.raises(ValueError, match="heeds_stop must be true for a commercial account"):
        make_account(commercial=True, heeds_stop=False)
