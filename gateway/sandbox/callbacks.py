"""Calls to the client: receipts, replies and the like, sent as HTTP requests and kept for whoever wonders.

Each is tried three times, with a deadline; any answer but 2xx counts as a failure. What belongs together (a *chain*)
is sent one after the other; chains are sent a few at a time.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal, TypedDict

import httpx

from gateway.clock import Clock
from gateway.sandbox.orders import Api
from gateway.sandbox.pulse import Pulse

MOST_KEPT = 1000
MOST_WAITING = 100_000
TRIES = 3
DEADLINE_S = 10.0
PAUSES_S = (0.5, 2.0)
_WIDTH = 8
_ANSWER_SHOWN_BYTES = 200

_FAILURES = (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, ExceptionGroup)
"""What a call runs into. TimeoutError is an OSError; a group comes from a connection that was tried in several ways."""

Kind = Literal["receipt", "reply", "hlr"]
Outcome = Literal["waiting", "answered", "failed", "dropped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Callback:
    """One request to the client."""

    api: Api
    kind: Kind
    url: str
    query: Mapping[str, str] = field(default_factory=dict)  # for a GET
    fields: Mapping[str, object] | None = None  # for a POST, as JSON

    @property
    def method(self) -> str:
        """GET or POST."""
        return "GET" if self.fields is None else "POST"


class SentCallback(TypedDict):
    """One request to the client, as `GET /sandbox/callbacks` lists it."""

    time: str  # ISO 8601, UTC
    api: str
    kind: Kind
    method: str
    url: str  # with its query
    body: Mapping[str, object] | None
    outcome: Outcome
    tries: int
    status: int | None  # of the last answer
    answer: str  # how that begins
    error: str | None  # why there was no answer


class Chain:
    """Callbacks that go one after the other, and when the last of them has gone."""

    def __init__(self, callbacks: Iterable[Callback]) -> None:
        self.callbacks = tuple(callbacks)
        self.ended = asyncio.Event()


class Caller:
    """Sends callbacks in the background, from `run` on."""

    def __init__(self, clock: Clock, pulse: Pulse, addresses: Mapping[Api, str] | None = None) -> None:
        self.addresses: dict[Api, str] = dict(addresses or {})  # of the account; a call may give its own
        self._clock = clock
        self._pulse = pulse
        self._waiting: asyncio.Queue[tuple[Chain, Sequence[SentCallback]]] = asyncio.Queue(MOST_WAITING)
        self._sent: deque[SentCallback] = deque(maxlen=MOST_KEPT)
        self._client: httpx.AsyncClient | None = None

    def send(self, callbacks: Iterable[Callback]) -> Chain:
        """Send these, one after the other; what is returned tells when that is done."""
        chain = Chain(callbacks)
        records = [self._record(callback) for callback in chain.callbacks]
        self._sent.extend(records)
        try:
            self._waiting.put_nowait((chain, records))
        except asyncio.QueueFull:
            for record in records:
                record["outcome"] = "dropped"
            chain.ended.set()
        return chain

    def list(self) -> Sequence[SentCallback]:
        """Return the newest, oldest first."""
        return tuple(self._sent)

    def clear(self) -> None:
        """Forget what was sent; what waits goes all the same."""
        self._sent.clear()
        self._pulse.beat()

    async def run(self) -> None:
        """Send what there is, until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(_WIDTH):
                    group.create_task(self._work(), name=f"callbacks-{number}")
        finally:
            if self._client is not None:
                await self._client.aclose()

    async def _work(self) -> None:
        while True:
            chain, records = await self._waiting.get()
            if self._client is None:  # only now: it is slow to make, and most sandboxes never call anybody
                self._client = httpx.AsyncClient(timeout=DEADLINE_S, trust_env=False)
            for callback, record in zip(chain.callbacks, records, strict=True):
                await self._deliver(self._client, callback, record)
                self._pulse.beat()
            chain.ended.set()

    async def _deliver(self, client: httpx.AsyncClient, callback: Callback, record: SentCallback) -> None:
        for pause_s in (*PAUSES_S, None):
            record["tries"] += 1
            record["status"], record["answer"], record["error"] = None, "", None
            try:
                async with asyncio.timeout(DEADLINE_S):
                    await self._call(client, callback, record)
            except _FAILURES as error:
                record["error"] = str(error) or type(error).__name__
            status = record["status"]
            if status is not None and record["error"] is None and 200 <= status < 300:
                record["outcome"] = "answered"
                return
            if pause_s is not None:
                await asyncio.sleep(pause_s)
        record["outcome"] = "failed"

    async def _call(self, client: httpx.AsyncClient, callback: Callback, record: SentCallback) -> None:
        url = with_query(callback.url, callback.query)
        async with client.stream(callback.method, url, json=callback.fields) as answer:
            record["status"] = answer.status_code
            with suppress(StopAsyncIteration):
                beginning = await anext(answer.aiter_raw(_ANSWER_SHOWN_BYTES))
                record["answer"] = beginning.decode("utf-8", "replace")

    def _record(self, callback: Callback) -> SentCallback:
        return SentCallback(
            time=self._clock.now().isoformat(timespec="milliseconds"),
            api=callback.api.value,
            kind=callback.kind,
            method=callback.method,
            url=str(with_query(callback.url, callback.query)),
            body=callback.fields,
            outcome="waiting",
            tries=0,
            status=None,
            answer="",
            error=None,
        )


def with_query(url: str, query: Mapping[str, str]) -> httpx.URL | str:
    """Return the address with these added to what it asks already; as it came, if it is no address."""
    try:
        return httpx.URL(url).copy_merge_params(dict(query)) if query else httpx.URL(url)
    except httpx.InvalidURL:
        return url


def is_address(url: str) -> bool:
    """Tell whether something can be sent there."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return False
    return parsed.scheme in {"http", "https"} and bool(parsed.host) and (parsed.port or 1) < 65_536
