"""What is to become of an SMS after its claim: pure; `outcomes` adds the time, writes and tells.

Only a proven "not sent" is tried again by itself. What is unknown stays `uncertain` until somebody knows or the
account's own choice is applied, and is never reported as 0 (docs/protocol.md §9).
"""

from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import assert_never

from gateway.lifecycle import Accepted, Hold, NotSent, Refused, SmsEvent, SmsState, Uncertain, Verdict
from gateway.policy.accounts import Account, OnUnknown
from gateway.policy.retry import sms_delay
from gateway.protocol.codes import Code
from gateway.store.base import ClaimedSms, LostSms, Settlement
from gateway.store.refusing import OPTED_OUT

_MOST_UNKNOWN_ATTEMPTS = 2
"""`on_unknown = "resend"` sends once more, not for ever: a carrier whose answers are always lost may have sent all."""

_MOST_COST = 1_000_000
"""No SMS costs that much in any currency; beyond, a carrier's amount is no amount."""


# --- of claimed SMS --------------------------------------------------------------------------------------------------


def settle_verdict(
    sms: ClaimedSms, verdict: Verdict, *, now: datetime, jitter: float, is_elsewhere_open: bool
) -> Settlement:
    """Return the move a verdict causes.

    A "not sent" whose next try would come after the validity waits for its end there, with its code, and the janitor
    expires it. `is_elsewhere_open`: another carrier of its route is up, so trouble of this one costs no time.
    """
    move = partial(_move(sms), raw=verdict.raw)
    match verdict:
        case Accepted():
            return move(
                event=SmsEvent.TAKEN,
                code=Code.C0_SENT,
                provider_ref=verdict.provider_ref,
                parts=verdict.parts,
                cost_micros=None if verdict.cost is None else to_micros(verdict.cost),
                currency=None if verdict.cost is None else verdict.currency,
            )
        case Refused():
            return move(event=SmsEvent.REFUSED, code=verdict.code, reason="refused by the carrier")
        case Uncertain():
            return move(event=SmsEvent.LOST, reason="the carrier's answer is not known")
        case NotSent():
            delay = sms_delay(verdict.hold, attempt=sms.attempt, jitter=jitter, now=now, retry_at=verdict.retry_at)
            if verdict.hold is not Hold.SMS and is_elsewhere_open:
                delay = timedelta(0)
            return move(
                event=SmsEvent.NOT_SENT,
                code=verdict.code,
                reason=f"not sent: {verdict.hold.value} has to wait",
                due_at=min(now + delay, sms.expires_at),
            )
        case _:
            assert_never(verdict)


def to_micros(amount: Decimal) -> int | None:
    """Return an amount in millionths, as a row holds it; None when it is none that could have been billed."""
    if not amount.is_finite() or abs(amount) >= _MOST_COST:
        return None
    return int((amount * 1_000_000).to_integral_value())


def postpone(sms: ClaimedSms, *, until: datetime, reason: str) -> Settlement:
    """Return the move of an SMS that was claimed but not handed over; it does not count as an attempt."""
    return _move(sms)(event=SmsEvent.POSTPONED, due_at=min(until, sms.expires_at), reason=reason)


def refuse(sms: ClaimedSms, *, code: Code, reason: str) -> Settlement:
    """Return the move of a claimed SMS that may no longer be sent."""
    return _move(sms)(event=SmsEvent.REFUSED, code=code, reason=reason)


def stop(sms: ClaimedSms) -> Settlement:
    """Return the move of a claimed SMS whose number is on the STOP list by now (docs/protocol.md §5.6)."""
    return _move(sms)(event=SmsEvent.CANCELLED, code=Code.C11_NUMBER_BLACKLISTED, reason=OPTED_OUT)


# --- of SMS that were found as they are ------------------------------------------------------------------------------


def lose(sms: LostSms) -> Settlement:
    """Return the move of an SMS whose call ended with its process: nothing is proven."""
    return _move(sms, sms.state)(event=SmsEvent.LOST, reason="the process ended, or was cut off, during the call")


def resolve(sms: LostSms, account: Account | None, *, now: datetime) -> Settlement:
    """Return the move of an SMS that stayed uncertain for the whole window: the account's choice is applied.

    An account that is no longer configured has chosen nothing: nothing is sent for it.
    """
    may_resend = (
        account is not None
        and account.on_unknown is OnUnknown.RESEND
        and sms.unknown_attempts < _MOST_UNKNOWN_ATTEMPTS
        and now < sms.expires_at
    )
    if may_resend:
        return _move(sms, sms.state)(event=SmsEvent.RESENT, due_at=now, reason='fate unknown, on_unknown = "resend"')
    # docs/protocol.md §9
    return _move(sms, sms.state)(event=SmsEvent.EXPIRED, code=Code.C999_ERROR, reason="fate unknown")


def expire(sms: LostSms) -> Settlement:
    """Return the move of an SMS past its validity, with the code of its last "not sent", or 999.

    999 also when one attempt was never resolved: another code would say that nothing was sent.
    """
    code = Code.C999_ERROR if sms.code is None or sms.unknown_attempts else sms.code
    return _move(sms, sms.state)(event=SmsEvent.EXPIRED, code=code, reason="not sent within its validity")


def give_up_hearing(sms: LostSms) -> Settlement:
    """Return the move of an SMS that was accepted, and of which nothing more is waited for (docs/protocol.md §8.6)."""
    return _move(sms, sms.state)(
        event=SmsEvent.EXPIRED, code=Code.C0_SENT, reason="accepted, and no further word of it"
    )


def _move(sms: ClaimedSms | LostSms, from_state: SmsState = SmsState.SENDING) -> partial[Settlement]:
    return partial(Settlement, sms_id=sms.id, epoch=sms.epoch, from_state=from_state)
