"""The sandbox as a thing to start and stop: in a test, in the demo, or alone (`mail2sms sandbox`)."""

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from gateway.clock import Clock, SystemClock
from gateway.sandbox.app import build_app
from gateway.sandbox.callbacks import SentCallback, is_address
from gateway.sandbox.carrier import Carrier
from gateway.sandbox.faults import Fault, FaultScript, SandboxError, read_faults
from gateway.sandbox.messages import CarriedSms
from gateway.sandbox.options import SandboxOptions
from gateway.sandbox.orders import Api
from gateway.sandbox.phones import SentReply
from gateway.sandbox.server import LoopServer

ANYWHERE_FREE = "127.0.0.1:0"
USUAL = "127.0.0.1:8026"
_MOST_SCRIPT_BYTES = 1024 * 1024


class Sandbox:
    """A carrier that sends nothing and shows what it was given. Serves between `start` and `stop`, once."""

    def __init__(
        self,
        listen: str = ANYWHERE_FREE,
        *,
        faults: Iterable[Fault] = (),
        clock: Clock | None = None,
        options: SandboxOptions | None = None,
    ) -> None:
        """Be ready to listen on HOST:PORT; port 0 is a free one. SandboxError if that is not an address."""
        self._host, self._port = _split_address(listen)
        self._carrier = Carrier(
            FaultScript(faults),
            SystemClock() if clock is None else clock,
            SandboxOptions() if options is None else options,
        )
        self._server = LoopServer(build_app(self._carrier))
        self._background: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen; `url` is known from now on. SandboxError if the address cannot be had."""
        self._port = await self._server.start(self._host, self._port)
        # A task of its own, not a TaskGroup: whoever starts is not always who stops. What ends it early is told there.
        self._background = asyncio.get_running_loop().create_task(self._carrier.run(), name="sandbox")

    async def stop(self) -> None:
        """Stop listening, break every connection, and call nobody any more."""
        self._carrier.stopping.set()
        self._carrier.pulse.beat()
        await self._server.stop()
        if self._background is not None:
            self._background.cancel()
            await asyncio.wait({self._background})
            if not self._background.cancelled():
                self._background.result()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """`http://HOST:PORT`; iSendPro's interface is below `/cgi-bin`, SMS Partner's below `/v1`."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    @property
    def messages(self) -> Sequence[CarriedSms]:
        """The SMS that were accepted, oldest first, as `GET /sandbox/messages` lists them."""
        return self._carrier.box.list()

    @property
    def calls(self) -> int:
        """How many calls that send came in, whatever became of them."""
        return self._carrier.calls

    @property
    def faults(self) -> Sequence[Fault]:
        """The trouble that is left."""
        return self._carrier.script.list()

    def misbehave(self, fault: str, **details: object) -> None:
        """Script trouble, as `POST /sandbox/faults` does: `misbehave("slow", delay_s=5, count=2)`."""
        self._carrier.script.add([Fault.model_validate({"fault": fault, **details})])

    def behave(self) -> None:
        """Forget all trouble that is left."""
        self._carrier.script.clear()

    @property
    def callbacks(self) -> Sequence[SentCallback]:
        """The newest calls to the client, oldest first, as `GET /sandbox/callbacks` lists them."""
        return self._carrier.caller.list()

    @property
    def replies(self) -> Sequence[SentReply]:
        """What was answered from telephones, oldest first, as `GET /sandbox/replies` lists it."""
        return self._carrier.replies.list()

    def call_back(self, api: Api, address: str) -> None:
        """A client of this carrier wants to be called there, unless a call says otherwise; SandboxError if none can."""
        if not is_address(address):
            raise SandboxError(f"{address} is not an address that can be called: http://HOST:PORT/PATH is one")
        self._carrier.caller.addresses[api] = address

    def answer(self, number: str, text: str, to: str | None = None) -> SentReply:
        """Somebody (E.164) answers, as `POST /sandbox/replies` does; SandboxError if nothing was sent to them."""
        return self._carrier.network.answer(number, text, to)

    def wake(self) -> None:
        """Look at the clock now: it was moved."""
        self._carrier.timetable.wake()

    def clear(self) -> None:
        """Forget the SMS that were accepted, and what was answered."""
        self._carrier.box.clear()
        self._carrier.replies.clear()

    async def wait_for_messages(self, count: int) -> None:
        """Return when at least `count` SMS were accepted. The caller sets the deadline."""
        await self._carrier.box.wait_for(count)


def load_script(script: Path) -> Sequence[Fault]:
    """Return the faults of a script file; SandboxError says what is wrong with it."""
    try:
        with script.open("rb") as file:
            content = file.read(_MOST_SCRIPT_BYTES)
    except OSError as error:
        raise SandboxError(f"cannot read {script}: {error.strerror}") from error
    return read_faults(content)


def _split_address(listen: str) -> tuple[str, int]:
    host, colon, port = listen.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdecimal()) or int(port) > 65_535:
        raise SandboxError(f"{listen} is not an address: HOST:PORT is one")
    return host.removeprefix("[").removesuffix("]"), int(port)
