"""docs/protocol.md §9: the source's annex, number and wording."""

from pathlib import Path

from gateway.protocol.codes import AckCode, Code

GOLDEN = Path(__file__).parent / "golden"
DOCUMENT = Path(__file__).parents[2] / "docs" / "protocol.md"


def read_table(name: str) -> dict[int, str]:
    lines = (GOLDEN / name).read_text("utf-8").splitlines()
    return {int(number): label for number, _, label in (line.partition("\t") for line in lines)}


def test_codes_are_those_of_the_annex() -> None:
    assert {code.value: code.label for code in Code} == read_table("annex.tsv")


def test_ack_codes_are_those_of_the_source() -> None:
    assert {code.value: code.label for code in AckCode} == read_table("ack-codes.tsv")


def test_names_carry_their_numbers() -> None:
    assert all(code.name.startswith(f"C{code.value}_") for code in Code)
    assert all(code.name.startswith(f"A{code.value}_") for code in AckCode)


def test_labels_fit_into_iso_8859_1() -> None:
    assert all(code.label.encode("iso-8859-1") for code in (*Code, *AckCode))


def test_document_has_the_same_table() -> None:
    rows = [line.strip("| ").split(" | ") for line in DOCUMENT.read_text("utf-8").splitlines() if line.startswith("| ")]
    table = {int(cells[0]): cells[1] for cells in rows if cells[0].isdigit() and len(cells) == 3}
    acks = {int(cells[0]): cells[1].strip() for cells in rows if cells[0].isdigit() and len(cells) == 2}

    assert table == read_table("annex.tsv")
    assert acks == read_table("ack-codes.tsv")


def test_document_shows_the_reports_as_they_are() -> None:
    blocks = DOCUMENT.read_text("utf-8").split("```\n")

    for name in ("ack-0.xml", "not-one.xml"):
        assert (GOLDEN / name).read_text("iso-8859-1") in blocks
