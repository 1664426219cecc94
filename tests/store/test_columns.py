"""Kinds of columns: what they take, and what they give back."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine.interfaces import Dialect

from gateway.lifecycle import SmsEvent, SmsState
from gateway.store.columns import Choice, Foreign, Instant, Notes

ZONES = [UTC, timezone(timedelta(hours=2)), timezone(timedelta(hours=-9))]
DIALECTS = [sa.create_engine(url).dialect for url in ("sqlite://", "postgresql+psycopg://")]


@pytest.mark.parametrize("dialect", DIALECTS)
@given(
    instant=st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=2)), timezone(timedelta(hours=-9))]))
)
def test_an_instant_comes_back_as_the_same_instant_in_utc(dialect: Dialect, instant: datetime) -> None:
    column = Instant()
    back = column.process_result_value(column.process_bind_param(instant, dialect), dialect)

    assert back == instant
    assert back.tzinfo is UTC


@given(instants=st.lists(st.datetimes(timezones=st.just(UTC)), min_size=2, max_size=2))
def test_instants_sort_by_time_in_sqlite(instants: list[datetime]) -> None:
    process = Instant().bind_processor(DIALECTS[0])  # text: what SQLite sorts
    assert process is not None

    assert sorted(instants) == sorted(instants, key=process)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_naive_instant_is_refused(dialect: Dialect) -> None:
    with pytest.raises(ValueError, match="naive"):
        Instant().process_bind_param(datetime(2026, 1, 1), dialect)  # noqa: DTZ001


@given(text=st.text(st.characters(exclude_categories=()), max_size=60), limit=st.integers(1, 40))
def test_foreign_text_is_storable_and_within_its_limit(text: str, limit: int) -> None:
    stored = Foreign(limit).process_bind_param(text, DIALECTS[0])
    assert stored is not None

    assert len(stored.encode()) <= limit
    assert "\0" not in stored
    whole = text.replace("\0", "�").encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    assert whole.startswith(stored)
    assert len(whole.encode()) <= limit or len(stored.encode()) > limit - 4


def test_a_choice_takes_only_its_members() -> None:
    with pytest.raises(ValueError, match="not a valid"):
        Choice(SmsState).process_bind_param(SmsEvent.TAKEN, DIALECTS[0])  # type: ignore[arg-type]


@given(notes=st.lists(st.text(st.characters(exclude_categories=()))).map(tuple))
def test_notes_come_back_as_they_were(notes: tuple[str, ...]) -> None:
    stored = Notes().process_bind_param(notes, DIALECTS[0])
    assert stored is not None

    assert stored.isascii()
    assert Notes().process_result_value(stored, DIALECTS[0]) == notes
