"""`mail2sms backup`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.exits import ConfigOption, JsonOption
from gateway.cli.progress import show_progress
from gateway.clock import SystemClock
from gateway.config import load
from gateway.store.backup import back_up


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where the copy is to be.", show_default=False)],
    *,
    config: ConfigOption,
    force: Annotated[bool, typer.Option("--force", help="Overwrite FILE if it is there.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a sound copy of the store, also while the gateway works.

    FILE is there whole or not at all, and for its owner alone. On PostgreSQL it is what pg_dump writes in its custom
    format. To use it: mail2sms restore. Exit status 4 when it cannot be made, with the reason.
    """
    settings = load(config).store
    with show_progress() as tell:
        back_up(settings, file, overwrite=force, now=SystemClock().now(), tell=tell)
    size = file.stat().st_size
    print(json.dumps({"file": str(file), "bytes": size}) if as_json else f"Wrote {file} ({size:,} bytes).")
