"""All looks at once, each with its deadline, and what they found, in order."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import structlog

from gateway.clock import Clock
from gateway.config import Config
from gateway.doctor import (
    carriers,
    certificates,
    dangers,
    front_door,
    names,
    rights,
    smarthost,
    storekeeping,
    timekeeping,
    web_door,
)
from gateway.doctor.findings import Finding, Level, Says, Section
from gateway.doctor.showing import Showing, show
from gateway.doctor.subject import Subject, find_subject

_log = structlog.get_logger(__name__)

LOOK_S = 22.0
"""How long one look may take; they all go on at the same time."""

_MEETING_S = 5.0

Tell = Callable[[str, int, int], None]
Look = Callable[[Subject], AsyncIterator[Finding]]

_LOOKS: Mapping[str, tuple[Look, frozenset[Section]]] = MappingProxyType(
    {
        "configuration": (dangers.examine, frozenset({Section.CONFIGURATION})),
        "rights": (rights.examine, frozenset({Section.RIGHTS})),
        "store": (storekeeping.examine, frozenset({Section.STORE})),
        "listeners": (front_door.examine, frozenset({Section.PORTS, Section.LISTENERS, Section.TLS})),
        "http": (web_door.examine, frozenset({Section.PORTS})),
        "certificate": (certificates.examine, frozenset({Section.TLS})),
        "dns": (names.examine, frozenset({Section.DNS})),
        "smarthost": (smarthost.examine, frozenset({Section.SMARTHOST})),
        "carriers": (carriers.examine, frozenset({Section.CARRIERS, Section.CLOCK})),
        "clock": (timekeeping.examine, frozenset({Section.CLOCK})),
    }
)
"""Every look, and the sections that its findings belong to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkup:
    """Everything that was found, in the order of the sections."""

    findings: tuple[Finding, ...]
    showings: tuple[Showing, ...]  # what each listener is to show to whom; empty when not asked for
    gateway_pid: int | None  # at work meanwhile on the SQLite store; None: nobody, or it cannot be told

    def count(self, level: Level) -> int:
        """How many findings are of this level."""
        return sum(finding.level is level for finding in self.findings)

    @property
    def worst(self) -> Level:
        """The level of the worst finding."""
        return max((finding.level for finding in self.findings), key=lambda level: level.rank, default=Level.OK)

    @property
    def has_bad_store(self) -> bool:
        """True when it is the store that does not work."""
        return any(one.level is Level.FAILURE and one.section is Section.STORE for one in self.findings)


async def examine(
    config: Config,
    *,
    clock: Clock,
    environ: Mapping[str, str],
    only: Collection[Section] = (),
    tell: Tell = lambda _step, _done, _total: None,
    look_s: float = LOOK_S,
) -> Checkup:
    """Return what was found in these sections; in all unless some are named. Takes a little more than `look_s`."""
    wanted = frozenset(only) or frozenset(Section)
    looks = {name: look for name, (look, sections) in _LOOKS.items() if sections & wanted}
    subject = await find_subject(config, clock, environ, limit_s=_MEETING_S)
    found: dict[str, list[Finding]] = {name: [] for name in looks}
    done = 0

    async def run(name: str, look: Look) -> None:
        nonlocal done
        await _run(subject, look, name, found[name], look_s)
        done += 1
        tell("looking", done, len(looks))

    tell("looking", 0, len(looks))
    async with asyncio.TaskGroup() as tasks:
        for name, look in looks.items():
            tasks.create_task(run(name, look), name=f"doctor {name}")
    findings = [finding for name in looks for finding in found[name] if finding.section in wanted]
    order = list(Section)
    return Checkup(
        findings=tuple(sorted(findings, key=lambda finding: order.index(finding.section))),
        showings=tuple(show(config)) if Section.LISTENERS in wanted else (),
        gateway_pid=None if subject.gateway is None else subject.gateway.pid,
    )


async def _run(subject: Subject, look: Look, name: str, found: list[Finding], look_s: float) -> None:
    """Take the look; what it found before it failed or ran out of time is kept."""
    says = Says(next(section for section in Section if section in _LOOKS[name][1]))
    try:
        async with asyncio.timeout(look_s):
            async for finding in look(subject):
                found.append(finding)  # noqa: PERF401 - what is there when time runs out
    except TimeoutError:
        found.append(
            says.unknown(f"{name}: no end within {look_s:g} s; the rest was not looked at", "look again later")
        )
    except Exception:  # noqa: BLE001 - one look that fails must not hide what the others found
        _log.exception("look_failed", look=name)
        found.append(says.unknown(f"{name}: a fault of this command; the rest was not looked at", "tell its authors"))
