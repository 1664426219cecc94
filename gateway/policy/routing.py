"""Which provider an account's SMS go to."""

from collections.abc import Collection

from gateway.policy.accounts import Account


def choose_provider(account: Account, paused: Collection[str]) -> str | None:
    """Return the first of the account's providers that is not paused; None: its SMS wait."""
    return next((name for name in account.providers if name not in paused), None)
