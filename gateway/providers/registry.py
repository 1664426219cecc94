"""Which kinds of carrier there are. A new one is its module, a member of `ProviderSettings` and a case here."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, assert_never

from pydantic import Field

from gateway.clock import Clock
from gateway.providers.base import Provider
from gateway.providers.isendpro import IsendproProvider, IsendproSettings, SandboxSettings
from gateway.providers.smspartner import SmsPartnerSettings, build_smspartner
from gateway.providers.webhook import WebhookSettings, build_webhook
from gateway.settings import Settings

ProviderSettings = Annotated[
    IsendproSettings | SmsPartnerSettings | WebhookSettings | SandboxSettings, Field(discriminator="kind")
]
"""One `[[providers]]` block; `kind` says which."""

KINDS: Mapping[str, type[Settings]] = MappingProxyType(
    {
        "isendpro": IsendproSettings,
        "smspartner": SmsPartnerSettings,
        "webhook": WebhookSettings,
        "sandbox": SandboxSettings,
    }
)
"""The settings of each kind."""


def build_provider(settings: ProviderSettings, clock: Clock, *, callback_url: str | None = None) -> Provider:
    """Return the carrier, ready to send, nothing connected yet; ProviderUnusable if it cannot be set up.

    `callback_url` is where it is to tell us of receipts and replies, secret included; None: nowhere.
    """
    match settings:
        case IsendproSettings() | SandboxSettings():
            return IsendproProvider(settings, clock)
        case SmsPartnerSettings():
            return build_smspartner(settings, clock, callback_url)
        case WebhookSettings():
            return build_webhook(settings, clock, callback_url)
        case _:
            assert_never(settings)
