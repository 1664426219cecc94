"""The whole gateway: a reply by SMS comes back as a mail, a STOP is heeded, and the list can be changed beside it."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.cli.examples.client import submit
from gateway.clock import SystemClock
from gateway.config import Config, load
from gateway.daemon import Daemon
from gateway.providers.base import Reply
from gateway.sandbox import Sandbox
from gateway.smtp.mailbox import Mailbox
from gateway.store import migrate, tables
from tests.daemon.test_daemon import RECIPIENT, SENDER, mail, send
from tests.store.samples import rows
from tests.support.configuration import write_config
from tests.support.gateway import run_command, serve

pytestmark = pytest.mark.slow

NUMBER = "+33601020304"


@pytest.fixture
async def config(tmp_path: Path, sandbox: Sandbox, mailbox: Mailbox) -> Config:
    """A configuration whose store exists, and whose account wants replies."""
    path = tmp_path / "gateway.toml"
    account = {"reply_to": "desk@help.example"}
    write_config(path, smarthost=mailbox.address, carrier=sandbox.url, account=account)
    loaded = load(path, environ={})
    await migrate(loaded.store)
    return loaded


async def test_a_reply_comes_back_in_the_thread_and_a_stop_is_heeded(
    config: Config, sandbox: Sandbox, mailbox: Mailbox
) -> None:
    async with Daemon(config) as daemon:
        await send(daemon, mail("1"))
        await sandbox.wait_for_messages(1)
        await mailbox.wait_for(2)
        stop = Reply(msisdn=NUMBER, text="STOP\nje n'en veux plus", reference="r1", raw="{}")
        async with asyncio.TaskGroup() as group:  # the carrier calls twice at once
            for _ in range(2):
                group.create_task(daemon.parts.replies.take("carrier", [stop]))
        answer = (await mailbox.wait_for(3))[2]
        await send(daemon, mail("2"))
        reports = (await mailbox.wait_for(5))[3:]
        stored = await rows(daemon.store, tables.reply)

    assert (answer.recipients, answer.envelope_from, len(stored)) == (("desk@help.example",), "", 1)
    assert b"In-Reply-To: <1@masociete.com>\r\n" in answer.content
    assert b"Subject: SMS reply / reponse SMS: +33601020304 (STOP)\r\n" in answer.content
    assert b"emailId 1, SMS 1\r\n" in answer.content
    assert b"Auto-Submitted" not in answer.content
    assert any(b"<code>11</code>\r\n<tel>0601020304</tel>" in report.content for report in reports)
    assert len(sandbox.messages) == 1


async def test_the_list_is_changed_beside_a_gateway_at_work(tmp_path: Path, sandbox: Sandbox, mailbox: Mailbox) -> None:
    path = tmp_path / "gateway.toml"
    write_config(path, smarthost=mailbox.address, carrier=sandbox.url)
    await migrate(load(path, environ={}).store)
    csv = tmp_path / "list.csv"
    csv.write_text("msisdn\n0601020304\n")
    next_month = f"{SystemClock().now() + timedelta(days=30):%Y-%m-%d} 10:00"
    waiting = mail("1").replace(b"<num>", f"<date_envoi>{next_month}</date_envoi>\r\n<num>".encode())
    async with serve(path) as gateway:
        await submit(*gateway.smtp, waiting, sender=SENDER, recipient=RECIPIENT)
        await mailbox.wait_for(1)
        done = await run_command("optout", "import", str(csv), "--config", str(path))
        await submit(*gateway.smtp, mail("2"), sender=SENDER, recipient=RECIPIENT)
        reports = (await mailbox.wait_for(4))[1:]
        removed = await run_command("optout", "remove", NUMBER, "--config", str(path))
        await submit(*gateway.smtp, mail("3"), sender=SENDER, recipient=RECIPIENT)
        await sandbox.wait_for_messages(1)
    refused = [one.content for one in reports if b"<code>11</code>\r\n<tel>0601020304</tel>" in one.content]

    assert (done.status, removed.status) == (0, 0), done.stderr
    assert done.stdout == "added: 1, on the list before: 0, SMS cancelled: 1, lines that could not be read: 0\n"
    assert sorted(b"<emailId>1</emailId>" in one for one in refused) == [False, True]
