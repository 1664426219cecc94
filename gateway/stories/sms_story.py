"""The life of one SMS in words: what was decided, each call and its answer, later words, and what comes next."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import assert_never

from gateway.lifecycle import SmsEvent, SmsState
from gateway.policy.accounts import Account, OnUnknown
from gateway.policy.routing import find_path
from gateway.policy.window import is_open, rules_of
from gateway.protocol.codes import Code
from gateway.store.base import split_lane
from gateway.store.records import AttemptRecord, Blocked, OperationRecord, ReplyRecord, SmsRecord
from gateway.store.stoplist import OptOut
from gateway.stories.model import Data, Step, StepKind
from gateway.stories.settings_of import settings_of_code
from gateway.text.gsm import count_parts, is_gsm

_BAD_ENDS = frozenset({SmsState.UNDELIVERED, SmsState.REFUSED, SmsState.EXPIRED, SmsState.CANCELLED})
_MOST_RAW = 300
"""Characters of a carrier's answer in a sentence; all of it is in the data."""

_VERDICTS = {
    SmsEvent.TAKEN: "took it",
    SmsEvent.REFUSED: "refused it for good",
    SmsEvent.NOT_SENT: "did not take it now",
    SmsEvent.LOST: "gave no answer that proves anything",
}
_WORDS = {
    SmsEvent.TAKEN: "has it",
    SmsEvent.DELIVERED: "has delivered it",
    SmsEvent.UNDELIVERED: "could not deliver it",
    SmsEvent.REFUSED: "refused it",
}
_RELOAD = "then systemctl reload mail2sms"
_MEND_KEY = (
    "compare its key with that on the carrier's web pages (mail2sms doctor --only carriers tries it), put the right "
    f"one into the configuration, {_RELOAD}"
)
_MEND = {
    Code.C1_KEY_EMPTY: _MEND_KEY,
    Code.C3_KEY_UNKNOWN: _MEND_KEY,
    Code.C12_NO_CREDIT: f"buy credit there, {_RELOAD}",
    Code.C14_ADDRESS_NOT_ALLOWED: f"have the address of this machine allowed there, {_RELOAD}",
}
"""What is to be done when a carrier turns all of an account away, by its code."""
_LOOK = "what is wrong there: mail2sms doctor --only carriers"
_CARRIERS = "the carrier's"
_ONE_SECOND = timedelta(seconds=1)
_DID = {"hold": "held it", "release": "released it", "retry": "had it tried again", "cancel": "cancelled it"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SmsLife:
    """One SMS with all that happened to it."""

    sms: SmsRecord
    received_at: datetime
    attempts: Sequence[AttemptRecord] = ()
    operations: Sequence[OperationRecord] = ()
    replies: Sequence[ReplyRecord] = ()
    stops: Sequence[OptOut] = ()
    blocked: Blocked | None = None
    account: Account | None = None  # as configured now
    is_serving: bool | None = None  # whether a gateway works on the store; None: not known


def tell_sms(life: SmsLife, now: datetime) -> tuple[Step, ...]:
    """Return its steps in order of time, what will come last."""
    happened = [*_admitted(life), *_calls(life), *_operated(life), *_replied(life)]
    happened.sort(key=lambda step: step.at or life.received_at)
    return (*happened, *_stands(life), *_next(life, now))


def _step(
    life: SmsLife, kind: StepKind, at: datetime | None, sentence: str, data: Data, *, is_trouble: bool = False
) -> Step:
    return Step(kind=kind, at=at, sentence=sentence, data=data, sms_id=life.sms.id, is_trouble=is_trouble)


# --- what was decided ------------------------------------------------------------------------------------------------


def _admitted(life: SmsLife) -> Iterator[Step]:
    sms = life.sms
    was_refused = sms.epoch == 0 and sms.state is SmsState.REFUSED
    who = f"SMS {sms.position} to {sms.tel}" + (f" ({sms.msisdn})" if sms.msisdn else "")
    if was_refused:
        yield _refused(life, who)
        return
    data: dict[str, object] = {
        "position": sms.position,
        "tel": sms.tel,
        "msisdn": sms.msisdn,
        "text": sms.text,
        "parts": sms.parts,
        "max_parts": sms.max_parts,
        "originator": sms.originator,
        "notes": sms.notes,
        "route": split_lane(sms.lane)[1] if sms.lane else "",
        "tracker": sms.tracker,
    }
    data |= encoding_of(sms)
    cost = f"{sms.parts} of at most {sms.max_parts} {'part' if sms.max_parts == 1 else 'parts'}"
    because = f" because of {data['forced_by']}" if data["forced_by"] else ""
    how = f", {str(data['encoding']).upper()}{because}" if data["encoding"] else ""
    changed = f"; changed: {'; '.join(sms.notes)}" if sms.notes else ""
    sender = f" from {sms.originator}" if sms.originator else ""
    sentence = f"{who} was put in the queue{sender}: {cost}{how}{changed}"
    yield _step(life, StepKind.SMS_QUEUED, life.received_at, sentence, data)


def _refused(life: SmsLife, who: str) -> Step:
    sms = life.sms
    settings = _settings(life)
    data: dict[str, object] = {
        "position": sms.position,
        "tel": sms.tel,
        "msisdn": sms.msisdn,
        **_code(life),
        "reason": sms.reason,
        "settings": settings,
        **_stop_data(life),
    }
    why = f"{_coded(life)}: {sms.reason}{_stop_words(life)}{_decided_by(settings)}"
    return _step(
        life,
        StepKind.SMS_REFUSED,
        life.received_at,
        f"{who} was refused with {why}; no carrier was asked",
        data,
        is_trouble=True,
    )


def encoding_of(sms: SmsRecord) -> dict[str, object]:
    """Return how the text goes over the air, and the characters that made it UCS-2; nothing of a text that is gone."""
    if sms.text is None:
        return {"encoding": None, "forced_by": "", "units": 0}
    size = count_parts(sms.text, ucs2=sms.ucs2)
    forced = "".join(dict.fromkeys(one for one in sms.text if not is_gsm(one))) if sms.ucs2 else ""
    return {"encoding": size.encoding.value, "forced_by": forced, "units": size.units}


def _stop_data(life: SmsLife) -> dict[str, object]:
    found = _stop_of(life)
    return {} if found is None else {"stop_since_at": found.since_at.isoformat(), "stop_source": found.source.value}


def _stop_words(life: SmsLife) -> str:
    found = _stop_of(life)
    return "" if found is None else f" (since {found.since_at:%Y-%m-%d %H:%M} UTC, by {found.source.value})"


def _stop_of(life: SmsLife) -> OptOut | None:
    return next((one for one in life.stops if one.msisdn == life.sms.msisdn), None)


# --- what happened ---------------------------------------------------------------------------------------------------


def _calls(life: SmsLife) -> Iterator[Step]:
    for one in life.attempts:
        base: dict[str, object] = {"number": one.number, "provider": one.provider}
        yield _step(life, StepKind.CALLED, one.begun_at, f"call {one.number} to carrier {one.provider} began", base)
        if one.verdict is not None and one.ended_at is not None:
            yield _answer(life, one, base)
        if one.learnt is not None:
            yield _learnt(life, one, base)


def _answer(life: SmsLife, one: AttemptRecord, base: dict[str, object]) -> Step:
    verdict, ended_at = one.verdict or SmsEvent.LOST, one.ended_at or one.begun_at
    took_s = (ended_at - one.begun_at).total_seconds()
    data = base | {
        "verdict": verdict.value,
        "code": None if one.code is None else one.code.value,
        "raw": one.raw,
        "duration_s": took_s,
    }
    code = "" if one.code is None or one.verdict is SmsEvent.TAKEN else f", code {one.code.value} {one.code.label}"
    sentence = (
        f"carrier {one.provider} {_VERDICTS.get(verdict, verdict.value)}{code}, after {took_s:.1f} s{_raw(one.raw)}"
    )
    return _step(life, StepKind.ANSWERED, one.ended_at, sentence, data, is_trouble=one.verdict is not SmsEvent.TAKEN)


def _learnt(life: SmsLife, one: AttemptRecord, base: dict[str, object]) -> Step:
    word = one.learnt or SmsEvent.TAKEN
    code = life.sms.network_code
    data = base | {"word": word.value, "code": None if code is None else code.value, "raw": one.learnt_raw}
    why = f", code {code.value} {code.label}" if code is not None and word is SmsEvent.UNDELIVERED else ""
    at = life.sms.network_at
    when = f", by its clock at {at:%Y-%m-%d %H:%M:%S} UTC" if at is not None else ""
    sentence = (
        f"carrier {one.provider} says later that it {_WORDS.get(word, word.value)}{why}{when}{_raw(one.learnt_raw)}"
    )
    is_bad = word in (SmsEvent.UNDELIVERED, SmsEvent.REFUSED)
    return _step(life, StepKind.LEARNT, one.learnt_at, sentence, data, is_trouble=is_bad)


def _raw(raw: str | None, *, whose: str = "its") -> str:
    if raw is None:
        return ""
    return f"; {whose} answer: {raw[:_MOST_RAW]}{'…' if len(raw) > _MOST_RAW else ''}"


def _operated(life: SmsLife) -> Iterator[Step]:
    for one in life.operations:
        data: Data = {"action": one.action, "by": one.actor}
        what = _DID.get(one.action, one.action)
        yield _step(life, StepKind.OPERATED, one.at, f"{one.actor} {what}", data)


def _replied(life: SmsLife) -> Iterator[Step]:
    for one in life.replies:
        data: Data = {"msisdn": one.msisdn, "text": one.text, "is_stop": one.is_stop}
        what = "answered STOP: nothing more is sent to it" if one.is_stop else f"answered: {one.text}"
        yield _step(life, StepKind.REPLIED, one.received_at, f"{one.msisdn} {what}", data)


# --- where it stands -------------------------------------------------------------------------------------------------


def _stands(life: SmsLife) -> Iterator[Step]:
    sms = life.sms
    if sms.epoch == 0 and sms.state is SmsState.REFUSED:
        return  # said already
    settings = _settings(life)
    data: dict[str, object] = {
        "state": sms.state.value,
        **_code(life),
        "reason": sms.reason,
        "since_at": sms.since_at.isoformat(),
        "provider": sms.provider,
        "provider_ref": sms.provider_ref,
        "billed_parts": sms.billed_parts,
        "cost_micros": sms.cost_micros,
        "currency": sms.currency,
        "settings": settings,
        **_stop_data(life),
    }
    bad = sms.state in _BAD_ENDS
    code = f", {_coded(life)}" if bad and sms.code is not None else ""
    reason = f": {sms.reason}" if sms.reason else ""
    cost = ""
    if sms.cost_micros is not None:
        cost = f", billed {sms.cost_micros / 1_000_000:g} {sms.currency or ''}".rstrip()
    is_unheard = sms.state is SmsState.EXPIRED and sms.code is not None and sms.code.value == 0
    sentence = f"it is {sms.state.value}{code}{reason}{_stop_words(life)}{cost}" + (
        _decided_by(settings) if bad else ""
    )
    is_trouble = (bad and not is_unheard) or sms.state in (SmsState.HELD, SmsState.UNCERTAIN)
    yield _step(life, StepKind.STANDS, sms.since_at, sentence, data, is_trouble=is_trouble)


def _code(life: SmsLife) -> dict[str, object]:
    code = life.sms.code
    return {"code": None if code is None else code.value, "label": None if code is None else code.label}


def _coded(life: SmsLife) -> str:
    code = life.sms.code
    return "no code" if code is None else f"code {code.value} {code.label}"


def _settings(life: SmsLife) -> tuple[str, ...]:
    sms = life.sms
    if sms.code is None or (sms.code.value == 0 and sms.state is not SmsState.EXPIRED):
        return ()
    return settings_of_code(sms.code, sms.account, sms.reason)


def _decided_by(settings: Sequence[str]) -> str:
    return f" [{', '.join(settings)}]" if settings else ""


# --- what comes next -------------------------------------------------------------------------------------------------


def _next(life: SmsLife, now: datetime) -> Iterator[Step]:
    told = waits_for(life, now)
    if told is not None:
        what, at, needs_operator = told
        data: Data = {"what": what, "at": None if at is None else at.isoformat(), "needs_operator": needs_operator}
        yield _step(life, StepKind.NEXT, at, what, data, is_trouble=needs_operator)


def waits_for(life: SmsLife, now: datetime) -> tuple[str, datetime | None, bool] | None:
    """Return what an SMS waits for in words, until when, and whether an operator must act; None: for nothing."""
    sms = life.sms
    ends = f"; it expires at {_time(sms.expires_at)}" if sms.expires_at else ""
    match sms.state:
        case SmsState.QUEUED:
            what, at, needs, said = _queued(life, now)
            # The answer is last: it is cut off for those who may not see it
            return f"{what}{ends}{_raw(said, whose=_CARRIERS)}", at, needs
        case SmsState.HELD:
            return f"an operator must let it go: mail2sms queue release {sms.id}{ends}", sms.expires_at, True
        case SmsState.SENDING:
            return (
                f"carrier {sms.provider} is being called, until {_time(sms.lease_until)} at most",
                sms.lease_until,
                False,
            )
        case SmsState.UNCERTAIN:
            return _uncertain(life)
        case SmsState.ACCEPTED:
            return _accepted(life, now)
        case SmsState.DELIVERED | SmsState.UNDELIVERED | SmsState.REFUSED | SmsState.EXPIRED | SmsState.CANCELLED:
            return None
        case _:
            assert_never(sms.state)


def _queued(life: SmsLife, now: datetime) -> tuple[str, datetime | None, bool, str | None]:
    """Return what it waits for, until when, whether an operator must act, and what a carrier said to that."""
    sms = life.sms
    path = ""
    if life.account is not None and sms.lane is not None:
        path = f" to carrier {', else '.join(find_path(life.account, split_lane(sms.lane)[1]).providers)}"
    is_due = sms.due_at is None or sms.due_at <= now
    again = "" if is_due else f"attempt no. {sms.attempts + 1}{path} follows at {_time(sms.due_at)}"
    if not is_due and not sms.attempts:
        return f"it goes{path} at {_time(sms.due_at)}{_why_later(life)}", sms.due_at, False, None
    if life.is_serving is False:
        return "no gateway is at work on this store: start it (mail2sms serve)", None, True, None
    if life.account is None:
        what = f"its account {sms.account} is not in the configuration any more: nothing is sent for it"
        return what, None, True, None
    blocked = life.blocked
    if blocked is not None and blocked.reason.startswith("not sent: account"):
        where = f"all of account {sms.account} waits at carrier {blocked.provider}"
        mend = _MEND.get(blocked.code or Code.C999_ERROR, f"see what is wrong there, {_RELOAD}")
        return f"{where}, which turned it away at {_away(blocked)}: {mend}", None, True, blocked.raw
    if blocked is not None and blocked.reason.startswith("not sent: provider"):
        what = f"carrier {blocked.provider} is in trouble, it took nothing at {_away(blocked)}"
        return f"{what}: {again or 'it is tried again'} by itself; {_LOOK}", sms.due_at, False, blocked.raw
    if again:
        return f"{again}{f' ({sms.reason})' if sms.reason else ''}", sms.due_at, False, None
    return f"it is due since {_time(sms.due_at)} and goes{path} when its turn comes", sms.due_at, False, None


def _away(blocked: Blocked) -> str:
    if blocked.code is None or blocked.code is Code.C999_ERROR:  # that one says nothing
        return _time(blocked.at)
    return f"{_time(blocked.at)} with code {blocked.code.value} {blocked.code.label}"


def _why_later(life: SmsLife) -> str:
    sms, account = life.sms, life.account
    if account is not None and account.commercial and sms.due_at is not None:
        rules = rules_of(account)
        if is_open(sms.due_at, rules) and not is_open(sms.due_at - _ONE_SECOND, rules):
            return (
                f": commercial SMS wait for their next opening hour ({account.timezone}), nothing is to be done "
                f"[accounts.{account.name}.commercial, accounts.{account.name}.hours_profile]"
            )
    return " (date_envoi)" if sms.epoch == 0 else ""


def _uncertain(life: SmsLife) -> tuple[str, datetime | None, bool]:
    sms = life.sms
    asked = f"carrier {sms.provider} is asked what became of it at {_time(sms.ask_at)}; " if sms.ask_at else ""
    resends = life.account is not None and life.account.on_unknown is OnUnknown.RESEND
    choice = 'sent once more (on_unknown = "resend")' if resends else 'reported 999 (on_unknown = "hold")'
    advice = f"to have it sent now, perhaps twice: mail2sms queue retry {sms.id} --yes"
    return (
        f"nobody knows whether carrier {sms.provider} has it; {asked}without word it is {choice}; {advice}",
        sms.ask_at,
        False,
    )


def _accepted(life: SmsLife, now: datetime) -> tuple[str, datetime | None, bool] | None:
    sms = life.sms
    if sms.deliver_at is not None and sms.deliver_at > now:
        return f"carrier {sms.provider} sends it at {_time(sms.deliver_at)}", sms.deliver_at, False
    if sms.ask_at is not None:
        return (
            f"carrier {sms.provider} is asked at {_time(sms.ask_at)} whether it arrived, or says so before",
            sms.ask_at,
            False,
        )
    return f"carrier {sms.provider} may say by callback whether it arrived", None, False


def _time(at: datetime | None) -> str:
    return "?" if at is None else f"{at:%Y-%m-%d %H:%M:%S} UTC"
