"""What is wrong with a configuration, in plain words.

All of it at once, each with its path and, for a misspelt key, the nearest known one. A value that may be a secret is
never repeated.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic_core import ErrorDetails

from gateway.config.shape import choose_model, models_in
from gateway.errors import GatewayError
from gateway.settings import NAME_PATTERN, Settings

Loc = Sequence[int | str]

_PLAIN = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "date_from_datetime_parsing": "must be a date, as 2026-03-04",
    "dict_type": "must be a table",
    "finite_number": "must be a finite number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "ip_any_network": 'must be a network, as "192.0.2.0/24" or "2001:db8::/32", with no bits set behind the prefix',
    "list_type": "must be a list",
    "missing": "is required",
    "model_attributes_type": "must be a table",
    "model_type": "must be a table",
    "path_type": "must be the name of a file",
    "string_type": "must be text, in quotes",
    "tuple_type": "must be a list",
}
"""What pydantic finds, in an operator's words."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Problem:
    """One thing to mend. `origin` names the environment variable or option it comes from, if not the file."""

    path: str  # accounts[0].domains
    message: str
    origin: str | None = None

    def __str__(self) -> str:
        where = f" (from {self.origin})" if self.origin else ""
        return f"{self.path}: {self.message}{where}" if self.path else f"{self.message}{where}"


class ConfigError(GatewayError):
    """The configuration cannot be used; `problems` says all that is wrong with it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def to_path(loc: Loc) -> str:
    """Return `accounts[0].domains` for ("accounts", 0, "domains")."""
    path = ""
    for part in loc:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            path += f".{part}" if path else part
    return path


def suggest(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean "domains"?`, or nothing when nothing known is near."""
    near = get_close_matches(word, list(known), n=1)
    return f'; did you mean "{near[0]}"?' if near else ""


def explain(errors: Sequence[ErrorDetails], raw: Mapping[str, object], root: type[Settings]) -> list[Problem]:
    """Return pydantic's errors about `raw`, read as `root`, as problems; several about one value become one."""
    problems: dict[str, Problem] = {}
    for error in errors:
        kind = error["type"]
        loc = _real_loc(error["loc"], raw, keep_last=kind in {"missing", "extra_forbidden"})
        if kind.startswith("union_tag"):
            loc = (*loc, "kind")
        elif kind == "too_short" and _length_at(loc, raw) >= error["ctx"]["min_length"]:
            continue  # long enough, but for the faulty ones, which are errors of their own
        path = to_path(loc)
        problems.setdefault(path, Problem(path=path, message=_message(error, loc, raw, root)))
    return list(problems.values())


def _real_loc(loc: Loc, raw: object, *, keep_last: bool) -> tuple[int | str, ...]:
    """Leave out what pydantic adds to a location: members of unions, tags, names of validators."""
    kept: list[int | str] = []
    here: Any = raw
    for position, part in enumerate(loc):
        if _holds(here, part):
            here = here[part]
        elif not (keep_last and position == len(loc) - 1):
            continue
        kept.append(part)
    return tuple(kept)


def _holds(value: object, part: int | str) -> bool:
    if isinstance(value, Mapping):
        return part in value
    return isinstance(value, list) and isinstance(part, int) and part < len(value)


def _message(error: ErrorDetails, loc: Loc, raw: Mapping[str, object], root: type[Settings]) -> str:
    context = error.get("ctx", {})
    match error["type"]:
        case "extra_forbidden":
            known = _known_keys(loc[:-1], raw, root)
            nearest = suggest(str(loc[-1]), known)
            what = "unknown key" if len(loc) > 1 else "unknown section"
            return what + (nearest or f"; known here: {', '.join(known)}")
        case "union_tag_not_found":
            return "is required: it says which carrier this is"
        case "union_tag_invalid":
            return f'"{context["tag"]}" is not in this version; known: {_quoted(context["expected_tags"])}'
        case "enum" | "literal_error":
            return f"must be one of {_quoted(context['expected'])}"
        case "value_error" | "assertion_error":
            return str(context["error"])
        case "string_pattern_mismatch" if context["pattern"] == NAME_PATTERN:
            return "must be made of letters, digits, `_`, `.` and `-`, at most 64, and begin with a letter or digit"
        case "string_pattern_mismatch":
            return f"is not a well-formed {loc[-1]}"
        case "greater_than":
            return f"must be more than {_number(context['gt'])}"
        case "greater_than_equal":
            return f"must be at least {_number(context['ge'])}"
        case "less_than":
            return f"must be less than {_number(context['lt'])}"
        case "less_than_equal":
            return f"must be at most {_number(context['le'])}"
        case "too_short":
            return f"needs at least {context['min_length']}"
        case "too_long":
            return f"takes at most {context['max_length']}"
        case "string_too_short":
            return f"needs at least {context['min_length']} characters" if context["min_length"] > 1 else "is empty"
        case "string_too_long":
            return f"takes at most {context['max_length']} characters"
        case kind if kind.startswith(("ip_v4_network", "ip_v6_network")):
            return _PLAIN["ip_any_network"]
        case kind:
            return _PLAIN.get(kind, error["msg"][:1].lower() + error["msg"][1:])


def _length_at(loc: Loc, raw: object) -> int:
    here: Any = raw
    for part in loc:
        here = here[part]
    return len(here)


def _number(bound: float) -> str:
    return f"{bound:,.0f}".replace(",", "_") if float(bound).is_integer() else str(bound)


def _quoted(expected: str) -> str:
    return expected.replace("'", '"')


def _known_keys(loc: Loc, raw: Mapping[str, object], root: type[Settings]) -> list[str]:
    """Return the keys that may stand in the table at `loc`."""
    models: list[type[Settings]] = [root]
    here: object = raw
    for part in loc:
        if isinstance(part, int) and isinstance(here, Sequence):
            here = here[part]
        elif isinstance(here, Mapping):
            model = choose_model(models, here)
            models = models_in(model.model_fields[str(part)].annotation) if model else []
            here = here[part]
    model = choose_model(models, here)
    return list(model.model_fields) if model else []
