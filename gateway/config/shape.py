"""What the settings look like from outside: which table holds which, what a key takes, what it is when left out.

Reading secrets, wording errors and writing the example file all go through here, so a new setting is nothing but a
field in its room's `Settings`.
"""

from collections.abc import Iterator, Mapping
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
