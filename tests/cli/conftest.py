"""A good configuration whose carrier and mailbox are not there."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.cli import main
from tests.support.configuration import render_config

KEYID = "0123456789abcdef0123456789abcdef"
CONFIG = render_config(account={"keyid": KEYID})


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "gateway.toml"
    file.write_text(CONFIG, "utf-8")
    file.chmod(0o600)
    return file


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What a command left behind."""

    status: int
    stdout: str
    stderr: str


Run = Callable[..., Finished]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs `mail2sms` with these arguments."""

    def run_it(*arguments: str) -> Finished:
        monkeypatch.setattr(sys, "argv", ["mail2sms", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        written = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Finished(status=ended.value.code, stdout=written.out, stderr=written.err)

    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERMINAL_WIDTH", "200")
    return run_it
