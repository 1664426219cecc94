"""The HTTP listener with a carrier behind it that reads callbacks as it is told."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import httpx
import pytest

from gateway.lifecycle import SmsId
from gateway.providers.base import Callback, CallbackUnreadable, Fate, Receipt, Reply
from gateway.store.words import Learnt
from gateway.web import Callbacks, Hook, HttpServer, health_app
from gateway.web.receipts import digest_secret
from tests.support.clock import ManualClock
from tests.support.gauges import quiet_gauges

SECRET = "f3c1a0de9b7744d2"
PREVIOUS = "0123456789abcdef-_"
BODY_DEADLINE_S = 0.2


class Carrier:
    """Reads `tracker` and `text` out of whatever comes, and remembers what came."""

    def __init__(self) -> None:
        self.callbacks: list[Callback] = []

    def parse_callback(self, callback: Callback) -> Sequence[Receipt | Reply]:
        self.callbacks.append(callback)
        given = dict(callback.query)
        if "nonsense" in given:
            raise CallbackUnreadable("it has no tracker")
        said: list[Receipt | Reply] = []
        if "tracker" in given:
            said.append(Receipt(tracker=given["tracker"], fate=Fate.DELIVERED, raw="ok"))
        if "text" in given:
            said.append(Reply(msisdn="+33601020304", text=given["text"], raw="ok"))
        return said


class Desk:
    """Takes what is said, or fails as told."""

    def __init__(self) -> None:
        self.receipts: list[tuple[str, SmsId | str | None]] = []
        self.replies: list[tuple[str, str]] = []
        self.error: Exception | None = None

    async def take_receipts(self, provider: str, receipts: Sequence[Receipt]) -> Learnt:
        if self.error is not None:
            raise self.error
        self.receipts += [(provider, one.tracker) for one in receipts]
        return Learnt()

    async def take_replies(self, provider: str, replies: Sequence[Reply]) -> None:
        if self.error is not None:
            raise self.error
        self.replies += [(provider, one.text) for one in replies]


@pytest.fixture
def carrier() -> Carrier:
    return Carrier()


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def address(carrier: Carrier, desk: Desk, clock: ManualClock) -> AsyncIterator[tuple[str, int]]:
    """Where it listens: `carrier` has two secrets, `other` one."""
    hooks = {
        "carrier": Hook(parser=carrier, digests=(digest_secret(SECRET), digest_secret(PREVIOUS))),
        "other": Hook(parser=carrier, digests=(digest_secret("other" * 4),)),
    }
    callbacks = Callbacks(
        clock=clock,
        find_hook=hooks.get,
        take_receipts=desk.take_receipts,
        take_replies=desk.take_replies,
        body_deadline_s=BODY_DEADLINE_S,
    )

    async def find_obstacles() -> Sequence[str]:
        return []

    app = health_app(find_obstacles=find_obstacles, gauges=quiet_gauges(clock), more_routes=callbacks.routes)
    server = HttpServer(app, listen="127.0.0.1:0")
    bound = await server.bind()
    async with asyncio.TaskGroup() as group:
        group.create_task(server.serve(), name="http")
        yield bound
        server.stop()


@pytest.fixture
async def client(address: tuple[str, int]) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url="http://{}:{}".format(*address)) as opened:
        yield opened
