"""XML without names: what is read, and what is not even looked into."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.protocol.positional_xml import MOST_BYTES, Entry, read_entries


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<result></result>", ()),
        ("<result><entry/></result>", ("",)),
        ("<result><entry></entry><entry> a </entry></result>", ("", "a")),
        ("<?xml version='1.0' encoding='UTF-8'?>\n<result >\n<entry\n>1</entry >\n</result>\n", ("1",)),
        ("\ufeff<result><entry>é</entry></result>", ("é",)),
        ("<result><entry><![CDATA[<b>&amp;]]]]></entry></result>", ("<b>&amp;]]",)),
        ("<result><entry><![CDATA[a]]>b<![CDATA[c]]></entry></result>", ("abc",)),
        ("<result><entry>&lt;&#65;&#x42;&amp;&quot;&apos;&gt;</entry></result>", ("<AB&\"'>",)),
        ("<result><entry><entry>1</entry>\n<entry/></entry></result>", (("1", ""),)),
        ("<result><entry>]]x</entry></result>", ("]]x",)),
    ],
)
def test_entries_are_read_in_order(text: str, expected: tuple[Entry, ...]) -> None:
    assert read_entries(text.encode()) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "<result>",
        "<result><entry></result>",
        "<result></entry></result>",
        "<result><entry>1</entry></result><result/>",
        "<result>text<entry>1</entry></result>",
        "<result><entry>text<entry>1</entry></entry></result>",
        "<result><other>1</other></result>",
        "<result><entry a='1'>1</entry></result>",
        "<result a='1'></result>",
        "<html><body></body></html>",
        "<!DOCTYPE result [<!ENTITY a 'b'>]><result><entry>&a;</entry></result>",
        "<result><!ENTITY a 'b'><entry>1</entry></result>",
        "<result><!-- x --><entry>1</entry></result>",
        "<result><?x y?><entry>1</entry></result>",
        "<?xml version='1.0'?><?xml version='1.0'?><result></result>",
        "<result><entry>&a;</entry></result>",
        "<result><entry>&amp</entry></result>",
        "<result><entry>&#0;</entry></result>",
        "<result><entry>&#xD800;</entry></result>",
        "<result><entry>&#x110000;</entry></result>",
        "<result><entry><![CDATA[x]></entry></result>",
        "<result><entry><![CDATA[x",
        "<result><entry>1</entry>" + "<entry>" * 7 + "</entry>" * 7 + "</result>",
        "<result>" + "<entry/>" * 5001 + "</result>",
    ],
)
def test_anything_else_is_not_read(text: str) -> None:
    assert read_entries(text.encode()) is None


def test_bytes_that_are_no_text_and_too_many_of_them_are_not_read() -> None:
    assert read_entries(b"<result><entry>\xff</entry></result>") is None
    assert read_entries(b"<result><entry>" + b"x" * MOST_BYTES + b"</entry></result>") is None


@pytest.mark.parametrize("piece", ["<", "&", "<entry", "<![CDATA[", "]]", "<entry>", "<![CDATA[]", "&#1", " "])
def test_no_repetition_takes_long(piece: str) -> None:
    body = b"<result><entry>" + piece.encode() * (MOST_BYTES // len(piece) - 8)
    started = time.process_time()

    assert read_entries(body) is None
    assert time.process_time() - started < 1


@given(st.binary(max_size=200) | st.text(alphabet="<>entrysul/![]CDAT&#; ", max_size=200).map(str.encode))
def test_any_bytes_are_read_without_an_exception(body: bytes) -> None:
    assert read_entries(body) is None or isinstance(read_entries(body), tuple)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20).map(str.strip), max_size=8))
def test_what_is_written_is_read(values: list[str]) -> None:
    escaped = (value.replace("&", "&amp;").replace("<", "&lt;") for value in values)
    body = "<result>" + "".join(f"<entry>{value}</entry>" for value in escaped) + "</result>"

    assert read_entries(body.encode()) == tuple(values)
