"""Where something stands in an answer: a JSON Pointer (`/messages/0/id`) or the same with dots (`messages.0.id`)."""

import re
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, Field

_INDEX = re.compile(r"0|[1-9][0-9]{0,5}")
_ESCAPE = re.compile(r"~(?![01])")


def _check_pointer(pointer: str) -> str:
    if pointer.startswith("/") and _ESCAPE.search(pointer):
        raise ValueError("is not a JSON Pointer: ~ is written ~0 there, and / is written ~1")
    if not all(_steps_of(pointer)):
        raise ValueError("is not a place: write it as /messages/0/id or messages.0.id")
    return pointer


Pointer = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_check_pointer)]
"""A place in an answer."""


def value_at(root: object, pointer: str | None) -> str | None:
    """Return what stands there as text; None if nothing does, or no single value."""
    here = root
    for step in _steps_of(pointer) if pointer is not None else ():
        if isinstance(here, dict):
            here = here.get(step)
        elif isinstance(here, list) and _INDEX.fullmatch(step) and int(step) < len(here):
            here = here[int(step)]
        else:
            return None
    match here:
        case _ if pointer is None:
            return None
        case bool():
            return "true" if here else "false"
        case str():
            return here
        case int() | Decimal():
            return str(here)
        case _:
            return None


def _steps_of(pointer: str) -> list[str]:
    if not pointer.startswith("/"):
        return pointer.split(".")
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer[1:].split("/")]
