"""What goes over the wire between a child and its parent: nothing is lost, nothing foreign is believed."""

import json
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import fields
from typing import Any

import pytest
from annotated_types import Le
from hypothesis import given
from hypothesis import strategies as st

from gateway.protocol.codes import Code
from gateway.protocol.envoi import Envoi, Recipient
from gateway.protocol.mime import Headers, TextPart
from gateway.protocol.reading import Limits, Mode, Unreadable
from gateway.protocol.tolerances import Tolerance, Tolerated
from gateway.reader.answers import MOST_RECIPIENTS, Failed, Garbled, decode_answer, encode_answer, longest_answer
from gateway.reader.mail import BodyForm, MailRead, Reading, read_mail
from gateway.reader.settings import ReadingSettings
from tests.intake.conftest import write_envoi, write_mail

TEXTS = st.text(st.characters(), max_size=20)  # surrogates, too: half of a pair can stand in a text
MAYBE = st.none() | TEXTS
NOTES = st.lists(st.builds(Tolerated, tolerance=st.sampled_from(Tolerance), detail=TEXTS), max_size=3).map(tuple)
HEADERS = st.builds(
    Headers,
    message_id=MAYBE,
    from_address=MAYBE,
    from_count=st.integers(0, 9),
    from_problem=MAYBE,
    auto_submitted=st.booleans(),
    is_bounce=st.booleans(),
    auto_generated=st.booleans(),
)
BODIES = st.builds(
    BodyForm,
    charset=TEXTS,
    text_part=st.builds(
        TextPart,
        number=st.integers(1, 9),
        count=st.integers(1, 9),
        content_type=TEXTS,
        charset=MAYBE,
        transfer_encoding=TEXTS,
    ),
    files=st.lists(TEXTS, max_size=2).map(tuple),
    notes=NOTES,
)
VALUES = ("keyid", "email_id", "email_ack", "email_not", "emetteur", "tracker", "smslong", "date_envoi")
ENVOIS = st.builds(
    Envoi,
    **dict.fromkeys(VALUES, MAYBE),
    nostop=st.booleans(),
    ucs2=st.booleans(),
    recipients=st.lists(st.builds(Recipient, position=st.integers(1, 999_999), tel=TEXTS, text=MAYBE), max_size=4).map(
        tuple
    ),
    fault=st.none() | st.sampled_from(Code),
    notes=NOTES,
    fault_reason=MAYBE,
)
READINGS = st.builds(Reading, body=BODIES, envoi=ENVOIS, mode=st.sampled_from(Mode), digest=st.binary(max_size=32))


@given(headers=HEADERS, reading=READINGS)
def test_a_reading_comes_over_whole(headers: Headers, reading: Reading) -> None:
    answer = MailRead(headers=headers, reading=reading)
    decoded = decode_answer(encode_answer(answer))

    assert decoded == answer
    assert isinstance(decoded, MailRead)
    assert isinstance(decoded.reading, Reading)
    assert decoded.reading.body.text_part == reading.body.text_part


def test_every_field_there_is_comes_over() -> None:
    """A field that is added later is missing from the strategies, and from the wire: this fails first."""
    counts = {kind.__name__: len(fields(kind)) for kind in (Headers, TextPart, BodyForm, Envoi, Recipient, Reading)}

    assert counts == {"Headers": 7, "TextPart": 5, "BodyForm": 4, "Envoi": 14, "Recipient": 3, "Reading": 4}


@given(reason=TEXTS, where=TEXTS, headers=HEADERS)
def test_what_cannot_be_read_comes_over_as_it_was(reason: str, where: str, headers: Headers) -> None:
    error = Unreadable(reason, where=where)
    whole = decode_answer(encode_answer(error))
    part = decode_answer(encode_answer(MailRead(headers=headers, reading=error)))
    assert isinstance(whole, Unreadable)
    assert isinstance(part, MailRead)
    assert isinstance(part.reading, Unreadable)

    assert (whole.reason, whole.where, str(whole)) == (reason, where, str(error))
    assert (part.headers, part.reading.reason, part.reading.where) == (headers, reason, where)


def test_a_failure_comes_over() -> None:
    failed = Failed(error="RecursionError", where="gateway.protocol.mime:80")

    assert decode_answer(encode_answer(failed)) == failed


def test_a_text_for_all_stands_in_an_answer_once() -> None:
    numbers = {f"num{x}": f"06010203{x:02}" for x in range(1, 51)}
    content = write_mail(write_envoi(num=None, sms="x" * 1_000, **numbers))
    data = encode_answer(read_mail(content, Mode.LENIENT, Limits()))

    assert data.count(b"x" * 1_000) == 1
    assert decode_answer(data) == read_mail(content, Mode.LENIENT, Limits())


def everywhere(plain: object) -> list[list[Any]]:
    """Return every list in the answer: each value in each is a place where something else may stand."""
    if not isinstance(plain, list):
        return []
    return [plain, *(inner for value in plain for inner in everywhere(value))]


def answer() -> bytes:
    content = write_mail(write_envoi(emetteur="MaSociete", tracker="t"))
    return encode_answer(read_mail(content, Mode.LENIENT, Limits()))


HALF = "\ud83d"  # of a surrogate pair; what holds one takes another way


def write_plain(plain: object) -> bytes:
    return json.dumps(plain, ensure_ascii=False).encode("utf-8", "surrogatepass")


def believed_after(change: Callable[[list[Any]], Iterator[None]], *, text: str) -> list[object]:
    """Return the answers that were believed although one of their lists was changed, in every way and place."""
    believed: list[object] = []
    for number, _ in enumerate(everywhere(json.loads(answer()))):
        plain = json.loads(answer())
        plain[1][0] = text  # the Message-ID
        for _ in change(everywhere(plain)[number]):
            with suppress(Garbled):
                believed.append(decode_answer(write_plain(plain)))
    return believed


@pytest.mark.parametrize("text", ["<1@b>", HALF])
@pytest.mark.parametrize("foreign", [1.5, -1, 10**30, {"a": 1}, [[]]])
def test_a_value_of_another_type_is_never_believed(foreign: object, text: str) -> None:
    def replace(inner: list[Any]) -> Iterator[None]:
        for position in range(len(inner)):
            kept, inner[position] = inner[position], foreign
            yield
            inner[position] = kept

    assert believed_after(replace, text=text) == []


@pytest.mark.parametrize("text", ["<1@b>", HALF])
def test_a_list_with_a_value_more_or_less_is_never_believed(text: str) -> None:
    def resize(inner: list[Any]) -> Iterator[None]:
        inner.append(7)
        yield
        inner.pop()
        if inner:
            inner.pop()
            yield

    assert believed_after(resize, text=text) == []


@pytest.mark.parametrize("text", ["<1@b>", HALF])
def test_what_is_not_changed_is_believed(text: str) -> None:
    def leave(_: list[Any]) -> Iterator[None]:
        yield

    [first, *others] = believed_after(leave, text=text)
    assert isinstance(first, MailRead)

    assert first.headers.message_id == text
    assert others == [first] * len(others)


@given(numbers=st.lists(st.sampled_from([HALF, "\ude00", "a", "é", "\U0001f600", "\0", '"']), max_size=6))
def test_halves_of_pairs_never_become_one_character(numbers: list[str]) -> None:
    error = Unreadable("".join(numbers), where="")
    decoded = decode_answer(encode_answer(error))
    assert isinstance(decoded, Unreadable)

    assert decoded.reason == "".join(numbers)


@pytest.mark.parametrize("more", [0, 1])
def test_as_many_recipients_come_over_as_lines_may_be_read(more: int) -> None:
    [bound] = [one.le for one in ReadingSettings.model_fields["max_csv_lines"].metadata if isinstance(one, Le)]
    count = MOST_RECIPIENTS + more
    plain = json.loads(answer())
    envoi = plain[2][2]
    envoi[-1] = [[1] * count, ["0601020304"] * count, [0] * count, ["x"]]
    try:
        decoded = decode_answer(write_plain(plain))
    except Garbled:
        decoded = None
    found = decoded.reading if isinstance(decoded, MailRead) else None

    assert bound == MOST_RECIPIENTS
    assert (len(found.envoi.recipients) if isinstance(found, Reading) else None) == (None if more else count)


@given(data=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_bytes_of_any_kind_are_garbled_or_an_answer(data: bytes) -> None:
    with suppress(Garbled):
        assert isinstance(decode_answer(data), MailRead | Unreadable | Failed)


def test_nesting_without_end_is_garbled() -> None:
    for data in (b"[" * 200_000, b'["failed","\xed\xa0\x80",' + b"[" * 200_000):
        with pytest.raises(Garbled):
            decode_answer(data)


@pytest.mark.parametrize("text", ["<1@b>", HALF])
def test_what_does_not_fit_takes_no_memory(text: str) -> None:
    data = write_plain(["read", [text, "REST"]]).replace(b'"REST"', b"[]," * 300_000 + b"[]")
    tracemalloc.start()
    try:
        with pytest.raises(Garbled):
            decode_answer(data)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak_bytes < 10 * len(data)  # each list alone would be 20 times as large as what stands for it


def test_the_longest_answer_leaves_room_for_the_longest_texts() -> None:
    limits = Limits()

    assert longest_answer(limits) > 4 * (limits.total_text_chars + limits.body_bytes)
