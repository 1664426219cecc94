"""Files, users and limits."""

import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.clock import SystemClock
from gateway.config import Config
from gateway.daemon.ownership import sole_owner
from gateway.doctor import Level, Section, rights
from gateway.doctor.findings import Finding
from gateway.doctor.machine import UNLIMITED, Process, find_file_system, find_listener, find_lock_holder, find_process
from gateway.doctor.subject import Subject, find_subject
from tests.doctor.conftest import KEY, NOTHING, Write, find, look

RIGHTS = Section.RIGHTS
ANYBODY = 54_321
"""A user that no machine has."""


async def subject_of(config: Config) -> Subject:
    return await find_subject(config, SystemClock(), NOTHING, limit_s=10)


async def findings_of(subject: Subject) -> list[Finding]:
    return [finding async for finding in rights.examine(subject)]


def one_with(findings: list[Finding], words: str) -> Finding:
    [found] = [finding for finding in findings if words in finding.what]
    return found


async def test_secrets_that_everybody_can_read_are_failures(write: Write, tmp_path: Path) -> None:
    secret = tmp_path / "carrier.key"
    secret.write_text(KEY)
    secret.chmod(0o604)
    config = write(provider={"keyid_file": "carrier.key"})
    exposed = await look(config, RIGHTS)
    secret.chmod(0o600)
    private = await look(config, RIGHTS)

    finding = find(exposed, "everybody on this machine can read", "carrier.key (mode 0604)")
    assert finding.level is Level.FAILURE
    assert "replace the secrets" in (finding.todo or "")
    assert find(private, "readable by nobody who should not").what.endswith(f"gateway.toml, {secret}")


async def test_credentials_are_looked_at_where_systemd_puts_them(write: Write, tmp_path: Path) -> None:
    folder = tmp_path / "credentials"
    folder.mkdir(0o700)
    (folder / "carrier.key").write_text(KEY)
    (tmp_path / "carrier.key").write_text(KEY)
    (tmp_path / "carrier.key").chmod(0o644)
    config = write(provider={"keyid_file": "carrier.key"})
    (folder / "carrier.key").chmod(0o400)
    checkup = await look(config, RIGHTS, environ={"CREDENTIALS_DIRECTORY": str(folder)})

    assert find(checkup, "credentials of systemd").level is Level.OK
    assert Level.FAILURE not in {one.level for one in checkup.findings}


async def test_a_configuration_that_others_can_write_is_a_failure(config: Config) -> None:
    config.path.chmod(0o620)

    assert find(await look(config, RIGHTS), "others than its owner can write").level is Level.FAILURE


async def test_a_folder_in_which_everybody_can_replace_it_is_a_failure(config: Config) -> None:
    config.path.parent.chmod(0o777)

    assert find(await look(config, RIGHTS), "everybody on this machine can replace").level is Level.FAILURE


async def test_a_quarantine_that_others_can_look_into_is_a_failure(config: Config) -> None:
    folder = config.path.parent / "quarantine"
    folder.mkdir(0o755)

    assert find(await look(config, RIGHTS), "others can look into").level is Level.FAILURE


async def test_looking_as_somebody_else_is_a_warning(config: Config) -> None:
    subject = replace(await subject_of(config), service_uid=ANYBODY)
    finding = one_with(await findings_of(subject), "the gateway's user is user 54321")

    assert finding.level is Level.WARNING
    assert f"sudo -u user 54321 mail2sms doctor --config {config.path}" in (finding.todo or "")


GATEWAY = Process(pid=1, name="mail2sms", uid=ANYBODY, most_files=16_384, core_bytes=0)

GATEWAYS = {
    "dumps all of it": (replace(GATEWAY, core_bytes=UNLIMITED), "would write keys and texts", Level.WARNING),
    "any number of files": (replace(GATEWAY, most_files=UNLIMITED), "as many files as it likes", Level.OK),
    "root": (replace(GATEWAY, uid=0), "the gateway runs as root", Level.WARNING),
    "its own user": (GATEWAY, "the gateway runs as user 54321", Level.OK),
    "dumps core": (replace(GATEWAY, core_bytes=1), "would write keys and texts", Level.WARNING),
    "dumps no core": (GATEWAY, "core dumps are off", Level.OK),
    "few files": (
        replace(GATEWAY, most_files=1_024),
        "enough for 472 connections; max_connections is 500",
        Level.WARNING,
    ),
    "files": (GATEWAY, "enough for 500 connections", Level.OK),
}


@pytest.mark.parametrize(("gateway", "words", "level"), GATEWAYS.values(), ids=GATEWAYS)
async def test_the_gateway_at_work_is_judged(config: Config, gateway: Process, words: str, level: Level) -> None:
    found = await findings_of(replace(await subject_of(config), gateway=gateway))

    assert one_with(found, words).level is level


def test_a_process_is_known_by_its_lock_its_port_and_its_limits(tmp_path: Path) -> None:
    database = tmp_path / "gateway.db"
    lock = database.with_name("gateway.db.lock")
    assert find_lock_holder(lock) is None
    with sole_owner(database):
        holder = find_lock_holder(lock)
    own = find_process(os.getpid())

    assert holder is not None
    assert own is not None
    assert holder.pid == own.pid == os.getpid()
    assert own.uid == os.geteuid()
    assert find_lock_holder(lock) is None


def test_who_listens_on_a_port_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        found = find_listener(port)

    assert found is not None
    assert found.pid == os.getpid()


def test_the_file_system_of_a_folder_is_found() -> None:
    assert find_file_system(Path("/proc")) == "proc"
    assert find_file_system(Path("/")) is not None
