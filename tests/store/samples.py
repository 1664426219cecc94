"""Mails, SMS and reports to store, and a look at the rows they leave."""

import hashlib
import itertools
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from gateway.lifecycle import EnvoiId, MailId, ReportId, SmsEvent, SmsId, SmsState
from gateway.protocol.codes import Code
from gateway.protocol.report import ReportFormat, ReportKind
from gateway.store import Store, tables
from gateway.store.base import AnsweredEnvoi, ClaimedSms, NewEnvoi, NewMail, NewReport, NewSms, Order, Settlement
from gateway.store.outgoing import ClaimedReport
from gateway.store.words import EndedEnvoi
from tests.support.clock import START

_numbers = itertools.count(1)

LATER = START + timedelta(hours=1)
LEASE = START + timedelta(minutes=2)
TOMORROW = START + timedelta(days=1)


def name(prefix: str) -> str:
    """A name nobody else has."""
    return f"{prefix}{next(_numbers):06}"


def new_mail(*, account: str = "acme", message_id: str | None = "new", body: bytes = b"<envoi>") -> NewMail:
    mail_id = name("M")
    return NewMail(
        id=MailId(mail_id),
        received_at=START,
        account=account,
        peer="192.0.2.1",
        listener="127.0.0.1:2525",
        proof="network",
        envelope_from="glpi@acme.example",
        header_from="GLPI <glpi@acme.example>",
        message_id=f"<{mail_id}@acme.example>" if message_id == "new" else message_id,
        body_digest=hashlib.sha256(body).digest(),
        raw=b"Subject: x\r\n\r\n" + body,
        notes=("read as windows-1252",),
    )


def new_sms(
    position: int = 1, *, due_at: datetime = START, originator: str | None = "Acme", expires_at: datetime = TOMORROW
) -> NewSms:
    return NewSms(
        id=SmsId(name("S")),
        position=position,
        tel=f"06000000{position:02}",
        state=SmsState.QUEUED,
        code=None,
        msisdn=f"+336000000{position:02}",
        text=f"Bonjour {position} €",
        parts=1,
        originator=originator,
        tracker=name("TRACKER"),
        due_at=due_at,
        expires_at=expires_at,
        notes=("é -> e",),
    )


def refused_sms(position: int = 1, code: Code = Code.C7_NUMBER_MALFORMED) -> NewSms:
    return NewSms(id=SmsId(name("S")), position=position, tel="0600", state=SmsState.REFUSED, code=code, reason="short")


def new_report(kind: ReportKind = ReportKind.ACK, *, due_at: datetime = START) -> NewReport:
    report_id = name("R")
    return NewReport(
        id=ReportId(report_id),
        kind=kind,
        recipient="ops@acme.example",
        message_id=f"<{report_id}@gw.example>",
        in_reply_to="<m@acme.example>",
        body=b"<etatAck/>",
        due_at=due_at,
        expires_at=START + timedelta(days=2),
    )


def new_envoi(
    *sms: NewSms,
    email_id: str | None = "new",
    not_to: str | None = "ops@acme.example",
    commercial: bool = False,
    fault: Code | None = None,
    receipts_to: str | None = None,
) -> NewEnvoi:
    return NewEnvoi(
        id=EnvoiId(name("E")),
        email_id=name("7") if email_id == "new" else email_id,
        customer_tracker="campaign",
        not_to=not_to,
        report_format=ReportFormat.SOURCE,
        commercial=commercial,
        fault=fault,
        sms=sms,
        receipts_to=receipts_to,
    )


def new_order(
    *sms: NewSms,
    mail: NewMail | None = None,
    email_id: str | None = "new",
    reports: Sequence[NewReport] | None = None,
    not_to: str | None = "ops@acme.example",
    commercial: bool = False,
    fault: Code | None = None,
    receipts_to: str | None = None,
) -> Order:
    """A first arrival with one Ack; one SMS unless others are given, none with a fault."""
    wanted = () if fault else sms or (new_sms(),)
    return Order(
        mail=mail or new_mail(),
        envoi=new_envoi(
            *wanted, email_id=email_id, not_to=not_to, commercial=commercial, fault=fault, receipts_to=receipts_to
        ),
        reports=(new_report(),) if reports is None else tuple(reports),
        duplicate_reports=(new_report(),),
    )


async def claim(store: Store, *, account: str = "acme", limit: int = 50, now: datetime = START) -> list[ClaimedSms]:
    claimed = await store.claim_sms(
        lane=account, provider="carrier", now=now, lease_until=now + timedelta(minutes=2), limit=limit
    )
    return list(claimed)


def settlement(
    sms: ClaimedSms,
    event: SmsEvent,
    *,
    from_state: SmsState = SmsState.SENDING,
    code: Code | None = None,
    reason: str | None = None,
    due_at: datetime | None = None,
    provider_ref: str | None = None,
    parts: int | None = None,
    raw: str | None = None,
) -> Settlement:
    """A move out of `sending`, unless `from_state` says otherwise."""
    return Settlement(
        sms_id=sms.id,
        epoch=sms.epoch,
        from_state=from_state,
        event=event,
        code=code,
        reason=reason,
        due_at=due_at,
        provider_ref=provider_ref,
        parts=parts,
        raw=raw,
    )


class NotMaker:
    """Renders the Not and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[AnsweredEnvoi] = []

    def __call__(self, envoi: AnsweredEnvoi) -> NewReport:
        self.asked.append(envoi)
        return new_report(ReportKind.NOT)


class ArMaker:
    """Renders the etatAr and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[EndedEnvoi] = []

    def __call__(self, envoi: EndedEnvoi) -> NewReport:
        self.asked.append(envoi)
        return new_report(ReportKind.RECEIPTS)


async def claim_reports(store: Store, *, now: datetime = START, limit: int = 50) -> list[ClaimedReport]:
    return list(await store.claim_reports(now=now, lease_until=now + timedelta(minutes=2), limit=limit))


async def rows(store: Store, table: sa.Table, **wanted: object) -> list[dict[str, Any]]:
    """The rows with these values, by primary key."""
    query = sa.select(table).filter_by(**wanted).order_by(*table.primary_key.columns)
    return await store._database.read(lambda connection: [dict(row) for row in connection.execute(query).mappings()])


async def change(store: Store, *statements: sa.Executable | str) -> None:
    """Whatever no step of the store would do, in one transaction."""

    def execute(connection: sa.Connection) -> None:
        for one in statements:
            connection.execute(sa.text(one) if isinstance(one, str) else one)

    await store._database.write(lambda: execute)


async def row(store: Store, table: sa.Table, **wanted: object) -> dict[str, Any]:
    found = await rows(store, table, **wanted)
    assert len(found) == 1
    return found[0]


async def states(store: Store) -> dict[str, SmsState]:
    return {sms["id"]: sms["state"] for sms in await rows(store, tables.sms)}
