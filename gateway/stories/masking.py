"""What of a story somebody may see who may not see numbers and texts: on a terminal, on a page, in a program's answer.

An allow-list: of a step's data only what is named here is shown, so that whatever is added to a step is hidden until
somebody has thought about it. Numbers are masked apart from that, by whoever shows them to one who may not see them.

Somebody may have written to a number as if it were a mailbox: of such a recipient the number is masked.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from enum import IntEnum, unique
from types import MappingProxyType

from gateway.stories.model import Data, QueueRow, Step, StepKind, Story
from gateway.text.msisdn import mask

HIDDEN = "(masked)"
_NUMBERS = frozenset({"tel", "msisdn"})
_RECIPIENT = "recipient"
_SHORTEST_NUMBER = 6
_ANSWER = re.compile(r"; (?:its|the carrier's) answer: .*", re.DOTALL)


@unique
class Openness(IntEnum):
    """How freely a value of a step is shown; each level includes those above it."""

    PLAIN = 1  # quotes nobody: also for programs, whoever reads what they make of it
    FACT = 2  # what machines call themselves and things, and what these cost: for whoever may look at the console
    SENTENCE = 3  # our words, perhaps around those of others: for an operator's terminal
    SECRET = 4  # all else: a text, a carrier's answer, what is not thought about yet


_NAMES: Mapping[Openness, str] = {
    Openness.PLAIN: """
        account action at attempts balance by charset check cipher code count declared_charset due_at duration_s
        email_id encoding envelope_from envoi_id first_at first_mail_id ground header_from helo is_stop kind label
        last_at listener mode msisdn needs_operator number parts passed peer position proof provider recipient
        report_id reserved route setting settings since_at size_bytes sms spent state tel tls user verdict what word
        """,
    Openness.FACT: """
        advice authenticated_account billed_parts certificate cost_micros currency facts files mail_id max_parts
        originator provider_ref refused reply sender stop_since_at stop_source tracker units
        """,
    Openness.SENTENCE: "cause detail note notes reason subject",
}
_OPENNESS = MappingProxyType({name: level for level, names in _NAMES.items() for name in names.split()})

PLAIN_STEPS = frozenset(
    {
        StepKind.CONNECTED,
        StepKind.PROVEN,
        StepKind.TAKEN,
        StepKind.DUPLICATE,
        StepKind.WITHOUT_ID,
        StepKind.CALLED,
        StepKind.NO_REPORT,
        StepKind.CREDIT,
        StepKind.PURGED,
    }
)
"""Steps whose sentence quotes nobody."""


def openness_of(name: str) -> Openness:
    """Return how freely the value of this name is shown."""
    return _OPENNESS.get(name, Openness.SECRET)


def without_answer(sentence: str) -> str:
    """Of a sentence that ends with what a carrier said, be it about another SMS, return what stands before."""
    return _ANSWER.sub("", sentence)


def mask_value(name: str, value: str) -> str:
    """Return a value that is shown without a whole number and without what a carrier said."""
    if name in _NUMBERS:
        return mask(value)
    return mask_recipient(value) if name == _RECIPIENT else without_answer(value)


def mask_recipient(address: str) -> str:
    """Return the address; of one like 0612345678@gw.example.org, with the number masked."""
    local, at, domain = address.partition("@")
    digits = "".join(one for one in local if one.isdigit())
    is_number = len(digits) >= _SHORTEST_NUMBER and not any(one.isalpha() for one in local)
    return f"{mask(local)}{at}{domain}" if is_number else address


# --- for a terminal --------------------------------------------------------------------------------------------------


def mask_story(story: Story) -> Story:
    """Return the story without a whole number or anything secret, also in its sentences, which may repeat both."""
    secrets: dict[str, str] = {}
    for step in story.steps:
        secrets |= _secrets_of(step.data)
    # The longest first, for one may be part of another
    ordered = dict(sorted(secrets.items(), key=lambda one: -len(one[0])))
    steps = tuple(_mask_step(step, ordered) for step in story.steps)
    return replace(story, reason=_hide(story.reason, ordered), steps=steps)


def mask_row(row: QueueRow) -> QueueRow:
    """Return the row without a whole number or the text."""
    return replace(
        row,
        tel=mask(row.tel),
        msisdn=None if row.msisdn is None else mask(row.msisdn),
        text=None if row.text is None else HIDDEN,
    )


def _mask_step(step: Step, secrets: Mapping[str, str]) -> Step:
    data = {name: _mask_any(name, value, secrets) for name, value in step.data.items()}
    return replace(step, sentence=_hide(step.sentence, secrets), data=data)


def _mask_any(name: str, value: object, secrets: Mapping[str, str]) -> object:
    if value in (None, "", ()):
        return value
    if openness_of(name) is Openness.SECRET:
        return HIDDEN
    match value:
        case str():
            return _hide(mask_value(name, value), secrets)
        case Mapping():
            return {inner: _mask_any(inner, one, secrets) for inner, one in value.items()}
        case Collection():
            return tuple(_mask_any(name, one, secrets) for one in value)
        case _:
            return value


def _secrets_of(data: Data) -> dict[str, str]:
    """Return what must stand in no sentence, with what stands there instead."""
    found: dict[str, str] = {}
    for name, value in data.items():
        if isinstance(value, Mapping):
            found |= _secrets_of(value)
        elif isinstance(value, str) and len(value) > 1:
            if openness_of(name) is Openness.SECRET:
                found[value] = HIDDEN
            elif name in _NUMBERS or (name == _RECIPIENT and mask_recipient(value) != value):
                found[value] = mask_value(name, value)
    return found


def _hide(sentence: str, secrets: Mapping[str, str]) -> str:
    sentence = without_answer(sentence)
    for secret, shown in secrets.items():
        sentence = sentence.replace(secret, shown)
    return sentence
