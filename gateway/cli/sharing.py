"""Options that several commands have in common, each group of them one value to the commands."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import is_dataclass
from typing import Any


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command as it is called: a parameter that is a dataclass of options is as many options.

    They stand where it stood, each named and annotated like its field.
    """
    own = inspect.signature(command)
    groups = {name: one.annotation for name, one in own.parameters.items() if _is_group(one.annotation)}
    options = {name: inspect.signature(group).parameters for name, group in groups.items()}

    @functools.wraps(command)
    def asked(**given: Any) -> None:  # noqa: ANN401 whatever the options are
        for name, group in groups.items():
            given[name] = group(**{option: given.pop(option) for option in options[name]})
        command(**given)

    parameters = [
        one for name, parameter in own.parameters.items() for one in options.get(name, {name: parameter}).values()
    ]
    asked.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    asked.__annotations__ = {one.name: one.annotation for one in parameters}
    return asked


def _is_group(annotation: object) -> bool:
    return isinstance(annotation, type) and is_dataclass(annotation)
