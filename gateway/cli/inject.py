"""`mail2sms inject`."""

import asyncio
import json
import re
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.exits import BAD, OK, STORE_OR_NETWORK, ConfigOption, JsonOption
from gateway.clock import SystemClock
from gateway.config import Config, load
from gateway.daemon.building import build_intake
from gateway.intake import Reply, Submission
from gateway.log import register_secrets, set_up_logging
from gateway.protocol.envoi import Unreadable
from gateway.protocol.mime import read_headers
from gateway.smtp import replies
from gateway.smtp.content import clean_content
from gateway.store import Store

LISTENER = "inject"
"""Where such mails came in, in the store."""

_MAX_BYTES = 104_857_601
"""One more than the largest `max_mail_bytes` there can be."""


def inject(
    file: Annotated[str, typer.Argument(metavar="FILE.eml", help="The mail; `-` reads it from stdin.")],
    *,
    config: ConfigOption,
    sender: Annotated[str | None, typer.Option(help="Envelope sender; the address of From: unless given.")] = None,
    peer: Annotated[str, typer.Option(help="Address of the client it is said to come from.")] = "127.0.0.1",
    as_json: JsonOption = False,
) -> None:
    """Submit a mail as if it had come by SMTP, and print the reply.

    It is stored with all it causes; a running gateway sends the SMS and the reports. Line ends become CRLF. Exit status
    0 when it was taken (250), 1 when it was refused (5xx), 4 when it is to be tried again later (4xx).
    """
    client = _read_peer(peer)
    mail = _read_mail(file)
    settings = load(config)
    register_secrets(settings.secrets)
    set_up_logging(form=settings.log.format, level=settings.log.level)
    content = _receive(mail, settings)
    if isinstance(content, Reply):
        reply = content
    else:
        submission = Submission(
            content=content,
            envelope_from=_find_sender(content) if sender is None else sender,
            peer=client,
            listener=LISTENER,
            networks=settings.smtp.networks,
            mode=settings.smtp.mode,
        )
        reply = asyncio.run(_submit(settings, submission))
    if as_json:
        print(json.dumps({"code": reply.code, "enhanced": reply.enhanced, "text": reply.text}))
    else:
        print(reply)
    raise typer.Exit(_status(reply))


async def _submit(settings: Config, submission: Submission) -> Reply:
    store = await Store.open(settings.store)
    try:
        intake = build_intake(
            settings,
            store=store,
            clock=SystemClock(),
            on_admitted=_nobody_to_wake,
            on_report=_nobody_to_wake,
        )
        return await intake.submit(submission)
    finally:
        await store.close()


def _nobody_to_wake(_account: str | None = None) -> None:
    """A running gateway is another process; it looks for rows by itself every few seconds."""


def _receive(mail: bytes, settings: Config) -> bytes | Reply:
    """Return the mail as a client would have brought it over, or the reply that refuses its form."""
    if len(mail) > settings.smtp.max_mail_bytes:
        return replies.TOO_BIG
    stuffed = re.sub(rb"^\.", b"..", mail, flags=re.MULTILINE)
    ended = stuffed if stuffed.endswith(b"\n") else stuffed + b"\r\n"
    return clean_content(ended, max_line_bytes=settings.smtp.max_line_bytes, normalise_bare_lf=True)


def _find_sender(content: bytes) -> str:
    """Return the address of From:, which is what a client would most likely say in MAIL."""
    try:
        address = read_headers(content).from_address
    except Unreadable:
        address = None
    if address is None:
        raise typer.BadParameter("the mail has no From: with one address; say who sends it", param_hint="--sender")
    return address


def _read_mail(file: str) -> bytes:
    if file == "-":
        return sys.stdin.buffer.read(_MAX_BYTES)
    try:
        with Path(file).open("rb") as stream:
            return stream.read(_MAX_BYTES)
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be read: {error.strerror}", param_hint="FILE.eml") from None


def _read_peer(peer: str) -> str:
    try:
        return str(ip_address(peer))
    except ValueError:
        raise typer.BadParameter(f"{peer} is not an address", param_hint="--peer") from None


def _status(reply: Reply) -> int:
    match reply.code // 100:
        case 2:
            return OK
        case 4:
            return STORE_OR_NETWORK
        case _:
            return BAD
