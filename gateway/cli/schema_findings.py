"""What `mail2sms lint --strict` finds by the schemas that clients are given, beside what the strict reader says."""

from gateway.intake.findings import SchemaFinding
from gateway.intake.forecast import Forecast
from gateway.intake.judging import Taken
from gateway.protocol.envoi import Limits, Mode, Unreadable
from gateway.protocol.mime import read_body
from gateway.protocol.report import ReportFormat
from gateway.protocol.schema_check import check_envoi, check_report


def find_schema_faults(content: bytes, forecast: Forecast, limits: Limits) -> tuple[SchemaFinding, ...]:
    """Return what the schemas say against the envoi and the reports; nothing when all of it is valid.

    The envoi is looked at also when the mail is refused: in the text that a lenient reader finds in it. A mail without
    such a text has none, and the reply says why.
    """
    judgement = forecast.judgement
    try:
        body = read_body(content, limits, judgement.reading.mode if judgement.reading else Mode.LENIENT)
        faults = check_envoi(body.text, limits)
    except Unreadable:
        faults = ()
    account = judgement.allowed.account if isinstance(judgement, Taken) else judgement.account
    report_format = account.report_format if account else ReportFormat.SOURCE
    for prospect in (forecast.ack, forecast.not_):
        if prospect.report is not None:
            faults += check_report(prospect.report.kind, prospect.report.body, report_format)
    return tuple(
        SchemaFinding(document=fault.document.value, line=fault.line, sentence=fault.sentence) for fault in faults
    )
