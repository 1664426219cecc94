"""The gateway under proof: `mail2sms serve` as a process, listened to, killed, stopped."""

import asyncio
import os
import re
import signal
import sys
from pathlib import Path
from typing import Self

import gateway
from gateway.errors import GatewayError
from gateway.pauses import VARIABLE, PausePoint

START_S = 60.0
STOP_S = 45.0
"""Told to stop, a gateway has ended within this time (docs/operating.md)."""

_READY = re.compile(r"ready smtp=(\S+?):(\d+)")
_PAUSED = "paused "


class ProofBroken(GatewayError):
    """A proof could not be carried out to its end: the sentence says how far it came."""


class GatewayProcess:
    """One life of the daemon, from `start` to its end."""

    def __init__(self, process: asyncio.subprocess.Process, output: asyncio.StreamReader, log: Path) -> None:
        self._process = process
        self._output = output
        self._log = log

    @classmethod
    async def start(cls, config: Path, *, pause: PausePoint | None = None, passes: int = 1) -> Self:
        """The process is started, no more; `pause` is where it will stand still, the `passes`-th time."""
        log = config.with_suffix(".log")
        with log.open("ab") as stderr:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "gateway", "serve", "--config", str(config)),
                env=_environment() | ({} if pause is None else {VARIABLE: f"{pause.value}:{passes}"}),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
            )
        if process.stdout is None:
            raise ProofBroken("the gateway has no stdout")
        return cls(process, process.stdout, log)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def ready(self) -> tuple[str, int]:
        """Return where it takes mail, once it does. Raises ProofBroken."""
        address = await self.ready_or_paused()
        if address is None:
            raise ProofBroken("the gateway stood still before it was ready")
        return address

    async def ready_or_paused(self) -> tuple[str, int] | None:
        """Return where it takes mail; None when it stands still before that. Raises ProofBroken."""
        line = await self._next_line("neither ready nor paused")
        found = _READY.match(line)
        if found is not None:
            return found[1], int(found[2])
        if line.startswith(_PAUSED):
            return None
        raise ProofBroken(f"the gateway did not start, {self._last_words()}")

    async def paused(self) -> None:
        """Return when it stands still. Raises ProofBroken when it does not come to that."""
        line = await self._next_line("not at the point where it was to stand still")
        if not line.startswith(_PAUSED):
            raise ProofBroken(f"the gateway ended by itself, {self._last_words()}")

    async def _next_line(self, otherwise: str) -> str:
        try:
            async with asyncio.timeout(START_S):
                return (await self._output.readline()).decode("utf-8", "replace")
        except TimeoutError:
            raise ProofBroken(f"after {START_S:.0f} s the gateway is {otherwise}, {self._last_words()}") from None

    async def kill(self) -> None:
        """Pull the plug (SIGKILL); may be called twice."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def gone(self) -> None:
        """Return when it has ended, whoever ended it. The caller sets the deadline."""
        await self._process.wait()

    def send_signal(self, number: signal.Signals) -> None:
        """Deliver a signal, if there is still somebody to get it."""
        if self._process.returncode is None:
            self._process.send_signal(number)

    async def wait(self) -> int | None:
        """Return its exit status; None, and it is killed, when it has not ended within `STOP_S`."""
        try:
            async with asyncio.timeout(STOP_S):
                return await self._process.wait()
        except TimeoutError:
            await self.kill()
            return None

    async def stop(self) -> int | None:
        """Tell it to stop (SIGTERM) and `wait`."""
        self.send_signal(signal.SIGTERM)
        return await self.wait()

    def _last_words(self) -> str:
        lines = self._log.read_text("utf-8", "replace").splitlines()
        return f"its log ends: {lines[-1] if lines else '(nothing)'}"


def _environment() -> dict[str, str]:
    """Return ours, without settings of the gateway, and with this very package to be found by it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAIL2SMS_")}
    package = str(Path(gateway.__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, (kept.get("PYTHONPATH"), package)))
    return {**kept, "PYTHONPATH": path, "NO_COLOR": "1"}
