"""Numbers as carriers write them, and answers as nobody should."""

from decimal import Decimal

import pytest

from gateway.providers.answers import decode_exactly
from gateway.providers.masking import recorder, secret_of
from gateway.providers.numbers import e164, national


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("0612340001", "+33612340001"),
        ("33612340001", "+33612340001"),
        (33612340001, "+33612340001"),
        ("+33 6.12-34(00)01", "+33612340001"),
        ("0033612340001", "+33612340001"),
        ("4915112345678", "+4915112345678"),
        ("+012345678", None),
        ("06xx", None),
        ("٠٦١٢٣٤٠٠٠١", None),
        ("", None),
        ("36180", None),
        ("1" * 16, None),
        (" " * 50 + "0612340001", None),
        (True, None),
        (None, None),
    ],
)
def test_numbers_are_read_into_one_form(number: object, expected: str | None) -> None:
    assert e164(number) == expected


def test_number_is_dialled_from_france() -> None:
    assert [national(number) for number in ("+33612340001", "+4915112345678")] == ["0612340001", "004915112345678"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"a":0.1}', {"a": Decimal("0.1")}),
        (b"[1]", [1]),
        (b"1e99999999999999999999999", None),
        (b"9" * 5000, None),
        (b'{"a":1,"a":2}', None),
        (b"NaN", None),
        (b"[" * 100_000, None),
    ],
)
def test_json_is_read_exactly_or_not_at_all(body: bytes, expected: object) -> None:
    assert decode_exactly(body) == expected


def test_secrets_are_masked_in_all_their_forms_and_not_cut_in_two() -> None:
    record = recorder(['k/"é +x', "abc", "", "token-token-token"])

    assert record('k/"é +x k/\\"\\u00e9 +x k%2F%22%C3%A9%20%2Bx k%2F%22%C3%A9+%2Bx abc') == "*** *** *** *** abc"
    assert "token" not in record("x" * 2040 + "token-token-token" + "x" * 50)


def test_secret_of_an_address_is_its_last_part() -> None:
    assert [secret_of(None), secret_of("https://gw.example.org/receipts/p/s3")] == ["", "s3"]
