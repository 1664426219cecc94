"""The PROXY protocol: believed from listed proxies, and an error from anybody else."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.smtp import replies
from gateway.smtp.listener import CONNECTIONS
from gateway.smtp.proxy_header import BadHeader, Brought, read_header
from gateway.smtp.settings import SmtpSettings
from tests.smtp.house import (
    MAIL,
    OPENING,
    Client,
    House,
    Pem,
    RememberingHandler,
    client_context,
    open_house,
    smtp_settings,
    until,
)

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 25\r\n"
LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def v2(body: bytes, *, command: int = 0x21, family: int = 0x11, length: int | None = None) -> bytes:
    return SIGNATURE + bytes([command, family]) + (len(body) if length is None else length).to_bytes(2, "big") + body


FOUR = IPv4Address("192.0.2.7").packed + IPv4Address("198.51.100.1").packed + b"\x9c\x40\x00\x19"
SIX = IPv6Address("2001:db8::7").packed + IPv6Address("2001:db8::1").packed + b"\x9c\x40\x00\x19"


def behind(*proxies: str, **changes: object) -> SmtpSettings:
    listener = {"name": "proxied", "listen": ["127.0.0.1:0"], "proxies": proxies or ["127.0.0.0/8"]}
    return smtp_settings(listen=[], listeners=[listener | dict(changes.pop("listener", {}))], **changes)  # type: ignore[call-overload]


async def read(content: bytes) -> Brought:
    near, far = socket.socketpair()
    with near, far:
        near.settimeout(0)
        far.sendall(content)
        far.shutdown(socket.SHUT_WR)
        async with asyncio.timeout(5):
            return await read_header(near)


# --- what it says ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (V1, "192.0.2.7"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 1 65535\r\n", "2001:db8::7"),
        (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 25\r\n", "192.0.2.7"),
        (b"PROXY UNKNOWN\r\n", None),
        (b"PROXY UNKNOWN ffff::1 ::1 1 2\r\n", None),
        (v2(FOUR), "192.0.2.7"),
        (v2(SIX, family=0x21), "2001:db8::7"),
        (v2(FOUR + b"\x04\x00\x01\x00"), "192.0.2.7"),
        (v2(b"", command=0x20, family=0), None),
        (v2(FOUR, command=0x20), None),
    ],
)
async def test_header_says_whom_the_proxy_brings(header: bytes, expected: str | None) -> None:
    assert await read(header + b"EHLO c\r\n") == Brought(client=None if expected is None else ip_address(expected))


@pytest.mark.parametrize(
    "header",
    [
        b"EHLO client.example\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 40000\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 25\n",
        b"PROXY TCP4 192.0.2.7  198.51.100.1 40000 25\r\n",
        b"PROXY TCP4 192.0.2.999 198.51.100.1 40000 25\r\n",
        b"PROXY TCP4 ::1 ::1 40000 25\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 65536\r\n",
        b"PROXY UDP4 192.0.2.7 198.51.100.1 40000 25\r\n",
        b"PROXY UNKNOWN" + b"x" * 200 + b"\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 25",
        SIGNATURE,
        v2(FOUR, command=0x11),
        v2(FOUR, command=0x22),
        v2(FOUR, family=0x12),
        v2(FOUR[:11]),
        v2(SIX[:35], family=0x21),
        v2(b"/run/socket".ljust(216, b"\0"), family=0x31),
        v2(FOUR, length=13),
        v2(FOUR.ljust(2_049, b"\0")),
    ],
    ids=lambda header: repr(header[:40]),
)
async def test_what_is_no_header_is_refused(header: bytes) -> None:
    with pytest.raises(BadHeader):
        await read(header)


@pytest.mark.slow
@given(junk=st.binary(max_size=150), start=st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, v2(b"")[:14]]))
@settings(max_examples=200, deadline=None)
def test_junk_is_a_header_or_is_refused(start: bytes, junk: bytes) -> None:
    async def outcome() -> bool:
        try:
            await read(start + junk)
        except BadHeader:
            return True
        return True

    assert asyncio.run(outcome())


# --- who may say it --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("header", [V1, v2(FOUR)], ids=["v1", "v2"])
def test_address_the_proxy_brings_is_the_clients(loop_factory: LoopFactory, header: bytes) -> None:
    handler = RememberingHandler()

    async def scenario() -> None:
        async with open_house(handler, behind()) as house, await house.connect() as client:
            await client.send(header + OPENING + MAIL + b".\r\nQUIT\r\n")
            lines = await client.rest()

            assert [line[:3] for line in lines if line[3:4] == " "] == ["220", "250", "250", "250", "354", "250", "221"]

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario())

    assert [(mail.peer, mail.listener) for mail in handler.stored] == [("192.0.2.7", "proxied")]


async def test_header_from_who_is_no_proxy_is_not_even_read() -> None:
    async with open_house(RememberingHandler(), behind("192.0.2.0/24")) as house, await house.connect() as client:
        assert await client.rest() == [str(replies.PROXIES_ONLY)]


@pytest.mark.parametrize("header", [V1, v2(FOUR)], ids=["v1", "v2"])
async def test_header_where_none_is_expected_ends_the_connection(header: bytes) -> None:
    handler = RememberingHandler()
    async with open_house(handler) as house, await house.greeted() as client:
        await client.send(header + OPENING + MAIL + b".\r\n")

        assert (await client.rest())[-1] == str(replies.NOT_SMTP)
    assert not handler.begun


async def test_proxy_that_says_no_header_is_closed_and_counted() -> None:
    before = CONNECTIONS.labels("bad_proxy_header")._value.get()
    async with open_house(RememberingHandler(), behind()) as house, await house.connect() as client:
        await client.send(OPENING)

        with contextlib.suppress(ConnectionResetError):  # what it sent is not read
            assert await client.reader.read() == b""
    assert CONNECTIONS.labels("bad_proxy_header")._value.get() == before + 1


async def test_proxy_that_says_nothing_is_given_up() -> None:
    async with (
        open_house(RememberingHandler(), behind(proxy_timeout_s=0.05)) as house,
        await house.connect() as client,
    ):
        await client.send(V1[:-1])

        assert await client.reader.read() == b""


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", v2(b"", command=0x20, family=0)], ids=["v1", "v2"])
async def test_proxy_that_looks_after_us_is_answered_and_cannot_send(header: bytes) -> None:
    """Its own address is on loopback, and so would be trusted."""
    async with open_house(RememberingHandler(), behind()) as house, await house.connect() as client:
        await client.send(header)
        await client.reply()
        await client.ask(b"EHLO c")

        assert await client.ask(b"MAIL FROM:<a@masociete.com>") == str(replies.NO_ADDRESS)
        assert await client.ask(b"QUIT") == str(replies.BYE)


async def connect(house: House, header: bytes) -> Client:
    client = await house.connect()
    await client.send(header)
    return client


async def test_limits_count_whom_the_proxy_brings() -> None:
    other = V1.replace(b"192.0.2.7", b"192.0.2.8")
    async with (
        open_house(RememberingHandler(), behind(max_connections_per_client=1)) as house,
        await connect(house, V1) as first,
        await connect(house, other) as second,
    ):
        assert (await first.reply()).startswith("220 ")
        assert (await second.reply()).startswith("220 ")
        async with await connect(house, V1) as third:
            assert await third.rest() == [str(replies.TOO_MANY_FROM_CLIENT)]


async def test_connections_without_a_header_count_too() -> None:
    async with (
        open_house(RememberingHandler(), behind(max_connections=2)) as house,
        await house.connect(),
        await house.connect(),
        await house.connect() as third,
    ):
        assert await third.rest() == [str(replies.TOO_MANY_CONNECTIONS)]


async def test_tls_may_come_first_behind_a_proxy(pem: Pem) -> None:
    handler = RememberingHandler()
    settings_of_both = behind(listener={"tls": "implicit"}, starttls=pem.as_settings())
    async with open_house(handler, settings_of_both) as house, await house.connect() as client:
        client.writer.write(V1)  # the handshake follows at once, as a proxy would pass it on
        await client.begin_tls(client_context(pem))
        await client.begin_data()
        await client.ask(MAIL + b".")

    assert [mail.peer for mail in handler.stored] == ["192.0.2.7"]


async def test_handshakes_count_against_the_limit_of_their_client(pem: Pem) -> None:
    tight = smtp_settings(
        listen=[],
        starttls=pem.as_settings(),
        max_connections_per_client=2,
        listeners=[{"name": "tls", "listen": ["127.0.0.1:0"], "tls": "implicit"}],
    )
    async with open_house(RememberingHandler(), tight) as house, await house.connect(), await house.connect():
        await until(lambda: house.listener.open_connections == 2)
        async with await house.connect() as third:
            assert await third.reader.read() == b""


async def test_connection_with_a_handshake_is_one_connection(pem: Pem) -> None:
    listener = {"name": "tls", "listen": ["127.0.0.1:0"], "tls": "implicit"}
    settings = smtp_settings(
        listen=[], networks=[], starttls=pem.as_settings(), listeners=[listener], max_new_connections_per_client=2
    )
    before = CONNECTIONS.labels("accepted")._value.get()
    async with open_house(RememberingHandler(), settings) as house:
        for _ in range(2):
            async with await house.connect() as client:
                await client.begin_tls(client_context(pem))
                await client.reply()
        async with await house.connect() as third:
            assert await third.reader.read() == b""

    assert CONNECTIONS.labels("accepted")._value.get() == before + 2


async def test_drain_does_not_wait_for_a_silent_proxy(pem: Pem) -> None:
    tls = {"name": "tls", "listen": ["127.0.0.1:0"], "tls": "implicit"}
    proxied = {"name": "proxied", "listen": ["127.0.0.1:0"], "proxies": ["127.0.0.0/8"]}
    both = smtp_settings(listen=[], starttls=pem.as_settings(), listeners=[tls, proxied])
    async with open_house(RememberingHandler(), both) as house:
        silent = [Client(*await asyncio.open_connection(*address)) for address in house.addresses]
        await until(lambda: house.listener.open_connections == 1)
        async with asyncio.timeout(3):
            await house.listener.drain(0.1)
        for client in silent:
            assert await client.reader.read() == b""
            client.writer.transport.abort()


async def test_client_that_shows_nothing_but_tls_to_a_plain_port_learns_nothing(pem: Pem) -> None:
    async with open_house(RememberingHandler()) as house:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection(*house.address, ssl=client_context(pem), server_hostname="gw.example.org")
