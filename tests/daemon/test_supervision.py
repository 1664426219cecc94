"""What the supervisor hears, and what a short disk does."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from gateway.daemon.shortage import DiskWatch
from gateway.daemon.systemd import Notifier
from tests.support.clock import ManualClock


class Supervisor:
    """Listens as systemd does."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.settimeout(2)

    def hear(self) -> list[str]:
        return self._socket.recv(4096).decode().split("\n")

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    listening = Supervisor(str(tmp_path / "notify"))
    yield listening
    listening.close()


def notifier(tmp_path: Path, **environ: str) -> Notifier:
    return Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify"), **environ})


def test_each_step_is_told_as_systemd_wants_it(supervisor: Supervisor, tmp_path: Path) -> None:
    sender = notifier(tmp_path)
    sender.ready("ready smtp=127.0.0.1:2525")
    sender.reloading(12.5)
    sender.stopping()
    sender.alive()

    assert [supervisor.hear() for _ in range(4)] == [
        ["READY=1", "STATUS=ready smtp=127.0.0.1:2525"],
        ["RELOADING=1", "MONOTONIC_USEC=12500000"],
        ["STOPPING=1", "STATUS=draining"],
        ["WATCHDOG=1"],
    ]


def test_an_abstract_socket_is_found() -> None:
    name = f"mail2sms-test-{os.getpid()}"
    listening = Supervisor(f"\0{name}")
    Notifier({"NOTIFY_SOCKET": f"@{name}"}).alive()
    heard = listening.hear()
    listening.close()

    assert heard == ["WATCHDOG=1"]


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": "/nonexistent/notify"}])
def test_without_a_supervisor_nothing_happens(environ: dict[str, str]) -> None:
    Notifier(environ).ready("x")


@pytest.mark.parametrize(
    ("environ", "interval_s"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_fed_only_when_it_is_this_process_s(environ: dict[str, str], interval_s: float | None) -> None:
    assert Notifier(environ).watchdog_s == interval_s


def test_a_disk_with_room_takes_mail(tmp_path: Path) -> None:
    watch = DiskWatch(tmp_path, max_mail_bytes=1, clock=ManualClock(), margin_bytes=0)

    assert watch.find_shortage() is None


def test_a_short_disk_is_told_to_clients_and_once_to_the_operator(tmp_path: Path) -> None:
    clock = ManualClock()
    watch = DiskWatch(tmp_path, max_mail_bytes=1, clock=clock, margin_bytes=2**60)
    with structlog.testing.capture_logs() as lines:
        replies = [str(watch.find_shortage()), str(watch.find_shortage())]
        clock.advance(2)
        replies.append(str(watch.find_shortage()))

    assert set(replies) == {"452 4.3.1 No room for the mail at the moment, try again later"}
    assert [line["event"] for line in lines] == ["disk_short"]
