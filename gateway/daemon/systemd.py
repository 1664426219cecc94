"""What the supervisor is told: ready, reloading, stopping, alive (sd_notify(3)). Without one, nothing happens."""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress


class Notifier:
    """Sends to the supervisor's socket; a supervisor that does not listen is none of our trouble."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._path = environ.get("NOTIFY_SOCKET", "")
        self.watchdog_s = _watchdog_s(environ)

    @property
    def is_supervised(self) -> bool:
        """True when somebody wants to be told."""
        return bool(self._path)

    def ready(self, status: str) -> None:
        """Start-up, or a reload, is complete."""
        self._send(f"READY=1\nSTATUS={status}")

    def status(self, status: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={status}")

    def extend(self, seconds: float, status: str) -> None:
        """Starting or stopping takes longer, so much at least from now; to be said again before that is over."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1_000_000)}\nSTATUS={status}")

    def reloading(self, monotonic_s: float) -> None:
        """A reload begins; `monotonic_s` is the machine's monotonic clock, as systemd wants it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={int(monotonic_s * 1_000_000)}")

    def stopping(self) -> None:
        """The drain begins."""
        self._send("STOPPING=1\nSTATUS=draining")

    def alive(self) -> None:
        """The watchdog may wait for another interval."""
        self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if not self._path:
            return
        address = "\0" + self._path[1:] if self._path.startswith("@") else self._path
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.settimeout(0)
            sender.sendto(message.encode(), address)


def _watchdog_s(environ: Mapping[str, str]) -> float | None:
    """Return how often the supervisor wants a sign of life, if it wants one of this process."""
    microseconds = environ.get("WATCHDOG_USEC", "")
    process_id = environ.get("WATCHDOG_PID", str(os.getpid()))
    if not microseconds.isdecimal() or int(microseconds) == 0 or process_id != str(os.getpid()):
        return None
    return int(microseconds) / 1_000_000
