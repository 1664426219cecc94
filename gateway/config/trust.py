"""Doubts about who is trusted: what works, and lets in more than was probably meant."""

from collections.abc import Iterator

from gateway.config.model import Document
from gateway.config.problems import Problem
from gateway.policy.accounts import AuthMethod
from gateway.policy.networks import Network, is_wide
from gateway.smtp.entrance import find_entrances

_INTERNAL = frozenset(
    {"lan", "local", "localdomain", "internal", "intranet", "home", "corp", "private", "test", "arpa"}
)
"""Names that are nobody's on the Internet: all that is below them is one's own."""

Trusted = list[tuple[str, Network]]


def doubts_about_trust(document: Document) -> Iterator[Problem]:
    """Trust by address or by domain that reaches further than one's own clients."""
    trusted = _find_trusted(document)
    for path, network in trusted:
        if is_wide(network):
            message = f"{network} is a public network of many: who is there needs nothing but the keyid, sent in clear"
            yield Problem(path=path, message=message)
    yield from _relays_that_are_trusted(document, trusted)
    for index, account in enumerate(document.accounts):
        for key in ("domains", "report_domains"):
            for pattern in getattr(account, key):
                if pattern.startswith("*.") and "." not in pattern[2:] and pattern[2:] not in _INTERNAL:
                    path = f"accounts[{index}].{key}"
                    yield Problem(path=path, message=f'"{pattern}" is all of a top-level domain: write your own')


def _find_trusted(document: Document) -> Trusted:
    """Every network whose clients are proven by their address, with its place in the file."""
    by_network = [account for account in document.accounts if AuthMethod.NETWORK in account.auth]
    found: Trusted = []
    if any(not account.networks for account in by_network):
        for entrance in find_entrances(document.smtp):
            position = next((n for n, one in enumerate(document.smtp.listeners) if one.name == entrance.name), None)
            own = position is not None and document.smtp.listeners[position].networks is not None
            path = f"smtp.listeners[{position}].networks" if own else "smtp.networks"
            found += [(path, network) for network in entrance.networks]
    for index, account in enumerate(document.accounts):
        if account in by_network:
            found += [(f"accounts[{index}].networks", network) for network in account.networks]
    return list(dict.fromkeys(found))


def _relays_that_are_trusted(document: Document, trusted: Trusted) -> Iterator[Problem]:
    """A relay that brings mail from outside is no client: what it brings would be proven by its address alone."""
    for index, relay in enumerate(document.senders.relays):
        for path, network in trusted:
            if any(one.version == network.version and one.overlaps(network) for one in relay.networks):
                message = f"is trusted by its address too ({path}): whatever it brings from outside is proven by that"
                yield Problem(path=f"senders.relays[{index}].networks", message=message)
