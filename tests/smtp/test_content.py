"""The lines of a mail: what is refused, what is put right (docs/protocol.md §2.8)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.intake import Reply
from gateway.smtp import replies
from gateway.smtp.content import clean_content


def clean(raw: bytes, *, max_line_bytes: int = 1_000, normalise: bool = False) -> bytes | Reply:
    return clean_content(raw, max_line_bytes=max_line_bytes, normalise_bare_lf=normalise)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", b""),
        (b"a\r\nb\r\n", b"a\r\nb\r\n"),
        (b"..\r\n", b".\r\n"),
        (b"a\r\n..b\r\n...\r\n", b"a\r\n.b\r\n..\r\n"),
        (b".hidden\r\n", b"hidden\r\n"),
        (b"a\0b\r\n", replies.NUL_IN_CONTENT),
        (b"a\rb\r\n", replies.BARE_CR),
        (b"a\r\r\n", replies.BARE_CR),
        (b"a\nb\r\n", replies.BARE_LF),
        (b"a\n\r\n", replies.BARE_LF),
        (b"a\n\rb\r\n", replies.BARE_CR),
    ],
)
def test_lines_are_judged(raw: bytes, expected: bytes | Reply) -> None:
    assert clean(raw) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"a\nb\r\n", b"a\r\nb\r\n"),
        (b"a\n..b\n\r\n", b"a\r\n.b\r\n\r\n"),
        (b"a\rb\n", replies.BARE_CR),
        (b"a\0b\n", replies.NUL_IN_CONTENT),
    ],
)
def test_bare_lf_of_a_legacy_network_becomes_crlf_and_nothing_else_does(raw: bytes, expected: bytes | Reply) -> None:
    assert clean(raw, normalise=True) == expected


@given(lengths=st.lists(st.integers(0, 30), max_size=12), limit=st.integers(2, 32))
def test_line_limit_counts_every_line_with_its_end(lengths: list[int], limit: int) -> None:
    raw = b"".join(b"x" * length + b"\r\n" for length in lengths)
    expected = replies.LONG_LINE if any(length + 2 > limit for length in lengths) else raw

    assert clean(raw, max_line_bytes=limit) == expected


@given(
    lines=st.lists(st.binary(max_size=10).filter(lambda line: not set(line) & {0, 10, 13}), max_size=10),
)
def test_what_was_stuffed_comes_out_as_it_was(lines: list[bytes]) -> None:
    stuffed = b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in lines)

    assert clean(stuffed) == b"".join(line + b"\r\n" for line in lines)
