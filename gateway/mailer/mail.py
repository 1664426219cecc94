"""The mail that carries a report, byte for byte (docs/protocol.md §8.3)."""

import re
from binascii import b2a_qp
from collections.abc import Sequence
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from email.utils import format_datetime

from gateway.errors import GatewayError
from gateway.protocol.report import ReportKind
from gateway.store.outgoing import ClaimedReport

_LINE_LIMIT_BYTES = 998  # RFC 5321 §4.5.3.1.6, without its CRLF


@dataclass(frozen=True, slots=True, kw_only=True)
class _Form:
    """What mails of a kind have in common."""

    subject: str  # unless the report has one of its own
    auto_submitted: str | None = "auto-replied"  # RFC 3834 §5; None: a person wrote what it carries
    charset: str = "ISO-8859-1"


_FORMS = {
    ReportKind.ACK: _Form(subject="PUSH MSISDN: etatAck"),
    ReportKind.NOT: _Form(subject="PUSH MSISDN: etatNot"),
    ReportKind.RECEIPTS: _Form(subject="PUSH MSISDN: etatAr"),
    # Help desks drop what says that a machine wrote it. No loop comes of that: the envelope sender is empty, so nobody
    # answers by itself, and whoever answers From: all the same is refused, for what it writes is no envoi
    ReportKind.REPLY: _Form(subject="SMS reply / reponse SMS", auto_submitted=None, charset="UTF-8"),
    # Nobody wrote the mail that a warning would be the reply to
    ReportKind.CREDIT: _Form(subject="PUSH MSISDN: SMS credit / credit SMS", auto_submitted="auto-generated"),
    ReportKind.ALARM: _Form(subject="PUSH MSISDN: SMS volume / volume SMS", auto_submitted="auto-generated"),
}
_ADDRESS = re.compile(r"[!-~]+@(?:[A-Za-z0-9.\-]+|\[[0-9A-Fa-f:.IPv]+\])")
_UNSAFE_IN_LOCAL_PART = re.compile(r'[<>",;:\\()\[\]@]')
_MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,900}>")


class UnsafeHeader(GatewayError):
    """The header block of a report would not say what it is meant to say; it must not leave."""


def is_plain_address(address: str) -> bool:
    """True for a mailbox that can stand in a header and in RCPT as it is: ASCII, no quoting, no display name."""
    local, _, domain = address.rpartition("@")
    return bool(
        0 < len(local) <= 64
        and 0 < len(domain) <= 255
        and not _UNSAFE_IN_LOCAL_PART.search(local)
        and _ADDRESS.fullmatch(address)
    )


def render_mail(report: ClaimedReport, *, sender: str, is_8bit_offered: bool) -> bytes:
    """Return the mail that carries a report (docs/protocol.md §8.3), lines ended by CRLF, not yet dot-stuffed.

    The same report gives the same bytes each time, so that a double can be told. Raises `UnsafeHeader`.
    """
    if not is_plain_address(report.recipient):
        raise UnsafeHeader("the recipient is not an address that a header can hold")
    form = _FORMS[report.kind]
    encoding, body = _encode_body(report.body, is_8bit_offered=is_8bit_offered)
    fields = [
        ("Date", format_datetime(report.created_at)),
        ("From", sender),
        ("To", report.recipient),
        ("Subject", report.subject or form.subject),
        ("Message-ID", report.message_id),
        *([] if form.auto_submitted is None else [("Auto-Submitted", form.auto_submitted)]),
        ("MIME-Version", "1.0"),
        ("Content-Type", f"text/plain; charset={form.charset}"),
        ("Content-Transfer-Encoding", encoding),
    ]
    if report.in_reply_to and _MESSAGE_ID.fullmatch(report.in_reply_to):  # a stranger wrote it: as an id, or not at all
        fields[5:5] = [("In-Reply-To", report.in_reply_to), ("References", report.in_reply_to)]
    return _header_block(fields) + b"\r\n" + body


def _encode_body(body: bytes, *, is_8bit_offered: bool) -> tuple[str, bytes]:
    text = body.replace(b"\r\n", b"\n")
    is_short = all(len(line) <= _LINE_LIMIT_BYTES for line in text.split(b"\n"))
    if is_short and body.isascii():
        encoding = "7bit"
    elif is_short and is_8bit_offered:
        encoding = "8bit"
    else:
        encoding, text = "quoted-printable", b2a_qp(text, istext=True)
    if not text.endswith(b"\n"):
        text += b"\n"
    return encoding, text.replace(b"\n", b"\r\n")


def _header_block(fields: Sequence[tuple[str, str]]) -> bytes:
    """Return the header block after reading it back: the names, in order, and the values are those that were meant."""
    try:
        block = "".join(f"{name}: {value}\r\n" for name, value in fields).encode("ascii")
    except UnicodeEncodeError as error:
        raise UnsafeHeader("a header value is not ASCII") from error
    read = BytesHeaderParser().parsebytes(block)
    if read.items() != list(fields) or read.defects or read.get_payload():
        raise UnsafeHeader("the header block does not read back as it was meant")
    return block
