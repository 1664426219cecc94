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

SERVFAIL, SILENT, SLOW, TRUNCATED = "SERVFAIL", "SILENT", "SLOW", "TRUNCATED"
_SLOW_S = 0.1
_BINDS = 20
"""A port that is free for UDP may not be for TCP: so many are tried."""


class DnsServer(asyncio.DatagramProtocol):
    """Answers from `zone`: {(name, kind): records}; a name whose records are SERVFAIL or SILENT is answered so.

    `asked` counts the questions, over UDP and TCP, by name; one that is only sent again is the same question.
    """

    address: tuple[str, int]

    def __init__(self) -> None:
        self.zone: dict[tuple[str, str], list[str] | str] = {}
        self.manners: dict[tuple[str, str], str] = {}
        self.asked: Counter[str] = Counter()
        self._seen: set[tuple[int, str, str, bool]] = set()

    def add(self, name: str, kind: str, *records: str) -> None:
        """The name has these records; a TXT is written without quotes."""
        quoted = [f'"{part}"' for record in records for part in [record]] if kind == "TXT" else list(records)
        self.zone[name, kind] = [_in_pieces(one) for one in quoted]

    def break_name(self, name: str, kind: str, how: str) -> None:
        """Questions for the name go wrong: SERVFAIL or SILENT."""
        self.zone[name, kind] = how

    def delay(self, name: str, kind: str, how: str) -> None:
        """What the name has comes late (SLOW), or whole over TCP alone (TRUNCATED)."""
        self.manners[name, kind] = how

    @property
    def server(self) -> str:
        """As `dns_servers` takes it."""
        return "{}:{}".format(*self.address)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)
        self.address = transport.get_extra_info("sockname")

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        query = dns.message.from_wire(data)
        answer = self.answer(query, over_tcp=False)
        if answer is None:
            return
        manner = self.manners.get(_asked(query))
        if manner == TRUNCATED:
            answer.answer.clear()
            answer.flags |= dns.flags.TC
        if manner == SLOW:
            asyncio.get_running_loop().call_later(_SLOW_S, self._transport.sendto, answer.to_wire(), addr)
        else:
            self._transport.sendto(answer.to_wire(), addr)

    async def serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one question."""
        try:
            size = int.from_bytes(await reader.readexactly(2), "big")
            answer = self.answer(dns.message.from_wire(await reader.readexactly(size)), over_tcp=True)
            if answer is not None:
                content = answer.to_wire()
                writer.write(len(content).to_bytes(2, "big") + content)
        except asyncio.IncompleteReadError:
            pass  # who asked has lost patience
        finally:
            writer.close()

    def answer(self, query: dns.message.Message, *, over_tcp: bool) -> dns.message.Message | None:
        """Return what is said, as far as it is known; None: nothing."""
        name, kind = _asked(query)
        question = (query.id, name, kind, over_tcp)
        if question not in self._seen:
            self._seen.add(question)
            self.asked[name] += 1
        found = self.zone.get((name, kind))
        if found == SILENT:
            return None
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        if found == SERVFAIL:
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif isinstance(found, list):
            answer.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", kind, *found))
        elif not any(known == name for known, _ in self.zone):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        return answer


def _asked(query: dns.message.Message) -> tuple[str, str]:
    question = query.question[0]
    return str(question.name).rstrip(".").lower(), dns.rdatatype.to_text(question.rdtype)


def _in_pieces(text: str) -> str:
    """A TXT of more than 255 octets is several texts."""
    if not text.startswith('"'):
        return text
    inside = text[1:-1]
    return " ".join(f'"{inside[start : start + 200]}"' for start in range(0, len(inside), 200))


@asynccontextmanager
async def dns_server() -> AsyncIterator[DnsServer]:
    """Serve on a free port, over UDP and TCP, until the end of the block."""
    loop = asyncio.get_running_loop()
    for attempt in range(_BINDS):
        transport, server = await loop.create_datagram_endpoint(DnsServer, local_addr=("127.0.0.1", 0))
        try:
            whole = await asyncio.start_server(server.serve_tcp, *server.address)
            break
        except OSError:
            transport.close()
            if attempt == _BINDS - 1:
                raise
    try:
        yield server
    finally:
        whole.close()
        transport.close()
