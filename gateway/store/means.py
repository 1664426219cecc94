"""What accounts have to send with: their credit, their quotas, and what is usual for them (docs/protocol.md §10).

An SMS goes when the credit and every quota have room for it; then it takes from all of them, else from none.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa

from gateway.lifecycle import SmsId, SmsState
from gateway.store import credit, quotas, volume
from gateway.store.base import CreditAlert, NewSms, Order, Reserved
from gateway.store.budget import Alarm, Deferred, Ledger, Limit, Room


@dataclass(slots=True, kw_only=True)
class Means:
    """How the accounts of a transaction stand: with less after each order that was stored."""

    balances: dict[str, credit.Standing] = field(default_factory=dict)  # of those that have a limit
    ledger: Ledger = field(default_factory=Ledger)
    volumes: dict[str, volume.Volume] = field(default_factory=dict)  # of those that are watched

    def copy(self) -> "Means":
        """The same, which may go another way: a savepoint of what is to be written."""
        return Means(balances=dict(self.balances), ledger=self.ledger.copy(), volumes=dict(self.volumes))

    def become(self, other: "Means") -> None:
        """All is as in the other: its way was gone."""
        self.balances, self.ledger, self.volumes = other.balances, other.ledger, other.volumes


@dataclass(frozen=True, slots=True, kw_only=True)
class Taking:
    """What an order takes of the means of its account."""

    unpaid: Sequence[SmsId] = ()  # what the credit is not enough for
    held_back: Sequence[tuple[SmsId, str]] = ()  # what a quota is not enough for, and why
    reserved: Reserved | None = None  # None: no limit
    alert: CreditAlert | None = None
    alarms: Sequence[Alarm] = ()


def open_means(connection: sa.Connection, orders: Sequence[Order], *, for_update: bool = False) -> Means:
    """How the accounts of the orders stand; `for_update`: nobody else changes it during the transaction.

    Their quotas are locked before their credit, which whoever settles locks last.
    """
    ledger = quotas.open_ledger(connection, orders, for_update=for_update)
    return Means(
        ledger=ledger,
        volumes=quotas.open_volumes(connection, orders, ledger, for_update=for_update),
        balances=credit.read_balances(connection, [one.mail.account for one in orders], for_update=for_update),
    )


def write_means(connection: sa.Connection, before: Means, after: Means, now: datetime) -> None:
    """What was taken is stored."""
    reserved = {account: one.balance - after.balances[account].balance for account, one in before.balances.items()}
    if any(reserved.values()):
        credit.write_reserved(connection, reserved, now)
    exhausted = [
        account
        for account, one in before.balances.items()
        if after.balances[account].is_exhausted and not one.is_exhausted
    ]
    if exhausted:
        credit.mark_exhausted(connection, exhausted, now)
    quotas.write_ledger(connection, after.ledger)
    volume.write(connection, after.volumes)


def take_mail(order: Order, means: Means) -> Deferred | None:
    """The mail is counted; or a quota of mails is spent, and it is to come back (docs/protocol.md §10.5)."""
    if order.budget is None:
        return None
    account = order.mail.account
    wanted = [(limit, limit.subject, 1) for limit in order.budget.limits if limit.measure is None]
    spent = means.ledger.find_spent(account, wanted)
    if spent is not None:
        return Deferred(account=account, quota=spent[0].key, sentence=spent[0].sentence)
    means.ledger.charge(account, wanted)
    return None


def take(order: Order, means: Means) -> Taking:
    """Take what the order needs, SMS by SMS in order of position (docs/protocol.md §10.3, §10.5)."""
    account, sms = order.mail.account, () if order.envoi is None else order.envoi.sms
    gate = _Gate(order, means.ledger)
    before = means.balances.get(account)
    if before is None:
        if order.budget is None:
            return Taking()
        for one in sorted(sms, key=lambda one: one.position):
            if one.state is SmsState.QUEUED:
                gate.has_room(one)
        return Taking(held_back=gate.held_back, alarms=gate.find_alarms(means.volumes))
    unpaid, left = credit.reserve(sms, before.balance, gate.has_room)
    after = credit.Standing(balance=left, is_exhausted=before.is_exhausted or bool(unpaid))
    means.balances[account] = after
    return Taking(
        unpaid=unpaid,
        held_back=gate.held_back,
        reserved=Reserved(before=before.balance, after=left),
        alert=credit.find_alert(order, before, after),
        alarms=gate.find_alarms(means.volumes),
    )


def find_rooms(order: Order, means: Means) -> tuple[Room, ...]:
    """What the order took of each quota, and what that leaves; in the order of the quotas."""
    rooms = []
    for limit in () if order.budget is None else order.budget.limits:
        for key in sorted({*means.ledger.charged, *means.ledger.changed}):
            _, quota, subject = key
            if quota == limit.key:
                overrun = means.ledger.overruns[key] if key in means.ledger.changed else None
                rooms.append(
                    Room(
                        sentence=limit.sentence,
                        subject=subject,
                        most=limit.most,
                        used=means.ledger.used.get(key, 0),
                        takes=means.ledger.charged[key][1] if key in means.ledger.charged else 0,
                        held_back=0 if overrun is None else overrun.sms,
                    )
                )
    return tuple(rooms)


class _Gate:
    """Lets SMS of one order through as far as the quotas of its account go."""

    def __init__(self, order: Order, ledger: Ledger) -> None:
        self._order = order
        self._ledger = ledger
        self._limits = () if order.budget is None else order.budget.limits
        self._alarms: list[Alarm] = []
        self._parts = 0
        self.held_back: list[tuple[SmsId, str]] = []

    def has_room(self, sms: NewSms) -> bool:
        """True when every quota has room for the SMS, which then is used."""
        if sms.msisdn is None:
            return True
        account = self._order.mail.account
        wanted: list[tuple[Limit, str, int]] = []
        for limit in self._limits:
            measured = None if limit.measure is None else limit.measure(sms.msisdn, sms.parts)
            if measured is not None:
                wanted.append((limit, *measured))
        spent = self._ledger.find_spent(account, wanted)
        if spent is None:
            self._ledger.charge(account, wanted)
            self._parts += sms.parts
            return True
        limit, subject = spent
        self.held_back.append((sms.id, f"quota: {limit.sentence}"))
        alarm = self._ledger.hold_back(account, limit, subject, self._order.mail.id)
        if alarm is not None:
            self._alarms.append(alarm)
        return False

    def find_alarms(self, volumes: dict[str, volume.Volume]) -> tuple[Alarm, ...]:
        """What somebody is to be told of, the volume of the account with what went through included."""
        account, budget = self._order.mail.account, self._order.budget
        if budget is not None and budget.volume is not None and self._parts:
            now = self._ledger.now
            volumes[account], alarm = volume.add(volumes[account], self._parts, budget.volume, account, now)
            if alarm is not None:
                self._alarms.append(alarm)
        return tuple(self._alarms)
