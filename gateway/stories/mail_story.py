"""The life of a mail that was taken, in words: connection, checks, envoi, its SMS, reports, credit."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address

from gateway.lifecycle import ReportState, SmsState
from gateway.policy.accounts import Account, ReceiptsBy
from gateway.policy.addresses import matches, parse_address
from gateway.protocol.codes import Code
from gateway.protocol.report import ReportKind
from gateway.protocol.tolerances import Tolerance
from gateway.store.records import MailLife, MailRecord, ReportRecord
from gateway.stories.model import Data, Step, StepKind
from gateway.stories.settings_of import settings_of_code
from gateway.stories.sms_story import SmsLife, tell_sms

_NAMES = {
    ReportKind.ACK: "the Ack",
    ReportKind.NOT: "the Not",
    ReportKind.RECEIPTS: "the etatAr",
    ReportKind.REPLY: "the mail of a reply",
    ReportKind.CREDIT: "the warning of the credit",
}
_SENTENCES = {tolerance.value: tolerance.sentence for tolerance in Tolerance}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What is known beside the rows."""

    now: datetime
    find_account: Callable[[str], Account | None]  # as configured now
    is_serving: bool | None = None


def tell_mail(life: MailLife, scene: Scene) -> tuple[Step, ...]:
    """Return the steps of the mail: how it came, what became of each SMS, what goes back, what comes next."""
    account = scene.find_account(life.mail.account)
    steps = [*_arrival(life.mail), *_checks(life.mail, account), *_outcome(life)]
    for one in life.sms:
        steps += tell_sms(_sms_life(life, one.id, scene, account), scene.now)
    steps += tell_reports(life.reports, scene.now)
    steps += [*_missing_reports(life, account), *_credit(life), *_purged(life)]
    return tuple(steps)


def _sms_life(life: MailLife, sms_id: str, scene: Scene, account: Account | None) -> SmsLife:
    sms = next(one for one in life.sms if one.id == sms_id)
    return SmsLife(
        sms=sms,
        received_at=life.mail.received_at,
        attempts=[one for one in life.attempts if one.sms_id == sms_id],
        operations=[one for one in life.operations if one.sms_id == sms_id],
        replies=[one for one in life.replies if one.sms_id == sms_id],
        stops=life.stops,
        blocked=life.blocked.get(sms.lane or ""),
        account=account,
        is_serving=scene.is_serving,
    )


# --- how it came -----------------------------------------------------------------------------------------------------


def connection_sentence(peer: str, listener: str, sender: str, facts: Data) -> str:
    """Return who connected, and how."""
    words = [f"client {peer} connected to listener {listener}"]
    if facts.get("helo"):
        words.append(f"called itself {facts['helo']}")
    if facts:
        tls = facts.get("tls")
        words.append(f"over {tls} ({facts.get('cipher')})" if tls else "in clear")
    if facts.get("authenticated_account"):
        words.append(f"authenticated as {facts.get('user')} for account {facts['authenticated_account']}")
    if facts.get("certificate"):
        words.append(f"with the certificate {facts['certificate']}")
    return ", ".join(words) + f", and brought a mail from {sender or '<>'}"


def connection_data(peer: str, listener: str, sender: str, facts: Data) -> Data:
    """Return the same for programs; what was not kept is None."""
    known = ("helo", "tls", "cipher", "user", "authenticated_account", "certificate", "size_bytes")
    return {"peer": peer, "listener": listener, "envelope_from": sender, **{name: facts.get(name) for name in known}}


def _arrival(mail: MailRecord) -> Iterator[Step]:
    facts = mail.facts or {}
    where = (mail.peer, mail.listener, mail.envelope_from, facts)
    yield Step(
        kind=StepKind.CONNECTED,
        at=mail.received_at,
        sentence=connection_sentence(*where),
        data=connection_data(*where),
    )
    notes = [note_sentence(note) for note in mail.notes]
    how = ""
    if facts.get("charset"):
        declared = facts.get("declared_charset")
        how = f", its text as {facts['charset']} ({f'declared: {declared}' if declared else 'none declared'})"
        how += f", {facts.get('mode')}"
    size = f"{facts['size_bytes']} bytes" if facts.get("size_bytes") else "the mail"
    files = f", with {facts['files']}" if facts.get("files") else ""
    noted = f"; noted: {'; '.join(notes)}" if notes else ""
    data = {name: facts.get(name) for name in ("size_bytes", "charset", "declared_charset", "mode", "files")}
    yield Step(
        kind=StepKind.READ,
        at=mail.received_at,
        sentence=f"{size} were read{how}{files}{noted}" if facts.get("size_bytes") else f"{size} was read{noted}",
        data={**data, "notes": mail.notes},
    )


def note_sentence(note: str) -> str:
    """Return a note as a sentence; a tolerance is kept by its name."""
    name, _, detail = note.partition(" (")
    sentence = _SENTENCES.get(name)
    if sentence is None:
        return note
    return f"{sentence} ({detail}" if detail else sentence


# --- checks ----------------------------------------------------------------------------------------------------------


def _checks(mail: MailRecord, account: Account | None) -> Iterator[Step]:
    """Who it is from was checked in this order; the settings are named as they stand now."""
    name = mail.account
    setting, detail = _proof(mail, account)
    yield Step(
        kind=StepKind.PROVEN,
        at=mail.received_at,
        sentence=f"it is account {name}'s: the client is proven by {mail.proof}{detail} [{setting}]",
        data={
            "proof": mail.proof,
            "account": name,
            "header_from": mail.header_from,
            "setting": setting,
        },
    )
    yield _check(mail, "keyid", f"accounts.{name}.keyid", "the <keyid> is that of the account")
    sender = mail.header_from or mail.envelope_from
    yield _check(mail, "domain", f"accounts.{name}.domains", _domain_sentence(sender, account))


def _check(mail: MailRecord, check: str, setting: str, detail: str) -> Step:
    return Step(
        kind=StepKind.CHECKED,
        at=mail.received_at,
        sentence=f"{detail} [{setting}]",
        data={"check": check, "passed": True, "setting": setting, "detail": detail},
    )


def _proof(mail: MailRecord, account: Account | None) -> tuple[str, str]:
    """Return the setting that decided, and what in it."""
    name = mail.account
    if mail.proof == "network":
        own = account.networks if account is not None else ()
        try:
            network = next((one for one in own if ip_address(mail.peer) in one), None)
        except ValueError:
            network = None
        detail = f" ({mail.peer} is in {network})" if network is not None else ""
        return (f"accounts.{name}.networks" if own else "smtp.networks"), detail
    facts = mail.facts or {}
    if mail.proof == "smtp_auth":
        return "users", f" (user {facts.get('user')})" if facts.get("user") else ""
    if mail.proof == "tls_client_cert":
        return f"accounts.{name}.client_certificates", ""
    return f"accounts.{name}.auth", ""


def _domain_sentence(sender: str, account: Account | None) -> str:
    address = parse_address(sender)
    domain = sender.rpartition("@")[2] if address is None else address.domain
    if account is None:
        return f"the sender's domain {domain} is the account's"
    found = next((one for one in account.domains if matches(domain, (one,))), None)
    if found is None or found == domain:
        return f"the sender's domain {domain} is the account's"
    return f"the sender's domain {domain} is the account's, by {found}"


# --- what it became --------------------------------------------------------------------------------------------------


def _outcome(life: MailLife) -> Iterator[Step]:
    mail, envoi = life.mail, life.envoi
    if envoi is None:
        yield _without_envoi(life)
        return
    queued = sum(one.epoch > 0 or one.state is not SmsState.REFUSED for one in life.sms)
    refused = len(life.sms) - queued
    yield Step(
        kind=StepKind.TAKEN,
        at=mail.received_at,
        sentence=f"answered 250 as {mail.id}: emailId {envoi.email_id}, Ack code 0; "
        f"{queued} SMS in the queue, {refused} refused",
        data={"email_id": envoi.email_id, "envoi_id": envoi.id, "sms": len(life.sms), "refused": refused},
    )
    if envoi.fault is not None:
        settings = settings_of_code(envoi.fault, mail.account, " ".join(mail.notes))
        why = next((note for note in reversed(mail.notes) if note not in _SENTENCES), "")
        decided = f" [{', '.join(settings)}]" if settings else ""
        yield Step(
            kind=StepKind.FAULT,
            at=mail.received_at,
            sentence=f"nothing of it is sent: code {envoi.fault.value} {envoi.fault.label} ({why}){decided}",
            data={"code": envoi.fault.value, "label": envoi.fault.label, "reason": why, "settings": settings},
            is_trouble=True,
        )
    for one in life.duplicates:
        yield Step(
            kind=StepKind.DUPLICATE,
            at=None,
            sentence=f"another mail came with the same emailId, and caused nothing: {one}",
            data={"email_id": envoi.email_id, "mail_id": one},
        )


def _without_envoi(life: MailLife) -> Step:
    mail = life.mail
    email_id = (mail.facts or {}).get("email_id")
    if mail.duplicate_of is None:
        return Step(
            kind=StepKind.WITHOUT_ID,
            at=mail.received_at,
            sentence=f"answered 250 as {mail.id}, Ack code 2: it has no <emailId> that can be used; nothing is sent",
            is_trouble=True,
        )
    first = f"that mail is {life.first_mail_id}" if life.first_mail_id else "that mail is not kept any more"
    return Step(
        kind=StepKind.DUPLICATE,
        at=mail.received_at,
        sentence=f"answered 250 as {mail.id}, Ack code 1: emailId {email_id or '?'} was used before, "
        f"so nothing is sent; {first}",
        data={"email_id": email_id, "first_mail_id": life.first_mail_id},
        is_trouble=True,
    )


# --- what goes back --------------------------------------------------------------------------------------------------


def tell_reports(reports: Sequence[ReportRecord], now: datetime) -> Iterator[Step]:
    """Yield what was written back, where it is, and in which words of the smarthost."""
    for one in reports:
        name = _NAMES[one.kind]
        base: Data = {"report_id": one.id, "kind": one.kind.value, "recipient": one.recipient}
        yield Step(
            kind=StepKind.REPORT_WRITTEN,
            at=one.created_at,
            sentence=f"{name} to {one.recipient} was written",
            data={**base, "subject": one.subject},
        )
        yield Step(
            kind=StepKind.REPORT_STANDS,
            at=one.since_at,
            sentence=f"{name} {_report_state(one, now)}",
            data={
                **base,
                "state": one.state.value,
                "attempts": one.attempts,
                "reason": one.reason,
                "due_at": one.due_at.isoformat(),
            },
            is_trouble=one.state is ReportState.FAILED or (one.state is ReportState.DUE and one.attempts > 0),
        )


def _report_state(one: ReportRecord, now: datetime) -> str:
    said = f"; the smarthost said: {one.reason}" if one.reason else ""
    match one.state:
        case ReportState.SENT:
            return f"was taken by the smarthost, attempt no. {one.attempts}{said}"
        case ReportState.FAILED:
            return f"was given up after {one.attempts} attempts{said} [reports.smarthost, reports.give_up_after_s]"
        case ReportState.SENDING:
            return "is being handed to the smarthost"
        case ReportState.HELD:
            return "is held by an operator"
        case ReportState.DUE:
            when = f"at {one.due_at:%Y-%m-%d %H:%M:%S} UTC" if one.due_at > now else "now"
            return f"goes to the smarthost {when}, attempt no. {one.attempts + 1}{said} [reports.smarthost]"


def _missing_reports(life: MailLife, account: Account | None) -> Iterator[Step]:
    kinds = {one.kind for one in life.reports}
    envoi = life.envoi
    because = {"ack": _why_none(life, "emailAck"), "not": _why_none(life, "emailNot")}
    if ReportKind.ACK not in kinds:
        yield _no_report("ack", because["ack"])
    if envoi is None:
        return
    if ReportKind.NOT not in kinds:
        if envoi.not_to is not None and envoi.not_staged_at is None:
            waiting = sum(not one.state.is_answered for one in life.sms)
            yield _no_report("not", f"it follows when every SMS has its answer; {waiting} have none yet", is_bad=False)
        else:
            yield _no_report("not", because["not"])
    wants_receipts = account is not None and account.receipts is ReceiptsBy.MAIL
    if wants_receipts and ReportKind.RECEIPTS not in kinds and envoi.receipts_to and envoi.receipts_staged_at is None:
        yield _no_report("receipts", "it follows when nothing more is waited for", is_bad=False)


def _why_none(life: MailLife, element: str) -> str:
    noted = next((note for note in life.mail.notes if note.startswith(f"{element} ")), None)
    if noted is not None:
        return f"{noted} [accounts.{life.mail.account}.report_domains]"
    return f"the mail has no <{element}>"


def _no_report(kind: str, cause: str, *, is_bad: bool = True) -> Step:
    name = {"ack": "the Ack", "not": "the Not", "receipts": "the etatAr"}[kind]
    return Step(
        kind=StepKind.NO_REPORT,
        at=None,
        sentence=f"{name} is not written: {cause}" if is_bad else f"{name}: {cause}",
        data={"kind": kind, "cause": cause},
        is_trouble=is_bad and cause.startswith("email"),
    )


# --- the rest --------------------------------------------------------------------------------------------------------


def _credit(life: MailLife) -> Iterator[Step]:
    found = life.credit
    if found is None or found.balance is None:
        return
    yield Step(
        kind=StepKind.CREDIT,
        at=found.updated_at,
        sentence=f"the credit of account {found.account} is {found.balance} parts now, {found.reserved} reserved",
        data={
            "account": found.account,
            "balance": found.balance,
            "reserved": found.reserved,
            "spent": found.spent,
        },
        is_trouble=any(one.code is Code.C12_NO_CREDIT for one in life.sms),
    )


def _purged(life: MailLife) -> Iterator[Step]:
    if life.mail.purged_at is not None:
        yield Step(
            kind=StepKind.PURGED,
            at=life.mail.purged_at,
            sentence="the mail, the texts and the carriers' answers were erased [retention.contents_days]",
        )
