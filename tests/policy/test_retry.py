"""How long to wait before trying again."""

from datetime import UTC, datetime, timedelta
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.lifecycle import Hold
from gateway.policy.retry import MAX_WISH, REPORT_BACKOFF, SMS_BACKOFF, report_delay, sms_delay

NOW = datetime(2026, 3, 4, 9, 30, tzinfo=UTC)
holds = st.sampled_from(Hold)
jitters = st.floats(0, 1, exclude_max=True)
attempts = st.integers(1, 10_000)


def plain(hold: Hold, attempt: int) -> timedelta:
    return sms_delay(hold, attempt=attempt, jitter=0.0, now=NOW, retry_at=None)


@pytest.mark.parametrize(
    ("hold", "expected_s"),
    [
        (Hold.SMS, [60, 120, 240, 480, 960, 1800, 1800]),
        (Hold.ACCOUNT, [0, 0, 0, 0, 0, 0, 0]),  # its lane waits
        (Hold.PROVIDER, [30, 60, 120, 240, 480, 600, 600]),
    ],
)
def test_delays_double_up_to_their_cap(hold: Hold, expected_s: list[int]) -> None:
    assert [plain(hold, attempt).total_seconds() for attempt in range(1, 8)] == expected_s


def test_reports_wait_a_minute_doubling_to_an_hour() -> None:
    delays = [report_delay(attempt=attempt, jitter=0.0) / timedelta(minutes=1) for attempt in range(1, 10)]

    assert delays == [1, 2, 4, 8, 16, 32, 60, 60, 60]


@pytest.mark.parametrize("jitter", [0.0, 0.999])
def test_reports_come_back_soon_for_greylisting_and_go_on_for_five_days(jitter: float) -> None:
    tried_after = list(accumulate(report_delay(attempt=attempt, jitter=jitter) for attempt in range(1, 200)))
    within_minutes = [sum(one <= timedelta(minutes=minutes) for one in tried_after) for minutes in (2, 5, 10, 20)]
    longest = max(after - before for before, after in pairwise(tried_after))

    assert within_minutes == [1, 2, 3, 4]
    assert sum(one <= timedelta(days=5) for one in tried_after) >= 96
    assert longest <= timedelta(minutes=65)


@given(hold=holds, attempt=attempts, jitter=jitters)
def test_jitter_adds_less_than_a_quarter(hold: Hold, attempt: int, jitter: float) -> None:
    delay = sms_delay(hold, attempt=attempt, jitter=jitter, now=NOW, retry_at=None)

    assert plain(hold, attempt) <= delay <= SMS_BACKOFF[hold].cap * 1.25


@given(hold=holds, attempt=attempts, jitter=jitters, wish_s=st.integers(-86_400, 86_400))
def test_provider_is_not_asked_before_the_time_it_named(hold: Hold, attempt: int, jitter: float, wish_s: int) -> None:
    wish = timedelta(seconds=wish_s)
    delay = sms_delay(hold, attempt=attempt, jitter=jitter, now=NOW, retry_at=NOW + wish)

    assert delay >= max(wish, plain(hold, attempt))


def test_jitter_after_a_long_wish_is_minutes_not_hours() -> None:
    delay = sms_delay(Hold.SMS, attempt=1, jitter=0.999, now=NOW, retry_at=NOW + timedelta(hours=12))

    assert timedelta(hours=12) <= delay <= timedelta(hours=12, minutes=5)


def test_wish_beyond_the_cap_is_cut() -> None:
    far = NOW + timedelta(days=3650)

    assert sms_delay(Hold.SMS, attempt=1, jitter=0.0, now=NOW, retry_at=far) == MAX_WISH


def test_each_kind_of_hold_has_its_table() -> None:
    assert set(SMS_BACKOFF) == set(Hold)
    assert REPORT_BACKOFF.delay(2**40, 0.999) < timedelta(minutes=75)
