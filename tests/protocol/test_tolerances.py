"""docs/protocol.md §2.11: what is tolerated is a closed list, and each of it is met in some mail."""

import re
from pathlib import Path

import pytest

from gateway.protocol.mime import read_body
from gateway.protocol.reading import Mode, Unreadable
from gateway.protocol.tolerances import Tolerance, Tolerated, tolerate
from tests.protocol.mails import (
    ENVOI,
    LIMITS,
    TEXT_PART,
    body_of,
    envoi_of,
    make_file,
    make_mail,
    make_multipart,
    make_part,
)

PROTOCOL = Path(__file__).parents[2] / "docs" / "protocol.md"
IN_TWO = ENVOI.replace("<num>", "<num1>").replace("</num>", "</num1>")
NO_NUMBER = ENVOI.replace("<num>0601020304</num>", "")
NO_TEXT = ENVOI.replace("<sms>Salut</sms>", "")
NOTHING = NO_NUMBER.replace("<sms>Salut</sms>", "")
UTF_8 = "Content-Type: text/plain; charset=utf-8"
LATIN = "Content-Type: text/plain; charset=iso-8859-1"

BODIES = {
    Tolerance.HEADER_END: make_mail(ENVOI).replace(b"\r\n\r\n", b"\r\n"),
    Tolerance.VARIANTS: make_multipart(TEXT_PART, kind="alternative"),
    Tolerance.MULTIPART_TYPE: make_multipart(TEXT_PART, kind="parallel"),
    Tolerance.MULTIPART_END: make_multipart(TEXT_PART, close=False),
    Tolerance.OTHER_PARTS: make_multipart(TEXT_PART, make_file("logo.png", "x", "image/png")),
    Tolerance.QUOTED_PRINTABLE: make_mail(f"{ENVOI} = x", "Content-Transfer-Encoding: quoted-printable"),
    Tolerance.BASE64_PADDING: make_mail(b"PGVudm9pPjwvZW52b2k+IQ", "Content-Transfer-Encoding: base64"),
    Tolerance.CHARSET_MISSING: make_mail(ENVOI.replace("Salut", "é").encode()),
    Tolerance.CHARSET_UNKNOWN: make_mail(
        ENVOI.replace("Salut", "é").encode(), "Content-Type: text/plain; charset=klingon"
    ),
    Tolerance.CHARSET_WRONG: make_mail(ENVOI.replace("Salut", "é").encode("latin-1"), UTF_8),
    Tolerance.CHARSET_WIDENED: make_mail(ENVOI.replace("Salut", "€").encode("cp1252"), LATIN),
    Tolerance.CHARSET_UNDEFINED: make_mail(
        ENVOI.replace("Salut", "\x81").encode("latin-1"), "Content-Type: text/plain; charset=windows-1252"
    ),
    Tolerance.UTF_16_DAMAGED: make_multipart(
        TEXT_PART,
        make_part(
            "MAA2ADA=",  # two characters and half a one
            "Content-Type: text/csv; charset=utf-16le; name=mobiles.csv",
            "Content-Transfer-Encoding: base64",
        ),
    ),
    Tolerance.NUL_REMOVED: make_mail(b"ADxlbnZvaT48L2Vudm9pPiE=", "Content-Transfer-Encoding: base64"),
}
"""Mails whose parts show it."""

ENVOIS = {
    Tolerance.TEXT_AROUND: f"Bonjour\n{ENVOI}",
    Tolerance.TEXT_BETWEEN: ENVOI.replace("<num>", "et <num>"),
    Tolerance.STRAY_SIGNS: ENVOI.replace("Salut", "a & b"),
    Tolerance.NAMES_IN_OTHER_CASE: ENVOI.replace("num", "NUM"),
    Tolerance.UNKNOWN_ELEMENTS: ENVOI.replace("<num>", "<x/><num>"),
    Tolerance.FLAG_VALUE: ENVOI.replace("<num>", "<nostop>oui</nostop><num>"),
    Tolerance.TEXTS_WITHOUT_NUMBER: IN_TWO.replace("<num1>", "<sms2>x</sms2><num1>"),
}
"""Texts that show it."""

FILES: dict[Tolerance, tuple[str, str | None, str | None]] = {
    Tolerance.MOBILES_WITH_TEXT: (NO_NUMBER, "0601020304", None),
    Tolerance.MESSAGE_WITH_NUMBERS: (NO_TEXT, None, "Salut"),
    Tolerance.SINGLE_SEMICOLONS: (NOTHING, "0601020304;Jean", "Salut [1]"),
    Tolerance.MESSAGE_STARTS_LATE: (NOTHING, "0601020304", "\nSalut"),
    Tolerance.MESSAGE_GOES_ON: (NOTHING, "0601020304", "Salut\nbis"),
    Tolerance.VALUE_MISSING: (NOTHING, "0601020304", "Salut [1]"),
}
"""Texts and files that show it."""


def met_in(tolerance: Tolerance, mode: Mode) -> set[Tolerance]:
    """Return what is tolerated in the mail that shows this tolerance."""
    if tolerance in BODIES:
        notes = read_body(BODIES[tolerance], LIMITS, mode).notes
    elif tolerance in ENVOIS:
        notes = envoi_of(ENVOIS[tolerance], mode).notes
    else:
        text, mobiles, message = FILES[tolerance]
        notes = envoi_of(text, mode, mobiles=mobiles, message=message).notes
    return {note.tolerance for note in notes}


def test_the_document_lists_every_tolerance_as_the_code_has_it() -> None:
    rows = re.findall(r"^\| `([a-z0-9_]+)` \| (.+) \| (.+) \| (yes|no) \|$", PROTOCOL.read_text("utf-8"), re.MULTILINE)

    assert rows == [(one.value, one.fault, one.remedy, "no" if one.is_lenient else "yes") for one in Tolerance]


def test_every_tolerance_has_its_mail() -> None:
    assert {*BODIES, *ENVOIS, *FILES} == set(Tolerance)


@pytest.mark.parametrize("tolerance", Tolerance, ids=lambda one: str(one.value))
def test_each_is_noted_in_lenient_mode_and_only_some_in_strict_mode(tolerance: Tolerance) -> None:
    lenient = met_in(tolerance, Mode.LENIENT)
    try:
        strict = met_in(tolerance, Mode.STRICT)
    except Unreadable:
        strict = set()

    assert tolerance in lenient
    assert (tolerance in strict) is not tolerance.is_lenient


def test_the_operator_is_told_the_fault_and_what_was_made_of_it() -> None:
    assert Tolerance.VARIANTS.sentence == "the mail has several variants of its text: the plain one was read"


def test_the_detail_of_a_file_names_it() -> None:
    raw = make_multipart(TEXT_PART, make_file("mobiles.csv", "06;;é", "text/csv"))

    assert [str(note) for note in body_of(raw).notes] == ["charset_missing (mobiles.csv, utf-8)"]


def test_strict_mode_refuses_with_the_fault_and_its_detail() -> None:
    notes: list[Tolerated] = []
    tolerate(Tolerance.VARIANTS, Mode.LENIENT, notes)
    with pytest.raises(Unreadable, match=r"^there are unknown elements \(x\)$"):
        tolerate(Tolerance.UNKNOWN_ELEMENTS, Mode.STRICT, notes, "x")

    assert [str(note) for note in notes] == ["variants"]
