"""Who was told no is counted in memory, and stored together: a flood costs no more than a trickle."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.store import Store, StoreSettings, StoreUnavailable, migrate
from gateway.store.story_tables import turned_away
from gateway.stories.turnaways import MANY, MOST_ROWS, Turnaways, client_of
from tests.store.samples import row, rows
from tests.support.clock import START, ManualClock

SAID = "550 5.1.1 No such recipient here"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    settings = StoreSettings(url=f"sqlite:///{tmp_path / 'store.db'}")
    await migrate(settings)
    opened = await Store.open(settings)
    yield opened
    await opened.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def turnaways(store: Store, clock: ManualClock) -> Turnaways:
    return Turnaways(store=store, clock=clock)


async def test_the_same_said_often_is_one_row(turnaways: Turnaways, store: Store, clock: ManualClock) -> None:
    for number in range(1000):
        turnaways.note(peer="192.0.2.9", sender="a@b.example", reply=SAID, facts={"helo": f"{number}"})
        clock.advance(0.001)
    await turnaways.store()
    found = await row(store, turned_away)

    assert (found["count"], found["peer"], found["sender"]) == (1000, "192.0.2.9", "a@b.example")
    assert found["facts"] == {"helo": "999"}
    assert found["first_at"] == START
    assert found["last_at"] > START


async def test_a_flood_of_senders_ends_in_one_row_for_its_reply(turnaways: Turnaways, store: Store) -> None:
    for number in range(5 * MOST_ROWS):
        turnaways.note(peer="192.0.2.9", sender=f"{number}@b.example", reply=SAID, facts={})
    await turnaways.store()
    (many,) = [one for one in await rows(store, turned_away) if one["peer"] == MANY]

    assert (many["sender"], many["reply"], many["count"]) == (MANY, SAID, 4 * MOST_ROWS)
    assert len(await rows(store, turned_away)) == MOST_ROWS + 1


async def test_a_flood_of_replies_is_bounded_too(turnaways: Turnaways, store: Store) -> None:
    for number in range(5 * MOST_ROWS):
        turnaways.note(peer="192.0.2.9", sender=None, reply=f"550 {number}", facts={})
    await turnaways.store()

    assert len(await rows(store, turned_away)) == 2 * MOST_ROWS + 1


async def test_what_cannot_be_stored_now_is_still_counted(
    turnaways: Turnaways, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    turnaways.note(peer="192.0.2.9", sender="a@b.example", reply=SAID, facts={})
    with monkeypatch.context() as away:

        async def refuse(*_: object) -> None:
            raise StoreUnavailable("away")

        away.setattr(store, "note_turned_away", refuse)
        with pytest.raises(StoreUnavailable):
            await turnaways.store()
    await turnaways.store()

    assert (await row(store, turned_away))["count"] == 1


async def test_the_number_of_an_incident_makes_no_row_of_its_own(turnaways: Turnaways, store: Store) -> None:
    for number in ("0a1b2c3d4e", "1111111111"):
        said = f"451 4.3.0 Internal error, try again later (incident {number})"
        turnaways.note(peer="192.0.2.9", sender="", reply=said, facts={})
    await turnaways.store()

    assert (await row(store, turned_away))["count"] == 2


@pytest.mark.parametrize(
    ("peer", "client"),
    [
        ("192.0.2.9", "192.0.2.9"),
        ("2001:db8::1:2", "2001:db8::/64"),
        ("::ffff:192.0.2.9", "192.0.2.9"),
        ("unix:/run/socket", "unix:/run/socket"),
    ],
)
def test_a_client_of_ipv6_is_its_network(peer: str, client: str) -> None:
    assert client_of(peer) == client
