"""The command `mail2sms`: one module per command, imported when it is called.

A command is a module of the same name (`-` written `_`) with a function of the same name, and a line in `COMMANDS`; one
with commands of its own has a `new_group()` of that name instead.
Human text goes to stdout, logs and errors to stderr. Exit statuses are those of `gateway.cli.exits`.
"""

import errno
import io
import os
import sys
from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import cast

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from gateway.errors import GatewayError

COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "demo": "Show the whole way of a mail on loopback, with nothing to configure.",
        "serve": "Run the gateway until it is told to stop.",
        "check-config": "Say everything that is wrong with a configuration.",
        "health": "Say whether the gateway takes mail, for supervisors of containers.",
        "init": "Write a configuration to start from, and make its store.",
        "migrate": "Make the store, or bring it to this version.",
        "backup": "Make a sound copy of the store, also while the gateway works.",
        "restore": "Put a backup into place, and say what becomes of the SMS that waited in it.",
        "verify": "Look for anything wrong in the store, or in a backup of it.",
        "doctor": "Look at the real installation, and say what to do.",
        "purge": "Erase now what is older than it is to be kept.",
        "forget": "Erase everything that names a telephone number, at once.",
        "account": "Write what stands in the configuration for an account: all of it, or a new key.",
        "password": "Print the hash of a password, for the configuration.",
        "credit": "Show and change what accounts may still send, counted in parts.",
        "quota": "Show and reset what accounts used of their quotas.",
        "optout": "Show and change the STOP list: numbers that are sent nothing any more.",
        "carrier": "Ask a carrier what is left, how long a text is, or who wants no SMS.",
        "why": "Say what became of a mail, and why.",
        "queue": "Show SMS that wait; hold, release, try again or cancel them.",
        "stats": "Count what came and what became of it, and say how long SMS wait.",
        "lint": "Say what would become of a mail, without sending or storing anything.",
        "inject": "Submit a mail as if it had come by SMTP, and print the reply.",
        "conformance": "Play a corpus of mails against any gateway and judge what comes back.",
        "prove": "Prove on this machine what the gateway promises.",
        "sandbox": "Run the carriers in a box: they take SMS and send nothing.",
        "version": "Print the version, Python's and the libraries'.",
    }
)
"""Every command and the first line of its help, which can so be shown without importing it."""


class _Commands(TyperGroup):
    """Knows all commands by name and help; the one that is called is imported."""

    def resolve_command(  # type: ignore[override] # the class it names is private to typer
        self, ctx: typer.Context, args: list[str]
    ) -> tuple[str | None, TyperCommand | TyperGroup | None, list[str]]:
        name, known, rest = super().resolve_command(ctx, args)
        return name, load_command(name) if name and known else None, rest


_ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "demo": "README.md",
        "init": "README.md",
        "health": "docs/deploying.md",
        "password": "docs/console.md",
        "conformance": "docs/conformance.md",
        "sandbox": "docs/sandbox.md",
        "version": "docs/security.md",
    }
)
"""Where examples of a command are, if not in the manual of operators."""


def _epilog(name: str) -> str:
    """Return what stands below the help of every command."""
    where = _ELSEWHERE.get(name, "docs/operating.md")
    return (
        "Exit status 0: done. 1: what it was asked about is bad, as said above. 2: the command line is wrong. 3: the "
        f"configuration cannot be used. 4: the store, or the network. Examples: {where}."
    )


def load_command(name: str) -> TyperCommand | TyperGroup:
    """Return a command of `COMMANDS`, imported, with all that belongs to it."""
    function = name.replace("-", "_")
    found = getattr(import_module(f"gateway.cli.{function}"), function)
    if isinstance(found, typer.Typer):
        group = cast("TyperGroup", get_command(found))
        for command in (group, *group.commands.values()):
            command.epilog = _epilog(name)
        return group
    single = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    single.command(name, context_settings=_HELP, epilog=_epilog(name))(found)
    return cast("TyperCommand", get_command(single))


def new_group() -> typer.Typer:
    """Return what commands of a command are added to; its callback has the help."""
    return typer.Typer(
        add_completion=False,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings=_HELP,
    )


_HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

app = typer.Typer(
    cls=_Commands,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings=_HELP,
)


@app.callback()
def _mail2sms() -> None:
    """Mail-to-SMS gateway for the PUSH MSISDN mail protocol."""


def _not_yet_loaded() -> None:
    """Stand for a command until it is called."""


for _name, _help in COMMANDS.items():
    app.command(_name, help=_help)(_not_yet_loaded)


_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def main() -> None:
    """Run the command line; what the gateway raises becomes text on stderr and an exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # not every terminal has every letter
    try:
        try:
            app(prog_name="mail2sms")
        finally:
            _flush_output()
    except GatewayError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(import_module("gateway.cli.exits").status_of(error))
    except OSError as error:
        if error.errno not in _FULL:
            raise
        _discard_output()
        sys.stderr.write(f"the output cannot be written: {error.strerror}\n")
        sys.exit(import_module("gateway.cli.exits").STORE_OR_NETWORK)


def _flush_output() -> None:
    """Nothing is left for the interpreter to write at its end, where it could only fail with a traceback."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()  # whoever reads has seen enough (`| head -1`); the status is that of the command


def _discard_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
