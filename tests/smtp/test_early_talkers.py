"""Robots talk before the banner: strangers are made to wait for it, and nobody else is."""

from ipaddress import ip_network

import pytest

from gateway.smtp import replies
from gateway.smtp.listener import CONNECTIONS, Listener
from gateway.smtp.settings import SmtpSettings
from tests.smtp.house import RememberingHandler, open_house, serving, smtp_settings, until

FOR_EVER = 10
FAR = b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 25\r\n"
BANNER = "220 gw.example.org ESMTP"
LOOPBACK = ip_network("127.0.0.0/8")


def behind_proxies(**changes: object) -> SmtpSettings:
    listener = {"name": "proxied", "listen": ["127.0.0.1:0"], "proxies": ["127.0.0.1"]}
    return smtp_settings(listen=[], listeners=[listener], greeting_delay_s=FOR_EVER, **changes)


def early() -> float:
    return float(CONNECTIONS.labels("talked_early")._value.get())


@pytest.mark.parametrize("said", [b"EHLO client\r\n", b"E", b"GET / HTTP/1.1\r\n", b"\x16\x03\x01"])
async def test_stranger_that_talks_before_the_banner_is_cut_without_one(said: bytes) -> None:
    before = early()
    async with (
        open_house(RememberingHandler(), smtp_settings(networks=[], greeting_delay_s=FOR_EVER)) as house,
        await house.connect() as client,
    ):
        await client.send(said)

        assert await client.rest() == ["554 5.7.0 Something was sent before the greeting, closing"]
        assert early() == before + 1
        await until(lambda: house.listener.open_connections == 0)


async def test_whole_dialogue_that_is_sent_blindly_reaches_nobody() -> None:
    handler = RememberingHandler()
    blind = b"EHLO c\r\nMAIL FROM:<a@masociete.com>\r\nRCPT TO:<sendsms@gw.example.org>\r\nDATA\r\n.\r\nQUIT\r\n"
    async with (
        open_house(handler, smtp_settings(networks=[], greeting_delay_s=FOR_EVER)) as house,
        await house.connect() as client,
    ):
        await client.send(blind * 100)

        assert await client.rest() == [str(replies.TALKED_EARLY)]
        assert not handler.begun


async def test_stranger_that_waits_gets_the_banner() -> None:
    settings = smtp_settings(networks=[], greeting_delay_s=0.01)
    async with open_house(RememberingHandler(), settings) as house, await house.connect() as client:
        assert await client.line() == BANNER
        assert await client.ask(b"NOOP") == str(replies.OK)


async def test_stranger_that_hangs_up_meanwhile_leaves_nothing() -> None:
    settings = smtp_settings(networks=[], greeting_delay_s=FOR_EVER)
    async with open_house(RememberingHandler(), settings) as house, await house.connect() as client:
        await until(lambda: house.listener.open_connections == 1)
        await client.hang_up()
        await until(lambda: house.listener.open_connections == 0)

        assert house.listener.open_connections == 0


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"greeting_delay_s": 0, "networks": []},
        {"listen": [], "listeners": [{"name": "old", "listen": ["127.0.0.1:0"], "profile": "legacy",
                                      "networks": [LOOPBACK]}], "networks": []},
    ],
    ids=["trusted network", "switched off", "legacy listener"],
)  # fmt: skip
async def test_others_are_not_kept_waiting(changes: dict[str, object]) -> None:
    """Or this would take longer than its client waits."""
    settings = smtp_settings(**{"greeting_delay_s": FOR_EVER} | changes)
    async with open_house(RememberingHandler(), settings) as house, await house.connect() as client:
        await client.send(b"NOOP\r\n")

        assert await client.line() == BANNER
        assert await client.line() == str(replies.OK)


async def test_network_that_an_account_trusts_is_not_kept_waiting() -> None:
    settings = smtp_settings(networks=[], greeting_delay_s=FOR_EVER)
    listener = Listener(settings, RememberingHandler(), networks=(LOOPBACK,))
    async with serving(listener) as house:
        async with await house.connect() as client:
            await client.send(b"NOOP\r\n")

            assert await client.line() == BANNER
        await listener.reload([], ())
        async with await house.connect() as client:
            await client.send(b"NOOP\r\n")

            assert await client.line() == str(replies.TALKED_EARLY)


async def test_behind_a_proxy_it_goes_by_the_client() -> None:
    async with open_house(RememberingHandler(), behind_proxies(networks=["192.0.2.0/24"])) as house:
        async with await house.connect() as known:
            await known.send(FAR + b"NOOP\r\n")

            assert await known.line() == BANNER
        async with await house.connect() as stranger:
            await stranger.send(FAR.replace(b"192.0.2.7", b"203.0.113.7") + b"NOOP\r\n")

            assert await stranger.rest() == [str(replies.TALKED_EARLY)]


async def test_proxy_that_asks_for_its_own_sake_is_not_kept_waiting() -> None:
    async with (
        open_house(RememberingHandler(), behind_proxies(networks=[])) as house,
        await house.connect() as check,
    ):
        await check.send(b"PROXY UNKNOWN\r\nQUIT\r\n")

        assert await check.line() == BANNER


async def test_gateway_that_stops_does_not_wait_for_strangers() -> None:
    settings = smtp_settings(networks=[], greeting_delay_s=0.2)
    async with open_house(RememberingHandler(), settings) as house, await house.connect() as client:
        await until(lambda: house.listener.open_connections == 1)
        await house.listener.drain(5)

        assert await client.rest() in ([BANNER, str(replies.STOPPING)], [str(replies.STOPPING)])
