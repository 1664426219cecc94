"""How a sandbox is set up when it starts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from types import MappingProxyType

from gateway.sandbox.orders import Api

PRICES: Mapping[Api, Decimal] = MappingProxyType({Api.ISENDPRO: Decimal("0.05"), Api.SMSPARTNER: Decimal("0.045")})
"""Of a part, in euros."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxOptions:
    """Each carrier's own. `credit` is in euros, `sms` the same in parts; with neither, it has no end."""

    receipt_delay_s: float = 1.0
    credit: Decimal | None = None
    sms: int | None = None
    callbacks: Mapping[Api, str] = field(default_factory=dict)

    def euros(self, api: Api) -> Decimal | None:
        """What the account has at first."""
        return PRICES[api] * self.sms if self.sms is not None else self.credit
