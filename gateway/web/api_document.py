"""`/api/v1/openapi.json`: what the interface is, in OpenAPI 3.1. Schemas come from the values that are answered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode

from gateway import __version__
from gateway.lifecycle import SmsState
from gateway.stories import Found, FoundPage, QueuePage, Stats, StatsBy, Story
from gateway.web.tokens import Right
from gateway.web.veil import TEXTS

Member = TypeVar("Member", bound=Enum)


@dataclass(frozen=True, slots=True, kw_only=True)
class StateNow:
    """Rows that are in a state."""

    rows: int
    oldest_s: float

    @classmethod
    def of(cls, rows: int, since: datetime | None, now: datetime) -> "StateNow":
        """Return so many rows, the oldest of them in the state since then."""
        return cls(rows=rows, oldest_s=0.0 if since is None else max(0.0, (now - since).total_seconds()))


@dataclass(frozen=True, slots=True, kw_only=True)
class BacklogNow:
    """How much is in each state that is not final, and how long the oldest is in it."""

    at: datetime
    is_ready: bool  # mail is taken
    sms: Mapping[str, StateNow]
    reports: Mapping[str, StateNow]


@dataclass(frozen=True, slots=True, kw_only=True)
class CarrierNow:
    """How a carrier stands with this node."""

    name: str
    is_up: bool  # False: left alone for a while after failures
    held_accounts: int  # that it has turned away
    low_balance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """Why there is no answer."""

    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Path:
    path: str
    right: Right | None
    summary: str
    answer: Any
    parameters: Sequence[str] = ()


_FILTERS = ("account", "provider", "state", "since", "until", "number", "email_id", "id", "text", "size", "after")

_PATHS = (
    _Path(path="/api/v1/backlog", right=Right.QUEUE, summary="How much waits, and how long", answer=BacklogNow),
    _Path(
        path="/api/v1/queue",
        right=Right.QUEUE,
        summary="SMS that wait (queued, held, sending, uncertain; others by state), the oldest first",
        answer=QueuePage,
        parameters=_FILTERS,
    ),
    _Path(
        path="/api/v1/stats",
        right=Right.STATS,
        summary="What came since then (a day ago unless given), counted",
        answer=Stats,
        parameters=("by", "since"),
    ),
    _Path(path="/api/v1/carriers", right=Right.CARRIERS, summary="How carriers stand", answer=list[CarrierNow]),
    _Path(
        path="/api/v1/mails",
        right=Right.MAILS,
        summary="Mails and refusals, the newest first",
        answer=FoundPage,
        parameters=_FILTERS,
    ),
    _Path(
        path="/api/v1/mails/{id}",
        right=Right.MAILS,
        summary="The life of one mail, refusal or count, by the id that a list has",
        answer=Story,
    ),
    _Path(
        path="/api/v1/refusals",
        right=Right.MAILS,
        summary="Only what was refused; a page may be short and have a next",
        answer=FoundPage,
        parameters=_FILTERS,
    ),
    _Path(
        path="/api/v1/find",
        right=Right.MAILS,
        summary="What these words may mean: an id, a number, an address; needs the rights numbers and texts too",
        answer=list[Found],
        parameters=("q",),
    ),
    _Path(path="/api/v1/openapi.json", right=None, summary="This document", answer=dict[str, object]),
)

_PARAMETERS: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "account": ("of this account", {"type": "string"}),
    "provider": ("that this carrier has, or had, last", {"type": "string"}),
    "state": ("in one of these states", {"type": "array", "items": {"enum": [state.value for state in SmsState]}}),
    "since": ("came at or after; UTC without an offset", {"type": "string", "format": "date-time"}),
    "until": ("came before; UTC without an offset", {"type": "string", "format": "date-time"}),
    "number": ("to this number, in any spelling; needs the right numbers", {"type": "string"}),
    "email_id": ("with this emailId", {"type": "string"}),
    "id": ("this mail, envoi or SMS", {"type": "string"}),
    "text": ("with these words in a text or a reason; needs the right texts", {"type": "string"}),
    "size": ("rows of a page", {"type": "integer", "minimum": 1, "maximum": 500, "default": 50}),
    "after": ("`next` of the page before", {"type": "string"}),
    "by": ("how SMS are counted together", {"enum": [by.value for by in StatsBy], "default": StatsBy.PROVIDER.value}),
    "q": ("what is looked for", {"type": "string"}),
}

_ERRORS = {
    "400": "a parameter is unknown or wrong",
    "401": "no token, or one that nobody has",
    "403": "the token has not the right",
    "404": "there is none of this id",
    "429": "too many requests: come back after Retry-After seconds",
    "503": "the store does not answer: come back after Retry-After seconds",
}


class _Schemas(GenerateJsonSchema):
    """A default that JSON does not have, such as an empty mapping, is left out without a word."""

    ignored_warning_kinds = {"non-serializable-default", "skipped-choice"}  # noqa: RUF012 # as pydantic declares it


@cache
def document() -> dict[str, object]:
    """Return the document."""
    answers = [*((number, one.answer) for number, one in enumerate(_PATHS)), (len(_PATHS), Wrong)]
    mode: JsonSchemaMode = "serialization"
    schemas, definitions = TypeAdapter.json_schemas(
        [(number, mode, TypeAdapter[Any](answer)) for number, answer in answers],
        ref_template="#/components/schemas/{model}",
        schema_generator=_Schemas,
    )
    wrong = schemas[(len(_PATHS), mode)]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "mail2sms",
            "version": __version__,
            "description": "What the gateway can tell of itself. Numbers are masked and texts left out (null, or empty "
            "sentences) unless the token has the rights numbers and texts.",
        },
        "paths": {
            one.path: {"get": _operation(one, schemas[(number, mode)], wrong)} for number, one in enumerate(_PATHS)
        },
        "components": {
            "schemas": {name: _with_null(schema) for name, schema in definitions.get("$defs", {}).items()},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _with_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema in which texts may be null: they are, for a token without the right to them."""
    properties = {
        name: {**one, "type": ["string", "null"]} if name in TEXTS and one.get("type") == "string" else one
        for name, one in schema.get("properties", {}).items()
    }
    return {**schema, "properties": properties} if properties else schema


def _operation(one: _Path, answer: Any, wrong: Any) -> dict[str, object]:  # noqa: ANN401 # JSON Schema
    needs = "" if one.right is None else f" Needs the right {one.right.value}."
    parameters = [
        {"name": name, "in": "query", "required": name == "q", "description": text, "schema": schema}
        for name in one.parameters
        for text, schema in [_PARAMETERS[name]]
    ]
    if "{id}" in one.path:
        parameters.append(
            {"name": "id", "in": "path", "required": True, "description": "its id", "schema": {"type": "string"}}
        )
    return {
        "summary": one.summary,
        "description": one.summary + "." + needs,
        "operationId": one.path.removeprefix("/api/v1/").replace("/{id}", "_by_id").replace(".", "_"),
        "parameters": parameters,
        "responses": {
            "200": {"description": "it", "content": {"application/json": {"schema": answer}}},
            **{
                status: {"description": text, "content": {"application/json": {"schema": wrong}}}
                for status, text in _ERRORS.items()
            },
        },
    }
