"""The steps of a story as a page shows them: in the visitor's language, and masked for who may not see all."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from gateway.console.visit import Visit
from gateway.console.words import WORDS, has_words
from gateway.stories import Step, StepKind
from gateway.stories.masking import Openness, mask_value, openness_of

_WORDS_OF = {
    "state": "state", "verdict": "event", "word": "event", "kind": "report", "action": "action", "what": "next",
}  # fmt: skip
_BESIDE = frozenset({"text", "tracker", "notes"})
"""Not in the sentence of a step."""
_LEFT_OUT = frozenset({"position", "report_id", "envoi_id", "needs_operator"})
_HIDDEN = "•••"


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """One thing that is known of a step. `is_foreign`: it is English, or a machine's, whatever the page's language."""

    key: str
    label: str
    value: str
    is_foreign: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownStep:
    """A step on the page."""

    kind: str
    at: datetime | None
    title: str
    sentence: str | None  # in English, for who reads that and may see all
    details: tuple[Detail, ...]
    is_trouble: bool


def show_step(step: Step, visit: Visit) -> ShownStep:
    """Return the step as this visitor may see it."""
    is_told = visit.sees_all and visit.language == "en"  # the sentence says nearly all of it, and best
    keys = [key for key in step.data if not is_told or key in _BESIDE]
    details = tuple(detail for key in keys if (detail := _detail(key, step.data[key], visit)) is not None)
    return ShownStep(
        kind=step.kind.value,
        at=step.at,
        title=visit.say(f"step.{step.kind.value}"),
        sentence=step.sentence if is_told and step.sentence else None,
        details=details,
        is_trouble=step.is_trouble,
    )


def _detail(key: str, value: object, visit: Visit) -> Detail | None:
    if key in _LEFT_OUT or value is None or value in ("", ()):
        return None
    veiled = None if visit.sees_all else _veil(key, value)
    if veiled is not None:
        written = veiled
    else:
        written = _write_instant(value) if key.endswith("_at") and isinstance(value, str) else _write(value, visit)
    section = _WORDS_OF.get(key)
    if section is not None and has_words(f"{section}.{value}"):
        return Detail(key=key, label=_label(key, visit), value=visit.say(f"{section}.{value}"), is_foreign=False)
    return Detail(key=key, label=_label(key, visit), value=written, is_foreign=isinstance(value, str))


def _veil(key: str, value: object) -> str | None:
    """Return what stands in place of a value that may hold a text or a number; None: it is shown as it is."""
    if openness_of(key) > Openness.FACT:
        return _HIDDEN
    if not isinstance(value, str):
        return None
    shown = mask_value(key, value)
    return None if shown == value else shown


def _label(key: str, visit: Visit) -> str:
    return visit.say(f"detail.{key}") if f"detail.{key}" in WORDS else key.replace("_", " ")


def _write(value: object, visit: Visit) -> str:
    match value:
        case bool():
            return visit.say("word.yes") if value else visit.say("word.no")
        case float():
            return f"{value:.3g}"
        case Mapping():
            details = [_detail(str(key), one, visit) for key, one in value.items()]
            return ", ".join(f"{one.label}: {one.value}" for one in details if one is not None)
        case tuple() | list():
            return ", ".join(_write(one, visit) for one in value)
        case _:
            return str(value)


def _write_instant(text: str) -> str:
    try:
        return f"{datetime.fromisoformat(text).astimezone():%Y-%m-%d %H:%M:%S}"
    except ValueError:
        return text


def is_over(steps: tuple[Step, ...]) -> bool:
    """True when nothing more happens to the mail by itself."""
    return not any(step.kind is StepKind.NEXT for step in steps)
