"""`mail2sms password`."""

import getpass
import sys
from typing import Final, NoReturn

import typer

from gateway.cli.exits import BAD
from gateway.smtp.passwords import MAX_PASSWORD_BYTES, hash_password, is_password

_SHORT_CHARS: Final = 12


def password() -> None:
    """Print the hash of a password, for the configuration.

    It stands in `password_hash` of a [[users]] block. The password is asked for twice on a terminal; otherwise it is
    the one line on stdin. It is shown and kept nowhere. Exit status 1 when the two differ, or it cannot be a password.
    """
    given = _ask() if sys.stdin.isatty() else _read_line()
    if not is_password(given):
        _refuse(f"A password has 1 to {MAX_PASSWORD_BYTES} octets, and no NUL.")
    if len(given) < _SHORT_CHARS:
        sys.stderr.write(f"warning: shorter than {_SHORT_CHARS} characters, easy to guess\n")
    print(hash_password(given))


def _ask() -> str:
    first = getpass.getpass("Password: ", stream=sys.stderr)
    if getpass.getpass("The same again: ", stream=sys.stderr) != first:
        _refuse("The two differ.")
    return first


def _read_line() -> str:
    try:
        text = sys.stdin.buffer.read(MAX_PASSWORD_BYTES + 3).decode("utf-8")
    except UnicodeDecodeError:
        _refuse("What is on stdin is not UTF-8.")
    line = text.removesuffix("\n").removesuffix("\r")
    if "\n" in line:
        _refuse("What is on stdin has more than one line.")
    return line


def _refuse(sentence: str) -> NoReturn:
    sys.stderr.write(f"{sentence}\n")
    raise typer.Exit(BAD)
