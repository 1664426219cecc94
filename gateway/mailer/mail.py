"""The mail that carries a report, byte for byte (docs/protocol.md §8.3)."""

import re
from binascii import b2a_qp
from collections.abc import Sequence
from email.parser import BytesHeaderParser
from email.utils import format_datetime

from gateway.errors import GatewayError
from gateway.protocol.report import ReportKind
from gateway.store.base import ClaimedReport

_LINE_LIMIT_BYTES = 998  # RFC 5321 §4.5.3.1.6, without its CRLF
_SUBJECTS = {
    ReportKind.ACK: "PUSH MSISDN: etatAck",
    ReportKind.NOT: "PUSH MSISDN: etatNot",
    ReportKind.RECEIPTS: "PUSH MSISDN: etatAr",
    ReportKind.REPLY: "SMS",
    ReportKind.CREDIT: "PUSH MSISDN: SMS credit / credit SMS",
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
    encoding, body = _encode_body(report.body, is_8bit_offered=is_8bit_offered)
    fields = [
        ("Date", format_datetime(report.created_at)),
        ("From", sender),
        ("To", report.recipient),
        ("Subject", _SUBJECTS[report.kind]),
        ("Message-ID", report.message_id),
        # RFC 3834 §5.1: nobody wrote the mail that a warning would be the reply to
        ("Auto-Submitted", "auto-generated" if report.kind is ReportKind.CREDIT else "auto-replied"),
        ("MIME-Version", "1.0"),
        ("Content-Type", "text/plain; charset=ISO-8859-1"),
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
