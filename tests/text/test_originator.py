"""docs/protocol.md §3, `emetteur`."""

import pytest

from gateway.text.originator import is_wellformed


@pytest.mark.parametrize("originator", ["MaSociete7", "ABCD", "abcdefghijk", "Ma Societe", "36A0", "1 a 2"])
def test_four_to_eleven_letters_digits_and_spaces_are_wellformed(originator: str) -> None:
    assert is_wellformed(originator)


@pytest.mark.parametrize(
    "originator",
    ["", "ABC", "abcdefghijkl", "12345", "12 45", "    ", "Société", "Ma-Soc", "Ma_Soc", "Soc.", "ABCD\n", "ＡＢＣＤ"],
)
def test_anything_else_is_not(originator: str) -> None:
    assert not is_wellformed(originator)
