"""The sandbox as a thing to start and stop: in a test, in the demo, or alone (`mail2sms sandbox`)."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from gateway.clock import Clock, SystemClock
from gateway.sandbox.app import Carrier, build_app
from gateway.sandbox.faults import Fault, FaultScript, SandboxError, read_faults
from gateway.sandbox.messages import CarriedSms
from gateway.sandbox.server import LoopServer

ANYWHERE_FREE = "127.0.0.1:0"
USUAL = "127.0.0.1:8026"
_MOST_SCRIPT_BYTES = 1024 * 1024


class Sandbox:
    """A carrier that sends nothing and shows what it was given. Serves between `start` and `stop`, once."""

    def __init__(
        self, listen: str = ANYWHERE_FREE, *, faults: Iterable[Fault] = (), clock: Clock | None = None
    ) -> None:
        """Be ready to listen on HOST:PORT; port 0 is a free one. SandboxError if that is not an address."""
        self._host, self._port = _split_address(listen)
        self._carrier = Carrier(FaultScript(faults), SystemClock() if clock is None else clock)
        self._server = LoopServer(build_app(self._carrier))

    async def start(self) -> None:
        """Listen; `url` is known from now on. SandboxError if the address cannot be had."""
        self._port = await self._server.start(self._host, self._port)

    async def stop(self) -> None:
        """Stop listening and break every connection."""
        self._carrier.stopping.set()
        await self._server.stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """`http://HOST:PORT`; the carrier's interface is below `/cgi-bin`."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    @property
    def messages(self) -> Sequence[CarriedSms]:
        """The SMS that were accepted, oldest first, as `GET /sandbox/messages` lists them."""
        return self._carrier.box.list()

    @property
    def calls(self) -> int:
        """How many calls to `/sms` and `/smsmulti` came in, whatever became of them."""
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

    def clear(self) -> None:
        """Forget the SMS that were accepted."""
        self._carrier.box.clear()

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
