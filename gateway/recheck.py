"""What was claimed, looked at again right before the call: a STOP or closing time came, or a date is too far ahead."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import assert_never

from gateway.carrier import Carrier
from gateway.policy.accounts import Account
from gateway.policy.window import Go, Refuse, Wait, recheck
from gateway.settlements import postpone, refuse, stop
from gateway.store.base import ClaimedSms, Settlement


def look_again(
    account: Account, carrier: Carrier, claimed: Sequence[ClaimedSms], now: datetime
) -> tuple[list[ClaimedSms], list[Settlement]]:
    """Return what may be handed to the carrier now, and the moves of the rest."""
    ready: list[ClaimedSms] = []
    held_back: list[Settlement] = []
    for sms in claimed:
        if sms.is_opted_out and account.heeds_stop:  # docs/protocol.md §5.6
            held_back.append(stop(sms))
            continue
        until = _wait_until(sms, carrier, now)
        if until is not None:
            held_back.append(postpone(sms, until=until, reason="the carrier takes it no earlier"))
            continue
        goes_at = now if sms.deliver_at is None else max(now, sms.deliver_at)
        match recheck(account, goes_at, commercial=sms.commercial):  # docs/protocol.md §6.6
            case Go():
                ready.append(sms)
            case Wait(until=until):
                held_back.append(postpone(sms, until=until, reason="outside hours"))
            case Refuse(code=code):
                held_back.append(refuse(sms, code=code, reason="outside hours"))
            case unexpected:
                assert_never(unexpected)
    return ready, held_back


def _wait_until(sms: ClaimedSms, carrier: Carrier, now: datetime) -> datetime | None:
    """Return until when the gateway waits itself; None: it does not."""
    if sms.deliver_at is None or sms.deliver_at <= now:
        return None
    taken_from = sms.deliver_at - timedelta(seconds=carrier.longest_wait_s)
    return taken_from if taken_from > now else None
