"""How much an account may send in a while: `[[accounts.quotas]]` (docs/protocol.md §10.5). Pure, as all of policy.

A quota counts one thing (SMS, parts, money or mails) for one kind of subject (the account, each sender, each number,
numbers with certain beginnings) over a window that slides along.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, unique
from typing import Annotated, Self

from pydantic import Field, model_validator

from gateway.policy.routes import Prefix
from gateway.settings import Settings

_MOST = 1_000_000_000
_MICROS = 1_000_000


@unique
class Per(Enum):
    """Whose SMS are counted together."""

    ACCOUNT = "account"
    SENDER = "sender"  # each From: address of it
    RECIPIENT = "recipient"  # each number
    PREFIX = "prefix"  # all numbers that begin so


@unique
class Window(Enum):
    """How far back is counted. It slides in slots, of which the one that is just beginning and all that it holds count.

    So a limit is never passed within any time as long as the window, and what was used is free again one slot late at
    most.
    """

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"

    @property
    def length(self) -> timedelta:
        """How long it is: a day has 24 hours, whatever the clocks do."""
        return {Window.MINUTE: timedelta(minutes=1), Window.HOUR: timedelta(hours=1), Window.DAY: timedelta(days=1)}[
            self
        ]

    @property
    def slot(self) -> timedelta:
        """What it slides by: 5 seconds, 5 minutes, an hour."""
        return self.length / (24 if self is Window.DAY else 12)

    @property
    def words(self) -> str:
        """In a sentence: an hour."""
        return "an hour" if self is Window.HOUR else f"a {self.value}"


@unique
class Unit(Enum):
    """What is counted."""

    SMS = "sms"
    PARTS = "parts"
    COST = "cost"  # millionths, by the account's `part_price`
    MAILS = "mails"


class Quota(Settings):
    """An `[[accounts.quotas]]` block: how much may be sent in a while."""

    per: Per = Field(
        description='Whose SMS are counted together: "account", "sender" (each From: address by itself), "recipient" '
        '(each number by itself) or "prefix" (all numbers with these `prefixes`).'
    )
    window: Window = Field(description='Counted over the last "minute", "hour" or "day", whatever the clock shows.')
    sms: int | None = Field(
        default=None, ge=1, le=_MOST, description="At most so many SMS; those beyond are refused with code 29."
    )
    parts: int | None = Field(
        default=None, ge=1, le=_MOST, description="Or so many parts: an SMS of three parts counts three."
    )
    cost: float | None = Field(
        default=None, ge=0.000001, le=_MOST, description="Or so much money, in parts times the account's `part_price`."
    )
    mails: int | None = Field(
        default=None,
        ge=1,
        le=_MOST,
        description='Or so many mails, per "account" or "sender"; those beyond are answered 451, to come back later.',
    )
    prefixes: Annotated[tuple[Prefix, ...], Field(max_length=100)] = Field(
        default=(), description='For "prefix": how its numbers begin, as in ["+3389", "+881"]; all count together.'
    )

    @property
    def unit(self) -> Unit:
        """What it counts."""
        return next(unit for unit in Unit if getattr(self, unit.value) is not None)

    @property
    def most(self) -> int:
        """How much of it may be used; money in millionths."""
        most = getattr(self, self.unit.value)
        return round(most * _MICROS) if self.unit is Unit.COST else int(most)

    @property
    def key(self) -> str:
        """What it counts, and for whom: as long as this is the same, what was used still counts."""
        kinds = (self.per.value, self.window.value, self.unit.value)
        return "/".join((*kinds, ",".join(sorted(self.prefixes))) if self.prefixes else kinds)

    @property
    def sentence(self) -> str:
        """The quota as its operator would say it."""
        amounts = {
            Unit.SMS: f"{self.sms} SMS",
            Unit.PARTS: f"{self.parts} parts",
            Unit.COST: f"{self.cost or 0:.2f} of money",
            Unit.MAILS: f"{self.mails} mails",
        }
        whose = {
            Per.ACCOUNT: "for the account",
            Per.SENDER: "from one sender",
            Per.RECIPIENT: "to one number",
            Per.PREFIX: f"to numbers with {', '.join(self.prefixes)}",
        }
        return f"at most {amounts[self.unit]} {self.window.words} {whose[self.per]}"

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        given = [unit.value for unit in Unit if getattr(self, unit.value) is not None]
        if len(given) != 1:
            said = f"not {' and '.join(given)}: write another block for the other" if given else "none is there"
            raise ValueError(f"a quota has one of sms, parts, cost and mails; {said}")
        if (self.per is Per.PREFIX) != bool(self.prefixes):
            raise ValueError('prefixes and per = "prefix" go together: write both, or neither')
        if self.unit is Unit.MAILS and self.per not in {Per.ACCOUNT, Per.SENDER}:
            raise ValueError('mails are counted per "account" or "sender": a mail can be for many numbers')
        return self


Quotas = Annotated[tuple[Quota, ...], Field(max_length=20)]
Price = Annotated[float, Field(ge=0, le=1_000_000)]
Parts = Annotated[int, Field(ge=0, le=_MOST)]
Factor = Annotated[float, Field(ge=0, le=1_000_000)]


def check_quotas(quotas: Iterable[Quota], part_price: float) -> None:
    """Raises ValueError for two quotas that count the same, and for one of money without a price."""
    keys: set[str] = set()
    for quota in quotas:
        if quota.key in keys:
            raise ValueError(f'two quotas count the same, "{quota.key}": keep the smaller one')
        keys.add(quota.key)
        if quota.unit is Unit.COST and not part_price:
            raise ValueError("a quota of cost needs part_price: what one part costs the account")


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """What an SMS of one sender counts for one quota."""

    per: Per
    unit: Unit
    prefixes: tuple[str, ...]
    sender: str
    part_micros: int  # what a part costs

    def __call__(self, msisdn: str, parts: int) -> tuple[str, int] | None:
        """Return who it counts for, and how much; None: it does not count."""
        match self.per:
            case Per.ACCOUNT:
                subject = ""
            case Per.SENDER:
                subject = self.sender
            case Per.RECIPIENT:
                subject = msisdn
            case Per.PREFIX:
                if not msisdn.startswith(self.prefixes):
                    return None
                subject = ""
        if self.unit is Unit.SMS:
            return subject, 1
        return subject, parts * (self.part_micros if self.unit is Unit.COST else 1)


def price_micros(part_price: float) -> int:
    """Return what a part costs, in millionths."""
    return round(part_price * _MICROS)
