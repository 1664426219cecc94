"""What a run came to, for people, for programs (JSON) and for build servers (JUnit)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, unique
from xml.sax.saxutils import escape, quoteattr

from gateway.conformance.case import Level

_UNPRINTABLE = dict.fromkeys((*range(9), 11, 12, *range(14, 32), 0xFFFE, 0xFFFF))


@unique
class Result(Enum):
    """The verdict on one case."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of one case. `remark` is for people: why it was skipped, which alternative it was."""

    case: str
    about: str
    sections: tuple[str, ...]
    result: Result
    differences: tuple[str, ...] = ()
    remark: str = ""
    duration_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A corpus, played."""

    run: str
    smtp: str
    level: Level
    verdicts: Sequence[Verdict]
    duration_s: float
    remarks: Sequence[str] = ()

    def count(self, result: Result) -> int:
        """Return how many cases ended so."""
        return sum(verdict.result is result for verdict in self.verdicts)

    @property
    def is_passed(self) -> bool:
        """True when something was played and nothing failed."""
        return self.count(Result.FAILED) == 0 and self.count(Result.PASSED) > 0


def to_json(run: Run) -> str:
    """Return the run for programs."""
    return json.dumps(
        {
            "run": run.run,
            "smtp": run.smtp,
            "level": run.level.value,
            "duration_s": round(run.duration_s, 3),
            **{result.value: run.count(result) for result in Result},
            "remarks": list(run.remarks),
            "cases": [
                {
                    "case": verdict.case,
                    "about": verdict.about,
                    "sections": list(verdict.sections),
                    "verdict": verdict.result.value,
                    "differences": list(verdict.differences),
                    "remark": verdict.remark,
                    "duration_s": round(verdict.duration_s, 3),
                }
                for verdict in run.verdicts
            ],
        },
        ensure_ascii=False,
        indent=2,
    )


def to_junit(run: Run) -> str:
    """Return the run as JUnit XML; the chapter of docs/protocol.md is the class of a case."""
    counts = (
        f'tests="{len(run.verdicts)}" failures="{run.count(Result.FAILED)}" errors="0" '
        f'skipped="{run.count(Result.SKIPPED)}" time="{run.duration_s:.3f}"'
    )
    name = quoteattr(f"conformance {run.level.value} {run.smtp}")
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f"<testsuites {counts}>",
        f"<testsuite name={name} {counts}>",
        *(_testcase(verdict) for verdict in run.verdicts),
        "</testsuite>",
        "</testsuites>",
    ]
    return "\n".join(lines).translate(_UNPRINTABLE) + "\n"


def _testcase(verdict: Verdict) -> str:
    chapter = verdict.sections[0].partition(".")[0] if verdict.sections else "run"
    begin = f'<testcase classname="protocol.{chapter}" name={quoteattr(verdict.case)} time="{verdict.duration_s:.3f}"'
    match verdict.result:
        case Result.PASSED:
            return f"{begin}/>"
        case Result.SKIPPED:
            return f"{begin}><skipped message={quoteattr(verdict.remark)}/></testcase>"
        case Result.FAILED:
            text = escape("\n".join((verdict.about, *verdict.differences)))
            return f"{begin}><failure message={quoteattr(verdict.differences[0])}>{text}</failure></testcase>"
