"""The installation that is looked at, and what every look may want to know of it."""

import asyncio
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gateway.clock import Clock
from gateway.config import Config
from gateway.doctor.machine import Process, find_lock_holder
from gateway.doctor.patience import in_thread
from gateway.store.database import sqlite_path

CREDENTIALS = "CREDENTIALS_DIRECTORY"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is looked at, by whom, and beside which gateway."""

    config: Config
    clock: Clock
    environ: Mapping[str, str]
    database: Path | None  # None: PostgreSQL
    gateway: Process | None  # at work on this SQLite store; None: nobody, or it cannot be known
    uid: int  # who looks
    service_uid: int | None  # who the gateway runs as: who it does, or whose its store is; None: not to be told


async def find_subject(config: Config, clock: Clock, environ: Mapping[str, str], *, limit_s: float) -> Subject:
    """Return the installation of a configuration, on this machine; without its file system if that does not answer."""
    database = sqlite_path(config.store)
    gateway, service_uid = None, None
    if database is not None:
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                gateway, service_uid = await in_thread(partial(_find_service, database))
    return Subject(
        config=config,
        clock=clock,
        environ=environ,
        database=database,
        gateway=gateway,
        uid=os.geteuid(),
        service_uid=service_uid,
    )


def _find_service(database: Path) -> tuple[Process | None, int | None]:
    gateway = find_lock_holder(database.with_name(f"{database.name}.lock"))
    if gateway is not None:
        return gateway, gateway.uid
    for path in (database, database.parent):
        with suppress(OSError):
            return None, path.stat().st_uid
    return None, None
