"""The configuration in force, and what is made of those parts of it that a reload changes: accounts and carriers."""

from collections.abc import Mapping

from gateway.carrier import Carrier
from gateway.clock import Clock
from gateway.config import Config
from gateway.daemon.building import build_hooks, callback_url
from gateway.policy.accounts import Accounts
from gateway.providers.base import LooksUp, Provider
from gateway.providers.registry import ProviderSettings, build_provider
from gateway.web import Hook


class Present:
    """What `config` says now; `become` makes it something else. Whoever wants it as it will be asks each time."""

    def __init__(self, config: Config, clock: Clock) -> None:
        """Raises ProviderUnusable when a carrier cannot be set up."""
        self._clock = clock
        self.config = config
        self.accounts = Accounts(config.accounts)
        self.carriers: Mapping[str, Carrier] = {
            settings.name: _build_carrier(config, settings, clock) for settings in config.providers
        }
        self._hooks = build_hooks(config, self.providers)

    def become(self, config: Config) -> None:
        """All is as `config` says. Raises ProviderUnusable, and nothing has changed.

        A carrier whose settings are the same stays the same object; those that are gone are for others to close.
        """
        accounts = Accounts(config.accounts)
        carriers = {
            settings.name: self.carriers[settings.name]
            if settings in self.config.providers
            else _build_carrier(config, settings, self._clock)
            for settings in config.providers
        }
        self.config, self.accounts, self.carriers = config, accounts, carriers
        self._hooks = build_hooks(config, self.providers)

    @property
    def providers(self) -> Mapping[str, Provider]:
        """The carriers themselves, by name."""
        return {name: carrier.provider for name, carrier in self.carriers.items()}

    def can_ask(self, name: str) -> bool:
        """True when that carrier can be asked what became of SMS."""
        carrier = self.carriers.get(name)
        return carrier is not None and isinstance(carrier.provider, LooksUp)

    def find_hook(self, name: str) -> Hook | None:
        """Return how callbacks of that carrier are proven and read; None: it has none."""
        return self._hooks.get(name)

    async def close(self) -> None:
        """The carriers' connections are given back, also when it never came to sending."""
        for carrier in self.carriers.values():
            await carrier.provider.close()


def _build_carrier(config: Config, settings: ProviderSettings, clock: Clock) -> Carrier:
    return Carrier(
        provider=build_provider(settings, clock, callback_url=callback_url(config, settings)),
        timeout_s=settings.timeout_s,
        width=settings.width,
        rate=settings.rate,
        low_balance=settings.low_balance,
        balance_every_s=settings.balance_every_s,
    )
