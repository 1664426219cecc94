"""Which carriers an SMS may go to, and which of them is next. Pure: what is up, and who had how much, are arguments."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from gateway.policy.accounts import Account

OWN = ""
"""The name of the route of all numbers that no other route is for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """The carriers of a route, in order of preference, and what part each is to have."""

    providers: tuple[str, ...]
    weights: Mapping[str, int]  # empty: the first that is up has all


Owed = Mapping[str, float]
"""How many SMS each carrier of a path is behind its part; the sum is nought."""


def choose_route(account: Account, msisdn: str) -> str:
    """Return the name of the route for a number (E.164): that with the longest prefix of it, else the account's own."""
    best, length = OWN, 0
    for route in account.routes:
        for prefix in route.prefixes:
            if len(prefix) > length and msisdn.startswith(prefix):
                best, length = route.key, len(prefix)
    return best


def find_path(account: Account, route: str) -> Path:
    """Return the carriers of a route; of one that is not configured any more, the account's own."""
    for one in account.routes:
        if one.key == route:
            return Path(providers=one.providers, weights=one.weights)
    return Path(providers=account.providers, weights=account.weights)


def choose_provider(path: Path, up: Collection[str], owed: Owed) -> str | None:
    """Return who is next of those that are up; None: none of them is.

    By weight, it is the one that is farthest behind its part, counted in SMS (smooth weighted round robin); a carrier
    without a weight is for when all others are down. Without weights it is the first.
    """
    sharing = _sharing(path, up)
    if sharing:
        whole = sum(path.weights[name] for name in sharing)
        return max(sharing, key=lambda name: owed.get(name, 0.0) + path.weights[name] / whole)  # of equals the first
    return next((name for name in path.providers if name in up), None)


def count_sms(path: Path, up: Collection[str], owed: Owed, *, provider: str, sms: int) -> Owed:
    """Return what is owed after so many SMS went to the carrier.

    It is owed to those that are up alone, so that none has to catch up on what it missed while it was down.
    """
    sharing = _sharing(path, up)
    if provider not in sharing:
        return owed
    whole = sum(path.weights[name] for name in sharing)
    after = {**owed, **{name: owed.get(name, 0.0) + sms * path.weights[name] / whole for name in sharing}}
    after[provider] -= sms
    return after


def _sharing(path: Path, up: Collection[str]) -> list[str]:
    if not path.weights:
        return []
    return [name for name in dict.fromkeys(path.providers) if name in path.weights and name in up]
