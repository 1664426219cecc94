"""docs/states.md, made from `gateway.lifecycle`. `python -m tests.store.states_document` writes it."""

import inspect
import re
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import TypeVar

from gateway.lifecycle import REPORT_MOVES, SMS_FIRST_STATES, SMS_MOVES, ReportEvent, ReportState, SmsEvent, SmsState

State = SmsState | ReportState
S = TypeVar("S", SmsState, ReportState)
E = TypeVar("E", SmsEvent, ReportEvent)

PATH = Path(__file__).parents[2] / "docs" / "states.md"

_HEAD = """\
# States

Two things live: an SMS and a report. This page is made from `gateway/lifecycle.py`, and a test holds the two equal;
the database refuses any other state. A state in capitals is final: no move leads out of it, and the row has its
`settled_at`.
"""

_SMS = """\
An SMS begins as {first}.

It is answered, which means that the sender can be told what became of it, as
{answered}.
When its every SMS is answered, an envoi has its Not, once (docs/protocol.md §8.2).

`uncertain` is the heart: an SMS is not idempotent, so what is not *proven* unsent is not sent again by itself, but by
the account's choice (`on_unknown = "resend"`) or by a human.

Waiting for opening hours, for a retry or for a date is one state: `queued`, with a later `due_at`.
"""

_REPORT = """\
A report begins as `due`. It may be sent twice when the gateway stops in the middle of a delivery; its Message-ID is the
same each time.
"""


def render() -> str:
    """The whole page."""
    sms = _SMS.format(
        first=_words(state for state in SmsState if state in SMS_FIRST_STATES),
        answered=_words(state for state in SmsState if state.is_answered),
    )
    return "\n".join(
        [
            _HEAD,
            "## SMS\n",
            sms,
            *_drawing(SMS_MOVES, [state for state in SmsState if state in SMS_FIRST_STATES]),
            *_table(SMS_MOVES, SmsEvent),
            "## Report\n",
            _REPORT,
            *_drawing(REPORT_MOVES, [ReportState.DUE]),
            *_table(REPORT_MOVES, ReportEvent),
        ]
    )


def _words(states: Iterable[State]) -> str:
    return ", ".join(f"`{_show(state)}`" for state in states)


def _show(state: State) -> str:
    name: str = state.value
    return name.upper() if state.is_final else name


def _drawing(moves: Mapping[S, Mapping[E, S]], first: list[S]) -> list[str]:
    lines: list[str] = ["```mermaid", "stateDiagram-v2"]
    lines += [f"    [*] --> {_show(state)}" for state in first]
    for state, ways in moves.items():
        lines += [f"    {_show(state)} --> {_show(target)}: {event.value}" for event, target in ways.items()]
        if state.is_final:
            lines.append(f"    {_show(state)} --> [*]")
    return [*lines, "```\n"]


def _table(moves: Mapping[S, Mapping[E, S]], events: type[E]) -> list[str]:
    meaning = _meanings(events)
    lines: list[str] = ["| from | to | event | because |", "| --- | --- | --- | --- |"]
    for state, ways in moves.items():
        lines += [
            f"| {_show(state)} | {_show(target)} | `{event.value}` | {meaning[event.name]} |"
            for event, target in ways.items()
        ]
    return [*lines, ""]


def _meanings(events: type[Enum]) -> dict[str, str]:
    """The comment beside each member: what an event means is said there, and nowhere else."""
    return dict(re.findall(r'^    (\w+) = "\w+"  # (.+)$', inspect.getsource(events), flags=re.MULTILINE))


if __name__ == "__main__":
    PATH.write_text(render(), encoding="utf-8")
