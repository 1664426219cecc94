"""One child process, as its parent sees it: started, asked, ended."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Self

import gateway
from gateway.errors import GatewayError
from gateway.protocol.reading import Limits, Mode
from gateway.reader.child import LENGTH_BYTES, MODES

_START_DEADLINE_S = 30.0
_END_DEADLINE_S = 5.0
_PARTING_S = 1.0
_BUFFER_BYTES = 262_144
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


class Child:
    """A child process; asked about one mail at a time."""

    def __init__(
        self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
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
            reader, writer = await asyncio.open_connection(sock=ours, limit=_BUFFER_BYTES)
        except BaseException:
            ours.close()
            raise
        return cls(process, reader, writer)

    @property
    def is_alive(self) -> bool:
        """False when it is known to be gone."""
        return self._process.returncode is None and not self._reader.at_eof() and not self._writer.is_closing()

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
                await self._receive(0)
        except TimeoutError as error:
            raise ChildDied("it did not come up in time") from error
        self._is_ready = True

    async def ask(self, content: bytes, mode: Mode, *, longest_answer: int) -> bytes:
        """Return the child's answer. Raises ChildDied. Broken off, it is of no more use and has to be ended."""
        try:
            self._writer.write((len(content) + 1).to_bytes(LENGTH_BYTES, "big") + bytes([MODES.index(mode)]))
            self._writer.write(content)
            await self._writer.drain()
        except OSError as error:
            raise ChildDied("it hung up") from error
        return await self._receive(longest_answer)

    def kill(self) -> None:
        """It is as good as gone."""
        if self._process.returncode is None:
            self._process.kill()
        self._writer.close()

    async def end(self) -> str:
        """The process is gone, nothing of it is left; return how it ended, for the operator."""
        if self._reader.at_eof():  # ending by itself: how, is worth knowing
            with suppress(TimeoutError):
                async with asyncio.timeout(_PARTING_S):
                    await self._process.wait()
        self.kill()
        try:
            async with asyncio.timeout(_END_DEADLINE_S):
                return describe_status(await self._process.wait())
        except TimeoutError:  # stuck in the kernel: killed as soon as it comes back
            return "killed, and not gone yet"

    async def _receive(self, longest: int) -> bytes:
        try:
            length = int.from_bytes(await self._reader.readexactly(LENGTH_BYTES), "big")
            if length > longest:
                raise ChildDied("its answer is too long")
            return await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, OSError) as error:
            raise ChildDied("it hung up") from error


def describe_status(status: int) -> str:
    """Return an exit status in words."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"
