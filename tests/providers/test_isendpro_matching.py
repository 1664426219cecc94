"""Which entry of an answer speaks of which SMS, and that nothing a carrier says can raise."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.lifecycle import Accepted
from gateway.providers.isendpro_answers import Entry, assign, international, read_entries, verdict_of_entry

NUMBERS = st.lists(st.sampled_from(["33612340001", "33612340002", "33612340003"]), min_size=1, max_size=6)
CODES = st.sampled_from([0, 11, 12, 999])


@given(NUMBERS, st.data())
def test_answer_in_any_order_is_matched_like_one_in_order(numbers: list[str], data: st.DataObject) -> None:
    codes = {number: data.draw(CODES) for number in numbers}
    shuffled = data.draw(st.permutations(numbers))
    found = assign([_entry(codes[number], number) for number in shuffled], numbers)

    assert [None if entry is None else entry.code for entry in found] == [codes[number] for number in numbers]


@given(NUMBERS, st.lists(st.tuples(CODES, st.sampled_from(["33612340001", "33612340009", None])), max_size=8))
def test_no_entry_answers_for_two_sms_unless_it_is_alone_and_names_none(
    numbers: list[str], told: list[tuple[int, str | None]]
) -> None:
    given_entries = [_entry(code, tel) for code, tel in told]
    found = [entry for entry in assign(given_entries, numbers) if entry is not None]
    is_about_all = len(told) == 1 and told[0][1] is None

    assert is_about_all or len({id(entry) for entry in found}) == len(found)
    assert all(entry.tel is None or entry.tel in numbers for entry in found)


JSON_VALUES: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["etat", "code", "tel", "message", "smslong", "x"]), inner, max_size=5)
    ),
    max_leaves=12,
)


@given(JSON_VALUES | st.fixed_dictionaries({"etat": JSON_VALUES}), st.sampled_from([200, 400, 500]))
def test_any_json_is_read_without_an_exception(value: object, status: int) -> None:
    for entry in read_entries(json.dumps(value).encode()) or ():
        verdict = verdict_of_entry(entry, status=status, raw=entry.text, retry_at=None, is_999_refusal=False)

        assert (entry.code == 0 and status == 200) == isinstance(verdict, Accepted)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_without_an_exception(body: bytes) -> None:
    for entry in read_entries(body) or ():
        assert isinstance(entry, Entry)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("0612340001", "33612340001"),
        ("33612340001", "33612340001"),
        ("+33 6.12-34(00)01", "33612340001"),
        ("0033612340001", "33612340001"),
        ("4915112345678", "4915112345678"),
        ("06xx", None),
        ("٠٦١٢٣٤٠٠٠١", None),
        ("", None),
        ("00", None),
    ],
)
def test_numbers_are_compared_in_one_form(number: str, expected: str | None) -> None:
    assert international(number) == expected


def _entry(code: int, tel: str | None) -> Entry:
    return Entry(code=code, tel=tel, parts=None, text="{}")
