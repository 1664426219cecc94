"""Files that the configuration names: secrets are read, paths are made absolute.

A name may be that of a systemd credential (`LoadCredential=`), in `$CREDENTIALS_DIRECTORY`, where it is looked for
first; otherwise a relative name is beside the configuration file.
"""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.config.problems import Problem, to_path
from gateway.config.shape import choose_model, is_path, models_in, secret_files
from gateway.config.sources import Sources
from gateway.settings import Settings

CREDENTIALS = "CREDENTIALS_DIRECTORY"
_MAX_SECRET_BYTES = 65_536


def resolve_files(
    sources: Sources, root: type[Settings], folder: Path, environ: Mapping[str, str], warnings: list[Problem]
) -> None:
    """Every `x_file` is read into its `x`; every path is absolute.

    What cannot be read is a problem of `sources`; a secret that everybody on the machine can read is a warning.
    """
    _Resolver(sources, folder, environ.get(CREDENTIALS), warnings).resolve(sources.raw, root, ())


def is_exposed(path: Path) -> bool:
    """True when everybody on the machine can read the file."""
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False


def list_secret_files(settings: Settings, folder: Path, environ: Mapping[str, str]) -> list[Path]:
    """Return every file that a secret of these settings, which lie in `folder`, was read from; each once."""
    credentials = environ.get(CREDENTIALS)
    found: dict[Path, None] = {}

    def look(value: object) -> None:
        if isinstance(value, tuple):
            for inner in value:
                look(inner)
        elif isinstance(value, Settings):
            for key, _held in secret_files(type(value)):
                name = getattr(value, key)
                if isinstance(name, str):
                    found[_find(name, folder, Path(credentials) if credentials else None)] = None
            for _key, inner in value:
                look(inner)

    look(settings)
    return list(found)


def _find(name: str, folder: Path, credentials: Path | None) -> Path:
    if credentials and os.sep not in name and (credential := credentials / name).is_file():
        return credential
    return folder / name


class _Resolver:
    def __init__(self, sources: Sources, folder: Path, credentials: str | None, warnings: list[Problem]) -> None:
        self._sources = sources
        self._folder = folder
        self._credentials = Path(credentials) if credentials else None
        self._warnings = warnings

    def resolve(self, table: dict[str, Any], model: type[Settings], loc: tuple[int | str, ...]) -> None:
        """Do this table and all below it."""
        for key, held in secret_files(model):
            self._read(table, key, held, loc)
        for key, field in model.model_fields.items():
            value = table.get(key)
            below = models_in(field.annotation)
            for index, inner in enumerate(value) if isinstance(value, list) else [(None, value)]:
                chosen = choose_model(below, inner)
                if chosen and isinstance(inner, dict):
                    self.resolve(inner, chosen, (*loc, key) if index is None else (*loc, key, index))
            if isinstance(value, str) and value and is_path(model, key):
                table[key] = str(self._find(value))

    def _read(self, table: dict[str, Any], key: str, held: str, loc: tuple[int | str, ...]) -> None:
        name = table.get(key)
        if not isinstance(name, str):
            return
        path = to_path((*loc, key))
        if table.get(held) is not None:
            self._problem(path, f"{held} is given too: keep one of the two")
            return
        file = self._find(name)
        try:
            with file.open("rb") as stream:
                content = stream.read(_MAX_SECRET_BYTES + 1)
            secret = content.decode("utf-8").strip()
        except OSError as error:
            self._problem(path, f"{file} cannot be read: {error.strerror}")
            return
        except UnicodeDecodeError:
            self._problem(path, f"{file} is not UTF-8 text")
            return
        if not secret:
            self._problem(path, f"{file} is empty")
        elif len(content) > _MAX_SECRET_BYTES:
            self._problem(path, f"{file} is too large to be a secret")
        else:
            table[held] = secret
            self._sources.origins[to_path((*loc, held))] = str(file)
            if is_exposed(file):
                self._warnings.append(
                    Problem(path=path, message=f"everybody on this machine can read {file}; chmod 0600 would mend it")
                )

    def _find(self, name: str) -> Path:
        return _find(name, self._folder, self._credentials)

    def _problem(self, path: str, message: str) -> None:
        self._sources.problems.append(Problem(path=path, message=message))
