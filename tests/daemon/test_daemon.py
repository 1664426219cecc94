"""The whole gateway in this process: a mail in, an SMS out, the reports back; starting, stopping, reloading."""

import asyncio
import contextlib
import fcntl
import socket
from pathlib import Path

import aiosmtplib
import httpx
import pytest
import structlog

from gateway.cli.examples.client import submit
from gateway.config import Config, load
from gateway.daemon import Daemon
from gateway.daemon import gateway as gateway_module
from gateway.daemon.ownership import sole_owner
from gateway.daemon.shortage import DiskWatch
from gateway.lifecycle import SmsState
from gateway.sandbox import Sandbox
from gateway.smtp.listener import ListenError
from gateway.smtp.mailbox import Mailbox
from gateway.store import Store, StoreUnavailable, StoreUnusable, tables
from gateway.web.server import HttpServer, HttpUnavailable, split_listen
from tests.store.samples import rows
from tests.support.clock import START

SENDER = "alerte@masociete.com"
RECIPIENT = "sendsms@gw.example.org"


def mail(email_id: str, number: str = "0601020304", key: str = "a296464ce012b8ab710a") -> bytes:
    return (
        f"From: {SENDER}\r\nTo: {RECIPIENT}\r\nMessage-ID: <{email_id}@masociete.com>\r\n\r\n"
        f"<envoi>\r\n<keyid>{key}</keyid>\r\n<num>{number}</num>\r\n<sms>Salut</sms>\r\n"
        f"<emailNot>not@masociete.com</emailNot>\r\n<emailAck>ack@masociete.com</emailAck>\r\n"
        f"<emailId>{email_id}</emailId>\r\n</envoi>\r\n"
    ).encode()


async def send(daemon: Daemon, content: bytes) -> str:
    host, port = daemon.addresses.smtp[0]
    return await submit(host, port, content, sender=SENDER, recipient=RECIPIENT)


def url(daemon: Daemon) -> str:
    assert daemon.addresses.http is not None
    return "http://{}:{}".format(*daemon.addresses.http)


@pytest.mark.slow
async def test_a_mail_becomes_an_sms_and_two_reports(config: Config, sandbox: Sandbox, mailbox: Mailbox) -> None:
    async with Daemon(config) as daemon:
        reply = await send(daemon, mail("1548"))
        await sandbox.wait_for_messages(1)
        reports = await mailbox.wait_for(2)

    assert reply.startswith("250 2.0.0")
    assert {report.recipients for report in reports} == {("ack@masociete.com",), ("not@masociete.com",)}
    assert any(b"<etatAck>" in report.content for report in reports)
    assert any(b"<code>0</code>\r\n<tel>0601020304</tel>" in report.content for report in reports)


@pytest.mark.slow
async def test_health_says_alive_ready_and_what_waits(config: Config) -> None:
    async with Daemon(config) as daemon, httpx.AsyncClient(base_url=url(daemon)) as client:
        live, ready, metrics = [await client.get(path) for path in ("/livez", "/readyz", "/metrics")]
        nothing = await client.get("/admin")

    assert (live.status_code, ready.status_code, nothing.status_code) == (200, 200, 404)
    assert metrics.headers["content-type"].startswith("text/plain")
    assert 'mail2sms_sms_rows{state="queued"} 0.0' in metrics.text
    assert 'mail2sms_sms_oldest_age_seconds{state="uncertain"} 0.0' in metrics.text
    assert "mail2sms_sms_moves_total" in metrics.text


@pytest.mark.slow
async def test_without_an_answer_of_its_store_it_is_alive_and_not_ready(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stay_away() -> None:
        raise StoreUnavailable("the store is gone, locked or busy")

    async with Daemon(config) as daemon, httpx.AsyncClient(base_url=url(daemon)) as client:
        monkeypatch.setattr(daemon.store, "ping", stay_away)
        live, ready = [await client.get(path) for path in ("/livez", "/readyz")]

    assert (live.status_code, ready.status_code) == (200, 503)
    assert ready.text == "the store does not answer\n"


@pytest.mark.slow
async def test_without_room_on_the_disk_it_takes_no_mail_and_says_that_it_is_not_ready(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DiskWatch, "_free_bytes", lambda _self: 0)
    async with Daemon(config) as daemon, httpx.AsyncClient(base_url=url(daemon)) as client:
        reply, ready = await send(daemon, mail("1")), await client.get("/readyz")

    assert reply == "452 4.3.1 No room for the mail at the moment, try again later"
    assert (ready.status_code, ready.text) == (503, "the disk of the store has no room for mail\n")


@pytest.mark.slow
async def test_a_store_that_vanishes_takes_no_mail_and_ends_the_gateway(config: Config, tmp_path: Path) -> None:
    taken = []

    async def lose_the_store() -> None:
        async with Daemon(config) as daemon:
            (tmp_path / "gateway.db").unlink()
            with contextlib.suppress(aiosmtplib.SMTPException):  # it may end before it has answered
                taken.append(await send(daemon, mail("1")))
            await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as caught:
        await lose_the_store()

    assert [reply for reply in taken if not reply.startswith("451 4.3.0")] == []
    assert caught.value.subgroup(StoreUnusable) is not None


@pytest.mark.slow
async def test_a_restart_sends_nothing_of_unknown_fate_again(
    config: Config, sandbox: Sandbox, mailbox: Mailbox
) -> None:
    async with Daemon(config) as daemon:
        await send(daemon, mail("1", number="0699000006"))
        await sandbox.wait_for_messages(1)
        await mailbox.wait_for(1)
    left = await _sms(config)
    async with Daemon(config):
        pass

    assert [row["state"] for row in left] == [SmsState.UNCERTAIN]
    assert len(sandbox.messages) == 1
    assert [row["state"] for row in await _sms(config)] == [SmsState.UNCERTAIN]


async def _sms(config: Config) -> list[dict[str, object]]:
    store = await Store.open(config.store)
    try:
        return await rows(store, tables.sms)
    finally:
        await store.close()


@pytest.mark.slow
async def test_two_gateways_do_not_share_a_file(config: Config) -> None:
    async with Daemon(config):
        with pytest.raises(StoreUnusable, match="another gateway works on"):
            await Daemon(config).start()


@pytest.mark.slow
async def test_a_missing_store_stops_the_start_and_is_not_made(config: Config, tmp_path: Path) -> None:
    (tmp_path / "gateway.db").unlink()

    with pytest.raises(StoreUnusable, match="mail2sms migrate"):
        await Daemon(config).start()

    assert not (tmp_path / "gateway.db").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("section", "error"), [("smtp", ListenError), ("http", HttpUnavailable)])
async def test_a_taken_address_stops_the_start_and_frees_everything(
    config: Config, section: str, error: type[Exception]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        listen = (address,) if section == "smtp" else address
        changed = getattr(config, section).model_copy(update={"listen": listen})

        with pytest.raises(error, match="cannot listen on"):
            await Daemon(config.model_copy(update={section: changed})).start()

    async with Daemon(config):
        pass


@pytest.mark.slow
async def test_a_stage_that_dies_ends_the_gateway(config: Config) -> None:
    daemon = Daemon(config)
    await daemon.start()

    async def die() -> None:
        raise StoreUnusable("the schema is another")

    daemon.parts.janitor.run = die  # type: ignore[method-assign]
    with pytest.raises(ExceptionGroup) as raised:
        await daemon.run(asyncio.Event())

    assert raised.group_contains(StoreUnusable)


@pytest.mark.slow
async def test_a_stage_that_ends_by_itself_ends_the_gateway(config: Config) -> None:
    daemon = Daemon(config)
    await daemon.start()
    daemon.parts.mailer.stop()

    with pytest.raises(ExceptionGroup) as raised:
        await daemon.run(asyncio.Event())

    assert [str(error) for error in raised.value.exceptions] == ["mailer ended by itself"]


@pytest.mark.slow
async def test_a_drain_waits_for_the_carrier_and_records_its_answer(
    config: Config, sandbox: Sandbox, mailbox: Mailbox
) -> None:
    sandbox.misbehave("slow", delay_s=0.3)
    async with Daemon(config) as daemon:
        await send(daemon, mail("1"))
        await sandbox.wait_for_messages(1)

    assert [row["state"] for row in await _sms(config)] == [SmsState.ACCEPTED]


@pytest.mark.slow
async def test_a_drain_that_takes_too_long_records_the_call_as_unknown(
    config: Config, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_module, "GRACE_S", 0.2)
    sandbox.misbehave("slow", delay_s=20)
    with structlog.testing.capture_logs() as lines:
        async with Daemon(config) as daemon:
            await send(daemon, mail("1"))
            async with asyncio.timeout(5):
                while not sandbox.calls:  # noqa: ASYNC110 the sandbox tells of messages, not of calls
                    await asyncio.sleep(0.01)

    assert [row["state"] for row in await _sms(config)] == [SmsState.UNCERTAIN]
    assert "drain_cut" in [line["event"] for line in lines]


@pytest.mark.slow
async def test_a_reload_brings_new_accounts_and_tells_what_waits(
    config: Config, sandbox: Sandbox, mailbox: Mailbox
) -> None:
    text = config.path.read_text()
    key = "b" * 40
    config.path.write_text(
        text.replace("a296464ce012b8ab710a", key).replace("[http]", "[janitor]\nevery_s = 99\n\n[http]")
    )
    with structlog.testing.capture_logs() as lines:
        async with Daemon(config) as daemon:
            before = await send(daemon, mail("1", key=key))
            kept = daemon.parts.present.carriers["carrier"]
            await daemon.reload(load(config.path, environ={}))
            after = await send(daemon, mail("2", key=key))
            await sandbox.wait_for_messages(1)
            await daemon.reload(load(config.path, environ={}))
            config.path.write_text(text)
            await daemon.reload(load(config.path, environ={}))

            assert daemon.parts.present.carriers["carrier"] is kept

    assert (before[:3], after[:3]) == ("550", "250")
    # said as long as it is so, and not of what is in force again
    assert [line["sections"] for line in lines if line["event"] == "restart_needed"] == [["janitor"], ["janitor"]]


# --- its parts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["127.0.0.1", ":8025", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:70000", "[]:80"])
def test_an_http_address_is_host_and_port(value: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        split_listen(value)


async def test_an_http_server_serves_only_what_it_has_bound() -> None:
    async def app(*_: object) -> None:
        raise AssertionError

    with pytest.raises(HttpUnavailable):
        await HttpServer(app, listen="127.0.0.1:0").serve()


def test_the_lock_ends_with_its_holder(tmp_path: Path) -> None:
    database = tmp_path / "gateway.db"
    with sole_owner(database):
        pass
    with sole_owner(database), (tmp_path / "gateway.db.lock").open() as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_folder_that_is_not_there_is_told_with_what_to_do(tmp_path: Path) -> None:
    told = f"there is no folder {tmp_path}/away: .* mail2sms migrate"

    with pytest.raises(StoreUnusable, match=told), sole_owner(tmp_path / "away" / "gateway.db"):
        pass


@pytest.mark.slow
async def test_what_the_carrier_takes_is_spent_and_the_rest_is_told_12(
    config: Config, sandbox: Sandbox, mailbox: Mailbox
) -> None:
    content = mail("1548").replace(b"<num>0601020304</num>", b"<num1>0601020304</num1>\r\n<num2>0601020305</num2>")
    async with Daemon(config) as daemon:
        store = await Store.open(config.store)
        await store.set_credit("masociete", 1, START)  # beside the daemon, as `mail2sms credit set` does
        await send(daemon, content)
        await sandbox.wait_for_messages(1)
        reports = await mailbox.wait_for(3)  # the Ack, the warning to the contact, the Not
        (credit,) = await store.credits()
        await store.close()

    (warning,) = [report.content for report in reports if b"Auto-Submitted: auto-generated\r\n" in report.content]
    assert b"mail2sms credit add masociete PARTS" in warning
    assert [message["number"] for message in sandbox.messages] == ["33601020304"]
    assert (credit.balance, credit.reserved, credit.spent) == (0, 0, 1)
    (not_,) = [report.content for report in reports if b"<etatNot>" in report.content]
    assert b"<code1>0</code1>\r\n<tel1>0601020304</tel1>" in not_
    assert b"<code2>12</code2>\r\n<tel2>0601020305</tel2>" in not_
