"""Accounts and carriers as they are configured, without a secret."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from starlette.responses import Response
from starlette.routing import Route

from gateway.console.door import Door
from gateway.console.rendering import ROOT, render
from gateway.console.surroundings import Surroundings
from gateway.console.visit import Visit
from gateway.settings import Settings

_SECRET = "********"  # noqa: S105 what stands in its place
_PERSONAL = frozenset({"contact", "telephone", "mail", "reply_to"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One key of a block."""

    key: str
    value: str
    meaning: str  # in English, from the setting itself
    is_default: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One account, or one carrier."""

    name: str
    lines: tuple[Line, ...]

    @property
    def said(self) -> tuple[Line, ...]:
        """What the file says."""
        return tuple(line for line in self.lines if not line.is_default)

    @property
    def defaults(self) -> tuple[Line, ...]:
        """What holds because the file says nothing."""
        return tuple(line for line in self.lines if line.is_default)


class Configured:
    """The page of what is configured."""

    def __init__(self, around: Surroundings, door: Door) -> None:
        self._around = around
        self._door = door

    @property
    def routes(self) -> list[Route]:
        """What is answered."""
        return [Route(f"{ROOT}/configured", self._door.page(self._show), methods=["GET"])]

    async def _show(self, visit: Visit) -> Response:
        credits_by_account = {credit.account: credit for credit in await self._around.store.credits()}
        return render(
            "configured.html",
            visit,
            accounts=[block_of(one, shows_persons=visit.sees_all) for one in self._around.accounts()],
            carriers=[block_of(one, shows_persons=visit.sees_all) for one in self._around.carriers()],
            credits=credits_by_account,
        )


def block_of(settings: Settings, *, shows_persons: bool) -> Block:
    """Return the block, key by key; of a secret, only whether there is one."""
    fields: Mapping[str, FieldInfo] = type(settings).model_fields
    lines = tuple(
        Line(
            key=key,
            value="•••" if key in _PERSONAL and not shows_persons and value is not None else write_value(value),
            meaning=field.description or "",
            is_default=key != "kind" and not field.is_required() and value == field.default,
        )
        for key, field in fields.items()
        for value in [getattr(settings, key)]
        if key != "name"
    )
    return Block(name=str(getattr(settings, "name", "")), lines=lines)


def write_value(value: object) -> str:
    """Return a value of a setting as it is shown."""
    match value:
        case None | () | []:
            return "–"
        case SecretStr():
            return _SECRET
        case bool():
            return "true" if value else "false"
        case Enum():
            return str(value.value)
        case BaseModel():
            return ", ".join(_members(value))
        case Mapping():
            return ", ".join(f"{key} = {write_value(one)}" for key, one in value.items()) or "–"
        case str():
            return value
        case Sequence():
            return ", ".join(write_value(one) for one in value)
        case _:
            return str(value)


def _members(model: BaseModel) -> Iterator[str]:
    for key in type(model).model_fields:
        value = getattr(model, key)
        if value not in (None, (), {}):
            yield f"{key} = {write_value(value)}"
