"""What holds for the repository as a whole: versions, citations, documents that list what the code has."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway import __version__
from gateway.cli import COMMANDS
from tests.citations import Citation, find_citations, find_dangling, find_sections, find_uncited

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ("requirements.lock", "tests/requirements.lock", "deploy/build.lock")
LOG_METHODS = frozenset({"debug", "info", "warning", "error", "exception"})


def read(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def kept_files() -> Iterator[Path]:
    """Every file of the project; what tools leave behind is in folders that begin with a dot, and in a few more."""
    for file in sorted(ROOT.rglob("*")):
        folders = file.relative_to(ROOT).parts[:-1]
        is_left_behind = any(
            (part.startswith(".") and part != ".ci") or part in {"__pycache__", "build", "dist"} for part in folders
        )
        if file.is_file() and not is_left_behind and file.suffix != ".pyc":
            yield file


def calls() -> Iterator[ast.Call]:
    """Every call in the package."""
    for file in sorted((ROOT / "gateway").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                yield node


def first_word(call: ast.Call) -> str:
    """Return the text that is the first argument, or nothing."""
    match call.args:
        case [ast.Constant(value=str(word)), *_]:
            return word
        case _:
            return ""


def logged_events() -> set[str]:
    """Return what loggers are called with; `tell = log.warning if ... else log.info` counts too."""
    methods = LOG_METHODS | {"tell"}
    return {
        first_word(node)
        for node in calls()
        if (node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")) in methods
        and re.fullmatch(r"[a-z]+(?:_[a-z]+)+", first_word(node))
    }


def declared_metrics() -> set[str]:
    """Return every metric, as Prometheus sees it."""
    found = set()
    for node in calls():
        kind = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        name = first_word(node)
        if kind in {"Counter", "Gauge", "Histogram"} and name:
            found.add(name if kind != "Counter" or name.endswith("_total") else f"{name}_total")
    return found


def test_the_version_of_the_package_is_on_top_of_the_changelog() -> None:
    versions = re.findall(r"^## (\S+)", read("CHANGELOG.md"), re.MULTILINE)

    assert versions[0] == __version__


def test_every_cited_section_of_the_protocol_exists() -> None:
    citations = list(find_citations(ROOT))

    assert len(citations) > 100
    assert find_dangling(find_sections(read("docs/protocol.md")), citations) == []


def test_sections_are_headings_and_rules() -> None:
    text = "# Title\n## 1. First\n**1.1** text, **2.1** more\n| 999 | code |\n## 10. Last\n**10.2** text\n12. no\n"

    assert find_sections(text) == {"1", "1.1", "10", "10.2"}


def test_citations_may_follow_one_another(tmp_path: Path) -> None:
    (tmp_path / "gateway").mkdir()
    (tmp_path / "gateway" / "a.py").write_text("x\n# docs/protocol" + ".md §1.2, §10.4.\n")

    found = list(find_citations(tmp_path))

    assert found == [Citation(section=section, file=Path("gateway/a.py"), line=2) for section in ("1.2", "10.4")]
    assert find_dangling({"1.2"}, found) == ["gateway/a.py:2: there is no §10.4 in docs/protocol.md"]
    assert find_uncited({"1", "1.2", "1.3", "2", "10.4"}, found) == ["1.3", "2"]


def test_no_file_names_a_package_registry_or_a_path_of_somebodys_machine() -> None:
    forbidden = re.compile(
        r"\b(?:pypi|pythonhosted|npmjs|crates|rubygems)\.(?:org|io|com)\b|(?<![\w.~$}*])/(?:home|root|work|Users)/\w"
    )
    found = []
    for file in kept_files():
        try:
            text = file.read_text("utf-8")
        except UnicodeDecodeError:
            continue  # mails in other character sets
        found += [f"{file.relative_to(ROOT)}: {match[0]}" for match in forbidden.finditer(text)]

    assert found == []


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_file_holds_exact_versions_with_hashes_and_nothing_else(name: str) -> None:
    lines = [line for line in read(name).splitlines() if line and not line.startswith("#")]
    pins = [line for line in lines if not line.startswith(" ")]

    assert [pin for pin in pins if not re.fullmatch(r"[a-z0-9][a-z0-9-]*==[0-9][\w.]* \\", pin)] == []
    assert [
        line
        for line in lines
        if line.startswith(" ") and not re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line)
    ] == []
    assert len([line for line in lines if line.startswith(" ")]) >= len(pins)


def test_the_lock_files_agree_with_one_another() -> None:
    versions: dict[str, set[str]] = {}
    for name in LOCKS:
        for package, version in re.findall(r"^([a-z0-9-]+)==(\S+)", read(name), re.MULTILINE):
            versions.setdefault(package, set()).add(version)

    assert {package: found for package, found in versions.items() if len(found) > 1} == {}


def test_the_lock_file_holds_every_dependency() -> None:
    project = tomllib.loads(read("pyproject.toml"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["postgresql"]]
    names = {re.split(r"[\[><=~!; ]", one, maxsplit=1)[0].lower().replace("_", "-") for one in wanted}

    assert names - set(re.findall(r"^([a-z0-9-]+)==", read("requirements.lock"), re.MULTILINE)) == set()


def test_the_operators_manual_lists_every_event_of_the_log() -> None:
    text = read("docs/operating.md")
    table = text[text.index("| Event | Says |") :].split("\n\n", 1)[0]
    listed = set(re.findall(r"^\| `([a-z_]+)` \|", table, re.MULTILINE))

    assert listed == logged_events()


def test_the_operators_manual_lists_every_metric() -> None:
    listed = set(re.findall(r"^\| `(mail2sms_[a-z_]+)` \|", read("docs/operating.md"), re.MULTILINE))

    assert listed == declared_metrics()


def test_every_link_of_the_documents_leads_somewhere() -> None:
    link = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")
    broken = [
        f"{file.relative_to(ROOT)}: {target}"
        for file in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
        for target in link.findall(file.read_text("utf-8"))
        if not (file.parent / target).exists()
    ]

    assert broken == []


def test_every_command_has_its_module() -> None:
    modules_there = {file.stem for file in (ROOT / "gateway" / "cli").glob("*.py")}

    assert {name.replace("-", "_") for name in COMMANDS} <= modules_there
