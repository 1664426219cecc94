"""What a carrier is to the gateway.

A provider is given a batch (SMS of one account with equal options) and returns one verdict per SMS, in order. It never
raises for what the network or the carrier does: every failure is a verdict. It never retries, never sleeps, writes
nothing. Capabilities beyond `submit` are optional interfaces, detected with `isinstance`, never stubbed: `Batches`,
`LooksUp`, `TellsBalance`, `KeepsOptOuts`, `ParsesCallbacks`, `Schedules`, `CountsParts`, `LooksAtNumbers`.

Keys. A provider has a key of its own, or passes on the account's (`account_key`); where there is no account to speak of
(looking at the balance, say), a provider without a key answers that it cannot tell.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import Enum, unique
from typing import Protocol, runtime_checkable

from gateway.errors import GatewayError
from gateway.lifecycle import SmsId, Verdict
from gateway.protocol.codes import Code


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One SMS on its way out."""

    sms_id: SmsId
    msisdn: str = field(repr=False)  # E.164, with the plus
    text: str = field(repr=False)  # final: `\n` for a line break, transliterated unless `ucs2`
    tracker: str  # ours: 20 characters [0-9A-Z], fixed before the first attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class SendOptions:
    """What the SMS of one batch have in common."""

    account_key: str = field(repr=False)  # the account's own keyid, passed on when the provider has none
    originator: str | None = None
    max_parts: int = 1  # the most parts an SMS of this batch may use
    nostop: bool = False
    ucs2: bool = False
    commercial: bool = False  # whether the STOP mention is asked for, where the carrier lets us choose
    deliver_at: datetime | None = None  # the carrier is to wait until then; only given to one that `Schedules`


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one call carries. Never empty, never longer than the provider's `batch_size`."""

    options: SendOptions
    messages: tuple[Message, ...]


class Provider(Protocol):
    """A carrier that takes SMS."""

    @property
    def name(self) -> str:
        """The name in the configuration."""

    async def submit(self, batch: Batch) -> Sequence[Verdict]:
        """Hand the batch over and return one verdict per message, in order, within the provider's own deadline."""

    async def close(self) -> None:
        """Give back connections."""


@runtime_checkable
class Batches(Protocol):
    """Takes several SMS in one call."""

    @property
    def batch_size(self) -> int:
        """The most SMS in one call, 1 to 500."""


@runtime_checkable
class Schedules(Protocol):
    """Takes SMS that it is to send later, and waits by itself."""

    @property
    def longest_wait_s(self) -> float:
        """How far ahead it takes them, in seconds."""


# --- what a carrier says later ---------------------------------------------------------------------------------------


@unique
class Fate(Enum):
    """What a carrier says later about an SMS."""

    TAKEN = "taken"  # it has it; whether it arrived is not known yet
    DELIVERED = "delivered"
    UNDELIVERED = "undelivered"
    REFUSED = "refused"  # it will never be sent
    UNKNOWN = "unknown"  # a word that we do not know: kept, and nothing follows from it


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A carrier's later word about one SMS, by callback or look-up.

    Which SMS it is: the one with this `tracker` (of ours, in upper case), else the one of this provider that has
    this `provider_ref` and `msisdn`. One of the two is given.
    """

    tracker: str | None
    provider_ref: str | None = None
    msisdn: str | None = field(default=None, repr=False)  # E.164, with the plus
    fate: Fate
    code: Code | None = None  # of the annex, where the carrier's own word has one
    at: datetime | None = None  # by the carrier's clock; aware
    cost: Decimal | None = None
    currency: str | None = None  # ISO 4217
    raw: str = field(repr=False)  # as it came, the key masked, at most `transport.RAW_LIMIT` characters


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyPart:
    """Which part of a long reply a callback brings."""

    reference: str
    number: int  # 1 to total
    total: int  # 2 to 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What somebody answered by SMS. `is_stop`: the carrier itself says that it is one; else the text may say so."""

    msisdn: str = field(repr=False)  # who answered; E.164, with the plus
    text: str = field(repr=False)
    to: str | None = None  # our long number (E.164) or the short code it was sent to
    tracker: str | None = None  # of the SMS it answers, where the carrier says so
    provider_ref: str | None = None  # the same, by the carrier's own name for it
    reference: str | None = None  # the carrier's name for the reply itself; the same when it comes again
    part: ReplyPart | None = None
    is_stop: bool = False
    at: datetime | None = None
    raw: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Callback:
    """One HTTP request of a carrier, its secret already proven and removed, its size already bounded (16 KiB)."""

    method: str  # GET or POST
    query: Sequence[tuple[str, str]] = field(repr=False)
    content_type: str = ""
    body: bytes = field(default=b"", repr=False)


class CallbackUnreadable(GatewayError):
    """A callback that says nothing this carrier is known to say; the message is for the operator, without content."""


@runtime_checkable
class ParsesCallbacks(Protocol):
    """Says by HTTP request what became of SMS, and what was answered."""

    def parse_callback(self, callback: Callback) -> Sequence[Receipt | Reply]:
        """Return what the request says, perhaps nothing; CallbackUnreadable if it is none of this carrier's."""


# --- what a carrier can be asked -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Inquiry:
    """An SMS whose fate is asked for."""

    tracker: str
    msisdn: str = field(repr=False)
    provider_ref: str | None = None  # None: the carrier's answer was lost


@dataclass(frozen=True, slots=True, kw_only=True)
class Untold:
    """A question that was not answered. The reason is for the operator, without the key."""

    reason: str


@runtime_checkable
class LooksUp(Protocol):
    """Can be asked what became of SMS."""

    @property
    def look_up_size(self) -> int:
        """The most SMS in one question."""

    async def look_up(self, inquiries: Sequence[Inquiry], *, account_key: str) -> Sequence[Receipt] | Untold:
        """Return what is known of these SMS; one that is missing is not known (any more, or yet).

        An SMS whose answer was lost (no `provider_ref`) is looked for by its tracker where the carrier can do that.
        That nothing is found proves nothing: the carrier may be late.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """What is left at the carrier."""

    amount: Decimal | None = None
    currency: str | None = None  # ISO 4217
    sms: int | None = None  # about how many SMS that is, where the carrier says so


@runtime_checkable
class TellsBalance(Protocol):
    """Can be asked what is left."""

    async def balance(self) -> Balance | Untold:
        """Return what is left of the credit that its own key stands for."""


@runtime_checkable
class KeepsOptOuts(Protocol):
    """Has a list of numbers that it sends nothing to."""

    async def add_optout(self, msisdn: str) -> Untold | None:
        """The number is on the list, also if it was before; None says that it worked."""

    async def remove_optout(self, msisdn: str) -> Untold | None:
        """The number is not on the list, also if it never was; None says that it worked."""

    async def list_optouts(self) -> Sequence[str] | Untold:
        """Return all numbers on it, E.164."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartCount:
    """How long a text is, as the carrier counts."""

    parts: int
    characters: int | None = None  # None: it does not say


@runtime_checkable
class CountsParts(Protocol):
    """Can be asked how many parts a text takes, which is what it bills."""

    async def count_parts(self, text: str, *, msisdn: str, options: SendOptions) -> PartCount | Untold:
        """Return what this text to this number (E.164) would take, sent with these options. Nothing is sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberFacts:
    """What a carrier knows of a number."""

    msisdn: str = field(repr=False)  # E.164
    operator: str | None  # the carrier's word for it; None: it knows of none, so the number takes no SMS
    code: Code | None = None  # of the annex, where it says so


@runtime_checkable
class LooksAtNumbers(Protocol):
    """Can be asked whether numbers are in use, and at which operator. It may charge for that."""

    @property
    def numbers_size(self) -> int:
        """The most numbers in one question."""

    async def look_at_numbers(self, msisdns: Sequence[str]) -> Sequence[NumberFacts] | Untold:
        """Return what is known of these numbers (E.164), in their order; one it says nothing about is missing."""
