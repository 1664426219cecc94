"""Real children: killed, hanging, out of memory, talking nonsense; and what becomes of the mails meanwhile."""

import asyncio
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.metrics import REGISTRY
from gateway.protocol.reading import Limits, Mode, Unreadable
from gateway.reader.inline import NotRead
from gateway.reader.mail import MailRead, read_mail
from gateway.reader.pool import ReaderPool
from gateway.reader.process import _Channel
from tests.intake.conftest import write_envoi, write_mail
from tests.reader.conftest import (
    MAIL_BYTES,
    ORDINARY,
    OpenPool,
    children_of,
    evil_command,
    evil_mail,
    is_running,
    read,
)
from tests.support.clock import ManualClock

pytestmark = pytest.mark.slow

EXPECTED = read_mail(ORDINARY, Mode.LENIENT, Limits())
LARGE = write_mail(write_envoi() + "\n" + "x\n" * 40_000)


def troubles(cause: str) -> float:
    return REGISTRY.get_sample_value("mail2sms_reader_troubles_total", {"cause": cause}) or 0.0


def kept(tmp_path: Path) -> list[bytes]:
    folder = tmp_path / "quarantine"
    return [path.read_bytes() for path in folder.iterdir()] if folder.exists() else []


async def gone(pids: list[int]) -> None:
    async with asyncio.timeout(10):
        while any(map(is_running, pids)):  # noqa: ASYNC110 a process that is not ours to wait for
            await asyncio.sleep(0.01)


async def refused(pool: ReaderPool, content: bytes) -> NotRead:
    with pytest.raises(NotRead) as caught:
        await read(pool, content)
    return caught.value


# --- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize(
    "content",
    [ORDINARY, LARGE, write_mail("Bonjour"), b"X: \0\r\n\r\n", write_mail(write_envoi(sms="Tom & Jerry < 3"))],
)
async def test_a_child_reads_what_would_be_read_here(open_pool: OpenPool, content: bytes, mode: Mode) -> None:
    pool = await open_pool()
    there, here = await pool.read(content, mode, name="M1"), read_mail(content, mode, Limits())

    assert _plain(there) == _plain(here)


def _plain(read: MailRead | Unreadable) -> object:
    """Return it with errors by what they say: two exceptions are never equal."""
    match read:
        case Unreadable():
            return str(read)
        case MailRead(reading=Unreadable()):
            return read.headers, str(read.reading)
        case _:
            return read


async def test_the_largest_mail_goes_there_and_a_large_answer_comes_back(open_pool: OpenPool) -> None:
    numbers = {f"num{x}": f"06010{x:05}" for x in range(1, 501)}
    texts = {f"sms{x}": f"{x}" + "é" * 1_900 for x in range(1, 501)}
    content = write_mail(write_envoi(num=None, sms=None, **numbers, **texts))
    pool = await open_pool(max_body_bytes=MAIL_BYTES, deadline_s=60)
    found = await read(pool, content + b"\r\n" * 4_000_000)
    assert isinstance(found, MailRead)
    assert not isinstance(found.reading, Unreadable), found.reading

    assert [one.text for one in found.reading.envoi.recipients] == list(texts.values())


async def test_the_limits_are_those_of_the_settings(open_pool: OpenPool) -> None:
    found = await read(await open_pool(max_text_chars=1_377), write_mail(write_envoi(sms="x" * 1_378)))
    assert isinstance(found, MailRead)

    assert "too long" in str(found.reading)


# --- a mail that does harm -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "trouble", "cause"),
    [
        ("die", "died", "killed by SIGKILL"),
        ("leave", "died", "ended with status 3"),
        ("hang", "overran", "deadline_s"),
        ("burn", "overran", "deadline_s"),
        ("bomb", "failed", "MemoryError"),
        ("recurse", "failed", "RecursionError"),
        ("babble", "died", "not an answer"),
        ("chatter", "died", "more than it was asked"),
        ("endless", "died", "too long"),
    ],
)
async def test_a_mail_that_does_harm_is_come_back_and_kept_and_the_next_is_read(
    open_pool: OpenPool, tmp_path: Path, word: str, trouble: str, cause: str
) -> None:
    pool = await open_pool(command=evil_command(), workers=1, deadline_s=1, memory_bytes=67_108_864)
    before = troubles(trouble)
    with capture_logs() as logs:
        error = await refused(pool, evil_mail(word))
    after = await read(pool)
    failed = [entry for entry in logs if entry["event"] == "reading_failed"]

    assert cause in str(error)
    assert after == EXPECTED
    assert kept(tmp_path) == [evil_mail(word)]
    assert troubles(trouble) == before + 1
    assert [(entry["log_level"], cause in entry["cause"], Path(entry["kept"]).parent) for entry in failed] == [
        ("error", True, tmp_path / "quarantine")
    ]


async def test_a_mail_has_its_whole_deadline_however_many_came_before(open_pool: OpenPool) -> None:
    pool = await open_pool(command=evil_command(), workers=1, deadline_s=1)
    loop = asyncio.get_running_loop()
    busy_until = loop.time() + 0.5
    while loop.time() < busy_until:  # the timer of the first still runs
        await read(pool)
    began_at = loop.time()
    error = await refused(pool, evil_mail("hang"))
    took_s = loop.time() - began_at

    assert "deadline_s" in str(error)
    assert took_s > 0.9
    assert await read(pool) == EXPECTED


async def test_a_mail_that_something_else_interrupted_is_read_by_another_child(
    open_pool: OpenPool, tmp_path: Path
) -> None:
    pool = await open_pool(command=evil_command(), workers=1)
    with capture_logs() as logs:
        found = await read(pool, evil_mail(f"die-once {tmp_path / 'was-here'}"))

    assert isinstance(found, MailRead)
    assert kept(tmp_path) == []
    assert [entry["event"] for entry in logs] == ["reader_replaced"]


async def test_a_child_that_ended_while_it_was_idle_costs_no_attempt(open_pool: OpenPool, tmp_path: Path) -> None:
    pool = await open_pool(command=evil_command(), workers=1)
    await read(pool)
    [pid] = children_of(pool)
    os.kill(pid, signal.SIGKILL)
    await gone([pid])
    found = await read(pool, evil_mail(f"die-once {tmp_path / 'was-here'}"))

    assert isinstance(found, MailRead)


async def test_a_child_that_talks_without_end_is_not_listened_to() -> None:
    ours, theirs = socket.socketpair()
    ours.settimeout(0)
    theirs.settimeout(0)
    loop = asyncio.get_running_loop()
    transport, channel = await loop.create_connection(_Channel, sock=ours)
    with theirs:
        theirs.send(b"\0\0\0\0")
        assert await channel.frame == b""
        theirs.send(b"more than it was asked")
        async with asyncio.timeout(10):
            while channel.is_open:  # noqa: ASYNC110 nobody is told
                await asyncio.sleep(0)
        with suppress(BlockingIOError):
            while True:
                theirs.send(bytes(65_536))
        for _ in range(10):
            await asyncio.sleep(0)
        with pytest.raises(BlockingIOError):
            theirs.send(b"and more")
    channel.close()

    assert transport.is_closing()


async def test_a_dead_child_is_replaced_before_the_next_mail(open_pool: OpenPool) -> None:
    pool = await open_pool(command=evil_command(), workers=1)
    before = children_of(pool)
    await refused(pool, evil_mail("die"))
    after = children_of(pool)

    assert len(after) == 1
    assert before != after
    assert is_running(after[0])
    assert not is_running(before[0])


async def test_whoever_gives_up_leaves_no_answer_for_the_next(open_pool: OpenPool) -> None:
    pool = await open_pool(command=evil_command(), workers=1)
    await read(pool)
    [pid] = children_of(pool)
    async with asyncio.timeout(30):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await read(pool, evil_mail("hang"))
        found = await read(pool)

    assert found == EXPECTED
    await gone([pid])


async def test_a_folder_that_cannot_be_written_changes_nothing_else(open_pool: OpenPool, tmp_path: Path) -> None:
    (tmp_path / "quarantine").write_bytes(b"")  # a file is in the way
    pool = await open_pool(command=evil_command(), workers=1)
    with capture_logs() as logs:
        await refused(pool, evil_mail("recurse"))

    assert [entry["event"] for entry in logs] == ["quarantine_failed", "reading_failed"]
    assert await read(pool) == EXPECTED


# --- others meanwhile ------------------------------------------------------------------------------------------------


async def test_large_mails_do_not_delay_small_ones(open_pool: OpenPool) -> None:
    pool = await open_pool(command=evil_command(), deadline_s=30)
    large = evil_mail("hang", body="\n" + "x\n" * 40_000)
    async with asyncio.TaskGroup() as group:
        stuck = [group.create_task(read(pool, large)) for _ in range(3)]
        found = [await read(pool) for _ in range(20)]

        assert found == [EXPECTED] * 20
        assert not any(task.done() for task in stuck)

        for task in stuck:
            task.cancel()


async def test_mails_wait_in_the_order_they_came_up_to_a_bound(open_pool: OpenPool) -> None:
    pool = await open_pool(workers=1, max_waiting=3)
    before = troubles("busy")
    order: list[int] = []

    async def one(number: int) -> str:
        try:
            await read(pool)
        except NotRead as error:
            return str(error)
        order.append(number)
        return "read"

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(number)) for number in range(6)]

    assert [task.result() for task in tasks] == ["read"] * 4 + ["too many mails wait to be read"] * 2
    assert order == [0, 1, 2, 3]
    assert troubles("busy") == before + 2


async def test_waiting_for_a_child_has_a_deadline(open_pool: OpenPool) -> None:
    pool = await open_pool(command=evil_command(), workers=1, patience_s=0.05)
    await read(pool)
    async with asyncio.TaskGroup() as group:
        stuck = group.create_task(read(pool, evil_mail("hang")))
        await asyncio.sleep(0)
        error = await refused(pool, ORDINARY)
        stuck.cancel()

    assert str(error) == "waited too long to be read"
    assert await read(pool) == EXPECTED


# --- no child at all -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [("/nowhere/python",), evil_command("stillborn")], ids=["missing", "stillborn"])
async def test_without_a_child_mails_come_back_and_it_is_tried_ever_less_often(
    open_pool: OpenPool, command: tuple[str, ...], tmp_path: Path
) -> None:
    clock = ManualClock()
    pool = await open_pool(command=command, workers=1, clock=clock, start=False)
    delays = []
    for _ in range(9):
        with capture_logs() as logs:
            await refused(pool, ORDINARY)
            await refused(pool, ORDINARY)
        [entry] = logs
        delays.append(entry["again_in_s"])
        clock.advance(entry["again_in_s"])

    assert delays == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert kept(tmp_path) == []


async def test_a_pool_that_could_not_start_reads_as_soon_as_it_can(open_pool: OpenPool) -> None:
    clock = ManualClock()
    pool = await open_pool(command=("/nowhere/python",), clock=clock)
    pool._command = evil_command()
    early = await refused(pool, ORDINARY)
    before = pool.is_unstartable
    clock.advance(1)
    again = pool.is_unstartable

    assert str(early) == "no process can be started to read it"
    assert (before, again) == (True, False)  # else nobody would send the mail that tries
    assert await read(pool) == EXPECTED
    assert not pool.is_unstartable


# --- what a child may do ---------------------------------------------------------------------------------------------


def environment_of(pid: int) -> set[str]:
    """Return the names in it; Python itself adds one."""
    entries = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return {entry.partition("=")[0] for entry in entries} - {"", "LC_CTYPE", "LD_LIBRARY_PATH"}


def descriptors_of(pid: int) -> dict[int, str]:
    return {int(path.name): str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()}


def limits_of(pid: int) -> dict[str, str]:
    """Return the soft limits."""
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()[1:]
    return {line[4:26].strip(): line[26:47].strip() for line in lines}


async def test_a_child_has_nothing_of_ours_but_its_channel(
    open_pool: OpenPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAIL2SMS_SECRET", "x")
    pool = await open_pool(workers=1)
    await read(pool)
    [pid] = children_of(pool)
    descriptors, limits = descriptors_of(pid), limits_of(pid)

    assert environment_of(pid) == set()
    assert descriptors.pop(0).startswith("socket:")
    assert descriptors == {1: os.devnull, 2: os.devnull}
    assert [limits[name] for name in ("core file size", "file size", "open files")] == ["0", "0", "16"]
    assert 536_870_912 < int(limits["address space"]) < 2 * 536_870_912
    assert int(limits["cpu time"]) < 20


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_signal_to_the_whole_group_does_not_end_it(open_pool: OpenPool, number: signal.Signals) -> None:
    pool = await open_pool(workers=1)
    await read(pool)
    [pid] = children_of(pool)
    os.kill(pid, number)
    found = await read(pool)

    assert found == EXPECTED
    assert children_of(pool) == [pid]


async def test_closing_leaves_no_child_even_in_the_middle_of_a_mail(open_pool: OpenPool) -> None:
    pool = await open_pool(command=evil_command())
    await read(pool)
    pids = children_of(pool)
    async with asyncio.TaskGroup() as group:
        stuck = group.create_task(refused(pool, evil_mail("burn")))
        await asyncio.sleep(0.05)
        await pool.close()

    assert str(stuck.result()) == "the gateway is stopping"
    assert [pid for pid in pids if is_running(pid)] == []


@pytest.mark.parametrize("word", ["idle", "hang", "burn"])
async def test_no_child_outlives_a_parent_that_was_killed(word: str) -> None:
    script = f"""
import asyncio
from tests.reader.conftest import *
async def main():
    settings = ReadingSettings(workers=1, deadline_s=60)
    pool = ReaderPool(settings, settings.limits(mail_bytes=MAIL_BYTES), clock=SystemClock(), quarantine=None,
                      command=evil_command())
    await pool.start()
    await read(pool)
    print(*children_of(pool), flush=True)
    await read(pool, evil_mail({word!r}))
    await asyncio.sleep(600)
asyncio.run(main())
"""
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert parent.stdout is not None
    async with asyncio.timeout(60):
        pids = [int(word) for word in (await parent.stdout.readline()).split()]
    assert all(map(is_running, pids))
    parent.kill()
    await parent.wait()

    assert len(pids) == 1
    await gone(pids)
