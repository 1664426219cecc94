"""Ack and Not as bytes, exactly as the source prints them (docs/protocol.md §8.1, §8.2); the etatAr after them (§8.6).

ISO-8859-1, one element a line, LF line ends and one at the end. Legacy clients read these with search functions
rather than parsers: not a byte is free. What comes from a mail (emailId, tel) is escaped, capped and never empty.
"""

from collections.abc import Iterator, Sequence

from gateway.protocol.codes import Code
from gateway.protocol.report import Ack, Ar, NetworkWord, Not, ReportFormat, SmsAnswer, SmsReceipt

_DECLARATION = '<?xml version="1.0" encoding="ISO-8859-1"?>'
_ECHO_CHARS = 64
_NOTHING = "?"

_LEFT_OUT: dict[int, str | None] = {
    **dict.fromkeys(range(0x20)),  # illegal in XML 1.0
    **dict.fromkeys(range(0xD800, 0xE000)),
    **dict.fromkeys((0xFFFE, 0xFFFF)),
    **dict.fromkeys((0x09, 0x0A, 0x0D), " "),  # legal, but a value is one line
}
_ESCAPES: dict[int, str | None] = {
    **_LEFT_OUT,
    **{point: f"&#{point};" for point in range(0x7F, 0xA0)},  # bytes that ISO-8859-1 and windows-1252 read differently
    ord("&"): "&amp;",
    ord("<"): "&lt;",
    ord(">"): "&gt;",
}


def render_ack(ack: Ack) -> bytes:
    """Return the Ack, byte for byte (docs/protocol.md §8.1)."""
    return _encode(
        [
            _DECLARATION,
            "<etatAck>",
            _element("emailId", _echo(ack.email_id)),
            _element("code", str(ack.code.value)),
            _element("message", _escape(ack.code.label)),
            "</etatAck>",
        ]
    )


def render_not(report: Not, report_format: ReportFormat = ReportFormat.SOURCE) -> bytes:
    """Return the Not, byte for byte (docs/protocol.md §8.2).

    One answer is written without numbers, several as `etat1`, `etat2`... in the order given. WELLFORMED puts one root,
    `<reponse>`, around what the source has.
    """
    return _render("etatNot", report.email_id, [_of_answer(answer) for answer in report.answers], report_format)


def render_ar(report: Ar, report_format: ReportFormat = ReportFormat.SOURCE) -> bytes:
    """Return the etatAr: laid out as the Not, with one more element, `date` (docs/protocol.md §8.6)."""
    return _render("etatAr", report.email_id, [_of_receipt(receipt) for receipt in report.receipts], report_format)


_States = Sequence[Sequence[tuple[str, str]]]
"""For each SMS its elements, name and escaped content, in order."""

_DELIVERED = "Votre message a bien été reçu"
_UNDELIVERED = "Votre message n'a pas été remis"
_NOTHING_HEARD = "Aucun accusé de réception n'est parvenu"
_DATE_FORM = "%Y-%m-%d %H:%M"  # as <date_envoi> has it


def _of_answer(answer: SmsAnswer) -> list[tuple[str, str]]:
    return [
        ("code", str(answer.code.value)),
        ("tel", _echo(answer.tel)),
        ("message", _escape(answer.code.label)),
    ]


def _of_receipt(receipt: SmsReceipt) -> list[tuple[str, str]]:
    code, message = _code_and_message(receipt)
    date = _NOTHING if receipt.at is None else receipt.at.strftime(_DATE_FORM)
    return [
        ("code", str(code.value)),
        ("tel", _echo(receipt.tel)),
        ("message", _escape(message)),
        ("date", date),
    ]


def _code_and_message(receipt: SmsReceipt) -> tuple[Code, str]:
    """0 for what arrived and for nothing else; without a reason of the annex 999, and the message says which it is."""
    if receipt.word is NetworkWord.DELIVERED:
        return Code.C0_SENT, _DELIVERED
    if receipt.word is NetworkWord.NOTHING:
        return Code.C999_ERROR, _NOTHING_HEARD
    if receipt.word is NetworkWord.UNDELIVERED and receipt.code is Code.C999_ERROR:
        return Code.C999_ERROR, _UNDELIVERED
    return receipt.code, receipt.code.label


def _render(root: str, email_id: str | None, states: _States, report_format: ReportFormat) -> bytes:
    body = [f"<{root}>", _element("emailId", _echo(email_id)), f"</{root}>", *_etats(states)]
    if report_format is ReportFormat.WELLFORMED:
        body = ["<reponse>", *body, "</reponse>"]
    return _encode([_DECLARATION, *body])


def _etats(states: _States) -> Iterator[str]:
    for position, elements in enumerate(states, start=1):
        suffix = "" if len(states) == 1 else str(position)
        yield f"<etat{suffix}>"
        yield from (_element(f"{name}{suffix}", content) for name, content in elements)
        yield f"</etat{suffix}>"


def _element(name: str, escaped: str) -> str:
    return f"<{name}>{escaped}</{name}>"


def _echo(submitted: str | None) -> str:
    """Return a value of the mail as it may be repeated: capped before it is escaped, `?` when nothing is left."""
    return _escape((submitted or "").strip()[:_ECHO_CHARS].translate(_LEFT_OUT).strip()) or _NOTHING


def _escape(text: str) -> str:
    return text.translate(_ESCAPES)


def _encode(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("iso-8859-1", "xmlcharrefreplace")
