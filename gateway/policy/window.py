"""Hours of commercial SMS (docs/protocol.md §6.6): dated data, and what follows from them.

All instants are aware. Hours are those of the wall clock of a zone, so both clock changes come out right by themselves.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from types import MappingProxyType
from zoneinfo import ZoneInfo

from gateway.policy.accounts import Account, HoursProfile, OutsideHours
from gateway.policy.public_holidays import public_holidays
from gateway.protocol.codes import Code

_SUNDAY = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """Hours in force from one day on, until the next entry of the profile."""

    since: date
    opens_at: time
    closes_at: time  # the first moment that is closed again
    closed_weekdays: frozenset[int]  # 0 is Monday
    closed_on_holidays: bool


_SOURCE_HOURS = Hours(
    since=date.min,
    opens_at=time(8),
    closes_at=time(20),
    closed_weekdays=frozenset({_SUNDAY}),
    closed_on_holidays=True,  # code 24 of the source: "ni les dimanches et jours fériés"
)

HOURS: Mapping[HoursProfile, tuple[Hours, ...]] = MappingProxyType(
    {
        HoursProfile.ISENDPRO: (_SOURCE_HOURS,),
        HoursProfile.AF2M_2026: (
            _SOURCE_HOURS,
            Hours(
                since=date(2026, 2, 1),
                opens_at=time(8),
                closes_at=time(21, 30),
                closed_weekdays=frozenset({_SUNDAY}),  # "Monday to Saturday" is the charter's recommendation
                closed_on_holidays=True,  # the charter tolerates them; the carriers' code 24 does not
            ),
        ),
    }
)
"""The hours of each profile, oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HoursRules:
    """What an account's hours depend on."""

    profile: HoursProfile
    timezone: str
    subdivision: str | None = None


@dataclass(frozen=True, slots=True)
class Go:
    """It may be sent now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """It may be sent from this instant on."""

    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse:
    """It may not be sent."""

    code: Code


def rules_of(account: Account) -> HoursRules:
    """Return the rules for an account's commercial SMS."""
    return HoursRules(
        profile=account.hours_profile, timezone=account.timezone, subdivision=account.holidays_subdivision
    )


def is_open(at: datetime, rules: HoursRules) -> bool:
    """True when commercial SMS may be sent at this instant."""
    local = at.astimezone(ZoneInfo(rules.timezone))
    hours = _hours_on(local.date(), rules)
    return _is_open_day(local.date(), hours, rules) and hours.opens_at <= local.time() < hours.closes_at


def next_opening(at: datetime, rules: HoursRules) -> datetime:
    """Return the first instant from `at` on at which `is_open`, in UTC; `at` itself when it is open."""
    if is_open(at, rules):
        return at.astimezone(UTC)
    zone = ZoneInfo(rules.timezone)
    day = at.astimezone(zone).date()
    while True:  # no profile is closed for more than a few days on end
        hours = _hours_on(day, rules)
        opening = datetime.combine(day, hours.opens_at, zone).astimezone(UTC)
        if opening > at and _is_open_day(day, hours, rules):
            return opening
        day += timedelta(days=1)


def recheck(account: Account, now: datetime, *, commercial: bool) -> Go | Wait | Refuse:
    """Return whether an SMS may be sent now: to be asked at admission for its due time, and right before the call."""
    if not commercial:
        return Go()
    rules = rules_of(account)
    if is_open(now, rules):
        return Go()
    if account.outside_hours is OutsideHours.HOLD:
        return Wait(until=next_opening(now, rules))
    return Refuse(code=Code.C24_OUTSIDE_HOURS)


def heed_closed_carrier(account: Account, now: datetime) -> Wait | Refuse:
    """Return what becomes of an SMS whose carrier answered code 24: the account's choice, as if we had seen it.

    A carrier that is closed while our own hours are open names no opening: then it is asked again from `now` on.
    """
    if account.outside_hours is OutsideHours.HOLD:
        return Wait(until=next_opening(now, rules_of(account)))
    return Refuse(code=Code.C24_OUTSIDE_HOURS)


def _hours_on(day: date, rules: HoursRules) -> Hours:
    return next(hours for hours in reversed(HOURS[rules.profile]) if hours.since <= day)


def _is_open_day(day: date, hours: Hours, rules: HoursRules) -> bool:
    if day.weekday() in hours.closed_weekdays:
        return False
    return not (hours.closed_on_holidays and day in public_holidays(day.year, rules.subdivision))
