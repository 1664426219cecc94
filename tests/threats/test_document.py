"""docs/security.md says what is so: each test it names is there, and each threat and each test of this folder in it."""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "security.md").read_text("utf-8")
NAMED = re.compile(r"`(tests/[a-z_/0-9]+\.py)(?:::(test_[a-z_0-9]+))?`")
THREATS = 30


@cache
def find_tests(name: str) -> frozenset[str]:
    """Return the tests of a file."""
    tree = ast.parse((ROOT / name).read_text("utf-8"))
    return frozenset(
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    )


def test_every_test_that_is_named_is_there() -> None:
    named = NAMED.findall(DOCUMENT)

    assert len(named) > 50
    assert [name for name, _ in named if not (ROOT / name).is_file()] == []
    assert [(name, test) for name, test in named if test and test not in find_tests(name)] == []


def test_every_threat_has_its_defence_and_its_tests() -> None:
    rows = dict(re.findall(r"^\| \*\*T(\d+)\*\* [^|]+\| [^|]{20,} \| (.+) \|$", DOCUMENT, re.MULTILINE))

    assert list(map(int, rows)) == list(range(1, THREATS + 1))
    assert [number for number, tests in rows.items() if not NAMED.search(tests)] == []


def test_every_attack_of_this_folder_is_accounted_for() -> None:
    named = {(name, test) for name, test in NAMED.findall(DOCUMENT) if test}
    there = {
        (name, test)
        for file in (ROOT / "tests" / "threats").glob("test_*.py")
        if file != Path(__file__)
        for name in [str(file.relative_to(ROOT))]
        for test in find_tests(name)
    }

    assert sorted(there - named) == []


def test_every_dependency_that_is_named_is_one() -> None:
    """T29: the list of what the gateway is built on names nothing that is gone."""
    section = DOCUMENT.split("## Supply chain", 1)[1].split("\n## ", 1)[0]
    named = re.findall(r"`([A-Za-z0-9-]+)`", "".join(re.findall(r"^\| (`[^|]+)\|", section, re.MULTILINE)))
    locked = re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements.lock").read_text("utf-8"), re.MULTILINE)

    assert len(named) > 20
    assert [name for name in named if name.lower() not in locked] == []


def test_every_setting_and_event_that_is_named_is_one() -> None:
    """A checklist that names what is not there is worse than none."""
    events = re.findall(r"`((?:authentication|password|starttls|callback|connection|mail)_[a-z]+)`", DOCUMENT)
    manual = (ROOT / "docs" / "operating.md").read_text("utf-8")

    assert len(events) > 5
    assert [event for event in events if f"| `{event}` |" not in manual and event not in CONFIGURED] == []


CONFIGURED = {"callback_secret_file", "password_hash_file", "password_hash"}
