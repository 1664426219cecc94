"""Settings of who vouches for senders: `[senders]`."""

from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Annotated

from pydantic import AfterValidator, Field

from gateway.settings import Seconds, Settings

DNS_PORT = 53


def parse_server(value: str) -> tuple[str, int]:
    """Return address and port of "192.0.2.53", "192.0.2.53:5353" or "[2001:db8::53]:5353". Raises ValueError."""
    host, colon, port = value.rpartition(":")
    if not colon or (":" in host and not host.startswith("[")):
        host, port = value, str(DNS_PORT)
    try:
        address = str(ip_address(host.removeprefix("[").removesuffix("]")))
    except ValueError:
        address = ""
    if not address or not (port.isascii() and port.isdecimal() and 0 < int(port) < 65_536):
        raise ValueError(f'"{value}" is not the address of a DNS server: write one like "127.0.0.1" or "[::1]:53"')
    return address, int(port)


def _check_server(value: str) -> str:
    parse_server(value)
    return value


def _check_authserv_id(value: str) -> str:
    return value.lower()


class RelaySettings(Settings):
    """A relay in front whose `Authentication-Results` are believed."""

    networks: tuple[IPv4Network | IPv6Network, ...] = Field(
        min_length=1, description="Where the relay connects from; it must remove such headers that others wrote."
    )
    authserv_id: Annotated[str, AfterValidator(_check_authserv_id)] = Field(
        min_length=1, max_length=255, pattern=r"^[A-Za-z0-9._-]+$", description="Its name in these headers."
    )
    received_above: int = Field(
        default=1, ge=0, le=10, description="How many `Received` headers of its own may stand above its word."
    )


class SenderSettings(Settings):
    """How the methods `authres`, `dkim` and `spf` of `auth` are checked."""

    dns_servers: tuple[Annotated[str, AfterValidator(_check_server)], ...] = Field(
        default=(), description="Addresses of DNS servers, with a port if not 53; empty: those of the machine."
    )
    dns_timeout_s: Seconds = Field(default=3, description="The longest one question to the DNS may take.")
    deadline_s: Seconds = Field(
        default=8, description="The longest all of it may take for one mail; then it is answered 451."
    )
    max_signature_age_s: Seconds = Field(
        default=604_800, description="A DKIM signature that says it is older proves nothing."
    )
    relays: tuple[RelaySettings, ...] = Field(
        default=(), description="Relays in front whose `Authentication-Results` are believed (`authres`)."
    )
