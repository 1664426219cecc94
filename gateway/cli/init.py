"""`mail2sms init`."""

import asyncio
import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.exits import BAD, STORE_OR_NETWORK
from gateway.config import load
from gateway.config.rendering import render_example
from gateway.store import migrate

NAME = "gateway.toml"


def init(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where; made if it is not there.")] = Path(),
) -> None:
    """Write a configuration to start from, and make its store.

    The configuration (DIR/gateway.toml) is annotated, valid as it is, has a fresh keyid, and can be read by its owner
    alone. What is already there is never overwritten. The store it names is made too, so that `serve` works at once.
    """
    file = folder / NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        typer.echo(f"{file if folder.is_dir() else folder} is there already; it was not touched.", err=True)
        raise typer.Exit(BAD) from None
    except OSError as error:
        typer.echo(f"{file} cannot be written: {error.strerror}", err=True)
        raise typer.Exit(STORE_OR_NETWORK) from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(render_example())
    # The file alone counts here: what the environment says is for the process that will serve.
    config = load(file, environ={})
    asyncio.run(migrate(config.store))
    quoted = shlex.quote(str(file))
    print(f"Wrote {file} and made its store.")
    print("Now look through it: the addresses, the account and its domains, the carrier and its key.")
    print(f"Then:  mail2sms check-config {quoted}")
    print(f"       mail2sms doctor --config {quoted}")
    print(f"       mail2sms serve --config {quoted}")
