"""The image and the composition, as far as files can say; that they work is for whoever has a container engine."""

import json
import os
import re
import shlex
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from gateway import __version__
from gateway.config import load

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
COMPOSE = ROOT / "docker-compose.yml"
COMPILERS = re.compile(r"\b(?:gcc|g\+\+|build-essential|cargo|make|python3-dev)\b")
OURS = ("gateway", "store", "carrier")


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """One of a Dockerfile, its lines joined."""

    stage: int
    word: str
    rest: str


def instructions() -> Iterator[Instruction]:
    text = "\n".join(line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#"))
    stage = -1
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            stage += word == "FROM"
            yield Instruction(stage=stage, word=word, rest=" ".join(rest.split()))


def of_last_stage() -> list[Instruction]:
    last = max(one.stage for one in instructions())
    return [one for one in instructions() if one.stage == last]


def the_last(word: str) -> str:
    return [one.rest for one in of_last_stage() if one.word == word][-1]


# --- the image -------------------------------------------------------------------------------------------------------


def test_everything_that_is_copied_exists_and_is_sent_to_the_builder() -> None:
    sent = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = [
        source
        for one in instructions()
        if one.word == "COPY" and "--from=" not in one.rest
        for source in shlex.split(one.rest)[:-1]
    ]

    assert [source for source in copied if not (ROOT / source).exists()] == []
    assert set(copied) == set(sent)


def test_only_known_instructions_are_used_and_images_have_tags() -> None:
    known = {"FROM", "ARG", "LABEL", "RUN", "COPY", "ENV", "USER", "WORKDIR", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK"}

    assert {one.word for one in instructions()} - known == {"ENTRYPOINT", "CMD"}
    assert [one.rest.split()[0] for one in instructions() if one.word == "FROM"] == ["debian:12-slim"] * 2


def test_the_last_stage_has_no_compiler_and_leaves_no_lists() -> None:
    for one in of_last_stage():
        if one.word == "RUN":
            assert not COMPILERS.search(one.rest)
            assert "apt-get install --no-install-recommends" in one.rest
            assert "rm -rf /var/lib/apt/lists/*" in one.rest


def test_packages_come_with_their_hashes() -> None:
    installs = [one.rest for one in instructions() if one.word == "RUN" and "pip install" in one.rest]

    for command in " && ".join(installs).split("&&"):
        if "pip install" in command:
            assert "--require-hashes" in command or "--no-index" in command


def test_it_runs_as_nobody_in_particular() -> None:
    assert the_last("USER") == "10001:0"


def test_its_labels_say_what_it_is() -> None:
    labels = dict(re.findall(r'org\.opencontainers\.image\.([a-z.]+)="([^"]*)"', the_last("LABEL")))

    assert labels["version"] == __version__
    assert {"title", "description", "revision", "licenses"} <= labels.keys()


def test_its_health_check_is_a_command_of_ours() -> None:
    command = json.loads(the_last("HEALTHCHECK").partition("CMD ")[2])
    asked = subprocess.run(
        [sys.executable, "-m", "gateway", *command[1:]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert command[:2] == ["mail2sms", "health"]
    assert asked.returncode in {0, 1}  # whoever may be at that port of this machine
    assert "Traceback" not in asked.stderr


# --- the composition -------------------------------------------------------------------------------------------------


@pytest.fixture
def compose() -> Mapping[str, Any]:
    loaded = yaml.safe_load(COMPOSE.read_text())
    assert isinstance(loaded, dict)
    return loaded


def test_every_service_is_confined(compose: Mapping[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["user"], name


def test_every_service_that_stays_says_whether_it_is_well(compose: Mapping[str, Any]) -> None:
    services = compose["services"]

    assert services["gateway"].get("healthcheck") is None  # that of the image
    assert all("test" in services[name]["healthcheck"] for name in ("carrier", "mailbox", "database"))


def test_what_a_service_waits_for_exists_and_can_be_waited_for(compose: Mapping[str, Any]) -> None:
    services = compose["services"]
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            ends = services[other].get("restart") == "no"

            assert how["condition"] == ("service_completed_successfully" if ends else "service_healthy"), name


def test_networks_volumes_and_secrets_are_declared_and_used(compose: Mapping[str, Any]) -> None:
    services = compose["services"].values()

    assert {one for service in services for one in service["networks"]} == set(compose["networks"])
    assert {one for service in services for one in service.get("secrets", ())} == set(compose["secrets"])
    named = {one.partition(":")[0] for service in services for one in service.get("volumes", ())}
    assert {one for one in named if not one.startswith(".")} == set(compose["volumes"])
    assert all((ROOT / one).exists() for one in named if one.startswith("."))


def test_the_database_is_reached_from_inside_alone(compose: Mapping[str, Any]) -> None:
    database = compose["services"]["database"]

    assert compose["networks"]["inside"] == {"internal": True}
    assert (database["networks"], database.get("ports")) == (["inside"], None)
    assert "trust" not in json.dumps(database)


def test_ports_are_published_on_loopback_alone(compose: Mapping[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", ())]

    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_the_commands_of_our_services_are_commands(compose: Mapping[str, Any]) -> None:
    for name in OURS:
        command = compose["services"][name].get("command", json.loads(the_last("CMD")))
        said = subprocess.run(
            [sys.executable, "-m", "gateway", command[0], "--help"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        options = [word for word in command if word.startswith("--")]

        assert said.returncode == 0, said.stderr
        assert [option for option in options if option not in said.stdout] == []


def test_the_configuration_fits_the_composition(compose: Mapping[str, Any]) -> None:
    config = load(ROOT / "deploy" / "compose.toml", environ={})
    services = compose["services"]

    assert config.reports.smarthost.partition(":")[0] in services
    assert config.http.listen == "0.0.0.0:8025"
    assert f"127.0.0.1:8025:{config.http.listen.rpartition(':')[2]}" in services["gateway"]["ports"]
    assert "@database/mail2sms" in config.store.url


def test_the_secrets_are_made_once_and_read_by_whom_they_are_for(tmp_path: Path) -> None:
    (tmp_path / "deploy").mkdir()
    script = tmp_path / "deploy" / "compose-secrets"
    script.write_bytes((ROOT / "deploy" / "compose-secrets").read_bytes())
    for _ in range(2):
        subprocess.run(["sh", str(script)], check=True, timeout=30)
        made = {file.name: file.read_text() for file in (tmp_path / "deploy" / "secrets").iterdir()}
        password = made["database_password"]

    assert re.fullmatch(r"[0-9a-f]{48}", password)
    assert made["pgpass"] == f"database:5432:mail2sms:mail2sms:{password}\n"
    assert (tmp_path / ".env").read_text() == f"MAIL2SMS_USER={os.getuid()}:{os.getgid()}\n"
    modes = {
        name: stat.S_IMODE((tmp_path / "deploy" / "secrets" / name).stat().st_mode)
        for name in (".", "pgpass", "database_password")
    }
    assert modes == {".": 0o700, "pgpass": 0o600, "database_password": 0o444}
