"""The real command as a process: started, listened to, stopped, killed."""

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

START_DEADLINE_S = 30.0
STOP_DEADLINE_S = 60.0
MAIL2SMS = (sys.executable, "-m", "gateway")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What a command left behind."""

    status: int
    stdout: str
    stderr: str


async def run_command(
    *arguments: str,
    cwd: Path | None = None,
    stdin: bytes | None = None,
    env: Mapping[str, str] | None = None,
    deadline_s: float = STOP_DEADLINE_S,
    command: Sequence[str] = MAIL2SMS,
    passed: Sequence[socket.socket] = (),
) -> Finished:
    """Run `mail2sms` with these arguments to its end."""
    process = await asyncio.create_subprocess_exec(
        *command,
        *arguments,
        pass_fds=[sock.fileno() for sock in passed],
        cwd=cwd,
        env={**_environment(), **(env or {})},
        stdin=asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(deadline_s):
        stdout, stderr = await process.communicate(stdin)
    assert process.returncode is not None
    return Finished(status=process.returncode, stdout=stdout.decode(), stderr=stderr.decode())


class GatewayProcess:
    """A running `mail2sms serve`, its `ready` line read."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path, ready: str) -> None:
        self.process = process
        self.log = log
        self.ready = ready

    @property
    def smtp(self) -> tuple[str, int]:
        """Where it takes mail."""
        found = re.search(r"smtp=(\S+?):(\d+)", self.ready)
        assert found, self.ready
        return found[1], int(found[2])

    @property
    def http(self) -> str:
        """Where it answers HTTP."""
        found = re.search(r"http=(\S+)", self.ready)
        assert found, self.ready
        return f"http://{found[1]}"

    def send_signal(self, number: signal.Signals) -> None:
        """Deliver a signal."""
        self.process.send_signal(number)

    async def wait(self) -> int:
        """Wait for its end and return the exit status."""
        async with asyncio.timeout(STOP_DEADLINE_S):
            return await self.process.wait()

    async def stop(self) -> int:
        """Ask it to end, as a supervisor does, and return the exit status."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        return await self.wait()

    async def kill(self) -> None:
        """Pull the plug."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    def read_log(self) -> str:
        """Return everything it logged."""
        return self.log.read_text("utf-8", "replace")


@asynccontextmanager
async def serve(
    config: Path,
    *,
    arguments: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    command: Sequence[str] = MAIL2SMS,
    passed: Sequence[socket.socket] = (),
) -> AsyncIterator[GatewayProcess]:
    """Run `mail2sms serve` on a configuration until the block ends; its log lies beside the configuration.

    `command` is the gateway, perhaps under something that watches or disturbs it; `passed` are sockets it inherits.
    """
    log = config.with_suffix(".log")
    with log.open("ab") as stderr:
        process = await asyncio.create_subprocess_exec(
            *command,
            "serve",
            "--config",
            str(config),
            *arguments,
            pass_fds=[sock.fileno() for sock in passed],
            env={**_environment(), **(env or {})},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
        )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_DEADLINE_S):
            ready = (await process.stdout.readline()).decode()
        assert ready.startswith("ready"), f"{ready!r}\n{log.read_text()}"
        gateway = GatewayProcess(process, log, ready)
        yield gateway
        await gateway.stop()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _environment() -> dict[str, str]:
    root = Path(__file__).parents[2]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAIL2SMS_")}
    return {**kept, "PYTHONPATH": str(root), "PYTHONWARNINGS": "default", "NO_COLOR": "1"}
