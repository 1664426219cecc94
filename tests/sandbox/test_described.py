"""iSendPro's own description of its interface (OpenAPI), played against the sandbox by schemathesis.

The description is not ours to publish: ISENDPRO_OPENAPI names the file; without it there is nothing to play. It is
played as it stands, and once more with what it leaves open (numbers, dates) narrowed to what the platform takes, which
leads further in. Where it contradicts itself or the vendor's clients, the checks in question are left out:

- `/credit`: `credit` is a number in the schema, a string in its example; the vendor's PHP client calls it by POST, too.
- `/campagne`, `/getlistenoire`: zip files, which it calls JSON, or "file".
"""

import importlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from gateway.sandbox import Sandbox
from tests.sandbox.calls import finish

DESCRIPTION = os.environ.get("ISENDPRO_OPENAPI")
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
ODD = "^/(credit|campagne|getlistenoire)$"
DATE = r"-0[1-9]-[12][0-8] [01][0-9]:[0-5][0-9]$"
NARROWED: Mapping[str, str] = {
    "num": "^0[67][0-9]{8}$",
    "sms": "^[A-Za-z0-9 ]{1,300}$",
    "emetteur": "^[A-Z][a-z]{3,9}$",
    "tracker": "^[0-9A-Za-z]{1,49}$",
    "smslong": "^[1-9]$",
    "keyid": "^[0-9a-f]{20}$",
    "date_envoi": f"^20[3-9][0-9]{DATE}",
    "date_deb": f"^20[01][0-9]{DATE}",
    "date_fin": f"^20[3-9][0-9]{DATE}",
    "subAccountAddCredit": "^[1-9]$",
}


def narrow(node: object) -> None:
    """What is named in `NARROWED` has its pattern, wherever a request has it."""
    if isinstance(node, list):
        for child in node:
            narrow(child)
    if not isinstance(node, dict):
        return
    if node.get("in") == "query" and node["name"] in NARROWED:
        node["schema"]["pattern"] = NARROWED[node["name"]]
    for name, schema in node.get("properties", {}).items() if "keyid" in node.get("properties", {}) else ():
        target = schema.get("items", schema)
        if name in NARROWED and "enum" not in target:
            target["pattern"] = NARROWED[name]
        if "items" in schema:
            schema["minItems"] = schema["maxItems"] = 1
    for child in node.values():
        narrow(child)


@pytest.fixture
def described(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The description as a file: as it stands, or narrowed."""
    assert DESCRIPTION is not None
    yaml = importlib.import_module("yaml")  # comes with schemathesis
    description = yaml.safe_load(Path(DESCRIPTION).read_text("utf-8"))
    if request.param:
        narrow(description)
    file = tmp_path / "description.json"
    file.write_text(json.dumps(description), "utf-8")
    return file


@pytest.mark.slow
@pytest.mark.skipif(  # the carrier's work, which we may read and not hand on: whoever has it says where it lies
    DESCRIPTION is None, reason="NOT TESTED, the description by its own words: ISENDPRO_OPENAPI names no file"
)
@pytest.mark.parametrize("described", [False, True], ids=["as it stands", "narrowed"], indirect=True)
@pytest.mark.parametrize(
    "choice",
    [
        ("--exclude-path-regex", ODD, "--checks", f"{CHECKS},unsupported_method"),
        ("--include-path-regex", ODD, "--checks", "not_a_server_error,status_code_conformance"),
    ],
    ids=["all but the odd", "the odd"],
)
async def test_sandbox_is_as_described(described: Path, choice: tuple[str, ...], tmp_path: Path) -> None:
    async with Sandbox() as sandbox:
        command = (str(Path(sys.executable).parent / "st"), "run", str(described), "--url", f"{sandbox.url}/cgi-bin")
        status, output = await finish(*command, *choice, "--seed", "1", "--max-examples", "50", cwd=tmp_path)

    assert status == 0, output
