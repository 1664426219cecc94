"""The command lines of ours that documents show, and the real commands they are held against."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from typer.core import TyperCommand, TyperGroup

from gateway.cli import COMMANDS, load_command

ROOT = Path(__file__).parents[2]
DOCUMENTS = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))

_FENCED = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"^ {4,7}\S.*$(?:\n {12,}\S.*$)*", re.MULTILINE)
_OURS = re.compile(r"(?P<before>^|.*?[\s(])(?:\S*/)?(?:as_)?mail2sms +(?P<rest>[a-z][a-z-]*\b.*)$")
_DRAWN = re.compile("[─│┌└├]")
_END = re.compile(r"\d?>.*|\|\|?|&&?|;|done")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One command line, from the name of the command on."""

    document: str
    text: str

    @property
    def is_usage(self) -> bool:
        """Whether it says what may be written, and is no line to be typed."""
        return bool(re.search(r"[\[…]", self.text))

    @property
    def words(self) -> list[str]:
        """What the shell hands to the command."""
        words = shlex.split(self.text)
        ends = (place for place, word in enumerate(words) if _END.fullmatch(word))
        return words[: next(ends, len(words))]


def read_shown(document: Path) -> Iterator[Shown]:
    """Yield every line of the document's blocks that calls one of our commands, its parts joined, without remarks."""
    text = document.read_text("utf-8")
    blocks = [found[3] for found in _FENCED.finditer(text)]
    blocks += _INDENTED.findall(_FENCED.sub("", text))
    for block in blocks:
        for line in re.sub(r"\\\n|\n {12,}", " ", block).splitlines():
            found = _OURS.match(re.sub(r"\s+#.*", "", line.strip()))
            if found is None or _DRAWN.search(line):
                continue
            is_first = not found["before"].strip()
            if is_first or found["rest"].split()[0] in COMMANDS:
                yield Shown(document=document.name, text=found["rest"])


def walk() -> Iterator[tuple[str, TyperCommand | TyperGroup]]:
    """Yield every command by its whole name, and the groups."""
    for name in COMMANDS:
        command = load_command(name)
        yield name, command
        if isinstance(command, TyperGroup):
            for own, inner in command.commands.items():
                assert isinstance(inner, TyperCommand)
                yield f"{name} {own}", inner


def options_of(command: TyperCommand | TyperGroup) -> set[str]:
    """Return every spelling of its options."""
    return {spelling for one in command.params for spelling in (*one.opts, *one.secondary_opts)} | {"--help", "-h"}


def parse(words: list[str]) -> None:
    """The command has read these words as its own, and did nothing. Raises what the real one would."""
    command = load_command(words[0])
    for one in command.commands.values() if isinstance(command, TyperGroup) else [command]:
        one.callback = _do_nothing
    command.main(args=words[1:], prog_name=words[0], standalone_mode=False)


def _do_nothing(**_arguments: object) -> None:
    """Stand for a command that is only to be understood."""


def unknown_in_usage(usage: str) -> list[str]:
    """Return the options in a usage line that the command, or the one of its commands that is named, does not have."""
    name, *words = usage.split()
    command = load_command(name)
    known = options_of(command)
    if isinstance(command, TyperGroup):
        named = [command.commands[word] for word in words if word in command.commands]
        if not named:
            return [usage]
        for one in named:
            assert isinstance(one, TyperCommand)
            known |= options_of(one)
    return sorted(set(re.findall(r"(?<!\w)--[a-z][a-z0-9-]*", usage)) - known)
