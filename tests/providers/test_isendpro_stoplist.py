"""iSendPro's STOP list: a ZIP of which only is known that there is a CSV in it."""

import io
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.providers.isendpro_stoplist import ListUnreadable, StopList, is_zip, read_stop_list

A, B = "+33612340001", "+33612340002"


def pack(
    *files: bytes | str, way: int = zipfile.ZIP_DEFLATED, names: tuple[str, ...] = ("liste.csv", "b.csv")
) -> bytes:
    """Return a ZIP with these files in it."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", way) as archive:
        for name, content in zip(names, files, strict=False):
            archive.writestr(name, content)
    return packed.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        "0612340001\n0612340002\n",
        "0612340001\r\n0612340002",
        "0612340001\r0612340002",
        "33612340001\n\n+33 6 12 34 00 02\n",
        "tel\n0612340001\n0612340002\n",
        "Numéro;Date\n0612340001;2024-03-05 10:11\n0612340002;\n",
        "Numéro;Date\n0612340001;2024-03-05\n0612340002;\n".encode("latin-1"),
        "Numéro;Date\n0612340001;2024-03-05\n0612340002;\n".encode("utf-16"),
        b"\xef\xbb\xbf0612340001;x\n0612340002;x\n",
        '"id","date","mobile"\n"1","20240305101112","0612340001"\n"2","20240305101113","0612340002"\n',
        "123456789;20240305101112;33612340001;STOP\n123456788;20240305101113;33612340002;STOP\n",
        "1\t0612340001\n2\t0612340002\n",
        '="0612340001"|a\n="0612340002"|b\n',
        "téléphone;nom\n612340001;Dupont, Jean\n612340002.0;Durand, Luc\n",
        "0612340001\n0612340001\n33612340001\n0612340002\n",
        "demandeur;mobile\n0699999999;0612340001\n0699999998;0612340002\n",
        "numero_campagne;contact\n17;0612340001\n18;0612340002\n",
    ],
)
def test_numbers_are_found_whatever_stands_around_them(content: bytes | str) -> None:
    assert read_stop_list(pack(content)) == StopList(msisdns=(A, B), skipped=0)


def test_numbers_of_other_countries_are_kept() -> None:
    found = read_stop_list(pack("tel\n0612340001\n4915112345678\n+44 7400 123456\n"))

    assert found.msisdns == (A, "+4915112345678", "+447400123456")


def test_lines_that_cannot_be_read_are_counted_and_spoil_no_other() -> None:
    found = read_stop_list(pack(f'tel;nom\n0612340001;x\n"0612;34\n?;y\n{"9" * 5000}\n;\n0612340002;z\n'))

    assert found == StopList(msisdns=(A, B), skipped=4)


@pytest.mark.parametrize("content", ["", "\n \n", "tel;date\n", "\ufeff"])
def test_empty_list_is_empty(content: str) -> None:
    assert read_stop_list(pack(content)).msisdns == ()


def test_file_beside_the_list_does_no_harm() -> None:
    packed = pack("0612340001\n", "bonjour", names=("liste.CSV", "readme.pdf"))

    assert read_stop_list(packed).msisdns == (A,)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"PK", "no readable ZIP file"),
        (b"PK\x03\x04 and then nothing", "no readable ZIP file"),
        (pack("0612340001\n")[:-10], "no readable ZIP file"),
        (pack("a", "b"), "2 files"),
        (pack(), "0 files"),
        (pack("0612340001\n", way=zipfile.ZIP_LZMA), "cannot be bounded"),
        (pack("0612340001\n", way=zipfile.ZIP_BZIP2), "cannot be bounded"),
        (pack("nom\nDupont\nDurand\n"), "no telephone number"),
        (pack(b"\x00" * (17 * 1024 * 1024)), "longer than 16 MiB"),
        (pack(*["x"] * 20, names=tuple(f"{n}.csv" for n in range(20))), "20 files"),
    ],
)
def test_what_is_no_list_is_refused_with_a_reason(body: bytes, reason: str) -> None:
    with pytest.raises(ListUnreadable, match=reason):
        read_stop_list(body)


def test_encrypted_list_is_refused() -> None:
    body = bytearray(pack("0612340001\n"))
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        body[body.index(magic) + offset] |= 1

    with pytest.raises(ListUnreadable, match="no readable ZIP file"):
        read_stop_list(bytes(body))


def test_error_in_json_is_not_taken_for_a_list() -> None:
    assert not is_zip(b'{"etat":{"etat":[{"code":"3"}]}}')
    assert is_zip(pack("x"))


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=8))
def test_damaged_list_is_read_or_refused(changes: list[tuple[int, int]]) -> None:
    body = bytearray(pack("tel;date\n0612340001;2024-03-05\n0612340002;2024-03-05\n"))
    for position, value in changes:
        body[position % len(body)] = value
    try:
        found = read_stop_list(bytes(body))
    except ListUnreadable:
        return

    assert all(msisdn.startswith("+") for msisdn in found.msisdns)


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(content: str) -> None:
    try:
        found = read_stop_list(pack(content.encode("utf-8", "replace")))
    except ListUnreadable:
        return

    assert all(msisdn.startswith("+") for msisdn in found.msisdns)


@pytest.mark.slow
def test_long_list_is_read_in_one_go() -> None:
    numbers = [f"06{number:08d}" for number in range(100_000)]
    found = read_stop_list(pack("tel;date\n" + "".join(f"{number};2024-03-05\n" for number in numbers)))

    assert found.msisdns == tuple(f"+33{number[1:]}" for number in numbers)
