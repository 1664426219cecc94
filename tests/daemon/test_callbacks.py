"""What a carrier calls back with, through the whole gateway: a mail in, an SMS out, and in the end the etatAr."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import httpx
import pytest
import structlog

from gateway.cli.examples.client import submit
from gateway.clock import Clock
from gateway.config import Config, load
from gateway.daemon import Daemon
from gateway.daemon import present as present_module
from gateway.lifecycle import SmsState
from gateway.providers.base import Batch, Callback, CallbackUnreadable, Fate, Receipt, Reply
from gateway.providers.registry import ProviderSettings
from gateway.smtp.mailbox import Mailbox
from gateway.store import Store, migrate, tables
from tests.stages.rig import FakeCarrier
from tests.store.samples import rows
from tests.support.configuration import RECIPIENT, SENDER, write_config

OLD, NEW = "old-secret-of-the-carrier", "new-secret-of-the-carrier"

pytestmark = pytest.mark.slow


class CallingCarrier(FakeCarrier):
    """A carrier that was told where to call back, and reads `tracker` and `statut`."""

    def __init__(self, callback_url: str | None) -> None:
        super().__init__()
        self.callback_url = callback_url

    def parse_callback(self, callback: Callback) -> Sequence[Receipt | Reply]:
        given = dict(callback.query)
        if "tracker" not in given:
            raise CallbackUnreadable("it has no tracker")
        fate = Fate.DELIVERED if given.get("statut") == "0" else Fate.UNKNOWN
        return [Receipt(tracker=given["tracker"], fate=fate, raw="ok")]


class Carriers:
    """Every carrier that was built, in order."""

    def __init__(self) -> None:
        self.built: list[CallingCarrier] = []

    def build(self, _settings: ProviderSettings, _clock: Clock, *, callback_url: str | None = None) -> CallingCarrier:
        self.built.append(CallingCarrier(callback_url))
        return self.built[-1]

    async def wait_for_calls(self, count: int) -> list[Batch]:
        return await self.built[0].wait_for_calls(count)


@pytest.fixture
def carriers(monkeypatch: pytest.MonkeyPatch) -> Carriers:
    found = Carriers()
    monkeypatch.setattr(present_module, "build_provider", found.build)
    return found


@pytest.fixture
async def mailbox() -> AsyncIterator[Mailbox]:
    async with Mailbox() as opened:
        yield opened


def write(path: Path, mailbox: Mailbox, **provider: object) -> Config:
    write_config(
        path,
        smarthost=mailbox.address,
        account={"receipts": "mail"},
        provider={"callback_secret": OLD, **provider},
        http={"listen": "127.0.0.1:0", "public_url": "https://gw.example.org/sms/"},
    )
    return load(path, environ={})


@pytest.fixture
async def config(tmp_path: Path, mailbox: Mailbox) -> Config:
    loaded = write(tmp_path / "gateway.toml", mailbox)
    await migrate(loaded.store)
    return loaded


def url(daemon: Daemon) -> str:
    assert daemon.addresses.http is not None
    return "http://{}:{}/receipts/carrier".format(*daemon.addresses.http)


def mail(*numbers: str) -> bytes:
    wanted = "".join(f"<num{place}>{number}</num{place}>" for place, number in enumerate(numbers, start=1))
    return (
        f"From: {SENDER}\r\nTo: {RECIPIENT}\r\nMessage-ID: <1548@masociete.com>\r\n\r\n"
        f"<envoi>\r\n<keyid>a296464ce012b8ab710a</keyid>\r\n{wanted}<sms>Salut</sms>\r\n"
        f"<emailNot>not@masociete.com</emailNot><emailId>1548</emailId>\r\n</envoi>\r\n"
    ).encode()


async def send(daemon: Daemon, *numbers: str) -> None:
    host, port = daemon.addresses.smtp[0]
    reply = await submit(host, port, mail(*numbers), sender=SENDER, recipient=RECIPIENT)
    assert reply.startswith("250"), reply


async def test_a_callback_becomes_an_etat_ar(config: Config, mailbox: Mailbox, carriers: Carriers) -> None:
    with structlog.testing.capture_logs() as lines:
        async with Daemon(config) as daemon, httpx.AsyncClient() as client:
            await send(daemon, "0601020304", "0601020305")
            (batch,) = await carriers.wait_for_calls(1)
            await mailbox.wait_for(1)
            answers = [
                await client.get(f"{url(daemon)}/{OLD}", params={"tracker": message.tracker.lower(), "statut": "0"})
                for message in batch.messages
                for _ in range(3)
            ]
            _, report = await mailbox.wait_for(2)

    assert {answer.status_code for answer in answers} == {200}
    assert b"Subject: PUSH MSISDN: etatAr\r\n" in report.content
    assert report.recipients == ("not@masociete.com",)
    assert report.content.count("Votre message a bien été reçu".encode("iso-8859-1")) == 2
    assert [line["event"] for line in lines].count("receipt_learnt") == 2
    assert OLD not in str(lines)


async def test_the_carrier_is_told_where_to_call_and_a_new_secret_after_a_reload(
    config: Config, mailbox: Mailbox, carriers: Carriers
) -> None:
    async with Daemon(config) as daemon, httpx.AsyncClient() as client:
        await daemon.reload(write(config.path, mailbox, callback_secret=NEW, previous_callback_secret=OLD))
        during = [(await client.get(f"{url(daemon)}/{secret}")).status_code for secret in (OLD, NEW)]
        await daemon.reload(write(config.path, mailbox, callback_secret=NEW))
        after = [(await client.get(f"{url(daemon)}/{secret}")).status_code for secret in (OLD, NEW)]

    assert [carrier.callback_url for carrier in carriers.built] == [
        f"https://gw.example.org/sms/receipts/carrier/{secret}" for secret in (OLD, NEW, NEW)
    ]
    assert (during, after) == ([200, 200], [404, 200])


async def test_an_early_receipt_is_applied_with_the_answer(
    config: Config, mailbox: Mailbox, carriers: Carriers
) -> None:
    async with Daemon(config) as daemon, httpx.AsyncClient() as client:
        carrier, go_on = carriers.built[0], asyncio.Event()
        accept = carrier.default

        async def answer_late(batch: Batch) -> object:
            await go_on.wait()
            return await accept(batch)

        carrier.default = answer_late  # type: ignore[assignment]
        await send(daemon, "0601020304")
        (batch,) = await carriers.wait_for_calls(1)
        params = {"tracker": batch.messages[0].tracker, "statut": "0"}
        answer = await client.get(f"{url(daemon)}/{OLD}", params=params)
        go_on.set()
        await mailbox.wait_for(2)

    store = await Store.open(config.store)
    states = [sms["state"] for sms in await rows(store, tables.sms)]
    await store.close()
    assert (answer.status_code, states) == (200, [SmsState.DELIVERED])


async def test_without_a_public_url_the_carrier_is_told_no_address(
    tmp_path: Path, mailbox: Mailbox, carriers: Carriers
) -> None:
    path = tmp_path / "gateway.toml"
    write_config(path, smarthost=mailbox.address, provider={"callback_secret": OLD}, http={"listen": "127.0.0.1:0"})
    config = load(path, environ={})
    await migrate(config.store)
    async with Daemon(config) as daemon, httpx.AsyncClient() as client:
        answer = await client.get(f"{url(daemon)}/{OLD}")

    assert carriers.built[0].callback_url is None
    assert answer.status_code == 200
