"""What of an answer somebody may see: numbers masked, texts left out, unless the token has the right.

A story is written for operators, with everything in it. Without the right to texts only what cannot hold one is left of
it: values that are known to be harmless, and the sentences of steps that quote nobody. Without the right to numbers all
that looks like one is masked, wherever it stands, down to its last three digits;
dates and our ids do not look like one.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum

from gateway.stories import Filter, StepKind
from gateway.web.tokens import Right

_NUMBER = re.compile(r"(?<![0-9A-Za-z])\+?[0-9](?:[ ./()\-]{0,2}[0-9]){7,17}(?![0-9A-Za-z])")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

_IDS = frozenset({"id", "email_id", "envoi_id", "mail_id", "sms_id", "report_id", "first_mail_id", "next", "peer"})
"""Never masked: an emailId may be all digits, and is what one looks for."""

TEXTS = frozenset({"text", "reason"})
"""Of a row or a story: names of values that quote a text, a mail or a carrier."""

_HARMLESS = frozenset(
    {
        "account",
        "action",
        "at",
        "attempts",
        "balance",
        "by",
        "charset",
        "check",
        "cipher",
        "code",
        "count",
        "declared_charset",
        "due_at",
        "duration_s",
        "email_id",
        "encoding",
        "envelope_from",
        "envoi_id",
        "first_at",
        "first_mail_id",
        "ground",
        "header_from",
        "helo",
        "is_stop",
        "kind",
        "label",
        "last_at",
        "listener",
        "mode",
        "msisdn",
        "needs_operator",
        "number",
        "parts",
        "passed",
        "peer",
        "position",
        "proof",
        "provider",
        "recipient",
        "report_id",
        "reserved",
        "route",
        "setting",
        "settings",
        "since_at",
        "size_bytes",
        "sms",
        "spent",
        "state",
        "tel",
        "tls",
        "user",
        "verdict",
        "what",
        "word",
    }
)
"""Of a step's data: names of values that quote none. Whatever is added to a step is left out until it is named here."""

_PLAIN_STEPS = frozenset(
    kind.value
    for kind in (
        StepKind.CONNECTED,
        StepKind.PROVEN,
        StepKind.TAKEN,
        StepKind.DUPLICATE,
        StepKind.WITHOUT_ID,
        StepKind.CALLED,
        StepKind.NO_REPORT,
        StepKind.CREDIT,
        StepKind.PURGED,
    )
)
"""Steps whose sentence quotes none."""


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
    kept = {key: item for key, item in data.items() if key in _HARMLESS} if isinstance(data, dict) else {}
    sentence = step["sentence"] if step.get("kind") in _PLAIN_STEPS else ""
    return {**step, "sentence": sentence, "data": kept}


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
