"""When iSendPro is told to send: never earlier than was asked, whatever the clocks of its zone do."""

import json
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.providers.base import Schedules, SendOptions
from gateway.providers.isendpro import IsendproSettings
from gateway.providers.isendpro_dates import PARIS, read_date, render_send_date
from gateway.providers.isendpro_settings import GMT_ZONES
from tests.providers.carriers import KEY, batch_of, provider_at
from tests.support.clock import START
from tests.support.rawhttp import RawServer, answer

BEFORE = datetime(2020, 1, 1, tzinfo=UTC)
DAYS_AROUND_A_CHANGE = st.sampled_from([datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 10, 25, tzinfo=UTC)])


async def wire(at: datetime, **settings: object) -> dict[str, object]:
    """Return what the call says about the date."""
    options = SendOptions(account_key=KEY, deliver_at=at)
    async with RawServer(answer(b"{}")) as server, provider_at("isendpro", server.url, **settings) as provider:
        await provider.submit(batch_of("+33612340001", options=options))
        [request] = server.requests
    fields = json.loads(request.body)
    return {name: fields[name] for name in ("date_envoi", "gmt_zone") if name in fields}


async def test_carrier_can_wait_for_a_day() -> None:
    async with provider_at("isendpro", "http://127.0.0.1:9") as provider:
        assert isinstance(provider, Schedules)
        assert provider.longest_wait_s == 86_400


async def test_date_is_that_of_paris_and_no_zone_is_named() -> None:
    assert await wire(START + timedelta(hours=2)) == {"date_envoi": "2026-03-04 12:30"}


async def test_date_is_that_of_the_zone_that_is_named() -> None:
    assert await wire(START + timedelta(hours=2), gmt_zone="America/New_York") == {
        "date_envoi": "2026-03-04 06:30",
        "gmt_zone": "America/New_York",
    }


@pytest.mark.parametrize("later_s", [-3600, 0])
async def test_instant_that_is_not_ahead_is_not_told(later_s: float) -> None:
    assert await wire(START + timedelta(seconds=later_s)) == {}


async def test_part_of_a_minute_counts_as_the_next_one() -> None:
    assert await wire(START + timedelta(seconds=1)) == {"date_envoi": "2026-03-04 10:31"}


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-10-25T00:30:00+00:00", "2026-10-25 02:30"),  # the first 02:30
        ("2026-10-25T01:00:00+00:00", "2026-10-25 03:00"),  # the second 02:00
        ("2026-10-25T01:30:00+00:00", "2026-10-25 03:00"),
        ("2026-10-25T02:00:00+00:00", "2026-10-25 03:00"),
        ("2026-03-29T00:59:30+00:00", "2026-03-29 03:00"),
        ("2026-03-29T03:00:00+02:00", "2026-03-29 03:00"),
    ],
)
def test_hour_that_comes_twice_is_never_read_as_too_early(at: str, expected: str) -> None:
    assert render_send_date(datetime.fromisoformat(at), now=BEFORE, zone=PARIS) == expected


@given(DAYS_AROUND_A_CHANGE, st.integers(0, 86_400), st.sampled_from(sorted({*GMT_ZONES, PARIS})))
def test_date_is_never_before_the_instant_in_any_reading(day: datetime, second: int, zone: str) -> None:
    at = day + timedelta(seconds=second)
    told = render_send_date(at, now=BEFORE, zone=zone)
    assert told is not None
    local = datetime.fromisoformat(told).replace(tzinfo=ZoneInfo(zone))
    late = [local.replace(fold=fold).astimezone(UTC) - at for fold in (0, 1)]

    assert timedelta(0) <= min(late) < timedelta(minutes=61)


def test_every_zone_of_the_carrier_is_known_here() -> None:
    assert len(GMT_ZONES) == 90
    assert {ZoneInfo(zone).key for zone in GMT_ZONES} == GMT_ZONES


@pytest.mark.parametrize(
    ("zone", "advice"), [("Europe/Paris", "Europe/"), ("Europe/Bruxelles", "Europe/Brussels"), ("", "Europe/Brussels")]
)
def test_zone_that_the_carrier_does_not_know_is_refused_with_advice(zone: str, advice: str) -> None:
    with pytest.raises(ValidationError, match="is not one of the carrier's 90 zones") as refused:
        IsendproSettings(name="carrier", gmt_zone=zone)

    assert advice in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-02 09:51:46",
        "02/03/2026 09:51:46",
        "02-03-2026 09:51:46",
        "2026/03/02 09:51:46",
        "20260302095146",
        "2026-03-02T09:51:46",
        "2026-03-02T09:51:46+01:00",
        "2026-03-02T08:51:46Z",
        "1772441506",
        "1772441506000",
    ],
)
def test_dates_are_read_in_any_notation(text: str) -> None:
    assert read_date(f" {text} ") == datetime(2026, 3, 2, 8, 51, 46, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "demain", "0", "9999-12-31 23:59", "1999-12-31 10:00", "202603020951461", "²"])
def test_what_is_no_date_of_our_days_is_none(text: str) -> None:
    assert read_date(text) is None


@given(st.text(max_size=30))
def test_any_text_is_read_without_an_exception(text: str) -> None:
    found = read_date(text)

    assert found is None or found.tzinfo is UTC
