"""`mail2sms doctor`, as an operator calls it."""

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gateway.clock import SystemClock
from gateway.config import Config, load
from gateway.doctor import Finding, Level, Section, checkup
from gateway.doctor.patience import in_thread
from gateway.doctor.subject import Subject
from gateway.doctor.timekeeping import _judge_kernel, is_synchronised
from gateway.sandbox import Sandbox
from gateway.smtp.mailbox import Mailbox
from gateway.store import migrate
from tests.doctor.conftest import KEY, find, look, told
from tests.support.configuration import write_config
from tests.support.dns import DnsServer
from tests.support.gateway import Finished, run_command, serve
from tests.support.rawhttp import closed_port

LONG_KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture
async def house(tmp_path: Path, zone: DnsServer) -> AsyncIterator[Path]:
    """A configuration with everything around the gateway in place, its store made, on fixed ports."""
    smtp, http = free_ports(2)
    async with Sandbox() as sandbox, Mailbox() as mailbox:
        path = write_config(
            tmp_path / "gateway.toml",
            smarthost=mailbox.address,
            carrier=sandbox.url,
            account={"keyid": LONG_KEY},
            provider={"keyid": KEY},
            senders={"dns_servers": [zone.server]},
            smtp={"listen": [f"127.0.0.1:{smtp}"]},
            http={"listen": f"127.0.0.1:{http}"},
        )
        await migrate(load(path, environ={}).store)
        yield path
        assert (mailbox.mails, sandbox.messages) == ([], ())


def free_ports(count: int) -> list[int]:
    """Different ones: each is held until all are found."""
    with ExitStack() as held:
        return [held.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(count)]


async def ask(path: Path, *arguments: str) -> Finished:
    return await run_command("doctor", "--config", str(path), *arguments)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


def edit(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.slow
async def test_before_the_first_start_nothing_fails_and_nothing_changes(house: Path, tmp_path: Path) -> None:
    before = snapshot(tmp_path)
    done = await ask(house)

    assert (done.status, done.stderr) == (0, "")
    assert "free, and can be listened on" in done.stdout
    assert "would take reports for masociete.com" in done.stdout
    assert "takes the key" in done.stdout
    assert "this machine" in done.stdout
    assert snapshot(tmp_path) == before


@pytest.mark.slow
async def test_beside_a_gateway_at_work_it_knows_it(house: Path) -> None:
    async with serve(house) as gateway:
        done = await ask(house, "--json")
        answer = json.loads(done.stdout)
        log = gateway.read_log()

    said = [finding["what"] for finding in answer["findings"]]
    assert done.status == 0
    assert answer["gateway_pid"] == gateway.process.pid
    assert any("the gateway answers: 220 gw.example.org ESMTP" in line for line in said)
    assert any("the gateway answers, and is ready" in line for line in said)
    assert any("shows in clear to 127.0.0.1: PIPELINING" in line for line in said)
    assert '"level": "error"' not in log


@pytest.mark.slow
async def test_what_is_bad_comes_last_with_what_to_do(house: Path) -> None:
    edit(house, 'smarthost = "', f'smarthost = "127.0.0.1:{await closed_port()}" # ')
    done = await ask(house)
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]

    assert done.status == 1
    assert lines[-1].startswith("Something is bad: ")
    assert lines[-2].startswith("→ see that it runs")
    assert lines[-3].startswith("failure  Smarthost: smarthost 127.0.0.1:")


@pytest.mark.slow
async def test_a_store_that_does_not_work_is_status_4(house: Path, tmp_path: Path) -> None:
    (tmp_path / "gateway.db").unlink()
    done = await ask(house, "--json")
    answer = json.loads(done.stdout)

    assert done.status == 4
    assert not answer["ok"]
    assert not (tmp_path / "gateway.db").exists()


@pytest.mark.slow
async def test_a_configuration_that_cannot_be_used_is_status_3(house: Path) -> None:
    edit(house, "[store]", "[stroe]")
    for_people, for_programs = await ask(house), await ask(house, "--json")

    assert (for_people.status, for_programs.status) == (3, 3)
    assert 'did you mean "store"' in for_people.stderr
    assert "nothing else was looked at" in for_people.stdout
    assert not json.loads(for_programs.stdout)["ok"]


@pytest.mark.slow
async def test_credentials_that_only_the_service_has_are_explained(house: Path) -> None:
    edit(house, f'keyid = "{KEY}"', 'keyid_file = "carrier.key"')
    done = await ask(house)

    assert done.status == 3
    assert "systemd-run --uid=mail2sms --wait --pipe -p LoadCredential=" in done.stdout


@pytest.mark.slow
async def test_one_section_alone_can_be_looked_at(house: Path) -> None:
    done = await ask(house, "--only", "clock", "--only", "dns", "--json")
    unknown = await ask(house, "--only", "weather")

    answer = json.loads(done.stdout)
    assert {finding["section"] for finding in answer["findings"]} == {"clock", "dns"}
    assert answer["listeners"] == []
    assert unknown.status == 2


@pytest.mark.slow
async def test_no_secret_is_printed(house: Path) -> None:
    edit(house, f'keyid = "{KEY}"', f'keyid = "{KEY}"\ncallback_secret = "0123456789-secret-9876543210"')
    done = await ask(house)

    for secret in (KEY, LONG_KEY, "0123456789-secret-9876543210"):
        assert secret not in done.stdout + done.stderr


# --- the looks themselves --------------------------------------------------------------------------------------------


async def _fails(subject: Subject) -> AsyncIterator[Finding]:
    yield Finding(section=Section.CLOCK, level=Level.OK, what="so far, so good")
    raise ZeroDivisionError(subject.uid)


async def _never_ends(_subject: Subject) -> AsyncIterator[Finding]:
    yield Finding(section=Section.CLOCK, level=Level.OK, what="so far, so good")
    await asyncio.Event().wait()


@pytest.mark.slow
@pytest.mark.parametrize(("look_at_it", "words"), [(_fails, "a fault of this command"), (_never_ends, "no end within")])
async def test_a_look_that_goes_wrong_hides_nothing(
    config: Config, monkeypatch: pytest.MonkeyPatch, look_at_it: checkup.Look, words: str
) -> None:
    looks = {"odd": (look_at_it, frozenset({Section.CLOCK})), "clock": checkup._LOOKS["clock"]}
    monkeypatch.setattr(checkup, "_LOOKS", looks)
    found = await look(config, Section.CLOCK, look_s=3.0)

    assert find(found, f"odd: {words}").level is Level.UNKNOWN
    assert "so far, so good" in told(found)
    assert any("time zones are known" in line for line in told(found))


_HANGS = """
import asyncio, threading
from gateway.doctor.patience import in_thread

async def main():
    try:
        async with asyncio.timeout(0.1):
            await in_thread(threading.Event().wait)
    except TimeoutError:
        print("went on")

asyncio.run(main())
"""


@pytest.mark.slow
async def test_work_that_hangs_is_not_waited_for() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _HANGS, cwd=_root(), stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        said, _ = await process.communicate()

    assert (said, process.returncode) == (b"went on\n", 0)


async def test_what_work_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        await in_thread(lambda: 1 // 0)


@pytest.mark.parametrize(
    ("is_kept", "level"), [(True, Level.OK), (False, Level.WARNING), (None, Level.UNKNOWN)], ids=str
)
def test_what_the_kernel_says_of_its_clock_is_judged(is_kept: bool | None, level: Level) -> None:
    assert _judge_kernel(is_kept).level is level


def test_asking_the_kernel_sets_nothing() -> None:
    before = SystemClock().now()

    assert is_synchronised() in {True, False, None}
    assert abs((SystemClock().now() - before).total_seconds()) < 60


def _root() -> Path:
    return Path(__file__).parents[2]
