"""Where settings come from: the file, then the environment, then options; each wins over the one before.

The environment and options give text. What a key takes decides how it is read: a list is JSON, or plain values
separated by commas; tables (`MAIL2SMS_ACCOUNTS`) are JSON; everything else stays text, which the settings turn into
numbers.
"""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.config.problems import ConfigError, Problem, suggest
from gateway.config.shape import choose_model, is_list, models_in
from gateway.settings import Settings

PREFIX = "MAIL2SMS_"
_DELIMITER = "__"
_MAX_FILE_BYTES = 4_194_304

Raw = dict[str, Any]
"""Tables as TOML gives them."""


@dataclass(slots=True)
class Sources:
    """All sources merged, what was wrong with them, and for each path that is not from the file where it is from."""

    raw: Raw
    problems: list[Problem] = field(default_factory=list)
    origins: dict[str, str] = field(default_factory=dict)


_ADVICE: Mapping[type[OSError], str] = {
    FileNotFoundError: "; mail2sms init writes one to start from",
    PermissionError: "; run this as the user of the gateway, or let it read the file",
}


def read_file(path: Path) -> Raw:
    """Return the tables of a TOML file; ConfigError says in which line and column it is not TOML."""
    try:
        with path.open("rb") as stream:
            content = stream.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        message = f"cannot be read: {error.strerror}{_ADVICE.get(type(error), '')}"
        raise ConfigError([Problem(path=str(path), message=message)]) from error
    if len(content) > _MAX_FILE_BYTES:
        raise ConfigError([Problem(path=str(path), message="is too large to be a configuration")])
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError([Problem(path=str(path), message=f"is not UTF-8 (at line {line})")]) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([Problem(path=str(path), message=f"is not TOML: {error}")]) from error


def merge_sources(
    raw: Raw, root: type[Settings], *, environ: Mapping[str, str], overrides: Mapping[str, str]
) -> Sources:
    """Lay the environment (`MAIL2SMS_SMTP__HOSTNAME`) and the options (`smtp.hostname`) over the file's tables."""
    sources = Sources(raw=raw)
    for name, value in environ.items():
        keys = name.removeprefix(PREFIX).lower().split(_DELIMITER)
        # Only what looks like a setting is one: other programs' variables may begin alike.
        if name.startswith(PREFIX) and (len(keys) > 1 or keys[0] in root.model_fields):
            _assign(sources, root, keys, value, origin=name)
    for path, value in overrides.items():
        _assign(sources, root, path.split("."), value, origin=f"option {path}")
    return sources


def _assign(sources: Sources, root: type[Settings], keys: list[str], value: str, *, origin: str) -> None:
    path = ".".join(keys)
    if keys[0] not in root.model_fields:
        nearest = suggest(keys[0], root.model_fields)
        sources.problems.append(Problem(path=path, message=f"there is no section {keys[0]}{nearest}", origin=origin))
        return
    model: type[Settings] | None = root
    annotation: object = None
    table = sources.raw
    for position, key in enumerate(keys):
        known = model.model_fields.get(key) if model else None
        annotation = known.annotation if known else None
        if position == len(keys) - 1:
            break
        model = choose_model(models_in(annotation), None)
        if not isinstance(inner := table.setdefault(key, {}), dict) or is_list(annotation):
            message = f"{key} is not one table; give all of it as JSON in {PREFIX}{key.upper()}"
            sources.problems.append(Problem(path=path, message=message, origin=origin))
            return
        table = inner
    try:
        table[keys[-1]] = _read_text(value, annotation)
    except ValueError:
        sources.problems.append(Problem(path=path, message="is not valid JSON", origin=origin))
        return
    sources.origins[path] = origin


def _read_text(value: str, annotation: object) -> object:
    """Return the value of a text; ValueError: it had to be JSON and is not."""
    text = value.strip()
    is_table = bool(models_in(annotation))
    # A list of IPv6 addresses begins with a bracket too, and ends with a port.
    if is_table or (is_list(annotation) and text.startswith("[") and text.endswith("]")):
        return json.loads(text)
    if is_list(annotation):
        return [item.strip() for item in text.split(",") if item.strip()]
    return value
