"""Reports as the source document prints them, and reports as they came (docs/protocol.md §8).

Made from the document on purpose, not with the gateway's own code: a kit that writes with the pen of the one it judges
finds nothing wrong with it.
"""

import re
import tomllib
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from functools import cache
from pathlib import Path

from gateway.conformance.case import ExpectedAck, ExpectedNot
from gateway.smtp.mailbox import ReceivedMail

ANNEX = Path(__file__).parent / "annex.toml"
"""The wording of every code, as in the annex of the source document."""

_DECLARATION = '<?xml version="1.0" encoding="ISO-8859-1"?>\n'
_EMAIL_ID = re.compile(rb"<emailId>(.*?)</emailId>", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One report, expected or received. `body` has LF line ends."""

    to: str
    body: bytes

    @property
    def kind(self) -> str:
        """Ack or Not."""
        return "Ack" if b"<etatAck>" in self.body else "Not" if b"<etatNot>" in self.body else "mail"

    @property
    def email_id(self) -> str:
        """The emailId it repeats, as it stands there."""
        found = _EMAIL_ID.search(self.body)
        return found[1].decode("iso-8859-1") if found else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedReport:
    """A report that came, with the form it came in."""

    report: Report
    envelope_from: str
    headers: Message

    def faults_of_form(self, message_ids: frozenset[str]) -> list[str]:
        """Return what is wrong with the mail that carries it (docs/protocol.md §8.3); `message_ids` it may answer."""
        faults = []
        if self.envelope_from:
            faults.append(f"its envelope sender is {self.envelope_from}, not the null sender")
        if str(self.headers.get("Auto-Submitted", "")) != "auto-replied":
            faults.append("it has no Auto-Submitted: auto-replied")
        charset = (self.headers.get_content_charset() or "").lower()
        if self.headers.get_content_type() != "text/plain" or charset != "iso-8859-1":
            faults.append(f"its Content-Type is {self.headers.get('Content-Type')}")
        if message_ids and str(self.headers.get("In-Reply-To", "")) not in message_ids:
            faults.append("its In-Reply-To does not name the mail")
        encoding = str(self.headers.get("Content-Transfer-Encoding", "7bit")).lower()
        if encoding not in (("7bit",) if self.report.body.isascii() else ("8bit", "quoted-printable")):
            faults.append(f"its Content-Transfer-Encoding is {encoding}")
        if not self.headers.get("Message-ID"):
            faults.append("it has no Message-ID")
        return faults


def read_report(mail: bytes) -> bytes:
    """Return the body of a report as its reader sees it: decoded, with LF line ends."""
    body = message_from_bytes(mail).get_payload(decode=True)
    return body.replace(b"\r\n", b"\n") if isinstance(body, bytes) else b""


def read_received(mail: ReceivedMail) -> ReceivedReport:
    """Return what the mailbox got, as a report."""
    return ReceivedReport(
        report=Report(to=", ".join(map(_with_lower_domain, mail.recipients)), body=read_report(mail.content)),
        envelope_from=mail.envelope_from,
        headers=message_from_bytes(mail.content),
    )


def _with_lower_domain(address: str) -> str:
    local, at, domain = address.rpartition("@")
    return f"{local}{at}{domain.lower()}"


def render_ack(ack: ExpectedAck) -> Report:
    """Return the Ack, byte for byte (docs/protocol.md §8.1)."""
    lines = [
        "<etatAck>",
        f"<emailId>{_escape(ack.id)}</emailId>",
        f"<code>{ack.code}</code>",
        f"<message>{_wording()['ack'][str(ack.code)]}</message>",
        "</etatAck>",
    ]
    return Report(to=ack.to, body=_encode(lines))


def render_not(expected: ExpectedNot) -> Report:
    """Return the Not, byte for byte (docs/protocol.md §8.2)."""
    answers = [(answer.code, tel) for answer in expected.answers for tel in answer.tels]
    lines = ["<etatNot>", f"<emailId>{_escape(expected.id)}</emailId>", "</etatNot>"]
    for position, (code, tel) in enumerate(answers, start=1):
        suffix = "" if len(answers) == 1 else str(position)
        lines += [
            f"<etat{suffix}>",
            f"<code{suffix}>{code}</code{suffix}>",
            f"<tel{suffix}>{_escape(tel)}</tel{suffix}>",
            f"<message{suffix}>{_wording()['not'][str(code)]}</message{suffix}>",
            f"</etat{suffix}>",
        ]
    return Report(to=expected.to, body=_encode(lines))


def describe_difference(expected: Report, received: Report) -> str:
    """Return where a report begins to be another than expected, in one sentence."""
    if expected.to != received.to:
        return f"{expected.kind} went to {received.to}, not to {expected.to}"
    wanted, got = expected.body.split(b"\n"), received.body.split(b"\n")
    line = next((at for at, pair in enumerate(zip(wanted, got, strict=False)) if pair[0] != pair[1]), None)
    if line is None:
        return f"{expected.kind} has {len(got)} lines, not {len(wanted)}"
    return f"{expected.kind}, line {line + 1}: {_show(got[line])}, not {_show(wanted[line])}"


def _show(line: bytes) -> str:
    return line.decode("iso-8859-1")[:120]


def _encode(lines: list[str]) -> bytes:
    return (_DECLARATION + "".join(f"{line}\n" for line in lines)).encode("iso-8859-1", "xmlcharrefreplace")


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


@cache
def _wording() -> dict[str, dict[str, str]]:
    return tomllib.loads(ANNEX.read_text("utf-8"))
