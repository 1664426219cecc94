"""The units of systemd, as systemd itself judges them, and what they promise."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.config import load
from gateway.daemon.gateway import GRACE_S
from gateway.smtp.entrance import find_entrances
from gateway.web.server import HttpServer
from tests.support.configuration import write_config

DEPLOY = Path(__file__).parents[2] / "deploy"
SERVICE, SOCKET = "mail2sms.service", "mail2sms.socket"
HIGHEST_EXPOSURE = 1.5

pytestmark = pytest.mark.slow


def systemd_analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60, check=False)


def read_unit(name: str) -> Iterator[tuple[str, str]]:
    for line in (DEPLOY / name).read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            yield key, value


def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    for name in (SERVICE, SOCKET):
        text = (DEPLOY / name).read_text().replace("/opt/mail2sms/bin/mail2sms", "/bin/true")
        (tmp_path / name).write_text(text)
    found = systemd_analyze("verify", "--man=no", str(tmp_path / SERVICE), str(tmp_path / SOCKET))
    about_ours = [line for line in found.stderr.splitlines() if "mail2sms" in line]

    assert about_ours == []
    assert found.returncode == 0, found.stderr


def test_the_service_is_hardly_exposed() -> None:
    found = systemd_analyze("security", "--offline=true", "--no-pager", str(DEPLOY / SERVICE))
    level = re.search(r"Overall exposure level for \S+: ([0-9.]+)", found.stdout)

    assert level, found.stdout + found.stderr
    assert float(level[1]) <= HIGHEST_EXPOSURE


def test_the_service_needs_no_capability_for_port_25() -> None:
    service, listening = dict(read_unit(SERVICE)), list(read_unit(SOCKET))

    assert service["CapabilityBoundingSet"] == service["AmbientCapabilities"] == ""
    assert [value for key, value in listening if key == "ListenStream"] == ["0.0.0.0:25", "[::]:25"]


def test_the_sockets_are_named_after_the_listener_that_every_simple_configuration_has(tmp_path: Path) -> None:
    config = load(write_config(tmp_path / "gateway.toml"), environ={})

    assert dict(read_unit(SOCKET))["FileDescriptorName"] in {one.name for one in find_entrances(config.smtp)}
    assert HttpServer.NAME == "http"


def test_the_service_ends_in_the_time_that_systemd_gives_it() -> None:
    assert float(dict(read_unit(SERVICE))["TimeoutStopSec"]) >= GRACE_S + 10


def test_secrets_are_handed_over_by_name() -> None:
    credentials = [value for key, value in read_unit(SERVICE) if key == "LoadCredential"]

    assert credentials == ["isendpro.key:/etc/mail2sms/isendpro.key"]
