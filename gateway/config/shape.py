"""What the settings look like from outside: which table holds which, what a key takes, what it is when left out.

Reading secrets, wording errors and writing the example file all go through here, so a new setting is nothing but a
field in its room's `Settings`.
"""

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from gateway.settings import Settings

_NAMES: Mapping[object, str] = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
    SecretStr: "secret text",
}

_BOUNDS = ("ge", "le", "gt", "lt", "min_length", "max_length")  # as annotated_types call them


def models_in(annotation: object) -> list[type[Settings]]:
    """Return the tables that an annotation may hold: one, the members of a union, or none."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return [annotation]
    return [model for member in get_args(annotation) for model in models_in(member)]


def is_list(annotation: object) -> bool:
    """True when a key takes several values."""
    if get_origin(annotation) is tuple:
        return True
    return any(is_list(member) for member in get_args(annotation))


def kind_of(model: type[Settings]) -> str | None:
    """Return what `kind` says in tables that this model reads; None when they have no kind."""
    field = model.model_fields.get("kind")
    return str(get_args(field.annotation)[0]) if field and get_origin(field.annotation) is Literal else None


def choose_model(models: list[type[Settings]], table: object) -> type[Settings] | None:
    """Return the model that reads this table, going by its `kind` when there are several; None: cannot be told."""
    if len(models) == 1:
        return models[0]
    kind = table.get("kind") if isinstance(table, Mapping) else None
    return next((model for model in models if kind is not None and kind_of(model) == kind), None)


def is_secret(field: FieldInfo) -> bool:
    """True when the value must never be shown."""
    return _holds(field.annotation, SecretStr)


def is_path(model: type[Settings], key: str) -> bool:
    """True when the value is the name of a file that is used as it is, such as a certificate."""
    if _holds(model.model_fields[key].annotation, Path):
        return True
    return key.endswith("_file") and (key, key.removesuffix("_file")) not in secret_files(model)


def secret_files(model: type[Settings]) -> Iterator[tuple[str, str]]:
    """Every (`x_file`, `x`): a file may hold what would otherwise stand in the configuration itself."""
    for key in model.model_fields:
        held = key.removesuffix("_file")
        if held != key and held in model.model_fields:
            yield key, held


def describe_type(annotation: object) -> str:
    """Return what a key takes, in an operator's words."""
    if get_origin(annotation) is Annotated:
        return describe_type(get_args(annotation)[0])
    if isinstance(annotation, type) and annotation in _NAMES:
        return _NAMES[annotation]
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return " or ".join(f'"{member.value}"' for member in annotation)
    if get_origin(annotation) is Literal:
        return " or ".join(f'"{value}"' for value in get_args(annotation))
    if get_origin(annotation) in (dict, Mapping):
        inner = describe_type(get_args(annotation)[1])
        return f"table of {inner}" if " or " not in inner else "table"
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return "tables"
    if get_origin(annotation) is tuple:
        return f"list of {describe_type(get_args(annotation)[0])}"
    members = [describe_type(member) for member in get_args(annotation) if member is not NoneType]
    if members:
        return " or ".join(dict.fromkeys(members))
    return "text"


def describe_bounds(field: FieldInfo) -> str:
    """Return how small or large, how short or long a value may be; empty when nothing is said about it."""
    bounds = _bounds(field.metadata) | _bounds_in(field.annotation)
    unit = "value" if is_list(field.annotation) else "character"
    numbers = _describe_range(bounds.get("ge"), bounds.get("le"), bounds.get("gt"), bounds.get("lt"))
    lengths = _describe_range(bounds.get("min_length"), bounds.get("max_length"))
    return ", ".join([*numbers, *(f"{words} {unit}" + "s" * (words != "at least 1") for words in lengths)])


def _describe_range(
    least: float | None, most: float | None, above: float | None = None, below: float | None = None
) -> Iterator[str]:
    if least is not None and most is not None:
        yield f"{least:.12g} to {most:.12g}"
        return
    ends = {"at least": least, "more than": above, "at most": most, "less than": below}
    yield from (f"{words} {end:.12g}" for words, end in ends.items() if end is not None)


def _bounds_in(annotation: object) -> dict[str, float]:
    """Those of the members of a union; what a list says of each of its values is left to its description."""
    if get_origin(annotation) is Annotated:
        inner, *metadata = get_args(annotation)
        return _bounds_in(inner) | _bounds(metadata)
    if get_origin(annotation) is tuple:
        return {}
    return {name: bound for member in get_args(annotation) for name, bound in _bounds_in(member).items()}


def _bounds(metadata: Iterable[object]) -> dict[str, float]:
    found: dict[str, float] = {}
    for one in metadata:
        if isinstance(one, FieldInfo):
            found |= _bounds(one.metadata)
        found |= {name: bound for name in _BOUNDS if (bound := getattr(one, name, None)) is not None}
    return found


def plain(value: Any) -> Any:  # noqa: ANN401 # whatever a field's default is
    """Return a default as TOML can hold it; enumerations by value, objects by what they print."""
    match value:
        case bool() | int() | float() | str() if not isinstance(value, Enum):
            return value
        case Enum():
            return value.value
        case dict():
            return {key: plain(item) for key, item in value.items()}
        case tuple() | list() | frozenset() | set():
            return [plain(item) for item in value]
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case _:
            return str(value)


def _holds(annotation: object, wanted: object) -> bool:
    return annotation is wanted or any(_holds(member, wanted) for member in get_args(annotation))
