"""docs/protocol.md §6: alphabet, sizes, parts, transliteration."""

import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.text.gsm import (
    BASIC,
    EXTENSION,
    Encoding,
    Size,
    count_parts,
    cut_to_parts,
    is_gsm,
    split_parts,
    transliterate,
)

GSM_TEXTS = st.text(st.sampled_from(sorted(BASIC | EXTENSION)), max_size=700)
ANY_TEXTS = st.text(max_size=300)


def units_of(text: str) -> int:
    """Count by another way than the code: encoded bytes in UCS-2, characters and escapes in GSM."""
    if is_gsm(text):
        return len(text) + len([character for character in text if character in "\f^{}\\[~]|€"])
    return sum(2 if ord(character) > 0xFFFF else 1 for character in text)


def limits_of(text: str) -> tuple[int, int]:
    return (160, 153) if is_gsm(text) else (70, 67)


def test_alphabet_has_its_127_characters_and_ten_of_two_septets() -> None:
    assert (len(BASIC), len(EXTENSION), BASIC & EXTENSION) == (127, 10, frozenset())


@pytest.mark.parametrize(
    ("text", "ucs2", "expected"),
    [
        ("", False, (Encoding.GSM, 0, 1)),
        ("a" * 160, False, (Encoding.GSM, 160, 1)),
        ("a" * 161, False, (Encoding.GSM, 161, 2)),
        ("a" * 306, False, (Encoding.GSM, 306, 2)),
        ("a" * 307, False, (Encoding.GSM, 307, 3)),
        ("€" * 80, False, (Encoding.GSM, 160, 1)),
        ("€" * 81, False, (Encoding.GSM, 162, 2)),
        ("€" * 153, False, (Encoding.GSM, 306, 3)),  # 76 to a part: the 153rd septet stays empty
        ("ê" * 160, False, (Encoding.GSM, 160, 1)),
        ("…" * 60, False, (Encoding.GSM, 180, 2)),  # as it goes out: three dots each
        ("a" * 160, True, (Encoding.GSM, 160, 1)),  # ucs2 asked for and not needed
        ("ê" * 70, True, (Encoding.UCS2, 70, 1)),
        ("ê" * 71, True, (Encoding.UCS2, 71, 2)),
        ("ê" * 135, True, (Encoding.UCS2, 135, 3)),
        ("😀" * 35, True, (Encoding.UCS2, 70, 1)),
        ("😀" * 36, True, (Encoding.UCS2, 72, 2)),
        ("😀" * 67, True, (Encoding.UCS2, 134, 3)),  # 33 to a part: the 67th unit stays empty
    ],
)
def test_size_is_that_of_the_standard(text: str, ucs2: bool, expected: tuple[Encoding, int, int]) -> None:
    encoding, units, parts = expected

    assert count_parts(text, ucs2) == Size(encoding=encoding, units=units, parts=parts)


@pytest.mark.parametrize(
    ("chars", "reserve", "parts"),
    [(141, 19, 1), (142, 19, 2), (287, 19, 2), (288, 19, 3), (0, 160, 1), (0, 161, 2), (153, 200, 3)],
)
def test_reserve_counts_as_text_to_come(chars: int, reserve: int, parts: int) -> None:
    assert count_parts("a" * chars, reserve_units=reserve).parts == parts


@given(GSM_TEXTS, st.integers(0, 400))
def test_reserve_counts_as_the_letters_that_fill_it(text: str, reserve: int) -> None:
    assert count_parts(text, reserve_units=reserve).parts == count_parts(text + "a" * reserve).parts


@given(st.one_of(GSM_TEXTS, ANY_TEXTS), st.booleans())
@example(text="a" * 152 + "€" + "a" * 20, ucs2=False)
@example(text="ê" * 66 + "😀" + "ê" * 10, ucs2=True)
def test_parts_joined_give_the_text_and_none_is_over_its_limit(text: str, ucs2: bool) -> None:
    outgoing = text if ucs2 else transliterate(text).text
    parts = split_parts(text, ucs2)
    single, part_limit = limits_of(outgoing)

    assert "".join(parts) == outgoing
    assert len(parts) == count_parts(text, ucs2).parts
    counted = [units_of(part) if is_gsm(outgoing) else sum(2 if ord(character) > 0xFFFF else 1 for character in part)
               for part in parts]  # fmt: skip
    assert max(counted) <= (single if len(parts) == 1 else part_limit)


def test_extension_and_surrogate_pairs_stay_whole() -> None:
    assert split_parts("a" * 152 + "€" + "b" * 20) == ("a" * 152, "€" + "b" * 20)
    assert split_parts("ê" * 66 + "😀" + "ê" * 10, ucs2=True) == ("ê" * 66, "😀" + "ê" * 10)


@given(st.one_of(GSM_TEXTS, ANY_TEXTS), st.integers(1, 4), st.booleans(), st.integers(0, 200))
def test_cut_text_fits_and_one_more_character_would_not(text: str, max_parts: int, ucs2: bool, reserve: int) -> None:
    outgoing = text if ucs2 else transliterate(text).text
    cut = cut_to_parts(text, max_parts, ucs2, reserve)
    fitting_parts = count_parts(cut, ucs2, reserve).parts

    assert outgoing.startswith(cut)
    assert not cut or fitting_parts <= max_parts
    if cut == outgoing or not is_gsm(outgoing):
        return
    assert count_parts(outgoing[: len(cut) + 1], ucs2, reserve).parts > max_parts


@pytest.mark.parametrize(
    ("text", "max_parts", "ucs2", "reserve", "expected"),
    [
        ("a" * 200, 1, False, 0, "a" * 160),
        ("a" * 200, 1, False, 19, "a" * 141),
        ("a" * 400, 2, False, 0, "a" * 306),
        ("a" * 400, 2, False, 19, "a" * 287),
        ("a" * 159 + "€" + "a", 1, False, 0, "a" * 159),
        ("ê" * 69 + "😀", 1, True, 0, "ê" * 69),
        ("ê" * 69 + "e\u0301" + "ê" * 9, 1, True, 0, "ê" * 69),  # not the letter without its accent
        ("ê" * 66 + "👩\u200d👧" + "ê", 1, True, 0, "ê" * 66),  # not half a family
        ("e" + "\u0301" * 200, 1, True, 0, "e" + "\u0301" * 69),  # one character longer than an SMS: no whole one fits
        ("a" * 200, 1, False, 160, ""),
    ],
)
def test_cut_is_on_a_whole_character(text: str, max_parts: int, ucs2: bool, reserve: int, expected: str) -> None:
    assert cut_to_parts(text, max_parts, ucs2, reserve) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Fête à Besançon", "Fete à BesanÇon"),
        ("l’œuvre", "l'oeuvre"),
        ("« Noël »", '" Noel "'),
        ("10\u00a0€ – 20\u202f€", "10 € - 20 €"),
        ("fin…", "fin..."),
        ("Île ÀÂÈÊËÎÏÔÙÛŸ", "Ile AAEEEIIOUUY"),
        ("áíóúõãşł", "aiouoasl"),
        ("e\u0301te\u0301", "été"),  # composed first: a Mac writes accents apart
        ("ñ Ñ ß Æ æ Ø ø Å å", "ñ Ñ ß Æ æ Ø ø Å å"),
        ("½ ² ™ № ﬁ Ⅷ ℃", "1/2 2 TM No fi VIII oC"),
        ("n°5 5µg", "no5 5ug"),
        ("a\tb\u2028c", "a b\nc"),
        ("αβγδ ΑΒΓΔ", "ABΓΔ ABΓΔ"),
        ("≠ ≮", "<> ?"),  # a stroke through a sign is not its accent
        ("x\u200by\u00adz\ufeff", "xyz"),
        ("❤\ufe0f ☺", "<3 :-)"),
        ("Привет 你好 😀", "?????? ?? ?"),
        ("ﷺ", "?"),
        ("\x81\x00", "??"),
        (" \u0302", "?"),
        ("\u0301a", "?a"),
    ],
)
def test_what_the_alphabet_lacks_becomes_its_nearest(text: str, expected: str) -> None:
    assert transliterate(text).text == expected


def test_changes_are_told_once_each_in_order() -> None:
    assert transliterate("ê ’ ê ☃ é").changes == (("ê", "e"), ("’", "'"), ("☃", "?"))


@given(ANY_TEXTS)
def test_transliterated_text_is_in_the_alphabet_and_stays_as_it_is(text: str) -> None:
    once = transliterate(text)

    assert is_gsm(once.text)
    assert transliterate(once.text).changes == ()
    assert (once.changes == ()) is (once.text == text)


@given(st.text(st.sampled_from("ae€\n'^ê漢😀\u0301\u0323\u200d\u200b\ufe0f"), max_size=40))
@example(text="".join(map(chr, range(0xC0, 0x180))))
def test_replacing_a_text_is_replacing_each_character_with_its_marks(text: str) -> None:
    characters: list[str] = []
    for character in text:
        is_mark = character in "\u0301\u0323\u200d\ufe0f"
        if is_mark and characters and len(characters[-1]) <= 8:
            characters[-1] += character
        else:
            characters.append(character)
    alone = [(character, transliterate(character).text) for character in characters]
    once = transliterate(text)

    assert once.text == "".join(nearest for _, nearest in alone)
    assert once.changes == tuple(dict.fromkeys(pair for pair in alone if pair[0] != pair[1]))


@given(st.one_of(GSM_TEXTS, ANY_TEXTS))
def test_units_are_those_of_each_character(text: str) -> None:
    outgoing = transliterate(text).text

    assert count_parts(text).units == units_of(outgoing)
    assert count_parts(text, ucs2=True).units == units_of(text)


@given(GSM_TEXTS)
def test_text_in_the_alphabet_is_not_touched(text: str) -> None:
    assert transliterate(text).text == text


def test_long_row_of_accents_is_bounded_work() -> None:
    assert is_gsm(transliterate("e" + "\u0301\u0323" * 20_000).text)


def test_ascii_is_in_the_alphabet_but_for_the_grave_accent() -> None:
    printable = set(string.printable) - set("\t\v`")

    assert is_gsm("".join(printable))


def test_reserve_that_leaves_no_room_leaves_nothing_of_nothing() -> None:
    assert cut_to_parts("", 1, reserve_units=161) == ""
