"""What must hold across the rows of a store, beyond what the database itself enforces: one query for what breaks it.

Each query returns the ids of the rows that are wrong; it reads one state of the store, so a gateway at work on it
breaks nothing.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from gateway.lifecycle import ReportState, SmsState
from gateway.protocol.report import ReportKind
from gateway.store.quota_tables import quota_overrun
from gateway.store.receipts import KEPT
from gateway.store.tables import (
    SMS_OPEN,
    SMS_UNANSWERED,
    SMS_WAITING,
    attempt,
    credit,
    email_id,
    envoi,
    mail,
    one_of,
    receipt,
    report,
    sms,
)

GRACE = timedelta(minutes=15)
"""So long after its time is over every SMS has its final word."""

_LEASE_GRACE = timedelta(minutes=2)
"""So long after the end of a lease the janitor has seen it."""

_IS_NOT = report.c.kind == ReportKind.NOT
_IS_UNANSWERED = one_of("sms.state", SMS_UNANSWERED)
_IS_SENDING = one_of("sms.state", (SmsState.SENDING,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Invariant:
    """One thing that must hold: its name, what it means that it does not, and the rows for which it does not."""

    name: str
    wrong: str
    rows: sa.Select[Any]
    is_about_time: bool = False
    """True when it holds only while a gateway works on the store: for a backup it says nothing."""


def _has(table: sa.Table, *conditions: sa.ColumnElement[bool] | sa.TextClause) -> sa.Exists:
    return sa.select(sa.literal(1)).select_from(table).where(*conditions).exists()


def invariants(now: datetime, reconcile_window: timedelta, receipt_window: timedelta) -> tuple[Invariant, ...]:
    """Everything that is looked at, the rows first, then what is late."""
    return (
        *_of_envois(),
        *_of_receipts(),
        *_of_attempts(),
        *_of_email_ids(),
        *_of_credit(),
        *_of_time(now, reconcile_window),
        *_of_silence(now, receipt_window),
    )


def _of_envois() -> tuple[Invariant, ...]:
    own_sms, own_not = sms.c.envoi_id == envoi.c.id, report.c.envoi_id == envoi.c.id
    return (
        Invariant(
            name="answered_envois_are_marked",
            wrong="every SMS of the envoi has its answer, and its Not was never made",
            rows=sa.select(envoi.c.id).where(envoi.c.not_staged_at.is_(None), ~_has(sms, own_sms, _IS_UNANSWERED)),
        ),
        Invariant(
            name="marked_envois_are_answered",
            wrong="the Not of the envoi was made before its every SMS had its answer",
            rows=sa.select(sms.c.envoi_id)
            .distinct()
            .where(_IS_UNANSWERED, _has(envoi, envoi.c.id == sms.c.envoi_id, envoi.c.not_staged_at.is_not(None))),
        ),
        Invariant(
            name="wanted_nots_are_made",
            wrong="the envoi was answered and wants a Not, and there is none",
            rows=sa.select(envoi.c.id).where(
                envoi.c.not_staged_at.is_not(None), envoi.c.not_to.is_not(None), ~_has(report, own_not, _IS_NOT)
            ),
        ),
        Invariant(
            name="nots_are_of_answered_envois",
            wrong="the report is a Not of an envoi that was not answered, or does not want one",
            rows=sa.select(report.c.id).where(
                one_of("report.kind", (ReportKind.NOT,)),
                report.c.refusal_id.is_(None),  # that of a mail that was turned away has no envoi (§1.3)
                ~_has(
                    envoi,
                    envoi.c.id == report.c.envoi_id,
                    envoi.c.not_staged_at.is_not(None),
                    envoi.c.not_to.is_not(None),
                ),
            ),
        ),
        Invariant(
            name="sms_agree_with_their_envoi",
            wrong="the SMS is of another mail or account than its envoi",
            rows=sa.select(sms.c.id)
            .join_from(sms, envoi)
            .where(sa.or_(sms.c.mail_id != envoi.c.mail_id, sms.c.account != envoi.c.account)),
        ),
        Invariant(
            name="envois_agree_with_their_mail",
            wrong="the envoi is of another account than its mail",
            rows=sa.select(envoi.c.id).join_from(envoi, mail).where(envoi.c.account != mail.c.account),
        ),
    )


def _of_receipts() -> tuple[Invariant, ...]:
    is_open = _has(sms, sms.c.envoi_id == envoi.c.id, one_of("sms.state", SMS_OPEN))
    return (
        Invariant(
            name="ended_envois_are_marked",
            wrong="nothing more is to come of the envoi, and its etatAr was never looked after",
            rows=sa.select(envoi.c.id).where(
                envoi.c.receipts_to.is_not(None), envoi.c.receipts_staged_at.is_(None), ~is_open
            ),
        ),
        Invariant(
            name="etat_ars_are_of_ended_envois",
            wrong="the report is an etatAr of an envoi of which more is to come, or that does not want one",
            rows=sa.select(report.c.id).where(
                one_of("report.kind", (ReportKind.RECEIPTS,)),
                ~_has(
                    envoi,
                    envoi.c.id == report.c.envoi_id,
                    envoi.c.receipts_staged_at.is_not(None),
                    envoi.c.receipts_to.is_not(None),
                    ~is_open,
                ),
            ),
        ),
        Invariant(
            name="only_the_quiet_are_asked_for",
            wrong="a carrier is to be asked for the SMS, which is neither accepted nor of unknown fate",
            rows=sa.select(sms.c.id).where(
                sms.c.ask_at.is_not(None), sms.c.state.not_in((SmsState.ACCEPTED, SmsState.UNCERTAIN))
            ),
        ),
    )


def _of_attempts() -> tuple[Invariant, ...]:
    own = attempt.c.sms_id == sms.c.id
    counted = (
        sa.select(attempt.c.sms_id, sa.func.count().label("number"), sa.func.max(attempt.c.epoch).label("last"))
        .group_by(attempt.c.sms_id)
        .subquery()
    )
    return (
        Invariant(
            name="sending_sms_have_their_attempt",
            wrong="the SMS is being sent, and no attempt is under way",
            rows=sa.select(sms.c.id).where(
                _IS_SENDING, ~_has(attempt, own, attempt.c.epoch == sms.c.epoch, attempt.c.verdict.is_(None))
            ),
        ),
        Invariant(
            name="open_attempts_are_of_sending_sms",
            wrong="an attempt of the SMS is under way, and the SMS is not being sent",
            rows=sa.select(attempt.c.sms_id).where(
                attempt.c.verdict.is_(None), ~_has(sms, own, _IS_SENDING, sms.c.epoch == attempt.c.epoch)
            ),
        ),
        Invariant(
            name="attempts_are_counted",
            wrong="the SMS has another number of attempts than it counts, or one of a later claim than its last",
            rows=sa.select(sms.c.id)
            .outerjoin_from(sms, counted, counted.c.sms_id == sms.c.id)
            .where(
                sa.or_(
                    sms.c.attempts != sa.func.coalesce(counted.c.number, 0),
                    sms.c.epoch < sa.func.coalesce(counted.c.last, 0),
                )
            ),
        ),
    )


def _of_email_ids() -> tuple[Invariant, ...]:
    is_claim = (email_id.c.account == envoi.c.account, email_id.c.email_id == envoi.c.email_id)
    return (
        Invariant(
            name="email_ids_are_claimed",
            wrong="the emailId of the envoi is not claimed, or by another envoi: the same mail could be taken again",
            rows=sa.select(envoi.c.id).where(
                envoi.c.email_id.is_not(None), ~_has(email_id, *is_claim, email_id.c.envoi_id == envoi.c.id)
            ),
        ),
        Invariant(
            name="claims_agree_with_their_envoi",  # one whose envoi was purged stays, and is fine
            wrong="the claim names an envoi with another emailId or account",
            rows=sa.select(email_id.c.email_id)
            .join_from(email_id, envoi, envoi.c.id == email_id.c.envoi_id)
            .where(
                sa.or_(
                    envoi.c.account != email_id.c.account,
                    envoi.c.email_id.is_(None),
                    envoi.c.email_id != email_id.c.email_id,
                )
            ),
        ),
    )


def _of_credit() -> tuple[Invariant, ...]:
    reserved = (
        sa.select(sms.c.account, sa.func.sum(sms.c.reserved_parts).label("parts"))
        # So few that the index finds them: what is reserved is open
        .where(sms.c.reserved_parts.is_not(None), _IS_UNANSWERED)
        .group_by(sms.c.account)
        .subquery()
    )
    return (
        Invariant(
            name="reserved_credit_adds_up",
            wrong="the account has reserved another number of parts than its SMS under way",
            rows=sa.select(credit.c.account)
            .outerjoin_from(credit, reserved, reserved.c.account == credit.c.account)
            .where(credit.c.reserved != sa.func.coalesce(reserved.c.parts, 0)),
        ),
        Invariant(
            name="reserved_credit_has_an_account",
            wrong="SMS have reserved credit of an account that has none",
            rows=sa.select(reserved.c.account).where(~_has(credit, credit.c.account == reserved.c.account)),
        ),
    )


def _of_time(now: datetime, reconcile_window: timedelta) -> tuple[Invariant, ...]:
    return (
        Invariant(
            name="leases_end",
            wrong="the SMS is being sent, and its lease is over: is the gateway running?",
            rows=sa.select(sms.c.id).where(_IS_SENDING, sms.c.lease_until < now - _LEASE_GRACE),
            is_about_time=True,
        ),
        Invariant(
            name="validity_ends",
            wrong="the SMS waits beyond its validity: is the gateway running?",
            rows=sa.select(sms.c.id).where(one_of("sms.state", SMS_WAITING), sms.c.expires_at < now - GRACE),
            is_about_time=True,
        ),
        Invariant(
            name="unknown_fates_end",
            wrong="the fate of the SMS is unknown for longer than reconcile_window_s: is the gateway running?",
            rows=sa.select(sms.c.id).where(
                one_of("sms.state", (SmsState.UNCERTAIN,)), sms.c.since_at < now - reconcile_window - GRACE
            ),
            is_about_time=True,
        ),
        Invariant(
            name="report_leases_end",
            wrong="the report is being delivered, and its lease is over: is the gateway running?",
            rows=sa.select(report.c.id).where(
                one_of("report.state", (ReportState.SENDING,)), report.c.lease_until < now - _LEASE_GRACE
            ),
            is_about_time=True,
        ),
        Invariant(
            name="reports_end",
            wrong="the report waits beyond its time: is the gateway running?",
            rows=sa.select(report.c.id).where(
                one_of("report.state", (ReportState.DUE, ReportState.HELD)), report.c.expires_at < now - GRACE
            ),
            is_about_time=True,
        ),
    )


def _of_silence(now: datetime, receipt_window: timedelta) -> tuple[Invariant, ...]:
    return (
        Invariant(
            name="silences_end",
            wrong="no word of the accepted SMS came for longer than receipt_window_s: is the gateway running?",
            rows=sa.select(sms.c.id).where(
                one_of("sms.state", (SmsState.ACCEPTED,)), sms.c.since_at < now - receipt_window - GRACE
            ),
            is_about_time=True,
        ),
        Invariant(
            name="early_words_are_dropped",
            wrong="a carrier's word is kept for longer than a day: is the gateway running?",
            rows=sa.select(receipt.c.id).where(receipt.c.received_at < now - KEPT - GRACE),
            is_about_time=True,
        ),
        Invariant(
            name="held_back_is_told",
            wrong="what a quota of the account held back was not told after its window: is the gateway running?",
            rows=sa.select(quota_overrun.c.account).where(quota_overrun.c.due_at < now - GRACE),
            is_about_time=True,
        ),
    )
