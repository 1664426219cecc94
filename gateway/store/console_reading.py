"""What the console shows beside the stories: a mail as it came, its reports as they went, and the pulse of a minute."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from gateway.ids import floor_id
from gateway.lifecycle import ReportState, SmsState
from gateway.protocol.report import ReportKind
from gateway.store import tables
from gateway.store.access import StoreAccess
from gateway.store.stoplist import OptOut
from gateway.store.story_tables import turned_away

_mail = tables.mail.c
_sms = tables.sms.c
_report = tables.report.c
_refusal = tables.refusal.c

_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse:
    """What came in one minute."""

    mails: int
    sms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownMail:
    """A mail as it came; `raw` is empty once it was purged."""

    raw: bytes = field(repr=False)
    is_purged: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownReport:
    """A report as it went, or will go; `body` is empty once it was purged."""

    id: str
    kind: ReportKind
    recipient: str
    subject: str | None
    body: bytes = field(repr=False)
    state: ReportState
    created_at: datetime
    settled_at: datetime | None
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedMail:
    """A mail that was not taken."""

    id: str
    at: datetime
    account: str | None
    peer: str
    sender: str
    cause: str
    count: int = 1  # of a client that was turned away: how often


class ConsoleReading(StoreAccess):
    """Reads for pages, each by an index."""

    async def pulses(self, minutes: Sequence[datetime]) -> tuple[Pulse, ...]:
        """How many mails, and SMS in them, came in the minute from each of these instants."""
        return await self._read(_count_pulses, minutes)

    async def shown_mail(self, mail_id: str) -> ShownMail | None:
        """Return the mail as it came; None when there is none of that id."""
        return await self._read(_find_mail, mail_id)

    async def shown_reports(self, cause_id: str, limit: int) -> tuple[ShownReport, ...]:
        """Return the reports that a mail, or a refusal, of that id caused, the first first."""
        return await self._read(_find_reports, cause_id, limit)

    async def last_refusals(self, limit: int) -> tuple[RefusedMail, ...]:
        """Return the mails that were not taken, and the clients that were turned away, the last first."""
        return await self._read(_find_refusals, limit)

    async def sms_states(self, ids: Sequence[str]) -> dict[str, SmsState]:
        """Return where those of these SMS are that there are; some hundred at most."""
        return await self._read(_find_states, ids)

    async def optouts_of(self, msisdn: str, accounts: Sequence[str]) -> tuple[OptOut, ...]:
        """Return what the STOP list has on the number, for any of these accounts."""
        return await self._read(_find_optouts, msisdn, accounts)


def _count_pulses(connection: sa.Connection, minutes: Sequence[datetime]) -> tuple[Pulse, ...]:
    return tuple(
        Pulse(
            mails=connection.scalar(_between(_mail.id, start, end)) or 0,
            sms=connection.scalar(_between(_sms.id, start, end)) or 0,
        )
        for start, end in ((floor_id(minute), floor_id(minute + _MINUTE)) for minute in minutes)
    )


def _between(column: sa.Column[str], start: str, end: str) -> sa.Select[Any]:
    """Ids begin with their instant, so this reads the entries of that time in the index of the keys, and no rows."""
    return sa.select(sa.func.count()).where(column >= start, column < end)


def _find_mail(connection: sa.Connection, mail_id: str) -> ShownMail | None:
    row = connection.execute(sa.select(_mail.raw, _mail.purged_at).where(_mail.id == mail_id)).first()
    return None if row is None else ShownMail(raw=row.raw, is_purged=row.purged_at is not None)


def _find_reports(connection: sa.Connection, cause_id: str, limit: int) -> tuple[ShownReport, ...]:
    query = (
        sa.select(
            _report.id, _report.kind, _report.recipient, _report.subject, _report.body, _report.state,
            _report.created_at, _report.settled_at, _report.reason,
        )
        .where(sa.or_(_report.mail_id == cause_id, _report.refusal_id == cause_id))
        .order_by(_report.id)
        .limit(limit)
    )  # fmt: skip
    return tuple(ShownReport(**row) for row in connection.execute(query).mappings())


def _find_refusals(connection: sa.Connection, limit: int) -> tuple[RefusedMail, ...]:
    sender = sa.func.coalesce(_refusal.header_from, _refusal.envelope_from).label("sender")
    query = (
        sa.select(_refusal.id, _refusal.refused_at.label("at"), _refusal.account, _refusal.peer, sender, _refusal.cause)
        .order_by(_refusal.refused_at.desc())
        .limit(limit)
    )
    refused = [RefusedMail(**row) for row in connection.execute(query).mappings()]
    away = sa.select(turned_away).order_by(turned_away.c.last_at.desc()).limit(limit)
    refused += [
        RefusedMail(
            id=row["id"],
            at=row["last_at"],
            account=None,
            peer=row["peer"],
            sender=row["sender"],
            cause=row["reply"],
            count=row["count"],
        )
        for row in connection.execute(away).mappings()
    ]
    return tuple(sorted(refused, key=lambda one: one.at, reverse=True)[:limit])


def _find_states(connection: sa.Connection, ids: Sequence[str]) -> dict[str, SmsState]:
    return {row.id: row.state for row in connection.execute(sa.select(_sms.id, _sms.state).where(_sms.id.in_(ids)))}


def _find_optouts(connection: sa.Connection, msisdn: str, accounts: Sequence[str]) -> tuple[OptOut, ...]:
    listed = tables.optout.c
    query = sa.select(tables.optout).where(listed.account.in_(accounts), listed.msisdn == msisdn)
    return tuple(OptOut(**row) for row in connection.execute(query.order_by(listed.account)).mappings())
