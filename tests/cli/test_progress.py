"""Long work shows how far it is, on a terminal and nowhere else. What it prints is the same either way."""

import os
import pty
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.support.configuration import write_config

pytestmark = pytest.mark.slow

DEADLINE_S = 120
ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "120"}
BAR = "━"


def on_a_terminal(*arguments: str) -> tuple[int, str, str]:
    """Return status and stdout of the command, and what it wrote on the terminal that is its stderr."""
    ours, its = pty.openpty()
    written: list[bytes] = []

    def read() -> None:
        while True:
            try:
                chunk = os.read(ours, 65_536)
            except OSError:  # the other end is closed
                return
            if not chunk:
                return
            written.append(chunk)

    reader = threading.Thread(target=read, daemon=True)
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=its,
            env=ENVIRONMENT,
        )
        os.close(its)
        reader.start()
        stdout, _ = process.communicate(timeout=DEADLINE_S)
        reader.join(timeout=DEADLINE_S)
    finally:
        os.close(ours)
    return process.returncode, stdout.decode(), b"".join(written).decode("utf-8", "replace")


def in_a_pipe(*arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=ENVIRONMENT,
        timeout=DEADLINE_S,
        check=False,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = write_config(tmp_path / "gateway.toml")
    assert in_a_pipe("migrate", "--config", str(path))[0] == 0
    (tmp_path / "list.csv").write_text("msisdn\n" + "\n".join(f"06010203{n:02}" for n in range(100)), "utf-8")
    return path


@pytest.mark.parametrize(
    "command",
    [
        ["backup", "copy.db"],
        ["verify"],
        ["purge"],
        ["optout", "import", "list.csv"],
    ],
    ids=lambda command: command[0],
)
def test_long_work_shows_how_far_it_is(command: list[str], config: Path) -> None:
    arguments = [str(config.parent / word) if "." in word else word for word in command]
    status, stdout, terminal = on_a_terminal(*arguments, "--config", str(config))

    assert status == 0
    assert BAR in terminal
    assert BAR not in stdout


def test_elsewhere_nothing_but_the_result_is_written(config: Path) -> None:
    copy = str(config.parent / "copy.db")
    status, stdout, stderr = in_a_pipe("backup", copy, "--config", str(config))

    assert (status, stderr) == (0, "")
    assert copy in stdout
    assert "\x1b" not in stdout


def test_a_proof_shows_how_far_it_is(config: Path) -> None:
    status, stdout, terminal = on_a_terminal("prove", "crash", "--step", "mail-greeted", "--rounds", "0")

    assert status == 0
    assert "Steps" in terminal
    assert BAR in terminal
    assert BAR not in stdout
