"""One client and the handler behind it: what is stored, what is refused, what happens when either misbehaves."""

import asyncio
import contextlib
import socket
import struct

import aiosmtplib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from gateway.intake import Reply, Submission
from gateway.protocol.envoi import Mode
from gateway.smtp import replies
from gateway.smtp.settings import LOOPBACK
from tests.smtp.house import MAIL, OPENING, STORED, Client, RememberingHandler, open_house, smtp_settings, until

CONTENT_OF_60_KB = (
    b"<envoi>"
    + b"".join(b"<num%d>0601020304</num%d><sms%d>%s</sms%d>" % (x, x, x, b"m" * 80, x) for x in range(1, 501))
).ljust(61_440, b" ") + b"</envoi>"
WELL_CLOSED = str(STORED)


async def fail(_submission: Submission) -> Reply:
    raise RuntimeError("database is locked at /var/lib/secret")


# --- what the handler gets -------------------------------------------------------------------------------------------


async def test_submission_says_all_the_session_knows() -> None:
    handler = RememberingHandler()
    async with open_house(handler, smtp_settings(mode="strict")) as house, await house.connect() as client:
        await client.begin_data()
        reply = await client.ask(MAIL + b".")

    assert reply == "250 2.0.0 Stored as 01TEST"
    assert handler.stored == [
        Submission(
            content=MAIL,
            envelope_from="a@masociete.com",
            peer="127.0.0.1",
            listener="smtp",
            networks=LOOPBACK,
            mode=Mode.STRICT,
            authenticated_account=None,
        )
    ]


async def test_an_ordinary_client_library_is_served() -> None:
    handler = RememberingHandler()
    async with open_house(handler) as house:
        host, port = house.address
        refused, answer = await aiosmtplib.send(
            b"From: a@masociete.com\r\n\r\n.\r\n..\r\n\xe9t\xe9\r\n",
            sender="a@masociete.com",
            recipients=["sendsms@gw.example.org"],
            mail_options=["BODY=8BITMIME"],
            hostname=host,
            port=port,
            start_tls=False,
        )

    assert not refused
    assert answer == "2.0.0 Stored as 01TEST"
    assert [mail.content for mail in handler.stored] == [b"From: a@masociete.com\r\n\r\n.\r\n..\r\n\xe9t\xe9\r\n"]


async def test_pipelined_mails_are_answered_in_order() -> None:
    handler = RememberingHandler()
    mail = b"MAIL FROM:<a@masociete.com>\r\nRCPT TO:<sendsms@gw.example.org>\r\nDATA\r\n" + MAIL + b".\r\n"
    async with open_house(handler) as house, await house.connect() as client:
        await client.send(b"HELO c\r\n" + mail + mail + b"RCPT TO:<x@y>\r\nQUIT\r\n")
        codes = [line[:3] for line in await client.rest()]

    assert codes == ["220", "250", *["250", "250", "354", "250"] * 2, "503", "221"]
    assert [mail.content for mail in handler.stored] == [MAIL, MAIL]


async def test_one_line_of_60_kb_passes() -> None:
    handler = RememberingHandler()
    async with open_house(handler) as house, await house.connect() as client:
        await client.begin_data()
        reply = await client.ask(CONTENT_OF_60_KB + b"\r\n.")

    assert reply == WELL_CLOSED
    assert handler.stored[0].content == CONTENT_OF_60_KB + b"\r\n"


# --- what is not taken -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a\0b\r\n", replies.NUL_IN_CONTENT),
        (b"a\rb\r\n", replies.BARE_CR),
        (b"a\nb\r\n", replies.BARE_LF),
        (b"x" * 65_535 + b"\r\n", replies.LONG_LINE),
    ],
)
async def test_content_that_is_not_a_mail_is_refused_and_the_session_goes_on(content: bytes, expected: Reply) -> None:
    handler = RememberingHandler()
    async with open_house(handler) as house, await house.connect() as client:
        await client.begin_data()

        assert await client.ask(content + b".") == str(expected)
        assert await client.ask(b"NOOP") == "250 2.0.0 OK"
    assert not handler.begun


async def test_bare_lf_of_a_legacy_network_is_normalised() -> None:
    handler = RememberingHandler()
    legacy = smtp_settings(bare_lf_networks=["127.0.0.0/8"])
    async with open_house(handler, legacy) as house, await house.connect() as client:
        await client.begin_data()
        reply = await client.ask(b"a\nb\r\n.")

    assert reply == WELL_CLOSED
    assert handler.stored[0].content == b"a\r\nb\r\n"


@pytest.mark.parametrize(
    "ending",
    [
        b"\n.\n",
        b"\n.\r\n",
        b"\r.\r",
        b"\r.\r\n",
        b"\r\n.\n",
        b"\r\n.\r",
        b"\n.\r",
        b"\r\n\0.\r\n",
        b"\r\n.\0\r\n",
        b"\r\r\n.\r\n",
        b"\r\n.\r\r\n",
    ],
    ids=repr,
)
@pytest.mark.parametrize("legacy", [[], ["127.0.0.1/32"]], ids=["ordinary", "legacy"])
async def test_smuggled_mail_never_becomes_a_second_one(ending: bytes, legacy: list[str]) -> None:
    handler = RememberingHandler()
    smuggled = b"MAIL FROM:<evil@masociete.com>\r\nRCPT TO:<sendsms@gw.example.org>\r\nDATA\r\nevil\r\n.\r\nQUIT\r\n"
    async with open_house(handler, smtp_settings(bare_lf_networks=legacy)) as house, await house.connect() as client:
        await client.send(OPENING + b"good" + ending + smuggled)
        await client.rest()

    assert len(handler.begun) <= 1


async def test_mail_that_is_too_big_is_refused_at_its_end() -> None:
    handler = RememberingHandler()
    async with open_house(handler, smtp_settings(max_mail_bytes=2_000)) as house, await house.connect() as client:
        await client.begin_data()

        assert await client.ask((b"x" * 98 + b"\r\n") * 21 + b".") == str(replies.TOO_BIG)
        assert await client.ask(b"NOOP") == "250 2.0.0 OK"
        assert house.listener.budget.used == 0
    assert not handler.begun


@pytest.mark.parametrize("line", [b"x" * 1_000, b"x" * 998 + b"\r\n"], ids=["one endless line", "endless lines"])
async def test_mail_without_end_is_cut_and_the_client_is_told(line: bytes) -> None:
    handler = RememberingHandler()
    async with open_house(handler, smtp_settings(max_mail_bytes=2_000)) as house, await house.connect() as client:
        await client.begin_data()
        client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8_192)
        client.writer.transport.set_write_buffer_limits(0)
        await client.send(line * 900)  # a client that reads only once it has sent everything is not cut off while at it
        client.writer.write_eof()

        assert await client.rest() == [str(replies.TOO_BIG)]
    assert not handler.begun


async def test_command_line_without_end_is_cut() -> None:
    async with open_house(RememberingHandler()) as house, await house.greeted() as client:
        await client.send(b"A" * 300_000)

        assert await client.rest() == [str(replies.LINE_TOO_LONG)]


async def test_long_command_line_is_one_error() -> None:
    async with open_house(RememberingHandler()) as house, await house.greeted() as client:
        assert await client.ask(b"NOOP " + b"A" * 3_000) == str(replies.LINE_TOO_LONG)
        assert await client.ask(b"NOOP " + b"A" * 2_000) == "250 2.0.0 OK"


@pytest.mark.parametrize(
    "address",
    [
        b"=?utf-8?q?a=0d=0aBcc:_v=40x.test?=@b.test",
        b"a@=?utf-8?q?trusted.test?=",
        b'"a\rBcc: x"@c.d',
        b"a\0@b.c",
        b"@relay.example:a@b.c",
        b"a@b.c(comment)",
        b'()"',
        b"\xe9@b.c",
        b"a" * 251 + b"@b.c",
    ],
)
async def test_address_that_two_systems_could_read_differently_is_refused(address: bytes) -> None:
    async with open_house(RememberingHandler()) as house, await house.greeted() as client:
        await client.ask(b"HELO c")

        assert await client.ask(b"MAIL FROM:<" + address + b">") == str(replies.BAD_SENDER)
        assert await client.ask(b"MAIL FROM:<a@b.c>") == str(replies.SENDER_OK)
        assert await client.ask(b"RCPT TO:<" + address + b">") == str(replies.BAD_RECIPIENT)


KNOWN_REPLIES = {str(reply) for reply in vars(replies).values() if isinstance(reply, Reply) and reply.code != 500}
JUNK = st.lists(
    st.one_of(
        st.sampled_from(["<", ">", "@", '"', "(", ")", "[", "]", "\\", ",", ";", ":", ".", " ", "=?utf-8?q?x?=", "\r"]),
        st.characters(max_codepoint=255, exclude_characters="\n"),
    ),
    max_size=30,
).map("".join)


@pytest.mark.slow
@given(junk=st.lists(JUNK, min_size=1, max_size=4))
@settings(max_examples=100, deadline=None)
def test_malformed_address_gets_one_of_our_own_sentences(junk: list[str]) -> None:
    async def ask() -> list[str]:
        async with open_house(RememberingHandler()) as house, await house.greeted() as client:
            await client.ask(b"HELO c")
            answers = [await client.ask(b"MAIL FROM:" + text.encode("latin-1")) for text in junk]
            await client.ask(b"RSET")
            await client.ask(b"MAIL FROM:<a@b.c>")
            return answers + [await client.ask(b"RCPT TO:" + text.encode("latin-1")) for text in junk]

    assert set(asyncio.run(ask())) <= KNOWN_REPLIES


# --- when the handler misbehaves -------------------------------------------------------------------------------------


async def test_handler_that_raises_is_451_without_a_word_of_it() -> None:
    handler = RememberingHandler(fail)
    async with open_house(handler) as house, await house.connect() as client:
        with capture_logs() as logs:
            await client.begin_data()
            reply = await client.ask(MAIL + b".")

        assert reply.startswith("451 4.3.0 Internal error, try again later (incident ")
        incident = reply.removesuffix(")").rpartition(" ")[2]
        failed = [event for event in logs if event["event"] == "session_failed"]
        assert [(event["incident"], event["exc_info"]) for event in failed] == [(incident, True)]
        assert await client.ask(b"DATA") == str(replies.MAIL_FIRST)
        assert await client.ask(b"MAIL FROM:<a@b.c>") == str(replies.SENDER_OK)


async def test_handler_that_cancels_itself_is_451() -> None:
    async def cancel(_submission: Submission) -> Reply:
        raise asyncio.CancelledError

    async with open_house(RememberingHandler(cancel)) as house, await house.connect() as client:
        await client.begin_data()

        assert (await client.ask(MAIL + b".")).startswith("451 4.3.0 ")
        assert await client.ask(b"NOOP") == "250 2.0.0 OK"


async def test_exception_in_the_session_itself_is_451_too() -> None:
    def break_down() -> Reply | None:
        raise OSError("statvfs failed")

    async with open_house(RememberingHandler(), find_shortage=break_down) as house, await house.greeted() as client:
        await client.ask(b"HELO c")

        assert (await client.ask(b"MAIL FROM:<a@b.c>")).startswith("451 4.3.0 ")
        assert await client.ask(b"RCPT TO:<sendsms@gw.example.org>") == str(replies.MAIL_FIRST)


class Unreadable(frozenset[str]):
    """Fails when it is looked into."""

    def __contains__(self, item: object) -> bool:
        raise KeyError(item)


async def test_exception_forgets_the_mail_that_was_begun() -> None:
    async with open_house(RememberingHandler()) as house, await house.greeted() as client:
        house.listener.recipients = Unreadable()
        await client.ask(b"HELO c")
        await client.ask(b"MAIL FROM:<a@b.c>")

        assert (await client.ask(b"RCPT TO:<sendsms@gw.example.org>")).startswith("451 4.3.0 ")
        assert await client.ask(b"RCPT TO:<sendsms@gw.example.org>") == str(replies.MAIL_FIRST)


async def test_shortage_is_told_at_mail() -> None:
    full = Reply(code=452, enhanced="4.3.1", text="Disk is full")
    async with open_house(RememberingHandler(), find_shortage=lambda: full) as house, await house.greeted() as client:
        await client.ask(b"HELO c")

        assert await client.ask(b"MAIL FROM:<a@b.c>") == "452 4.3.1 Disk is full"


async def test_reply_of_the_handler_counts_when_the_session_says_the_same() -> None:
    """The handler remembers by itself whom it refuses; of a full disk both of them tell."""
    full = Reply(code=452, enhanced="4.3.1", text="Disk is full")
    noted: list[Reply] = []

    async def fill(_submission: Submission) -> Reply:
        house.listener.find_shortage = lambda: full
        return full

    async with open_house(RememberingHandler(fill)) as house, await house.connect() as client:
        house.listener.note_refused = lambda _peer, _sender, reply, _facts: noted.append(reply)
        await client.begin_data()

        assert await client.ask(MAIL + b".") == str(full)
        assert noted == []
        assert await client.ask(b"MAIL FROM:<a@b.c>") == str(full)
        assert noted == [full]


async def test_no_timer_of_the_dialogue_runs_while_the_handler_does() -> None:
    async def dawdle(_submission: Submission) -> Reply:
        await asyncio.sleep(0.15)
        return STORED

    handler = RememberingHandler(dawdle)
    quick = smtp_settings(idle_timeout_s=0.03, trusted_idle_timeout_s=0.03, data_patience_s=0.03, data_deadline_s=0.03)
    async with open_house(handler, quick) as house, await house.connect() as client:
        await client.send(OPENING + MAIL + b".\r\n")

        assert (await client.rest())[-2:] == [WELL_CLOSED, str(replies.IDLE)]


async def test_handler_beyond_its_deadline_is_451_and_still_finishes() -> None:
    release = asyncio.Event()

    async def wait(_submission: Submission) -> Reply:
        await release.wait()
        return STORED

    handler = RememberingHandler(wait)
    async with open_house(handler, smtp_settings(handler_timeout_s=0.03)) as house, await house.connect() as client:
        await client.begin_data()

        assert (await client.ask(MAIL + b".")).startswith("451 4.3.0 ")
        assert house.listener.budget.used > 0
        release.set()
        await handler.wait_until_stored()
        assert await client.ask(b"NOOP") == "250 2.0.0 OK"
        assert house.listener.budget.used == 0


async def test_session_that_fails_outside_a_command_is_closed_and_logged() -> None:
    async with open_house(RememberingHandler()) as house:
        house.listener.hostname = "gw.exämple"
        with capture_logs() as logs:
            async with await house.connect() as client:
                assert await client.rest() == []

    assert [event["event"] for event in logs] == ["session_failed"]


# --- when the client misbehaves --------------------------------------------------------------------------------------


async def test_client_that_half_closes_behind_the_dot_gets_its_250() -> None:
    release = asyncio.Event()

    async def wait(_submission: Submission) -> Reply:
        await release.wait()
        return STORED

    handler = RememberingHandler(wait)
    async with open_house(handler) as house, await house.connect() as client:
        await client.begin_data()
        await client.send(MAIL + b".\r\n")
        client.writer.write_eof()
        await handler.wait_until_begun()
        release.set()

        assert await client.rest() == [WELL_CLOSED]


def reset_on_close(client: Client) -> None:
    sock: socket.socket = client.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize("with_reset", [False, True], ids=["fin", "rst"])
async def test_mail_is_stored_although_the_client_hangs_up_behind_the_dot(*, with_reset: bool) -> None:
    release = asyncio.Event()

    async def wait(_submission: Submission) -> Reply:
        await release.wait()
        return STORED

    handler = RememberingHandler(wait)
    async with open_house(handler) as house:
        client = await house.connect()
        await client.begin_data()
        await client.send(MAIL + b".\r\n")
        await handler.wait_until_begun()
        if with_reset:
            reset_on_close(client)
        await client.hang_up()
        release.set()
        await handler.wait_until_stored()

        assert [mail.content for mail in handler.stored] == [MAIL]


@pytest.mark.slow
async def test_connection_cut_at_any_byte_leaves_nothing() -> None:
    handler = RememberingHandler()
    dialogue = OPENING + MAIL + b".\r\n"
    async with open_house(handler) as house:
        for length in range(len(dialogue)):
            async with await house.connect() as client:
                await client.send(dialogue[:length])
                client.writer.write_eof()
                await client.rest()

        assert not handler.begun
        assert house.listener.budget.used == 0
        async with await house.connect() as client:
            await client.send(dialogue)
            client.writer.write_eof()
            await client.rest()

        assert len(handler.stored) == 1


async def test_connection_reset_within_a_mail_leaves_nothing() -> None:
    handler = RememberingHandler()
    async with open_house(handler) as house:
        client = await house.connect()
        await client.begin_data()
        await client.send(MAIL)
        reset_on_close(client)
        with capture_logs() as logs:
            await client.hang_up()
            await until(lambda: house.listener.open_connections == 0)

        assert not handler.begun
        assert not logs


async def test_client_that_sends_nothing_is_told_and_closed() -> None:
    strange = smtp_settings(networks=[], idle_timeout_s=0.03)
    async with open_house(RememberingHandler(), strange) as house, await house.greeted() as client:
        assert await client.rest() == [str(replies.IDLE)]


async def test_trusted_client_may_be_idle_for_longer() -> None:
    trusted = smtp_settings(idle_timeout_s=3_600, trusted_idle_timeout_s=0.03)
    async with open_house(RememberingHandler(), trusted) as house, await house.greeted() as client:
        assert await client.rest() == [str(replies.IDLE)]


async def test_session_ends_however_busy_the_client_is() -> None:
    async with (
        open_house(RememberingHandler(), smtp_settings(session_lifetime_s=0.05)) as house,
        await house.greeted() as client,
    ):
        reply = "250 "
        with contextlib.suppress(ConnectionError):
            while reply.startswith("250 "):
                reply = await client.ask(b"NOOP")

        assert reply == str(replies.TOO_OLD)


@pytest.mark.parametrize("changes", [{"data_patience_s": 0.03}, {"data_deadline_s": 0.03}], ids=str)
async def test_mail_that_stops_coming_is_cut(changes: dict[str, float]) -> None:
    handler = RememberingHandler()
    async with open_house(handler, smtp_settings(**changes)) as house, await house.connect() as client:
        await client.begin_data()
        await client.send(b"a")

        assert await client.rest() == [str(replies.TOO_SLOW)]
        assert house.listener.budget.used == 0


@pytest.mark.slow
async def test_slow_but_honest_client_outlives_its_first_credit() -> None:
    handler = RememberingHandler()
    thin = smtp_settings(data_patience_s=0.2, min_data_bytes_per_s=500)
    async with open_house(handler, thin) as house, await house.connect() as client:
        await client.begin_data()
        for _ in range(10):
            await client.send(b"x" * 98 + b"\r\n")  # 0.2 s earned, 0.05 s used
            await asyncio.sleep(0.05)

        assert await client.ask(b".") == WELL_CLOSED


async def test_errors_after_the_third_are_slowed_down() -> None:
    slow = smtp_settings(error_delay_s=0.1)
    async with open_house(RememberingHandler(), slow) as house, await house.greeted() as client:
        now = asyncio.get_running_loop().time
        begun_at = now()
        for _ in range(4):
            await client.ask(b"NONSENSE")

        assert now() - begun_at >= 0.1


@pytest.mark.slow
async def test_client_that_does_not_fetch_replies_is_given_up() -> None:
    async with open_house(RememberingHandler(), smtp_settings(idle_timeout_s=0.05)) as house:
        _, writer = await asyncio.open_connection(*house.address, limit=1)  # reads no more than a few bytes
        async with asyncio.timeout(60):  # megabytes, until every buffer between the two is full
            with pytest.raises(ConnectionError):
                await ask_without_end(writer)
            await until(lambda: house.listener.open_connections == 0)
        writer.transport.abort()


async def ask_without_end(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"EHLO c\r\n" * 2_000)
        await writer.drain()


# --- budget ----------------------------------------------------------------------------------------------------------


async def test_bytes_in_flight_are_bounded_over_all_sessions() -> None:
    release = asyncio.Event()

    async def wait(_submission: Submission) -> Reply:
        await release.wait()
        return STORED

    handler = RememberingHandler(wait)
    tight = smtp_settings(max_mail_bytes=2_000, bytes_in_flight=2_000)
    async with open_house(handler, tight) as house, await house.connect() as first, await house.greeted() as second:
        await first.begin_data()
        await first.send((b"x" * 98 + b"\r\n") * 15 + b".\r\n")
        await handler.wait_until_begun()
        await second.ask(b"HELO c")

        assert await second.ask(b"MAIL FROM:<a@b.c> SIZE=1000") == str(replies.NO_ROOM)
        assert await second.ask(b"MAIL FROM:<a@b.c>") == str(replies.SENDER_OK)
        await second.ask(b"RCPT TO:<sendsms@gw.example.org>")
        await second.ask(b"DATA")
        assert await second.ask((b"x" * 98 + b"\r\n") * 10 + b".") == str(replies.NO_ROOM)
        release.set()
        assert await first.reply() == WELL_CLOSED
        assert await second.ask(b"MAIL FROM:<a@b.c> SIZE=1000") == str(replies.SENDER_OK)
        assert house.listener.budget.used == 0


# --- what is said and logged -----------------------------------------------------------------------------------------


def test_reply_is_one_line_of_ascii_within_the_limit() -> None:
    reply = Reply(code=554, enhanced="5.6.0", text="été\r\n250 2.0.0 Stored" + "x" * 600)

    line = replies.render(reply)

    assert line.startswith(b"554 5.6.0 ?t???250 2.0.0 Storedxxx")
    assert line.endswith(b"x\r\n")
    assert line.count(b"\r\n") == 1
    assert len(line) == 512


async def test_no_logger_prints_commands_or_data(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    async with open_house(RememberingHandler()) as house, await house.connect() as client:
        await client.begin_data()
        await client.ask(b"<keyid>a296464ce012b8ab710a</keyid>\r\n.")
        await client.ask(b"QUIT")

    assert "a296464ce012b8ab710a" not in caplog.text
    assert "masociete" not in caplog.text
