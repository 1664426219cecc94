"""Which sections of docs/protocol.md are cited, and whether they exist.

`python tests/citations.py` fails on a citation of a section that does not exist, and lists the sections nobody cites.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROTOCOL = Path("docs", "protocol.md")
CITING = ("gateway", "tests", "schemas")
SUFFIXES = frozenset({".py", ".xsd", ".md", ".txt", ".toml"})

_NUMBER = r"\d+(?:\.\d+)*"
_RULE = re.compile(rf"^#+ ({_NUMBER})\. |^\*\*({_NUMBER})\*\* ", re.MULTILINE)
_CITATION = re.compile(rf"docs/protocol\.md ((?:§{_NUMBER}(?:, | and | to )?)+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """A section number, and where it is cited."""

    section: str
    file: Path
    line: int


def find_sections(text: str) -> set[str]:
    """Return the numbers of headings (`## 4. Files`) and of rules (`**4.2** A file ...`)."""
    return {found[1] or found[2] for found in _RULE.finditer(text)}


def find_citations(root: Path) -> Iterator[Citation]:
    """Every `docs/protocol.md §x.y` in the files that cite; several may follow one another after commas."""
    for folder in CITING:
        for file in sorted((root / folder).rglob("*")):
            if file.suffix in SUFFIXES:
                text = file.read_text("utf-8")
                for found in _CITATION.finditer(text):
                    line = text.count("\n", 0, found.start()) + 1
                    for section in re.findall(_NUMBER, found[1]):
                        yield Citation(section=section, file=file.relative_to(root), line=line)


def find_dangling(sections: set[str], citations: Sequence[Citation]) -> list[str]:
    """Return a line for each citation of a section that does not exist."""
    return [
        f"{citation.file}:{citation.line}: there is no §{citation.section} in {PROTOCOL}"
        for citation in citations
        if citation.section not in sections
    ]


def find_uncited(sections: set[str], citations: Sequence[Citation]) -> list[str]:
    """Return the sections that nobody cites, in order; a chapter counts as cited with any of its rules."""
    cited = {citation.section for citation in citations}
    return sorted(
        (one for one in sections if not any(other == one or other.startswith(f"{one}.") for other in cited)),
        key=lambda number: [int(part) for part in number.split(".")],
    )


def main() -> int:
    """Print what is wrong and what is not cited; return the exit status."""
    sections = find_sections((ROOT / PROTOCOL).read_text("utf-8"))
    citations = list(find_citations(ROOT))
    dangling = find_dangling(sections, citations)
    for line in dangling:
        sys.stderr.write(f"{line}\n")
    uncited = find_uncited(sections, citations)
    sys.stdout.write(f"{len(citations)} citations of {len(sections)} sections; cited by nobody: ")
    sys.stdout.write(", ".join(f"§{number}" for number in uncited) + "\n" if uncited else "none\n")
    return 1 if dangling else 0


if __name__ == "__main__":
    sys.exit(main())
