"""Reports that follow from moves of SMS, from what the store knows: the Not, and the etatAr.

Pure but for `ReportWriter`, which writes those of one transaction and tells of them when it is committed.

Diagnostics: event `report_staged` (info).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import structlog

from gateway.ids import new_id
from gateway.lifecycle import EnvoiId, ReportId, SmsState
from gateway.policy.accounts import Accounts
from gateway.protocol.codes import Code
from gateway.protocol.report import Ar, NetworkWord, Not, ReportKind, SmsReceipt
from gateway.protocol.report_xml import render_ar, render_not
from gateway.store.base import AnsweredEnvoi, NewReport, RenderNot
from gateway.store.words import EndedEnvoi, RenderReceipts, SmsEnd

_log = structlog.get_logger(__name__)

_ZONE = ZoneInfo("Europe/Paris")
"""Of accounts that are no longer configured: the one that accounts have unless they say otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRules:
    """What a report needs beside its content."""

    hostname: str  # right part of its Message-ID
    validity_s: float  # it fails after this time


def render_not_report(envoi: AnsweredEnvoi, *, report_id: ReportId, now: datetime, rules: ReportRules) -> NewReport:
    """Return the Not of an envoi (docs/protocol.md §8.2, §8.3)."""
    return NewReport(
        id=report_id,
        kind=ReportKind.NOT,
        recipient=envoi.not_to,
        message_id=f"<{report_id}@{rules.hostname}>",
        in_reply_to=envoi.message_id,
        body=render_not(Not(email_id=envoi.email_id, answers=envoi.answers), envoi.report_format),
        due_at=now,
        expires_at=now + timedelta(seconds=rules.validity_s),
    )


def render_receipts_report(
    envoi: EndedEnvoi, zone: ZoneInfo, *, report_id: ReportId, now: datetime, rules: ReportRules
) -> NewReport:
    """Return the etatAr of an envoi, its dates in `zone` (docs/protocol.md §8.6)."""
    ar = Ar(email_id=envoi.email_id, receipts=[_receipt(end, zone) for end in envoi.ends])
    return NewReport(
        id=report_id,
        kind=ReportKind.RECEIPTS,
        recipient=envoi.receipts_to,
        message_id=f"<{report_id}@{rules.hostname}>",
        in_reply_to=envoi.message_id,
        body=render_ar(ar, envoi.report_format),
        due_at=now,
        expires_at=now + timedelta(seconds=rules.validity_s),
    )


def _receipt(end: SmsEnd, zone: ZoneInfo) -> SmsReceipt:
    at = None if end.network_at is None else end.network_at.astimezone(zone)
    match end.state:
        case SmsState.DELIVERED:
            return SmsReceipt(tel=end.tel, word=NetworkWord.DELIVERED, at=at)
        case SmsState.UNDELIVERED:
            code = end.network_code or Code.C999_ERROR
            return SmsReceipt(tel=end.tel, word=NetworkWord.UNDELIVERED, code=code, at=at)
        case _ if end.code is Code.C0_SENT:
            return SmsReceipt(tel=end.tel, word=NetworkWord.NOTHING)
        case _:
            return SmsReceipt(tel=end.tel, word=NetworkWord.NOT_ASKED, code=end.code or Code.C999_ERROR)


class ReportWriter:
    """Writes the reports of one transaction; the store may ask for one more than once."""

    def __init__(self, *, now: datetime, rules: ReportRules, accounts: Callable[[], Accounts]) -> None:
        self._now = now
        self._rules = rules
        self._accounts = accounts
        self._written: dict[ReportId, tuple[EnvoiId, ReportKind]] = {}

    @property
    def both(self) -> tuple[RenderNot, RenderReceipts]:
        """What the store is given: the Not's, then the etatAr's."""
        return self.write_not, self.write_receipts

    def write_not(self, envoi: AnsweredEnvoi) -> NewReport:
        """Return the Not of an envoi."""
        report_id = ReportId(new_id(self._now))
        return self._note(
            render_not_report(envoi, report_id=report_id, now=self._now, rules=self._rules), envoi.envoi_id
        )

    def write_receipts(self, envoi: EndedEnvoi) -> NewReport:
        """Return the etatAr of an envoi, in the time zone of its account."""
        report_id = ReportId(new_id(self._now))
        account = self._accounts().by_name(envoi.account)
        zone = _ZONE if account is None else ZoneInfo(account.timezone)
        report = render_receipts_report(envoi, zone, report_id=report_id, now=self._now, rules=self._rules)
        return self._note(report, envoi.envoi_id)

    def tell(self, staged: Iterable[ReportId]) -> None:
        """These are committed: one line of the log for each."""
        for report_id in staged:
            envoi_id, kind = self._written[report_id]
            _log.info("report_staged", envoi_id=envoi_id, report_id=report_id, kind=kind)

    def _note(self, report: NewReport, envoi_id: EnvoiId) -> NewReport:
        self._written[report.id] = (envoi_id, report.kind)
        return report
