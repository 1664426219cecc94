"""A DNS server on loopback that knows what it is told, and misbehaves by name."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

SERVFAIL, SILENT = "SERVFAIL", "SILENT"


class DnsServer(asyncio.DatagramProtocol):
    """Answers from `zone`: {(name, kind): records}; a name whose records are SERVFAIL or SILENT is answered so."""

    address: tuple[str, int]

    def __init__(self) -> None:
        self.zone: dict[tuple[str, str], list[str] | str] = {}
        self.asked: Counter[str] = Counter()

    def add(self, name: str, kind: str, *records: str) -> None:
        """The name has these records; a TXT is written without quotes."""
        quoted = [f'"{part}"' for record in records for part in [record]] if kind == "TXT" else list(records)
        self.zone[name, kind] = [_in_pieces(one) for one in quoted]

    def break_name(self, name: str, kind: str, how: str) -> None:
        """Questions for the name go wrong."""
        self.zone[name, kind] = how

    @property
    def server(self) -> str:
        """As `dns_servers` takes it."""
        return "{}:{}".format(*self.address)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)
        self.address = transport.get_extra_info("sockname")

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name, kind = str(question.name).rstrip(".").lower(), dns.rdatatype.to_text(question.rdtype)
        self.asked[name] += 1
        found = self.zone.get((name, kind))
        if found == SILENT:
            return
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        if found == SERVFAIL:
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif isinstance(found, list):
            answer.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *found))
        elif not any(known == name for known, _ in self.zone):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        self._transport.sendto(answer.to_wire(), addr)


def _in_pieces(text: str) -> str:
    """A TXT of more than 255 octets is several texts."""
    if not text.startswith('"'):
        return text
    inside = text[1:-1]
    return " ".join(f'"{inside[start : start + 200]}"' for start in range(0, len(inside), 200))


@asynccontextmanager
async def dns_server() -> AsyncIterator[DnsServer]:
    """Serve on a free port until the end of the block."""
    transport, server = await asyncio.get_running_loop().create_datagram_endpoint(
        DnsServer, local_addr=("127.0.0.1", 0)
    )
    try:
        yield server
    finally:
        transport.close()
