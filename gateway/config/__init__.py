"""From a file, the environment and options to frozen settings; the only reader of them.

Promises: everything that is wrong is said at once, each with its path and the nearest known key (`ConfigError`); what
works and is probably not meant is a warning; secrets are read from their files and shown by nothing.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from pydantic import SecretStr, ValidationError

from gateway.config.checks import find_contradictions, find_doubts
from gateway.config.model import Document, LogSettings, User
from gateway.config.problems import ConfigError, Problem, explain
from gateway.config.secret_files import is_exposed, resolve_files
from gateway.config.shape import choose_model, is_secret, models_in
from gateway.config.sources import Raw, Sources, merge_sources, read_file
from gateway.console.roles import Role
from gateway.settings import Settings
from gateway.store.settings import StoreSettings

__all__ = ["Config", "ConfigError", "Document", "LogSettings", "Problem", "Role", "User", "load"]

_RELATIVE_SQLITE = re.compile(r"sqlite:///(?!/)(?!:memory:)(?P<path>.+)", re.DOTALL)
_NOTHING: Mapping[str, str] = MappingProxyType({})


class Config(Document):
    """The settings of every room, checked, with secrets read and paths absolute."""

    path: Path
    warnings: tuple[Problem, ...]

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every secret there is, for `log.register_secrets`."""
        return tuple(_secrets_in(self))


def load(
    path: Path | str, overrides: Mapping[str, str] = _NOTHING, *, environ: Mapping[str, str] | None = None
) -> Config:
    """Return the configuration of a file, with the environment and then `overrides` (`smtp.hostname`) laid over it.

    Raises ConfigError with everything that is wrong.
    """
    environ = os.environ if environ is None else environ
    path = Path(path).absolute()
    warnings: list[Problem] = []
    raw = read_file(path)
    if _has_secrets(raw, Document) and is_exposed(path):
        message = "holds secrets and everybody on this machine can read it; chmod 0600 would mend it"
        warnings.append(Problem(path=str(path), message=message))
    sources = merge_sources(raw, Document, environ=environ, overrides=overrides)
    resolve_files(sources, Document, path.parent, environ, warnings)
    _place_store(sources.raw, path.parent)
    document = _validate(sources)
    return Config(**dict(document), path=path, warnings=(*warnings, *find_doubts(document)))


def _validate(sources: Sources) -> Document:
    """Return the document; ConfigError with what is wrong in any block and between blocks."""
    problems = list(sources.problems)
    document = None
    try:
        document = Document.model_validate(sources.raw)
    except ValidationError as error:
        problems += explain(error.errors(include_url=False), sources.raw, Document)
    problems += find_contradictions(sources.raw)
    if document is None or problems:
        raise ConfigError(
            replace(problem, origin=problem.origin or sources.origins.get(problem.path)) for problem in problems
        )
    return document


def _place_store(raw: Raw, folder: Path) -> None:
    """A relative SQLite file is beside the configuration."""
    store = raw.setdefault("store", {})
    if not isinstance(store, dict):
        return
    url = store.setdefault("url", StoreSettings().url)
    if isinstance(url, str) and (found := _RELATIVE_SQLITE.fullmatch(url)):
        store["url"] = f"sqlite:///{folder / found['path']}"


def _has_secrets(table: object, model: type[Settings]) -> bool:
    """True when the table itself holds a secret, not only the name of a file with one."""
    if not isinstance(table, dict):
        return False
    for key, field in model.model_fields.items():
        value = table.get(key)
        if value is not None and is_secret(field):
            return True
        for inner in value if isinstance(value, list) else [value]:
            chosen = choose_model(models_in(field.annotation), inner)
            if chosen and _has_secrets(inner, chosen):
                return True
    return False


def _secrets_in(value: object) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, Settings):
        for _key, inner in value:
            yield from _secrets_in(inner)
    elif isinstance(value, tuple):
        for inner in value:
            yield from _secrets_in(inner)
