"""What is proven before the supervisor hears that the gateway lives, and what it hears of how it is."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.config import load
from gateway.daemon import vitals
from gateway.daemon.vitals import Vitals
from gateway.smtp.doors import Door
from gateway.store import StoreUnavailable, migrate
from gateway.store.base import Backlog
from gateway.worker import ROLL, Bell, Crew, Stage
from tests.support.configuration import write_config
from tests.support.gateway import GatewayProcess, serve
from tests.support.postgres import PostgresServer, postgres_server

DEADLINE_S = 90.0


async def done() -> None:
    """At once."""


async def never() -> None:
    await asyncio.Event().wait()


async def not_now() -> None:
    raise StoreUnavailable("the store is locked by somebody else")


async def too_slow() -> None:
    raise StoreUnavailable("the store did not answer in time") from TimeoutError()


@dataclass(kw_only=True)
class FakeStore:
    """Behaves as told."""

    beating: Callable[[], Awaitable[None]] = done
    answering: Callable[[], Awaitable[None]] = done
    waiting: Backlog = field(default_factory=Backlog)

    async def beat(self) -> None:
        await self.beating()

    async def ping(self) -> None:
        await self.answering()

    async def backlog(self) -> Backlog:
        await self.answering()
        return self.waiting


def of(
    store: FakeStore,
    *,
    stages: Sequence[Stage] = (),
    doors: Sequence[Door] = (),
    shortage: str | None = None,
    is_draining: bool = False,
) -> Vitals:
    return Vitals(
        store=store,
        stages=stages,
        doors=lambda: doors,
        count_clients=lambda: 1,
        find_shortages=lambda: [] if shortage is None else [shortage],
        is_draining=lambda: is_draining,
    )


# --- the store -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beating", [done, not_now])
async def test_a_store_that_answers_is_alive(beating: Callable[[], Awaitable[None]]) -> None:
    assert await of(FakeStore(beating=beating)).find_dead(10) == []


@pytest.mark.parametrize("beating", [never, too_slow])
async def test_a_store_that_does_not_answer_in_time_is_dead(beating: Callable[[], Awaitable[None]]) -> None:
    assert await of(FakeStore(beating=beating)).find_dead(0.1) == ["the store commits nothing"]


async def test_a_write_that_waits_for_its_end_when_cut_off_is_left_behind() -> None:
    async def stubborn() -> None:
        try:
            await never()
        except asyncio.CancelledError:
            await never()

    assert await of(FakeStore(beating=stubborn)).find_dead(0.1) == ["the store commits nothing"]


# --- the stages ------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def working(look: Callable[[Crew], Awaitable[float]]) -> AsyncIterator[list[Stage]]:
    """A stage at work, on a roll of its own."""
    roll: list[Stage] = []
    ROLL.set(roll)
    stage = Stage(name="janitor", bell=Bell(), look=look, poll_s=60)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(stage.run())
        yield roll
        task.cancel()


async def test_a_stage_that_is_stuck_in_one_look_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    is_looking = asyncio.Event()

    async def look(_crew: Crew) -> float:
        is_looking.set()
        await never()
        return 0.0

    async with working(look) as roll:
        await is_looking.wait()
        before = await of(FakeStore(), stages=roll).find_dead(10)
        monkeypatch.setattr(vitals, "LONGEST_LOOK_S", -1.0)
        after = await of(FakeStore(), stages=roll).find_dead(10)

    assert before == []
    assert after == ["the stage janitor is stuck in one look since 0 s"]


async def test_a_stage_that_sleeps_is_alive() -> None:
    has_looked = asyncio.Event()

    async def look(_crew: Crew) -> float:
        has_looked.set()
        return 60.0

    async with working(look) as roll:
        await has_looked.wait()
        await asyncio.sleep(0)
        looking = [stage.looks_for_s for stage in roll]

    assert looking == [0.0]


# --- the listeners ---------------------------------------------------------------------------------------------------


async def test_a_listener_that_is_gone_or_says_nothing_is_dead() -> None:
    async def keep_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(keep_silent, "127.0.0.1", 0)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        gone = sock.getsockname()[1]
    port = silent.sockets[0].getsockname()[1]
    doors = [
        Door(listener="silent", host="127.0.0.1", port=port, is_tls=False),
        Door(listener="gone", host="127.0.0.1", port=gone, is_tls=False),
    ]
    dead = await of(FakeStore(), doors=doors).find_dead(0.4)
    draining = await of(FakeStore(), doors=doors, is_draining=True).find_dead(0.4)
    silent.close()

    assert dead == [
        f'the listener "silent" at 127.0.0.1:{port} does not answer',
        f'the listener "gone" at 127.0.0.1:{gone} does not answer',
    ]
    assert draining == []


async def test_a_knock_that_fails_by_itself_says_nothing_of_the_listener() -> None:
    nowhere = Door(listener="smtp", host="nowhere.invalid", port=25, is_tls=False)

    assert await of(FakeStore(), doors=[nowhere]).find_dead(20) == []


# --- how it is -------------------------------------------------------------------------------------------------------


async def test_the_status_says_whether_mail_is_taken_and_what_waits() -> None:
    waiting = Backlog(sms={"queued": 12, "sending": 3, "uncertain": 1}, reports={"due": 1})

    assert await of(FakeStore(waiting=waiting)).describe() == (
        "taking mail; 12 SMS wait, 3 under way, 1 in doubt; 1 report to be mailed; 1 client connected"
    )


async def test_the_status_says_why_no_mail_is_taken() -> None:
    gone = of(FakeStore(answering=not_now), shortage="the disk of the store is full", is_draining=True)

    assert await gone.describe() == (
        "NOT taking mail: draining, the disk of the store is full, the store does not answer"
    )
    assert await gone.count_backlog() is None


# --- the real daemon -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        server.create("watched")
        yield server


class Supervisor:
    """Listens as systemd does, on a real socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self.heard: list[str] = []

    async def hear(self, beginning: str) -> str:
        """Return the next line that begins so; what came before it is in `heard`."""
        self.heard.clear()
        async with asyncio.timeout(DEADLINE_S):
            while True:
                message = await asyncio.get_running_loop().sock_recv(self._socket, 4_096)
                self.heard.extend(message.decode().split("\n"))
                for line in self.heard:
                    if line.startswith(beginning):
                        return line

    def forget(self) -> None:
        """What has come until now is not looked at."""
        self.heard.clear()
        try:
            while True:
                self._socket.recv(4_096)
        except BlockingIOError:
            return

    def has_heard_nothing_of(self, line: str) -> bool:
        """Tell whether no such line has come since."""
        try:
            while True:
                self.heard.extend(self._socket.recv(4_096).decode().split("\n"))
        except BlockingIOError:
            return line not in self.heard


@asynccontextmanager
async def supervised(config: Path, folder: Path) -> AsyncIterator[tuple[Supervisor, GatewayProcess]]:
    path = str(folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(path)
        sock.setblocking(False)  # noqa: FBT003 it takes no keyword
        async with serve(config, env={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "3000000"}) as gateway:
            yield Supervisor(sock), gateway


class MutableLine:
    """Stands between the gateway and PostgreSQL; `is_mute` swallows what either says."""

    def __init__(self, server: Path) -> None:
        self._server = server
        self.is_mute = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_unix_connection(str(self._server / ".s.PGSQL.5432"))
        try:
            async with asyncio.TaskGroup() as group:
                back = group.create_task(self._pass(theirs, writer))
                await self._pass(reader, ours)
                back.cancel()
        except* OSError:
            pass
        finally:
            for one in (ours, writer):
                one.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            if not self.is_mute:
                writer.write(data)
                await writer.drain()


async def unfed(gateway: GatewayProcess, times: int) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while gateway.read_log().count('"event": "watchdog_unfed"') < times:  # noqa: ASYNC110 another process
            await asyncio.sleep(0.05)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_store_that_hangs_stops_the_signs_of_life_and_one_that_is_back_starts_them(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    line = MutableLine(postgres.socket_directory)
    listening = await asyncio.start_unix_server(line.serve, str(tmp_path / ".s.PGSQL.5432"))
    url = postgres.url("watched").replace(str(postgres.socket_directory), str(tmp_path))
    config = write_config(tmp_path / "gateway.toml", store={"url": url})
    await migrate(load(config, environ={}).store)
    try:
        async with supervised(config, tmp_path) as (supervisor, gateway):
            await supervisor.hear("WATCHDOG=1")
            line.is_mute = True
            await unfed(gateway, 1)
            supervisor.forget()
            await unfed(gateway, 3)
            has_been_silent = supervisor.has_heard_nothing_of("WATCHDOG=1")
            line.is_mute = False
            await supervisor.hear("WATCHDOG=1")
    finally:
        listening.close()

    assert has_been_silent
    assert "the store commits nothing" in gateway.read_log()


@pytest.mark.slow
async def test_the_supervisor_reads_how_it_is_and_waits_for_a_drain(tmp_path: Path) -> None:
    config = write_config(tmp_path / "gateway.toml")
    await migrate(load(config, environ={}).store)
    async with supervised(config, tmp_path) as (supervisor, gateway):
        status = await supervisor.hear("STATUS=smtp=")
        gateway.process.terminate()
        await supervisor.hear("STOPPING=1")
        extended = await supervisor.hear("EXTEND_TIMEOUT_USEC=")

        assert await gateway.wait() == 0

    assert status.endswith(
        "; taking mail; 0 SMS wait, 0 under way, 0 in doubt; 0 reports to be mailed; 0 clients connected"
    )
    assert extended == "EXTEND_TIMEOUT_USEC=15000000"
