"""Settings of the front door: `[smtp]`."""

import re
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from gateway.protocol.envoi import Mode
from gateway.settings import Seconds, Settings
from gateway.smtp.address import is_address
from gateway.smtp.peer import Network

_LISTEN = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._-]+)?)\]|(?P<host>[A-Za-z0-9._-]+)):(?P<port>[0-9]{1,5})"
)

LOOPBACK: tuple[Network, ...] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))


def parse_listen(value: str) -> tuple[str, int]:
    """Return host and port of "HOST:PORT" (IPv6 in brackets). Raises ValueError with a sentence for the operator."""
    found = _LISTEN.fullmatch(value)
    if found is None:
        raise ValueError(f'{value!r} is not "HOST:PORT"; an IPv6 address stands in brackets, as in "[::1]:2525"')
    port = int(found["port"])
    if port > 65_535:
        raise ValueError(f"{value!r}: a port is at most 65535")
    return found["v6"] or found["host"], port


class SmtpSettings(Settings):
    """Where mail is taken, for whom, and how much of it at once."""

    hostname: Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?$")] | None = Field(
        default=None, description="Name the gateway gives itself in the SMTP dialogue; absent: the machine's host name."
    )
    listen: tuple[str, ...] = Field(
        default=("127.0.0.1:2525",),
        min_length=1,
        description='Addresses to listen on, "HOST:PORT", IPv6 in brackets; port 0: a free one, printed in `ready`.',
    )
    recipients: tuple[str, ...] = Field(
        min_length=1, description="Addresses mail is taken for, compared without case; all others are refused."
    )
    networks: tuple[Network, ...] = Field(
        default=LOOPBACK, description="Clients trusted without AUTH, for accounts that name no networks themselves."
    )
    max_mail_bytes: int = Field(
        default=10_485_760, ge=1_024, le=104_857_600, description="Largest mail, in octets; advertised as SIZE."
    )
    mode: Mode = Field(
        default=Mode.LENIENT,
        description='"lenient": whatever has one sensible meaning is read; "strict": only what the protocol says.',
    )
    max_connections: int = Field(
        default=500, ge=1, le=100_000, description="Connections at once; lowered to what the descriptor limit allows."
    )
    max_connections_per_client: int = Field(
        default=100, ge=1, le=100_000, description="Connections at once from one address (IPv6: one /64)."
    )
    idle_timeout_s: Seconds = Field(default=60, description="A session without a command for so long is closed.")
    trusted_idle_timeout_s: Seconds = Field(default=300, description="The same, for clients in `networks`.")
    session_lifetime_s: Seconds = Field(default=600, description="After so long no further command is taken.")
    data_deadline_s: Seconds = Field(default=1_800, description="The longest one mail may take to come in.")
    data_patience_s: Seconds = Field(
        default=120, description="Credit of time a mail begins with while it comes in; it earns more as it proceeds."
    )
    min_data_bytes_per_s: int = Field(
        default=500, ge=1, le=1_000_000, description="So many octets earn one second, up to `data_patience_s`."
    )
    handler_timeout_s: Seconds = Field(
        default=60, description="A mail not stored after so long is answered 451; the client comes back."
    )
    max_errors: int = Field(
        default=10, ge=1, le=1_000, description="Errors of a client since its last good mail before it is closed."
    )
    error_delay_s: float = Field(
        default=1.0, ge=0, le=10, description="Pause before the answer to each error after the third."
    )
    max_recipients: int = Field(default=5, ge=1, le=100, description="Recipients (RCPT) of one mail.")
    max_line_bytes: int = Field(
        default=65_536, ge=1_000, le=10_485_760, description="Longest line of a mail, in octets with its end."
    )
    bytes_in_flight: int = Field(
        default=134_217_728, ge=1_024, description="Octets of mail in memory over all sessions; beyond: 452."
    )
    bare_lf_networks: tuple[Network, ...] = Field(
        default=(),
        description="Legacy clients whose bare LF is made CRLF instead of refused. The end of a mail stays CRLF.CRLF.",
    )

    @field_validator("listen")
    @classmethod
    def _check_listen(cls, listen: tuple[str, ...]) -> tuple[str, ...]:
        parsed = [parse_listen(value) for value in listen]
        if any(port and parsed.count((host, port)) > 1 for host, port in parsed):
            raise ValueError("the same address stands twice")
        return listen

    @field_validator("recipients")
    @classmethod
    def _check_recipients(cls, recipients: tuple[str, ...]) -> tuple[str, ...]:
        for recipient in recipients:
            if not is_address(recipient):
                raise ValueError(f"{recipient!r} is not an address like sendsms@gw.example.org")
        return recipients

    @model_validator(mode="after")
    def _check_budget(self) -> Self:
        if self.bytes_in_flight < self.max_mail_bytes:
            raise ValueError("bytes_in_flight must be at least max_mail_bytes, or no mail of that size is ever taken")
        return self
