"""What accounts may still send, counted in parts (docs/protocol.md §10.2).

An account without a row here, or with a balance of NULL, has no limit. Parts move between three places: the balance
gives to what is reserved when an SMS is stored; from there they are spent when a carrier takes the SMS, or given back
when it ends in any other way. Each SMS knows what it has reserved, and forgets it when it is answered, so nothing is
spent or given back twice, nor by an SMS from before there was a credit. A row is never deleted: SMS may be under way.

Locks: whoever stores orders takes the rows of all their accounts first, by name; whoever settles takes them last.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from gateway.lifecycle import SmsId, SmsState
from gateway.store import tables
from gateway.store.base import Credit, CreditAlert, NewSms, Order
from gateway.store.questions import Found, Question

_credit = tables.credit.c

_SPENDS = (SmsState.ACCEPTED, SmsState.DELIVERED)
"""Answers that mean that a carrier took the SMS; all others give its parts back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How an account with a limit stands."""

    balance: int
    is_exhausted: bool  # it was not enough for an SMS, since it was given


# --- pure ------------------------------------------------------------------------------------------------------------


def reserve(
    sms: Iterable[NewSms], balance: int, may_go: Callable[[NewSms], bool] = lambda _: True
) -> tuple[tuple[SmsId, ...], int]:
    """Those of the SMS that the balance is not enough for, and what is left of it (docs/protocol.md §10.3).

    In order of position each takes what it needs if there is so much: a short one may go after a long one did not.
    One that could be paid and all the same may not go takes nothing.
    """
    unpaid = []
    for one in sorted(sms, key=lambda one: one.position):
        if one.state is not SmsState.QUEUED:
            continue
        if one.parts > balance:
            unpaid.append(one.id)
        elif may_go(one):
            balance -= one.parts
    return tuple(unpaid), balance


def find_alert(order: Order, before: Standing, after: Standing) -> CreditAlert | None:
    """What somebody is to be told of what the order did to the credit, if anything (docs/protocol.md §10.3).

    It follows from what was before: a credit that was given again, and falls again, is told of again.
    """
    if order.watch is None:
        return None
    threshold = order.watch.threshold
    is_low = after.balance < threshold <= before.balance
    is_gone = after.is_exhausted and not before.is_exhausted
    if not (is_low or is_gone):
        return None
    return CreditAlert(
        account=order.mail.account,
        at=order.mail.received_at,
        balance=after.balance,
        threshold=threshold,
        is_low=is_low,
        is_gone=is_gone,
    )


# --- while orders are stored, and SMS settled ------------------------------------------------------------------------


_BALANCES = (
    sa.select(_credit.account, _credit.balance, _credit.exhausted_at)
    .where(_credit.account.in_(sa.bindparam("accounts", expanding=True)), _credit.balance.is_not(None))
    .order_by(_credit.account)
)
BALANCES = Question(_BALANCES)
"""What is left to those of the accounts that have a limit."""

_BALANCES_LOCKED = Question(_BALANCES.with_for_update())


def read_balances(
    connection: sa.Connection, accounts: Iterable[str], *, for_update: bool = False
) -> dict[str, Standing]:
    """How each account stands that has a limit; `for_update`: nobody else changes it during the transaction."""
    question = _BALANCES_LOCKED if for_update else BALANCES
    return {
        account: Standing(balance=balance, is_exhausted=exhausted_at is not None)
        for account, balance, exhausted_at in question.ask(connection, {"accounts": sorted(set(accounts))})
    }


_RESERVE = (
    tables.credit.update()
    .where(_credit.account == sa.bindparam("b_account"))
    .values(
        balance=_credit.balance - sa.bindparam("b_parts", type_=sa.BigInteger),
        reserved=_credit.reserved + sa.bindparam("b_parts", type_=sa.BigInteger),
        updated_at=sa.bindparam("b_now"),
    )
)


def write_reserved(connection: sa.Connection, parts: Mapping[str, int], now: datetime) -> None:
    """So many parts of each account are reserved; their rows are locked."""
    rows = [{"b_account": account, "b_parts": number, "b_now": now} for account, number in parts.items()]
    connection.execute(_RESERVE, rows)


def mark_exhausted(connection: sa.Connection, accounts: Iterable[str], now: datetime) -> None:
    """Since now these credits are not enough; until more is given, nobody is told again."""
    names = sorted(accounts)
    connection.execute(tables.credit.update().where(_credit.account.in_(names)).values(exhausted_at=now))


_SETTLE = (
    tables.credit.update()
    .where(_credit.account == sa.bindparam("b_account"))
    .values(
        # NULL, which is no limit, stays NULL
        balance=_credit.balance + sa.bindparam("b_returned", type_=sa.BigInteger),
        reserved=_credit.reserved
        - sa.bindparam("b_returned", type_=sa.BigInteger)
        - sa.bindparam("b_spent", type_=sa.BigInteger),
        spent=_credit.spent + sa.bindparam("b_spent", type_=sa.BigInteger),
        updated_at=sa.bindparam("b_now"),
    )
)


def settle_reserved(connection: sa.Connection, answered: Iterable[tuple[Found, SmsState]], now: datetime) -> None:
    """What these SMS had reserved, as their rows said before, is spent, or given back (docs/protocol.md §10.2).

    An undelivered one that was never known to be accepted is given back.
    """
    spent: dict[str, int] = {}
    returned: dict[str, int] = {}
    for row, state in answered:
        if state.is_answered and row["reserved_parts"] is not None:
            counts = spent if state in _SPENDS else returned
            counts[row["account"]] = counts.get(row["account"], 0) + row["reserved_parts"]
    rows = [
        {
            "b_account": account,
            "b_spent": spent.get(account, 0),
            "b_returned": returned.get(account, 0),
            "b_now": now,
        }
        for account in sorted({*spent, *returned})
    ]
    if rows:
        connection.execute(_SETTLE, rows)


# --- for operators ---------------------------------------------------------------------------------------------------


def read_all(connection: sa.Connection) -> tuple[Credit, ...]:
    """Every account that has, or had, a credit, by name."""
    found = connection.execute(sa.select(tables.credit).order_by(_credit.account))
    return tuple(map(_credit_of, found.mappings()))


def add(connection: sa.Connection, account: str, parts: int, now: datetime) -> Credit:
    """The balance is more by so many parts; without a limit before, it is these. It may be warned of again."""
    return _write(connection, account, sa.func.coalesce(_credit.balance, 0) + parts, now)


def put(connection: sa.Connection, account: str, parts: int | None, now: datetime) -> Credit:
    """The balance is this, whatever it was; None: without a limit. It may be warned of again."""
    return _write(connection, account, sa.null() if parts is None else sa.literal(parts), now)


def _write(connection: sa.Connection, account: str, balance: sa.ColumnElement[Any], now: datetime) -> Credit:
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    first = insert(tables.credit).values(account=account, balance=None, reserved=0, spent=0, updated_at=now)
    connection.execute(first.on_conflict_do_nothing())
    this = _credit.account == account
    connection.execute(tables.credit.update().where(this).values(balance=balance, updated_at=now, exhausted_at=None))
    row = connection.execute(sa.select(tables.credit).where(this)).mappings().one()
    return _credit_of(row)


def _credit_of(row: sa.RowMapping) -> Credit:
    return Credit(**{field.name: row[field.name] for field in fields(Credit)})
