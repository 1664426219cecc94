"""Which move follows from which verdict, and from silence: pure decisions."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.lifecycle import (
    SMS_MOVES,
    Accepted,
    EnvoiId,
    Hold,
    MailId,
    NotSent,
    Refused,
    SmsEvent,
    SmsId,
    SmsState,
    Uncertain,
    Verdict,
)
from gateway.policy.accounts import OnUnknown
from gateway.protocol.codes import Code
from gateway.settlements import postpone, refuse, resolve, settle_verdict
from gateway.store.base import ClaimedSms, LostSms, Settlement
from tests.support.accounts import make_account
from tests.support.clock import START

SMS = ClaimedSms(
    id=SmsId("S1"),
    mail_id=MailId("M1"),
    envoi_id=EnvoiId("E1"),
    account="masociete",
    provider="carrier",
    epoch=3,
    attempt=2,
    msisdn="+33601020304",
    text="Salut",
    tracker="T1",
    originator=None,
    max_parts=1,
    nostop=False,
    ucs2=False,
    commercial=False,
    due_at=START,
    expires_at=START + timedelta(days=1),
)
LOST = LostSms(
    id=SmsId("S1"),
    envoi_id=EnvoiId("E1"),
    mail_id=MailId("M1"),
    account="masociete",
    state=SmsState.UNCERTAIN,
    epoch=3,
    attempts=1,
    unknown_attempts=1,
    since=START,
    expires_at=START + timedelta(days=1),
)
RESENDS = make_account(on_unknown=OnUnknown.RESEND)
HOLDS = make_account(on_unknown=OnUnknown.HOLD)


def settle(verdict: Verdict, *, is_elsewhere_open: bool = False) -> Settlement:
    return settle_verdict(SMS, verdict, now=START, jitter=0.0, is_elsewhere_open=is_elsewhere_open)


def test_accepted_is_taken_with_code_0() -> None:
    settled = settle(Accepted(raw="ok", provider_ref="42", parts=2))

    assert (settled.event, settled.code, settled.provider_ref, settled.parts) == (SmsEvent.TAKEN, 0, "42", 2)
    assert (settled.sms_id, settled.epoch, settled.from_state, settled.raw) == ("S1", 3, SmsState.SENDING, "ok")


def test_refused_keeps_its_code() -> None:
    settled = settle(Refused(raw="21", code=Code.C21_NUMBER_UNASSIGNED))

    assert (settled.event, settled.code) == (SmsEvent.REFUSED, Code.C21_NUMBER_UNASSIGNED)


def test_uncertain_is_lost_and_has_no_code() -> None:
    settled = settle(Uncertain(raw="timeout"))

    assert (settled.event, settled.code, settled.due_at) == (SmsEvent.LOST, None, None)


@pytest.mark.parametrize(
    ("hold", "is_elsewhere_open", "delay_s"),
    [
        (Hold.SMS, False, 120),
        (Hold.SMS, True, 120),
        (Hold.ACCOUNT, True, 0),
        (Hold.PROVIDER, False, 60),
        (Hold.PROVIDER, True, 0),
    ],
)
def test_not_sent_waits_by_what_has_to_wait(hold: Hold, is_elsewhere_open: bool, delay_s: int) -> None:
    settled = settle(NotSent(raw="429", hold=hold), is_elsewhere_open=is_elsewhere_open)

    assert (settled.event, settled.due_at) == (SmsEvent.NOT_SENT, START + timedelta(seconds=delay_s))


@given(
    jitter=st.floats(0, 1, exclude_max=True),
    attempt=st.integers(1, 1000),
    validity_s=st.integers(0, 100_000),
    wish_s=st.none() | st.integers(-100_000, 10_000_000),
    hold=st.sampled_from(Hold),
)
def test_a_retry_never_lies_before_now_or_beyond_validity(
    jitter: float, attempt: int, validity_s: int, wish_s: int | None, hold: Hold
) -> None:
    sms = replace(SMS, attempt=attempt, expires_at=START + timedelta(seconds=validity_s))
    retry_at = None if wish_s is None else START + timedelta(seconds=wish_s)
    settled = settle_verdict(
        sms, NotSent(raw="", hold=hold, retry_at=retry_at), now=START, jitter=jitter, is_elsewhere_open=False
    )

    assert settled.due_at is not None
    assert START <= settled.due_at <= sms.expires_at


@given(
    verdict=st.sampled_from(
        [
            Accepted(raw=""),
            Refused(raw="", code=Code.C999_ERROR),
            NotSent(raw=""),
            Uncertain(raw=""),
        ]
    )
)
def test_every_verdict_is_a_move_of_the_lifecycle(verdict: Verdict) -> None:
    settled = settle(verdict)

    assert settled.event in SMS_MOVES[settled.from_state]


def test_what_was_not_handed_over_goes_back_within_its_validity() -> None:
    settled = postpone(SMS, until=START + timedelta(days=9), reason="outside hours")

    assert (settled.event, settled.due_at) == (SmsEvent.POSTPONED, SMS.expires_at)


def test_what_may_no_longer_be_sent_is_refused_with_its_code() -> None:
    settled = refuse(SMS, code=Code.C24_OUTSIDE_HOURS, reason="outside hours")

    assert (settled.event, settled.code, settled.from_state) == (SmsEvent.REFUSED, 24, SmsState.SENDING)


def test_silence_is_reported_999_by_default() -> None:
    settled = resolve(LOST, HOLDS, now=START)

    assert (settled.event, settled.code) == (SmsEvent.EXPIRED, Code.C999_ERROR)


def test_silence_is_answered_by_one_more_sms_where_the_account_wants_that() -> None:
    settled = resolve(LOST, RESENDS, now=START)

    assert (settled.event, settled.due_at) == (SmsEvent.RESENT, START)


@pytest.mark.parametrize(
    "lost",
    [replace(LOST, unknown_attempts=2), replace(LOST, unknown_attempts=3), replace(LOST, expires_at=START)],
)
def test_nothing_is_resent_a_third_time_or_beyond_validity(lost: LostSms) -> None:
    assert resolve(lost, RESENDS, now=START).event is SmsEvent.EXPIRED


def test_nothing_is_resent_for_an_account_that_is_gone() -> None:
    assert resolve(LOST, None, now=START).event is SmsEvent.EXPIRED
