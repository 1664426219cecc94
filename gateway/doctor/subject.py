"""The installation that is looked at, and what every look may want to know of it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.clock import Clock
from gateway.config import Config
from gateway.doctor.machine import Process, find_lock_holder
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
    uid: int

    @property
    def service_uid(self) -> int | None:
        """Who the gateway runs as, as far as can be told: who it does, or whose its store is."""
        if self.gateway is not None:
            return self.gateway.uid
        if self.database is None:
            return None
        for path in (self.database, self.database.parent):
            try:
                return path.stat().st_uid
            except OSError:
                continue
        return None


def find_subject(config: Config, clock: Clock, environ: Mapping[str, str]) -> Subject:
    """Return the installation of a configuration, on this machine. Blocks for as long as its file system does."""
    database = sqlite_path(config.store)
    gateway = None if database is None else find_lock_holder(database.with_name(f"{database.name}.lock"))
    return Subject(config=config, clock=clock, environ=environ, database=database, gateway=gateway, uid=os.geteuid())
