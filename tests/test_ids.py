"""Ids: 20 characters, sortable by time."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from gateway.ids import new_id

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's
INSTANTS = st.datetimes(
    min_value=datetime(2020, 1, 1),  # noqa: DTZ001  hypothesis adds the zone
    max_value=datetime(2120, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)


@given(INSTANTS)
def test_the_first_half_of_an_id_is_the_millisecond_it_was_made(at: datetime) -> None:
    made = new_id(at)
    millisecond = 0
    for digit in made[:10]:
        millisecond = millisecond * 32 + ALPHABET.index(digit)

    assert millisecond == int(at.timestamp() * 1000)
    assert len(made) == 20
    assert set(made) <= set(ALPHABET)


@given(INSTANTS, st.timedeltas(min_value=timedelta(milliseconds=2), max_value=timedelta(days=1000)))
def test_ids_sort_by_time(at: datetime, later: timedelta) -> None:
    assert new_id(at) < new_id(at + later)


def test_the_second_half_is_different_each_time() -> None:
    at = datetime(2026, 3, 4, tzinfo=UTC)
    made = [new_id(at) for _ in range(1000)]

    assert len(set(made)) == 1000
    assert {digit for one in made for digit in one[10:]} == set(ALPHABET)
