"""Several listeners, each with a policy of its own, and one set of limits over all."""

import asyncio

import pytest

from gateway.protocol.envoi import Mode
from gateway.smtp import replies
from tests.smtp.house import MAIL, OPENING, Pem, RememberingHandler, open_house, smtp_settings

LEGACY = {"name": "old", "listen": ["127.0.0.1:0"], "profile": "legacy", "networks": ["127.0.0.0/8"]}


async def test_each_listener_has_its_own_policy() -> None:
    handler = RememberingHandler()
    strict = {"name": "inner", "listen": ["127.0.0.1:0"], "mode": "strict", "networks": ["192.0.2.0/24"]}
    async with open_house(handler, smtp_settings(listeners=[strict])) as house:
        for number in range(2):
            async with await house.greeted(number) as client:
                await client.send(OPENING + MAIL + b".\r\nQUIT\r\n")
                await client.rest()

    assert [(mail.listener, mail.mode, str(mail.networks[0])) for mail in handler.stored] == [
        ("smtp", Mode.LENIENT, "127.0.0.0/8"),
        ("inner", Mode.STRICT, "192.0.2.0/24"),
    ]


async def test_limits_hold_over_all_listeners() -> None:
    other = {"name": "other", "listen": ["127.0.0.1:0"]}
    tight = smtp_settings(listeners=[other], max_connections_per_client=1)
    async with open_house(RememberingHandler(), tight) as house, await house.greeted():
        _, address = house.addresses
        reader, writer = await asyncio.open_connection(*address)

        assert await reader.read() == str(replies.TOO_MANY_FROM_CLIENT).encode() + b"\r\n"
        writer.close()


# --- old devices -----------------------------------------------------------------------------------------------------


async def test_old_device_is_borne_with(pem: Pem) -> None:
    handler = RememberingHandler()
    settings = smtp_settings(listen=[], starttls=pem.as_settings(required=True), listeners=[LEGACY])
    async with open_house(handler, settings) as house, await house.greeted() as client:
        assert await client.ask(b"HELO") == "250 gw.example.org"
        assert await client.ask(b"STARTTLS") == str(replies.NOT_IMPLEMENTED)
        for command in (b"MAIL FROM:<a@masociete.com>", b"RCPT TO:<sendsms@gw.example.org>", b"DATA"):
            await client.ask(command)
        assert await client.ask(b"Subject: x\n\n<envoi>\n</envoi>\r\n.") == "250 2.0.0 Stored as 01TEST"

    assert [(mail.listener, mail.content) for mail in handler.stored] == [
        ("old", b"Subject: x\r\n\r\n<envoi>\r\n</envoi>\r\n")
    ]


async def test_listener_for_old_devices_is_for_their_networks_alone() -> None:
    elsewhere = LEGACY | {"networks": ["192.0.2.0/24"]}
    async with (
        open_house(RememberingHandler(), smtp_settings(listen=[], listeners=[elsewhere])) as house,
        await house.connect() as client,
    ):
        assert await client.rest() == [str(replies.NOT_FOR_YOU)]


@pytest.mark.parametrize("listener", [{"name": "new", "listen": ["127.0.0.1:0"]}])
async def test_what_old_devices_do_is_refused_elsewhere(listener: dict[str, object]) -> None:
    handler = RememberingHandler()
    settings = smtp_settings(listen=[], listeners=[listener, LEGACY])
    async with open_house(handler, settings) as house, await house.greeted() as client:
        assert await client.ask(b"HELO") == str(replies.HELLO_SYNTAX)
        await client.send(OPENING)
        for _ in range(4):
            await client.reply()
        assert await client.ask(b"Subject: x\n\n<envoi></envoi>\r\n.") == str(replies.BARE_LF)

    assert not handler.begun
