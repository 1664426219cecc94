"""Mail in, SMS out, an answer typed on the telephone, mail back: the real gateway and the carriers in a box."""

import asyncio
import email
import email.policy
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

import pytest

from gateway.cli.examples.client import submit
from gateway.config import load
from gateway.lifecycle import SmsState
from gateway.sandbox import Api, Sandbox, SandboxOptions
from gateway.smtp.mailbox import Mailbox, ReceivedMail
from gateway.store import Store, migrate, tables
from tests.daemon.test_daemon import mail
from tests.store.samples import rows
from tests.support.configuration import RECIPIENT, SENDER, write_config
from tests.support.gateway import GatewayProcess, serve

pytestmark = pytest.mark.slow

SECRET = "a-secret-of-the-callbacks"
DESK = "desk@help.example"
DEADLINE_S = 30.0

ISENDPRO: Mapping[str, object] = {"kind": "isendpro", "keyid": "0123456789abcdef0123", "status_undelivered": ["21"]}
LONG: Mapping[str, object] = {"kind": "smspartner", "api_key": "abcdef0123456789", "long_number": "33755500011"}
SHORT: Mapping[str, object] = {"kind": "smspartner", "api_key": "abcdef0123456789"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Town:
    """Everything there is."""

    gateway: GatewayProcess
    sandbox: Sandbox
    mailbox: Mailbox
    config: Path

    async def send(self, email_id: str, number: str = "0601020304") -> None:
        reply = await submit(*self.gateway.smtp, mail(email_id, number), sender=SENDER, recipient=RECIPIENT)
        assert reply.startswith("250")

    async def mails(self, subject: str, count: int = 1) -> Sequence[EmailMessage]:
        """Wait for so many mails with this in their subject; return them."""

        def found(mails: Sequence[ReceivedMail]) -> list[EmailMessage]:
            read = [email.message_from_bytes(one.content, policy=email.policy.default) for one in mails]
            return [one for one in read if subject in str(one["Subject"])]

        return found(await self.mailbox.wait_for(lambda mails: len(found(mails)) >= count, DEADLINE_S))

    async def wait_for_sms(self, count: int) -> None:
        async with asyncio.timeout(DEADLINE_S):
            await self.sandbox.wait_for_messages(count)


@asynccontextmanager
async def town(folder: Path, provider: Mapping[str, object]) -> AsyncIterator[Town]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with Sandbox(options=SandboxOptions(receipt_delay_s=0.05)) as sandbox, Mailbox() as mailbox:
        below = "/cgi-bin" if provider is ISENDPRO else "/v1"
        config = write_config(
            folder / "gateway.toml",
            smarthost=mailbox.address,
            account={"reply_to": DESK, "receipts": "mail"},
            provider={**provider, "base_url": sandbox.url + below, "callback_secret": SECRET},
            http={"listen": f"127.0.0.1:{port}", "public_url": f"http://127.0.0.1:{port}"},
        )
        await migrate(load(config, environ={}).store)
        sandbox.call_back(Api.ISENDPRO, f"http://127.0.0.1:{port}/receipts/carrier/{SECRET}")
        async with serve(config) as gateway:
            yield Town(gateway=gateway, sandbox=sandbox, mailbox=mailbox, config=config)


async def states(config: Path) -> list[SmsState]:
    store = await Store.open(load(config, environ={}).store, read_only=True)
    try:
        return [row["state"] for row in await rows(store, tables.sms)]
    finally:
        await store.close()


def text_of(message: EmailMessage) -> str:
    content = message.get_content()
    assert isinstance(content, str)
    return content


CARRIERS = pytest.mark.parametrize("provider", [ISENDPRO, LONG, SHORT], ids=["isendpro", "long number", "short code"])


@CARRIERS
async def test_an_answer_comes_back_in_the_thread_and_a_stop_ends_it(
    tmp_path: Path, provider: Mapping[str, object]
) -> None:
    async with town(tmp_path, provider) as here:
        await here.send("1")
        await here.wait_for_sms(1)
        await here.mails("etatNot")
        here.sandbox.answer("+33601020304", "Oui, j'arrive à 9h €")
        (answer,) = await here.mails("SMS reply")
        here.sandbox.answer("+33601020304", "STOP")
        await here.mails("(STOP)")
        await here.send("2")
        nots = await here.mails("etatNot", 2)

        assert len(here.sandbox.messages) == 1

    assert (answer["To"], answer["In-Reply-To"], answer["References"]) == (DESK, *["<1@masociete.com>"] * 2)
    assert text_of(answer).startswith("Oui, j'arrive à 9h €")
    assert "<code>0</code>" in text_of(nots[0])
    assert "<code>11</code>" in text_of(nots[1])


@CARRIERS
async def test_what_the_network_says_is_told(tmp_path: Path, provider: Mapping[str, object]) -> None:
    async with town(tmp_path, provider) as here:
        await here.send("1", "0699000001")
        await here.send("2", "0699000002")
        told = {text_of(one).partition("<emailId>")[2][0]: text_of(one) for one in await here.mails("etatAr", 2)}
        await here.send("3", "0699000005")
        (answer,) = await here.mails("SMS reply")

    assert "<code>0</code>" in told["1"]
    assert "<code>0</code>" not in told["2"]
    assert text_of(answer).startswith("OUI")
    assert (await states(here.config))[:2] == [SmsState.DELIVERED, SmsState.UNDELIVERED]


@CARRIERS
async def test_a_lost_answer_is_learnt_from_the_receipt(tmp_path: Path, provider: Mapping[str, object]) -> None:
    async with town(tmp_path, provider) as here:
        here.sandbox.misbehave("lost", count=1)
        await here.send("1")
        (not_,) = await here.mails("etatNot")

        assert len(here.sandbox.messages) == 1

    assert "<code>0</code>" in text_of(not_)
