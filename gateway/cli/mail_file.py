"""A mail in a file, for commands that take one as if a client had brought it over SMTP."""

import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from gateway.intake import Reply
from gateway.protocol.envoi import Unreadable
from gateway.protocol.mime import read_headers
from gateway.smtp import replies
from gateway.smtp.content import clean_content
from gateway.smtp.settings import SmtpSettings

FileArgument = Annotated[str, typer.Argument(metavar="FILE.eml", help="The mail; `-` reads it from stdin.")]
SenderOption = Annotated[str | None, typer.Option(help="Envelope sender; the address of From: unless given.")]

_MAX_BYTES = 104_857_601
"""One more than the largest `max_mail_bytes` there can be."""


def receive(mail: bytes, settings: SmtpSettings) -> bytes | Reply:
    """Return the mail as a client would have brought it over, or the reply that refuses its form."""
    if len(mail) > settings.max_mail_bytes:
        return replies.TOO_BIG
    stuffed = re.sub(rb"^\.", b"..", mail, flags=re.MULTILINE)
    ended = stuffed if stuffed.endswith(b"\n") else stuffed + b"\r\n"
    return clean_content(ended, max_line_bytes=settings.max_line_bytes, normalise_bare_lf=True)


def find_sender(content: bytes) -> str:
    """Return the address of From:, which is what a client would most likely say in MAIL."""
    try:
        address = read_headers(content).from_address
    except Unreadable:
        address = None
    if address is None:
        raise typer.BadParameter("the mail has no From: with one address; say who sends it", param_hint="--sender")
    return address


def read_mail(file: str) -> bytes:
    """Return what the file, or stdin, holds."""
    if file == "-":
        return sys.stdin.buffer.read(_MAX_BYTES)
    try:
        with Path(file).open("rb") as stream:
            return stream.read(_MAX_BYTES)
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be read: {error.strerror}", param_hint="FILE.eml") from None
