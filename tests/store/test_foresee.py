"""Store.foresee and a store that is opened to read: what would be said, with nothing written."""

from pathlib import Path

import pytest

from gateway.protocol.codes import AckCode
from gateway.store import Store, StoreSettings, StoreUnavailable, StoreUnusable, tables
from gateway.store.base import Duplicate, Foreseen, Retransmitted, Stored
from tests.store.samples import new_mail, new_order, rows
from tests.support.clock import START


async def test_what_is_foreseen_is_what_admit_says(settings: StoreSettings, store: Store) -> None:
    first = new_order(email_id="12", mail=new_mail(message_id="<1@acme.example>"))
    duplicate = new_order(email_id="12")
    again = new_order(email_id="12", mail=new_mail(message_id="<1@acme.example>"))
    reader = await Store.open(settings, read_only=True)
    foreseen = [await reader.foresee(first)]
    said = [await store.admit(first)]
    for order in (duplicate, again):
        foreseen.append(await reader.foresee(order))
        said.append(await store.admit(order))
    await reader.close()
    assert first.envoi is not None

    assert [one.outcome for one in foreseen] == said
    assert foreseen == [
        Foreseen(outcome=Stored(mail_id=first.mail.id, ack_code=AckCode.A0_PROCESSED), first_at=None),
        Foreseen(
            outcome=Duplicate(mail_id=duplicate.mail.id, first_envoi_id=first.envoi.id),
            first_at=START,
        ),
        Foreseen(outcome=Retransmitted(first_mail_id=first.mail.id), first_at=START),
    ]


async def test_foreseeing_writes_nothing(store: Store) -> None:
    order = new_order()
    await store.foresee(order)

    assert [await rows(store, table) for table in (tables.mail, tables.email_id, tables.sms)] == [[], [], []]


async def test_a_store_opened_to_read_cannot_be_written(settings: StoreSettings, store: Store) -> None:
    reader = await Store.open(settings, read_only=True)
    try:
        with pytest.raises(StoreUnavailable):
            await reader.admit(new_order())
    finally:
        await reader.close()

    assert await rows(store, tables.mail) == []


async def test_opening_to_read_makes_no_store(tmp_path: Path) -> None:
    path = tmp_path / "none.db"
    with pytest.raises(StoreUnusable):
        await Store.open(StoreSettings(url=f"sqlite:///{path}"), read_only=True)

    assert files_beside(path) == {}


def files_beside(path: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in path.parent.iterdir()}


async def test_reading_leaves_everything_as_it_was(sqlite_settings: StoreSettings) -> None:
    path = Path(sqlite_settings.url.removeprefix("sqlite:///"))
    before = files_beside(path)
    reader = await Store.open(sqlite_settings, read_only=True)
    await reader.foresee(new_order())
    await reader.close()

    assert files_beside(path) == before


async def test_reading_goes_on_while_a_gateway_writes(settings: StoreSettings, store: Store) -> None:
    reader = await Store.open(settings, read_only=True)
    order = new_order(email_id="12")
    await store.admit(order)
    foreseen = await reader.foresee(new_order(email_id="12"))
    await reader.close()

    assert isinstance(foreseen.outcome, Duplicate)
    assert foreseen.first_at == START
