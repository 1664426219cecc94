"""`mail2sms password`: a hash that the configuration takes and AUTH checks."""

import contextlib
import os
import pty
import sys
from pathlib import Path

import pytest

from gateway.smtp.passwords import Passwords, User
from tests.support.configuration import render_config
from tests.support.gateway import Finished, run_command

pytestmark = pytest.mark.slow


async def is_right(made: str, password: str) -> bool:
    user = User(name="glpi", password_hash=made.strip(), account="a")
    return await Passwords([user]).check("glpi", password) is not None


async def ask(stdin: bytes) -> Finished:
    return await run_command("password", stdin=stdin)


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
async def test_line_on_stdin_becomes_a_hash(ending: str) -> None:
    done = await ask(f"sésame, ouvre-toi{ending}".encode())

    assert (done.status, done.stderr) == (0, "")
    assert await is_right(done.stdout, "sésame, ouvre-toi")


async def test_hash_is_one_the_configuration_takes(tmp_path: Path) -> None:
    done = await ask(b"a long enough one")
    (tmp_path / "glpi.hash").write_text(done.stdout)
    (tmp_path / "glpi.hash").chmod(0o600)
    file = tmp_path / "gateway.toml"
    user = '[[users]]\nname = "glpi"\npassword_hash_file = "glpi.hash"\naccount = "masociete"\n'
    file.write_text(render_config() + user)
    file.chmod(0o600)
    checked = await run_command("check-config", str(file), "--show")

    assert checked.status == 0, checked.stderr
    assert done.stdout.strip() not in checked.stdout


@pytest.mark.parametrize(
    ("stdin", "sentence"),
    [
        (b"", "A password has 1 to 1024 octets"),
        (b"\n", "A password has 1 to 1024 octets"),
        (b"x" * 1_025, "A password has 1 to 1024 octets"),
        (b"a\0b", "A password has 1 to 1024 octets"),
        (b"one\ntwo\n", "more than one line"),
        (b"\xff", "not UTF-8"),
    ],
)
async def test_what_cannot_be_a_password_is_refused(stdin: bytes, sentence: str) -> None:
    done = await ask(stdin)

    assert (done.status, done.stdout) == (1, "")
    assert sentence in done.stderr


async def test_short_one_is_warned_of() -> None:
    done = await ask(b"secret")

    assert done.status == 0
    assert "easy to guess" in done.stderr


@pytest.mark.parametrize(("second", "status"), [("ouvre-toi, sésame", 0), ("ouvre-toi", 1)])
def test_terminal_is_asked_twice(second: str, status: int) -> None:
    process, terminal = pty.fork()
    if not process:
        os.execv(sys.executable, [sys.executable, "-m", "gateway", "password"])  # noqa: S606 - the program is our own
    said = b""
    for answer in ("ouvre-toi, sésame", second):
        while not said.endswith(b": "):
            said += os.read(terminal, 1_024)
        os.write(terminal, f"{answer}\n".encode())
        said = b""
    rest = read_rest(terminal)
    _, ended = os.waitpid(process, 0)

    assert os.waitstatus_to_exitcode(ended) == status
    assert ("$argon2id$" in rest) == (status == 0)
    assert ("The two differ." in rest) == (status == 1)
    assert "ouvre" not in rest


def read_rest(terminal: int) -> str:
    """Return what is still written; Linux ends a terminal whose other side is closed with an error."""
    said = b""
    with contextlib.suppress(OSError):
        while octets := os.read(terminal, 1_024):
            said += octets
    return said.decode()
