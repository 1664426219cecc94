"""The smarthost: the mail server that takes the reports. The one place that knows aiosmtplib."""

import asyncio
import re
from dataclasses import dataclass
from typing import Annotated

import aiosmtplib
from pydantic import AfterValidator, Field

from gateway.clock import Clock
from gateway.errors import GatewayError
from gateway.mailer.mail import UnsafeHeader, is_plain_address, render_mail
from gateway.settings import Seconds, Settings
from gateway.store.outgoing import ClaimedReport

REASON_LIMIT = 300
"""Characters kept of what the smarthost said."""


def _check_smarthost(value: str) -> str:
    host, separator, port = value.rpartition(":")
    is_host = bool(host.strip("[]")) and host.isprintable() and " " not in host
    if not separator or not is_host or not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise ValueError('must be "host:port"')
    return value


def _check_address(value: str) -> str:
    if not is_plain_address(value):
        raise ValueError("must be an address such as sendsms@gw.example.org")
    return value


class ReportSettings(Settings):
    """The `[reports]` block: where Ack and Not go out."""

    smarthost: Annotated[str, AfterValidator(_check_smarthost)] = Field(
        default="127.0.0.1:25", description='The mail server that takes the reports, "host:port".'
    )
    sender: Annotated[str, AfterValidator(_check_address)] = Field(
        description="Address in the From: header of a report; the envelope sender is always empty."
    )
    timeout_s: Seconds = Field(
        default=30, description="How long the smarthost may take for connecting, and for one mail."
    )
    connections: int = Field(default=4, ge=1, le=50, description="The most connections to the smarthost at a time.")
    give_up_after_s: Seconds = Field(
        default=432_000, description="A report not taken within this time has failed; 432000 is five days."
    )

    @property
    def smarthost_address(self) -> tuple[str, int]:
        """Host, without brackets, and port."""
        host, _, port = self.smarthost.rpartition(":")
        return host.strip("[]"), int(port)


class SmarthostError(GatewayError):
    """The smarthost did not take a report; `temporary` says whether it may later.

    `is_down` is True when the trouble is the smarthost's own and every other report would meet it too.
    """

    def __init__(self, reason: str, *, temporary: bool = True, is_down: bool = False) -> None:
        super().__init__(reason[:REASON_LIMIT])
        self.temporary = temporary
        self.is_down = is_down


@dataclass(slots=True, kw_only=True)
class _Idle:
    client: aiosmtplib.SMTP
    since: float


class Smarthost:
    """Hands mails to the smarthost; its connections are kept while they are fresh.

    The one place that knows the library: whatever it raises leaves here as a `SmarthostError`.
    """

    _FRESH_S = 20.0

    def __init__(self, settings: ReportSettings, *, hostname: str, clock: Clock) -> None:
        self._settings = settings
        self._hostname = hostname
        self._clock = clock
        self._idle: list[_Idle] = []

    async def send(self, report: ClaimedReport) -> str:
        """Return the smarthost's `250` to this report, or raise `SmarthostError` or `UnsafeHeader`.

        Takes at most twice `timeout_s`: for the connection, and for the mail.
        """
        client = await self._connection()
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                answer = await self._hand_over(client, report)
        except TimeoutError as error:
            client.close()
            raise SmarthostError("no answer in time", is_down=True) from error
        except (UnsafeHeader, SmarthostError):
            self._keep(client)
            raise
        except BaseException:  # cancelled, too: the dialogue is in the middle of something
            client.close()
            raise
        self._keep(client)
        return answer

    async def close(self) -> None:
        """All idle connections are closed, with a QUIT where the smarthost answers it."""
        while self._idle:
            await self._quit(self._idle.pop().client)

    async def _connection(self) -> aiosmtplib.SMTP:
        while self._idle:
            idle = self._idle.pop()
            if await self._is_usable(idle):
                return idle.client
        host, port = self._settings.smarthost_address
        client = aiosmtplib.SMTP(
            hostname=host,
            port=port,
            local_hostname=self._hostname,
            timeout=self._settings.timeout_s,
            use_tls=False,
            start_tls=False,
        )
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                await client.connect()
                await _greet(client)
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            client.close()
            # 5xx included: a smarthost that refuses everybody is its own trouble, not the report's
            raise SmarthostError(_reason("not connected", error), is_down=True) from error
        return client

    async def _is_usable(self, idle: _Idle) -> bool:
        if self._clock.monotonic() - idle.since > self._FRESH_S:
            await self._quit(idle.client)
            return False
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                await idle.client.rset()
        except (aiosmtplib.SMTPException, OSError, TimeoutError):
            idle.client.close()
            return False
        return True

    async def _hand_over(self, client: aiosmtplib.SMTP, report: ClaimedReport) -> str:
        is_8bit_offered = client.supports_extension("8bitmime")
        mail = render_mail(report, sender=self._settings.sender, is_8bit_offered=is_8bit_offered)
        try:
            # null sender, docs/protocol.md §8.3
            await client.mail("", options=["BODY=8BITMIME"] if not mail.isascii() else [])
        except (aiosmtplib.SMTPException, OSError) as error:
            raise SmarthostError(_reason("MAIL", error), is_down=True) from error
        try:
            await client.rcpt(report.recipient)
            answer = await client.data(mail)
        except aiosmtplib.SMTPResponseException as error:
            raise SmarthostError(
                _reason("not taken", error), temporary=error.code < 500, is_down=error.code == 421
            ) from error
        except (aiosmtplib.SMTPException, OSError) as error:
            # perhaps after the dot: it may go twice, with one Message-ID (docs/protocol.md §8.3)
            raise SmarthostError(_reason("answer lost", error), is_down=True) from error
        return f"{answer.code} {answer.message}"

    def _keep(self, client: aiosmtplib.SMTP) -> None:
        if client.is_connected:
            self._idle.append(_Idle(client=client, since=self._clock.monotonic()))

    async def _quit(self, client: aiosmtplib.SMTP) -> None:
        try:
            async with asyncio.timeout(1):
                await client.quit()
        except (aiosmtplib.SMTPException, OSError, TimeoutError):
            client.close()


async def _greet(client: aiosmtplib.SMTP) -> None:
    try:
        await client.ehlo()
    except aiosmtplib.SMTPHeloError:
        if not client.is_connected:
            raise
        await client.helo()  # an old smarthost offers no extensions, and needs none


def _reason(what: str, error: Exception) -> str:
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return f"{what}: {error.code} {error.message}"
    return f"{what}: {type(error).__name__} {error}"
