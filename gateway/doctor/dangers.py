"""The configuration as somebody would read it who means harm, or who was in a hurry when writing it."""

from collections.abc import AsyncIterator, Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_address

from gateway.config import Config
from gateway.daemon.building import own_addresses
from gateway.doctor.findings import Finding, Says, Section, enumerate_names
from gateway.doctor.patience import resolve
from gateway.doctor.showing import find_unproven, has_users, show
from gateway.doctor.subject import Subject
from gateway.policy.accounts import Account
from gateway.smtp.entrance import Entrance, find_entrances
from gateway.smtp.peer import Network
from gateway.smtp.settings import Tls, parse_listen
from gateway.web.server import split_listen

_says = Says(Section.CONFIGURATION)

_EXAMPLES = ("example.org", "example.com", "example.net", "example", "masociete.com")
_PUBLISHED_KEYS = frozenset({"a296464ce012b8ab710a"})
_FAR_TOO_MANY, _MANY = 2**24, 2**16
_SEEN_ELSEWHERE = "everybody on this machine can read"  # `rights` says it, of more files


async def examine(subject: Subject) -> AsyncIterator[Finding]:
    """Yield what is doubtful; that it can be read at all was seen before."""
    config = subject.config
    findings = [
        *(
            _says.warning(f"{warning.path}: {warning.message}", "change it, unless it is meant")
            for warning in config.warnings
            if _SEEN_ELSEWHERE not in warning.message
        ),
        *_look_for_examples(config),
        *_look_at_accounts(config),
    ]
    for entrance in find_entrances(config.smtp):
        faces = [listen for listen in entrance.listen if not await _is_local(parse_listen(listen)[0])]
        if faces:
            findings += _look_at_entrance(config, entrance, faces)
    listen = config.http.listen
    if listen is not None and not await _is_local(split_listen(listen)[0]):
        todo = 'listen on "127.0.0.1:8025", and let a reverse proxy pass on /receipts/ alone'
        what = enumerate_names(_what_http_shows(config))
        findings.append(_says.warning(f"[http] {listen}: {what} can be read from other machines", todo))
    if not findings:
        findings = [_says.ok("nothing doubtful in it")]
    for finding in findings:
        yield finding


def _what_http_shows(config: Config) -> list[str]:
    shown = ["health", "metrics"]
    if any(user.roles for user in config.users):
        shown.append("the console's door")
    return [*shown, "the interface for programs"] if config.http.tokens else shown


def _look_at_entrance(config: Config, entrance: Entrance, faces: list[str]) -> Iterator[Finding]:
    where = f'listener "{entrance.name}" ({", ".join(faces)})'
    with_auth = entrance.offers_auth and has_users(config) and entrance.tls is not Tls.NONE
    trusted = _trusted(config, entrance)
    strangers = count_public(trusted)
    if strangers >= _FAR_TOO_MANY:
        yield _says.failure(
            f"{where} trusts {strangers:,} public addresses without a password: whoever learns a keyid can send",
            "name the networks that are really meant, and let everybody else authenticate ([[users]], smtp_auth)",
        )
    elif strangers >= _MANY:
        yield _says.warning(
            f"{where} trusts {strangers:,} public addresses without a password",
            "are they all yours? Name fewer, and let others authenticate",
        )
    if entrance.tls is Tls.NONE and entrance.offers_auth and has_users(config):
        yield _says.note(
            f"{where} has no TLS, so nobody can give a password there", "write [smtp.starttls], or auth = false for it"
        )
    if not entrance.requires_tls and strangers and not all(account.require_tls for account in config.accounts):
        yield _says.warning(
            f"{where} takes mail of public addresses in clear: keys and texts can be read on the way",
            "write require_tls = true for it"
            if entrance.tls is not Tls.NONE
            else "write [smtp.starttls] with a certificate",
        )
    if not entrance.networks and not with_auth and not any(account.networks for account in config.accounts):
        yield _says.note(f"{where} trusts no network and takes no password", "see in the table who may send there")


def _look_at_accounts(config: Config) -> Iterator[Finding]:
    unproven = find_unproven(config, show(config))
    if unproven:
        yield _says.failure(
            f"nobody can send for {enumerate_names(unproven)}: nothing in `auth` can be proven at any listener",
            "give it networks, a user in [[users]] and TLS, or another method; see the table of listeners",
        )
    for account in config.accounts:
        keys = {one.get_secret_value() for one in (account.keyid, account.previous_keyid) if one is not None}
        if keys & _PUBLISHED_KEYS:
            yield _says.failure(
                f'a keyid of account "{account.name}" stands in the document of the protocol: everybody knows it',
                "mail2sms account rotate says how to change it; take previous_keyid out when no client uses it",
            )
        foreign = [domain for domain in account.report_domains if not _is_own(account, domain)]
        if foreign:
            yield _says.note(
                f'reports of account "{account.name}" may go to {enumerate_names(foreign)}, not domains of its own',
                "take it out unless it is meant: who sends may have mail sent there",
            )
        if len(account.countries) > 10:
            yield _says.warning(
                f'account "{account.name}" may send to {len(account.countries)} countries',
                "name those it needs: foreign ranges are what fraud goes for",
            )


def _look_for_examples(config: Config) -> Iterator[Finding]:
    """What `init` and the manual write stands for something else."""
    named = {
        "hostname in [smtp]": [config.smtp.hostname or ""],
        "recipients in [smtp]": [address.rpartition("@")[2] for address in config.smtp.recipients],
        "sender in [reports]": [config.reports.sender.rpartition("@")[2]],
        "public_url in [http]": [
            (config.http.public_url or "").partition("://")[2].partition("/")[0].partition(":")[0]
        ],
    }
    for account in config.accounts:
        named[f'domains of account "{account.name}"'] = [domain.removeprefix("*.") for domain in account.domains]
    still = [where for where, domains in named.items() if any(_is_example(domain) for domain in domains)]
    if still:
        yield _says.warning(
            f"still as in the example: {'; '.join(still)}",
            "write your own: nobody's mail comes to, or from, an example",
        )
    clash = own_addresses(config) & {account.mail.lower() for account in config.accounts if account.mail}
    if clash:
        yield _says.warning(f"{enumerate_names(sorted(clash))} is an address of this gateway", "write a person's")


def _is_example(domain: str) -> bool:
    return any(domain.lower() == example or domain.lower().endswith(f".{example}") for example in _EXAMPLES)


def _is_own(account: Account, domain: str) -> bool:
    bare = domain.removeprefix("*.")
    return account.owns_domain(bare) or domain in account.domains or account.owns_domain(f"x.{bare}")


def _trusted(config: Config, entrance: Entrance) -> list[Network]:
    """Return every network that proves some account there by its address alone."""
    found: list[Network] = []
    for account in config.accounts:
        if any(method.value == "network" for method in account.auth):
            found += account.networks or entrance.networks
    return found


def count_public(networks: Sequence[Network]) -> int:
    """Return how many public addresses there are in these networks; of IPv6 the networks of clients (/64)."""
    four = [network for network in networks if isinstance(network, IPv4Network)]
    six = [network for network in networks if isinstance(network, IPv6Network)]
    number = sum(network.num_addresses for network in collapse_addresses(four) if not network.is_private)
    number += sum(max(1, 2 ** (64 - network.prefixlen)) if network.prefixlen <= 64 else 1 for network in _public(six))
    return number


def _public(networks: list[IPv6Network]) -> Iterator[IPv6Network]:
    return (network for network in collapse_addresses(networks) if not network.is_private)


async def _is_local(host: str) -> bool:
    """Tell whether nobody but this machine can connect there."""
    try:
        return ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        pass
    try:
        return all(ip_address(address[0]).is_loopback for _family, address in await resolve(host, 0))
    except (OSError, ValueError):
        return False
