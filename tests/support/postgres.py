"""A real PostgreSQL server of our own, for the time of a test run, on a Unix socket only."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

_SUPERUSER = "postgres"
_START_LIMIT_S = 60
_ROOM_BYTES = 2 * 1024**3
_OPTIONS = {
    "listen_addresses": "",
    "shared_buffers": "32MB",
    "max_connections": "80",
    "autovacuum": "off",  # plans must not depend on when it comes by
    "log_min_messages": "fatal",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresServer:
    """A running server; anybody on its socket is its superuser."""

    socket_directory: Path

    def stop(self) -> None:
        """It is gone, as after a crash; its sessions are broken off."""
        _control(self.socket_directory, "-m", "immediate", "-w", "stop")

    def start(self) -> None:
        """It is there again."""
        _control(self.socket_directory, "-l", self.socket_directory / "log", "-w", "-t", str(_START_LIMIT_S), "start")

    def url(self, database: str) -> str:
        """What `[store] url` says for one of its databases."""
        return f"postgresql://{_SUPERUSER}@/{database}?host={self.socket_directory}"

    def create(self, database: str, *, template: str = "template1") -> None:
        """The database exists, a copy of the template."""
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        self.execute(statement.format(sql.Identifier(database), sql.Identifier(template)))

    def drop(self, database: str) -> None:
        """The database is gone, and whoever was in it is thrown out."""
        self.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(database)))

    def execute(self, statement: sql.Composed | sql.SQL) -> None:
        """The statement has run, outside of any transaction and of any test's database."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement)


@contextmanager
def postgres_server(*, on_disk: bool = False) -> Iterator[PostgresServer]:
    """A server while the block runs; raises when there are no PostgreSQL programs on this machine.

    Its files are in memory where there is room, unless `on_disk`: for those who measure what a commit costs.
    """
    programs = _programs()
    home = Path(tempfile.mkdtemp(prefix="mail2sms-pg-", dir=None if on_disk else _fast_directory()))
    user = _user()
    if user is not None:
        os.chown(home, user.pw_uid, user.pw_gid)
    data = home / "data"
    try:
        _run(user, programs / "initdb", "-D", data, "-U", _SUPERUSER, "-A", "trust", "-E", "UTF8", "--no-sync")
        with (data / "postgresql.auto.conf").open("a") as settings:
            settings.writelines(f"{name} = '{value}'\n" for name, value in _OPTIONS.items())
            settings.write(f"unix_socket_directories = '{home}'\n")
        server = PostgresServer(socket_directory=home)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(home)


def _control(home: Path, *arguments: str | Path) -> None:
    _run(_user(), _programs() / "pg_ctl", "-D", home / "data", *arguments)


def _fast_directory() -> str | None:
    """In memory where there is room, for a database is made and dropped for each test; None: the usual place."""
    memory = Path("/dev/shm")  # noqa: S108 - the directory inside it is made by mkdtemp
    has_room = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > _ROOM_BYTES
    return str(memory) if has_room else None


def _programs() -> Path:
    """The directory of the newest installed server."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if found:
        return max(found, key=lambda path: int(path.parent.name))
    initdb = shutil.which("initdb")
    if initdb is None:
        raise RuntimeError("the tests of the store need a PostgreSQL server: install the package postgresql")
    return Path(initdb).resolve().parent


def _user() -> pwd.struct_passwd | None:
    """Whom to run as; None: as ourselves. The server refuses to be root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    return names.get("postgres") or names["nobody"]


def _run(user: pwd.struct_passwd | None, program: Path, *arguments: str | Path) -> None:
    done = subprocess.run(
        [program, *arguments],
        user=None if user is None else user.pw_uid,
        group=None if user is None else user.pw_gid,
        extra_groups=None if user is None else [],
        cwd="/",
        env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,  # a pipe would stay open in the server
        stderr=subprocess.DEVNULL if program.name == "pg_ctl" else subprocess.PIPE,
        timeout=2 * _START_LIMIT_S,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{program.name} failed: {(done.stderr or b'').decode(errors='replace')}")
