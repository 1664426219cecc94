"""What of an answer somebody may see: numbers masked, texts left out, unless the token has the right.

A story is written for operators, with everything in it. Without the right to texts only what cannot hold one is left of
it: values that are known to be harmless, and the sentences of steps that quote nobody (`stories.masking`). Without the
right to numbers all that looks like one is masked, wherever it stands, down to its last three digits; dates and our ids
do not look like one.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum

from gateway.stories import Filter
from gateway.stories.masking import PLAIN_STEPS, Openness, openness_of, without_answer
from gateway.web.tokens import Right

_NUMBER = re.compile(r"(?<![0-9A-Za-z])\+?[0-9](?:[ ./()\-]{0,2}[0-9]){7,17}(?![0-9A-Za-z])")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

_IDS = frozenset({"id", "email_id", "envoi_id", "mail_id", "sms_id", "report_id", "first_mail_id", "next", "peer"})
"""Never masked: an emailId may be all digits, and is what one looks for."""

TEXTS = frozenset({"text", "reason"})
"""Of a row or a story: names of values that quote a text, a mail or a carrier."""

_PLAIN_KINDS = frozenset(kind.value for kind in PLAIN_STEPS)


def to_plain(value: object) -> object:
    """Return the value as JSON has it: instants in ISO 8601 and UTC, enumerations by their values."""
    match value:
        case Enum():
            return value.value
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case str() | int() | float() | None:
            return value
        case Mapping():
            return {str(to_plain(key)): to_plain(item) for key, item in value.items()}
        case Collection():
            return [to_plain(item) for item in value]
        case _ if is_dataclass(value):
            return {one.name: to_plain(getattr(value, one.name)) for one in fields(value)}
        case _:
            return str(value)


def veiled(value: object, rights: Collection[Right]) -> object:
    """Return a plain value as somebody with these rights may see it."""
    if Right.TEXTS not in rights:
        value = _without_texts(value)
    return value if Right.NUMBERS in rights else _without_numbers(value)


def find_forbidden(wanted: Filter, rights: Collection[Right]) -> str | None:
    """Return what somebody with these rights may not look for, and does; None: nothing of it."""
    if wanted.number is not None and Right.NUMBERS not in rights:
        return "looking for a number needs the right numbers"
    if wanted.text is not None and Right.TEXTS not in rights:
        return "looking for words needs the right texts"
    return None


def _without_texts(value: object) -> object:
    match value:
        case dict():
            return _plain_step(value) if "sentence" in value else _without_values(value, TEXTS)
        case list():
            return [_without_texts(item) for item in value]
        case _:
            return value


def _without_values(value: dict[str, object], names: Collection[str]) -> dict[str, object]:
    return {key: None if key in names else _without_texts(item) for key, item in value.items()}


def _plain_step(step: dict[str, object]) -> dict[str, object]:
    data = step.get("data")
    named = data.items() if isinstance(data, dict) else ()
    kept = {key: _without_answer(item) for key, item in named if openness_of(key) is Openness.PLAIN}
    sentence = step["sentence"] if step.get("kind") in _PLAIN_KINDS else ""
    return {**step, "sentence": sentence, "data": kept}


def _without_answer(value: object) -> object:
    return without_answer(value) if isinstance(value, str) else value


def _without_numbers(value: object) -> object:
    match value:
        case dict():
            return {key: item if key in _IDS else _without_numbers(item) for key, item in value.items()}
        case list():
            return [_without_numbers(item) for item in value]
        case str():
            return _NUMBER.sub(_masked, value)
        case _:
            return value


def _masked(found: re.Match[str]) -> str:
    digits = re.sub(r"\D", "", found[0])
    if _DATE.match(found[0]):
        return found[0]
    return "…" + digits[-3:]
