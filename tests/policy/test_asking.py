"""When carriers are asked what became of SMS."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.lifecycle import SmsState
from gateway.policy.asking import first_ask, next_ask
from tests.support.clock import START

QUARTER = timedelta(minutes=15)
THREE_DAYS = timedelta(days=3)


def all_asks(state: SmsState, window: timedelta, jitter: float = 0.0) -> list[timedelta]:
    """Every time, from when it came into the state, if each question is asked when it is due."""
    asks = []
    at = first_ask(state, START, jitter=jitter)
    while at is not None:
        asks.append(at - START)
        at = next_ask(state, at, since=START, window=window, jitter=jitter)
    return asks


def test_an_unknown_fate_is_asked_for_soon_then_seldom_and_once_more_at_the_end() -> None:
    minutes = [ask.total_seconds() / 60 for ask in all_asks(SmsState.UNCERTAIN, QUARTER)]

    assert minutes == [1, 2, 4, 8, 15]


def test_an_accepted_one_is_asked_for_later_and_later_until_nothing_is_waited_for() -> None:
    hours = [ask.total_seconds() / 3600 for ask in all_asks(SmsState.ACCEPTED, THREE_DAYS)]

    assert hours == [0.25, 1, 4, 12, 24, 48]


@pytest.mark.parametrize("state", [one for one in SmsState if one not in (SmsState.UNCERTAIN, SmsState.ACCEPTED)])
def test_of_no_other_is_anything_asked(state: SmsState) -> None:
    assert first_ask(state, START, jitter=0) is None


@given(
    state=st.sampled_from([SmsState.UNCERTAIN, SmsState.ACCEPTED]),
    window=st.timedeltas(min_value=timedelta(seconds=1), max_value=timedelta(days=30)),
    jitter=st.floats(0, 1, exclude_max=True),
)
def test_asking_goes_on_and_ends(state: SmsState, window: timedelta, jitter: float) -> None:
    asks = all_asks(state, window, jitter)

    assert asks == sorted(set(asks))
    assert len(asks) < 30
    if state is SmsState.UNCERTAIN:
        assert asks[-1] >= window


@given(late=st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=400)))
def test_a_question_that_was_late_is_followed_by_one_to_come_or_none(late: timedelta) -> None:
    now = START + late
    for state, window in ((SmsState.UNCERTAIN, QUARTER), (SmsState.ACCEPTED, THREE_DAYS)):
        following: datetime | None = next_ask(state, now, since=START, window=window, jitter=0.5)

        assert following is None or following > now


def test_a_row_of_a_time_to_come_is_asked_for_again() -> None:
    after_step_back = next_ask(SmsState.UNCERTAIN, START, since=START + THREE_DAYS, window=QUARTER, jitter=0)

    assert after_step_back == START + timedelta(minutes=1)
