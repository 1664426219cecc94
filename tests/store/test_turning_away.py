"""Who was told no: counted by client, sender and reply, in a table that has a bound."""

from datetime import datetime, timedelta

import pytest

from gateway.store import Store, turning_away
from gateway.store.records import TurnedAwayRecord
from gateway.store.story_tables import turned_away
from tests.store.samples import LATER, row, rows
from tests.support.clock import START


def told(number: int = 1, *, count: int = 1, at: datetime = START, helo: str = "client") -> TurnedAwayRecord:
    return TurnedAwayRecord(
        id=f"T{number:019}",
        peer="192.0.2.9",
        sender=f"{number}@stranger.example",
        reply="550 5.7.1 You may not",
        count=count,
        first_at=at,
        last_at=at,
        facts={"helo": helo},
    )


async def test_the_same_again_is_one_row_that_counts(store: Store) -> None:
    await store.note_turned_away([told(count=3)], START)
    await store.note_turned_away([told(count=2, at=LATER, helo="another")], LATER)
    found = await row(store, turned_away)

    assert (found["count"], found["first_at"], found["last_at"]) == (5, START, LATER)
    assert found["facts"] == {"helo": "another"}
    assert await store.turned_away(found["id"]) == told(count=5).__class__(**found)


async def test_only_the_newest_are_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turning_away, "MOST", 10)
    for number in range(30):
        at = START + timedelta(seconds=number)
        await store.note_turned_away([told(number, at=at)], at)

    kept = sorted(int(one["id"][1:]) for one in await rows(store, turned_away))
    assert kept == list(range(20, 30))


async def test_what_is_a_month_old_is_gone(store: Store) -> None:
    await store.note_turned_away([told()], START)
    await store.note_turned_away([], START + turning_away.KEPT + timedelta(seconds=1))

    assert await rows(store, turned_away) == []


async def test_what_a_stranger_says_is_stored_whatever_it_is(store: Store) -> None:
    bad = TurnedAwayRecord(
        id="T" + "0" * 19,
        peer="192.0.2.9",
        sender="a\0b\udcff" + "x" * 5000,
        reply="550 \x1b[2J",
        count=1,
        first_at=START,
        last_at=START,
        facts={"helo": "a\0\udcff"},
    )
    await store.note_turned_away([bad], START)
    found = await row(store, turned_away)

    assert found["sender"].startswith("a\ufffdb\ufffd")
    assert found["facts"] == {"helo": "a\0\udcff"}
