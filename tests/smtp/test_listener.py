"""Sockets, admission and the end of everything."""

import asyncio
import resource
import socket
from collections.abc import Awaitable, Callable

import pytest
import uvloop
from structlog.testing import capture_logs

from gateway.intake import Reply, Submission
from gateway.smtp import replies
from gateway.smtp.listener import ANSWERS, CONNECTIONS, Listener, ListenError
from tests.smtp.house import DEADLINE_S, MAIL, OPENING, STORED, RememberingHandler, open_house, smtp_settings, until

LoopFactory = Callable[[], asyncio.AbstractEventLoop]
on_both_loops = pytest.mark.parametrize(
    "loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)


def run(loop_factory: LoopFactory, scenario: Callable[[], Awaitable[None]]) -> None:
    async def within_deadline() -> None:
        async with asyncio.timeout(DEADLINE_S):
            await scenario()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(within_deadline())


class Waiting(RememberingHandler):
    """Answers when it is released."""

    def __init__(self) -> None:
        super().__init__(self._answer_when_released)
        self.release = asyncio.Event()
        self.cancelled = 0

    async def _answer_when_released(self, _submission: Submission) -> Reply:
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return STORED


# --- binding ---------------------------------------------------------------------------------------------------------


async def test_every_address_is_bound_and_reported() -> None:
    listener = Listener(smtp_settings(listen=["127.0.0.1:0", "127.0.0.2:0"]), RememberingHandler())

    bound = await listener.bind()

    assert [host for host, _ in bound] == ["127.0.0.1", "127.0.0.2"]
    assert all(port > 0 for _, port in bound)
    await listener.drain(0)


async def test_ipv6_address_is_bound() -> None:
    handler = RememberingHandler()
    async with (
        open_house(handler, smtp_settings(listen=["[::1]:0"])) as house,
        await house.connect() as client,
    ):
        await client.begin_data()
        await client.ask(MAIL + b".")

    assert handler.stored[0].peer == "::1"


async def test_address_in_use_is_one_sentence_and_leaves_nothing_bound() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        listener = Listener(smtp_settings(listen=["127.0.0.2:0", f"127.0.0.1:{port}"]), RememberingHandler())

        with pytest.raises(ListenError, match=rf"^cannot listen on 127\.0\.0\.1:{port}: Address already in use$"):
            await listener.bind()
    assert await listener.bind()
    await listener.drain(0)


async def test_client_that_connects_before_serving_begins_is_served_then() -> None:
    listener = Listener(smtp_settings(), RememberingHandler())
    (address,) = await listener.bind()
    reader, writer = await asyncio.open_connection(*address)
    async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as tasks:
        tasks.create_task(listener.serve())

        assert await reader.readline() == b"220 gw.example.org ESMTP\r\n"
        await listener.drain(1)
    writer.close()


# --- admission -------------------------------------------------------------------------------------------------------


async def test_connection_above_the_limit_of_its_client_gets_421_instead_of_a_banner() -> None:
    async with (
        open_house(RememberingHandler(), smtp_settings(max_connections_per_client=2)) as house,
        await house.greeted() as first,
        await house.greeted(),
        await house.connect() as third,
    ):
        assert await third.rest() == [str(replies.TOO_MANY_FROM_CLIENT)]
        await first.ask(b"QUIT")
        await until(lambda: house.listener.open_connections < 2)
        async with await house.greeted() as fourth:
            assert await fourth.ask(b"NOOP") == "250 2.0.0 OK"


async def test_stranger_that_connects_too_often_is_told_to_come_back() -> None:
    strange = smtp_settings(networks=[], max_new_connections_per_client=3)
    async with open_house(RememberingHandler(), strange) as house:
        for _ in range(3):
            async with await house.greeted() as client:
                await client.ask(b"QUIT")
        async with await house.connect() as client:
            assert await client.rest() == [str(replies.TOO_MANY_AT_ONCE)]
        other = await asyncio.open_connection(*house.address, local_addr=("127.0.0.2", 0))
        assert await other[0].readline() == b"220 gw.example.org ESMTP\r\n"
        other[1].transport.abort()


async def test_trusted_client_may_connect_as_often_as_it_likes() -> None:
    async with open_house(RememberingHandler(), smtp_settings(max_new_connections_per_client=1)) as house:
        for _ in range(3):
            async with await house.greeted() as client:
                assert await client.ask(b"QUIT") == str(replies.BYE)


async def test_connection_above_the_total_gets_421_and_one_log_line_tells_of_many() -> None:
    async with open_house(RememberingHandler(), smtp_settings(max_connections=1)) as house, await house.greeted():
        with capture_logs() as logs:
            for _ in range(5):
                async with await house.connect() as other:
                    assert await other.rest() == [str(replies.TOO_MANY_CONNECTIONS)]

    assert [(event["event"], event["reason"]) for event in logs if event["event"] == "connection_refused"] == [
        ("connection_refused", "too_many")
    ]


async def test_total_is_bounded_by_the_descriptor_limit() -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    listener = Listener(
        smtp_settings(max_connections=100_000, max_connections_per_client=100_000), RememberingHandler()
    )
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
    try:
        with capture_logs() as logs:
            await listener.bind()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        await listener.drain(0)

    (capped,) = logs
    assert capped["event"] == "connections_capped"
    assert 1 <= capped["possible"] <= 120


async def test_connections_and_answers_are_counted() -> None:
    accepted, answers = CONNECTIONS.labels("accepted"), ANSWERS.labels("2")
    before = accepted._value.get(), answers._value.get()
    async with open_house(RememberingHandler()) as house, await house.connect() as client:
        await client.begin_data()
        await client.ask(MAIL + b".")

    assert (accepted._value.get(), answers._value.get()) == (before[0] + 1, before[1] + 1)


# --- stopping --------------------------------------------------------------------------------------------------------


@on_both_loops
def test_idle_session_gets_421_when_draining(loop_factory: LoopFactory) -> None:
    async def scenario() -> None:
        async with open_house(RememberingHandler()) as house, await house.greeted() as client:
            await client.ask(b"HELO c")
            await house.listener.drain(DEADLINE_S)

            assert await client.rest() == [str(replies.STOPPING)]
            with pytest.raises(ConnectionRefusedError):
                await house.connect()

    run(loop_factory, scenario)


@on_both_loops
def test_mail_in_progress_is_finished_when_draining(loop_factory: LoopFactory) -> None:
    async def scenario() -> None:
        handler = Waiting()
        async with open_house(handler) as house, await house.connect() as client, asyncio.TaskGroup() as tasks:
            await client.begin_data()
            await client.send(MAIL)
            draining = tasks.create_task(house.listener.drain(DEADLINE_S))
            await until(lambda: house.listener.is_draining)
            await client.send(b".\r\nNOOP\r\n")
            await handler.wait_until_begun()

            assert not draining.done()
            handler.release.set()
            assert await client.rest() == [str(STORED), str(replies.STOPPING)]
        assert len(handler.stored) == 1

    run(loop_factory, scenario)


@on_both_loops
def test_mail_that_does_not_end_is_cut_when_grace_is_over(loop_factory: LoopFactory) -> None:
    async def scenario() -> None:
        handler = RememberingHandler()
        async with open_house(handler) as house, await house.connect() as client:
            await client.begin_data()
            await client.send(MAIL)
            with capture_logs() as logs:
                await house.listener.drain(0.05)

            assert [event["event"] for event in logs] == ["drain_cut"]
            await until(lambda: house.listener.open_connections == 0)
            assert not handler.begun

    run(loop_factory, scenario)


@on_both_loops
def test_handler_is_cancelled_only_when_grace_is_over(loop_factory: LoopFactory) -> None:
    async def scenario() -> None:
        handler = Waiting()
        async with open_house(handler) as house:
            client = await house.connect()
            await client.send(OPENING + MAIL + b".\r\n")
            await handler.wait_until_begun()
            await client.hang_up()
            await house.listener.drain(0.05)

        assert handler.cancelled == 1
        assert not handler.stored

    run(loop_factory, scenario)


@on_both_loops
def test_half_closing_client_is_served_on_both_loops(loop_factory: LoopFactory) -> None:
    async def scenario() -> None:
        handler = RememberingHandler()
        async with open_house(handler) as house, await house.connect() as client:
            await client.send(OPENING + MAIL + b".\r\nQUIT\r\n")
            client.writer.write_eof()
            lines = await client.rest()

        assert lines[-2:] == [str(STORED), str(replies.BYE)]
        assert len(handler.stored) == 1

    run(loop_factory, scenario)


@on_both_loops
def test_cancelled_serving_breaks_everything_off(loop_factory: LoopFactory) -> None:
    async def scenario() -> None:
        handler = Waiting()
        listener = Listener(smtp_settings(), handler)
        (address,) = await listener.bind()
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(listener.serve())
            reader, writer = await asyncio.open_connection(*address)
            writer.write(OPENING + MAIL + b".\r\n")
            await handler.wait_until_begun()
            serving.cancel()
        writer.close()

        assert handler.cancelled == 1
        await until(lambda: listener.open_connections == 0)
        assert b"354" in await reader.read()

    run(loop_factory, scenario)


async def test_two_sessions_of_one_client_are_counted_down_one_by_one() -> None:
    two = smtp_settings(max_connections_per_client=2)
    async with open_house(RememberingHandler(), two) as house, await house.greeted():
        second = await house.greeted()
        await second.hang_up()
        await until(lambda: house.listener.open_connections == 1)
        async with await house.greeted(), await house.connect() as third:
            assert await third.rest() == [str(replies.TOO_MANY_FROM_CLIENT)]


async def test_draining_before_serving_lets_serve_return_at_once() -> None:
    listener = Listener(smtp_settings(), RememberingHandler())
    await listener.bind()
    await listener.drain(1)

    async with asyncio.timeout(DEADLINE_S):
        await listener.serve()


def test_host_name_of_the_machine_is_the_default() -> None:
    listener = Listener(smtp_settings(hostname=None), RememberingHandler())

    assert listener.hostname == socket.gethostname()
