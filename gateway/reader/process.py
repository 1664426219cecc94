"""One child process, as its parent sees it: started, asked, ended."""

import asyncio
import json
import math
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Self, cast

import gateway
from gateway.errors import GatewayError
from gateway.protocol.reading import Limits, Mode
from gateway.reader.child import LENGTH_BYTES, MODES

_START_DEADLINE_S = 30.0
_END_DEADLINE_S = 5.0
_PARTING_S = 1.0
_BOOT = (
    "import sys, os; sys.path[:] = sys.argv.pop(1).split(os.pathsep); "
    "from gateway.reader.child import main; main(sys.argv[1:])"
)


class ChildDied(GatewayError):
    """The child is gone, or talks nonsense; whoever noticed has to end it. The message says how it ended."""

    temporary = True


def default_command() -> tuple[str, ...]:
    """Return the command of a child that imports what this process would: no more, and nothing of its environment."""
    places = [*filter(os.path.isabs, sys.path), str(Path(gateway.__file__).parents[1])]
    return (sys.executable, "-I", "-S", "-X", "utf8", "-c", _BOOT, os.pathsep.join(dict.fromkeys(places)))


class _Channel(asyncio.Protocol):
    """Our end of the connection: one frame at a time, in time, and nothing that was not asked for.

    One timer for all frames: it stays where it is when a frame has come, and is set anew when it rings too early. To
    set one for each mail and take it back costs more than to send the mail.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._longest = 0  # of the frame that is waited for
        self._due_at = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._frame: asyncio.Future[bytes] = self._loop.create_future()  # empty: that the child is ready
        self.is_open = True

    def ask(self, question: bytes, *, longest: int, due_at: float) -> asyncio.Future[bytes]:
        """Return what will hold the answer; ChildDied when there is none of at most so many octets.

        TimeoutError when it is not there at `due_at` of the loop's clock, which is never before that of the last one.
        """
        self._longest, self._due_at = longest, due_at
        self._frame = self._loop.create_future()
        if self._transport is not None:  # if the child does not listen any more, it hangs up
            self._transport.write(question)
        if self._timer is None:
            self._timer = self._loop.call_at(due_at, self._ring)
        return self._frame

    @property
    def frame(self) -> asyncio.Future[bytes]:
        """What was asked for last."""
        return self._frame

    def close(self) -> None:
        """Hang up."""
        self._fail("it was sent away")
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name

    def data_received(self, data: bytes) -> None:
        if self._frame.done():
            self._fail("it says more than it was asked")
            return
        self._buffer += data
        if len(self._buffer) >= LENGTH_BYTES:
            self._take_frame()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail("it hung up")

    def _take_frame(self) -> None:
        """The frame is there, unless some of it is missing; or it is not one that was asked for."""
        length = int.from_bytes(self._buffer[:LENGTH_BYTES], "big")
        missing = LENGTH_BYTES + length - len(self._buffer)
        if length > self._longest:
            self._fail("its answer is too long")
        elif missing < 0:
            self._fail("it says more than it was asked")
        elif missing == 0:
            frame = bytes(memoryview(self._buffer)[LENGTH_BYTES:])
            self._buffer = bytearray()
            self._frame.set_result(frame)

    def _ring(self) -> None:
        self._timer = None
        if self._frame.done():
            return
        if self._loop.time() < self._due_at:
            self._timer = self._loop.call_at(self._due_at, self._ring)
        else:
            self._frame.set_exception(TimeoutError())

    def _fail(self, cause: str) -> None:
        self.is_open = False
        if self._transport is not None:
            self._transport.pause_reading()  # nobody may come to end it for long, and it could talk all the time
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._frame.done():
            self._frame.set_exception(ChildDied(cause))
            self._frame.exception()  # nobody need be waiting for it


class Child:
    """A child process; asked about one mail at a time."""

    def __init__(self, process: asyncio.subprocess.Process, channel: _Channel) -> None:
        self._process = process
        self._channel = channel
        self._is_ready = False

    @classmethod
    async def start(cls, command: Sequence[str], *, memory_bytes: int, deadline_s: float, limits: Limits) -> Self:
        """Return a child that is on its way: it need not be waited for. Raises OSError when there can be none."""
        ours, theirs = socket.socketpair()
        ours.settimeout(0)
        arguments = (str(os.getpid()), str(memory_bytes), str(int(deadline_s) + 1), json.dumps(asdict(limits)))
        try:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    *arguments,
                    stdin=theirs.fileno(),
                    stdout=asyncio.subprocess.DEVNULL,
                    env={name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ},
                )
            _, channel = await asyncio.get_running_loop().create_connection(_Channel, sock=ours)
        except BaseException:
            ours.close()
            raise
        return cls(process, channel)

    @property
    def is_alive(self) -> bool:
        """False when it is known to be gone."""
        return self._process.returncode is None and self._channel.is_open

    @property
    def has_ended(self) -> bool:
        """True when nothing of it is left."""
        return self._process.returncode is not None

    async def wait_until_ready(self) -> None:
        """It can be asked. Raises ChildDied when it did not come up."""
        if self._is_ready:
            return
        try:
            async with asyncio.timeout(_START_DEADLINE_S):
                await asyncio.shield(self._channel.frame)
        except TimeoutError as error:
            raise ChildDied("it did not come up in time") from error
        self._is_ready = True

    def ask(self, content: bytes, mode: Mode, *, longest_answer: int, due_at: float) -> asyncio.Future[bytes]:
        """Return what will hold the child's answer: ChildDied, or TimeoutError at `due_at` of the loop's clock.

        Raises ChildDied. Broken off, it is of no more use and has to be ended.
        """
        if not self._channel.is_open:
            raise ChildDied("it hung up")
        head = (len(content) + 1).to_bytes(LENGTH_BYTES, "big") + bytes((MODES.index(mode),))
        return self._channel.ask(head + content, longest=longest_answer, due_at=due_at)

    def kill(self) -> None:
        """It is as good as gone."""
        if self._process.returncode is None:
            self._process.kill()
        self._channel.close()

    async def end(self) -> str:
        """The process is gone, nothing of it is left; return how it ended, for the operator."""
        if not self._channel.is_open:  # ending by itself, perhaps: how, is worth knowing
            with suppress(TimeoutError):
                async with asyncio.timeout(_PARTING_S):
                    await self._process.wait()
        self.kill()
        try:
            async with asyncio.timeout(_END_DEADLINE_S):
                return describe_status(await self._process.wait())
        except TimeoutError:  # stuck in the kernel: killed as soon as it comes back
            return "killed, and not gone yet"


def describe_status(status: int) -> str:
    """Return an exit status in words."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"
