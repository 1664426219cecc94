"""Who is at the other end, by address."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Networks = tuple[Network, ...]

_CLIENT_OCTETS = 8  # one IPv6 client owns at least a /64


@lru_cache(maxsize=1_024)  # the same clients come again and again
def client_address(host: str) -> Address:
    """Return the address a socket names; an IPv4 client of an IPv6 socket is an IPv4 client."""
    address = ip_address(host)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def client_key(address: Address) -> bytes:
    """Return what connections of one client are counted by: its address, or its /64."""
    return address.packed[:_CLIENT_OCTETS]


def is_within(address: Address, networks: Iterable[Network]) -> bool:
    """Tell whether the address is in one of the networks."""
    return any(address in network for network in networks)
