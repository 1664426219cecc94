"""The mail that carries a reply to the account (docs/protocol.md §8.6). Pure but for the id it gives it.

First what somebody wrote, then, behind the line that begins a signature ("-- "), what is known of it: so a help desk
that cuts signatures files the text alone. It threads with the mail whose SMS it answers.
"""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from gateway.ids import new_id
from gateway.lifecycle import ReportId
from gateway.policy.accounts import Account, Accounts, ReplyNumbers
from gateway.protocol.report import ReportKind
from gateway.reports import ReportRules
from gateway.store.base import NewReport
from gateway.store.two_way import TakenReply
from gateway.text.msisdn import mask

_LABEL_CHARS = 23


def write_reply(
    reply: TakenReply, *, accounts: Accounts, now: datetime, rules: ReportRules, own_addresses: frozenset[str]
) -> NewReport | None:
    """Return the mail, or None when nobody wants it.

    The operator wrote the address, so it may be of any domain; only the gateway itself it cannot be.
    """
    account = None if reply.account is None else accounts.by_name(reply.account)
    if account is None or account.reply_to is None or account.reply_to.lower() in own_addresses:
        return None
    report_id = ReportId(new_id(now))
    number = mask(reply.msisdn) if account.reply_numbers is ReplyNumbers.MASKED else reply.msisdn
    return NewReport(
        id=report_id,
        kind=ReportKind.REPLY,
        recipient=account.reply_to,
        message_id=f"<{report_id}@{rules.hostname}>",
        in_reply_to=reply.answers.message_id if reply.answers else None,
        # Nothing that a stranger wrote stands in a header: a number, and a word of ours
        subject=f"SMS reply / reponse SMS: {number}{' (STOP)' if reply.is_stop else ''}",
        body=_write_body(reply, account, number).encode(),
        due_at=now,
        expires_at=now + timedelta(seconds=rules.validity_s),
    )


def _write_body(reply: TakenReply, account: Account, number: str) -> str:
    zone = ZoneInfo(account.timezone)
    lines = [
        _line("from / de", number),
        *([_line("to / à", reply.sent_to)] if reply.sent_to else []),
        _line("received / reçu", _written(reply.received_at, zone)),
        *_answered_lines(reply, zone),
        _line("account / compte", account.name),
    ]
    if not reply.is_whole:
        there = ", ".join(map(str, reply.parts))
        lines.append(_line("incomplete / incomplet", f"only / seulement {there} of / sur {reply.total}"))
    if reply.is_stop:
        lines += _stop_lines(account)
    return "\n".join([reply.text, "-- ", "Reply by SMS / Réponse par SMS", *lines, ""])


def _answered_lines(reply: TakenReply, zone: ZoneInfo) -> list[str]:
    if reply.answers is None:
        return [_line("answers / répond à", "? (no SMS to this number is known / aucun SMS connu vers ce numéro)")]
    answers = reply.answers
    return [
        _line("answers / répond à", f"emailId {answers.email_id or '?'}, SMS {answers.position}"),
        _line("of / du", _written(answers.asked_at, zone)),
    ]


def _stop_lines(account: Account) -> list[str]:
    if account.heeds_stop:
        english = "the number gets no more SMS of this account (code 11)"
        french = "ce numéro ne reçoit plus de SMS de ce compte (code 11)"
    else:
        english = "noted, but this account does not heed STOP: its SMS go on (heeds_stop = false)"
        french = "noté, mais ce compte n'en tient pas compte : ses SMS continuent (heeds_stop = false)"
    return [_line("STOP", english), _line("", french)]


def _line(label: str, value: str) -> str:
    name = f"{label}:" if label else ""
    return f"{name:<{_LABEL_CHARS}} {value}"


def _written(at: datetime, zone: ZoneInfo) -> str:
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}"
