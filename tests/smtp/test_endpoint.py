"""A connection as the event loops make it: bytes in any pieces, ends of any kind, nothing without bound."""

import asyncio
import socket
import struct

from gateway.intake import Submission
from gateway.smtp import replies
from gateway.smtp.connection import SmtpConnection
from gateway.smtp.wire import MAX_AHEAD_BYTES
from tests.smtp.house import (
    MAIL,
    OPENING,
    STORED,
    Client,
    House,
    Pem,
    RememberingHandler,
    client_context,
    open_house,
    smtp_settings,
    until,
)
from tests.smtp.test_listener import LoopFactory, Waiting, on_both_loops, run

MOST_IN_ONE_GO = 262_144
"""What either loop brings at once."""


def connection_of(house: House) -> SmtpConnection:
    """Return the gateway's end of the only connection."""
    (connection,) = house.listener._connections
    assert isinstance(connection, SmtpConnection)
    return connection


def reset(client: Client) -> None:
    """The client breaks the connection as one does that crashes: RST, not FIN."""
    sock = client.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.writer.transport.abort()


@on_both_loops
def test_dialogue_is_the_same_octet_by_octet(loop_factory: LoopFactory) -> None:
    async def scenario() -> None:
        handler = RememberingHandler()
        dialogue = OPENING + MAIL + b".\r\nNOOP\nFOO\r\n\r\nRSET\r\nQUIT\r\n"
        async with open_house(handler) as house:
            async with await house.connect() as client:
                await client.send(dialogue)
                at_once = await client.rest()
            async with await house.connect() as client:
                for at in range(len(dialogue)):
                    await client.send(dialogue[at : at + 1])
                    await asyncio.sleep(0)
                one_by_one = await client.rest()

        assert one_by_one == at_once
        assert at_once[-5:] == [
            str(replies.OK),
            str(replies.UNKNOWN_COMMAND),
            str(replies.EMPTY_LINE),
            str(replies.OK),
            str(replies.BYE),
        ]
        assert [mail.content for mail in handler.stored] == [MAIL, MAIL]

    run(loop_factory, scenario)


@on_both_loops
def test_what_follows_quit_is_not_obeyed(loop_factory: LoopFactory) -> None:
    async def scenario() -> None:
        handler = RememberingHandler()
        async with open_house(handler) as house, await house.greeted() as client:
            await client.send(b"QUIT\r\n" + OPENING + MAIL + b".\r\n")
            assert await client.line() == str(replies.BYE)
            await until(lambda: house.listener.open_connections == 0)

        assert not handler.begun

    run(loop_factory, scenario)


@on_both_loops
def test_client_that_sends_while_its_mail_is_stored_is_made_to_wait(loop_factory: LoopFactory) -> None:
    async def scenario() -> None:
        handler, surplus = Waiting(), b"x" * 1_000_000
        async with open_house(handler) as house, await house.connect() as client:
            await client.begin_data()
            await client.send(MAIL + b".\r\n")
            await handler.wait_until_begun()
            connection = connection_of(house)
            while connection.transport.is_reading():
                client.writer.write(surplus)
                await asyncio.sleep(0)
            held = len(connection._wire._ahead)
            handler.release.set()

            assert await client.reply() == str(STORED)
            assert await client.reply() == str(replies.LINE_TOO_LONG)
            assert MAX_AHEAD_BYTES < held <= MAX_AHEAD_BYTES + MOST_IN_ONE_GO

    run(loop_factory, scenario)


@on_both_loops
def test_held_client_goes_on_where_it_was(loop_factory: LoopFactory) -> None:
    """What it sent meanwhile is a mail, larger than what is kept ahead of its turn."""

    async def scenario() -> None:
        handler = Waiting()
        second = b"From: a@masociete.com\r\n\r\n" + (b"x" * 998 + b"\r\n") * 2_000
        opening = OPENING.removeprefix(b"EHLO client\r\n")
        async with open_house(handler) as house, await house.connect() as client, asyncio.TaskGroup() as tasks:
            await client.begin_data()
            await client.send(MAIL + b".\r\n")
            await handler.wait_until_begun()
            connection = connection_of(house)
            tasks.create_task(client.send(opening + second + b".\r\nQUIT\r\n"))
            await until(lambda: not connection.transport.is_reading())
            handler.release.set()

            assert [line[:3] for line in await client.rest()] == ["250", "250", "250", "354", "250", "221"]
        assert [mail.content for mail in handler.stored] == [MAIL, second]

    run(loop_factory, scenario)


@on_both_loops
def test_connection_that_is_reset_while_we_wait_leaves_nothing(loop_factory: LoopFactory) -> None:
    async def scenario() -> None:
        for said in (b"", b"EHLO c\r\n", b"NOO"):
            async with open_house(RememberingHandler()) as house:
                client = await house.greeted()
                await client.send(said)
                if said.endswith(b"\n"):
                    await client.reply()
                reset(client)
                await until(lambda: house.listener.open_connections == 0)

                assert not house.listener._per_client
                await until(lambda: not house.listener._tasks)

    run(loop_factory, scenario)


@on_both_loops
def test_lines_that_came_before_the_client_hung_up_are_answered(loop_factory: LoopFactory) -> None:
    async def scenario() -> None:
        async with open_house(RememberingHandler()) as house, await house.greeted() as client:
            await client.send(b"NOOP\r\n" * 50 + b"QUI")
            client.writer.write_eof()

            assert await client.rest() == [str(replies.OK)] * 50

    run(loop_factory, scenario)


@on_both_loops
def test_thousands_of_commands_are_answered_beside_another_client(loop_factory: LoopFactory) -> None:
    async def scenario() -> None:
        async with (
            open_house(RememberingHandler(), smtp_settings()) as house,
            await house.greeted() as busy,
            await house.greeted() as other,
        ):
            await busy.send(b"NOOP\r\n" * 5_000 + b"RSET x\r\n")
            assert await other.ask(b"NOOP") == str(replies.OK)
            assert await other.ask(b"QUIT") == str(replies.BYE)
            answered = [await busy.line() for _ in range(5_001)]

        assert answered == [str(replies.OK)] * 5_000 + [str(replies.NO_ARGUMENT)]

    run(loop_factory, scenario)


@on_both_loops
def test_what_comes_behind_starttls_in_a_segment_of_its_own_is_not_obeyed(loop_factory: LoopFactory, pem: Pem) -> None:
    async def scenario() -> None:
        handler = RememberingHandler()
        async with open_house(handler, smtp_settings(starttls=pem.as_settings())) as house:
            async with await house.greeted() as client:
                await client.ask(b"EHLO c")
                connection = connection_of(house)
                connection.data_received(b"STARTTLS\r\n")
                connection.data_received(OPENING + MAIL + b".\r\n")

                assert await client.rest() == [str(replies.INJECTED)]
            assert not handler.begun

    run(loop_factory, scenario)


@on_both_loops
def test_client_that_sends_too_fast_is_held_over_tls_too(loop_factory: LoopFactory, pem: Pem) -> None:
    async def scenario() -> None:
        handler = Waiting()
        second = b"From: a@masociete.com\r\n\r\n" + (b"x" * 998 + b"\r\n") * 2_000
        opening = OPENING.removeprefix(b"EHLO client\r\n")
        async with (
            open_house(handler, smtp_settings(starttls=pem.as_settings())) as house,
            await house.greeted() as client,
            asyncio.TaskGroup() as tasks,
        ):
            assert await client.ask(b"STARTTLS") == str(replies.TLS_READY)
            await client.begin_tls(client_context(pem))
            await client.send(OPENING + MAIL + b".\r\n")
            await handler.wait_until_begun()
            connection = connection_of(house)
            tasks.create_task(client.send(opening + second + b".\r\nQUIT\r\n"))
            await until(lambda: connection._wire._is_held)
            held = len(connection._wire._ahead)
            handler.release.set()
            codes = [(await client.reply())[:3] for _ in range(10)]

            assert codes == ["250", "250", "250", "354", "250", "250", "250", "354", "250", "221"]
            assert held <= MAX_AHEAD_BYTES + MOST_IN_ONE_GO
        assert [mail.content for mail in handler.stored] == [MAIL, second]

    run(loop_factory, scenario)


async def test_handler_that_ends_after_its_session_wakes_nobody() -> None:
    handler = Waiting()
    async with open_house(handler, smtp_settings(handler_timeout_s=0.05)) as house, await house.connect() as client:
        await client.begin_data()
        await client.send(MAIL + b".\r\n")
        assert (await client.reply()).startswith("451 4.3.0 ")
        assert await client.ask(b"QUIT") == str(replies.BYE)
        await until(lambda: house.listener.open_connections == 0)
        handler.release.set()
        await handler.wait_until_stored()

        assert [mail.content for mail in handler.stored] == [MAIL]


async def test_what_is_sent_while_a_mail_is_stored_does_not_end_the_wait() -> None:
    handler = Waiting()
    async with open_house(handler) as house, await house.connect() as client:
        await client.begin_data()
        await client.send(MAIL + b".\r\n")
        await handler.wait_until_begun()
        connection = connection_of(house)
        await client.send(b"NOOP\r\n")
        await until(connection.has_more)
        client.writer.write_eof()
        await until(lambda: connection._wire._has_ended)
        assert not handler.stored
        handler.release.set()

        assert await client.rest() == [str(STORED), str(replies.OK)]


async def test_submission_is_of_the_client_and_not_of_another_with_its_address() -> None:
    """What is known of an address is worked out once; what is known of a connection is its own."""
    handler = RememberingHandler()
    async with open_house(handler) as house:
        for name in (b"first", b"second"):
            async with await house.greeted() as client:
                await client.send(OPENING.replace(b"client", name) + MAIL + b".\r\nQUIT\r\n")
                await client.rest()

    def told(mail: Submission) -> tuple[str, object]:
        return mail.peer, mail.facts["helo"]

    assert [told(mail) for mail in handler.stored] == [("127.0.0.1", "first"), ("127.0.0.1", "second")]
