"""What of a story is shown to whom: whatever nobody has thought about is shown to nobody who may not see all."""

import json

import pytest

from gateway.stories import Found, FoundKind, Step, StepKind, Story
from gateway.stories.masking import HIDDEN, Openness, mask_recipient, mask_story, openness_of
from gateway.web.tokens import Right
from gateway.web.veil import to_plain, veiled
from tests.support.clock import START

TEXT, NUMBER = "Disque plein", "+33601020304"
ANSWER = '{"sms":"Disque plein"}'
WAITS = f"all of account acme waits at carrier a; the carrier's answer: {ANSWER}"


def story(**data: object) -> Story:
    """Return a story of one step that tells these, each also in its sentence."""
    said = " ".join(str(value) for value in data.values())
    found = Found(
        kind=FoundKind.MAIL,
        id="01K9ZZZZZZAAAAAAAAAA",
        at=START,
        account="acme",
        peer="192.0.2.1",
        sender="a@acme.example",
        email_id="4711",
        message_id=None,
        summary="1 SMS: 1 queued",
    )
    return Story(found=found, reason=said, steps=(Step(kind=StepKind.NEXT, at=None, sentence=said, data=data),))


def for_a_program(told: Story) -> str:
    return json.dumps(veiled(to_plain(told), {Right.MAILS}))


@pytest.mark.parametrize("name", ["text", "raw", "added_tomorrow"])
def test_what_is_not_named_is_hidden_wherever_it_stands(name: str) -> None:
    for told in (story(**{name: TEXT}), story(facts={name: TEXT}), story(parts=1, **{name: (TEXT, TEXT)})):
        masked = mask_story(told)

        assert TEXT not in str(masked.steps[0].data)
        assert TEXT not in for_a_program(told)
    assert TEXT not in str(mask_story(story(**{name: TEXT})))
    assert openness_of(name) is Openness.SECRET


def test_sentences_and_lists_do_not_repeat_what_is_hidden() -> None:
    told = story(text=TEXT, msisdn=NUMBER, notes=(f"cut: {TEXT}", "kept"), reason=f"{NUMBER} is barred", cost_micros=5)
    (step,) = mask_story(told).steps

    assert step.data == {
        "text": HIDDEN,
        "msisdn": "+33*****304",
        "notes": (f"cut: {HIDDEN}", "kept"),
        "reason": "+33*****304 is barred",
        "cost_micros": 5,
    }
    assert TEXT not in step.sentence
    assert NUMBER not in step.sentence


def test_what_is_waited_for_is_told_without_what_the_carrier_said() -> None:
    told = story(what=WAITS)
    (step,) = mask_story(told).steps
    (veiled_step,) = json.loads(for_a_program(told))["steps"]

    assert step.data["what"] == veiled_step["data"]["what"] == "all of account acme waits at carrier a"
    assert TEXT not in str(step) + str(veiled_step)


def test_what_is_nothing_stays_nothing() -> None:
    assert mask_story(story(raw=None, forced_by="", notes=())).steps[0].data == {
        "raw": None,
        "forced_by": "",
        "notes": (),
    }


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("0612345678@gw.example", "*****678@gw.example"),
        ("a0612345678@gw.example", "a0612345678@gw.example"),
        ("12345@gw.example", "12345@gw.example"),
    ],
)
def test_a_number_that_was_written_to_is_masked(address: str, expected: str) -> None:
    assert mask_recipient(address).endswith(expected)
