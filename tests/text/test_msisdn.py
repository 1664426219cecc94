"""docs/protocol.md §5: numbers, and that they never show."""

import logging

import phonenumbers
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.text.msisdn import Malformed, Msisdn, country_of, mask, parse_number


@pytest.mark.parametrize(
    ("tel", "e164"),
    [
        ("0601020304", "+33601020304"),
        ("0701020304", "+33701020304"),  # the source's example, which phonenumbers calls invalid
        ("0139123456", "+33139123456"),
        ("06 01 02 03 04", "+33601020304"),
        ("06.01.02.03.04", "+33601020304"),
        ("06-01-02-03-04", "+33601020304"),
        ("(06)\u00a001\u202f02‑03–04", "+33601020304"),
        ("\u202a0601020304\u202c", "+33601020304"),  # copied from contacts
        ("\u202d+33 6 01 02 03 04\u202c", "+33601020304"),
        ("06\u200b01\u00ad02\u206003\ufeff04", "+33601020304"),
        ("+33601020304", "+33601020304"),
        ("+33 (0)6 01 02 03 04", "+33601020304"),
        ("0033601020304", "+33601020304"),
        ("33601020304", "+33601020304"),
        ("+32475123456", "+32475123456"),
        ("0032475123456", "+32475123456"),
    ],
)
def test_number_is_read(tel: str, e164: str) -> None:
    assert parse_number(tel) == Msisdn(e164=e164)


@pytest.mark.parametrize(
    "tel",
    [
        "", " ", "+", "?", "060102030", "06010203045", "1601020304", "601020304", "32475123456",
        "²601020304", "٠٦٠١٠٢٠٣٠٤", "06O1020304", "0601020304;", "++33601020304", "33+601020304",
        "+99912345678", "+336", "+3360102030405060", "0012", "00", "0601020304" * 5, "06/01/02/03/04",
    ],
)  # fmt: skip
def test_anything_else_is_no_number(tel: str) -> None:
    parsed = parse_number(tel)

    assert isinstance(parsed, Malformed)
    assert not any(character.isdigit() for character in parsed.reason)


def test_home_country_decides_what_ten_digits_are() -> None:
    assert parse_number("0475123456", "BE") == Msisdn(e164="+32475123456")


@pytest.mark.parametrize(
    ("e164", "country"),
    [
        ("+33601020304", "FR"),
        ("+33701020304", "FR"),
        ("+32475123456", "BE"),
        ("+447700900123", "GB"),
        ("+262692123456", "RE"),
        ("+262639012345", "YT"),
        ("+262100000000", "RE"),  # of no country under that prefix: the main one
        ("+15551234567", "US"),
        ("+80012345678", None),  # international freephone: no country
    ],
)
def test_country_comes_from_the_prefix(e164: str, country: str | None) -> None:
    assert country_of(Msisdn(e164=e164)) == country


def test_printing_a_number_masks_it(caplog: pytest.LogCaptureFixture) -> None:
    number = Msisdn(e164="+33701020304")
    logging.getLogger("test").warning("to %s, %r", number, {"number": number})
    printed = (str(number), repr(number), f"{number}", f"{number:>14}", f"{number!r}", caplog.text)

    assert str(number) == "+33*****304"
    assert f"{number:>14}" == "   +33*****304"
    assert repr(number) == "Msisdn(+33*****304)"
    assert not any("701020" in text for text in printed)


@pytest.mark.parametrize(
    ("tel", "expected"),
    [
        ("0601020304", "06*****304"),
        ("06 01 02 03 04", "06*****304"),
        (" +33 6 01 02 03 04", "+33*****304"),
        ("12345678", "*****"),
        ("", "*****"),
        ("<b>\x1b[31m", "*****"),
        ("06x01\n02\x1b03;04", "06*****304"),
    ],
)
def test_submitted_number_is_masked_whatever_it_is(tel: str, expected: str) -> None:
    assert mask(tel) == expected


@given(st.text(max_size=60))
def test_any_text_is_a_number_or_not_one(tel: str) -> None:
    parsed = parse_number(tel)

    if isinstance(parsed, Msisdn):
        assert parsed.e164.startswith("+")
        assert parsed.e164[1:].isdigit()
        assert 5 <= len(parsed.e164) <= 16
        assert country_of(parsed) is None or len(country_of(parsed) or "") == 2
    assert set(mask(tel)) <= set("+*0123456789")


@given(st.from_regex(r"0[1-9][0-9]{8}", fullmatch=True), st.lists(st.sampled_from(" .-()\u00a0"), max_size=9))
def test_separators_make_no_difference(digits: str, separators: list[str]) -> None:
    spread = "".join(digit + separator for digit, separator in zip(digits, [*separators, *[""] * 10], strict=False))

    assert parse_number(spread) == parse_number(digits) == Msisdn(e164=f"+33{digits[1:]}")


@given(st.sampled_from(sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)), st.from_regex(r"[0-9]{4,11}", fullmatch=True))
@example(code=33, rest="701020304")  # not assigned
@example(code=262, rest="639012345")  # of a country that is not the first of its prefix
@example(code=800, rest="12345678")
@example(code=599, rest="0000000")
def test_country_is_what_phonenumbers_makes_of_the_whole_number(code: int, rest: str) -> None:
    parsed = phonenumbers.parse(f"+{code}{rest}")
    expected = phonenumbers.region_code_for_number(parsed) or phonenumbers.region_code_for_country_code(code)

    assert country_of(Msisdn(e164=f"+{code}{rest}")) == (None if expected == "001" else expected)


def test_no_country_code_begins_another() -> None:
    codes = [str(code) for code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE]

    assert [code for code in codes if any(code != other and code.startswith(other) for other in codes)] == []
    assert max(map(len, codes)) == 3


def test_a_number_of_no_country_code_is_of_no_country() -> None:
    assert country_of(Msisdn(e164="+9991234567")) is None
