"""A mail as the protocol wants it, from what was typed: whatever it says, it stays text (docs/protocol.md §3, §4)."""

import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid
from enum import Enum, unique
from xml.sax.saxutils import escape

from gateway.policy.accounts import Account
from gateway.policy.addresses import parse_address

LINE_BREAK = "Ö"  # docs/protocol.md §6.1
_MASK = "********"
_SEPARATORS = re.compile(r"[\n,;\t]+")
_NOT_IN_XML = re.compile("[^\t\n\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LONGEST_VALUE = 10_000


@unique
class Kind(Enum):
    """How the recipients and texts are given."""

    SAME = "same"  # one text for all
    OWN = "own"  # a text for each
    CSV = "csv"  # a text with places, and values for each (docs/protocol.md §4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What was typed. Empty is absent."""

    account: str
    sender: str
    kind: Kind
    numbers: str  # one a line, or with commas; OWN: a number and its text; CSV: a number and values, with `;;`
    text: str
    email_id: str
    originator: str = ""
    tracker: str = ""
    smslong: str = ""
    date: str = ""
    ack_to: str = ""
    not_to: str = ""
    nostop: bool = False
    ucs2: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The mail, and its envoi without the key, for showing."""

    mail: bytes = field(repr=False)
    shown: str = field(repr=False)
    files: tuple[tuple[str, str], ...] = field(default=(), repr=False)  # CSV, by name


class Incomplete(Exception):
    """Something is missing without which there is no mail; `key` names the words for it."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def suggest_email_id(now: datetime) -> str:
    """Return an emailId of digits alone, which no other mail has."""
    return f"{now:%Y%m%d%H%M%S}{secrets.randbelow(10_000):04}"


def write_mail(draft: Draft, account: Account, *, recipient: str, hostname: str, now: datetime) -> Written:
    """Return the mail. Raises Incomplete."""
    address = parse_address(draft.sender)
    if address is None:
        raise Incomplete("compose.no_sender")
    if account.keyid is None:
        raise Incomplete("compose.no_account")
    files = tuple(_files(draft))
    elements = list(_elements(draft, is_csv=bool(files)))
    message = EmailMessage(policy=SMTP.clone(max_line_length=76))
    message["From"], message["To"] = str(address), recipient
    message["Subject"], message["Date"] = "SMS", format_datetime(now)
    message["Message-ID"] = make_msgid(domain=hostname)
    envoi = _render(account.keyid.get_secret_value(), elements)
    message.set_content(envoi, charset="utf-8", cte="base64")
    for name, content in files:
        message.add_attachment(
            content.encode(), maintype="text", subtype="csv", filename=name, params={"charset": "utf-8"}
        )
    return Written(mail=message.as_bytes(), shown=_render(_MASK, elements), files=files)


def _render(keyid: str, elements: Sequence[tuple[str, str]]) -> str:
    lines = [f"<{name}>{escape(_clean(value))}</{name}>" for name, value in (("keyid", keyid), *elements)]
    return "\n".join(['<?xml version="1.0" encoding="UTF-8"?>', "<envoi>", *lines, "</envoi>", ""])


def _elements(draft: Draft, *, is_csv: bool) -> Iterator[tuple[str, str]]:
    yield from _given("emailId", draft.email_id)
    if not is_csv:
        yield from _recipients(draft)
    yield from _given("emetteur", draft.originator)
    yield from _given("tracker", draft.tracker)
    yield from _given("smslong", draft.smslong)
    yield from _given("nostop", "1" if draft.nostop else "")
    yield from _given("ucs2", "1" if draft.ucs2 else "")
    yield from _given("date_envoi", draft.date.replace("T", " ")[:16])
    yield from _given("emailAck", draft.ack_to)
    yield from _given("emailNot", draft.not_to)


def _given(name: str, value: str) -> Iterator[tuple[str, str]]:
    if value:
        yield name, value


def _recipients(draft: Draft) -> Iterator[tuple[str, str]]:
    if draft.kind is Kind.OWN:
        for place, (number, text) in enumerate(_own_texts(draft.numbers), 1):
            yield f"num{place}", number
            yield f"sms{place}", to_wire(text)
        return
    numbers = [one.strip() for one in _SEPARATORS.split(draft.numbers) if one.strip()]
    if not numbers:
        raise Incomplete("compose.no_numbers")
    if not draft.text.strip():
        raise Incomplete("compose.no_text")
    if len(numbers) == 1:
        yield "num", numbers[0]
    else:
        yield from ((f"num{place}", number) for place, number in enumerate(numbers, 1))
    yield "sms", to_wire(draft.text)


def _own_texts(lines: str) -> list[tuple[str, str]]:
    """Return each line's number and text: what stands before and after the first comma, semicolon, tab or equals."""
    pairs = []
    for line in lines.splitlines():
        number, *rest = re.split(r"[=;,\t]", line, maxsplit=1)
        if number.strip() and rest and rest[0].strip():
            pairs.append((number.strip(), rest[0].strip()))
        elif line.strip():
            raise Incomplete("compose.no_own_text")
    if not pairs:
        raise Incomplete("compose.no_numbers")
    return pairs


def _files(draft: Draft) -> Iterator[tuple[str, str]]:
    """The two files (docs/protocol.md §4.1); the text is the first line of its own (§4.3)."""
    if draft.kind is not Kind.CSV:
        return
    lines = [line.strip() for line in draft.numbers.splitlines() if line.strip()]
    if not lines:
        raise Incomplete("compose.no_numbers")
    if not draft.text.strip():
        raise Incomplete("compose.no_text")
    yield "mobiles.csv", "".join(f"{line}\r\n" for line in lines)
    yield "message.csv", f"{to_wire(draft.text)}\r\n"


def to_wire(text: str) -> str:
    """Return the text with its line breaks as the protocol writes them (docs/protocol.md §6.1)."""
    return text.strip("\n").replace("\n", LINE_BREAK)


def _clean(value: str) -> str:
    """XML has no place for control characters and halves of surrogate pairs."""
    return _NOT_IN_XML.sub("\ufffd", value[:_LONGEST_VALUE])
