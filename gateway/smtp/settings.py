"""Settings of the front door: `[smtp]`, `[smtp.starttls]` and `[[smtp.listeners]]`."""

import re
from collections.abc import Mapping
from enum import Enum, unique
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from gateway.policy.networks import is_internet
from gateway.protocol.envoi import Mode
from gateway.settings import Name, Seconds, Settings
from gateway.smtp.address import is_address
from gateway.smtp.peer import Network

_LISTEN = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._-]+)?)\]|(?P<host>[A-Za-z0-9._-]+)):(?P<port>[0-9]{1,5})"
)

DEFAULT_NAME = "smtp"
"""The listener of `[smtp] listen`."""

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


def _check_listen(listen: tuple[str, ...]) -> tuple[str, ...]:
    parsed = [parse_listen(value) for value in listen]
    if any(port and parsed.count((host, port)) > 1 for host, port in parsed):
        raise ValueError("the same address stands twice")
    return listen


def _check_trusted(networks: tuple[Network, ...] | None) -> tuple[Network, ...] | None:
    """A password or a certificate proves a client from anywhere; its address does not."""
    if any(is_internet(network) for network in networks or ()):
        raise ValueError("trusts the whole Internet: name the networks that are really meant")
    return networks


@unique
class Tls(Enum):
    """When TLS begins."""

    NONE = "none"
    STARTTLS = "starttls"
    IMPLICIT = "implicit"


@unique
class Profile(Enum):
    """How much a listener bears with."""

    STANDARD = "standard"
    LEGACY = "legacy"


class TlsSettings(Settings):
    """The certificate, and who must use it."""

    certificate: Path = Field(description="The certificate and those that vouch for it, as PEM, its own first.")
    key: Path = Field(description="Its private key, as PEM, without a password.")
    required: bool = Field(
        default=False, description="No mail without TLS; a listener's `require_tls` goes before. Loopback too."
    )
    client_ca: Path | None = Field(
        default=None,
        description="Certificates, as PEM, of those that vouch for clients, or of the clients themselves; clients are "
        "asked for theirs then. Which client is which account's stands in `client_certificates` of the account.",
    )


class ListenerSettings(Settings):
    """Addresses with a policy of their own; what is absent is as in `[smtp]`."""

    name: Name = Field(description="Name of the listener, in the log and in the store.")
    listen: tuple[str, ...] = Field(min_length=1, description="Addresses to listen on, as in `[smtp]`.")
    networks: tuple[Network, ...] | None = Field(
        default=None, description='Clients trusted without AUTH; with the profile "legacy" all that may connect.'
    )
    tls: Tls | None = Field(
        default=None,
        description='"none", "starttls" (default if there is a certificate) or "implicit", from the first octet.',
    )
    require_tls: bool | None = Field(default=None, description="No mail without TLS.")
    auth: bool | None = Field(
        default=None, description="Offer AUTH, over TLS or on loopback; absent: when a user has an account."
    )
    mode: Mode | None = Field(default=None, description='"lenient" or "strict".')
    profile: Profile = Field(
        default=Profile.STANDARD,
        description='"legacy": for old devices of `networks` alone: an empty HELO and bare LF are borne with, no TLS.',
    )
    proxies: tuple[Network, ...] = Field(
        default=(),
        description="Proxies that say whom they bring (PROXY protocol, version 1 or 2). Nobody else may connect then.",
    )

    _check_listen = field_validator("listen")(_check_listen)
    _check_trusted = field_validator("networks", "proxies")(_check_trusted)

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.require_tls and self.tls is Tls.NONE:
            raise ValueError('require_tls is true and tls is "none": nobody could send')
        if self.tls is Tls.IMPLICIT and self.require_tls is False:
            raise ValueError('tls is "implicit": require_tls cannot be false')
        if self.profile is Profile.LEGACY:
            if self.tls not in {None, Tls.NONE} or self.require_tls:
                raise ValueError('the profile "legacy" is for devices without TLS: leave out tls and require_tls')
            if self.auth:
                raise ValueError('the profile "legacy" is for devices without TLS, and so without AUTH: leave out auth')
            if not self.networks:
                raise ValueError('the profile "legacy" needs networks: those of the old devices')
        return self


class SmtpSettings(Settings):
    """Where mail is taken, for whom, and how much of it at once."""

    hostname: Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?$")] | None = Field(
        default=None, description="Name the gateway gives itself in the SMTP dialogue; absent: the machine's host name."
    )
    listen: tuple[str, ...] = Field(
        default=("127.0.0.1:2525",),
        description='Addresses to listen on, "HOST:PORT", IPv6 in brackets; port 0: a free one, printed in `ready`. '
        "Absent where there are `listeners`: none but theirs.",
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
        default=500,
        ge=1,
        le=100_000,
        description="Connections at once; lowered to what the descriptor limit allows. A fifth is kept for `networks`.",
    )
    max_connections_per_client: int = Field(
        default=100, ge=1, le=100_000, description="Connections at once from one address (IPv6: one /64)."
    )
    max_new_connections_per_client: int = Field(
        default=600,
        ge=1,
        le=1_000_000,
        description="New connections a minute from one address (IPv6: one /64) outside `networks`.",
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
    greeting_delay_s: float = Field(
        default=0.5,
        ge=0,
        le=10,
        description="A client outside `networks`, and those of accounts, gets the banner so late, and is cut if it "
        "talks before: robots do. 0: at once.",
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

    handshake_timeout_s: Seconds = Field(default=10, description="The longest a TLS handshake may take.")
    proxy_timeout_s: Seconds = Field(default=5, description="The longest a proxy may take to say whom it brings.")
    max_auth_failures: int = Field(
        default=3, ge=1, le=100, description="Wrong passwords of one connection before it is closed."
    )
    max_auth_failures_per_client: int = Field(
        default=10,
        ge=1,
        le=10_000,
        description="Wrong passwords from one address (IPv6: one /64) before AUTH is refused; "
        "one is forgiven a minute.",
    )
    starttls: TlsSettings | None = Field(default=None, description="The certificate, and who must use it.")
    listeners: tuple[ListenerSettings, ...] = Field(
        default=(), description="Addresses with a policy of their own; what is absent is as in `[smtp]`."
    )

    _check_listen = field_validator("listen")(_check_listen)
    _check_trusted = field_validator("networks", "bare_lf_networks")(_check_trusted)

    @model_validator(mode="before")
    @classmethod
    def _leave_out_listen(cls, raw: object) -> object:
        """Where the listeners are written down, the default address is not one more of them."""
        if isinstance(raw, Mapping) and raw.get("listeners") and "listen" not in raw:
            return {**raw, "listen": ()}
        return raw

    @field_validator("recipients")
    @classmethod
    def _check_recipients(cls, recipients: tuple[str, ...]) -> tuple[str, ...]:
        for recipient in recipients:
            if not is_address(recipient):
                raise ValueError(f"{recipient!r} is not an address like sendsms@gw.example.org")
        return recipients

    @model_validator(mode="after")
    def _check_listeners(self) -> Self:
        names = [DEFAULT_NAME] if self.listen else []
        names += [listener.name for listener in self.listeners]
        if not names:
            raise ValueError("listen is empty: write an address, or a [[smtp.listeners]] block")
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f'two listeners are called "{twice}" (the one of [smtp] listen is "{DEFAULT_NAME}")')
        _check_listen((*self.listen, *(one for listener in self.listeners for one in listener.listen)))
        for listener in self.listeners:
            if self.starttls is None and (listener.require_tls or listener.tls in {Tls.STARTTLS, Tls.IMPLICIT}):
                raise ValueError(f'listener "{listener.name}" uses TLS: [smtp.starttls] with a certificate is missing')
        return self

    @model_validator(mode="after")
    def _check_budget(self) -> Self:
        if self.bytes_in_flight < self.max_mail_bytes:
            raise ValueError("bytes_in_flight must be at least max_mail_bytes, or no mail of that size is ever taken")
        return self
