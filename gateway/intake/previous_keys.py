"""Who still uses a key that is being replaced: what tells the operator when to take it out (docs/protocol.md §10.1).

Diagnostics: event `previous_key_used` (warning), at most one an hour for each account; metric
`mail2sms_previous_key_mails_total`, which is there, and 0, for each account that has such a key.
"""

from collections.abc import Iterable

import structlog
from prometheus_client import Counter

from gateway.clock import Clock
from gateway.metrics import REGISTRY
from gateway.policy.accounts import Account

LOGGED_EVERY_S = 3_600.0

_MAILS = Counter(
    "mail2sms_previous_key_mails_total",
    "Mails taken with the key that their account had before.",
    ("account",),
    registry=REGISTRY,
)

_log = structlog.get_logger(__name__)


class PreviousKeys:
    """Counts the mails, and logs the first of each hour."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._logged_at: dict[str, float] = {}
        self._unlogged: dict[str, int] = {}

    def expect(self, accounts: Iterable[Account]) -> None:
        """These are the accounts: those with a previous key are counted from 0, the others are forgotten."""
        names = {account.name for account in accounts if account.previous_keyid is not None}
        for name in names:
            _MAILS.labels(name)
        for known in (self._logged_at, self._unlogged):
            for name in known.keys() - names:
                del known[name]

    def note(self, account: str, sender: str | None) -> None:
        """A mail of the account was taken with it; `sender` is the address of its From:."""
        _MAILS.labels(account).inc()
        now = self._clock.monotonic()
        if now - self._logged_at.get(account, float("-inf")) < LOGGED_EVERY_S:
            self._unlogged[account] = self._unlogged.get(account, 0) + 1
            return
        advice = "give this client the new keyid; take previous_keyid out once this has not come for some days"
        unlogged = self._unlogged.pop(account, 0)
        _log.warning("previous_key_used", account=account, sender=sender, unlogged=unlogged, advice=advice)
        self._logged_at[account] = now
