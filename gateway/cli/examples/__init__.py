"""The source document's own examples, as files, and the judge that compares what happened with what it says.

A folder per example:

    about.txt               one line for people
    01.eml, 02.eml          the mails, in the order they are sent
    expected/replies.txt    per mail, how the reply to its final dot begins
    expected/sms.json       the SMS at the carrier, in any order
    expected/ack-N.xml      the reports that come back, byte for byte, in any order
    expected/not-N.xml

The tests keep further folders of the same form.
"""

import json
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.conformance.filling import to_wire
from gateway.conformance.judge import subtract
from gateway.conformance.report import read_report

__all__ = [
    "HERE",
    "CarrierSms",
    "Example",
    "Outcome",
    "judge",
    "load_example",
    "load_examples",
    "read_carrier",
    "read_report",
    "to_wire",
]

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class CarrierSms:
    """One SMS as the carrier received it; the number is written as on the wire."""

    number: str
    text: str
    originator: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a series of mails led to: expected from the files, or observed."""

    replies: tuple[str, ...]
    sms: tuple[CarrierSms, ...]
    reports: tuple[bytes, ...]  # bodies, `\n` line ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One folder."""

    name: str
    about: str
    mails: tuple[bytes, ...]  # as sent, CRLF line ends
    expected: Outcome


def load_example(folder: Path) -> Example:
    """Read one folder."""
    expected = folder / "expected"
    sms = json.loads((expected / "sms.json").read_text("utf-8"))
    return Example(
        name=folder.name,
        about=(folder / "about.txt").read_text("utf-8").strip(),
        mails=tuple(to_wire(path.read_bytes()) for path in sorted(folder.glob("[0-9][0-9].eml"))),
        expected=Outcome(
            replies=tuple((expected / "replies.txt").read_text("utf-8").splitlines()),
            sms=tuple(CarrierSms(**one) for one in sms),
            reports=tuple(path.read_bytes() for path in sorted(expected.glob("*.xml"))),
        ),
    )


def load_examples(root: Path = HERE) -> list[Example]:
    """Read every folder below `root` that holds mails, in order of name."""
    return [load_example(folder) for folder in sorted(root.iterdir()) if (folder / "01.eml").is_file()]


def read_carrier(messages: Iterable[Mapping[str, object]]) -> tuple[CarrierSms, ...]:
    """Return what the sandbox lists (`/sandbox/messages`) as values."""
    return tuple(
        CarrierSms(
            number=str(one["number"]),
            text=str(one["text"]),
            originator=None if one["originator"] is None else str(one["originator"]),
        )
        for one in messages
    )


def judge(expected: Outcome, observed: Outcome) -> list[str]:
    """Return one sentence per difference; none: all is as the document says."""
    problems = []
    for number, (begin, reply) in enumerate(zip(expected.replies, observed.replies, strict=True), 1):
        if not reply.startswith(begin):
            problems.append(f"mail {number} was answered {reply!r}, not {begin!r}")
    problems += _differences("SMS", expected.sms, observed.sms)
    problems += _differences(
        "report",
        [body.decode("iso-8859-1") for body in expected.reports],
        [body.decode("iso-8859-1") for body in observed.reports],
    )
    return problems


def _differences(what: str, expected: Iterable[Hashable], observed: Iterable[Hashable]) -> list[str]:
    wanted, got = tuple(expected), tuple(observed)
    return [f"missing {what}: {one}" for one in subtract(wanted, got)] + [
        f"unexpected {what}: {one}" for one in subtract(got, wanted)
    ]
