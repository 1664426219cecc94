"""What mails leave behind: everything they cause, or nothing, or the word that they were here before.

The orders of one transaction are stored together, table by table, because statements are what costs. Only when that
fails, be it for one bad order or because another node stored the same mail meanwhile, each is stored apart.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, assert_never

import sqlalchemy as sa

from gateway.lifecycle import EnvoiId, MailId, ReportId, SmsId, SmsState
from gateway.pauses import PausePoint, pause_at
from gateway.protocol.codes import AckCode, Code
from gateway.protocol.report import ReportKind
from gateway.store import driving, optouts, refusing, tables
from gateway.store import means as have
from gateway.store.base import (
    AdmitOutcome,
    Duplicate,
    Foreseen,
    NewReport,
    NewSms,
    Order,
    Refusal,
    Retransmitted,
    Stored,
)
from gateway.store.budget import Alarm, Deferred, QuotaSpent
from gateway.store.errors import StoreError, translated
from gateway.store.group_commit import Result
from gateway.store.inserts import insert_all
from gateway.store.means import Means
from gateway.store.order_rows import (
    Row,
    claim_row,
    envoi_row,
    fingerprint,
    mail_row,
    refusal_row,
    report_row,
    sms_row,
)
from gateway.store.questions import Question

_Claim = tuple[str, str]
"""An account and an emailId."""


def store_orders(connection: sa.Connection, orders: Sequence[Order]) -> list[Result]:
    """Every order is stored; one result each, in order.

    What is wrong with an order is its own result and no other's; what is wrong with the store ends the transaction.
    """
    # Nodes that insert the same keys in the same order wait for one another; in another they would lock each other out
    sequence = sorted(range(len(orders)), key=lambda index: _claim(orders[index]) or ("", ""))
    # Before anything is inserted: who waits for a credit must not hold what its holder may wait for
    with translated():
        means = have.open_means(connection, orders, for_update=True)
    results: Sequence[Result]
    try:
        results = _store_in_savepoint(connection, [orders[index] for index in sequence], means)
    except StoreError as error:
        _raise_if_not_of_orders(error)
        results = [_store_apart(connection, orders[index], means) for index in sequence]
    pause_at(PausePoint.MAIL_STORING)
    by_index = dict(zip(sequence, results, strict=True))
    return [by_index[index] for index in range(len(orders))]


def _store_apart(connection: sa.Connection, order: Order, means: Means) -> Result:
    try:
        return (_store_in_savepoint(connection, [order], means))[0]
    except StoreError as error:
        _raise_if_not_of_orders(error)
    try:
        # Another node may have been first. Its transaction was waited for, so this time its rows are seen
        return (_store_in_savepoint(connection, [order], means))[0]
    except StoreError as error:
        _raise_if_not_of_orders(error)
        return error


def _raise_if_not_of_orders(error: StoreError) -> None:
    if type(error) is not StoreError:
        raise error


def _store_in_savepoint(connection: sa.Connection, orders: Sequence[Order], means: Means) -> list[AdmitOutcome]:
    savepoint = driving.begin_savepoint(connection, "orders")
    left = means.copy()
    try:
        with translated():
            outcomes = _store(connection, orders, left)
    except (ValueError, ArithmeticError) as error:
        savepoint.rollback()
        # what the driver cannot put into a column at all
        raise StoreError("a mail holds a value that cannot be stored") from error
    except StoreError as error:
        # Not when the store failed: the transaction ends, and SQLite may have ended it by itself (disk full)
        _raise_if_not_of_orders(error)
        savepoint.rollback()
        raise
    savepoint.commit()
    means.become(left)
    return outcomes


def _store(connection: sa.Connection, orders: Sequence[Order], means: Means) -> list[AdmitOutcome]:
    known = _look_up(connection, orders, means)
    before, rows = means.copy(), _Rows()
    outcomes = [_place(order, known, rows) for order in orders]
    have.write_means(connection, before, means, max(order.mail.received_at for order in orders))
    insert_all(connection, tables.mail, rows.mail)
    insert_all(connection, tables.email_id, rows.email_id)
    insert_all(connection, tables.envoi, rows.envoi)
    insert_all(connection, tables.sms, rows.sms)
    insert_all(connection, tables.report, rows.report)
    return outcomes


@dataclass(slots=True)
class _Known:
    """What was there before: from the rows, and from the orders before it in the same transaction."""

    marks: Mapping[MailId, bytes | None]  # the fingerprints of the orders' mails
    mails: set[str]
    fingerprints: dict[bytes, MailId]
    claims: dict[_Claim, EnvoiId]
    refused: dict[SmsId, tuple[Code, str]]  # of these very orders, if one was stored before
    opted_out: frozenset[tuple[str, str]]  # of the numbers of the orders, each with its account
    means: Means


@dataclass(slots=True)
class _Rows:
    """What is to be written, by table."""

    mail: list[Row] = field(default_factory=list)
    email_id: list[Row] = field(default_factory=list)
    envoi: list[Row] = field(default_factory=list)
    sms: list[Row] = field(default_factory=list)
    report: list[Row] = field(default_factory=list)


# Built once: building a query takes several times as long as SQLite needs to answer it

KNOWN_MAILS = Question(
    sa.select(tables.mail.c.id, tables.mail.c.fingerprint).where(
        sa.or_(
            tables.mail.c.id.in_(sa.bindparam("ids", expanding=True)),
            tables.mail.c.fingerprint.in_(sa.bindparam("fingerprints", expanding=True)),
        )
    )
)
"""Mails that are these, or the same as these."""

USED_IDS = Question(
    sa.select(tables.email_id.c.email_id, tables.email_id.c.envoi_id).where(
        tables.email_id.c.account == sa.bindparam("account"),
        tables.email_id.c.email_id.in_(sa.bindparam("ids", expanding=True)),
    )
)
"""Those of an account's emailIds that are used up.

By account, because for `(account, email_id) IN (...)` SQLite reads the whole table, which only ever grows.
"""


_IS_REFUSED = sa.text(f"coalesce(sms.state, '') = '{SmsState.REFUSED.value}'")
"""Written so that no index of refused SMS serves it: those of an envoi are few, all that were ever refused are not."""


def refused_query(orders: Sequence[Order]) -> sa.Select[Any]:
    """Those of the SMS of the orders that the store refused, with codes and reasons: they were never claimed."""
    sms = tables.sms.c
    envois = [order.envoi.id for order in orders if order.envoi is not None]
    by_us = (_IS_REFUSED, sms.epoch == 0, sms.code.in_(refusing.CODES))
    return sa.select(sms.id, sms.code, sms.reason).where(sms.envoi_id.in_(envois), *by_us)


def _look_up(connection: sa.Connection, orders: Sequence[Order], means: Means) -> _Known:
    marks = {order.mail.id: fingerprint(order.mail) for order in orders}
    wanted = {"ids": list(marks), "fingerprints": [mark for mark in marks.values() if mark is not None]}
    mails = KNOWN_MAILS.ask(connection, wanted)
    ids = {mail_id for mail_id, _ in mails}
    again = [order for order in orders if order.mail.id in ids]
    refused = connection.execute(refused_query(again)) if again else ()
    claims: dict[str, list[str]] = {}
    for account, email_id in filter(None, map(_claim, orders)):
        claims.setdefault(account, []).append(email_id)
    return _Known(
        marks=marks,
        mails=ids,
        fingerprints={mark: MailId(mail_id) for mail_id, mark in mails if mark is not None},
        claims={
            (account, email_id): EnvoiId(envoi_id)
            for account, email_ids in claims.items()
            for email_id, envoi_id in USED_IDS.ask(connection, {"account": account, "ids": email_ids})
        },
        refused={SmsId(row.id): (row.code, row.reason or "") for row in refused},
        opted_out=optouts.find_listed(connection, _numbers(orders)),
        means=means,
    )


def _numbers(orders: Iterable[Order]) -> dict[str, set[str]]:
    """The numbers that the orders would have SMS sent to, by account."""
    numbers: dict[str, set[str]] = {}
    for order in orders:
        wanted = {one.msisdn for one in _sms(order) if one.state is SmsState.QUEUED and one.msisdn is not None}
        if wanted and order.heeds_stop:
            numbers.setdefault(order.mail.account, set()).update(wanted)
    return numbers


def find_stored(connection: sa.Connection, results: Sequence[Result]) -> list[bool]:
    """For each result whether what it says is there; an order that could not be stored is as it says."""
    ids = [_stored_as(result) for result in results]
    wanted = [mail_id for mail_id in ids if mail_id is not None]
    found = set(connection.scalars(sa.select(tables.mail.c.id).where(tables.mail.c.id.in_(wanted))))
    return [mail_id is None or mail_id in found for mail_id in ids]


def _stored_as(result: Result) -> MailId | None:
    match result:
        case Stored() | Duplicate():
            return result.mail_id
        case Retransmitted():
            return result.first_mail_id  # which may have come in the same transaction
        case StoreError() | Deferred():
            return None
        case _:
            assert_never(result)


def foresee(connection: sa.Connection, order: Order) -> Foreseen:
    """What would become of the order, by the same rules; nothing is written."""
    means = have.open_means(connection, [order])
    outcome = _place(order, _look_up(connection, [order], means), _Rows())
    mail, key = tables.mail.c, tables.email_id.c
    match outcome:
        case Stored() | Deferred():
            return Foreseen(outcome=outcome, first_at=None, rooms=have.find_rooms(order, means))
        case Duplicate():
            email_id = order.envoi.email_id if order.envoi else None
            first = sa.select(key.used_at).where(key.account == order.mail.account, key.email_id == email_id)
        case Retransmitted():
            first = sa.select(mail.received_at).where(mail.id == outcome.first_mail_id)
        case _:
            assert_never(outcome)
    return Foreseen(outcome=outcome, first_at=connection.scalar(first))


def _place(order: Order, known: _Known, rows: _Rows) -> AdmitOutcome:
    """What becomes of the order; what it writes is among the rows (docs/protocol.md §1.6, §7)."""
    mail, claim, mark = order.mail, _claim(order), known.marks[order.mail.id]
    first = None if claim is None else known.claims.get(claim)
    if mail.id in known.mails:
        # This very order: it was committed, and whoever led its group was cut off before saying so
        if first is not None and first != _envoi_id(order):
            return _duplicate(order, first)
        held_back = _again(order, known, Code.C29_OVERFLOW)
        return Stored(
            mail_id=mail.id,
            ack_code=_ack_code(order),
            opted_out=tuple(_again(order, known, Code.C11_NUMBER_BLACKLISTED)),
            unpaid=tuple(_again(order, known, Code.C12_NO_CREDIT)),
            held_back=tuple((sms_id, known.refused[sms_id][1]) for sms_id in held_back),
        )
    if mark is not None and mark in known.fingerprints:
        return Retransmitted(first_mail_id=known.fingerprints[mark])
    deferred = None if first is not None else have.take_mail(order, known.means)
    if deferred is not None:
        return deferred
    known.mails.add(mail.id)
    if mark is not None:
        known.fingerprints[mark] = mail.id
    rows.mail.append(mail_row(mail, mark, duplicate_of=first))
    if first is not None:
        rows.report += _report_rows(order, order.duplicate_reports)
        return _duplicate(order, first)
    opted_out = _find_opted_out(order, known)
    left = refusing.refuse(replace(order, early_not=None), opted_out, ()) if opted_out else order
    taking = have.take(left, known.means)
    reserved, alert = taking.reserved, taking.alert
    paid = refusing.refuse(order, opted_out, taking.unpaid, taking.held_back)
    envoi = paid.envoi
    if envoi is not None:
        rows.envoi.append(envoi_row(mail, envoi, paid.reports))
        rows.sms += [sms_row(mail, envoi, sms, is_paid=reserved is not None) for sms in envoi.sms]
        if claim is not None:
            known.claims[claim] = envoi.id
            rows.email_id.append(claim_row(mail, envoi))
    rows.report += _report_rows(paid, paid.reports, _envoi_id(paid))
    if alert is not None and order.watch is not None and order.watch.render is not None:
        rows.report += _report_rows(paid, (order.watch.render(alert),))
    if order.render_alarm is not None:
        rows.report += _report_rows(paid, [order.render_alarm(one) for one in taking.alarms if _is_written(one)])
    return Stored(
        mail_id=mail.id,
        ack_code=_ack_code(order),
        opted_out=tuple(opted_out),
        unpaid=tuple(taking.unpaid),
        reserved=reserved,
        alert=alert,
        early_not=_early_not(order, paid),
        held_back=tuple(taking.held_back),
        alarms=tuple(taking.alarms),
    )


def _is_written(alarm: Alarm) -> bool:
    """True when it is mailed at once. What is held back of each number by itself is told in the end, in one mail."""
    return not (isinstance(alarm, QuotaSpent) and alarm.is_guard)


def _find_opted_out(order: Order, known: _Known) -> list[SmsId]:
    """Those of the SMS to numbers on the STOP list (docs/protocol.md §5.6)."""
    if not (order.heeds_stop and known.opted_out):
        return []
    account = order.mail.account
    return [one.id for one in _sms(order) if one.state is SmsState.QUEUED and (account, one.msisdn) in known.opted_out]


def _again(order: Order, known: _Known, code: Code) -> list[SmsId]:
    return [one.id for one in _sms(order) if one.id in known.refused and known.refused[one.id][0] is code]


def _early_not(order: Order, refused: Order) -> ReportId | None:
    more = refused.reports[len(order.reports) :]
    return next((one.id for one in more if one.kind is ReportKind.NOT), None)


def _sms(order: Order) -> tuple[NewSms, ...]:
    return () if order.envoi is None else order.envoi.sms


def _claim(order: Order) -> _Claim | None:
    if order.envoi is None or order.envoi.email_id is None:
        return None
    return order.mail.account, order.envoi.email_id


def _envoi_id(order: Order) -> EnvoiId | None:
    return None if order.envoi is None else order.envoi.id


def _ack_code(order: Order) -> AckCode:
    return AckCode.A0_PROCESSED if _claim(order) else AckCode.A2_NO_ID


def _duplicate(order: Order, first: EnvoiId) -> Duplicate:
    return Duplicate(mail_id=order.mail.id, first_envoi_id=first)


def _report_rows(order: Order, reports: Sequence[NewReport], envoi_id: EnvoiId | None = None) -> list[Row]:
    mail = order.mail
    return [report_row(report, mail.received_at, mail_id=mail.id, envoi_id=envoi_id) for report in reports]


def store_refusal(connection: sa.Connection, refusal: Refusal) -> None:
    """The refusal and its reports are written."""
    reports = [report_row(report, refusal.refused_at, refusal_id=refusal.id) for report in refusal.reports]
    insert_all(connection, tables.refusal, [refusal_row(refusal)])
    insert_all(connection, tables.report, reports)
