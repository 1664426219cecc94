"""What each listener shows to each network, and which accounts may send from there, worked out from the configuration.

Pure. That it agrees with what a listener really shows is tested against real ones, and `listeners` holds the running
gateway against it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network, ip_address

from gateway.config import Config
from gateway.policy.accounts import Account, AuthMethod
from gateway.smtp.entrance import Entrance, find_entrances
from gateway.smtp.peer import Network
from gateway.smtp.settings import LOOPBACK, Tls, parse_listen

ANYWHERE = "anywhere else"


@dataclass(frozen=True, slots=True, kw_only=True)
class Showing:
    """What clients of some networks see at one listener."""

    listener: str
    listen: tuple[str, ...]
    clients: tuple[str, ...]
    is_let_in: bool
    clear: tuple[str, ...] | None  # extensions behind EHLO; None: TLS comes first, or nobody is let in
    encrypted: tuple[str, ...] | None  # the same over TLS; None: there is none
    needs_tls: bool  # for mail
    senders: tuple[tuple[str, tuple[str, ...]], ...]  # what proves a client, and for which accounts


def list_extensions(config: Config, entrance: Entrance, *, is_encrypted: bool, is_loopback: bool) -> tuple[str, ...]:
    """Return the lines behind EHLO."""
    told = ["PIPELINING", f"SIZE {config.smtp.max_mail_bytes}", "8BITMIME"]
    if entrance.tls is Tls.STARTTLS and not is_encrypted:
        told.append("STARTTLS")
    has_auth = entrance.offers_auth and has_users(config)
    if has_auth and (is_encrypted or (is_loopback and not entrance.requires_tls)):
        told.append("AUTH PLAIN LOGIN")
    return (*told, "ENHANCEDSTATUSCODES")


def has_users(config: Config) -> bool:
    """Tell whether anybody can send by authenticating."""
    return any(user.account is not None for user in config.users)


def show(config: Config) -> list[Showing]:
    """Return what every listener shows, to each network that the configuration names and to all others.

    Networks that see the same at a listener share a row; one that only this machine can reach has no other.
    """
    rows = []
    for entrance in find_entrances(config.smtp):
        grouped: dict[Showing, list[str]] = {}
        for name, network in list(_networks(config))[: 1 if is_for_this_machine(entrance) else None]:
            row = _show_to(config, entrance, network)
            grouped.setdefault(row, []).append(name)
        rows += [replace(row, clients=tuple(names)) for row, names in grouped.items()]
    return rows


def is_for_this_machine(entrance: Entrance) -> bool:
    """Tell whether nobody else can connect there, neither directly nor through a proxy."""
    return not entrance.proxies and all(_is_loopback(parse_listen(listen)[0]) for listen in entrance.listen)


def find_unproven(config: Config, rows: list[Showing]) -> list[str]:
    """Return the accounts that nobody can send for, from anywhere."""
    proven = {name for row in rows for _method, names in row.senders for name in names}
    return [account.name for account in config.accounts if account.name not in proven]


def _networks(config: Config) -> Iterator[tuple[str, Network | None]]:
    """This machine, then what is named anywhere, then everything else."""
    yield "this machine", LOOPBACK[0]
    named: dict[Network, None] = {}
    for entrance in find_entrances(config.smtp):
        named.update(dict.fromkeys(entrance.networks))
    for account in config.accounts:
        named.update(dict.fromkeys(account.networks))
    for relay in config.senders.relays:
        named.update(dict.fromkeys(relay.networks))
    for network in named:
        if not any(_covers(loopback, network) for loopback in LOOPBACK):
            yield str(network), network
    yield ANYWHERE, None


def _show_to(config: Config, entrance: Entrance, network: Network | None) -> Showing:
    is_let_in = not entrance.is_legacy or _is_in(network, entrance.networks)
    is_loopback = _is_in(network, LOOPBACK)
    clear = encrypted = None
    if is_let_in and entrance.tls is not Tls.IMPLICIT:
        clear = list_extensions(config, entrance, is_encrypted=False, is_loopback=is_loopback)
    if is_let_in and entrance.tls is not Tls.NONE:
        encrypted = list_extensions(config, entrance, is_encrypted=True, is_loopback=is_loopback)
    return Showing(
        listener=entrance.name,
        listen=entrance.listen,
        clients=(),
        is_let_in=is_let_in,
        clear=clear,
        encrypted=encrypted,
        needs_tls=entrance.requires_tls,
        senders=tuple(_senders(config, entrance, network)) if is_let_in else (),
    )


def _senders(config: Config, entrance: Entrance, network: Network | None) -> Iterator[tuple[str, tuple[str, ...]]]:
    for method in AuthMethod:
        names = tuple(
            account.name
            for account in config.accounts
            if method in account.auth and _can_prove(config, entrance, network, account, method)
        )
        if names:
            yield method.value, names


def _can_prove(
    config: Config, entrance: Entrance, network: Network | None, account: Account, method: AuthMethod
) -> bool:
    has_tls = entrance.tls is not Tls.NONE
    match method:
        case AuthMethod.NETWORK:
            return _is_in(network, account.networks or entrance.networks)
        case AuthMethod.SMTP_AUTH:
            has_user = any(user.account == account.name for user in config.users)
            in_clear = _is_in(network, LOOPBACK) and not entrance.requires_tls
            return has_user and entrance.offers_auth and (has_tls or in_clear)
        case AuthMethod.TLS_CLIENT_CERT:
            starttls = config.smtp.starttls
            return has_tls and bool(account.client_certificates) and starttls is not None and bool(starttls.client_ca)
        case AuthMethod.AUTHRES:
            return any(_is_in(network, relay.networks) for relay in config.senders.relays)
        case AuthMethod.DKIM | AuthMethod.SPF:
            return True


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"


def _is_in(network: Network | None, wanted: tuple[Network, ...]) -> bool:
    return network is not None and any(_covers(one, network) for one in wanted)


def _covers(outer: Network, inner: Network) -> bool:
    if isinstance(outer, IPv4Network) and isinstance(inner, IPv4Network):
        return inner.subnet_of(outer)
    return isinstance(outer, IPv6Network) and isinstance(inner, IPv6Network) and inner.subnet_of(outer)
