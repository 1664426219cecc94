"""docs/protocol.md §3 and §4: who is to get what."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.protocol.codes import Code
from gateway.protocol.envoi import Envoi, Mode, Recipient, Unreadable, read_envoi
from gateway.protocol.envoi_csv import fill_template
from gateway.protocol.mime import Body
from gateway.protocol.tolerances import Tolerance, Tolerated
from tests.protocol.mails import ENVOI, LIMITS, envoi_of

BOTH = pytest.mark.parametrize("mode", list(Mode))
HEAD = "<envoi><keyid>k</keyid><emailId>1</emailId>"


def wrap(elements: str) -> str:
    return f"{HEAD}{elements}</envoi>"


def names_of(envoi: Envoi) -> list[str]:
    return [str(note) for note in envoi.notes]


def pairs_of(envoi: Envoi) -> list[tuple[int, str, str | None]]:
    return [(recipient.position, recipient.tel, recipient.text) for recipient in envoi.recipients]


# --- elements --------------------------------------------------------------------------------------------------------


@BOTH
def test_every_element_is_there(mode: Mode) -> None:
    elements = {
        "num": "0601020304", "sms": "Salut", "emetteur": "MaSociete", "tracker": "t" * 60, "smslong": "2",
        "nostop": "1", "ucs2": "1", "date_envoi": "2026-03-04 10:30", "emailAck": "a@b.fr", "emailNot": "n@b.fr",
    }  # fmt: skip
    envoi = envoi_of(wrap("".join(f"<{name}>{value}</{name}>" for name, value in elements.items())), mode)

    assert envoi == Envoi(
        keyid="k",
        email_id="1",
        email_ack="a@b.fr",
        email_not="n@b.fr",
        emetteur="MaSociete",
        tracker="t" * 60,
        smslong="2",
        nostop=True,
        ucs2=True,
        date_envoi="2026-03-04 10:30",
        recipients=(Recipient(position=1, tel="0601020304", text="Salut"),),
        fault=None,
        notes=(),
    )


@BOTH
@pytest.mark.parametrize("content", ["", "<tracker/><emailId/><smslong> </smslong><emailAck/><emailNot/><date_envoi/>"])
def test_empty_elements_are_absent(content: str, mode: Mode) -> None:
    envoi = envoi_of(f"<envoi>{content}<nostop/></envoi>", mode)
    texts = (envoi.email_id, envoi.tracker, envoi.smslong, envoi.email_ack, envoi.email_not, envoi.date_envoi)

    assert texts == (None,) * 6
    assert (envoi.nostop, envoi.ucs2, envoi.keyid, envoi.emetteur) == (False, False, None, None)


@BOTH
def test_empty_originator_and_key_are_not_absent(mode: Mode) -> None:
    envoi = envoi_of("<envoi><keyid/><emetteur></emetteur></envoi>", mode)

    assert (envoi.keyid, envoi.emetteur) == ("", "")


@pytest.mark.parametrize(
    ("value", "flag", "notes"), [("1", True, 0), ("0", False, 0), ("oui", False, 1), ("01", False, 1)]
)
def test_flags_are_one_or_nothing(value: str, flag: bool, notes: int) -> None:
    envoi = envoi_of(ENVOI.replace("<num>", f"<nostop>{value}</nostop><num>"))

    assert (envoi.nostop, len(envoi.notes)) == (flag, notes)


# --- numbers in the body ---------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ("<num>06</num><sms>a</sms>", [(1, "06", "a")]),
        ("<num>06</num>", [(1, "06", None)]),
        ("<num1>06</num1><num2>07</num2><sms>a</sms>", [(1, "06", "a"), (2, "07", "a")]),
        ("<num1>06</num1><num2>07</num2><sms1>a</sms1><sms2>b</sms2>", [(1, "06", "a"), (2, "07", "b")]),
        ("<sms2>b</sms2><sms>a</sms><num2>07</num2><num1>06</num1>", [(1, "06", "a"), (2, "07", "b")]),
        ("<num10>06</num10><num2>07</num2><sms2>b</sms2>", [(2, "07", "b"), (10, "06", None)]),
        ("<num1>06</num1><num2>06</num2><sms>a</sms>", [(1, "06", "a"), (2, "06", "a")]),  # §5.5
        ("<num1></num1><num2>07</num2><sms1>x</sms1><sms2/><sms>a</sms>", [(2, "07", "a")]),
        ("<num500>06</num500><sms>a</sms>", [(500, "06", "a")]),
        ("<num>06 01</num><num1/><sms>a</sms>", [(1, "06 01", "a")]),
    ],
)
def test_each_number_gets_its_text(elements: str, expected: list[tuple[int, str, str | None]], mode: Mode) -> None:
    envoi = envoi_of(wrap(elements), mode)

    assert (pairs_of(envoi), envoi.fault) == (expected, None)


@BOTH
def test_text_without_its_number_is_noted(mode: Mode) -> None:
    envoi = envoi_of(wrap("<num1>06</num1><sms1>a</sms1><sms501>b</sms501>"), mode)

    assert pairs_of(envoi) == [(1, "06", "a")]
    assert names_of(envoi) == ["texts_without_number"]


@BOTH
@pytest.mark.parametrize(
    ("elements", "code"),
    [
        ("", Code.C6_NUMBER_MISSING),
        ("<sms>a</sms>", Code.C6_NUMBER_MISSING),
        ("<num></num><num1/><sms>a</sms>", Code.C6_NUMBER_MISSING),
        ("<num501>06</num501><sms>a</sms>", Code.C23_TOO_MANY_NUMBERS),
        ("<num1>06</num1><num99999999>07</num99999999><sms>a</sms>", Code.C23_TOO_MANY_NUMBERS),
    ],
)
def test_fault_of_all_stands_in_place_of_recipients(elements: str, code: Code, mode: Mode) -> None:
    envoi = envoi_of(wrap(elements), mode)

    assert (envoi.fault, envoi.recipients, envoi.notes) == (code, (), ())
    assert envoi.fault_reason


@BOTH
def test_num_and_numx_exclude_one_another(mode: Mode) -> None:
    with pytest.raises(Unreadable, match="exclude one another"):
        envoi_of(wrap("<num>06</num><num1>07</num1><sms>a</sms>"), mode)


# --- files -----------------------------------------------------------------------------------------------------------


@BOTH
def test_files_give_numbers_and_text(mode: Mode) -> None:
    envoi = envoi_of(
        wrap(""),
        mode,
        mobiles="0601020304;;Michel;;Martin;;10/10/2015\n0601020305;;Sarah;;Dupont;;02/08/2015\n",
        message="Bonjour [1] [2], votre nouvelle carte sera disponible le [3]\n",
    )

    assert pairs_of(envoi) == [
        (1, "0601020304", "Bonjour Michel Martin, votre nouvelle carte sera disponible le 10/10/2015"),
        (2, "0601020305", "Bonjour Sarah Dupont, votre nouvelle carte sera disponible le 02/08/2015"),
    ]
    assert envoi.notes == ()


@BOTH
@pytest.mark.parametrize(
    ("mobiles", "expected"),
    [
        ("0601020304", [(1, "0601020304", "a [x] .")]),
        ("\n 0601020304 \n\n0601020305\n", [(2, "0601020304", "a [x] ."), (4, "0601020305", "a [x] .")]),
        ("06;;b", [(1, "06", "ab [x] .")]),
        ("06;;;;c", [(1, "06", "a [x] c.")]),
        ("06;;[2];;c", [(1, "06", "a[2] [x] c.")]),  # one pass
        ("06;;b;;c;;d", [(1, "06", "ab [x] c.")]),
        ("06;; b ;;;c", [(1, "06", "a b  [x] ;c.")]),
        (";;b", [(1, "", "ab [x] .")]),
    ],
)
def test_lines_fill_the_text(mobiles: str, expected: list[tuple[int, str, str]], mode: Mode) -> None:
    envoi = envoi_of(wrap(""), mode, mobiles=mobiles, message="a[1] [x] [2].")

    assert pairs_of(envoi) == expected


def test_missing_value_is_empty_and_noted() -> None:
    envoi = envoi_of(wrap(""), mobiles="06;;b\n07;;c;;d", message="[1][2]")

    assert [recipient.text for recipient in envoi.recipients] == ["b", "cd"]
    assert names_of(envoi) == ["value_missing"]


@pytest.mark.parametrize("bracket", ["[0]", "[01]", "[21]", "[2026]", "[a]", "[ 1]", "[]", "[", "[-1]", "[²]"])
def test_other_brackets_stay(bracket: str) -> None:
    envoi = envoi_of(wrap(""), mobiles="06;;b", message=f"{bracket}[1]")

    assert [recipient.text for recipient in envoi.recipients] == [f"{bracket}b"]


def test_single_semicolons_are_read_in_lenient_mode_only() -> None:
    mobiles = "0601020304;Michel;Martin\n0601020305;;a;b"
    lenient = envoi_of(wrap(""), mobiles=mobiles, message="[1][2]")
    strict = envoi_of(wrap(""), Mode.STRICT, mobiles=mobiles, message="[1]")

    assert pairs_of(lenient) == [(1, "0601020304", "MichelMartin"), (2, "0601020305", "a;b")]
    assert "single_semicolons" in names_of(lenient)
    assert [recipient.tel for recipient in strict.recipients] == ["0601020304;Michel;Martin", "0601020305"]  # code 7


@pytest.mark.parametrize(
    ("elements", "files", "expected"),
    [
        ("<sms>Salut [1]</sms>", {"mobiles": "06;;b"}, [(1, "06", "Salut b")]),
        ("<num1>06</num1><num3>07</num3>", {"message": "Salut[1]"}, [(1, "06", "Salut"), (3, "07", "Salut")]),
        ("<num>06</num>", {"message": "Salut"}, [(1, "06", "Salut")]),
        ("", {"mobiles": "06", "message": "\n\nSalut"}, [(1, "06", "Salut")]),
    ],
)
def test_half_of_the_files_is_accepted_in_lenient_mode_only(
    elements: str, files: dict[str, str], expected: list[tuple[int, str, str | None]]
) -> None:
    lenient = envoi_of(wrap(elements), Mode.LENIENT, mobiles=files.get("mobiles"), message=files.get("message"))
    strict = envoi_of(wrap(elements), Mode.STRICT, mobiles=files.get("mobiles"), message=files.get("message"))

    assert (pairs_of(lenient), lenient.fault) == (expected, None)
    assert lenient.notes
    assert (strict.recipients, strict.fault) == ((), Code.C102_FILE_INVALID)


@BOTH
def test_further_lines_of_the_message_are_noted(mode: Mode) -> None:
    envoi = envoi_of(wrap(""), mode, mobiles="06", message="Salut\n\nencore")

    assert pairs_of(envoi) == [(1, "06", "Salut")]
    assert names_of(envoi) == ["message_goes_on"]


def test_numbered_texts_beside_mobiles_are_noted() -> None:
    envoi = envoi_of(wrap("<sms>a</sms><sms1>b</sms1>"), mobiles="06")

    assert pairs_of(envoi) == [(1, "06", "a")]
    assert "texts_without_number" in names_of(envoi)


@BOTH
@pytest.mark.parametrize(
    ("elements", "files"),
    [
        ("<num>06</num>", {"mobiles": "06", "message": "a"}),
        ("<num1>06</num1>", {"mobiles": "06", "message": "a"}),
        ("<sms>a</sms>", {"mobiles": "06", "message": "a"}),
        ("<sms1>a</sms1>", {"mobiles": "06", "message": "a"}),
        ("<sms1>a</sms1>", {"mobiles": "06"}),
        ("<num>06</num><sms>a</sms>", {"message": "a"}),
        ("<num1>06</num1><sms1>a</sms1>", {"message": "a"}),
        ("", {"mobiles": "06"}),
        ("", {"message": "a"}),
        ("", {"mobiles": "", "message": "a"}),
        ("", {"mobiles": " \n\t\n", "message": "a"}),
        ("", {"mobiles": "06", "message": ""}),
        ("", {"mobiles": "06", "message": " \n "}),
        ("", {"mobiles": "06;;" + "x" * 4_096, "message": "a"}),
        ("", {"mobiles": "06;;" + "x" * 501, "message": "a"}),
        ("", {"mobiles": "0" * 501, "message": "a"}),
        ("", {"mobiles": "06" + ";;x" * 21, "message": "a"}),
        ("", {"mobiles": "06", "message": "x" * 4_097}),
        ("", {"mobiles": "06;;" + "x" * 500, "message": "[1]" * 21}),
    ],
)
def test_files_that_cannot_be_used_are_code_102(elements: str, files: dict[str, str], mode: Mode) -> None:
    envoi = envoi_of(wrap(elements), mode, mobiles=files.get("mobiles"), message=files.get("message"))

    assert (envoi.fault, envoi.recipients) == (Code.C102_FILE_INVALID, ())


@BOTH
def test_largest_line_and_values_are_taken(mode: Mode) -> None:
    envoi = envoi_of(wrap(""), mode, mobiles="06" + ";;" + ";;".join(["x" * 150] * 20), message="[20]")

    assert pairs_of(envoi) == [(1, "06", "x" * 150)]


@BOTH
def test_more_lines_than_any_account_may_have_are_code_23(mode: Mode) -> None:
    limits = replace(LIMITS, csv_lines=3)

    assert len(envoi_of(wrap(""), mode, mobiles="06\n" * 3, message="a", limits=limits).recipients) == 3
    assert envoi_of(wrap(""), mode, mobiles="06\n" * 4, message="a", limits=limits).fault is Code.C23_TOO_MANY_NUMBERS


@pytest.mark.slow
@pytest.mark.timeout(5)
def test_placeholder_bomb_is_defused_before_it_is_built() -> None:
    mobiles = "\n".join(["06;;" + "x" * 500] * 10_000)

    assert envoi_of(wrap(""), mobiles=mobiles, message="[1]" * 1_300).fault is Code.C102_FILE_INVALID
    assert envoi_of(wrap(""), mobiles=mobiles, message="[1]" * 20).fault is Code.C102_FILE_INVALID  # in sum


@pytest.mark.slow
@given(
    st.lists(st.one_of(st.just("[1]"), st.just("[2]"), st.text("ab[]12", max_size=3)), max_size=8).map("".join),
    st.lists(st.text("xy[]12", max_size=4), max_size=3),
)
def test_filling_replaces_each_placeholder_once(template: str, row: list[str]) -> None:
    [filled] = fill_template(template, [row], limits=LIMITS, notes=[])
    expected = template
    for index in (1, 2):  # by another way than the code: through characters that no value has
        expected = expected.replace(f"[{index}]", chr(index))
    for index in (1, 2):
        expected = expected.replace(chr(index), row[index - 1] if index <= len(row) else "")

    if not any(f"[{number}]" in template for number in (11, 12)):
        assert filled == expected


@pytest.mark.slow
@given(st.text(max_size=80), st.text(max_size=80), st.sampled_from(Mode))
def test_any_files_are_read_or_faulty(mobiles: str, message: str, mode: Mode) -> None:
    envoi = envoi_of(wrap(""), mode, mobiles=mobiles, message=message)

    assert (envoi.fault is None) is bool(envoi.recipients)


def test_notes_of_the_body_are_not_told_twice() -> None:
    body = Body(text=ENVOI.replace("<num>", "<x/><num>"), notes=(Tolerated(tolerance=Tolerance.VARIANTS),))

    assert names_of(read_envoi(body, mode=Mode.LENIENT, limits=LIMITS)) == ["unknown_elements (x)"]


def test_notes_hold_neither_numbers_nor_texts() -> None:
    text = wrap("<num1>0601020304</num1><sms1>secret & co</sms1><sms2>secret</sms2><x0601020304/>") + "secret"
    notes = " ".join(names_of(envoi_of(text)))

    assert "secret" not in notes
    assert "0601020304" not in notes
