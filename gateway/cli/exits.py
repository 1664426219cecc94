"""Exit statuses of every command, and the options that several commands share."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from gateway.config import ConfigError
from gateway.errors import GatewayError

OK: Final = 0
BAD: Final = 1  # the thing asked about
USAGE: Final = 2
CONFIGURATION: Final = 3
STORE_OR_NETWORK: Final = 4

ConfigOption = Annotated[
    # One that may not be read is for the loader to say, with the status of a configuration
    Path, typer.Option("--config", "-c", metavar="FILE", help="The configuration.", readable=False)
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Overrule the file, as smtp.hostname=gw.example.org; repeatable."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="For programs.")]


def read_overrides(settings: Sequence[str] | None) -> dict[str, str]:
    """Return what `--set` says, by key."""
    overrides = {}
    for setting in settings or ():
        key, equals, value = setting.partition("=")
        if not key or not equals:
            raise typer.BadParameter(f"{setting} is not KEY=VALUE", param_hint="--set")
        overrides[key] = value
    return overrides


def status_of(error: GatewayError) -> int:
    """Return the exit status that says what kind of error it was."""
    return CONFIGURATION if isinstance(error, ConfigError) else STORE_OR_NETWORK
