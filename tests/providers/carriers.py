"""Carriers under test: how to point each kind of the registry at a server, and batches to hand over."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic import TypeAdapter

from gateway.lifecycle import SmsId
from gateway.providers.base import Batch, Message, Provider, SendOptions
from gateway.providers.registry import ProviderSettings, build_provider
from tests.support.clock import ManualClock

KEY = "a296464ce012b8ab710a"
DEADLINE_S = 10.0

PATHS = {"isendpro": "/cgi-bin", "sandbox": "/cgi-bin"}
"""Where each kind finds its interface below an address."""

SETTINGS: TypeAdapter[ProviderSettings] = TypeAdapter(ProviderSettings)


@asynccontextmanager
async def provider_at(kind: str, url: str, **settings: object) -> AsyncIterator[Provider]:
    """Build a carrier of this kind that calls `url`, and close it."""
    block = {"name": "carrier", "kind": kind, "base_url": url + PATHS[kind], "timeout_s": DEADLINE_S, **settings}
    provider = build_provider(SETTINGS.validate_python(block), ManualClock())
    try:
        yield provider
    finally:
        await provider.close()


def batch_of(*numbers: str, text: str = "Bonjour", options: SendOptions | None = None) -> Batch:
    """Return a batch with one SMS per number, trackers T0, T1, ..."""
    return Batch(
        options=SendOptions(account_key=KEY) if options is None else options,
        messages=tuple(
            Message(sms_id=SmsId(f"S{position}"), msisdn=number, text=f"{text} {position}", tracker=f"T{position}")
            for position, number in enumerate(numbers)
        ),
    )
