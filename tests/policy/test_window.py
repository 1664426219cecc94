"""docs/protocol.md §6.6: hours of commercial SMS."""

from collections import Counter
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.accounts import Account, HoursProfile, OutsideHours
from gateway.policy.public_holidays import SUBDIVISIONS, public_holidays
from gateway.policy.window import (
    HOURS,
    Go,
    HoursRules,
    Refuse,
    Wait,
    heed_closed_carrier,
    is_open,
    next_opening,
    recheck,
    rules_of,
)
from gateway.protocol.codes import Code
from tests.support.accounts import make_account

PARIS = ZoneInfo("Europe/Paris")
SOURCE = HoursRules(profile=HoursProfile.ISENDPRO, timezone="Europe/Paris")
CHARTER = HoursRules(profile=HoursProfile.AF2M_2026, timezone="Europe/Paris")
MOSELLE = HoursRules(profile=HoursProfile.ISENDPRO, timezone="Europe/Paris", subdivision="57")
MARTINIQUE = HoursRules(profile=HoursProfile.ISENDPRO, timezone="America/Martinique", subdivision="972")


def paris(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=PARIS)


@pytest.mark.parametrize(
    ("at", "rules", "expected"),
    [
        ("2026-03-04 07:59:59", SOURCE, False),
        ("2026-03-04 08:00:00", SOURCE, True),
        ("2026-03-04 19:59:59", SOURCE, True),
        ("2026-03-04 20:00:00", SOURCE, False),
        ("2026-03-04 00:00:00", SOURCE, False),
        ("2026-03-07 12:00:00", SOURCE, True),  # Saturday
        ("2026-03-08 12:00:00", SOURCE, False),  # Sunday
        ("2026-05-14 12:00:00", SOURCE, False),  # Ascension
        ("2026-03-29 12:00:00", SOURCE, False),  # Sunday of the change
        ("2026-03-30 08:00:00", SOURCE, True),  # first summer morning
        ("2026-03-30 07:59:59", SOURCE, False),
        ("2026-10-26 08:00:00", SOURCE, True),  # first winter morning
        ("2026-10-26 07:59:59", SOURCE, False),
        ("2026-03-04 21:29:59", CHARTER, True),
        ("2026-03-04 21:30:00", CHARTER, False),
        ("2026-03-08 12:00:00", CHARTER, False),
        ("2026-05-14 12:00:00", CHARTER, False),
        ("2026-01-28 21:00:00", CHARTER, False),  # not in force yet
        ("2026-02-02 21:00:00", CHARTER, True),
        ("2026-12-26 12:00:00", SOURCE, True),
        ("2026-12-26 12:00:00", MOSELLE, False),
        ("2026-04-03 12:00:00", SOURCE, True),
        ("2026-04-03 12:00:00", MOSELLE, False),
        ("2026-03-04 13:30:00", MARTINIQUE, True),  # 08:30 there
        ("2026-03-04 12:30:00", MARTINIQUE, False),  # 07:30 there
        ("2026-05-22 15:00:00", MARTINIQUE, False),  # abolition of slavery
        ("2026-05-22 15:00:00", SOURCE, True),
    ],
)
def test_hours_are_those_of_the_profile(at: str, rules: HoursRules, expected: bool) -> None:
    assert is_open(paris(at), rules) is expected


@pytest.mark.parametrize(
    ("at", "rules", "expected"),
    [
        ("2026-03-04 12:00", SOURCE, "2026-03-04 12:00"),
        ("2026-03-04 06:00", SOURCE, "2026-03-04 08:00"),
        ("2026-03-04 20:00", SOURCE, "2026-03-05 08:00"),
        ("2026-03-07 21:00", SOURCE, "2026-03-09 08:00"),  # over a Sunday
        ("2026-03-28 20:00", SOURCE, "2026-03-30 08:00"),  # over the change to summer time
        ("2026-10-24 20:00", SOURCE, "2026-10-26 08:00"),  # over the change to winter time
        ("2026-04-04 20:00", SOURCE, "2026-04-07 08:00"),  # Easter
        ("2026-04-02 20:00", MOSELLE, "2026-04-04 08:00"),  # Good Friday
        ("2026-12-24 20:00", MOSELLE, "2026-12-28 08:00"),  # Christmas, St Stephen, Sunday
        ("2026-12-31 23:00", SOURCE, "2027-01-02 08:00"),
        ("2026-01-31 20:30", CHARTER, "2026-02-02 08:00"),
        ("2026-03-04 06:00", MARTINIQUE, "2026-03-04 13:00"),
    ],
)
def test_next_opening_is_the_first_moment_that_is_open(at: str, rules: HoursRules, expected: str) -> None:
    opening = next_opening(paris(at), rules)

    assert opening == paris(expected)
    assert opening.tzinfo is UTC


def test_a_night_with_a_clock_change_is_an_hour_shorter_or_longer() -> None:
    zone = ZoneInfo("Indian/Reunion")  # no clock change: the control
    spring = next_opening(paris("2026-03-28 20:00"), SOURCE) - paris("2026-03-28 20:00").astimezone(UTC)
    autumn = next_opening(paris("2026-10-24 20:00"), SOURCE) - paris("2026-10-24 20:00").astimezone(UTC)
    plain = next_opening(
        datetime(2026, 3, 28, 20, tzinfo=zone), HoursRules(profile=HoursProfile.ISENDPRO, timezone=zone.key)
    ) - datetime(2026, 3, 28, 20, tzinfo=zone)

    assert (spring, autumn, plain) == (timedelta(hours=35), timedelta(hours=37), timedelta(hours=36))


QUARTER = timedelta(minutes=15)


def clock_changes(zone: ZoneInfo) -> list[datetime]:
    """Return the clock changes of five years, to the hour."""
    hours = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=count) for count in range(5 * 366 * 24)]
    return [later for earlier, later in pairwise(hours) if offset_in(zone, earlier) != offset_in(zone, later)]


def offset_in(zone: ZoneInfo, at: datetime) -> timedelta | None:
    return at.astimezone(zone).utcoffset()


@pytest.mark.slow
@pytest.mark.parametrize(("profile", "quarters_a_day"), [(HoursProfile.ISENDPRO, 48), (HoursProfile.AF2M_2026, 54)])
@pytest.mark.parametrize("name", ["Europe/Paris", "America/Miquelon"])
def test_days_around_every_clock_change_are_open_from_eight_and_as_long_as_any(
    name: str, profile: HoursProfile, quarters_a_day: int
) -> None:
    zone, rules = ZoneInfo(name), HoursRules(profile=profile, timezone=name)
    changes = [at for at in clock_changes(zone) if at > datetime(2026, 2, 1, tzinfo=UTC)]
    for change in changes:
        day = change.astimezone(zone).date()
        begins_at, ends_at = (
            datetime.combine(day + timedelta(days=days), time(), zone).astimezone(UTC) for days in (-3, 4)
        )
        quarters = [begins_at + QUARTER * count for count in range((ends_at - begins_at) // QUARTER)]
        opened = [at for at in quarters if is_open(at, rules)]
        dates = Counter(at.astimezone(zone).date() for at in opened)
        first = {at.astimezone(zone).date(): at.astimezone(zone).time() for at in reversed(opened)}
        working = {day + timedelta(days=days) for days in range(-3, 4)} - public_holidays(day.year, None)

        assert dates == dict.fromkeys((one for one in working if one.weekday() != 6), quarters_a_day)
        assert set(first.values()) == {time(8)}
        for earlier, later in pairwise(opened):  # either they touch, or nothing between them is open
            assert later == earlier + QUARTER or next_opening(earlier + QUARTER, rules) == later
    assert len(changes) == 10


rules_strategy = st.builds(
    HoursRules,
    profile=st.sampled_from(HoursProfile),
    timezone=st.sampled_from(["Europe/Paris", "Indian/Reunion", "America/Martinique", "Pacific/Auckland", "UTC"]),
    subdivision=st.sampled_from([None, *SUBDIVISIONS]),
)
instants = st.datetimes(
    min_value=datetime(2025, 1, 1),  # noqa: DTZ001  hypothesis adds the zone
    max_value=datetime(2028, 12, 31),  # noqa: DTZ001
    timezones=st.just(UTC),
)


@given(at=instants, rules=rules_strategy, share=st.floats(0, 1, exclude_max=True))
def test_next_opening_is_open_and_nothing_before_it_is(at: datetime, rules: HoursRules, share: float) -> None:
    opening = next_opening(at, rules)
    between = at + (opening - at) * share

    assert opening >= at
    assert opening - at < timedelta(days=6)
    assert is_open(opening, rules)
    assert between >= opening or not is_open(between, rules)


@given(at=instants, rules=rules_strategy)
def test_open_moments_are_their_own_next_opening(at: datetime, rules: HoursRules) -> None:
    assert (next_opening(at, rules) == at) is is_open(at, rules)


def test_each_profile_covers_all_days_in_order() -> None:
    for hours in HOURS.values():
        dates = [entry.since for entry in hours]

        assert dates == sorted(set(dates))
        assert (dates[0].year, dates[0].month, dates[0].day) == (1, 1, 1)
    assert set(HOURS) == set(HoursProfile)


def test_school_zones_are_no_subdivisions() -> None:
    assert "57" in SUBDIVISIONS
    assert not [name for name in SUBDIVISIONS if "Zone" in name]
    assert len(public_holidays(2026, None)) == 11


def account(**settings: object) -> Account:
    return make_account(commercial=True, **settings)


def test_recheck_lets_open_hours_pass() -> None:
    assert recheck(account(), paris("2026-03-04 12:00"), commercial=True) == Go()


def test_recheck_does_not_bind_other_than_commercial_traffic() -> None:
    assert recheck(account(), paris("2026-03-08 23:00"), commercial=False) == Go()


def test_recheck_refuses_outside_hours_with_code_24() -> None:
    assert recheck(account(), paris("2026-03-04 20:00"), commercial=True) == Refuse(code=Code.C24_OUTSIDE_HOURS)


def test_recheck_waits_for_the_opening_when_the_account_says_hold() -> None:
    holding = account(outside_hours=OutsideHours.HOLD)

    assert recheck(holding, paris("2026-03-04 20:00"), commercial=True) == Wait(until=paris("2026-03-05 08:00"))


def test_a_closed_carrier_is_final_unless_the_account_says_hold() -> None:
    assert heed_closed_carrier(account(), paris("2026-03-04 12:00")) == Refuse(code=Code.C24_OUTSIDE_HOURS)


@pytest.mark.parametrize(
    ("at", "until"),
    [("2026-03-04 20:00", "2026-03-05 08:00"), ("2026-03-04 12:00", "2026-03-04 12:00")],
    ids=["closed here too", "open here"],
)
def test_a_closed_carrier_is_asked_again_at_our_own_next_opening(at: str, until: str) -> None:
    holding = account(outside_hours=OutsideHours.HOLD)

    assert heed_closed_carrier(holding, paris(at)) == Wait(until=paris(until))


def test_rules_are_those_of_the_account() -> None:
    overseas = account(hours_profile="af2m-2026", timezone="America/Martinique", holidays_subdivision="972")

    assert rules_of(overseas) == HoursRules(
        profile=HoursProfile.AF2M_2026, timezone="America/Martinique", subdivision="972"
    )
