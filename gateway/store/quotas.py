"""What accounts used of their quotas, read and written (docs/protocol.md §10.5).

Exact, on however many nodes: whoever stores orders locks the rows of all accounts with a budget, by name, before it
reads what was used, and holds them until its COMMIT. What was used is written with the mail that used it, or never.

Rows of a time to come are left from before the clock was set back: they are moved to now when they are met, so that
they count for one window more, and not until that time comes.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from itertools import islice
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from gateway.lifecycle import MailId, ReportId, SmsState
from gateway.store import quota_tables, tables, volume
from gateway.store.base import NewReport, Order
from gateway.store.budget import TOLERANCE, Key, Ledger, Limit, Overrun, Usage, floor
from gateway.store.inserts import insert_all
from gateway.store.order_rows import report_row

_use = quota_tables.quota_use.c
_overrun = quota_tables.quota_overrun.c
_account = quota_tables.quota_account.c

_AT_ONCE = 1000
"""Subjects in one question: databases bound the parameters of a statement."""

_Wanted = dict[tuple[str, str], dict[str, tuple[Limit, int]]]
"""By account and quota: the subjects, each with the limit and how much all orders want of it at most."""

# --- while orders are stored -----------------------------------------------------------------------------------------

ACCOUNTS_LOCKED = (
    sa.select(_account.account)
    .where(_account.account.in_(sa.bindparam("accounts", expanding=True)))
    .order_by(_account.account)
    .with_for_update()
)
"""Nobody else counts for these accounts before the transaction ends."""

USED = (
    sa.select(_use.subject, sa.func.sum(_use.used).label("used"), sa.func.max(_use.slot_at).label("last_at"))
    .where(
        _use.account == sa.bindparam("account"),
        _use.quota == sa.bindparam("quota"),
        _use.subject.in_(sa.bindparam("subjects", expanding=True)),
        _use.ends_at > sa.bindparam("now"),
    )
    .group_by(_use.subject)
)
"""What each of the subjects used within the window."""

OVERRUNS = sa.select(quota_tables.quota_overrun).where(
    _overrun.account == sa.bindparam("account"),
    _overrun.quota == sa.bindparam("quota"),
    _overrun.subject.in_(sa.bindparam("subjects", expanding=True)),
)
"""What has been held back from the subjects, and not been told."""


def open_ledger(connection: sa.Connection, orders: Sequence[Order], *, for_update: bool = False) -> Ledger:
    """What was used of what the orders want; `for_update`: nobody else counts for their accounts until the end."""
    budgeted = [order for order in orders if order.budget is not None]
    if not budgeted:
        return Ledger()
    if for_update:
        lock(connection, {order.mail.account for order in budgeted})
    now = max(order.mail.received_at for order in budgeted)
    ledger = Ledger(now=now)
    for (account, quota), subjects in _find_wanted(budgeted).items():
        ledger.used |= _read_used(connection, account, quota, subjects, now, may_write=for_update)
        close = [
            subject
            for subject, (limit, amount) in subjects.items()
            if ledger.used.get((account, quota, subject), 0) + amount > limit.most
        ]
        for some in _in_bounds(close):
            found = connection.execute(OVERRUNS, {"account": account, "quota": quota, "subjects": some})
            ledger.overruns |= {(account, quota, row["subject"]): Overrun(**row) for row in found.mappings()}
    return ledger


def open_volumes(
    connection: sa.Connection, orders: Sequence[Order], ledger: Ledger, *, for_update: bool = False
) -> dict[str, volume.Volume]:
    """How the accounts of the orders stand in this hour whose volume is watched; their rows are locked."""
    watches = {
        order.mail.account: order.budget.volume
        for order in orders
        if order.budget is not None and order.budget.volume is not None
    }
    return volume.read(connection, watches, ledger.now, may_write=for_update) if watches else {}


def lock(connection: sa.Connection, accounts: Collection[str]) -> None:
    """Nobody else counts for these accounts before the transaction ends; each has its row."""
    names = sorted(accounts)
    found = set(connection.scalars(ACCOUNTS_LOCKED, {"accounts": names}))
    if len(found) < len(names):
        insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
        first = insert(quota_tables.quota_account).on_conflict_do_nothing()
        connection.execute(first, [{"account": name} for name in names if name not in found])
        connection.scalars(ACCOUNTS_LOCKED, {"accounts": names}).all()


def _find_wanted(orders: Iterable[Order]) -> _Wanted:
    wanted: _Wanted = {}

    def want(account: str, limit: Limit, subject: str, amount: int) -> None:
        subjects = wanted.setdefault((account, limit.key), {})
        known = subjects.get(subject)
        # Of two limits for the same, which a reload leaves in one transaction, the smaller one looks closer
        least = limit if known is None or limit.most < known[0].most else known[0]
        subjects[subject] = (least, amount + (0 if known is None else known[1]))

    for order in orders:
        for limit in order.budget.limits if order.budget else ():
            if limit.measure is None:
                want(order.mail.account, limit, limit.subject, 1)
                continue
            for sms in order.envoi.sms if order.envoi else ():
                measured = None
                if sms.state is SmsState.QUEUED and sms.msisdn is not None:
                    measured = limit.measure(sms.msisdn, sms.parts)
                if measured is not None:
                    want(order.mail.account, limit, *measured)
    return wanted


def _read_used(
    connection: sa.Connection,
    account: str,
    quota: str,
    subjects: Mapping[str, tuple[Limit, int]],
    now: datetime,
    *,
    may_write: bool,
) -> dict[Key, int]:
    used = {}
    for some in _in_bounds(subjects):
        found = connection.execute(USED, {"account": account, "quota": quota, "subjects": some, "now": now})
        for row in found.all():
            used[account, quota, row.subject] = int(row.used)
            if may_write and row.last_at > now + TOLERANCE:
                _pull_in(connection, (account, quota, row.subject), subjects[row.subject][0], now)
    return used


def _pull_in(connection: sa.Connection, key: Key, limit: Limit, now: datetime) -> None:
    """What was used in a time to come was used now: the clock was set back."""
    account, quota, subject = key
    ahead = (
        _use.account == account,
        _use.quota == quota,
        _use.subject == subject,
        _use.slot_at > now + TOLERANCE,
    )
    amount = connection.scalar(sa.select(sa.func.sum(_use.used)).where(*ahead))
    connection.execute(quota_tables.quota_use.delete().where(*ahead))
    _add(connection, [_use_row(key, limit, int(amount or 0), now)])


def write_ledger(connection: sa.Connection, ledger: Ledger) -> None:
    """What was charged and held back is stored; the accounts' rows are locked."""
    if ledger.charged:
        charged = sorted(ledger.charged.items(), key=lambda item: item[0])
        _add(connection, [_use_row(key, limit, amount, ledger.now) for key, (limit, amount) in charged])
        ledger.charged.clear()
    if ledger.changed:
        _put_overruns(connection, [ledger.overruns[key] for key in sorted(ledger.changed)])
        ledger.changed.clear()


def _use_row(key: Key, limit: Limit, amount: int, now: datetime) -> dict[str, object]:
    account, quota, subject = key
    times = {"slot_at": limit.slot_at(now), "ends_at": limit.ends_at(now)}
    return {"account": account, "quota": quota, "subject": subject, "used": amount, **times}


def _add(connection: sa.Connection, rows: Sequence[Mapping[str, object]]) -> None:
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    first = insert(quota_tables.quota_use)
    more = {"used": _use.used + first.excluded.used}
    key = ["account", "quota", "subject", "slot_at"]
    connection.execute(first.on_conflict_do_update(index_elements=key, set_=more), list(rows))


def _put_overruns(connection: sa.Connection, overruns: Sequence[Overrun]) -> None:
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    first = insert(quota_tables.quota_overrun)
    more = {name: first.excluded[name] for name in ("last_at", "sms", "mail_id")}
    statement = first.on_conflict_do_update(index_elements=["account", "quota", "subject"], set_=more)
    names = [field.name for field in fields(Overrun)]
    connection.execute(statement, [{name: getattr(one, name) for name in names} for one in overruns])


def _in_bounds(items: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(sorted(items))
    while some := list(islice(rest, _AT_ONCE)):
        yield some


# --- what is told in the end -----------------------------------------------------------------------------------------

RenderOverruns = Callable[[str, Sequence[Overrun]], NewReport | None]
"""Given an account and what its quotas held back: the mail about it, if anybody is written to. Pure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What quotas held back, and has been told of; the mails about it."""

    overruns: tuple[Overrun, ...] = ()
    reports: tuple[ReportId, ...] = ()


def due_query(now: datetime, limit: int) -> sa.Select[Any]:
    """The accounts of overruns that are to be told of; one of a time to come is from before the clock was set back."""
    is_due = sa.or_(_overrun.due_at <= now, _overrun.began_at > now + TOLERANCE)
    return sa.select(_overrun.account).where(is_due).order_by(_overrun.due_at).limit(limit)


def tell(connection: sa.Connection, now: datetime, limit: int, render: RenderOverruns) -> Told:
    """The overruns that are due are over, those of at most `limit` numbers or so; each account has one mail for all.

    What is held back from now on is an overrun of its own.
    """
    accounts = sorted(set(connection.scalars(due_query(now, limit))))
    if not accounts:
        return Told()
    lock(connection, accounts)
    found: list[Overrun] = []
    reports: list[ReportId] = []
    for account in accounts:
        is_due = sa.or_(_overrun.due_at <= now, _overrun.began_at > now + TOLERANCE)
        mine = (_overrun.account == account, is_due)
        query = sa.select(quota_tables.quota_overrun).where(*mine).order_by(_overrun.began_at, _overrun.subject)
        over = [Overrun(**row) for row in connection.execute(query).mappings()]
        connection.execute(quota_tables.quota_overrun.delete().where(*mine))
        report = render(account, over) if over else None
        mail_id = _find_mail(connection, over) if report is not None else None
        if report is not None and mail_id is not None:
            insert_all(connection, tables.report, [report_row(report, now, mail_id=mail_id)])
            reports.append(report.id)
        found += over
    return Told(overruns=tuple(found), reports=tuple(reports))


def _find_mail(connection: sa.Connection, over: Sequence[Overrun]) -> MailId | None:
    """The last mail that something was held back of, of those that were not purged since."""
    ids = [one.mail_id for one in over][-_AT_ONCE:]
    last = sa.select(sa.func.max(tables.mail.c.id)).where(tables.mail.c.id.in_(ids))
    found = connection.scalar(last)
    return None if found is None else MailId(found)


def forget_used(connection: sa.Connection, now: datetime) -> int:
    """What no longer counts is gone, a few thousand rows at a time; return how many."""
    until = connection.scalar(over_query(now)) or now
    volume.forget(connection, now)
    return connection.execute(forget_query(until)).rowcount


def over_query(now: datetime) -> sa.Select[Any]:
    """Up to when one step forgets, if not all that is over."""
    over = sa.select(_use.ends_at).where(_use.ends_at <= now).order_by(_use.ends_at)
    return over.offset(_AT_ONCE * 5).limit(1)


def forget_query(until: datetime) -> sa.Delete:
    """Forgets what no longer counts since then."""
    return quota_tables.quota_use.delete().where(_use.ends_at <= until)


# --- for operators ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How an account stands: what counts now, the most used first; what was held back and not told yet; its volume."""

    used: tuple[Usage, ...]
    overruns: tuple[Overrun, ...]
    hour_parts: int  # in this hour of the clock
    usual_parts: int | None


def read_standing(connection: sa.Connection, account: str, now: datetime, limit: int) -> Standing:
    """How the account stands, with at most `limit` subjects of each quota."""
    total = sa.func.sum(_use.used).label("used")
    place = sa.func.row_number().over(partition_by=_use.quota, order_by=(total.desc(), _use.subject)).label("place")
    sums = (
        sa.select(_use.quota, _use.subject, total, place)
        .where(_use.account == account, _use.ends_at > now)
        .group_by(_use.quota, _use.subject)
        .subquery()
    )
    query = sa.select(sums).where(sums.c.place <= limit).order_by(sums.c.quota, sums.c.place)
    used = [
        Usage(account=account, quota=row.quota, subject=row.subject, used=int(row.used))
        for row in connection.execute(query)
    ]
    over = sa.select(quota_tables.quota_overrun).where(_overrun.account == account)
    kept = sa.select(_account.usual_parts).where(_account.account == account)
    hour_at = floor(now, volume.HOUR)
    this = sa.select(quota_tables.volume.c.parts).where(
        quota_tables.volume.c.account == account, quota_tables.volume.c.hour_at == hour_at
    )
    return Standing(
        used=tuple(used),
        overruns=tuple(
            Overrun(**row)
            for row in connection.execute(over.order_by(_overrun.sms.desc(), _overrun.subject).limit(limit)).mappings()
        ),
        hour_parts=connection.scalar(this) or 0,
        usual_parts=connection.scalar(kept),
    )


def reset(connection: sa.Connection, account: str, subject: str | None) -> int:
    """Nothing was used by the account, or by one sender or number of it; return how many counters were there.

    What was held back is not told any more: who resets knows of it.
    """
    lock(connection, [account])
    removed = 0
    for table in (quota_tables.quota_use, quota_tables.quota_overrun):
        mine = [table.c.account == account, *([] if subject is None else [table.c.subject == subject])]
        removed += connection.execute(table.delete().where(*mine)).rowcount
    return removed


def forget_number(connection: sa.Connection, msisdn: str) -> None:
    """Nothing names the number any more."""
    both = (quota_tables.quota_use, quota_tables.quota_overrun)
    accounts = {
        account
        for table in both
        for account in connection.scalars(sa.select(table.c.account).where(table.c.subject == msisdn).distinct())
    }
    if accounts:
        lock(connection, accounts)
        for table in both:
            connection.execute(table.delete().where(table.c.subject == msisdn))
