"""Ack and Not as bytes, exactly as the source prints them (docs/protocol.md §8.1, §8.2).

ISO-8859-1, one element a line, LF line ends and one at the end. Legacy clients read these with search functions
rather than parsers: not a byte is free. What comes from a mail (emailId, tel) is escaped, capped and never empty.
"""

from collections.abc import Iterator

from gateway.protocol.report import Ack, Not, ReportFormat, SmsAnswer

_DECLARATION = '<?xml version="1.0" encoding="ISO-8859-1"?>'
_ECHO_CHARS = 64
_NOTHING = "?"

_ESCAPES: dict[int, str | None] = {
    **dict.fromkeys(range(0x20)),  # illegal in XML 1.0
    **dict.fromkeys(range(0xD800, 0xE000)),
    **dict.fromkeys((0xFFFE, 0xFFFF)),
    **dict.fromkeys((0x09, 0x0A, 0x0D), " "),  # legal, but a value is one line
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
    body = [
        "<etatNot>",
        _element("emailId", _echo(report.email_id)),
        "</etatNot>",
        *_answers(report),
    ]
    if report_format is ReportFormat.WELLFORMED:
        body = ["<reponse>", *body, "</reponse>"]
    return _encode([_DECLARATION, *body])


def _answers(report: Not) -> Iterator[str]:
    if len(report.answers) == 1:
        yield from _answer(report.answers[0], "")
        return
    for position, answer in enumerate(report.answers, start=1):
        yield from _answer(answer, str(position))


def _answer(answer: SmsAnswer, suffix: str) -> Iterator[str]:
    yield f"<etat{suffix}>"
    yield _element(f"code{suffix}", str(answer.code.value))
    yield _element(f"tel{suffix}", _echo(answer.tel))
    yield _element(f"message{suffix}", _escape(answer.code.label))
    yield f"</etat{suffix}>"


def _element(name: str, escaped: str) -> str:
    return f"<{name}>{escaped}</{name}>"


def _echo(submitted: str | None) -> str:
    """Return a value of the mail as it may be repeated: capped before it is escaped, `?` when nothing is left."""
    return _escape((submitted or "").strip()[:_ECHO_CHARS]).strip() or _NOTHING


def _escape(text: str) -> str:
    return text.translate(_ESCAPES)


def _encode(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("iso-8859-1", "xmlcharrefreplace")
