"""What the DNS says, with a deadline, and what it cannot say now kept apart from what there is not.

Diagnostics: `DnsSilent` for everything that may be otherwise later; `DnsUnusable` when no server is known.
"""

import dns.asyncresolver
import dns.exception
import dns.name
import dns.nameserver
import dns.resolver
from spftrace.resolver import NOERROR, NXDOMAIN, SERVFAIL, BaseResolver

from gateway.errors import GatewayError
from gateway.identity.settings import SenderSettings, parse_server

_ONE_TRY_S = 1.0
_CACHED_NAMES = 1_000


class DnsSilent(GatewayError):
    """No answer, or a server's own trouble: ask again later."""

    temporary = True


class DnsUnusable(GatewayError):
    """There is no server to ask."""


class Names:
    """Asks the configured servers; answers are kept for as long as they say."""

    def __init__(self, settings: SenderSettings) -> None:
        """Raises DnsUnusable."""
        try:
            self._resolver = dns.asyncresolver.Resolver(configure=not settings.dns_servers)
        except dns.exception.DNSException as error:
            raise DnsUnusable("this machine names no DNS server: write dns_servers in [senders]") from error
        if settings.dns_servers:
            servers = (parse_server(server) for server in settings.dns_servers)
            self._resolver.nameservers = [dns.nameserver.Do53Nameserver(host, port) for host, port in servers]
        self._resolver.timeout = min(_ONE_TRY_S, settings.dns_timeout_s)
        self._resolver.lifetime = settings.dns_timeout_s
        self._resolver.cache = dns.resolver.LRUCache(_CACHED_NAMES)

    async def find(self, name: str, kind: str) -> tuple[bytes, ...] | None:
        """Return the records, TXT joined; None: there is no such name. Raises DnsSilent."""
        try:
            absolute = dns.name.from_text(name if name.endswith(".") else f"{name}.")
        except (dns.exception.DNSException, UnicodeError):  # nothing can be called that
            return None
        try:
            answer = await self._resolver.resolve(absolute, kind, raise_on_no_answer=False)
        except dns.resolver.NXDOMAIN:
            return None
        except (dns.exception.DNSException, OSError) as error:
            raise DnsSilent(f"no answer for {kind} of {name}") from error
        records = answer.rrset or ()
        match kind:
            case "TXT":
                return tuple(b"".join(record.strings) for record in records)
            case "MX":
                return tuple(str(record.exchange).rstrip(".").encode() for record in records)
            case "PTR":
                return tuple(str(record.target).rstrip(".").encode() for record in records)
            case _:
                return tuple(record.address.encode() for record in records)


class NamesForSpf(BaseResolver):
    """The same, as spftrace asks."""

    def __init__(self, names: Names) -> None:
        self._names = names

    async def _lookup(self, name: str, rtype: str) -> tuple[str, list[str]]:
        try:
            found = await self._names.find(name, rtype)
        except DnsSilent:
            return SERVFAIL, []
        if found is None:
            return NXDOMAIN, []
        return NOERROR, [record.decode("utf-8", "replace") for record in found]
