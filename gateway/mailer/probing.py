"""Asking the smarthost whether it would take reports for these recipients, without sending any.

It goes as far as RCPT, with the null sender that reports have, and takes everything back (RSET) before QUIT: no DATA,
no mail. A smarthost that counts recipients that came to nothing sees one for each.
"""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass

import aiosmtplib

from gateway.mailer.smarthost import REASON_LIMIT, ReportSettings

_QUIT_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What it said to RCPT for one recipient."""

    recipient: str
    code: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """How far it came; `trouble` says where it broke off."""

    greeting: str = ""  # the first line of the answer to EHLO: who it says it is
    extensions: tuple[str, ...] = ()
    most_bytes: int | None = None  # SIZE; None: it sets no limit, or does not say
    answers: tuple[Answered, ...] = ()
    trouble: str | None = None
    is_refusal: bool = False  # the trouble is its own word, not the network's


async def probe_smarthost(
    settings: ReportSettings, recipients: Sequence[str], *, hostname: str, limit_s: float
) -> Probed:
    """Return what it answers to each recipient, within `limit_s`. Never raises for what it does."""
    host, port = settings.smarthost_address
    client = aiosmtplib.SMTP(
        hostname=host, port=port, local_hostname=hostname, timeout=limit_s, use_tls=False, start_tls=False
    )
    greeting, most_bytes = "", None
    extensions: tuple[str, ...] = ()
    answers: list[Answered] = []
    trouble, is_refusal = None, False
    try:
        async with asyncio.timeout(limit_s):
            await client.connect()
            greeting = (await client.ehlo()).message.partition("\n")[0]
            extensions = tuple(sorted(name.upper() for name in client.esmtp_extensions))
            most_bytes = _read_size(client.esmtp_extensions.get("size", ""))
            for recipient in recipients:
                await client.mail("")  # null sender, docs/protocol.md §8.3
                answers.append(await _ask(client, recipient))
                await client.rset()
    except aiosmtplib.SMTPResponseException as error:
        trouble, is_refusal = f"{error.code} {error.message}"[:REASON_LIMIT], True
    except aiosmtplib.SMTPConnectError as error:
        trouble = _why_not_connected(error)
    except (TimeoutError, aiosmtplib.SMTPTimeoutError):
        trouble = f"no answer within {limit_s:g} seconds"
    except (aiosmtplib.SMTPException, OSError) as error:
        trouble = f"the dialogue broke off ({type(error).__name__})"
    finally:
        await _leave(client)
    return Probed(
        greeting=greeting,
        extensions=extensions,
        most_bytes=most_bytes,
        answers=tuple(answers),
        trouble=trouble,
        is_refusal=is_refusal,
    )


async def _ask(client: aiosmtplib.SMTP, recipient: str) -> Answered:
    try:
        answer = await client.rcpt(recipient)
    except aiosmtplib.SMTPResponseException as error:
        return Answered(recipient=recipient, code=error.code, text=error.message[:REASON_LIMIT])
    return Answered(recipient=recipient, code=answer.code, text=answer.message[:REASON_LIMIT])


async def _leave(client: aiosmtplib.SMTP) -> None:
    try:
        async with asyncio.timeout(_QUIT_S):
            if client.is_connected:
                await client.quit()
    except (aiosmtplib.SMTPException, OSError):  # TimeoutError is one
        pass
    finally:
        client.close()


def _why_not_connected(error: aiosmtplib.SMTPConnectError) -> str:
    cause = error.__cause__
    if isinstance(cause, ConnectionRefusedError):
        return "nobody listens there (connection refused)"
    if isinstance(cause, OSError) and cause.errno:
        return os.strerror(cause.errno).lower()
    return str(error)[:REASON_LIMIT]


def _read_size(text: str) -> int | None:
    return int(text) if text.isdecimal() and int(text) > 0 else None
