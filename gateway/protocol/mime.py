"""From a mail to what it says about its sender, its text and its files (docs/protocol.md §2).

Nothing escapes from here but `Unreadable`, whatever the bytes. A header may hold raw 8-bit bytes; a body is decoded
with what was declared, or with what was guessed and noted.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from gateway.protocol.charsets import Decoded, decode_text, strip_lines, unfold_flowed
from gateway.protocol.header_block import HeaderBlock, check_octets, find_body, read_header_block
from gateway.protocol.mime_parts import FILE_NAMES, Part, PartReader
from gateway.protocol.reading import Limits, Mode, Unreadable
from gateway.protocol.tolerances import Tolerance, Tolerated

__all__ = ["FILE_NAMES", "Body", "Headers", "Limits", "body_digest", "describe_headers", "read_body", "read_headers"]

_DEFAULT_LIMITS = Limits()
_MESSAGE_ID = re.compile(r"[!-~]{1,250}")
_ADDRESS = re.compile(r"[!#-'*+\-./0-9=?A-Z^-~]+@[A-Za-z0-9.-]+")
_COMMENT = r'\([^()<>@,;:"\\]*\)'
_PHRASE = re.compile(rf'(?:[^<>@,;:()"\\]|"(?:[^"\\@]|\\[^@])*"|{_COMMENT})*')  # one way to match: linear
_COMMENTED = re.compile(rf"([^\s()]+)[ \t]*{_COMMENT}")  # `root@host (Cron Daemon)`
_ENVOI = re.compile(r"<envoi[\s/>]", re.IGNORECASE | re.ASCII)
_FORWARDED = "message/rfc822"
_ADVICE = "send the mail as plain text"
_OBSTACLES = (
    ("text/html", f"the mail is HTML only: {_ADVICE}"),
    (_FORWARDED, f"the envoi is not in the mail itself but in an attached message: {_ADVICE}"),
    ("application/ms-tnef", f"the mail is in Outlook's own format (winmail.dat): {_ADVICE}"),
    ("application/vnd.ms-tnef", f"the mail is in Outlook's own format (winmail.dat): {_ADVICE}"),
    ("application/pkcs7-mime", f"the mail is signed or encrypted: {_ADVICE}"),
    ("application/x-pkcs7-mime", f"the mail is signed or encrypted: {_ADVICE}"),
    ("application/pgp-encrypted", f"the mail is signed or encrypted: {_ADVICE}"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Headers:
    """What the header block says about who sent the mail, and whether a machine answered with it.

    `from_address` is the one address of the one From header, its domain in lower case. It is None when there is no
    From header (`from_count` 0, `from_problem` None: the envelope sender is judged instead) and when the header
    cannot be trusted (`from_problem` says why, for the operator).
    """

    message_id: str | None  # printable ASCII without blanks, at most 250 characters
    from_address: str | None
    from_count: int
    from_problem: str | None
    auto_submitted: bool  # in answer to another: never an order, never answered; a bounce is auto-submitted, too
    is_bounce: bool
    auto_generated: bool = False  # by a program of its own accord: an order where its account says so


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPart:
    """Which part of the mail the text is, and what it says of itself."""

    number: int = 1  # among the parts that have no parts, in order
    count: int = 1
    content_type: str = "text/plain"
    charset: str | None = None  # as declared
    transfer_encoding: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """The text part and the CSV files, decoded. Line ends are LF."""

    text: str
    files: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))  # by name, of FILE_NAMES
    charset: str = "utf-8"  # what the text part was read with
    notes: tuple[Tolerated, ...] = ()
    text_part: TextPart = field(default=TextPart(), compare=False)


def read_headers(raw: bytes, limits: Limits = _DEFAULT_LIMITS) -> Headers:
    """Return what the header block says. Raises `Unreadable` when it is out of bounds (docs/protocol.md §2.8)."""
    return describe_headers(read_header_block(raw, limits))


def describe_headers(block: HeaderBlock) -> Headers:
    """Return what a header block says that has been read."""
    senders = block.values("from")
    address, problem = _read_from(senders)
    message_id = next(iter(block.values("message-id")), "")
    is_bounce = any(value.lower().startswith("multipart/report") for value in block.values("content-type"))
    return Headers(
        message_id=message_id if _MESSAGE_ID.fullmatch(message_id) else None,
        from_address=address,
        from_count=len(senders),
        from_problem=problem,
        auto_submitted=is_bounce or _is_auto_submitted(block),
        is_bounce=is_bounce,
        auto_generated="auto-generated" in _automation(block),
    )


def read_body(raw: bytes, limits: Limits, mode: Mode, *, block: HeaderBlock | None = None) -> Body:
    """Return the text part that holds the envoi, and the CSV files (docs/protocol.md §2.1 to §2.4, §4.1).

    `block` is that of `raw`, where it has been read already. Raises `Unreadable`, saying what is wrong and what to do
    about it.
    """
    if len(raw) > limits.mail_bytes:
        raise Unreadable("the mail is too large")
    check_octets(raw, "the mail")
    reader = PartReader(limits=limits, mode=mode)
    parts = reader.read(raw, block or read_header_block(raw, limits))
    files = _read_files([part for part in parts if part.file_name], reader)
    chosen, decoded = _read_text([part for part in parts if not part.file_name], reader)
    return Body(
        text=decoded.text,
        files=MappingProxyType(files),
        charset=decoded.charset,
        notes=(*reader.notes, *decoded.notes),
        text_part=TextPart(
            number=parts.index(chosen) + 1,
            count=len(parts),
            content_type=chosen.content_type,
            charset=chosen.charset,
            transfer_encoding=chosen.transfer_encoding,
        ),
    )


def body_digest(raw: bytes, *, block: HeaderBlock | None = None) -> bytes:
    """Return the SHA-256 of what follows the header block (docs/protocol.md §1.6). Never raises.

    `block` is that of `raw`, where it has been read already.
    """
    start = find_body(raw) if block is None else block.body_start
    return hashlib.sha256(memoryview(raw)[start:]).digest()


def _read_from(values: list[str]) -> tuple[str | None, str | None]:
    """Return the address, or why there is none to trust; neither when there is no From header (§1.3)."""
    if not values:
        return None, None
    if len(values) > 1:
        return None, "more than one From header"
    value = values[0]
    phrase, bracket, rest = value.partition("<")
    commented = _COMMENTED.fullmatch(value)
    address = rest[:-1] if bracket else commented[1] if commented else value
    is_plain = _PHRASE.fullmatch(phrase) is not None or phrase.strip(" \t\"'").lower() == address.lower()
    if bracket and not (rest.endswith(">") and is_plain):
        return None, "the From header is neither an address nor a name with one address in brackets"
    if not _ADDRESS.fullmatch(address):
        return None, "the From header holds no address, or more than one, or one in an unusual form"
    local, _, domain = address.rpartition("@")
    return f"{local}@{domain.lower()}", None


def _is_auto_submitted(block: HeaderBlock) -> bool:
    """Tell whether a robot sent the mail in answer to another (RFC 3834).

    `auto-generated` is no answer: so a program marks what it writes by itself, as GLPI and cron do (docs/protocol.md
    §1.3). `X-Auto-Response-Suppress` only asks for silence, and Exchange writes it into ordinary mails: it does not
    count.
    """
    if any(word not in ("no", "auto-generated", "") for word in _automation(block)):
        return True
    return any(value.lower() in ("auto_reply", "auto-reply") for value in block.values("precedence"))


def _automation(block: HeaderBlock) -> list[str]:
    """Return what the mail says of who wrote it, in lower case, without parameters."""
    return [re.split(r"[;(\s]", value, maxsplit=1)[0].lower() for value in block.values("auto-submitted")]


def _read_files(parts: list[Part], reader: PartReader) -> dict[str, str]:
    files: dict[str, str] = {}
    for part in parts:
        name = part.file_name or ""
        if name in files:
            raise Unreadable(f"{name} is attached twice")
        data = reader.undo_transfer_encoding(part)
        if len(data) > reader.limits.csv_bytes:
            raise Unreadable(f"{name} is too large")
        decoded = decode_text(data, part.charset)
        reader.notes += [replace(note, detail=", ".join(filter(None, (name, note.detail)))) for note in decoded.notes]
        files[name] = strip_lines(decoded.text)
    return files


def _read_text(parts: list[Part], reader: PartReader) -> tuple[Part, Decoded]:
    """Return the one part whose text holds an `<envoi>`, and that text (docs/protocol.md §2.1)."""
    texts = [
        (part, _decode_part(part, reader))
        for part in parts
        if part.content_type == "text/plain" and not part.is_attachment
    ]
    found = [(part, text) for part, text in texts if _ENVOI.search(text.text)]
    if len(found) > 1:
        raise Unreadable("more than one part of the mail holds an <envoi>")
    if not found:
        types = {part.content_type for part in parts}
        obstacle = next((reason for content_type, reason in _OBSTACLES if content_type in types), None)
        if texts:
            raise Unreadable(obstacle or "there is no <envoi> in the text")
        fault = "the only text is an attached file" if "text/plain" in types else "no text part"
        raise Unreadable(obstacle or f"{fault}: {_ADVICE}")
    if len(parts) > 1:
        reader.tolerate(Tolerance.OTHER_PARTS)
    return found[0]


def _decode_part(part: Part, reader: PartReader) -> Decoded:
    data = reader.undo_transfer_encoding(part)
    if len(data) > reader.limits.body_bytes:
        raise Unreadable("the text of the mail is too large")
    decoded = decode_text(data, part.charset)
    text = unfold_flowed(decoded.text, is_delsp=part.is_delsp) if part.is_flowed else decoded.text
    return Decoded(text=strip_lines(text), charset=decoded.charset, notes=decoded.notes)
