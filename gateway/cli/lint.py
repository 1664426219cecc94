"""`mail2sms lint`: what would become of a mail, decided by the code that takes mails."""

import asyncio
import json
from dataclasses import asdict, replace
from datetime import datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from gateway.cli.client import Said, bring, read_peer
from gateway.cli.exits import BAD, OK, ConfigOption, JsonOption
from gateway.cli.mail_file import FileArgument, SenderOption, read_mail
from gateway.cli.plain import new_console
from gateway.cli.schema_findings import find_schema_faults
from gateway.cli.sharing import with_options
from gateway.clock import SystemClock
from gateway.config import Config, load
from gateway.daemon.building import build_explaining_vouching, build_judge, reading_limits, report_rules
from gateway.intake import Reply, Submission
from gateway.intake.findings import PLACEHOLDER_ID, Findings, Report, Sms, find, find_in_form
from gateway.intake.forecast import make_forecast
from gateway.intake.judging import Taken
from gateway.intake.order import Arrival
from gateway.intake.standing import find_standing
from gateway.lifecycle import MailId
from gateway.policy.accounts import Accounts, AuthMethod
from gateway.policy.sender import NOT_PROVEN
from gateway.protocol.envoi import Mode
from gateway.store import Store, StoreError
from gateway.store.base import Foreseen, Order
from gateway.text.visible import visible

LISTENER = "lint"

DnsOption = Annotated[
    bool, typer.Option("--dns", help="Ask the DNS about signatures (dkim) and addresses (spf), as the gateway does.")
]
ModeOption = Annotated[
    bool | None,
    typer.Option(
        "--strict/--lenient",
        help="How to read it; unless given, as the account or the listener says. "
        "--strict also holds it and its reports against the schemas that clients are given.",
    ),
]


@with_options
def lint(
    file: FileArgument,
    *,
    config: ConfigOption,
    strict: ModeOption = None,
    sender: SenderOption = None,
    said: Said,
    dns: DnsOption = False,
    as_json: JsonOption = False,
) -> None:
    """Say what would become of a mail, without sending or storing anything.

    Texts and numbers are shown whole. The Not is the one that comes back if the carrier takes every SMS it is handed.
    The store is looked into, if it is there, for the emailId. Line ends become CRLF. Exit status 0 when every SMS would
    go and, with --strict, all of it obeys the schemas; 1 when not.
    """
    mail = read_mail(file)
    settings = load(config)
    mode = None if strict is None else Mode.STRICT if strict else Mode.LENIENT
    brought = bring(mail, sender, said, settings, default=LISTENER)
    if isinstance(brought, Reply):
        findings = find_in_form(brought, envelope_from=sender or "", peer=read_peer(said.peer))
    else:
        submission = replace(brought, mode=mode or brought.mode)
        findings = asyncio.run(examine(settings, submission, mode=mode, now=SystemClock().now(), asks_dns=dns))
    if as_json:
        print(json.dumps(asdict(findings), default=datetime.isoformat))
    else:
        _Page(new_console()).show(findings)
    raise typer.Exit(OK if findings.ok else BAD)


async def examine(
    settings: Config, submission: Submission, *, mode: Mode | None, now: datetime, asks_dns: bool = False
) -> Findings:
    """Return what would become of the mail at this instant; `mode`, if given, goes before every account's own.

    Asked for strictly, it is also held against the schemas.
    """
    arrival = Arrival(submission=submission, mail_id=MailId(PLACEHOLDER_ID), at=now)
    remarks: list[tuple[AuthMethod, str]] = []
    vouching = build_explaining_vouching(settings, lambda *remark: remarks.append(remark), asks_dns=asks_dns)
    judge = build_judge(settings, mode=mode, vouching=vouching)
    client = await judge.identify(submission)
    judgement = await judge.judge(arrival, client)
    foreseen, remark = None, None
    if isinstance(judgement, Taken):
        foreseen, remark = await _ask_store(settings, judgement.written.order)
    forecast = make_forecast(judgement, foreseen, now=now, rules=report_rules(settings))
    limits = reading_limits(settings)
    return find(
        forecast,
        envelope_from=submission.envelope_from,
        peer=submission.peer,
        now=now,
        remark=remark,
        standing=find_standing(judgement, client, Accounts(settings.accounts), submission, remarks, asks_dns=asks_dns),
        schema=find_schema_faults(submission.content, forecast, limits) if mode is Mode.STRICT else None,
    )


async def _ask_store(settings: Config, order: Order) -> tuple[Foreseen | None, str | None]:
    """Return what the store knows of the mail and its emailId, or why it was not asked."""
    try:
        store = await Store.open(settings.store, read_only=True)
        try:
            return await store.foresee(order), None
        finally:
            await store.close()
    except StoreError as error:
        return None, str(error)


# --- for people ------------------------------------------------------------------------------------------------------


class _Page:
    """Writes findings for people. What comes from the mail is printed without control characters."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def show(self, findings: Findings) -> None:
        """Print all of it."""
        self._show_verdict(findings)
        self._show_mail(findings)
        self._show_standing(findings)
        self._show_schema(findings)
        self._show_order(findings)
        previous: Sms | None = None
        for sms in findings.sms:
            self._show_sms(sms, previous)
            previous = sms
        for report in findings.reports:
            self._show_report(report)
        if findings.receipts_to:
            self._title(f"EtatAr to {findings.receipts_to}")
            self._line("follows", "when it is known which SMS arrived, or no longer waited for")

    def _show_verdict(self, findings: Findings) -> None:
        going = sum(sms.goes for sms in findings.sms)
        self._console.print(Text(visible(str(findings.reply)), style="bold green" if findings.ok else "bold red"))
        self._console.print(f"SMS that would go: {going} of {len(findings.sms)}")

    def _show_mail(self, findings: Findings) -> None:
        sender, read = findings.sender, findings.read
        self._title("Mail")
        self._line("from", sender.header_from or "(not looked at, or none that can be used)")
        self._line("envelope sender", sender.envelope_from or "<>")
        self._line("client", sender.peer)
        proof = f", proven by {sender.proof}" if sender.proof else ""
        self._line("account", f"{sender.account}{proof}" if sender.account else "none")
        if findings.cause:
            self._line("not taken", findings.cause)
        if findings.cause == NOT_PROVEN.cause:
            self._line("try", "--peer ADDRESS, the address the mail really comes from")
        if read is not None:
            declared = f" (declared: {read.declared_charset})" if read.declared_charset else " (none declared)"
            self._line("read", read.mode)
            self._line("text", f"part {read.part} of {read.parts}, {read.content_type}")
            self._line("character set", f"{read.charset}{declared}")
            self._line("transfer encoding", read.transfer_encoding)
            self._line("files", ", ".join(read.files) or "none")
            for one in findings.tolerances:
                detail = f" ({one.detail})" if one.detail else ""
                self._line("tolerated", f"{one.name}{detail}: {one.sentence}")

    def _show_standing(self, findings: Findings) -> None:
        standing = findings.standing
        if standing is None:
            return
        self._title("Who may send")
        if standing.key:
            self._line("keyid", standing.key)
        if not standing.tried:
            self._line("domain", "the sender's belongs to no account")
        for one in standing.tried:
            self._line(f"{one.account}, {one.method}", f"{'yes' if one.holds else 'no'}: {one.why}")

    def _show_schema(self, findings: Findings) -> None:
        if findings.schema is None:
            return
        self._title("Schemas")
        if not findings.schema:
            self._line("valid", "the envoi and its reports, as far as there are any")
        for fault in findings.schema:
            where = f", line {fault.line}" if fault.line else ""
            self._line(f"{fault.document}{where}", fault.sentence)

    def _show_order(self, findings: Findings) -> None:
        email_id, fault = findings.email_id, findings.fault
        if email_id is None and fault is None:
            return
        self._title("Order")
        if email_id is not None:
            when = f" ({email_id.used_at:%Y-%m-%d %H:%M:%S} UTC)" if email_id.used_at else ""
            self._line("emailId", f"{email_id.value or '?'}: {_EMAIL_ID_WORDS[email_id.state]}{when}")
        if email_id is not None and email_id.remark:
            self._line("store", f"not asked: {email_id.remark}")
        if findings.hours:
            self._line("hours", findings.hours)
        for one in findings.quotas:
            whose = f", {one.subject}" if one.subject else ""
            held_back = f"; {one.held_back} SMS held back" if one.held_back else ""
            self._line("quota", f"{one.limit}{whose}: takes {one.takes}, then {one.used} of {one.most}{held_back}")
        if fault is not None:
            self._line("code for all of it", f"{fault.code} {fault.label} ({fault.reason})")
        self._list("noted", findings.notes)

    def _show_sms(self, sms: Sms, previous: Sms | None) -> None:
        self._title(f"SMS {sms.position}")
        self._line("to", f"{sms.tel} = {sms.msisdn}" if sms.msisdn else f"{sms.tel} (not a number)")
        if sms.code:
            self._line("refused", f"code {sms.code} {sms.label} ({sms.reason})")
            return
        if sms.goes:
            self._line("code", "0 if the carrier accepts it")
            waits_at = " (the carrier waits, if it can)" if sms.waits_at == "carrier" else ""
            self._line("goes", f"at {sms.due_at:%Y-%m-%d %H:%M %Z}{waits_at}" if sms.waits else "at once")
            self._line("carrier", _carriers(sms))
        else:
            self._line("goes", "not: see the reply and the emailId")
        self._line("from", sms.originator or "(the carrier's choice)")
        if previous is not None and previous.text == sms.text and previous.notes == sms.notes:
            self._line("text", f"that of SMS {previous.position}")
            return
        because = f" because of {sms.outside_gsm}" if sms.outside_gsm else ""
        cost = f"{sms.parts} of at most {sms.max_parts} {'part' if sms.max_parts == 1 else 'parts'}"
        name = (sms.encoding or "").upper()
        self._line("encoding", f"{name}{because}, {cost}, {sms.units} of {sms.capacity} units")
        if sms.carries_stop:
            self._line("STOP mention", "room is left for it")
        self._list("changed", sms.notes)
        self._line("text", "")
        self._block(sms.text or "")

    def _show_report(self, report: Report) -> None:
        name = report.kind.capitalize()
        if report.body is None:
            self._title(f"{name}: none")
            self._line("because", report.reason or "")
            return
        self._title(f"{name} to {report.recipient}")
        self._block(report.body.removesuffix("\n"))

    def _title(self, title: str) -> None:
        self._console.print()
        self._console.print(Text(visible(title), style="bold"))

    def _line(self, name: str, value: str) -> None:
        self._console.print(Text.assemble((f"  {name}:", "cyan"), f" {visible(value)}".rstrip()))

    def _list(self, name: str, values: tuple[str, ...]) -> None:
        for value in values:
            self._line(name, value)

    def _block(self, text: str) -> None:
        for line in text.split("\n"):
            self._console.print("    " + visible(line))


_EMAIL_ID_WORDS = {
    "new": "not used before",
    "used": "used before, so nothing is sent",
    "same mail": "this very mail was taken before, so nothing happens",
    "missing": "missing or of no use, so nothing is sent",
    "unknown": "not known whether it was used before",
}


def _carriers(sms: Sms) -> str:
    """Return where the SMS would go, as far as it can be told before: who is up is known to the daemon alone."""
    route = f" (route {sms.route})" if sms.route else ""
    if sms.weights:
        shares = [f"{name} {sms.weights[name]}" for name in sms.carriers if name in sms.weights]
        spare = [name for name in sms.carriers if name not in sms.weights]
        return ", ".join(["by shares " + " : ".join(shares), *(f"else {name}" for name in spare)]) + route
    return ", else ".join(sms.carriers) + route
