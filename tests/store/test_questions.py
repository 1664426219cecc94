"""Questions compiled once, and savepoints past SQLAlchemy: as SQLAlchemy would have it, on both databases."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.lifecycle import MailId
from gateway.store import Store, StoreError, driving, tables
from gateway.store.base import NewMail
from gateway.store.errors import translated
from gateway.store.inserts import insert_all
from gateway.store.order_rows import fingerprint, mail_row
from gateway.store.questions import Question
from tests.store.samples import name, new_mail
from tests.support.clock import START

MAIL = tables.mail.c

QUESTION = Question(
    sa.select(MAIL.id, MAIL.fingerprint, MAIL.received_at)
    .where(
        MAIL.id.in_(sa.bindparam("ids", expanding=True)),
        MAIL.received_at.in_(sa.bindparam("instants", expanding=True)),
        MAIL.account == sa.bindparam("account"),
        MAIL.received_at < sa.bindparam("before"),
        MAIL.listener == new_mail().listener,  # a value that stands in the statement itself
    )
    .order_by(MAIL.id)
)


async def stored(store: Store, number: int) -> list[str]:
    """So many mails are stored, each a minute after the one before; return their ids."""
    ids = [name("M") for _ in range(number)]

    def store_mails(connection: sa.Connection) -> None:
        mails = [replace(new_mail(), id=MailId(mail_id), received_at=minute(at)) for at, mail_id in enumerate(ids)]
        insert_all(connection, tables.mail, [mail_row(one, fingerprint(one), duplicate_of=None) for one in mails])

    await store._write(store_mails)
    return ids


def minute(number: int) -> datetime:
    return START + timedelta(minutes=number)


async def ask(store: Store, ids: Sequence[str], instants: Sequence[datetime]) -> list[str]:
    values: dict[str, Any] = {"ids": list(ids), "instants": list(instants), "account": new_mail().account}
    values["before"] = minute(100).astimezone(timezone(timedelta(hours=2)))

    found = await store._read(lambda connection: QUESTION.find(connection, values))

    assert all(one["received_at"].tzinfo is UTC and isinstance(one["fingerprint"], bytes) for one in found)
    return [one["id"] for one in found]


@pytest.mark.parametrize("number", [0, 1, 2, 3, 4, 5, 7, 8, 9])
async def test_lists_of_any_length_are_asked_for(store: Store, number: int) -> None:
    ids = await stored(store, 10)
    instants = [minute(at) for at in range(10)]

    assert await ask(store, ids[:number], instants) == sorted(ids[:number])
    assert await ask(store, ids, instants[:number]) == sorted(ids[:number])
    assert await ask(store, ids[:number], instants[1:number]) == sorted(ids[1:number])


async def test_a_naive_instant_is_refused_as_everywhere(store: Store) -> None:
    with pytest.raises(ValueError, match="naive"):
        await ask(store, ["M1"], [START.replace(tzinfo=None)])


async def test_lengths_share_few_statements(store: Store) -> None:
    ids = await stored(store, 9)
    question = Question(sa.select(MAIL.id).where(MAIL.id.in_(sa.bindparam("ids", expanding=True))))

    for number in range(10):
        await store._read(partial(question.ask, values={"ids": ids[:number]}))

    assert len(question._compiled) == 6  # for none, 1, 2, 4, 8 and 16


async def test_a_savepoint_is_undone_by_itself(store: Store) -> None:
    mails = [replace(new_mail(), id=MailId(f"M{number}")) for number in range(3)]

    def store_some(connection: sa.Connection) -> None:
        outer = driving.begin_savepoint(connection, "outer")
        _insert(connection, mails[0])
        inner = driving.begin_savepoint(connection, "inner")
        _insert(connection, mails[1])
        inner.rollback()
        _insert(connection, mails[2])
        outer.commit()

    await store._write(store_some)
    found = await store._read(lambda connection: connection.scalars(sa.select(MAIL.id).order_by(MAIL.id)).all())

    assert found == ["M0", "M2"]


async def test_a_row_twice_contradicts_and_undoes_its_part(store: Store) -> None:
    mail = new_mail()

    def store_twice(connection: sa.Connection) -> None:
        _insert(connection, mail)
        savepoint = driving.begin_savepoint(connection, "part")
        with pytest.raises(StoreError, match="contradicts"), translated():
            _insert(connection, mail)
        savepoint.rollback()

    await store._write(store_twice)

    assert await store._read(lambda connection: connection.scalar(sa.select(sa.func.count(MAIL.id)))) == 1


def _insert(connection: sa.Connection, mail: NewMail) -> None:
    insert_all(connection, tables.mail, [mail_row(mail, fingerprint(mail), duplicate_of=None)])
