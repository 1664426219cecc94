"""What a carrier is to the gateway.

A provider is given a batch (SMS of one account with equal options) and returns one verdict per SMS, in order. It never
raises for what the network or the carrier does: every failure is a verdict. It never retries, never sleeps, writes
nothing. Capabilities beyond `submit` are optional interfaces, detected with `isinstance`, never stubbed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from gateway.lifecycle import SmsId, Verdict


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
