"""What came back, held against what must: one sentence per difference."""

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from gateway.conformance.carrier import CarrierSms
from gateway.conformance.case import ExpectedSms, Outcome
from gateway.conformance.filling import FilledCase
from gateway.conformance.report import ReceivedReport, Report, describe_difference, render_ack, render_not

T = TypeVar("T", bound=Hashable)

_MOST_SHOWN = 3
_TEXT_SHOWN = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What came of one case. None: nobody looked."""

    replies: tuple[str, ...]
    reports: tuple[ReceivedReport, ...] | None
    sms: tuple[CarrierSms, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The alternative that came nearest, by its index, and how what was observed differs from it."""

    alternative: int
    differences: tuple[str, ...]


def judge(filled: FilledCase, observed: Observed) -> Judgement:
    """Return how what was observed differs from the nearest of the alternatives; no difference: it conforms."""
    always = [
        f"mail {number} was answered with words of the mail" for number in _find_said(filled.unsaid, observed.replies)
    ]
    judgements = [
        Judgement(alternative=index, differences=(*always, *_differences(filled, one, observed)))
        for index, one in enumerate(filled.alternatives)
    ]
    return min(judgements, key=lambda judgement: len(judgement.differences))


def expected_reports(outcome: Outcome) -> list[tuple[Report, int]]:
    """Return the reports that must come, each with the mail it answers."""
    acks = [(render_ack(ack), ack.mail) for ack in outcome.acks]
    return acks + [(render_not(one), one.mail) for one in outcome.nots]


def answers_begin(outcome: Outcome, replies: Sequence[str]) -> bool:
    """Tell whether the replies are those of this outcome."""
    return len(replies) == len(outcome.replies) and all(
        reply.startswith(begin) for begin, reply in zip(outcome.replies, replies, strict=True)
    )


def has_all(outcome: Outcome, reports: Sequence[ReceivedReport]) -> bool:
    """Tell whether every report of this outcome is there."""
    return not Counter(one for one, _ in expected_reports(outcome)) - Counter(one.report for one in reports)


def subtract(ones: Iterable[T], others: Iterable[T]) -> list[T]:
    """Return what of `ones` is not among `others`, as often as it is not."""
    return list((Counter(ones) - Counter(others)).elements())


def _find_said(unsaid: Sequence[str], replies: Sequence[str]) -> list[int]:
    return [number for number, reply in enumerate(replies, start=1) if any(text in reply for text in unsaid)]


def _differences(filled: FilledCase, outcome: Outcome, observed: Observed) -> list[str]:
    differences = [
        f"mail {number} was answered {reply[:_TEXT_SHOWN]!r}, not {begin!r}"
        for number, (begin, reply) in enumerate(zip(outcome.replies, observed.replies, strict=True), start=1)
        if not reply.startswith(begin)
    ]
    differences += [f"the reply does not say {text!r}" for text in outcome.says if text not in observed.replies[-1]]
    if observed.reports is not None:
        differences += _report_differences(filled, outcome, observed.reports)
    if observed.sms is not None:
        differences += _sms_differences(outcome.sms, observed.sms)
    return differences


def _report_differences(filled: FilledCase, outcome: Outcome, received: Sequence[ReceivedReport]) -> list[str]:
    expected = expected_reports(outcome)
    missing = subtract((one for one, _ in expected), (one.report for one in received))
    extra = subtract((one.report for one in received), (one for one, _ in expected))
    differences = []
    for one in list(missing):
        twin = next((other for other in extra if other.kind == one.kind), None)
        if twin is not None:
            differences.append(describe_difference(one, twin))
            missing.remove(one)
            extra.remove(twin)
    differences += [f"no {one.kind} came" for one in missing]
    differences += [f"one {one.kind} too many, to {one.to}, emailId {one.email_id}" for one in extra]
    for came in received:
        answered = [number for one, number in expected if one == came.report]
        faults = came.faults_of_form(_message_ids(filled, answered))
        differences += [f"{came.report.kind}: {fault}" for fault in faults]
    return differences


def _message_ids(filled: FilledCase, numbers: Sequence[int]) -> frozenset[str]:
    """Return the Message-IDs that a report about these mails may name; 0: about any of them."""
    mails = filled.mails if 0 in numbers else [filled.mails[number - 1] for number in numbers]
    return frozenset(mail.message_id for mail in mails if mail.message_id is not None)


def _sms_differences(expected: Sequence[ExpectedSms], observed: Sequence[CarrierSms]) -> list[str]:
    wanted = [
        CarrierSms(number=number, text=one.text, originator=one.originator)
        for one in expected
        for number in one.numbers
    ]
    got = [sms.plain for sms in observed]
    missing, extra = subtract(wanted, got), subtract(got, wanted)
    differences = []
    for sms in list(missing):
        twin = next((other for other in extra if other.number == sms.number), None)
        if twin is not None:
            differences.append(_describe_sms_difference(sms, twin))
            missing.remove(sms)
            extra.remove(twin)
    differences += [f"no SMS to {sms.number}" for sms in missing[:_MOST_SHOWN]]
    differences += [f"one SMS too many, to {sms.number}: {_shorten(sms.text)}" for sms in extra[:_MOST_SHOWN]]
    alphabets = {number: one.ucs2 for one in expected for number in one.numbers if one.ucs2 is not None}
    return differences + [
        f"the SMS to {sms.number} went {'without' if alphabets[sms.number] else 'with'} ucs2"
        for sms in observed
        if alphabets.get(sms.number, sms.ucs2) != sms.ucs2
    ]


def _describe_sms_difference(expected: CarrierSms, observed: CarrierSms) -> str:
    if expected.text == observed.text:
        return f"the SMS to {expected.number} comes from {observed.originator}, not from {expected.originator}"
    at = next(
        (index for index, pair in enumerate(zip(expected.text, observed.text, strict=False)) if pair[0] != pair[1]),
        min(len(expected.text), len(observed.text)),
    )
    return (
        f"the SMS to {expected.number}, from character {at + 1}: "
        f"{_shorten(observed.text[at:])}, not {_shorten(expected.text[at:])}"
    )


def _shorten(text: str) -> str:
    return repr(text if len(text) <= _TEXT_SHOWN else f"{text[:_TEXT_SHOWN]}…")
