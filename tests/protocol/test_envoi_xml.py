"""docs/protocol.md §2.5 to §2.10: from text to elements."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.protocol.envoi_xml import KNOWN, Elements, read_elements
from gateway.protocol.reading import Mode, Unreadable
from tests.protocol.mails import ENVOI, LIMITS

BOTH = pytest.mark.parametrize("mode", list(Mode))


def read(text: str, mode: Mode = Mode.LENIENT) -> Elements:
    return read_elements(text, mode=mode, limits=LIMITS)


def names_of(elements: Elements) -> list[str]:
    return [str(note) for note in elements.notes]


def sms_of(text: str, mode: Mode = Mode.LENIENT) -> str:
    return read(f"<envoi><sms>{text}</sms></envoi>", mode).values["sms"]


@BOTH
@pytest.mark.parametrize("name", KNOWN)
def test_known_elements_are_read(name: str, mode: Mode) -> None:
    elements = read(f"<envoi>\n<{name}>a b</{name}>\n</envoi>", mode)

    assert (elements.values, elements.numbers, elements.texts, elements.notes) == ({name: "a b"}, {}, {}, ())


@BOTH
def test_numbered_elements_are_read_up_to_any_number(mode: Mode) -> None:
    elements = read(
        "<envoi><num1>a</num1><num501>b</num501><num9999999999>c</num9999999999><sms2>d</sms2></envoi>", mode
    )

    assert elements.numbers == {1: "a", 501: "b", 999_999: "c"}
    assert elements.texts == {2: "d"}


@BOTH
@pytest.mark.parametrize("empty", ["<emetteur></emetteur>", "<emetteur/>", "<emetteur> \n </emetteur>"])
def test_empty_element_is_there_and_empty(empty: str, mode: Mode) -> None:
    elements = read(f"<envoi>{empty}<num1></num1><sms1/></envoi>", mode)

    assert (elements.values, elements.numbers, elements.texts) == ({"emetteur": ""}, {}, {})


# --- values ----------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("  Salut \t", "Salut"),
        ("Salut\nca va ?", "Salut ca va ?"),
        ("Salut \n  \n\t ca va ?\n", "Salut ca va ?"),
        ("Salut&#10;ca va ?", "Salut ca va ?"),
        ("Salut&#13;ca va ?", "Salut ca va ?"),
        ("deux  blancs", "deux  blancs"),
        ("ligneÖligne", "ligneÖligne"),
        ("Tom &amp; Jerry &lt;3 &gt; &quot;&apos; &#8364;&#x20AC;", "Tom & Jerry <3 > \"' €€"),
        ("&amp;amp;", "&amp;"),
        ("a > b", "a > b"),
        ("<![CDATA[Tom & <b>Jerry</b>]]> fin", "Tom & <b>Jerry</b> fin"),
        ("<![CDATA[</sms><num>1</num>]]>", "</sms><num>1</num>"),
        ("\x81\xa0é\u2028😀", "\x81\xa0é\u2028😀"),
    ],
)
def test_value_is_one_line_of_the_text_that_was_written(raw: str, expected: str, mode: Mode) -> None:
    assert sms_of(raw, mode) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("Tom & Jerry < 3", "Tom & Jerry < 3"),
        ("1<2 && 3>2", "1<2 && 3>2"),
        ("R&D", "R&D"),
        ("a &amp; b & c &#233; &eacute; &#x; &;", "a & b & c é &eacute; &#x; &;"),
        ("<3 je t'aime <3", "<3 je t'aime <3"),
        ("<b>gras</b>", "<b>gras</b>"),
        ("x ]]> y", "x ]]> y"),
        ("<http://www.masociete.com/?a=1&b=2>", "<http://www.masociete.com/?a=1&b=2>"),
        ("</p> <br/> <", "</p> <br/> <"),
        ("prix < 50€ & <num> ?".replace("<num>", "< num >"), "prix < 50€ & < num > ?"),
        ("\ufb01 & \x85", "\ufb01 & \x85".strip()),
    ],
)
def test_stray_signs_are_taken_as_they_are(raw: str, expected: str) -> None:
    elements = read(f"<envoi><sms>{raw}</sms><num>0601020304</num></envoi>")

    assert elements.values == {"sms": expected, "num": "0601020304"}
    assert names_of(elements) == ["stray_signs"]
    with pytest.raises(Unreadable):
        sms_of(raw, Mode.STRICT)


def test_empty_and_unknown_elements_are_read_beside_stray_signs() -> None:
    elements = read("<envoi><sms1/><foo>x</foo><sms>R&D</sms></envoi>")

    assert elements.values == {"sms": "R&D"}
    assert "text_between" in names_of(elements)


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"), max_size=80))
def test_any_text_arrives_as_it_was_written(text: str) -> None:
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

    for mode in Mode:
        assert sms_of(escaped, mode) == text.strip()


@pytest.mark.slow
@given(st.lists(st.sampled_from(["&", "<", ">", "a", " ", "é", "3", "]]", "&&", "<b", "/"]), max_size=12).map("".join))
def test_text_of_stray_signs_arrives_as_it_was_written(text: str) -> None:
    assert sms_of(text) == text.strip()


# --- what stands around and between ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "note"),
    [
        (f"Bonjour,\n{ENVOI}", "text_around"),
        (
            f"{ENVOI}\n--\nJean <http://x>\n<a href='x'>&nbsp;<!-- disclaimer -->",
            "text_around",
        ),
        (f'Bonjour\n<?xml version="1.0"?>\n{ENVOI}', "text_around"),
        (ENVOI.replace("<num>", "et <num>"), "text_between"),
        (ENVOI.replace("envoi", "ENVOI"), "names_in_other_case"),
        (ENVOI.replace("sms", "SMS").replace("emailId", "emailid"), "names_in_other_case"),
        (ENVOI.replace("<sms>", "<SMS>"), "stray_signs"),
        (ENVOI.replace("<num>", "<foo><bar/></foo><num>"), "unknown_elements (foo)"),
        (ENVOI.replace("<num>", "<é/><num>"), "unknown_elements (of unusual names)"),
        (
            ENVOI.replace("<num>", "".join(f"<{letter}/>" for letter in "abcdefga") + "<num>"),
            "unknown_elements (a, b, c, d, e)",
        ),
    ],
)
def test_what_lenient_mode_tolerates_and_notes_strict_mode_refuses(text: str, note: str) -> None:
    elements = read(text)

    assert elements.values == {"keyid": "k", "num": "0601020304", "sms": "Salut", "emailId": "1"}
    assert names_of(elements) == [note]
    with pytest.raises(Unreadable):
        read(text, Mode.STRICT)


@BOTH
@pytest.mark.parametrize(
    "text",
    [
        f'<?xml version="1.0" encoding="ISO-8859-1"?>\n{ENVOI}',
        f'  \n<?xml version="1.0" encoding="utf-16"?>{ENVOI}\n',  # the mail's own character set wins
        ENVOI.replace("<envoi>", "<envoi >").replace("</sms>", "</sms\n>"),
    ],
)
def test_declaration_and_blanks_in_tags_are_fine(text: str, mode: Mode) -> None:
    assert read(text, mode).notes == ()


# --- refused ---------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "there is no <envoi> in the text"),
        ("<envoi/>", "there is no <envoi> in the text"),
        ("</envoi><envoi>", "<envoi> is not closed (line 1, column 9)"),
        ("x\n<envoi>", "<envoi> is not closed (line 2, column 1)"),
        (ENVOI + ENVOI, "there is more than one <envoi>"),
        (ENVOI.replace("Salut", "</envoi>"), "there is more than one <envoi>"),
        ("<envoi><num>1</num><num>2</num></envoi>", "<num> is repeated"),
        ("<envoi><keyid>1</keyid><keyid>1</keyid></envoi>", "<keyid> is repeated"),
        ("<envoi><num1>1</num1><num1></num1></envoi>", "<num1> is repeated"),
        ("<envoi><num01>1</num01></envoi>", "<num01>: the number of an element begins with 1"),
        ("<envoi><sms0>1</sms0></envoi>", "<sms0>: the number of an element begins with 1"),
        (f"<!DOCTYPE x>{ENVOI}", "DOCTYPE"),
        (f'<!DOCTYPE x [<!ENTITY a "b">]>{ENVOI}', "DOCTYPE"),
        ("<envoi><!ENTITY a></envoi>", "DOCTYPE"),
        ("<envoi><!-- x --></envoi>", "comment"),
        ("<envoi><?php x ?></envoi>", "processing instruction"),
        ("<envoi><sms><?xml version='1.0'?></sms></envoi>", "processing instruction"),
        (f"<?xml version='1.0'?><?xml version='1.0'?>{ENVOI}", "processing instruction"),
        (f"<?xml-stylesheet href='x'?>{ENVOI}", "processing instruction"),
        ("<envoi a='1'></envoi>", "an element has an attribute"),
        ('<envoi><sms a = "1">x</sms></envoi>', "an element has an attribute (line 1, column 8)"),
        ("<envoi><foo><sms\nxml:lang='fr'/></foo></envoi>", "an element has an attribute"),
        ("<envoi><sms><![CDATA[x</sms></envoi>", "a CDATA section is not closed"),
        ("<envoi>" + "<a/>" * 2_001 + "</envoi>", "too many elements"),
        (f"<envoi><sms>{'x' * 10_001}</sms></envoi>", "the value of <sms> is too long"),
        (f"<envoi><sms7>{'x' * 10_001}</sms7></envoi>", "the value of <sms7> is too long"),
        (f"<envoi><num>{'1' * 501}</num></envoi>", "the value of <num> is too long"),
        ("<envoi><é a='1'/></envoi>", "an element has an attribute"),
    ],
)
def test_what_can_mean_two_things_or_do_harm_is_refused(text: str, reason: str, mode: Mode) -> None:
    with pytest.raises(Unreadable) as caught:
        read(text, mode)

    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("<envoi>\n<sms>a\n</envoi>", "<sms> is not closed (line 3, column 1)"),
        ("x\n<envoi>\n<sms>a<num>1</num></sms></envoi>", "<num> before </sms> (line 3, column 7)"),
        ("<envoi>\n <sms>a</num></envoi>", "</num> before </sms> (line 2, column 8)"),
        ("<envoi><num1>1</num1><num2 2</num2></envoi>", "a tag that is not closed (line 1, column 22)"),
        ("<envoi></sms></envoi>", "</sms> without <sms> (line 1, column 8)"),
        ("<envoi><sms>a</sms/></envoi>", "</sms> before </sms> (line 1, column 14)"),
        ("<envoi><sms>a<num/></sms></envoi>", "<num> before </sms> (line 1, column 14)"),
        ("<envoi>\n<sms>a &#1; b</sms></envoi>", "the text is not well-formed (line 2, column"),
        ("<envoi>\n\n<sms>\x01</sms></envoi>", "XML has no character U+0001 (line 3, column 6)"),
        ("<envoi><sms>a & b\x0bc</sms></envoi>", "XML has no character U+000B (line 1, column 18)"),
        ("<envoi><sms>\ud800</sms></envoi>", "the text is not well-formed (line 1, column"),
    ],
)
def test_refusal_says_where(text: str, where: str) -> None:
    with pytest.raises(Unreadable) as caught:
        read(text)

    assert where in str(caught.value)


def test_strict_refusal_says_where() -> None:
    with pytest.raises(Unreadable, match=r"not well-formed \(line 2, column"):
        read("<envoi>\n<sms>Tom & Jerry</sms></envoi>", Mode.STRICT)
    with pytest.raises(Unreadable, match="an element within another"):
        read("<envoi><sms><b>x</b></sms></envoi>", Mode.STRICT)


def test_refusal_repeats_no_text_of_the_mail() -> None:
    with pytest.raises(Unreadable) as caught:
        read("<envoi><sms>secret & </num></envoi>")

    assert "secret" not in str(caught.value)


# --- cost ------------------------------------------------------------------------------------------------------------


def test_five_hundred_numbers_with_their_texts_on_one_line_are_read() -> None:
    pairs = "".join(f"<num{x}>06{x:08}</num{x}><sms{x}>a & b</sms{x}>" for x in range(1, 501))
    elements = read(f"<envoi>{pairs}</envoi>")

    assert (len(elements.numbers), set(elements.texts.values())) == (500, {"a & b"})


@pytest.mark.timeout(5)
@pytest.mark.parametrize(
    "text",
    [
        "<envoi><sms>" * 50_000,
        "<envoi>" + "<sms>" * 100_000,
        "<envoi><sms>" + " " * 900_000 + "</envoi>",
        "<envoi><sms" + " " * 900_000 + "</envoi>",
        "<envoi" + " " * 900_000,
        "<envoi><sms>" + "&" * 60_000 + "</sms></envoi>",
        "<envoi><sms>" + "<" * 60_000 + "</sms></envoi>",
        "<envoi><sms>" + "\n" * 900_000 + "x</sms><sms>",
        "<envoi>" + "<sms a" * 100_000 + "</envoi>",
        "<envoi>" + "<a b c d e f " * 1_900 + "=" * 500_000 + "</envoi>",
        "<![CDATA[" * 100_000,
        "<?xml " + "a" * 900_000 + "<envoi>",
        '<!DOCTYPE l [<!ENTITY a "' + "a" * 50_000 + '">]><envoi>' + "&a;" * 50_000 + "</envoi>",
        "<envoi " + " ".join(f"a{n}='1'" for n in range(40_000)) + "></envoi>",
    ],
)
def test_texts_made_to_hurt_cost_little(text: str) -> None:
    for mode in Mode:
        with pytest.raises(Unreadable):
            read(text, mode)


PIECES = st.sampled_from(
    ["<envoi>", "</envoi>", "<sms>", "</sms>", "<num1>", "</num1>", "<num/>", "&", "<", ">", "&amp;", "&#0;", "\n", "x"
     , "<![CDATA[", "]]>", "<?xml?>", "<!", "a='b'", "\x00", "\ud800", "\ufffe", "é", "<b>", "</b>", "<b c>", "/"]
)  # fmt: skip


@pytest.mark.slow
@given(st.lists(PIECES, max_size=25).map("".join), st.sampled_from(Mode))
def test_any_text_is_an_envoi_or_refused(noise: str, mode: Mode) -> None:
    for text in (noise, f"<envoi>{noise}</envoi>", f"<envoi><sms>{noise}</sms></envoi>"):
        try:
            elements = read(text, mode)
        except Unreadable:
            continue

        assert set(elements.values) <= set(KNOWN)
        assert not any("\n" in value for value in elements.values.values())
