"""Stories for whoever may not see numbers and texts: both are masked, in the data and in the sentences.

Somebody may have written to a number as if it were a mailbox: of such a recipient the number is masked.
"""

import re
from collections.abc import Mapping
from dataclasses import replace

from gateway.stories.model import Data, QueueRow, Step, Story
from gateway.text.msisdn import mask

NUMBERS = frozenset({"tel", "msisdn"})
RECIPIENT = "recipient"
_TEXTS = frozenset({"text", "raw", "forced_by"})
HIDDEN = "(masked)"
_SHORTEST_NUMBER = 6
_ANSWER = re.compile(r"; (?:its|the carrier's) answer: .*", re.DOTALL)


def mask_story(story: Story) -> Story:
    """Return the story without a whole number, the text of an SMS or a carrier's answer, which may repeat both."""
    secrets: dict[str, str] = {}
    for step in story.steps:
        secrets |= _secrets_of(step.data)
    # The longest first, for one may be part of another
    ordered = dict(sorted(secrets.items(), key=lambda one: -len(one[0])))
    steps = tuple(_mask_step(step, ordered) for step in story.steps)
    return replace(story, reason=_hide(_without_answer(story.reason), ordered), steps=steps)


def mask_row(row: QueueRow) -> QueueRow:
    """Return the row without a whole number or the text."""
    return replace(
        row,
        tel=mask(row.tel),
        msisdn=None if row.msisdn is None else mask(row.msisdn),
        text=None if row.text is None else HIDDEN,
    )


def mask_recipient(address: str) -> str:
    """Return the address; of one like 0612345678@gw.example.org, with the number masked."""
    local, at, domain = address.partition("@")
    digits = "".join(one for one in local if one.isdigit())
    is_number = len(digits) >= _SHORTEST_NUMBER and not any(one.isalpha() for one in local)
    return f"{mask(local)}{at}{domain}" if is_number else address


def _mask_step(step: Step, secrets: Mapping[str, str]) -> Step:
    data = {name: _mask_value(name, value, secrets) for name, value in step.data.items()}
    return replace(step, sentence=_hide(_without_answer(step.sentence), secrets), data=data)


def _without_answer(sentence: str) -> str:
    """Of a sentence that ends with what a carrier said, be it about another SMS, return what stands before."""
    return _ANSWER.sub("", sentence)


def _mask_value(name: str, value: object, secrets: Mapping[str, str]) -> object:
    if isinstance(value, Mapping):
        return {inner: _mask_value(inner, one, secrets) for inner, one in value.items()}
    if not isinstance(value, str):
        return value
    if name in NUMBERS:
        return mask(value)
    return HIDDEN if name in _TEXTS and value else _hide(_without_answer(value), secrets)


def _secrets_of(data: Data) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in data.items():
        if isinstance(value, Mapping):
            found |= _secrets_of(value)
        elif isinstance(value, str) and len(value) > 1:
            if name in NUMBERS:
                found[value] = mask(value)
            elif name == RECIPIENT and mask_recipient(value) != value:
                found[value] = mask_recipient(value)
            elif name in _TEXTS:
                found[value] = HIDDEN
    return found


def _hide(sentence: str, secrets: Mapping[str, str]) -> str:
    for secret, shown in secrets.items():
        sentence = sentence.replace(secret, shown)
    return sentence
