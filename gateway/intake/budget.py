"""What an account may use, as the store counts it: its quotas and its volume (docs/protocol.md §10.5, §10.6)."""

from functools import lru_cache

from gateway.policy.accounts import Account
from gateway.policy.quotas import Meter, Per, Quota, Unit, price_micros
from gateway.store.budget import Budget, Limit, VolumeWatch


def make_budget(account: Account, sender: str) -> Budget | None:
    """Return what mails of the sender may use of the account; None: anything, and nobody watches."""
    volume = None
    if account.volume_warning or account.volume_warning_factor:
        volume = VolumeWatch(threshold=account.volume_warning, factor=account.volume_warning_factor)
    if not account.quotas and volume is None:
        return None
    part_micros = price_micros(account.part_price)
    limits = tuple(_make_limit(quota, sender.lower(), part_micros) for quota in account.quotas)
    return Budget(limits=limits, volume=volume)


@lru_cache(maxsize=1_024)
def _make_limit(quota: Quota, sender: str, part_micros: int) -> Limit:
    counts_mails = quota.unit is Unit.MAILS
    meter = Meter(per=quota.per, unit=quota.unit, prefixes=quota.prefixes, sender=sender, part_micros=part_micros)
    return Limit(
        key=quota.key,
        sentence=quota.sentence,
        most=quota.most,
        window=quota.window.length,
        slot=quota.window.slot,
        measure=None if counts_mails else meter,
        subject=sender if counts_mails and quota.per is Per.SENDER else "",
        is_guard=quota.per is Per.RECIPIENT,
    )
