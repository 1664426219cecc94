"""What becomes of an envoi that may be sent (docs/protocol.md §3 to §7): a fault of all of it, or a decision per SMS.

Ids and trackers are not made here: the stage adds them.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from gateway.policy.accounts import Account, OnTooLong, Scheduling
from gateway.policy.routing import choose_route
from gateway.policy.texts import Prepared, TextProfile, TextRules, Unsendable, prepare_text
from gateway.policy.window import Refuse, Wait, recheck
from gateway.protocol.codes import Code
from gateway.protocol.envoi import Envoi, Mode, Recipient
from gateway.text.msisdn import Malformed, Msisdn, country_of, parse_number
from gateway.text.originator import is_wellformed

MAX_EMAIL_ID_CHARS = 64
MAX_TRACKER_CHARS = 49
MAX_AHEAD = timedelta(days=366)
"""How far ahead `date_envoi` may lie; further is a slip of the pen, not an order."""

_DATE_ENVOI = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2}) ([0-9]{2}):([0-9]{2})")
_SMSLONG = re.compile(r"0*([1-9][0-9]*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedSms:
    """An SMS that is to be sent."""

    position: int
    tel: str
    msisdn: Msisdn
    text: str
    parts: int
    ucs2: bool
    route: str  # of the account
    due_at: datetime
    deliver_at: datetime | None  # the carrier is to wait until then, where it can
    expires_at: datetime
    notes: tuple[str, ...]
    changes: tuple[tuple[str, str], ...] = ()  # each character that was replaced, and what by


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedSms:
    """An SMS that will not be sent. `reason` is for the operator."""

    position: int
    tel: str
    msisdn: Msisdn | None  # None: not a number
    code: Code
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is wrong with all of the envoi: nothing of it is sent."""

    code: Code
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """What becomes of an envoi. With a fault there are no SMS."""

    fault: Fault | None
    sms: tuple[QueuedSms | RefusedSms, ...] = ()
    originator: str | None = None
    max_parts: int = 1
    nostop: bool = False
    notes: tuple[str, ...] = ()


def admit(envoi: Envoi, account: Account, now: datetime, profile: TextProfile) -> Admission:
    """Return what becomes of an envoi that is the account's, at this instant."""
    options = _read_options(envoi, account, now, profile)
    if isinstance(options, Fault):
        return Admission(fault=options)
    texts: dict[str | None, Prepared | Unsendable] = {}  # 500 numbers often have one text
    sms = []
    for recipient in envoi.recipients:
        if recipient.text not in texts:
            texts[recipient.text] = prepare_text(recipient.text, options.text_rules)
        sms.append(_judge(recipient, texts[recipient.text], account, options))
    return Admission(
        fault=None,
        sms=tuple(sms),
        originator=envoi.emetteur,
        max_parts=options.text_rules.max_parts,
        nostop=options.nostop,
        notes=options.notes,
    )


def read_email_id(envoi: Envoi, mode: Mode) -> tuple[str | None, tuple[str, ...]]:
    """Return the emailId, None when absent or of no use, and what is to be noted of it (docs/protocol.md §3)."""
    email_id = envoi.email_id
    if not email_id:
        return None, ()
    if len(email_id) > MAX_EMAIL_ID_CHARS:
        return None, (f"emailId longer than {MAX_EMAIL_ID_CHARS} characters: taken as absent",)
    if mode is Mode.STRICT and not (email_id.isascii() and email_id.isdigit()):
        return None, ("emailId with other characters than digits: taken as absent",)
    if not email_id.isprintable():
        return None, ("emailId with characters that cannot be printed: taken as absent",)
    return email_id, ()


def read_tracker(envoi: Envoi) -> tuple[str | None, tuple[str, ...]]:
    """Return the sender's own id for the sends, cut if need be, and what is to be noted of it (docs/protocol.md §3)."""
    tracker = envoi.tracker or None
    if tracker is None or len(tracker) <= MAX_TRACKER_CHARS:
        return tracker, ()
    return tracker[:MAX_TRACKER_CHARS], (f"tracker cut to {MAX_TRACKER_CHARS} characters",)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    due_at: datetime
    deliver_at: datetime | None
    expires_at: datetime
    refusal: Code | None  # of every SMS, because of the hours
    text_rules: TextRules
    nostop: bool
    notes: tuple[str, ...]


def _read_options(envoi: Envoi, account: Account, now: datetime, profile: TextProfile) -> _Options | Fault:
    """Return what holds for every SMS of the envoi, or the first thing that is wrong with all of it."""
    fault = _find_fault(envoi, account)
    if fault is not None:
        return fault
    ceiling = min(account.max_smslong, profile.max_parts)
    allowed = _read_smslong(envoi.smslong, min(account.default_smslong, ceiling), ceiling)
    if isinstance(allowed, Fault):
        return allowed
    due_at = _read_date(envoi.date_envoi, now, ZoneInfo(account.timezone))
    if isinstance(due_at, Fault):
        return due_at
    is_dated = due_at > now
    notes = []
    refusal = None
    slot = recheck(account, due_at, commercial=account.commercial)  # docs/protocol.md §6.6
    if isinstance(slot, Wait):
        due_at = slot.until
        notes.append("outside hours: sent at the next opening")
    elif isinstance(slot, Refuse):
        refusal = slot.code
    if envoi.nostop and not account.nostop:
        notes.append("nostop asked for, the account is not cleared for it: STOP stays")
    nostop = envoi.nostop and account.nostop
    deliver_at = due_at if is_dated and account.scheduling is Scheduling.CARRIER else None
    rules = TextRules(
        profile=profile,
        max_parts=allowed,
        may_cut=account.too_long is OnTooLong.CUT or (account.too_long is OnTooLong.AUTO and not envoi.smslong),
        wants_ucs2=envoi.ucs2,
        carries_stop=account.commercial and not nostop,
    )
    return _Options(
        due_at=due_at if deliver_at is None else now,
        deliver_at=deliver_at,
        expires_at=due_at + timedelta(seconds=account.validity_s),
        refusal=refusal,
        text_rules=rules,
        nostop=nostop,
        notes=tuple(notes),
    )


def _find_fault(envoi: Envoi, account: Account) -> Fault | None:
    if envoi.fault is not None:
        return Fault(code=envoi.fault, reason=envoi.fault_reason or "found while reading")
    if not envoi.recipients:
        return Fault(code=Code.C6_NUMBER_MISSING, reason="no number")
    if len(envoi.recipients) > account.max_recipients:  # docs/protocol.md §4.5
        return Fault(code=Code.C23_TOO_MANY_NUMBERS, reason=f"more than {account.max_recipients} numbers")
    originator = envoi.emetteur
    if originator is None:
        return None
    if not originator:
        return Fault(code=Code.C16_ORIGINATOR_EMPTY, reason="empty emetteur")
    if not is_wellformed(originator):
        return Fault(code=Code.C33_ORIGINATOR_NOT_ALLOWED, reason="malformed emetteur")
    if account.originators and originator not in account.originators:
        return Fault(code=Code.C33_ORIGINATOR_NOT_ALLOWED, reason="emetteur that the account may not use")
    return None


def _read_smslong(smslong: str | None, default: int, ceiling: int) -> int | Fault:
    """Return the most parts of an SMS; more than the ceiling, and so 999, is the ceiling (docs/protocol.md §3)."""
    if not smslong:
        return default
    number = _SMSLONG.fullmatch(smslong)
    if number is None:
        return Fault(code=Code.C34_SMSLONG_MALFORMED, reason="smslong is not an integer from 1 up")
    digits = number[1]
    return ceiling if len(digits) > len(str(ceiling)) else min(int(digits), ceiling)


def _read_date(date_envoi: str | None, now: datetime, zone: ZoneInfo) -> datetime | Fault:
    """Return when to send: now, if the date is absent or past (docs/protocol.md §3).

    An hour that a clock change skips is taken as an hour later; of one that comes twice, the first is taken.
    """
    if not date_envoi:
        return now
    unreadable = Fault(code=Code.C999_ERROR, reason="date_envoi is not YYYY-MM-DD hh:mm")
    match = _DATE_ENVOI.fullmatch(date_envoi)
    if match is None:
        return unreadable
    year, month, day, hour, minute = map(int, match.groups())
    try:
        asked = datetime(year, month, day, hour, minute, tzinfo=zone)
    except ValueError:
        return unreadable
    if asked - now > MAX_AHEAD:
        return Fault(code=Code.C999_ERROR, reason=f"date_envoi is more than {MAX_AHEAD.days} days ahead")
    return now if asked <= now else asked.astimezone(UTC)


def _judge(
    recipient: Recipient, prepared: Prepared | Unsendable, account: Account, options: _Options
) -> QueuedSms | RefusedSms:
    number = parse_number(recipient.tel)
    if isinstance(number, Malformed):
        return _refuse(recipient, None, Code.C7_NUMBER_MALFORMED, number.reason)
    country = country_of(number)
    if country not in account.countries:  # docs/protocol.md §5.2
        return _refuse(recipient, number, Code.C27_COUNTRY_NOT_ALLOWED, f"country {country or 'unknown'}")
    if isinstance(prepared, Unsendable):
        return _refuse(recipient, number, Code.C999_ERROR, prepared.reason)
    if options.refusal is not None:
        return _refuse(recipient, number, options.refusal, "outside hours")
    return QueuedSms(
        position=recipient.position,
        tel=recipient.tel,
        msisdn=number,
        text=prepared.text,
        parts=prepared.parts,
        ucs2=prepared.ucs2,
        route=choose_route(account, number.e164),
        due_at=options.due_at,
        deliver_at=options.deliver_at,
        expires_at=options.expires_at,
        notes=prepared.notes,
        changes=prepared.changes,
    )


def _refuse(recipient: Recipient, number: Msisdn | None, code: Code, reason: str) -> RefusedSms:
    return RefusedSms(position=recipient.position, tel=recipient.tel, msisdn=number, code=code, reason=reason)
