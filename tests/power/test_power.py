"""The power goes at any moment of a run of the real gateway; nothing that was promised is missing.

`POWER_IMAGES=20000 POWER_MAILS=1000 tests/run tests/power` is the long form. docs/design.md says what this proves.
"""

import asyncio
import os
import random
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gateway.sandbox import Sandbox
from gateway.smtp.mailbox import Mailbox
from tests.power import trace
from tests.power.count import count_doubles
from tests.power.judge import Said
from tests.power.order import find_early_replies
from tests.power.recording import Recording, record, write_config
from tests.power.replay import Result, instants, parse_result
from tests.support.gateway import serve

IMAGES = int(os.environ.get("POWER_IMAGES", "2000"))
MAILS = int(os.environ.get("POWER_MAILS", "300"))
SEED = int(os.environ.get("POWER_SEED", random.randrange(10**6)))
STARTS = max(4, IMAGES // 1000)
PROCESSES = 2
DEADLINE_S = 60.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300 + IMAGES // 4 + MAILS)]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Recording]:
    """A run of the gateway as it is; a failed test leaves it where it is, for `python -m tests.power.replay`."""
    failed = request.session.testsfailed
    folder = tmp_path_factory.mktemp("power")
    yield asyncio.run(record(folder, MAILS))
    if request.session.testsfailed == failed:
        shutil.rmtree(folder)  # half a megabyte for each mail


async def replay_in_parts(recording: Recording, images: int) -> Result:
    """Return what all parts found together."""
    result = Result()

    async def run(part: int) -> None:
        numbers = (str(number) for number in (images, SEED, part, PROCESSES))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.power.replay", str(recording.folder), *numbers),
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        printed, _ = await process.communicate()
        assert process.returncode == 0
        result.add(parse_result(printed))

    async with asyncio.TaskGroup() as group:
        for part in range(PROCESSES):
            group.create_task(run(part))
    return result


def test_no_mail_is_answered_250_before_it_is_synchronised(recording: Recording) -> None:
    said = Said()
    for event in trace.read(recording.trace, recording.store):
        said.hear(event.call)

    assert said.taken == {mail.mail_id for mail in recording.read_taken()}
    assert list(find_early_replies(trace.read(recording.trace, recording.store))) == []


async def test_no_image_of_the_disk_lacks_what_was_promised(recording: Recording) -> None:
    result = await replay_in_parts(recording, IMAGES)

    assert result.wrongs == [], f"seed {SEED}, {result}, {recording.folder}"
    assert (result.images, result.wrong_images) == (IMAGES, 0)
    assert result.unsettled > IMAGES // 2
    assert result.started >= IMAGES // 10
    print(result)  # noqa: T201 the figures, for `pytest -s`


async def test_started_on_an_image_it_finishes_everything_and_repeats_nothing(
    recording: Recording, tmp_path: Path
) -> None:
    for number, instant in enumerate(instants(recording, STARTS, SEED)):
        folder = tmp_path / str(number)
        folder.mkdir()
        database = instant.write_image(folder)
        async with Mailbox() as mailbox, Sandbox() as sandbox:
            async with serve(write_config(folder, database, mailbox, sandbox)):
                await nothing_is_left(database)
            carried = [sms["tracker"] or "" for sms in sandbox.messages]
            mailed = {found for mail in mailbox.mails for found in find_message_ids(mail.content)}

        assert instant.said.called.isdisjoint(carried)
        assert len(carried) == len(set(carried))
        assert count_doubles(mailbox.mails) == 0
        with closing(sqlite3.connect(database)) as connection:
            trackers = {tracker for (tracker,) in connection.execute("SELECT tracker FROM sms")}
            message_ids = {message_id for (message_id,) in connection.execute("SELECT message_id FROM report")}
            mails = {mail for (mail,) in connection.execute("SELECT id FROM mail")}
        assert instant.said.taken <= mails
        assert message_ids <= instant.said.reported | mailed
        # an SMS whose attempt had begun may not have left; it is uncertain, told as 999, and not sent again
        assert {*carried, *instant.said.called} <= trackers


@pytest.mark.parametrize(("synchronous", "wrongs"), [("NORMAL", {"missing", "blind"}), ("OFF", {"missing", "corrupt"})])
async def test_a_store_that_is_less_durable_is_found_out(tmp_path: Path, synchronous: str, wrongs: set[str]) -> None:
    weak = await record(tmp_path, 40, entry="tests.power.weakened", env={"POWER_SYNCHRONOUS": synchronous})
    early = set(find_early_replies(trace.read(weak.trace, weak.store)))
    result = await replay_in_parts(weak, 200)
    weak.trace.unlink()

    assert len(early) > len(weak.read_taken()) // 10
    assert wrongs <= result.kinds.keys(), result


async def nothing_is_left(database: Path) -> None:
    """Return when every SMS has its answer and every report is on its way."""
    left = (
        "SELECT (SELECT count(*) FROM sms WHERE state IN ('queued', 'sending', 'uncertain')) "
        "+ (SELECT count(*) FROM report WHERE state IN ('due', 'sending'))"
    )
    async with asyncio.timeout(DEADLINE_S):
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            while connection.execute(left).fetchone() != (0,):  # noqa: ASYNC110 another process's
                await asyncio.sleep(0.05)


def find_message_ids(content: bytes) -> set[str]:
    """Return the Message-ID of a mail as `Said` writes it."""
    said = Said()
    said.hear(trace.Call(name="write", path=trace.SOCKET, data=content))
    return said.reported
