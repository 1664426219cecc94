"""One listener's policy, worked out: what stands in its own block, and what `[smtp]` says where it is silent."""

from collections.abc import Iterator
from dataclasses import dataclass

from gateway.protocol.envoi import Mode
from gateway.smtp.peer import Address, Network, client_key, is_within
from gateway.smtp.settings import DEFAULT_NAME, ListenerSettings, Profile, SmtpSettings, Tls


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrance:
    """Addresses, and what holds for who comes in there."""

    name: str
    listen: tuple[str, ...]
    networks: tuple[Network, ...]  # trusted without AUTH
    mode: Mode
    tls: Tls
    requires_tls: bool
    offers_auth: bool  # if any user has an account, and over TLS or on loopback
    is_legacy: bool
    bare_lf_networks: tuple[Network, ...]
    proxies: tuple[Network, ...]  # empty: clients come by themselves

    def lets_in(self, peer: Address) -> bool:
        """Tell whether the address may connect at all; a listener for old devices is for them alone."""
        return not self.is_legacy or is_within(peer, self.networks)

    def receive(self, peer: Address) -> "Guest":
        """Return who has come."""
        return Guest(
            address=peer,
            host=str(peer),
            key=client_key(peer),
            entrance=self,
            is_trusted=is_within(peer, self.networks),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """Who has come to an entrance: what is asked of an address at every step, worked out once."""

    address: Address
    host: str  # the same in writing
    key: bytes  # what connections of one client are counted by
    entrance: Entrance
    is_trusted: bool  # by the entrance, without AUTH


def find_entrances(settings: SmtpSettings) -> Iterator[Entrance]:
    """Every listener, that of `[smtp] listen` first."""
    if settings.listen:
        yield _enter(settings, ListenerSettings(name=DEFAULT_NAME, listen=settings.listen))
    for listener in settings.listeners:
        yield _enter(settings, listener)


def _enter(settings: SmtpSettings, listener: ListenerSettings) -> Entrance:
    is_legacy = listener.profile is Profile.LEGACY
    default_tls = Tls.NONE if is_legacy or settings.starttls is None else Tls.STARTTLS
    tls = listener.tls or default_tls
    is_required = settings.starttls is not None and settings.starttls.required
    networks = settings.networks if listener.networks is None else listener.networks
    return Entrance(
        name=listener.name,
        listen=listener.listen,
        networks=networks,
        mode=listener.mode or settings.mode,
        tls=tls,
        requires_tls=_first(listener.require_tls, is_required and tls is not Tls.NONE) or tls is Tls.IMPLICIT,
        offers_auth=_first(listener.auth, not is_legacy),
        is_legacy=is_legacy,
        bare_lf_networks=networks if is_legacy else settings.bare_lf_networks,
        proxies=listener.proxies,
    )


def _first(said: bool | None, otherwise: bool) -> bool:
    return otherwise if said is None else said
