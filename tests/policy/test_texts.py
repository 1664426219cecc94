"""docs/protocol.md §6: from the text of a mail to the text of an SMS."""

import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.texts import (
    TEXT_PROFILES,
    Prepared,
    TextProfile,
    TextRules,
    Unsendable,
    described_profile,
    narrowest_profile,
    prepare_text,
)
from gateway.text.gsm import count_parts, cut_to_parts, is_gsm

MENTION = " STOP SMS au 36180"
ADDED_HERE = TextProfile(max_parts=3, stop_units=len(MENTION), stop_mention=MENTION)


def rules(
    *,
    max_parts: int = 1,
    may_cut: bool = False,
    wants_ucs2: bool = False,
    carries_stop: bool = False,
    profile: TextProfile = TEXT_PROFILES["isendpro"],
) -> TextRules:
    return TextRules(
        profile=profile, max_parts=max_parts, may_cut=may_cut, wants_ucs2=wants_ucs2, carries_stop=carries_stop
    )


def prepared(text: str, **changes: object) -> Prepared:
    outcome = prepare_text(text, rules(**changes))  # type: ignore[arg-type]
    assert isinstance(outcome, Prepared)
    return outcome


def test_plain_text_goes_as_it_is() -> None:
    assert prepared("Salut ca va ?") == Prepared(text="Salut ca va ?", parts=1, ucs2=False, notes=())


@pytest.mark.parametrize("submitted", ["BonjourÖMonsieurÖ", "BonjourO\u0308MonsieurÖ"])
def test_o_with_dots_is_a_line_break_however_written(submitted: str) -> None:
    outcome = prepared(submitted)

    assert outcome.text == "Bonjour\nMonsieur\n"
    assert outcome.notes == ("line breaks made of Ö: 2",)


@pytest.mark.parametrize("submitted", [None, "", "  ", "Ö", "\u00a0Ö ", "\u200b"])
def test_nothing_to_say_is_no_text(submitted: str | None) -> None:
    assert prepare_text(submitted, rules()) == Unsendable(reason="no text")


def test_characters_outside_gsm_are_replaced_and_noted() -> None:
    outcome = prepared("L’été… à Noël œuf")

    assert outcome.text == "L'été... à Noel oeuf"
    assert outcome.notes == ("transliterated: ’→' …→... ë→e œ→oe",)
    assert outcome.ucs2 is False


def test_characters_without_counterpart_become_question_marks_and_are_noted() -> None:
    outcome = prepared("Alerte 漢")

    assert outcome.text == "Alerte ?"
    assert outcome.notes == ("sent as ?, without counterpart in the GSM alphabet: 漢",)


def test_list_of_changes_is_bounded_and_printable() -> None:
    (note,) = prepared("a" + "".join(map(chr, range(0x0E01, 0x0E15)))).notes
    (control,) = prepared("a\x1b").notes

    assert note.endswith(" and 8 more")
    assert "\\x1b" in control


def test_ucs2_is_used_when_wanted_and_needed() -> None:
    assert prepared("Alerte 漢", wants_ucs2=True) == Prepared(text="Alerte 漢", parts=1, ucs2=True, notes=())
    assert prepared("L'été", wants_ucs2=True).ucs2 is False


@pytest.mark.parametrize(
    ("length", "max_parts", "carries_stop", "expected"),
    [
        (160, 1, False, 1),
        (161, 2, False, 2),
        (306, 2, False, 2),
        (141, 1, True, 1),  # docs/protocol.md §6.5
        (142, 2, True, 2),
        (918, 6, False, 6),
    ],
)
def test_text_that_fits_is_counted(length: int, max_parts: int, carries_stop: bool, expected: int) -> None:
    outcome = prepared("x" * length, max_parts=max_parts, carries_stop=carries_stop)

    assert (len(outcome.text), outcome.parts, outcome.notes) == (length, expected, ())


@pytest.mark.parametrize(
    ("length", "max_parts", "carries_stop", "reason"),
    [
        (161, 1, False, "the text needs 2 parts, 1 allowed"),
        (142, 1, True, "the text needs 2 parts, 1 allowed"),
        (919, 6, False, "the text needs 7 parts, 6 allowed"),
    ],
)
def test_text_that_does_not_fit_is_refused(length: int, max_parts: int, carries_stop: bool, reason: str) -> None:
    outcome = prepare_text("x" * length, rules(max_parts=max_parts, carries_stop=carries_stop))

    assert outcome == Unsendable(reason=reason)


@pytest.mark.parametrize(
    ("max_parts", "carries_stop", "expected"), [(1, False, 160), (1, True, 141), (2, False, 306), (2, True, 287)]
)
def test_text_that_may_be_cut_is_cut_to_what_is_allowed(max_parts: int, carries_stop: bool, expected: int) -> None:
    outcome = prepared("x" * 1000, max_parts=max_parts, carries_stop=carries_stop, may_cut=True)

    assert (len(outcome.text), outcome.parts) == (expected, max_parts)
    assert outcome.notes == (f"text cut from 7 parts to {max_parts}",)


@pytest.mark.parametrize("unit", ["é", "x…", "漢", "e\u0301", "€", "e\u0323\u0301\u200b", "\u200b\u200b\u200bx"])
@pytest.mark.parametrize("max_parts", [1, 6])
def test_far_too_long_a_text_is_cut_as_if_all_of_it_had_been_looked_at(unit: str, max_parts: int) -> None:
    text = (unit * 10_000)[:10_000]
    whole = cut_to_parts(text, max_parts)

    assert prepared(text, max_parts=max_parts, may_cut=True).text == whole
    assert prepared("\u200b" * 9_000 + "x" * 161, may_cut=True).text == "x" * 160


def test_far_too_long_a_text_is_said_to_need_no_less_than_was_counted() -> None:
    outcome = prepare_text("x" * 10_000, rules())

    assert outcome == Unsendable(reason="the text needs at least 9 parts, 1 allowed")


def time_to_prepare_s(chars: int) -> float:
    """Return the processor's time for 25 texts of that many characters, no two alike and none of the alphabet."""
    texts = ["".join(chr(0x4E00 + (seed * 7919 + index * 31) % 20_000) for index in range(chars)) for seed in range(25)]
    began_at = time.process_time()
    outcomes = [prepared(text, may_cut=True).text for text in texts]
    took_s = time.process_time() - began_at

    assert outcomes == ["?" * 160] * 25
    return took_s


@pytest.mark.slow
def test_the_longest_and_most_foreign_texts_take_no_longer_than_their_beginnings() -> None:
    time_to_prepare_s(10_000)  # each character is looked up once in a process
    beginnings_s = min(time_to_prepare_s(1_300) for _ in range(3))
    whole_s = min(time_to_prepare_s(9_500) for _ in range(3))

    assert whole_s < 3 * beginnings_s  # looked at whole, they take seven times that


def test_text_cut_down_to_gsm_is_no_longer_ucs2() -> None:
    outcome = prepared("x" * 100 + "漢", wants_ucs2=True, may_cut=True)

    assert (outcome.text, outcome.ucs2, outcome.parts) == ("x" * 70, False, 1)


def test_mention_is_added_for_a_carrier_that_adds_none() -> None:
    assert prepared("Promo", carries_stop=True, profile=ADDED_HERE).text == "Promo" + MENTION
    assert prepared("Promo", carries_stop=False, profile=ADDED_HERE).text == "Promo"


def test_narrowest_profile_holds_for_all_carriers() -> None:
    both = narrowest_profile([TEXT_PROFILES["isendpro"], ADDED_HERE])

    assert both == TextProfile(max_parts=3, stop_units=19, stop_mention=MENTION)
    assert narrowest_profile([]) == TEXT_PROFILES["isendpro"]


@given(
    text=st.text(st.characters(codec="utf-8"), max_size=400),
    max_parts=st.integers(1, 3),
    wants_ucs2=st.booleans(),
    carries_stop=st.booleans(),
)
def test_what_goes_out_fits_whatever_came_in(text: str, max_parts: int, wants_ucs2: bool, carries_stop: bool) -> None:
    outcome = prepare_text(
        text,
        rules(max_parts=max_parts, may_cut=True, wants_ucs2=wants_ucs2, carries_stop=carries_stop, profile=ADDED_HERE),
    )

    if isinstance(outcome, Prepared):
        assert count_parts(outcome.text, outcome.ucs2).parts <= outcome.parts <= max_parts
        assert outcome.ucs2 is not is_gsm(outcome.text)
        assert outcome.text.endswith(MENTION) or not carries_stop


# --- what only some carriers do with texts ---------------------------------------------------------------------------

PARTNER = TEXT_PROFILES["smspartner"]


def test_what_the_carrier_replaces_is_replaced_and_noted() -> None:
    # docs/protocol.md §6.3
    outcome = prepared("[fin] Zäh\u00a0^", profile=PARTNER)

    assert outcome.text == "(fin) Zah "
    assert outcome.changes == (("\u00a0", " "), ("[", "("), ("]", ")"), ("ä", "a"), ("^", ""))
    assert "[→(" in outcome.notes[0]


def test_text_of_which_nothing_would_be_left_is_none() -> None:
    assert prepare_text("^~|", rules(profile=PARTNER)) == Unsendable(reason="no text")


def test_ucs2_is_replaced_by_nobody() -> None:
    assert prepared("漢 [ä]", profile=PARTNER, wants_ucs2=True).text == "漢 [ä]"


def test_what_only_one_carrier_of_an_account_replaces_is_left_to_it() -> None:
    both = narrowest_profile([PARTNER, TEXT_PROFILES["isendpro"]])

    assert prepared("[ä]", profile=both).text == "[ä]"
    assert (both.max_parts, both.line_break_units) == (6, 2)
    assert narrowest_profile([PARTNER, PARTNER]).replaced == PARTNER.replaced


def test_line_break_counts_as_the_carrier_counts_it() -> None:
    # docs/protocol.md §6.2
    text = "x" * 158 + "Ö"

    assert prepared(text, profile=PARTNER).parts == 1
    assert prepared("x" + text, profile=PARTNER, max_parts=2).parts == 2
    assert prepared("x" + text).parts == 1


def test_text_is_cut_with_its_line_breaks_counted() -> None:
    outcome = prepared("Ö".join("x" * 20 for _ in range(20)), profile=PARTNER, may_cut=True)

    assert len(outcome.text) + outcome.text.count("\n") <= 160
    assert outcome.parts == 1


@given(st.text(st.sampled_from("[]{}^~|\\§äöüñÄÜÑ aé€Ö"), max_size=300))
def test_replacing_never_makes_a_text_longer(text: str) -> None:
    replaced, plain = (
        prepare_text(text, rules(profile=profile, max_parts=6))
        for profile in (replace(PARTNER, line_break_units=1), TEXT_PROFILES["isendpro"])
    )

    if isinstance(replaced, Prepared) and isinstance(plain, Prepared):
        assert replaced.parts <= plain.parts


def test_described_carrier_adds_its_own_mention_or_ours() -> None:
    assert described_profile(max_parts=3, stop_mention="STOP SMS au 36180") == ADDED_HERE
    assert described_profile(max_parts=6, stop_mention="") == TEXT_PROFILES["isendpro"]
