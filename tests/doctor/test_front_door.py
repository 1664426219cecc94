"""Addresses: free, the gateway's own, somebody else's, or none of this machine."""

import asyncio
import errno
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from gateway.config import Config
from gateway.daemon.ownership import sole_owner
from gateway.doctor import Level, Section, dialogue
from gateway.doctor.front_door import _why_not_bound
from tests.doctor.conftest import Write, find, levels, look, told
from tests.smtp.house import RememberingHandler, make_certificate, open_house
from tests.support.rawhttp import RawServer, answer

PORTS, LISTENERS, TLS = Section.PORTS, Section.LISTENERS, Section.TLS


@contextmanager
def taken_port() -> Iterator[int]:
    """A port that is ours and that nobody answers on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def free_port() -> int:
    with taken_port() as port:
        return port


@asynccontextmanager
async def server_saying(words: bytes) -> AsyncIterator[int]:
    """Whoever connects hears this, and no more."""

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(words)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def on(port: int, **more: object) -> dict[str, object]:
    return {"listen": [f"127.0.0.1:{port}"], **more}


async def test_free_addresses_are_fine_and_stay_free(write: Write) -> None:
    smtp, http = free_port(), free_port()
    config = write(smtp=on(smtp), http={"listen": f"127.0.0.1:{http}"})

    checkup = await look(config, PORTS)

    assert find(checkup, f"127.0.0.1:{smtp} (smtp): free").level is Level.OK
    assert find(checkup, f"127.0.0.1:{http} (http): free").level is Level.OK
    for port in (smtp, http):
        socket.create_server(("127.0.0.1", port)).close()


async def test_a_free_port_at_each_start_is_noted(write: Write) -> None:
    checkup = await look(write(http={"listen": "127.0.0.1:0"}), PORTS)

    assert levels(checkup) == {Level.NOTE}


async def test_another_mail_server_is_named(write: Write) -> None:
    async with server_saying(b"220 mail.example ESMTP Exim 4.96\r\n250 mail.example Hello\r\n221 bye\r\n") as port:
        finding = find(await look(write(smtp=on(port)), PORTS), "another mail server")

    assert finding.level is Level.FAILURE
    assert "220 mail.example ESMTP Exim 4.96" in finding.what
    assert finding.todo is not None
    assert "another port" in finding.todo


@pytest.mark.parametrize("words", [b"SSH-2.0-OpenSSH_9.2p1\r\n", b"554 go away\r\n", b""], ids=["ssh", "554", "closes"])
async def test_whatever_else_listens_there_is_a_failure(write: Write, words: bytes) -> None:
    async with server_saying(words or b"\xff\xfe\n") as port:
        checkup = await look(write(smtp=on(port)), PORTS)

    assert checkup.worst is Level.FAILURE


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialogue, "BANNER_S", 1.0)


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
async def test_who_never_answers_is_a_failure_in_time(write: Write) -> None:
    with taken_port() as port:
        finding = find(await look(write(smtp=on(port)), PORTS), "taken")

    assert finding.level is Level.FAILURE
    assert "no answer in time" in finding.what


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
async def test_a_gateway_that_hangs_is_told_from_others(write: Write) -> None:
    with taken_port() as port:
        config = write(smtp=on(port))
        with sole_owner(config.path.parent / "gateway.db"):
            finding = find(await look(config, PORTS), "listens there and does not answer")

    assert finding.level is Level.FAILURE
    assert "restart it" in (finding.todo or "")


_SUPERVISOR = """
import select, socket, sys
open("/proc/self/comm", "w").write("systemd")
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
came, _, _ = select.select([server, sys.stdin], [], [])
print("visited" if server in came else "left alone", flush=True)
"""


@pytest.mark.slow
async def test_a_socket_that_systemd_holds_is_not_visited(write: Write) -> None:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", _SUPERVISOR, stdin=pipe, stdout=pipe)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            port = int(await process.stdout.readline())
            checkup = await look(write(smtp=on(port)), PORTS)
            said, _ = await process.communicate(b"\n")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

    assert find(checkup, "systemd listens there").level is Level.OK
    assert said == b"left alone\n"


async def test_a_postfix_with_our_banner_is_not_ours(write: Write) -> None:
    said = b"220 gw.example.org ESMTP\r\n250-gw.example.org\r\n250-PIPELINING\r\n250-SIZE 10485760\r\n250-VRFY\r\n"
    async with server_saying(said + b"250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n221 bye\r\n") as port:
        checkup = await look(write(smtp=on(port)), PORTS)

    assert find(checkup, "another mail server").level is Level.FAILURE


async def test_an_address_of_another_machine_is_a_failure(write: Write) -> None:
    checkup = await look(write(smtp={"listen": ["192.0.2.1:2525"]}), PORTS)

    assert find(checkup, "192.0.2.1:2525", "no such address").level is Level.FAILURE


def test_a_privileged_port_says_which_capability_is_missing() -> None:
    finding = _why_not_bound("0.0.0.0:25 (smtp)", 25, PermissionError(errno.EACCES, "Permission denied"))

    assert finding.level is Level.FAILURE
    assert "CAP_NET_BIND_SERVICE" in (finding.todo or "")


async def test_a_gateway_of_this_configuration_is_recognised(write: Write, tmp_path: Path) -> None:
    pem = make_certificate(tmp_path)
    first = write(smtp={"starttls": pem.as_settings(certificate=str(pem.certificate), key=str(pem.key))})
    async with open_house(RememberingHandler(), first.smtp) as house:
        port = house.address[1]
        config = write(smtp=on(port, starttls={"certificate": str(pem.certificate), "key": str(pem.key)}))
        checkup = await look(config, PORTS, LISTENERS, TLS)

    assert find(checkup, "the gateway answers: 220 gw.example.org ESMTP").level is Level.OK
    assert find(checkup, "shows in clear", "STARTTLS").level is Level.OK
    assert find(checkup, "shows over TLS").level is Level.OK
    assert find(checkup, "serves the certificate of the file").level is Level.OK


async def test_a_gateway_of_another_configuration_is_told_from_it(write: Write) -> None:
    async with open_house(RememberingHandler(), write().smtp) as house:
        port = house.address[1]
        checkup = await look(
            write(smtp=on(port, hostname="other.example.org", max_mail_bytes=2_000_000)), PORTS, LISTENERS
        )

    assert find(checkup, 'calls itself "gw.example.org" instead of "other.example.org"').level is Level.WARNING
    assert "lacks SIZE 2000000 and has SIZE 10485760" in find(checkup, "in clear").what


async def test_a_certificate_that_was_renewed_and_not_taken_up_is_seen(write: Write, tmp_path: Path) -> None:
    pem = make_certificate(tmp_path)
    starttls = {"certificate": str(pem.certificate), "key": str(pem.key)}
    async with open_house(RememberingHandler(), write(smtp={"starttls": starttls}).smtp) as house:
        make_certificate(tmp_path)
        checkup = await look(write(smtp=on(house.address[1], starttls=starttls)), TLS)

    finding = find(checkup, "serves another certificate")
    assert finding.level is Level.WARNING
    assert "SIGHUP" in (finding.todo or "")


async def test_listeners_for_others_turn_this_machine_away_as_they_should(write: Write) -> None:
    listeners: list[dict[str, object]] = [
        {"name": "old", "profile": "legacy", "networks": ["192.168.7.0/24"]},
        {"name": "proxied", "proxies": ["10.9.9.9/32"]},
    ]
    first = write(smtp={"listen": [], "listeners": [{**one, "listen": ["127.0.0.1:0"]} for one in listeners]})
    async with open_house(RememberingHandler(), first.smtp) as house:
        bound = [
            {**one, "listen": [f"127.0.0.1:{address[1]}"]}
            for one, address in zip(listeners, house.addresses, strict=True)
        ]
        checkup = await look(write(smtp={"listen": [], "listeners": bound}), PORTS)

    assert [one.level for one in checkup.findings if "as it should" in one.what] == [Level.OK, Level.OK]
    assert Level.FAILURE not in levels(checkup)


def http_on(port: int, **more: object) -> dict[str, object]:
    return {"listen": f"127.0.0.1:{port}", **more}


async def look_at_http(write: Write, server: RawServer, **more: object) -> list[str]:
    config: Config = write(http=http_on(server.port, **more))
    return told(await look(config, PORTS))


async def test_the_health_of_the_gateway_is_asked_for(write: Write) -> None:
    async with RawServer(
        pieces_for=lambda request: [answer(b"ok\n" if "/livez" in request.head else b"ready\n")]
    ) as ours:
        ready = await look_at_http(write, ours, public_url=ours.url)
    reasons = answer(b"the store does not answer\n", status="503 Service Unavailable")
    async with RawServer(
        pieces_for=lambda request: [answer(b"ok\n") if "/livez" in request.head else reasons]
    ) as unready:
        not_ready = await look_at_http(write, unready)

    assert any("the gateway answers, and is ready" in line for line in ready)
    assert any("leads to the gateway" in line for line in ready)
    assert any("not ready: the store does not answer" in line for line in not_ready)


async def test_another_web_server_is_no_gateway(write: Write) -> None:
    async with RawServer(answer(b"<h1>It works!</h1>")) as apache:
        lines = await look_at_http(write, apache, public_url=apache.url)

    assert any("it is not the gateway that answers" in line for line in lines)
    assert any("cannot be told" in line for line in lines)


async def test_what_stands_before_a_gateway_that_does_not_run_is_told(write: Write) -> None:
    async with RawServer(answer(b"", status="502 Bad Gateway")) as proxy:
        checkup = await look(write(http=http_on(free_port(), public_url=proxy.url)), PORTS)

    assert find(checkup, "answers 502", "no gateway runs").level is Level.WARNING


async def test_a_public_url_that_cannot_be_reached_from_here_is_unknown(write: Write) -> None:
    checkup = await look(write(http=http_on(free_port(), public_url=f"http://127.0.0.1:{free_port()}")), PORTS)

    assert find(checkup, "public_url").level is Level.UNKNOWN
