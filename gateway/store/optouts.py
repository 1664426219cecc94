"""The STOP list: who wants nothing any more (docs/protocol.md §5.6), and what carriers are to be told of it.

A number is on the list of an account, or on everybody's. What becomes of SMS that wait for it is `stopping`'s.

`carrier_optout` holds, for each number that a carrier is to keep on a list of its own, the last that it is to be told.
`attempts` only ever grows: with `is_listed` it tells whether what was told is still what is to be told.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from gateway.store import tables
from gateway.store.questions import Question
from gateway.store.stoplist import EVERYBODY, OptOut, OptOutSource
from gateway.store.two_way import CarrierOptOut, StopRules

T = TypeVar("T")

_optout = tables.optout.c
_told = tables.carrier_optout.c

_AT_ONCE = 1000
"""Numbers in one question: databases bound the parameters of a statement."""

_FAR_AHEAD = timedelta(days=1)
"""Nothing waits for so long to be told: a clock was set back."""

# Built once: building a query takes several times as long as SQLite needs to answer it

LISTED = Question(
    sa.select(_optout.account, _optout.msisdn).where(
        _optout.account.in_(sa.bindparam("accounts", expanding=True)),
        _optout.msisdn.in_(sa.bindparam("numbers", expanding=True)),
    )
)
"""Which of the numbers are on the list of which of the accounts."""


def find_listed(connection: sa.Connection, wanted: Mapping[str, Collection[str]]) -> frozenset[tuple[str, str]]:
    """Of each account's numbers those it may not write to, each with the account."""
    return frozenset(
        (account, msisdn)
        for account, numbers in wanted.items()
        for some in _in_bounds(sorted(set(numbers)))
        for _, msisdn in LISTED.ask(connection, {"accounts": [account, EVERYBODY], "numbers": some})
    )


def add(connection: sa.Connection, new: Iterable[OptOut]) -> tuple[OptOut, ...]:
    """All of these are on the list; return those that were not. What was there stays as it was."""
    by_key = {(one.account, one.msisdn): one for one in new}
    numbers: dict[str, list[str]] = {}
    for account, msisdn in sorted(by_key):  # nodes that add the same in the same order wait for one another
        numbers.setdefault(account, []).append(msisdn)
    known = {
        (account, msisdn)
        for account, wanted in numbers.items()
        for some in _in_bounds(wanted)
        for _, msisdn in LISTED.ask(connection, {"accounts": [account], "numbers": some})
    }
    added = [by_key[key] for key in sorted(by_key.keys() - known)]
    if added:
        columns = [column.name for column in tables.optout.columns]
        connection.execute(
            _insert_unless_there(connection), [{name: getattr(one, name) for name in columns} for one in added]
        )
    return tuple(added)


def _insert_unless_there(connection: sa.Connection) -> sa.Insert:
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    return insert(tables.optout).on_conflict_do_nothing()


def remove(
    connection: sa.Connection, msisdn: str, account: str | None, rules: StopRules, now: datetime
) -> tuple[OptOut, ...]:
    """The number is on no list, or not on this account's; return what was there.

    A carrier is told to take it off its own list once no account that uses it has it on its own: the carrier has one
    list for all of them. It is told also if it was never told to list it, for it may know it from elsewhere.
    """
    this = [_optout.msisdn == msisdn, *([] if account is None else [_optout.account == account])]
    found = tuple(
        map(_optout_of, connection.execute(sa.select(tables.optout).where(*this).with_for_update()).mappings())
    )
    connection.execute(tables.optout.delete().where(*this))
    left = set(connection.scalars(sa.select(_optout.account).where(_optout.msisdn == msisdn)))
    removed = {one.account for one in found}
    freed = [
        carrier
        for carrier, users in rules.users.items()
        if removed & {*users, EVERYBODY} and not left & {*users, EVERYBODY}
    ]
    _instruct(connection, [(carrier, msisdn) for carrier in freed], is_listed=False, now=now)
    return found


def read_page(
    connection: sa.Connection, account: str | None, after: tuple[str, str] | None, limit: int
) -> tuple[OptOut, ...]:
    """The next of the list, by account and number; `after` is the last of the page before."""
    query = sa.select(tables.optout).order_by(_optout.account, _optout.msisdn).limit(limit)
    if account is not None:
        query = query.where(_optout.account == account)
    if after is not None:
        query = query.where(sa.tuple_(_optout.account, _optout.msisdn) > sa.tuple_(*map(sa.literal, after)))
    return tuple(map(_optout_of, connection.execute(query).mappings()))


def _optout_of(row: sa.RowMapping) -> OptOut:
    return OptOut(**row)


def _in_bounds(items: Sequence[T]) -> Iterator[list[T]]:
    rest = iter(items)
    while some := list(islice(rest, _AT_ONCE)):
        yield some


# --- carriers' own lists ---------------------------------------------------------------------------------------------


def tell_carriers(connection: sa.Connection, given: Iterable[OptOut], rules: StopRules, now: datetime) -> None:
    """The carriers that keep lists for these accounts are to list the numbers; a carrier's own word is no news."""
    wanted = {
        (carrier, one.msisdn)
        for one in given
        if one.source is not OptOutSource.CARRIER
        for carrier, users in rules.users.items()
        if one.account == EVERYBODY or one.account in users
    }
    _instruct(connection, sorted(wanted), is_listed=True, now=now)


def _instruct(connection: sa.Connection, wanted: Sequence[tuple[str, str]], *, is_listed: bool, now: datetime) -> None:
    """What each of the carriers is to be told last, unless it was told so already."""
    if not wanted:
        return
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    first = insert(tables.carrier_optout)
    statement = first.on_conflict_do_update(
        index_elements=[_told.provider, _told.msisdn],
        set_={"is_listed": first.excluded.is_listed, "due_at": first.excluded.due_at, "reason": None},
        where=_told.is_listed != first.excluded.is_listed,
    )
    rows = [
        {"provider": carrier, "msisdn": msisdn, "is_listed": is_listed, "due_at": now, "attempts": 0, "reason": None}
        for carrier, msisdn in wanted
    ]
    connection.execute(statement, rows)


def due_query(provider: str, now: datetime, limit: int) -> sa.Select[Any]:
    """What the carrier is to be told, the longest due first; what another node is telling is left to it."""
    is_due = sa.or_(_told.due_at <= now, _told.due_at > now + _FAR_AHEAD)
    return (
        sa.select(tables.carrier_optout)
        .where(_told.due_at.is_not(None), _told.provider == provider, is_due)
        .order_by(_told.due_at, _told.msisdn)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )


def claim_untold(
    connection: sa.Connection, provider: str, now: datetime, lease_until: datetime, limit: int
) -> tuple[CarrierOptOut, ...]:
    """What the carrier is to be told is the caller's to tell until then; after it, anybody's."""
    rows = connection.execute(due_query(provider, now, limit)).all()
    if rows:
        numbers = [row.msisdn for row in rows]
        connection.execute(
            tables.carrier_optout.update()
            .where(_told.provider == provider, _told.msisdn.in_(numbers))
            .values(due_at=lease_until, attempts=_told.attempts + 1)
        )
    return tuple(
        CarrierOptOut(provider=provider, msisdn=row.msisdn, is_listed=row.is_listed, attempt=row.attempts + 1)
        for row in rows
    )


def settle_told(connection: sa.Connection, told: CarrierOptOut, due_at: datetime | None, reason: str | None) -> bool:
    """It was told (`due_at` None), or is to be told again then; return False when something else is to be told now."""
    settled = connection.execute(
        tables.carrier_optout.update()
        .where(
            _told.provider == told.provider,
            _told.msisdn == told.msisdn,
            _told.is_listed == told.is_listed,
            _told.attempts == told.attempt,
        )
        .values(due_at=due_at, reason=reason)
    )
    return bool(settled.rowcount)
