"""docs/protocol.md §10.5: quotas as their operator writes them, and what an SMS counts for them."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.policy.quotas import Meter, Per, Quota, Unit, Window, price_micros
from gateway.store.budget import Ledger, Limit, find_due_at
from tests.support.accounts import make_account


def quota(**settings: object) -> Quota:
    return Quota.model_validate({"per": "account", "window": "hour", "sms": 5} | settings)


@pytest.mark.parametrize(
    ("settings", "sentence", "key"),
    [
        ({}, "at most 5 SMS an hour for the account", "account/hour/sms"),
        ({"per": "recipient", "window": "minute"}, "at most 5 SMS a minute to one number", "recipient/minute/sms"),
        (
            {"per": "sender", "sms": None, "mails": 9, "window": "day"},
            "at most 9 mails a day from one sender",
            "sender/day/mails",
        ),
        (
            {"per": "prefix", "prefixes": ["+3389", "+881"], "sms": None, "cost": 12.5},
            "at most 12.50 of money an hour to numbers with +3389, +881",
            "prefix/hour/cost/+3389,+881",
        ),
        ({"sms": None, "parts": 7}, "at most 7 parts an hour for the account", "account/hour/parts"),
    ],
)
def test_a_quota_says_what_it_is(settings: dict[str, object], sentence: str, key: str) -> None:
    found = quota(**settings)

    assert (found.sentence, found.key) == (sentence, key)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"sms": None}, "one of sms, parts, cost and mails; none is there"),
        ({"parts": 5}, "not sms and parts: write another block for the other"),
        ({"per": "prefix"}, 'prefixes and per = "prefix" go together'),
        ({"prefixes": ["+336"]}, 'prefixes and per = "prefix" go together'),
        ({"per": "recipient", "sms": None, "mails": 5}, "a mail can be for many numbers"),
        ({"per": "prefix", "prefixes": ["06"]}, '"06" begins no number'),
        ({"window": "week"}, "'minute', 'hour' or 'day'"),
        ({"sms": 0}, "greater than or equal to 1"),
        ({"cost": "x"}, "valid number"),
    ],
)
def test_what_makes_no_sense_is_said(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        quota(**settings)

    assert sentence in str(caught.value)


def test_an_account_has_no_two_quotas_that_count_the_same() -> None:
    blocks = [{"per": "account", "window": "hour", "sms": count} for count in (5, 9)]
    with pytest.raises(ValidationError, match='two quotas count the same, "account/hour/sms"'):
        make_account(quotas=blocks)


def test_money_needs_a_price() -> None:
    block = {"per": "account", "window": "day", "cost": 20}
    with pytest.raises(ValidationError, match="needs part_price"):
        make_account(quotas=[block])

    (found,) = make_account(quotas=[block], part_price=0.045).quotas
    assert (found.unit, found.most) == (Unit.COST, 20_000_000)


def test_without_a_word_of_it_there_is_no_quota() -> None:
    account = make_account()

    assert (account.quotas, account.volume_warning, account.volume_warning_factor) == ((), 0, 0)


@pytest.mark.parametrize(
    ("per", "unit", "expected"),
    [
        (Per.ACCOUNT, Unit.SMS, ("", 1)),
        (Per.ACCOUNT, Unit.PARTS, ("", 3)),
        (Per.ACCOUNT, Unit.COST, ("", 135_000)),
        (Per.SENDER, Unit.SMS, ("it@acme.example", 1)),
        (Per.RECIPIENT, Unit.PARTS, ("+33601020304", 3)),
        (Per.PREFIX, Unit.SMS, ("", 1)),
    ],
)
def test_an_sms_counts_for_its_subject(per: Per, unit: Unit, expected: tuple[str, int]) -> None:
    meter = Meter(
        per=per, unit=unit, prefixes=("+336", "+337"), sender="it@acme.example", part_micros=price_micros(0.045)
    )

    assert meter("+33601020304", 3) == expected


def test_a_number_with_another_beginning_does_not_count() -> None:
    meter = Meter(per=Per.PREFIX, unit=Unit.SMS, prefixes=("+3389",), sender="", part_micros=0)

    assert meter("+33601020304", 1) is None


# --- windows ---------------------------------------------------------------------------------------------------------

SPRING = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)
"""Half an hour before the clocks of Paris go forward."""

instants = st.integers(0, 2 * 10**14).map(lambda us: datetime(2024, 1, 1, tzinfo=UTC) + timedelta(microseconds=us))
windows = st.sampled_from(list(Window))


def limit_of(window: Window, most: int = 3) -> Limit:
    return Limit(key="k", sentence="s", most=most, window=window.length, slot=window.slot)


@given(at=instants, window=windows)
def test_what_is_used_counts_for_a_window_and_a_slot_at_most(at: datetime, window: Window) -> None:
    limit = limit_of(window)
    lasts = limit.ends_at(at) - at

    assert window.length < lasts <= window.length + window.slot
    assert limit.slot_at(at) <= at < limit.slot_at(at) + window.slot


@given(start=instants, window=windows, most=st.integers(1, 5), steps=st.lists(st.integers(0, 90_000), max_size=40))
def test_no_stretch_of_time_as_long_as_the_window_holds_more_than_the_limit(
    start: datetime, window: Window, most: int, steps: list[int]
) -> None:
    limit, now, slots = limit_of(window, most), start, dict[datetime, tuple[int, datetime]]()
    went: list[datetime] = []
    for step in steps:
        now += timedelta(seconds=step * window.length / timedelta(days=1))
        used = sum(amount for amount, ends_at in slots.values() if ends_at > now)
        ledger = Ledger(now=now, used={("a", "k", ""): used})
        if ledger.find_spent("a", [(limit, "", 1)]) is None:
            slot_at = limit.slot_at(now)
            slots[slot_at] = (slots.get(slot_at, (0, now))[0] + 1, limit.ends_at(now))
            went.append(now)
        else:  # and what is held back is held back because of what went a window and a slot ago at most
            recent = [at for at in went if at > now - window.length - window.slot]
            assert len(recent) >= most
    for first in went:
        assert sum(first <= at < first + window.length for at in went) <= most


def test_a_day_has_24_hours_when_the_clocks_change() -> None:
    limit = limit_of(Window.DAY)

    assert limit.ends_at(SPRING) - limit.slot_at(SPRING) == timedelta(hours=25)


@given(at=instants, window=windows)
def test_what_was_held_back_is_told_at_a_full_quarter_soon_after_the_window(at: datetime, window: Window) -> None:
    due_at = find_due_at(at, window.length)

    assert timedelta(0) < due_at - at - window.length <= timedelta(minutes=15)
    assert (due_at.minute % 15, due_at.second, due_at.microsecond) == (0, 0, 0)
