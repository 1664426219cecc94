"""One question to one DNS server, for whoever wants to know how it answers, and not only what."""

from dataclasses import dataclass

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.resolver

from gateway.clock import Clock
from gateway.identity.settings import SenderSettings, parse_server


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAnswer:
    """What came back; `rcode` is None when nothing did."""

    rcode: str | None
    records: int = 0
    is_validated: bool = False  # the server says that it has checked the signatures (AD)
    duration_ms: float = 0.0


def list_servers(settings: SenderSettings) -> list[tuple[str, int]]:
    """Return the servers that are asked: those of the settings, else the machine's; none where there are none."""
    if settings.dns_servers:
        return [parse_server(server) for server in settings.dns_servers]
    try:
        resolver = dns.resolver.Resolver(configure=True)
    except dns.exception.DNSException:
        return []
    return [(str(server), resolver.port) for server in resolver.nameservers]


async def ask_server(server: tuple[str, int], name: str, kind: str, *, limit_s: float, clock: Clock) -> ServerAnswer:
    """Return how this server answers; over TCP when the answer is too long for UDP. Never raises for what it does."""
    query = dns.message.make_query(dns.name.from_text(name), kind, use_edns=0, payload=1232)
    query.flags |= dns.flags.AD  # RFC 6840 §5.7: we would like to know
    began_at = clock.monotonic()
    try:
        answer, _ = await dns.asyncquery.udp_with_fallback(query, server[0], timeout=limit_s, port=server[1])
    except (dns.exception.DNSException, OSError, EOFError):
        return ServerAnswer(rcode=None, duration_ms=(clock.monotonic() - began_at) * 1000)
    wanted = dns.rdatatype.from_text(kind)
    return ServerAnswer(
        rcode=dns.rcode.to_text(answer.rcode()),
        records=sum(len(one) for one in answer.answer if one.rdtype == wanted),
        is_validated=bool(answer.flags & dns.flags.AD),
        duration_ms=(clock.monotonic() - began_at) * 1000,
    )
