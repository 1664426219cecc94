"""Stories for whoever may not see numbers and texts: both are masked, in the data and in the sentences."""

import re
from collections.abc import Mapping
from dataclasses import replace

from gateway.stories.model import Data, QueueRow, Step, Story
from gateway.text.msisdn import mask

_NUMBERS = frozenset({"tel", "msisdn"})
_TEXTS = frozenset({"text", "raw", "forced_by"})
HIDDEN = "(masked)"
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


def _mask_step(step: Step, secrets: Mapping[str, str]) -> Step:
    data = {name: _mask_value(name, value, secrets) for name, value in step.data.items()}
    return replace(step, sentence=_hide(_without_answer(step.sentence), secrets), data=data)


def _without_answer(sentence: str) -> str:
    """Of a sentence that ends with what a carrier said, be it about another SMS, return what stands before."""
    return _ANSWER.sub("", sentence)


def _mask_value(name: str, value: object, secrets: Mapping[str, str]) -> object:
    if not isinstance(value, str):
        return value
    if name in _NUMBERS:
        return mask(value)
    return HIDDEN if name in _TEXTS and value else _hide(_without_answer(value), secrets)


def _secrets_of(data: Data) -> dict[str, str]:
    found = {}
    for name, value in data.items():
        if isinstance(value, str) and len(value) > 1:
            if name in _NUMBERS:
                found[value] = mask(value)
            elif name in _TEXTS:
                found[value] = HIDDEN
    return found


def _hide(sentence: str, secrets: Mapping[str, str]) -> str:
    for secret, shown in secrets.items():
        sentence = sentence.replace(secret, shown)
    return sentence
