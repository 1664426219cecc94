"""The console's words, in each of its languages. `words.toml` holds them side by side, so that none is missing."""

import tomllib
from collections.abc import Mapping
from importlib import resources
from types import MappingProxyType
from typing import Literal, get_args

Language = Literal["en", "fr"]

LANGUAGES: tuple[Language, ...] = get_args(Language)
NAMES: Mapping[Language, str] = MappingProxyType({"en": "English", "fr": "Français"})


def _load() -> Mapping[str, Mapping[str, str]]:
    text = resources.files("gateway.console").joinpath("words.toml").read_text("utf-8")
    return {
        f"{section}.{key}": words for section, entries in tomllib.loads(text).items() for key, words in entries.items()
    }


WORDS = _load()
"""For each key its words, by language."""


def say(language: Language, key: str, **values: object) -> str:
    """Return the words for `key`, with the values in them. KeyError: there are none."""
    words = WORDS[key][language]
    return words.format(**values) if values else words


def has_words(key: str) -> bool:
    """True when there are words for `key`."""
    return key in WORDS


def choose_language(chosen: str | None, accepted: str) -> Language:
    """Return the language that was chosen, or else the first of Accept-Language that there is; English otherwise."""
    for one in LANGUAGES:
        if chosen == one:
            return one
    ranked = sorted(map(_rank, accepted[:500].split(",")), reverse=True, key=lambda ranked: ranked[0])
    for weight, name in ranked:
        for one in LANGUAGES:
            if weight > 0 and name == one:
                return one
    return "en"


def _rank(part: str) -> tuple[float, str]:
    name, _, parameters = part.partition(";")
    weight = parameters.strip().removeprefix("q=") or "1"
    try:
        return float(weight), name.strip().lower().partition("-")[0]
    except ValueError:
        return 0.0, ""
