"""Which carriers an account's SMS go to: its own list, and `[[accounts.routes]]` blocks for some of its numbers."""

import re
from collections.abc import Mapping
from typing import Annotated, Self, TypeVar

from pydantic import AfterValidator, Field, model_validator

from gateway.settings import Name, Settings

T = TypeVar("T")

_PREFIX = re.compile(r"\+[1-9][0-9]{0,14}")


def _check_prefix(text: str) -> str:
    if not _PREFIX.fullmatch(text):
        raise ValueError(f'"{text}" begins no number: write a plus, the country and what follows, as in "+336"')
    return text


def check_some(values: tuple[T, ...]) -> tuple[T, ...]:
    """Return the values; ValueError: there are none."""
    if not values:
        raise ValueError("write at least one")
    return values


Prefix = Annotated[str, AfterValidator(_check_prefix)]
Providers = Annotated[tuple[Name, ...], AfterValidator(check_some)]
Weight = Annotated[int, Field(ge=1, le=10_000)]
Weights = Mapping[Name, Weight]


def check_weights(providers: tuple[str, ...], weights: Mapping[str, int]) -> None:
    """Raises ValueError for the weight of a carrier that is not in the list."""
    for name in weights:
        if name not in providers:
            raise ValueError(f'weights names "{name}", which is not among its providers')


class Route(Settings):
    """An `[[accounts.routes]]` block: other carriers for some of an account's numbers."""

    name: Name | None = Field(
        default=None,
        description="Name of the route, in logs and in the store; absent: its first prefix. What waits under a name "
        "that is gone goes by the account's own providers.",
    )
    prefixes: Annotated[tuple[Prefix, ...], AfterValidator(check_some)] = Field(
        description='How its numbers begin, as in "+336"; of all routes the longest one counts.'
    )
    providers: Providers = Field(description="Carriers of these numbers, in order of preference.")
    weights: Weights = Field(
        default={},
        description="Shares of those carriers that are up, as in { a = 3, b = 1 }; one without a share is for when all "
        "of them are down. Empty: strictly in order.",
    )

    @property
    def key(self) -> str:
        """What it is called: a name has no plus, so no two are called alike by accident."""
        return self.name or self.prefixes[0]

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        check_weights(self.providers, self.weights)
        return self


def check_routes(routes: tuple[Route, ...]) -> None:
    """Raises ValueError for two routes that are called alike, or claim the same numbers."""
    keys: set[str] = set()
    owners: dict[str, str] = {}
    for route in routes:
        if route.key in keys:
            raise ValueError(f'two routes are called "{route.key}"')
        keys.add(route.key)
        for prefix in route.prefixes:
            if prefix in owners:
                raise ValueError(f'prefix "{prefix}" stands in route "{owners[prefix]}" and again in "{route.key}"')
            owners[prefix] = route.key
