"""How much of the Internet a network is: trust by address is for one's own clients, not for the world."""

from ipaddress import IPv4Network, IPv6Network

Network = IPv4Network | IPv6Network

_WIDEST_BITS = {4: 8, 6: 16}
"""No organisation has a wider public network; two halves of the Internet are not one either."""

_WIDE_BITS = {4: 16, 6: 32}
"""What a provider has, rather than one of its customers."""


def is_internet(network: Network) -> bool:
    """True for a public network so wide that whoever lists it trusts strangers; private ones may be of any width."""
    return network.prefixlen < _WIDEST_BITS[network.version] and not network.is_private


def is_wide(network: Network) -> bool:
    """True for a public network that is probably more than one's own."""
    return network.prefixlen < _WIDE_BITS[network.version] and not network.is_private
