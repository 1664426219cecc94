"""What a proof came to, for people and for programs."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gateway.proof.ledger import Fault, Harm
from gateway.proof.matrix import MatrixRow
from gateway.proof.rounds import RoundsRun
from gateway.store.base import Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """The matrix and the rounds; either may be left out."""

    rows: Sequence[MatrixRow]
    rounds: RoundsRun | None
    duration_s: float

    @property
    def faults(self) -> Sequence[Fault]:
        """Everything that is not as promised."""
        found = [fault for row in self.rows for fault in row.faults]
        return found + list(self.rounds.faults if self.rounds else ())

    @property
    def is_right(self) -> bool:
        """True when something was proven and nothing was wrong."""
        return bool(self.rows or self.rounds) and not self.faults


def describe_counts(counts: Iterable[object]) -> str:
    """Return equal values once with how many there are, as `2x 999`; one alone as it is."""
    return ", ".join(f"{times}x {value}" if times > 1 else str(value) for value, times in Counter(counts).items())


def describe_states(tally: Tally) -> str:
    """Return the states of all rows in a line."""
    kinds = (("SMS", tally.sms), ("reports", tally.reports))
    return "; ".join(f"{kind} {_describe_rows(rows)}" for kind, rows in kinds)


def _describe_rows(rows: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {state}" for state, number in sorted(rows.items())) or "none"


def to_json(proof: Proof) -> str:
    """Return the proof for programs."""
    return json.dumps(
        {
            "right": proof.is_right,
            "duration_s": round(proof.duration_s, 3),
            **{harm.value: sum(fault.harm is harm for fault in proof.faults) for harm in Harm},
            "steps": [_row(row) for row in proof.rows],
            "rounds": None if proof.rounds is None else _rounds(proof.rounds),
        },
        indent=2,
    )


def _row(row: MatrixRow) -> dict[str, object]:
    seen = row.seen
    return {
        "step": row.step.value,
        "subject": row.subject.value,
        "about": row.about,
        "sms": None if seen is None else list(seen.sms),
        "codes": None if seen is None else list(seen.codes),
        "acks": None if seen is None else len(seen.acks),
        "nots": None if seen is None else len(seen.nots),
        "copies": None if seen is None else seen.copies,
        "states": _states(row.tally),
        "faults": [str(fault) for fault in row.faults],
        "duration_s": round(row.duration_s, 3),
    }


def _rounds(run: RoundsRun) -> dict[str, object]:
    return {
        "signal": run.ending.value,
        "rounds": run.rounds,
        "seed": run.seed,
        "orders": run.orders,
        "replies": dict(run.replies),
        "sms": run.sms,
        "at_carrier": run.at_carrier,
        "unknown": run.unknown,
        "reports": run.reports,
        "copies": run.copies,
        "longest_stop_s": round(run.longest_stop_s, 3),
        "states": _states(run.tally),
        "faults": [str(fault) for fault in run.faults],
        "duration_s": round(run.duration_s, 3),
    }


def _states(tally: Tally | None) -> dict[str, object] | None:
    return None if tally is None else {"mails": tally.mails, "sms": tally.sms, "reports": tally.reports}
