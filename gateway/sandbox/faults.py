"""Trouble on command: what `POST /sandbox/faults` and `--script FILE` say (docs/sandbox.md lists it for operators).

A script is JSON: one fault or a list of them. A fault is an object, or just its name:

    [{"fault": "slow", "delay_s": 5, "count": 2}, "lost", {"fault": "refuse", "code": 21, "count": 1}]

Each call that sends uses up the first fault of answers and the first of receipts that are left and meant for it
(`api`, `path`): the script above makes two calls slow, and loses the answers of all further ones, because `lost` has no
`count`. Any other call of a carrier only uses up faults that name its path. Names stand in `FaultName`, plain words for
them in `_ALIASES`.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum, unique
from types import MappingProxyType
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from gateway.errors import GatewayError
from gateway.sandbox.orders import Api
from gateway.settings import Settings

MOST_FAULTS = 1000


class SandboxError(GatewayError):
    """The sandbox cannot do as asked: an address cannot be had, a script cannot be read... One sentence each."""


@unique
class FaultName(Enum):
    """What can go wrong. Says whether the SMS is taken all the same, which `accepts` can turn round."""

    SLOW = "slow"  # taken; the answer comes after `delay_s`
    TRICKLE = "trickle"  # taken; the answer comes byte by byte, `delay_s` apart
    STATUS = "status"  # not taken; HTTP `status`, with Retry-After if `retry_after`
    RESET = "reset"  # not taken; the connection is reset
    LOST = "lost"  # taken; the connection is cut without an answer
    HALF = "half"  # taken; the connection ends in the middle of the answer
    NOT_JSON = "not_json"  # taken; HTTP 200 and something unreadable
    HTML = "html"  # not taken; HTTP 200 and a page, as a degraded front gives
    WRONG_COUNT = "wrong_count"  # taken; the answer has an entry too few
    NO_CREDIT = "no_credit"  # not taken; code 12 for every number
    REFUSE = "refuse"  # not taken; `code` for every number
    SHAPE = "shape"  # taken; the answer has another of the shapes that are seen: `shape`
    GZIP_BOMB = "gzip_bomb"  # taken; the answer is small, compressed, and large when unpacked
    REDIRECT = "redirect"  # not taken; HTTP 302 to this sandbox itself
    FALSE_SUCCESS = "false_success"  # not taken; HTTP 200 and "success" without an id, as a degraded front gave
    RECEIPTS_LATE = "receipts_late"  # `delay_s` later than usual
    RECEIPTS_DOUBLED = "receipts_doubled"  # each comes twice
    RECEIPTS_MISSING = "receipts_missing"  # the SMS arrive, and nobody says so
    RECEIPTS_BEFORE = "receipts_before"  # they come before the answer to the call
    RECEIPTS_OUT_OF_ORDER = "receipts_out_of_order"  # the last SMS first, and "waiting" after the final word


@unique
class Shape(Enum):
    """The shapes of an answer other than the documented one."""

    SINGLE_OBJECT = "single_object"  # an object where the list should be
    FLAT = "flat"  # `code` and `tel` directly under the first `etat`
    STRING_CODES = "string_codes"  # "0" for 0


_TAKEN = frozenset(
    {
        FaultName.SLOW,
        FaultName.TRICKLE,
        FaultName.LOST,
        FaultName.HALF,
        FaultName.NOT_JSON,
        FaultName.WRONG_COUNT,
        FaultName.SHAPE,
        FaultName.GZIP_BOMB,
    }
)

OF_RECEIPTS = frozenset(
    {
        FaultName.RECEIPTS_LATE,
        FaultName.RECEIPTS_DOUBLED,
        FaultName.RECEIPTS_MISSING,
        FaultName.RECEIPTS_BEFORE,
        FaultName.RECEIPTS_OUT_OF_ORDER,
    }
)
"""What happens to receipts; the rest happens to answers."""

_ALIASES: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {
        "429": {"fault": "status", "status": 429, "retry_after": "30"},
        "reset before the answer": {"fault": "reset"},
        "answer lost after accepting": {"fault": "lost"},
        "half an answer": {"fault": "half"},
        "not json": {"fault": "not_json"},
        "wrong counts": {"fault": "wrong_count"},
        "credit gone": {"fault": "no_credit"},
        "gzip bomb": {"fault": "gzip_bomb"},
        "single object": {"fault": "shape", "shape": "single_object"},
        "single_object": {"fault": "shape", "shape": "single_object"},
        "flat": {"fault": "shape", "shape": "flat"},
        "string codes": {"fault": "shape", "shape": "string_codes"},
        "string_codes": {"fault": "shape", "shape": "string_codes"},
        "false success": {"fault": "false_success"},
        "receipts_late": {"fault": "receipts_late", "delay_s": 10},
        "receipts late": {"fault": "receipts_late", "delay_s": 10},
        "receipts doubled": {"fault": "receipts_doubled"},
        "receipts missing": {"fault": "receipts_missing"},
        "receipts before the answer": {"fault": "receipts_before"},
        "receipts out of order": {"fault": "receipts_out_of_order"},
    }
)


class Fault(Settings):
    """One kind of trouble, for the next `count` calls or for all."""

    fault: FaultName
    count: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    delay_s: float = Field(default=1.0, ge=0, le=3600)
    code: int = Field(default=999, ge=0, le=999_999)
    status: int = Field(default=500, ge=200, le=599)
    retry_after: Annotated[str, Field(pattern=r"^[ -~]{1,64}$")] | None = None
    shape: Shape = Shape.FLAT
    accepts: bool | None = None
    api: Api | None = None
    path: Annotated[str, Field(pattern=r"^/[!-~]{1,127}$")] | None = None

    def concerns(self, api: Api, path: str, *, sends: bool) -> bool:
        """True when a call to this path is meant."""
        if self.api is not None and self.api is not api:
            return False
        return sends if self.path is None else self.path == path

    @property
    def is_taken(self) -> bool:
        """True when the SMS of the call are accepted in spite of the trouble."""
        return self.fault in _TAKEN if self.accepts is None else self.accepts

    @model_validator(mode="before")
    @classmethod
    def _read_plain_words(cls, value: object) -> object:
        fields = {"fault": value} if isinstance(value, str) else value
        if not isinstance(fields, dict) or not isinstance(fields.get("fault"), str):
            return fields
        name = fields["fault"].strip().lower()
        alias = _ALIASES.get(name, {"fault": "status", "status": name} if name.isdecimal() else {"fault": name})
        return {**alias, **{key: value for key, value in fields.items() if key != "fault"}}


_SCRIPT = TypeAdapter[Sequence[Fault]](Annotated[Sequence[Fault], Field(max_length=MOST_FAULTS)])


def read_faults(script: bytes | str) -> Sequence[Fault]:
    """Return the faults of a script; SandboxError says in one sentence what is wrong with it."""
    try:
        found = json.loads(script)
        return _SCRIPT.validate_python(found if isinstance(found, list) else [found])
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(step) for step in problem['loc'])}: {problem['msg']}" for problem in error.errors()[:10]
        )
        raise SandboxError(f"not a script of faults: {problems}") from error
    except (ValueError, RecursionError) as error:
        raise SandboxError("not a script of faults: it is not JSON") from error


class FaultScript:
    """The faults that are left, in order."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._left: list[Fault] = []
        self.add(faults)

    def add(self, faults: Iterable[Fault]) -> None:
        """Put these behind what is left; SandboxError if that is too many."""
        faults = list(faults)
        if len(self._left) + len(faults) > MOST_FAULTS:
            raise SandboxError(f"more than {MOST_FAULTS} faults")
        self._left += faults

    def clear(self) -> None:
        """Behave from now on."""
        self._left.clear()

    def take(self, api: Api, path: str, *, sends: bool, of_receipts: bool = False) -> Fault | None:
        """Return the fault of this call and count it."""
        for position, fault in enumerate(self._left):
            if (fault.fault in OF_RECEIPTS) is of_receipts and fault.concerns(api, path, sends=sends):
                if fault.count == 1:
                    self._left.pop(position)
                elif fault.count is not None:
                    self._left[position] = fault.model_copy(update={"count": fault.count - 1})
                return fault
        return None

    def list(self) -> Sequence[Fault]:
        """Return what is left; `count` says for how many more calls."""
        return tuple(self._left)
