"""What the store gives the mailer, and takes from it: reports on their way, as values."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.lifecycle import ReportEvent, ReportId
from gateway.protocol.report import ReportKind


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedReport:
    """A report in `sending`."""

    id: ReportId
    epoch: int
    attempt: int
    kind: ReportKind
    recipient: str
    message_id: str
    in_reply_to: str | None
    body: bytes
    created_at: datetime
    expires_at: datetime
    subject: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSettlement:
    """One move of a claimed report. `due_at` is needed for DEFERRED; POSTPONED leaves the row as it was, but free."""

    report_id: ReportId
    epoch: int
    event: ReportEvent
    due_at: datetime | None = None
    reason: str | None = None  # the smarthost's answer


@dataclass(frozen=True, slots=True, kw_only=True)
class SendingReport:
    """A report found in `sending`, and how long its claimer may take."""

    id: ReportId
    epoch: int
    lease: timedelta
