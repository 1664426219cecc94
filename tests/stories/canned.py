"""The canned mails: each with what is to be asked for, and the one line that says why.

The lines before a mail that begin with `#:` are no part of it: `expect` is the reason line, with `ID` and `TIME` in the
place of ids and times; `ask` what is asked for (else its Message-ID); `from` and `to` are the envelope.
"""

import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "mails"
_ID = re.compile(r"\b[0-9A-HJKMNP-TV-Z]{20}\b")
_ATTEMPT = re.compile(r"attempt no\. \d+")
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Canned:
    """One mail, and what is to be said of it."""

    name: str
    expect: str
    ask: str
    sender: str
    recipient: str
    content: bytes


def read_all() -> list[Canned]:
    """Every canned mail, in order."""
    return [_read(path) for path in sorted(FOLDER.glob("*.eml"))]


def _read(path: Path) -> Canned:
    lines = path.read_text("utf-8").split("\n")
    said = [line.removeprefix("#: ").partition(" ") for line in lines if line.startswith("#: ")]
    marks = {name: value for name, _, value in said}
    content = "\r\n".join(lines[len(said) :])
    sender = marks.get("from", "alerte@masociete.com")
    return Canned(
        name=path.stem,
        expect=marks["expect"],
        ask=marks.get("ask", f"<{path.stem[3:]}@client.example>"),
        sender="" if sender == "<>" else sender,
        recipient=marks.get("to", "sendsms@gw.example.org"),
        content=content.encode(),
    )


def plain(reason: str) -> str:
    """The reason without what is another each time."""
    return _ATTEMPT.sub("attempt no. N", _TIME.sub("TIME", _ID.sub("ID", reason)))
