"""What every room's settings have in common: frozen, and an unknown key is an error.

Each room declares its own `Settings`; `config` is the only reader of files and of the environment. The comment of a
field (`description`) is what an operator reads in the annotated example file and in docs/configuration.md.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """Base of all settings."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        str_strip_whitespace=True,
        validate_default=True,
        hide_input_in_errors=True,  # a secret that is refused must not stand in the sentence about it
    )


Seconds = Annotated[float, Field(gt=0, le=31_536_000)]
"""A duration, more than nothing and at most a year."""

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
"""A name for accounts, providers and users: letters, digits, `_`, `.`, `-`; at most 64."""
