"""TLS: how it begins, what it forgets, and the certificate behind it."""

import asyncio
import contextlib
import smtplib
import socket
import ssl
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import uvloop
from structlog.testing import capture_logs

from gateway.smtp import replies
from gateway.smtp.expiry import NotACertificate, read_expiry
from gateway.smtp.handshakes import HANDSHAKES
from gateway.smtp.settings import TlsSettings
from gateway.smtp.tls import EXPIRY, TlsKeeper, TlsUnusable
from tests.smtp.house import (
    MAIL,
    Client,
    Pem,
    RememberingHandler,
    client_context,
    make_certificate,
    open_house,
    smtp_settings,
    until,
)
from tests.support.clock import ManualClock

on_both_loops = pytest.mark.parametrize(
    "loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
on_both_tls = pytest.mark.parametrize("tls", ["starttls", "implicit"])
LoopFactory = Callable[[], asyncio.AbstractEventLoop]


async def secure(client: Client, context: ssl.SSLContext) -> None:
    await client.ask(b"EHLO c")
    assert await client.ask(b"STARTTLS") == str(replies.TLS_READY)
    await client.begin_tls(context)


async def secure_and_ask(client: Client, context: ssl.SSLContext) -> None:
    """With TLS 1.3 it is only the next answer that says how the handshake went."""
    await secure(client, context)
    if not await client.ask(b"NOOP"):
        raise ConnectionError


def run_openssl(*arguments: str) -> str:
    said = subprocess.run(["openssl", *arguments], capture_output=True, check=True)
    return said.stdout.decode().strip()


async def send_mail(client: Client) -> str:
    for command in (b"EHLO c", b"MAIL FROM:<a@masociete.com>", b"RCPT TO:<sendsms@gw.example.org>", b"DATA"):
        await client.ask(command)
    return await client.ask(MAIL + b".")


# --- how it begins ---------------------------------------------------------------------------------------------------


@on_both_loops
@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_mail_comes_in_over_tls(loop_factory: LoopFactory, pem: Pem, tls: str) -> None:
    handler = RememberingHandler()
    listener = {"name": "tls", "listen": ["127.0.0.1:0"], "tls": tls}
    context = client_context(pem)

    async def scenario() -> None:
        settings = smtp_settings(listen=[], starttls=pem.as_settings(required=True), listeners=[listener])
        async with open_house(handler, settings) as house:
            if tls == "starttls":
                client = await house.greeted()
                await secure(client, context)
            else:
                client = Client(
                    *await asyncio.open_connection(*house.address, ssl=context, server_hostname="gw.example.org")
                )
                await client.reply()
            async with client:
                assert await send_mail(client) == "250 2.0.0 Stored as 01TEST"
                assert await client.ask(b"QUIT") == str(replies.BYE)
                assert await client.line() == ""

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario())

    assert [(mail.listener, mail.content) for mail in handler.stored] == [("tls", MAIL)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["-tls1_2"], "done"),
        (["-tls1_3"], "done"),
        (["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"], "unsupported protocol"),
        (["-tls1_2", "-cipher", "AES128-SHA"], "no shared cipher"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
@on_both_tls
@pytest.mark.slow
async def test_openssl_comes_in_with_what_is_good_alone(pem: Pem, tls: str, options: list[str], expected: str) -> None:
    listener = {"name": "tls", "listen": ["127.0.0.1:0"], "tls": tls}
    settings = smtp_settings(listen=[], starttls=pem.as_settings(), listeners=[listener])
    command = ["openssl", "s_client", "-quiet", *options, *(["-starttls", "smtp"] if tls == "starttls" else [])]
    with capture_logs() as logs:
        async with open_house(RememberingHandler(), settings) as house:
            said = await asyncio.to_thread(
                subprocess.run,
                [*command, "-connect", f"127.0.0.1:{house.address[1]}"],
                input=b"EHLO c\r\nQUIT\r\n",
                capture_output=True,
                timeout=20,
                check=False,
            )

    assert [event["reason"] for event in logs if event["event"] == "tls_failed"] == (
        [] if expected == "done" else [expected]
    )
    assert (str(replies.BYE).encode() in said.stdout) == (expected == "done")


async def test_every_cipher_has_forward_secrecy(tmp_path: Path) -> None:
    keeper = keeper_of(make_certificate(tmp_path))
    await keeper.load()

    assert keeper.context is not None
    assert {cipher["name"].partition("_")[0].partition("-")[0] for cipher in keeper.context.get_ciphers()} == {
        "TLS",
        "ECDHE",
        "DHE",
    }


async def test_smtplib_comes_in_over_tls(pem: Pem) -> None:
    handler = RememberingHandler()
    context = client_context(pem)

    def send(port: int) -> None:
        with smtplib.SMTP("localhost", port, timeout=10) as client:
            context.check_hostname = False
            client.starttls(context=context)
            client.sendmail("a@masociete.com", "sendsms@gw.example.org", MAIL)

    async with open_house(handler, smtp_settings(starttls=pem.as_settings())) as house:
        await asyncio.to_thread(send, house.address[1])

    assert len(handler.stored) == 1


async def test_starttls_is_told_of_once_and_taken_once(pem: Pem) -> None:
    async with (
        open_house(RememberingHandler(), smtp_settings(starttls=pem.as_settings())) as house,
        await house.greeted() as client,
    ):
        await client.send(b"EHLO c\r\n")
        in_clear = [await client.line() for _ in range(6)]
        assert "250-STARTTLS" in in_clear
        assert await client.ask(b"STARTTLS now") == str(replies.NO_ARGUMENT)
        await secure(client, client_context(pem))
        await client.send(b"EHLO c\r\n")
        over_tls = [await client.line() for _ in range(5)]

        assert over_tls == [line for line in in_clear if line != "250-STARTTLS"]
        assert await client.ask(b"STARTTLS") == str(replies.TLS_ALREADY)
        assert await client.ask(b"NOOP") == str(replies.OK)


async def test_without_a_certificate_there_is_no_tls() -> None:
    async with open_house(RememberingHandler()) as house, await house.greeted() as client:
        assert await client.ask(b"EHLO c") == "250 ENHANCEDSTATUSCODES"
        assert await client.ask(b"STARTTLS") == str(replies.NOT_IMPLEMENTED)


async def test_no_mail_in_clear_where_tls_is_required(pem: Pem) -> None:
    async with (
        open_house(RememberingHandler(), smtp_settings(starttls=pem.as_settings(required=True))) as house,
        await house.greeted() as client,
    ):
        await client.ask(b"EHLO c")

        assert await client.ask(b"MAIL FROM:<a@masociete.com>") == str(replies.TLS_FIRST)
        assert await client.ask(b"NOOP") == str(replies.OK)


# --- what it forgets -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("injected", [b"EHLO evil\r\n", b"MAIL FROM:<evil@masociete.com>\r\n" * 300, b"x"])
async def test_what_is_sent_behind_starttls_is_never_obeyed(pem: Pem, injected: bytes) -> None:
    async with (
        open_house(RememberingHandler(), smtp_settings(starttls=pem.as_settings())) as house,
        await house.greeted() as client,
    ):
        await client.ask(b"EHLO c")
        with capture_logs() as logs:
            await client.send(b"STARTTLS\r\n" + injected)

            assert await client.rest() == [str(replies.INJECTED)]
    assert [event["event"] for event in logs] == ["starttls_injected"]


async def test_what_comes_in_clear_before_the_handshake_breaks_it(pem: Pem) -> None:
    before = HANDSHAKES.labels("failed")._value.get()
    async with (
        open_house(RememberingHandler(), smtp_settings(starttls=pem.as_settings())) as house,
        await house.greeted() as client,
    ):
        await client.ask(b"EHLO c")
        await client.ask(b"STARTTLS")
        await client.send(b"MAIL FROM:<evil@masociete.com>\r\n")
        await client.reader.read()
        await until(lambda: house.listener.open_connections == 0)

    assert HANDSHAKES.labels("failed")._value.get() == before + 1


async def test_everything_said_before_tls_is_forgotten(pem: Pem) -> None:
    async with (
        open_house(RememberingHandler(), smtp_settings(starttls=pem.as_settings())) as house,
        await house.greeted() as client,
    ):
        await client.ask(b"EHLO c")
        await client.ask(b"MAIL FROM:<a@masociete.com>")
        assert await client.ask(b"STARTTLS") == str(replies.TLS_READY)
        await client.begin_tls(client_context(pem))

        assert await client.ask(b"RCPT TO:<sendsms@gw.example.org>") == str(replies.MAIL_FIRST)
        assert await client.ask(b"MAIL FROM:<a@masociete.com>") == str(replies.HELLO_FIRST)


# --- clients that do not behave --------------------------------------------------------------------------------------


@on_both_loops
@on_both_tls
@pytest.mark.parametrize("said", [b"", b"EHLO c\r\n" * 10], ids=["silence", "no handshake"])
def test_handshake_that_does_not_come_is_given_up(loop_factory: LoopFactory, pem: Pem, tls: str, said: bytes) -> None:
    listener = {"name": "tls", "listen": ["127.0.0.1:0"], "tls": tls}
    settings = smtp_settings(
        listen=[], starttls=pem.as_settings(), listeners=[listener], handshake_timeout_s=0.05, max_connections=1
    )

    async def scenario() -> None:
        async with open_house(RememberingHandler(), settings) as house:
            for _ in range(3):  # its place is free again
                async with await house.connect() as client:
                    if tls == "starttls":
                        await client.send(b"EHLO c\r\nNOOP\r\n")
                        for _ in range(3):
                            await client.reply()
                        await client.ask(b"STARTTLS")
                    await client.send(said)
                    with contextlib.suppress(ConnectionError):
                        await client.reader.read()
                await until(lambda: house.listener.open_connections == 0)

    before = HANDSHAKES.labels("failed")._value.get()
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario())

    assert HANDSHAKES.labels("failed")._value.get() == before + 3


async def test_many_slow_handshakes_do_not_keep_a_good_client_waiting(pem: Pem) -> None:
    handler = RememberingHandler()
    context = client_context(pem)
    async with open_house(handler, smtp_settings(starttls=pem.as_settings())) as house:
        slow = [await house.greeted() for _ in range(40)]
        for client in slow:
            await client.ask(b"EHLO c")
            await client.ask(b"STARTTLS")
            await client.send(b"\x16\x03\x01")
        async with asyncio.timeout(2), await house.greeted() as client:
            await secure(client, context)

            assert await send_mail(client) == "250 2.0.0 Stored as 01TEST"
        for client in slow:
            client.writer.transport.abort()


@pytest.mark.slow
async def test_cut_over_tls_still_says_why(pem: Pem) -> None:
    async with (
        open_house(RememberingHandler(), smtp_settings(starttls=pem.as_settings(), max_errors=2)) as house,
        await house.greeted() as client,
    ):
        await secure(client, client_context(pem))
        await client.send(b"NONSENSE\r\nNONSENSE\r\n")

        assert await client.rest() == [*[str(replies.UNKNOWN_COMMAND)] * 2, str(replies.TOO_MANY_ERRORS)]


async def test_handshake_on_a_port_where_none_is_expected_is_cut(pem: Pem) -> None:
    async with open_house(RememberingHandler()) as house, await house.greeted() as client:
        await client.send(b"\x16\x03\x01\x00\x05hello\r\n")

        assert await client.rest() == [str(replies.NOT_SMTP)]


async def test_mail_is_stored_although_the_client_breaks_tls_behind_the_dot(pem: Pem) -> None:
    handler = RememberingHandler()
    async with open_house(handler, smtp_settings(starttls=pem.as_settings())) as house:
        client = await house.greeted()
        await secure(client, client_context(pem))
        for command in (b"EHLO c", b"MAIL FROM:<a@masociete.com>", b"RCPT TO:<sendsms@gw.example.org>", b"DATA"):
            await client.ask(command)
        await client.send(MAIL + b".\r\n")
        sock: socket.socket = client.writer.get_extra_info("socket")
        sock.shutdown(socket.SHUT_WR)
        await handler.wait_until_stored()
        client.writer.transport.abort()

    assert [mail.content for mail in handler.stored] == [MAIL]


# --- certificates of clients -----------------------------------------------------------------------------------------


async def test_certificate_of_a_client_is_told_of(pem: Pem, tmp_path: Path) -> None:
    issuer = make_certificate(tmp_path, "ca", is_ca=True)
    shown = make_certificate(tmp_path, "Scanner.masociete.com", issuer=issuer)
    handler = RememberingHandler()
    settings = smtp_settings(starttls=pem.as_settings(client_ca=issuer.certificate))
    async with open_house(handler, settings) as house:
        for context in (client_context(pem, shown), client_context(pem)):
            async with await house.greeted() as client:
                await secure(client, context)
                await send_mail(client)
    said = run_openssl("x509", "-noout", "-fingerprint", "-sha256", "-in", str(shown.certificate))
    first, second = (mail.certificate for mail in handler.stored)

    assert first is not None
    assert first.names == {"scanner.masociete.com"}
    assert first.fingerprint == said.partition("=")[2].replace(":", "").lower()
    assert second is None


async def test_certificate_that_nobody_vouches_for_ends_the_handshake(pem: Pem, tmp_path: Path) -> None:
    issuer, foreign = make_certificate(tmp_path, "ca", is_ca=True), make_certificate(tmp_path, "scanner.masociete.com")
    handler = RememberingHandler()
    settings = smtp_settings(starttls=pem.as_settings(client_ca=issuer.certificate))
    async with open_house(handler, settings) as house, await house.greeted() as client:
        with pytest.raises((ConnectionError, ssl.SSLError)):
            await secure_and_ask(client, client_context(pem, foreign))
        await until(lambda: house.listener.open_connections == 0)

    assert not handler.begun


async def test_certificate_of_a_client_may_vouch_for_itself(pem: Pem, tmp_path: Path) -> None:
    own = make_certificate(tmp_path, "scanner.masociete.com")
    handler = RememberingHandler()
    settings = smtp_settings(starttls=pem.as_settings(client_ca=own.certificate))
    async with open_house(handler, settings) as house, await house.greeted() as client:
        await secure(client, client_context(pem, own))
        await send_mail(client)

    assert handler.stored[0].certificate is not None


# --- the certificate in use ------------------------------------------------------------------------------------------


def keeper_of(pem: Pem, clock: ManualClock | None = None) -> TlsKeeper:
    clock = clock or ManualClock(datetime.now(UTC))  # noqa: TID251 - OpenSSL makes certificates by the machine's clock
    return TlsKeeper(TlsSettings.model_validate(pem.as_settings()), clock)


def put(new: Pem, pem: Pem) -> None:
    pem.certificate.write_bytes(new.certificate.read_bytes())
    pem.key.write_bytes(new.key.read_bytes())


async def test_change_is_heeded_once_it_has_lasted_for_a_look(tmp_path: Path) -> None:
    pem, new = make_certificate(tmp_path), make_certificate(tmp_path, "new", days=30)
    keeper = keeper_of(pem)
    await keeper.load()
    old = keeper.context
    pem.certificate.write_bytes(new.certificate.read_bytes())  # the key is to follow
    with capture_logs() as logs:
        await keeper.look()
        put(new, pem)
        await keeper.look()
        assert keeper.context is old
        await keeper.look()
        await keeper.look()

    assert keeper.context is not old
    assert [event["event"] for event in logs] == ["certificate_loaded"]
    assert EXPIRY._value.get() == read_expiry(new.certificate.read_bytes()).timestamp()


@pytest.mark.parametrize("fault", ["other key", "no key", "no certificate", "gone", "encrypted", "run out"])
async def test_bad_renewal_leaves_the_old_one_in_use(tmp_path: Path, fault: str) -> None:
    pem, new = make_certificate(tmp_path), make_certificate(tmp_path, "new", days=30)
    clock = ManualClock(datetime.now(UTC))  # noqa: TID251 - as above
    keeper = keeper_of(pem, clock)
    await keeper.load()
    old, old_expiry = keeper.context, read_expiry(pem.certificate.read_bytes())
    match fault:
        case "other key":
            pem.key.write_bytes(new.key.read_bytes())
            words = f"{pem.key} is not the key of {pem.certificate}"
        case "no key":
            pem.key.write_text("rubbish")
            words = f"{pem.key} is not a private key in PEM form without a password"
        case "no certificate":
            pem.certificate.write_text("rubbish")
            words = f"{pem.certificate} holds no certificate in PEM form"
        case "gone":
            pem.key.unlink()
            words = f"{pem.key} cannot be read: No such file or directory"
        case "encrypted":
            run_openssl("ec", "-aes128", "-passout", "pass:secret", "-in", str(pem.key), "-out", str(pem.key))
            words = f"{pem.key} is not a private key in PEM form without a password"
        case _:
            clock.advance(timedelta(days=31).total_seconds())
            put(new, pem)
            words = f"{pem.certificate} has run out, on "
    with capture_logs() as logs:
        for _ in range(4):
            await keeper.look()
    found = [event for event in logs if event["event"] == "certificate_unusable"]

    assert keeper.context is old
    assert len(found) == 1
    assert found[0]["problem"].startswith(words)
    assert found[0]["old_is_good_until"] == old_expiry.isoformat()


async def test_bad_certificate_at_the_start_is_one_sentence(tmp_path: Path) -> None:
    pem = make_certificate(tmp_path)
    pem.certificate.unlink()

    with pytest.raises(TlsUnusable, match=rf"^{pem.certificate} cannot be read: No such file or directory$"):
        async with open_house(RememberingHandler(), smtp_settings(starttls=pem.as_settings())):
            pass


async def test_reload_takes_the_new_certificate_at_once(tmp_path: Path) -> None:
    pem, new = make_certificate(tmp_path), make_certificate(tmp_path, "new")
    async with open_house(RememberingHandler(), smtp_settings(starttls=pem.as_settings())) as house:
        put(new, pem)
        await house.listener.reload(())
        async with await house.greeted() as client:
            context = client_context(new)
            context.check_hostname = False
            await secure(client, context)

            assert await client.ask(b"NOOP") == str(replies.OK)


async def test_end_that_is_near_is_warned_of_once_a_day(tmp_path: Path) -> None:
    clock = ManualClock(datetime.now(UTC))  # noqa: TID251 - as above
    keeper = keeper_of(make_certificate(tmp_path, days=30), clock)
    with capture_logs() as logs:
        await keeper.load()
        clock.advance(17 * 86_400)
        for _ in range(25):
            await keeper.look()
            clock.advance(3_600)

    assert [event["event"] for event in logs] == ["certificate_loaded", *["certificate_expires"] * 2]


@pytest.mark.parametrize("days", [1, 3_650, 20_000], ids=["UTCTime", "still UTCTime", "GeneralizedTime"])
def test_expiry_is_what_openssl_says(tmp_path: Path, days: int) -> None:
    pem = make_certificate(tmp_path, days=days)
    said = run_openssl("x509", "-noout", "-enddate", "-dateopt", "iso_8601", "-in", str(pem.certificate))
    expected = datetime.strptime(said, "notAfter=%Y-%m-%d %H:%M:%SZ").replace(tzinfo=UTC)

    assert read_expiry(pem.certificate.read_bytes()) == expected


def test_file_that_is_cut_off_anywhere_is_no_certificate(tmp_path: Path) -> None:
    content = make_certificate(tmp_path).certificate.read_text().splitlines()
    body = "".join(content[1:-1])
    for length in range(0, 200, 4):
        with pytest.raises(NotACertificate):
            read_expiry("\n".join([content[0], body[:length], content[-1]]).encode())
