"""docs/sandbox.md: its commands, run one after another, answer what stands there; its tables have everything."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli import app
from gateway.sandbox import FaultName, Sandbox
from gateway.sandbox.app import build_app
from gateway.sandbox.carrier import Carrier
from gateway.sandbox.faults import FaultScript
from gateway.sandbox.options import SandboxOptions
from tests.sandbox.calls import finish
from tests.support.clock import ManualClock

DOCUMENT = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text("utf-8")
EXAMPLES = re.findall(r"^```sh\n(.*?)^```\n(?:\n```json\n(.*?)^```\n)?", DOCUMENT, re.MULTILINE | re.DOTALL)


@pytest.mark.slow
async def test_every_command_answers_what_is_written(tmp_path: Path, clock: ManualClock) -> None:
    answers = []
    async with Sandbox(clock=clock) as sandbox:
        for commands, written in EXAMPLES:
            curl = "curl -s" if written else "curl -sS --fail"  # an answer that is shown may be an error
            script = commands.replace("http://127.0.0.1:8026", sandbox.url).replace("curl -s", curl)
            status, output = await finish("sh", "-euc", script, cwd=tmp_path)
            assert status == 0, commands + output
            answers.append(output)

    expected = [json.loads(written) if written else None for _, written in EXAMPLES]
    found = [json.loads(output) if written else None for output, (_, written) in zip(answers, EXAMPLES, strict=True)]
    assert found == expected
    assert len(EXAMPLES) > 25
    assert (tmp_path / "listenoire.zip").read_bytes()[:2] == (tmp_path / "campagne.zip").read_bytes()[:2] == b"PK"


def test_every_address_is_documented() -> None:
    carrier = Carrier(FaultScript(), ManualClock(), SandboxOptions())
    paths = {getattr(route, "path", "") for route in build_app(carrier).routes}
    parts_of_the_page = {"/sandbox/page.js", "/sandbox/page.css", "/sandbox/phones"}
    unnamed = [path for path in paths if f"{path.removeprefix('/cgi-bin').removeprefix('/v1')}`" not in DOCUMENT]

    assert set(unnamed) == parts_of_the_page


def test_every_fault_is_documented() -> None:
    named = set(re.findall(r"^\| `(\w+)` \|", DOCUMENT, re.MULTILINE))

    assert {fault.value for fault in FaultName} <= named


def test_every_option_is_documented_and_in_the_help() -> None:
    written = set(re.findall(r"^\| `(--[a-z-]+)", DOCUMENT, re.MULTILINE))
    shown = CliRunner().invoke(app, ["sandbox", "--help"]).output

    assert written == set(re.findall(r"^  (?:-h, )?(--[a-z-]+)", shown, re.MULTILINE)) - {"--help"}
