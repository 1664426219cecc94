"""The DNS: what is asked of it, and what is said when it does not answer."""

import asyncio
from typing import cast

import dns.flags
import dns.message
import pytest

from gateway.doctor import Level, Section
from tests.doctor.conftest import Write, find, levels, look, told
from tests.support.dns import SERVFAIL, SILENT, DnsServer
from tests.support.rawhttp import closed_port

DNS = Section.DNS


async def test_a_server_that_answers_is_fine(write: Write, zone: DnsServer) -> None:
    zone.add("gw.example.org", "MX", "10 mail.example.org.")
    checkup = await look(write(), DNS)

    assert find(checkup, "answers within").level is Level.OK
    assert find(checkup, "hostname gw.example.org is 192.0.2.25").level is Level.OK
    assert find(checkup, "mail for gw.example.org goes to mail.example.org (MX)").level is Level.OK
    assert find(checkup, "DNSSEC").level is Level.NOTE


class Validating(asyncio.DatagramProtocol):
    """Knows nothing, and says that it has checked that."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        answer = dns.message.make_response(dns.message.from_wire(data))
        answer.flags |= dns.flags.RA | dns.flags.AD
        self._transport.sendto(answer.to_wire(), addr)


async def test_a_server_that_checks_signatures_is_told(write: Write) -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Validating, local_addr=("127.0.0.1", 0))
    server = "{}:{}".format(*transport.get_extra_info("sockname"))
    try:
        checkup = await look(write(senders={"dns_servers": [server]}), DNS)
    finally:
        transport.close()

    assert find(checkup, "checks signatures").level is Level.OK


async def test_a_hostname_that_is_not_there_is_a_warning(write: Write) -> None:
    checkup = await look(write(smtp={"hostname": "gone.example.org"}), DNS)

    assert find(checkup, "no address of gone.example.org").level is Level.WARNING


@pytest.mark.slow
@pytest.mark.parametrize(("auth", "level"), [("network", Level.WARNING), ("dkim", Level.FAILURE)])
async def test_a_dead_server_is_as_bad_as_it_is_needed(write: Write, auth: str, level: Level) -> None:
    dead = f"127.0.0.1:{await closed_port()}"
    checkup = await look(write(senders={"dns_servers": [dead]}, account={"auth": [auth]}), DNS)

    assert find(checkup, "does not answer").level is level
    assert len(told(checkup)) == 1


@pytest.mark.slow
async def test_a_silent_server_beside_one_that_answers_is_named(write: Write, zone: DnsServer) -> None:
    silent = f"127.0.0.1:{await closed_port()}"
    checkup = await look(write(senders={"dns_servers": [zone.server, silent]}), DNS)

    assert find(checkup, f"port {silent.rpartition(':')[2]} does not answer").level is Level.WARNING
    assert find(checkup, "hostname gw.example.org is").level is Level.OK


async def test_what_dkim_and_spf_will_ask_for_is_asked(write: Write, zone: DnsServer) -> None:
    zone.add("masociete.com", "TXT", "v=spf1 ip4:192.0.2.0/24 -all")
    zone.add("twice.example", "TXT", "v=spf1 -all", "v=spf1 +all")
    zone.break_name("broken.example", "TXT", SERVFAIL)
    account = {"auth": ["spf"], "domains": ["masociete.com", "*.twice.example", "broken.example", "none.example"]}
    checkup = await look(write(account=account), DNS)

    assert find(checkup, "masociete.com: the DNS answers, and it has an SPF record").level is Level.OK
    assert find(checkup, "twice.example", "2 SPF records").level is Level.NOTE
    assert find(checkup, "broken.example").level is Level.FAILURE
    assert find(checkup, "none.example", "no SPF record").level is Level.NOTE


@pytest.mark.slow
async def test_a_name_that_is_never_answered_is_unknown(write: Write, zone: DnsServer) -> None:
    for kind in ("MX", "A", "AAAA"):
        zone.break_name("quiet.example", kind, SILENT)
    checkup = await look(write(smtp={"recipients": ["sms@quiet.example"]}), DNS)

    assert find(checkup, "mail for quiet.example").level is Level.UNKNOWN
    assert Level.FAILURE not in levels(checkup)
