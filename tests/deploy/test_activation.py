"""Sockets that a supervisor opens: whose they are, what cannot be used, and the real daemon on them."""

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gateway.activation import ActivationError, GivenSockets
from gateway.cli.examples.client import submit
from gateway.config import Config
from tests.daemon.test_daemon import RECIPIENT, SENDER, mail
from tests.deploy.postfix import free_port
from tests.support.gateway import run_command, serve

DEADLINE_S = 60.0
VARIABLES = [f"--setenv={name}" for name in ("PATH", "PYTHONPATH", "HOME") if name in os.environ]

# As systemd does it: the sockets from 3 on, and the variables, in the process that becomes the daemon
AS_SYSTEMD = """
import fcntl, os, sys
sockets, names = sys.argv[1].split(","), sys.argv[2]
kept = [fcntl.fcntl(int(one), fcntl.F_DUPFD_CLOEXEC, 100) for one in sockets]
for place, one in enumerate(kept, 3):
    os.dup2(one, place)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(kept)), "LISTEN_FDNAMES": names}
os.execv(sys.executable, [sys.executable, "-m", "gateway", *sys.argv[3:]])
"""


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def listening(stack: ExitStack, host: str = "127.0.0.1") -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return stack.enter_context(socket.create_server((host, 0), family=family))


def place(sock: socket.socket) -> tuple[str, int]:
    host, port = sock.getsockname()[:2]
    return str(host), int(port)


def inode(sock: socket.socket) -> int:
    return os.fstat(sock.fileno()).st_ino


def of(*sockets: socket.socket | None) -> list[int]:
    """Which sockets these duplicates are of; they are closed."""
    found = []
    for sock in sockets:
        if sock is not None:
            found.append(inode(sock))
            sock.close()
    return found


async def test_a_name_goes_before_an_address(stack: ExitStack) -> None:
    one, other = listening(stack), listening(stack)
    given = GivenSockets([("inside", one), ("mail2sms.socket", other)])
    await given.assign({"smtp": [place(other)], "inside": [("127.0.0.1", 2525)]})

    assert of(*given.named("inside")) == [inode(one)]
    assert of(*given.named("smtp")) == []
    assert of(given.at(other.getsockname()), given.at(one.getsockname())) == [inode(other)]


async def test_a_listener_has_all_sockets_of_its_name(stack: ExitStack) -> None:
    four, six = listening(stack), listening(stack, "::1")
    given = GivenSockets([("smtp", four), ("smtp", six)])
    await given.assign({"smtp": [("192.0.2.1", 25)]})

    assert of(*given.named("smtp")) == [inode(four), inode(six)]


async def test_an_address_may_be_written_as_a_name(stack: ExitStack) -> None:
    sock = listening(stack)
    given = GivenSockets([("unknown", sock)])
    await given.assign({"smtp": [("localhost", place(sock)[1])]})

    assert of(given.at(sock.getsockname())) == [inode(sock)]


async def test_a_start_can_be_tried_again_with_the_same_sockets(stack: ExitStack) -> None:
    sock = listening(stack)
    given = GivenSockets([("smtp", sock)])
    for _ in range(2):
        await given.assign({"smtp": []})
        (mine,) = given.named("smtp")
        mine.close()

    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)


async def test_a_socket_that_nobody_wants_is_an_error_that_says_what_to_do(stack: ExitStack) -> None:
    sock = listening(stack)
    given = GivenSockets([("mail2sms.socket", sock)])

    expected = (
        f'the socket "mail2sms.socket" of the supervisor, 127.0.0.1:{place(sock)[1]}, is no listener\'s: '
        'give the socket unit the name of one with FileDescriptorName= ("smtp", "http"), or write its address'
    )
    with pytest.raises(ActivationError, match=re.escape(expected)):
        await given.assign({"smtp": [("127.0.0.1", 1)], "http": [("nowhere.invalid", 8025)]})


async def test_an_address_that_is_given_twice_is_an_error(stack: ExitStack) -> None:
    sock = listening(stack)
    given = GivenSockets([("a", sock), ("b", sock)])

    with pytest.raises(ActivationError, match='the socket "b"'):
        await given.assign({"smtp": [place(sock)]})


def test_a_socket_of_another_kind_is_an_error(stack: ExitStack, tmp_path: Path) -> None:
    local = stack.enter_context(socket.socket(socket.AF_UNIX))
    local.bind(str(tmp_path / "s"))
    datagrams = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    deaf = stack.enter_context(socket.socket())
    deaf.bind(("127.0.0.1", 0))

    for sock, word in ((local, "not for TCP"), (datagrams, "not for TCP"), (deaf, "Accept=no")):
        with pytest.raises(ActivationError, match=word):
            GivenSockets([("smtp", sock)])


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"LISTEN_PID": "1", "LISTEN_FDS": "1"},
        {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "many"},
        {"LISTEN_PID": str(os.getpid())},
    ],
)
def test_what_is_meant_for_others_is_nothing_and_is_not_passed_on(said: dict[str, str]) -> None:
    environ = {**said, "LISTEN_FDNAMES": "smtp", "PATH": "/bin"}

    assert not GivenSockets.receive(environ)
    assert environ == {"PATH": "/bin"}


# --- the real daemon -------------------------------------------------------------------------------------------------


def command(names: str, *sockets: socket.socket) -> list[str]:
    for sock in sockets:
        os.set_inheritable(sock.fileno(), True)  # noqa: FBT003 it takes no keyword
    numbers = ",".join(str(sock.fileno()) for sock in sockets)
    return [sys.executable, "-c", AS_SYSTEMD, numbers, names]


@pytest.mark.slow
async def test_the_daemon_takes_mail_and_answers_http_on_given_sockets(config: Config, stack: ExitStack) -> None:
    smtp, http = listening(stack), listening(stack)
    async with serve(config.path, command=command("smtp:http", smtp, http), passed=(smtp, http)) as gateway:
        reply = await submit(*place(smtp), mail("1"), sender=SENDER, recipient=RECIPIENT)
        healthy = await run_command("health", "--url", "http://{}:{}/readyz".format(*place(http)))

    assert gateway.ready == "ready smtp={}:{} http={}:{}\n".format(*place(smtp), *place(http))
    assert reply.startswith("250 ")
    assert (healthy.status, healthy.stdout) == (0, "ready\n")


@pytest.mark.slow
async def test_who_connects_while_the_daemon_is_restarted_is_served_afterwards(
    config: Config, stack: ExitStack
) -> None:
    smtp = listening(stack)
    async with serve(config.path, command=command("smtp", smtp), passed=(smtp,)):
        pass
    early = stack.enter_context(socket.create_connection(place(smtp), timeout=30))
    async with serve(config.path, command=command("smtp", smtp), passed=(smtp,)) as gateway:
        greeting = early.recv(512)
        early.sendall(b"QUIT\r\n")
        gateway.send_signal(signal.SIGTERM)

        assert await gateway.wait() == 0

    assert greeting.startswith(b"220 ")


@pytest.mark.slow
async def test_a_daemon_with_a_socket_too_many_ends_with_4(config: Config, stack: ExitStack) -> None:
    sock = listening(stack)
    program, *rest = command("mail2sms.socket", sock)
    finished = await run_command("serve", "--config", str(config.path), command=(program, *rest), passed=(sock,))

    assert (finished.status, finished.stdout) == (4, "")
    assert 'the socket "mail2sms.socket" of the supervisor' in finished.stderr
    assert "Traceback" not in finished.stderr


@pytest.mark.slow
async def test_systemd_s_own_program_starts_it_with_the_first_client(config: Config) -> None:
    port = free_port()
    starter = ["systemd-socket-activate", f"--listen=127.0.0.1:{port}", "--fdname=smtp", *VARIABLES]
    process = await asyncio.create_subprocess_exec(
        *(*starter, sys.executable, "-m", "gateway", "serve", "--config", str(config.path)),
        cwd=Path(__file__).parents[2],
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        await until_open("127.0.0.1", port)
        async with asyncio.timeout(DEADLINE_S):
            ready = (await process.stdout.readline()).decode()
        reply = await submit("127.0.0.1", port, mail("1"), sender=SENDER, recipient=RECIPIENT)
    finally:
        process.terminate()
        async with asyncio.timeout(DEADLINE_S):
            status = await process.wait()

    assert ready.startswith(f"ready smtp=127.0.0.1:{port} ")
    assert reply.startswith("250 ")
    assert status == 0


async def until_open(host: str, port: int) -> None:
    """Somebody listens; the first connection is made and left."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                _, writer = await asyncio.open_connection(host, port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return
