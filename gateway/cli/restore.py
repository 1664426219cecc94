"""`mail2sms restore`."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.exits import ConfigOption, JsonOption
from gateway.cli.progress import show_progress
from gateway.clock import SystemClock
from gateway.config import Config, load
from gateway.daemon.ownership import sole_owner
from gateway.daemon.restoring import Queued, accept
from gateway.log import register_secrets, set_up_logging
from gateway.store.backup import put_into_place
from gateway.store.database import sqlite_path

_DONE = {Queued.HOLD: "SMS that waited in it are held.", Queued.SEND: "SMS wait in it and will be sent."}


def restore(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="The backup; none: the store is one already, accept it.")
    ] = None,
    *,
    config: ConfigOption,
    queued: Annotated[
        Queued, typer.Option(help="SMS that waited when the copy was made: hold them, or send them (again?).")
    ],
    as_json: JsonOption = False,
) -> None:
    """Put a backup into place, and say what becomes of the SMS that waited in it.

    Stop the gateway first. They may have been sent since the copy was made: held ones are reported with code 999 when
    their validity is over, unless released by `mail2sms restore --queued send`. The store that was there is kept beside
    it. On PostgreSQL load the dump with pg_restore, then run this without FILE. Exit status 4 when it cannot be done.
    """
    settings = load(config)
    register_secrets(settings.secrets)
    set_up_logging(form=settings.log.format, level=settings.log.level)
    clock, replaced = SystemClock(), None
    with _alone(settings):
        if file is not None:
            with show_progress() as tell:
                replaced = put_into_place(settings.store, file, now=clock.now(), tell=tell)
        count = asyncio.run(accept(settings, clock, queued))
    if as_json:
        found = {"queued": queued.value, "sms": count, "replaced": None if replaced is None else str(replaced)}
        print(json.dumps(found))
        return
    print(f"The store is ready to serve; {count} {_DONE[queued]}")
    if replaced is not None:
        print(f"The store that was there is {replaced}.")


@contextmanager
def _alone(config: Config) -> Iterator[None]:
    path = sqlite_path(config.store)
    if path is None:
        yield  # on PostgreSQL no node starts before this is done
    else:
        with sole_owner(path):
            yield
