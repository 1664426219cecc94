"""Where the output goes: a disk that is full, a terminal that has few letters."""

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path

import pytest

from tests.cli.conftest import KEYID
from tests.support.gateway import run_command

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("arguments", [["version"], ["check-config", "--reference"]])
async def test_a_full_disk_is_said_in_words(arguments: list[str]) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway", *arguments, stdin=DEVNULL, stdout=full, stderr=PIPE
        )
        async with asyncio.timeout(60):
            _, stderr = await process.communicate()
    finally:
        os.close(full)

    assert process.returncode == 4
    assert stderr.decode() == "the output cannot be written: No space left on device\n"


async def test_what_a_terminal_has_no_letter_for_is_written_out(config: Path) -> None:
    mail = (
        f"From: a@masociete.com\n\n<envoi><keyid>{KEYID}</keyid><emailId>1</emailId><num>0601020304</num>"
        "<sms>\u00e9t\u00e9</sms></envoi>\n"
    )
    shown = await run_command(
        "lint", "-", "-c", str(config), stdin=mail.encode(), env={"PYTHONIOENCODING": "ascii"}, deadline_s=60
    )

    assert (shown.status, shown.stderr) == (0, "")
    assert "\\xe9t\\xe9" in shown.stdout


async def test_nothing_is_said_to_a_reader_who_has_seen_enough() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway", "version", stdin=DEVNULL, stdout=writer, stderr=PIPE
        )
        async with asyncio.timeout(60):
            _, stderr = await process.communicate()
    finally:
        os.close(writer)

    assert stderr == b""
