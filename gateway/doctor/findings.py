"""What a look has found: one sentence that says what is, and one that says what to do."""

from dataclasses import dataclass
from enum import Enum, unique


@unique
class Level(Enum):
    """How bad it is, from nothing to do to something that must be done."""

    OK = "ok"
    NOTE = "note"  # worth knowing
    UNKNOWN = "unknown"  # it could not be found out
    WARNING = "warning"  # works, and will give trouble
    FAILURE = "failure"  # does not work

    @property
    def rank(self) -> int:
        """Place in the order; the higher, the worse."""
        return list(Level).index(self)


@unique
class Section(Enum):
    """What is looked at, in the order in which it is told."""

    CONFIGURATION = "configuration"
    RIGHTS = "rights"
    STORE = "store"
    PORTS = "ports"
    LISTENERS = "listeners"
    TLS = "tls"
    DNS = "dns"
    SMARTHOST = "smarthost"
    CARRIERS = "carriers"
    CLOCK = "clock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    section: Section
    level: Level
    what: str
    todo: str | None = None  # None: nothing


@dataclass(frozen=True, slots=True)
class Says:
    """Findings of one section."""

    section: Section

    def ok(self, what: str) -> Finding:
        """All is well."""
        return self._find(Level.OK, what, None)

    def note(self, what: str, todo: str | None = None) -> Finding:
        """Nothing is wrong, and it is worth knowing."""
        return self._find(Level.NOTE, what, todo)

    def unknown(self, what: str, todo: str | None = None) -> Finding:
        """It could not be found out."""
        return self._find(Level.UNKNOWN, what, todo)

    def warning(self, what: str, todo: str) -> Finding:
        """It works, and will give trouble."""
        return self._find(Level.WARNING, what, todo)

    def failure(self, what: str, todo: str) -> Finding:
        """It does not work."""
        return self._find(Level.FAILURE, what, todo)

    def _find(self, level: Level, what: str, todo: str | None) -> Finding:
        return Finding(section=self.section, level=level, what=what, todo=todo)


def count(number: int, one: str, several: str | None = None) -> str:
    """Return "1 SMS", "2 files"."""
    return f"{number} {one if number == 1 else several or one + 's'}"


def enumerate_names(names: list[str], most: int = 5) -> str:
    """Return "a, b and 3 more"."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
