"""docs/protocol.md §2.1 to §2.4, §2.8, §4.1: from a mail to its text and files."""

import base64
import quopri
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.protocol.mime import read_body
from gateway.protocol.reading import Limits, Mode, Unreadable
from tests.protocol.mails import (
    ENVOI,
    FROM,
    LIMITS,
    TEXT_PART,
    body_of,
    join_parts,
    make_file,
    make_mail,
    make_multipart,
    make_part,
)

BOTH = pytest.mark.parametrize("mode", list(Mode))
HTML_PART = make_part("<p>Salut</p>", "Content-Type: text/html")


def text_of(data: bytes, content_type: str, encoding: str = "8bit") -> str:
    raw = make_mail(data, f"Content-Type: {content_type}", f"Content-Transfer-Encoding: {encoding}")
    return body_of(raw).text


# --- which part ------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    "raw",
    [
        make_mail(),
        make_mail(ENVOI, "Content-Type: text/plain; charset=utf-8"),
        make_mail(ENVOI, "Content-Type: garbage"),  # RFC 2045: text/plain
        make_mail(ENVOI, "Content-Type: text/plain (in short); charset=us-ascii (Plain text)"),  # RFC 2045 §5.1
        make_mail(ENVOI, "Content-Transfer-Encoding: 7bit (as it is)"),
        make_mail(ENVOI, "Content-Type: text/plain; charset=utf-8;;"),
        make_mail(ENVOI, "Content-Type: text/plain; charset=utf-8; charset=UTF-8; x=1; x=2"),
        ENVOI.encode(),
        b"\r\n" + ENVOI.encode(),
        make_multipart(TEXT_PART),
        make_multipart(b"\r\n" + ENVOI.encode()),
        make_multipart(TEXT_PART, make_file("mobiles.csv", "0601020304")),
        make_mail(
            b"preamble\r\n" + join_parts(TEXT_PART) + b"epilogue <envoi>", "Content-Type: multipart/mixed; boundary=b0"
        ),
        make_mail(
            join_parts(TEXT_PART).replace(b"--b0\r\n", b"--b0 \t\r\n"), "Content-Type: multipart/mixed; boundary=b0"
        ),
    ],
)
def test_plain_text_is_read_without_a_note(raw: bytes, mode: Mode) -> None:
    body = body_of(raw, mode)

    assert (body.text.strip(), body.notes) == (ENVOI, ())


@pytest.mark.parametrize(
    "raw",
    [
        make_multipart(TEXT_PART, HTML_PART, kind="alternative"),
        make_multipart(TEXT_PART, HTML_PART, kind="related"),
        make_multipart(TEXT_PART, HTML_PART),
        make_multipart(TEXT_PART, make_part("-- \r\nfooter", "Content-Type: text/plain")),
        make_multipart(TEXT_PART, make_file("logo.png", b"\x89PNG", "image/png")),
        make_multipart(TEXT_PART, make_file("notes.txt", ENVOI, "text/plain")),
        make_multipart(TEXT_PART, kind="digest"),
        make_multipart(TEXT_PART, close=False),
        b"Subject: x\r\n" + ENVOI.encode(),
        make_multipart(b"Content-Type: text/plain\r\n" + ENVOI.encode()),
    ],
)
def test_what_lenient_mode_tolerates_and_notes_strict_mode_refuses(raw: bytes) -> None:
    body = body_of(raw)

    assert body.text.strip() == ENVOI
    assert body.notes
    with pytest.raises(Unreadable):
        body_of(raw, Mode.STRICT)


@BOTH
@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (make_mail("Bonjour"), "there is no <envoi> in the text"),
        (make_mail("<envoi-x>"), "there is no <envoi> in the text"),
        (make_mail("<p><envoi></p>", "Content-Type: text/html"), "HTML only"),
        (make_mail("x", "Content-Type: application/ms-tnef"), "winmail.dat"),
        (make_mail("x", "Content-Type: application/pkcs7-mime"), "signed or encrypted"),
        (make_mail("x", "Content-Type: image/png"), "no text part"),
        (make_mail(ENVOI, "Content-Disposition: attachment"), "the only text is an attached file"),
        (make_multipart(TEXT_PART, HTML_PART, kind="signed"), "signed or encrypted"),
        (make_multipart(TEXT_PART, HTML_PART, kind="encrypted"), "signed or encrypted"),
        (make_multipart(make_part(make_mail(), "Content-Type: message/rfc822")), "attached message"),
        (make_multipart(TEXT_PART, TEXT_PART), "more than one part"),
        (make_multipart(), "a multipart without any part"),
        (make_mail(ENVOI, "Content-Type: multipart/mixed"), "without a usable boundary"),
        (make_multipart(TEXT_PART, boundary="b" * 71), "without a usable boundary"),
        (make_mail(ENVOI, "Content-Type: multipart/mixed; boundary=\xe9"), "without a usable boundary"),
        (make_mail(ENVOI, "Content-Type: multipart/mixed; boundary*=utf-8''%C3%A9"), "without a usable boundary"),
        (make_mail(ENVOI, "Content-Transfer-Encoding: x-uuencode"), "a transfer encoding other than"),
        (make_mail(ENVOI, "Content-Type: text/plain", "Content-Type: text/html"), "more than one Content-Type"),
        (make_mail(ENVOI, "Content-Type: text/plain; charset=utf-8; charset=utf-16"), "is repeated"),
        (make_mail(ENVOI, "Content-Type: text/plain; x*1=a; x*=b"), "cannot be read"),
        (make_mail(ENVOI, f"Content-Type: text/plain; x*{'9' * 5000}=a"), "cannot be read"),
        (make_mail(ENVOI + "\0"), "contains a NUL"),
        (make_mail((ENVOI + "\r\rx").encode()), "contains a bare CR"),
    ],
)
def test_what_is_no_plain_text_is_refused_with_what_is_wrong(raw: bytes, reason: str, mode: Mode) -> None:
    with pytest.raises(Unreadable) as caught:
        body_of(raw, mode)

    assert reason in str(caught.value)


def test_boundary_that_begins_another_is_not_mistaken_for_it() -> None:
    inner = join_parts(TEXT_PART, HTML_PART, boundary="b0b0")
    outer = make_multipart(make_part(inner, "Content-Type: multipart/alternative; boundary=b0b0"))

    assert body_of(outer).text.strip() == ENVOI


def test_refused_html_says_what_to_do() -> None:
    with pytest.raises(Unreadable, match="send the mail as plain text"):
        body_of(make_mail("<html>", "Content-Type: text/html"))


# --- transfer encodings ----------------------------------------------------------------------------------------------

ACCENTED = "<envoi><sms>L'été à 50€ = cher</sms></envoi>"


@BOTH
@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("8bit", ACCENTED.encode()),
        ("BINARY", ACCENTED.encode()),
        ("7bit", ACCENTED.encode()),
        ("Quoted-Printable", quopri.encodestring(ACCENTED.encode())),
        ("quoted-printable", quopri.encodestring(ACCENTED.encode()).replace(b"cher", b"=\r\ncher= \t\r\n")),
        ("base64", base64.encodebytes(ACCENTED.encode()).replace(b"\n", b"\r\n")),
        ("base64; x=y", base64.b64encode(ACCENTED.encode())),
    ],
)
def test_transfer_encodings_are_undone(encoding: str, data: bytes, mode: Mode) -> None:
    raw = make_mail(data, "Content-Type: text/plain; charset=utf-8", f"Content-Transfer-Encoding: {encoding}")
    body = body_of(raw, mode)

    assert (body.text.strip(), body.notes) == (ACCENTED, ())


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("quoted-printable", ACCENTED.encode()),  # `= c` begins no character
        ("base64", base64.b64encode(b"<envoi></envoi>!").rstrip(b"=")),
    ],
)
def test_small_faults_of_an_encoding_are_tolerated_and_noted(encoding: str, data: bytes) -> None:
    raw = make_mail(data, f"Content-Transfer-Encoding: {encoding}")

    assert len(body_of(raw).notes) >= 1
    with pytest.raises(Unreadable):
        body_of(raw, Mode.STRICT)


@BOTH
@pytest.mark.parametrize(
    "data", [b"!!!!", b"PGVu=dm9pPg==", b"PGVudm9pPg==\r\nfooter of a relay", b"P", b"====", b"P==="]
)
def test_what_is_no_base64_is_refused_not_skipped(data: bytes, mode: Mode) -> None:
    with pytest.raises(Unreadable):
        body_of(make_mail(data, "Content-Transfer-Encoding: base64"), mode)


# --- character sets --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "data", "expected"),
    [
        ("text/plain; charset=UTF-8", "é€".encode(), "é€"),
        ("text/plain; charset=iso-8859-1", b"\xe9\x80", "é€"),
        ("text/plain; charset=latin1", b"\xe9\x92", "é’"),
        ("text/plain; charset=us-ascii", b"\xe9\x80", "é€"),
        ("text/plain; charset=windows-1252", b"\xe9\x80", "é€"),
        ("text/plain; charset=CP1252", b"\x81\x8d\x8f\x90\x9d", "\x81\x8d\x8f\x90\x9d"),
        ("text/plain; charset=ISO_8859-15", b"\xe9\xa4", "é€"),
        ("text/plain; charset=utf-8", b"\xe9t\xe9", "été"),
        ("text/plain", "é€".encode(), "é€"),
        ("text/plain", b"\xe9\x80", "é€"),
        ("text/plain; charset=koi8-r", b"\xe9\x80", "é€"),
        ("text/plain; charset=zip", "é".encode(), "é"),
        ("text/plain; charset=utf-7", b"+AOk-", "+AOk-"),  # not decoded
        ("text/plain; charset=\"'utf-8'\"", "é".encode(), "é"),
        ("text/plain; charset*=us-ascii'en'utf-8", "é".encode(), "é"),
    ],
)
def test_character_set_is_the_one_senders_mean(content_type: str, data: bytes, expected: str) -> None:
    assert text_of(b"<envoi>" + data, content_type) == f"<envoi>{expected}"


@pytest.mark.parametrize(
    ("content_type", "data", "charset", "notes"),
    [
        ("text/plain; charset=utf-8", b"e", "utf-8", 0),
        ("text/plain", b"e", "utf-8", 0),
        ("text/plain", b"\xc3\xa9", "utf-8", 1),
        ("text/plain", b"\xe9", "windows-1252", 1),
        ("text/plain; charset=koi8-r", b"\xe9", "windows-1252", 1),
        ("text/plain; charset=utf-8", b"\xe9", "windows-1252", 1),
        ("text/plain; charset=utf-8", b"\xe9\x81", "windows-1252", 2),
        ("text/plain; charset=iso-8859-1", b"\xe9", "windows-1252", 0),
        ("text/plain; charset=iso-8859-1", b"\x80", "windows-1252", 1),
        ("text/plain; charset=us-ascii", b"e", "windows-1252", 0),
        ("text/plain; charset=us-ascii", b"\xe9", "windows-1252", 1),
        ("text/plain; charset=cp1252", b"\x80", "windows-1252", 0),
        ("text/plain; charset=iso-8859-15", b"\xa4", "iso-8859-15", 0),
    ],
)
def test_choice_of_character_set_is_told(content_type: str, data: bytes, charset: str, notes: int) -> None:
    body = body_of(make_mail(b"<envoi>" + data, f"Content-Type: {content_type}"))

    assert (body.charset, len(body.notes)) == (charset, notes)


@pytest.mark.parametrize(
    ("data", "charset", "expected", "notes"),
    [
        ("0601020304;;é".encode("utf-16"), "utf-16", "0601020304;;é", 0),
        ("0601020304;;é".encode("utf-16-le"), "utf-16", "0601020304;;é", 0),
        ("0601020304;;é".encode("utf-16-be"), "utf-16", "0601020304;;é", 0),
        ("0601020304;;é".encode("utf-16-be"), "UTF-16BE", "0601020304;;é", 0),
        ("0601020304;;é".encode("utf-16"), "iso-8859-1", "0601020304;;é", 0),  # the mark wins
        ("0601020304;;é".encode("utf-8-sig"), "iso-8859-1", "0601020304;;é", 0),
        ("0601020304".encode("utf-16-le") + b"\x00", "utf-16le", "0601020304\ufffd", 1),
        ("0601020304".encode("utf-16-le"), "utf-8", "0601020304", 1),  # NULs removed
        (b"0601020304 \r\n0601020305\t\r", "utf-8", "0601020304\n0601020305\n", 0),
    ],
)
def test_files_come_in_any_of_the_character_sets(data: bytes, charset: str, expected: str, notes: int) -> None:
    file = make_part(
        base64.b64encode(data),
        f"Content-Type: text/csv; charset={charset}; name=mobiles.csv",
        "Content-Transfer-Encoding: base64",
    )
    body = body_of(make_multipart(TEXT_PART, file))

    assert body.files == {"mobiles.csv": expected}
    assert len(body.notes) == notes


def test_mark_nuls_and_trailing_blanks_are_removed() -> None:
    data = base64.b64encode(b"\xef\xbb\xbf\0<envoi>  \r\na\tb\t\r</envoi>")
    body = body_of(make_mail(data, "Content-Transfer-Encoding: base64"))

    assert body.text == "<envoi>\na\tb\n</envoi>"
    assert "nul_removed" in [str(note) for note in body.notes]


@given(st.binary(max_size=200), st.sampled_from(["utf-8", "latin1", "utf-16", "utf-16be", "iso-8859-15", "x", ""]))
def test_decoding_never_raises_and_drops_nothing_in_silence(data: bytes, charset: str) -> None:
    payload = base64.b64encode(data)
    file = make_part(
        payload, f"Content-Type: x/y; charset={charset}; name=message.csv", "Content-Transfer-Encoding: base64"
    )
    body = body_of(make_multipart(TEXT_PART, file))

    if charset in {"latin1", "iso-8859-15"} and not data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        kept = [byte for byte in data if byte not in b"\0\r\n \t"]
        shown = [character for character in body.files["message.csv"] if character not in "\n \t"]
        assert len(shown) == len(kept)


# --- format=flowed ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "lines", "expected"),
    [
        ("format=flowed", ["<envoi><sms>Salut ", "ca va ?</sms>"], "<envoi><sms>Salut ca va ?</sms>"),
        ("format=flowed; delsp=yes", ["<envoi><sms>Sa ", "lut</sms>"], "<envoi><sms>Salut</sms>"),
        ("format=Flowed", ["<envoi>", " From here ", "to there"], "<envoi>\nFrom here to there"),
        ("format=flowed", ["<envoi> ", "> quoted ", "> twice ", ">> deeper"], "<envoi>\n>quoted twice\n>>deeper"),
        ("format=flowed", ["<envoi> ", "-- ", "Jean"], "<envoi>\n--\nJean"),
        ("format=fixed", ["<envoi> ", "x"], "<envoi>\nx"),
    ],
)
def test_flowed_text_is_unfolded(parameters: str, lines: list[str], expected: str) -> None:
    raw = make_mail("\n".join(lines), f"Content-Type: text/plain; {parameters}")

    assert body_of(raw).text == expected


# --- files -----------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    "headers",
    [
        ['Content-Disposition: attachment; filename="mobiles.csv"'],
        ["Content-Disposition: inline; filename=MOBILES.CSV", "Content-Type: application/vnd.ms-excel"],
        ["Content-Type: text/plain; name=Mobiles.csv"],
        [r'Content-Disposition: attachment; filename="C:\\Users\\Jean\\mobiles.csv"'],
        ["Content-Disposition: attachment; filename=/tmp/mobiles.csv"],
        ["Content-Disposition: attachment; filename*=UTF-8''mobiles%2Ecsv"],
        ["Content-Disposition: attachment; filename*0=mobi; filename*1=les.csv"],
        ["Content-Disposition: attachment; filename==?utf-8?B?bW9iaWxlcy5jc3Y=?="],
        ['Content-Disposition: attachment; filename="=?iso-8859-1?Q?mobiles=2Ecsv?="'],
        ["Content-Disposition: attachment; filename=other.csv", "Content-Type: text/csv; name=mobiles.csv"],
        ["Content-Disposition: attachment;\r\n\tfilename=mobiles.csv", "Content-Type: garbage"],
    ],
)
def test_files_are_known_by_their_name(headers: list[str], mode: Mode) -> None:
    body = body_of(make_multipart(TEXT_PART, make_part("0601020304", *headers)), mode)

    assert body.files == {"mobiles.csv": "0601020304"}


@pytest.mark.parametrize(
    "name",
    ["mobile.csv", "mobiles.csv.exe", "xmobiles.csv", "", "=?utf-8?B?a?=", "=?utf-8?Q?x?=", "m" * 300 + "/mobiles.csv"],
)
def test_other_names_are_other_files(name: str) -> None:
    body = body_of(make_multipart(TEXT_PART, make_file(name, "0601020304")))

    assert body.files == {}


def test_files_are_found_anywhere_in_the_mail() -> None:
    inner = join_parts(TEXT_PART, make_file("message.csv", "Salut"), boundary="i")
    raw = make_multipart(
        make_part(inner, "Content-Type: multipart/mixed; boundary=i"), make_file("mobiles.csv", "0601020304")
    )

    assert body_of(raw).files == {"mobiles.csv": "0601020304", "message.csv": "Salut"}


@BOTH
@pytest.mark.parametrize(
    "names",
    [
        "filename=mobiles.csv; filename*=utf-8''mobiles.csv",
        "filename=\"MOBILES.CSV\"; filename*=utf-8''mobiles%2Ecsv",
        'filename="mobiles.csv"; size=12;;',
    ],
)
def test_name_given_in_the_old_and_in_the_new_form_is_one_name(names: str, mode: Mode) -> None:
    part = make_part("0601020304", "Content-Type: text/csv", f"Content-Disposition: attachment; {names}")

    assert body_of(make_multipart(TEXT_PART, part), mode).files == {"mobiles.csv": "0601020304"}


def test_other_file_with_its_name_in_two_forms_does_no_harm() -> None:
    names = "filename=\"r_sum_.pdf\"; filename*=utf-8''r%C3%A9sum%C3%A9.pdf"
    part = make_part("%PDF", "Content-Type: application/pdf", f"Content-Disposition: attachment; {names}")

    assert body_of(make_multipart(TEXT_PART, part)).text.strip() == ENVOI


@BOTH
@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        (
            [make_part("1", "Content-Disposition: x; filename=mobiles.csv; filename*=utf-8''message.csv")],
            "goes by two file names",
        ),
        ([make_file("mobiles.csv", "1"), make_file("MOBILES.csv", "2")], "attached twice"),
        (
            [make_part("1", "Content-Type: x/y; name=message.csv", "Content-Disposition: x; filename=mobiles.csv")],
            "goes by two file names",
        ),
        ([make_file("mobiles.csv", b"x" * (LIMITS.csv_bytes + 1))], "mobiles.csv is too large"),
    ],
)
def test_ambiguous_or_oversized_files_are_refused(parts: list[bytes], reason: str, mode: Mode) -> None:
    with pytest.raises(Unreadable, match=reason):
        body_of(make_multipart(TEXT_PART, *parts), mode)


# --- bounds ----------------------------------------------------------------------------------------------------------


def nested(depth: int) -> bytes:
    inner = TEXT_PART
    for level in range(depth):
        inner = make_part(join_parts(inner, boundary=f"n{level}"), f"Content-Type: multipart/mixed; boundary=n{level}")
    return FROM.encode() + b"\r\n" + inner


def test_five_levels_are_read_and_six_are_not() -> None:
    assert body_of(nested(5)).text.strip() == ENVOI
    with pytest.raises(Unreadable, match="nested too deeply"):
        body_of(nested(6))


def test_twenty_parts_are_read_and_one_more_is_not() -> None:
    fillers = [make_file(f"{number}.txt", "x") for number in range(19)]

    assert body_of(make_multipart(TEXT_PART, *fillers[:18])).text.strip() == ENVOI
    with pytest.raises(Unreadable, match="too many parts"):
        body_of(make_multipart(TEXT_PART, *fillers))


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (replace(LIMITS, mail_bytes=50), "the mail is too large"),
        (replace(LIMITS, body_bytes=50), "text of the mail"),
        (replace(LIMITS, header_bytes=10), "a header is too long"),
        (replace(LIMITS, header_block_bytes=10), "the header block is too large"),
        (replace(LIMITS, header_lines=0), "the header block is too large"),
    ],
)
def test_sizes_are_bounded(limits: Limits, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        body_of(make_mail(), Mode.LENIENT, limits)


@pytest.mark.timeout(5)
@pytest.mark.parametrize(
    "raw",
    [
        make_multipart(TEXT_PART, *[b""] * 100_000),
        nested(900),
        make_mail(ENVOI, "Content-Type: text/html" + ";" * 8_000),
        make_mail(ENVOI, "Content-Type: text/plain" + "".join(f"; p{n}=1" for n in range(1_500))),
        make_multipart(*[make_part("x", "Content-Type: a/b; " + '"' * 7_000)] * 19),
        make_multipart(*[make_file("=?" * 100 + "x", "x")] * 19),
        make_mail(b"= " * 500_000, "Content-Transfer-Encoding: quoted-printable"),
        make_mail(b"=" + b" " * 1_000_000, "Content-Transfer-Encoding: quoted-printable"),
        make_mail(b"--b0x\r\n" * 100_000, "Content-Type: multipart/mixed; boundary=b0"),
        make_mail(b"> \r\n" * 30_000, "Content-Type: text/plain; format=flowed"),
    ],
)
def test_mails_made_to_hurt_cost_little(raw: bytes) -> None:
    with pytest.raises(Unreadable):
        body_of(raw)


HEADER_NAMES = st.sampled_from(["Content-Type", "Content-Disposition", "Content-Transfer-Encoding", "From"])
HEADER_VALUES = st.one_of(
    st.binary(max_size=60),
    st.lists(
        st.sampled_from(
            [b"multipart/mixed", b"text/plain", b";", b" ", b"boundary=", b'"', b"b", b"\\", b"*0", b"*=", b"=", b"name"
             , b"utf-8''", b"filename", b"=?utf-8?q?", b"?=", b"base64", b"%", b"\xe9", b"charset="]
        ),
        max_size=12,
    ).map(b"".join),
)  # fmt: skip


@pytest.mark.slow
@given(st.lists(st.tuples(HEADER_NAMES, HEADER_VALUES), max_size=4), st.binary(max_size=100), st.sampled_from(Mode))
def test_any_bytes_are_a_body_or_refused(headers: list[tuple[str, bytes]], noise: bytes, mode: Mode) -> None:
    block = b"".join(name.encode() + b": " + value + b"\r\n" for name, value in headers)
    for raw in (
        block + b"\r\n" + ENVOI.encode() + noise,
        block + b"\r\n--b\r\n" + block + b"\r\n" + noise + b"\r\n--b--",
    ):
        try:
            body = read_body(raw, LIMITS, mode)
        except Unreadable:
            continue

        assert "<envoi" in body.text.lower()
