"""The lines of a mail, judged once DATA is complete (docs/protocol.md §2.8). Pure; linear in the size of the mail."""

from gateway.intake import Reply
from gateway.smtp import replies


def clean_content(raw: bytes, *, max_line_bytes: int, normalise_bare_lf: bool) -> bytes | Reply:
    """Return the mail with CRLF lines only and without the dots that SMTP added, or the reply that refuses it.

    A bare CR and NUL are always refused. Bare LF is what SMTP smuggling needs: refused too, unless the client's network
    is listed as legacy. The order matters: unstuffing looks for dots at the beginning of lines, so lines come first.
    """
    if b"\0" in raw:
        return replies.NUL_IN_CONTENT
    pairs = raw.count(b"\r\n")
    if raw.count(b"\r") != pairs:
        return replies.BARE_CR
    if raw.count(b"\n") != pairs:
        if not normalise_bare_lf:
            return replies.BARE_LF
        raw = raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    if _has_line_beyond(raw, max_line_bytes):
        return replies.LONG_LINE
    return _without_stuffing(raw)


def _has_line_beyond(raw: bytes, limit: int) -> bool:
    """Tell whether a line has more than `limit` octets, its CRLF included. Steps over as many lines as fit at once."""
    start = 0
    while len(raw) - start > limit:
        last_end = raw.rfind(b"\n", start, start + limit)
        if last_end < 0:
            return True
        start = last_end + 1
    return False


def _without_stuffing(raw: bytes) -> bytes:
    unstuffed = raw.replace(b"\r\n.", b"\r\n")
    return unstuffed[1:] if unstuffed.startswith(b".") else unstuffed
