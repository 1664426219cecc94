"""The reports that follow from moves of SMS: the Not with the last answer of an envoi, the etatAr with its last end.

Each is staged in the transaction of the move that completes its envoi, so neither can exist without the other, and
once: whoever locks the envoi sees whether it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from gateway.lifecycle import EnvoiId, MailId, ReportId, SmsState
from gateway.protocol.codes import Code
from gateway.protocol.report import SmsAnswer
from gateway.store import tables
from gateway.store.base import AnsweredEnvoi, RenderNot
from gateway.store.inserts import insert_all
from gateway.store.order_rows import Row, report_row
from gateway.store.questions import Found, Question
from gateway.store.repeats import Repeated
from gateway.store.tables import SMS_OPEN, SMS_UNANSWERED
from gateway.store.words import EndedEnvoi, RenderReceipts, SmsEnd

_sms = tables.sms.c
_envoi = tables.envoi.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Writers:
    """What writes the reports."""

    not_: RenderNot
    receipts: RenderReceipts | None = None


def stage_reports(
    connection: sa.Connection, answered: set[EnvoiId], ended: set[EnvoiId], now: datetime, writers: Writers
) -> tuple[ReportId, ...]:
    """The reports of those of the envois are staged that are complete by it, and were not before.

    `answered`: an SMS of it has its answer now; `ended`: an SMS of it is final now. Raises `ValueError` when an
    etatAr is due and there is nothing to write it.
    """
    # A statement after the lock: it sees what the one that held it before has done
    locked = _lock(connection, sorted(answered | ended))
    rows = _nots(connection, {one: row for one, row in locked.items() if one in answered}, now, writers)
    rows += _receipts(connection, {one: row for one, row in locked.items() if one in ended}, now, writers)
    insert_all(connection, tables.report, rows)
    return tuple(ReportId(str(row["id"])) for row in rows)


# Built once: building a query takes several times as long as SQLite needs to answer it

_WANTING = Question(
    sa.select(tables.envoi, tables.mail.c.message_id)
    .join_from(tables.envoi, tables.mail)
    .where(
        _envoi.id.in_(sa.bindparam("ids", expanding=True)),
        sa.or_(
            _envoi.not_staged_at.is_(None),
            sa.and_(_envoi.receipts_to.is_not(None), _envoi.receipts_staged_at.is_(None)),
        ),
    )
    .order_by(_envoi.id)
    .with_for_update(key_share=True, of=tables.envoi)
)
_LAST = (
    # From the last one back, for they go in order: of 500 recipients, one is looked at until the end. States as
    # parameters: written out, they would lead SQLite to the index of all that is open, not to these envois
    sa.select(_sms.id)
    .where(_sms.envoi_id == _envoi.id, _sms.state.in_(sa.bindparam("states", expanding=True)))
    .order_by(_sms.position.desc())
    .limit(1)
    .scalar_subquery()
)
INCOMPLETE = Question(
    sa.select(_envoi.id).where(_envoi.id.in_(sa.bindparam("ids", expanding=True)), _LAST.is_not(None))
)
"""Those of the envois with an SMS in one of the states."""

ANSWERS = Question(
    sa.select(_sms.envoi_id, _sms.tel, _sms.state, _sms.code, _sms.network_code, _sms.network_at)
    .where(_sms.envoi_id.in_(sa.bindparam("ids", expanding=True)))
    .order_by(_sms.envoi_id, _sms.position)
)
"""The SMS of the envois, in order of position."""


_THIS_ENVOI = tables.envoi.update().where(_envoi.id == sa.bindparam("b_id"))
_NOT_STAGED = Repeated(_THIS_ENVOI.values(not_staged_at=sa.bindparam("b_now")))
_RECEIPTS_STAGED = Repeated(_THIS_ENVOI.values(receipts_staged_at=sa.bindparam("b_now")))


def _lock(connection: sa.Connection, ids: Sequence[EnvoiId]) -> dict[EnvoiId, Found]:
    """Those of the envois that still want a report."""
    if not ids:
        return {}
    return {EnvoiId(row["id"]): row for row in _WANTING.find(connection, {"ids": list(ids)})}


# --- the Not ---------------------------------------------------------------------------------------------------------


def _nots(connection: sa.Connection, locked: dict[EnvoiId, Found], now: datetime, writers: Writers) -> list[Row]:
    open_ = [one for one, row in locked.items() if row["not_staged_at"] is None]
    answers = _answers(connection, _complete(connection, open_, SMS_UNANSWERED))
    if not answers:
        return []
    _NOT_STAGED.run(connection, [{"b_id": envoi_id, "b_now": now} for envoi_id in answers])
    rows = []
    for envoi_id, given in answers.items():
        row = locked[envoi_id]
        if row["not_to"] is not None:
            report = writers.not_(_answered(row, given))
            rows.append(report_row(report, now, mail_id=row["mail_id"], envoi_id=envoi_id))
    return rows


def _complete(connection: sa.Connection, ids: Sequence[EnvoiId], states: Sequence[SmsState]) -> list[EnvoiId]:
    """Those of the envois without an SMS in any of the states."""
    if not ids:
        return []
    incomplete = {one for (one,) in INCOMPLETE.ask(connection, {"ids": list(ids), "states": list(states)})}
    return [envoi_id for envoi_id in ids if envoi_id not in incomplete]


def _answers(connection: sa.Connection, ids: Sequence[EnvoiId]) -> dict[EnvoiId, list[SmsAnswer]]:
    """What the sender is told of each SMS, in order of position (docs/protocol.md §8.2)."""
    answers: dict[EnvoiId, list[SmsAnswer]] = {}
    for row in ANSWERS.find(connection, {"ids": list(ids)}) if ids else ():
        answer = SmsAnswer(tel=row["tel"], code=answer_code(row["state"], row["code"]))
        answers.setdefault(row["envoi_id"], []).append(answer)
    return answers


def answer_code(state: SmsState, code: Code | None) -> Code:
    """0 means that the provider accepted it; what became of the rest has its code, or 999 (docs/protocol.md §9).

    What a carrier accepted stays 0, whatever the network says before the Not is written: that is the etatAr's to tell.
    """
    if state in (SmsState.ACCEPTED, SmsState.DELIVERED):
        return Code.C0_SENT
    return Code.C999_ERROR if code is None else code


def _answered(row: Found, answers: Sequence[SmsAnswer]) -> AnsweredEnvoi:
    return AnsweredEnvoi(
        envoi_id=EnvoiId(row["id"]),
        mail_id=MailId(row["mail_id"]),
        account=row["account"],
        email_id=row["email_id"],
        message_id=row["message_id"],
        not_to=row["not_to"],
        report_format=row["report_format"],
        answers=tuple(answers),
    )


# --- the etatAr ------------------------------------------------------------------------------------------------------


def _receipts(connection: sa.Connection, locked: dict[EnvoiId, Found], now: datetime, writers: Writers) -> list[Row]:
    wanted = [
        one for one, row in locked.items() if row["receipts_to"] is not None and row["receipts_staged_at"] is None
    ]
    complete = _complete(connection, wanted, SMS_OPEN)
    if not complete:
        return []
    if writers.receipts is None:
        raise ValueError("an etatAr is due, and nothing to write it is given")
    _RECEIPTS_STAGED.run(connection, [{"b_id": envoi_id, "b_now": now} for envoi_id in complete])
    rows = []
    for envoi_id, ends in _ends(connection, complete).items():
        if any(map(_was_at_a_carrier, ends)):  # else the Not has said all there is (docs/protocol.md §8.6)
            row = locked[envoi_id]
            report = writers.receipts(_ended(row, ends))
            rows.append(report_row(report, now, mail_id=row["mail_id"], envoi_id=envoi_id))
    return rows


def _was_at_a_carrier(end: SmsEnd) -> bool:
    return end.state in (SmsState.DELIVERED, SmsState.UNDELIVERED) or end.code is Code.C0_SENT


def _ends(connection: sa.Connection, ids: Sequence[EnvoiId]) -> dict[EnvoiId, list[SmsEnd]]:
    ends: dict[EnvoiId, list[SmsEnd]] = {}
    for row in ANSWERS.find(connection, {"ids": list(ids)}):
        end = SmsEnd(
            tel=row["tel"],
            state=row["state"],
            code=row["code"],
            network_code=row["network_code"],
            network_at=row["network_at"],
        )
        ends.setdefault(row["envoi_id"], []).append(end)
    return ends


def _ended(row: Found, ends: Sequence[SmsEnd]) -> EndedEnvoi:
    return EndedEnvoi(
        envoi_id=EnvoiId(row["id"]),
        mail_id=MailId(row["mail_id"]),
        account=row["account"],
        email_id=row["email_id"],
        message_id=row["message_id"],
        receipts_to=row["receipts_to"],
        report_format=row["report_format"],
        ends=tuple(ends),
    )
