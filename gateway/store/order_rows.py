"""An order as rows: pure, one function per table."""

import hashlib
from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime

from gateway.lifecycle import SMS_FIRST_STATES, EnvoiId, MailId, ReplyId, ReportState, SmsState
from gateway.protocol.report import ReportKind
from gateway.store.base import NewEnvoi, NewMail, NewReport, NewSms, Refusal, lane_of
from gateway.store.errors import StoreError

Row = dict[str, object]

_REPORT_FIELDS = tuple(field.name for field in fields(NewReport))
_SMS_FIELDS = tuple(field.name for field in fields(NewSms) if field.name != "route")
_MAIL_FIELDS = tuple(field.name for field in fields(NewMail) if field.name != "body_digest")
_ENVOI_FIELDS = tuple(field.name for field in fields(NewEnvoi) if field.name != "sms")
_REFUSAL_FIELDS = tuple(field.name for field in fields(Refusal) if field.name != "reports")


def fingerprint(mail: NewMail) -> bytes | None:
    """What is the same when a relay that missed our 250 sends a mail again (docs/protocol.md §1.6).

    None without a Message-ID: such mails are never taken for one another.
    """
    if not mail.message_id:
        return None
    digest = hashlib.sha256()
    for part in (mail.message_id, mail.envelope_from):
        octets = part.encode("utf-8", "surrogatepass")
        digest.update(len(octets).to_bytes(4, "big") + octets)
    digest.update(mail.body_digest)
    return digest.digest()


def mail_row(mail: NewMail, mark: bytes | None, *, duplicate_of: EnvoiId | None) -> Row:
    """The mail as it arrived, with its fingerprint; a duplicate names the first envoi with its emailId."""
    own = {name: getattr(mail, name) for name in _MAIL_FIELDS}
    return {**own, "fingerprint": mark, "duplicate_of": duplicate_of}


def claim_row(mail: NewMail, envoi: NewEnvoi) -> Row:
    """The emailId, used up (docs/protocol.md §7.1)."""
    return {
        "account": mail.account,
        "email_id": envoi.email_id,
        "envoi_id": envoi.id,
        "used_at": mail.received_at,
    }


def envoi_row(mail: NewMail, envoi: NewEnvoi, reports: Sequence[NewReport]) -> Row:
    """What the mail asks for.

    An envoi that is answered from the start (a fault, every SMS refused) brings its Not along, among the `reports`.
    """
    is_answered = all(sms.state.is_answered for sms in envoi.sms)
    if not is_answered and any(report.kind is ReportKind.NOT for report in reports):
        raise StoreError("an envoi brings its Not along before every SMS of it has an answer")
    return {
        **{name: getattr(envoi, name) for name in _ENVOI_FIELDS},
        "mail_id": mail.id,
        "account": mail.account,
        "not_staged_at": mail.received_at if is_answered else None,
        # Nothing went to a carrier, so the Not says all there is: no etatAr follows (docs/protocol.md §8.6)
        "receipts_staged_at": mail.received_at if is_answered and envoi.receipts_to is not None else None,
    }


def sms_row(mail: NewMail, envoi: NewEnvoi, sms: NewSms, *, is_paid: bool) -> Row:
    """One SMS, waiting or refused; `is_paid`: its account has a credit, and while it waits it reserves its parts."""
    if sms.state not in SMS_FIRST_STATES:
        raise StoreError(f"an SMS cannot begin as {sms.state.value}")
    return {
        **{name: getattr(sms, name) for name in _SMS_FIELDS},
        "envoi_id": envoi.id,
        "mail_id": mail.id,
        "account": mail.account,
        "lane": lane_of(mail.account, sms.route),
        "commercial": envoi.commercial,
        "since_at": mail.received_at,
        "settled_at": mail.received_at if sms.state.is_final else None,
        "epoch": 0,
        "attempts": 0,
        "reserved_parts": (sms.parts or None) if is_paid and sms.state is SmsState.QUEUED else None,
    }


def refusal_row(refusal: Refusal) -> Row:
    """A mail that was not taken."""
    facts = refusal.facts or {}
    own = {name: getattr(refusal, name) for name in _REFUSAL_FIELDS}
    return {**own, **{name: facts.get(name) for name in ("ground", "code", "email_id")}}


def report_row(
    report: NewReport,
    now: datetime,
    *,
    mail_id: MailId | None = None,
    refusal_id: MailId | None = None,
    reply_id: ReplyId | None = None,
    envoi_id: EnvoiId | None = None,
) -> Row:
    """A report that waits for the mailer, with what caused it: a mail, a refusal or a reply; and its envoi."""
    return {
        **{name: getattr(report, name) for name in _REPORT_FIELDS},
        "mail_id": mail_id,
        "refusal_id": refusal_id,
        "reply_id": reply_id,
        "envoi_id": envoi_id,
        "created_at": now,
        "state": ReportState.DUE,
        "since_at": now,
        "epoch": 0,
        "attempts": 0,
    }
