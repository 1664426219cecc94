"""docs/protocol.md §8.1, §8.2: reports, byte for byte, and the schemas they obey."""

import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from lxml import etree

from gateway.protocol.codes import AckCode, Code
from gateway.protocol.report import Ack, Not, ReportFormat, SmsAnswer
from gateway.protocol.report_xml import render_ack, render_not
from gateway.protocol.schemas import Schema, find_faults

GOLDEN = Path(__file__).parent / "golden"
ANSWERS = st.lists(
    st.builds(SmsAnswer, tel=st.one_of(st.none(), st.text(max_size=80)), code=st.sampled_from(Code)),
    min_size=1,
    max_size=6,
)


def answer(tel: str | None, code: Code = Code.C0_SENT) -> SmsAnswer:
    return SmsAnswer(tel=tel, code=code)


TWO = Not(email_id="1548", answers=[answer("0601020304"), answer("06 01", Code.C7_NUMBER_MALFORMED)])


def read_roots(rendered: bytes) -> list[etree._Element]:
    """Read a report as the source prints it, as a client would: one root after the other."""
    declaration, _, rest = rendered.partition(b"\n")
    assert declaration == b'<?xml version="1.0" encoding="ISO-8859-1"?>'
    return list(etree.fromstring(declaration + b"<all>" + rest + b"</all>"))


def echoed(submitted: str | None) -> str:
    """What a report makes of a submitted value, by another way than the code: letter by letter."""
    kept = [
        " " if character in "\t\n\r" else character
        for character in (submitted or "").strip()[:64]
        if re.fullmatch("[\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", character)
    ]
    return "".join(kept).strip() or "?"


@pytest.mark.parametrize(
    ("name", "rendered"),
    [
        ("ack-0.xml", render_ack(Ack(email_id="1548", code=AckCode.A0_PROCESSED))),
        ("ack-1.xml", render_ack(Ack(email_id="1548", code=AckCode.A1_DUPLICATE))),
        ("ack-2.xml", render_ack(Ack(email_id=None, code=AckCode.A2_NO_ID))),
        ("not-one.xml", render_not(Not(email_id="1548", answers=[answer("0601020304")]), ReportFormat.SOURCE)),
        ("not-two.xml", render_not(TWO, ReportFormat.SOURCE)),
        ("not-two-wellformed.xml", render_not(TWO, ReportFormat.WELLFORMED)),
        ("not-fault.xml", render_not(Not(email_id=None, answers=[answer(None, Code.C23_TOO_MANY_NUMBERS)]))),
        (
            "not-escaped.xml",
            render_not(Not(email_id="<a&b> \x80€ é\u0152", answers=[answer("]]>\x00\ufffe\n"), answer(" ")])),
        ),
    ],
)
def test_report_is_the_golden_file_byte_for_byte(name: str, rendered: bytes) -> None:
    assert rendered == (GOLDEN / name).read_bytes()


@pytest.mark.parametrize(
    ("submitted", "expected"),
    [
        (None, b"?"),
        ("", b"?"),
        (" \t", b"?"),
        ("\x00\x1b\ud800\uffff", b"?"),
        ("06 01 02 03 04", b"06 01 02 03 04"),
        ("a\r\nb", b"a  b"),
        ("<tel>&amp;", b"&lt;tel&gt;&amp;amp;"),
        ("é€\x9c", b"\xe9&#8364;&#156;"),
        ("&" * 65, b"&amp;" * 64),
    ],
)
def test_what_comes_from_a_mail_is_harmless_and_never_empty(submitted: str | None, expected: bytes) -> None:
    assert b"<tel>" + expected + b"</tel>" in render_not(Not(email_id="1", answers=[answer(submitted)]))
    assert b"<emailId>" + expected + b"</emailId>" in render_ack(Ack(email_id=submitted, code=AckCode.A0_PROCESSED))


@pytest.mark.slow
@given(st.one_of(st.none(), st.text(max_size=80)), st.sampled_from(AckCode))
def test_ack_says_again_what_it_was_made_of(email_id: str | None, code: AckCode) -> None:
    rendered = render_ack(Ack(email_id=email_id, code=code))
    root = etree.fromstring(rendered)

    assert [child.text for child in root] == [echoed(email_id), str(code.value), code.label]
    assert find_faults(rendered, Schema.ETAT_ACK.load()) == ()


@pytest.mark.slow
@given(st.one_of(st.none(), st.text(max_size=80)), ANSWERS)
@example(None, [answer("\x08\x850")])  # a blank that is escaped, behind what is left out
def test_not_says_again_what_it_was_made_of(email_id: str | None, answers: list[SmsAnswer]) -> None:
    report = Not(email_id=email_id, answers=answers)
    head, *states = read_roots(render_not(report, ReportFormat.SOURCE))
    [reponse] = [etree.fromstring(render_not(report, ReportFormat.WELLFORMED))]
    suffixes = [""] if len(answers) == 1 else [str(position) for position in range(1, len(answers) + 1)]

    assert [child.text for child in head] == [echoed(email_id)]
    assert [[child.tag for child in state] for state in states] == [
        [f"code{suffix}", f"tel{suffix}", f"message{suffix}"] for suffix in suffixes
    ]
    assert [[child.text for child in state] for state in states] == [
        [str(one.code.value), echoed(one.tel), one.code.label] for one in answers
    ]
    assert [etree.tostring(child) for child in reponse] == [etree.tostring(child) for child in (head, *states)]


@pytest.mark.slow
def test_nots_of_one_and_of_many_obey_their_schemas() -> None:
    one_root, whole = Schema.ETAT_NOT.load(), Schema.ETAT_NOT_WELLFORMED.load()
    for count in (1, 2, 3, 500):
        report = Not(email_id="1", answers=[answer(f"06{x:08}", list(Code)[x % len(Code)]) for x in range(count)])
        roots = read_roots(render_not(report, ReportFormat.SOURCE))

        assert [find_faults(etree.tostring(root), one_root) for root in roots] == [()] * (count + 1)
        assert find_faults(render_not(report, ReportFormat.WELLFORMED), whole) == ()


# --- schemas ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("schema", list(Schema))
def test_schema_is_there_and_loads(schema: Schema) -> None:
    assert isinstance(schema.load(), etree.XMLSchema)


@pytest.mark.parametrize(
    "envoi",
    [
        "<envoi><keyid>k</keyid><num>0601020304</num><sms>Salut</sms><emailId>1</emailId></envoi>",
        "<envoi><emetteur/><nostop>1</nostop><ucs2>0</ucs2><date_envoi>2026-03-04 10:30</date_envoi></envoi>",
        "<envoi>" + "".join(f"<sms{x}>a</sms{x}><num{x}>06</num{x}>" for x in range(500, 0, -1)) + "</envoi>",
    ],
)
def test_envoi_obeys_its_schema(envoi: str) -> None:
    assert find_faults(envoi.encode(), Schema.ENVOI.load()) == ()


@pytest.mark.parametrize(
    "envoi",
    [
        "<envoi><num>1</num><num>2</num></envoi>",
        "<envoi><num501>1</num501></envoi>",
        "<envoi><num01>1</num01></envoi>",
        "<envoi><foo/></envoi>",
        "<envoi a='1'/>",
        "<envoi>x</envoi>",
        "<envoi><smslong>deux</smslong></envoi>",
        "<envoi><nostop>oui</nostop></envoi>",
        "<envoi>",
    ],
)
def test_what_is_no_envoi_has_faults(envoi: str) -> None:
    assert find_faults(envoi.encode(), Schema.ENVOI.load()) != ()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("schema", "document"),
    [
        (
            Schema.ETAT_ACK,
            "<etatAck><emailId>1</emailId><code>3</code><message>emailId deja traite</message></etatAck>",
        ),
        (Schema.ETAT_ACK, "<etatAck><emailId/><code>1</code><message>emailId deja traite</message></etatAck>"),
        (Schema.ETAT_NOT, "<etat><code>5</code><tel>?</tel><message>Le champ Login est vide</message></etat>"),
        (Schema.ETAT_NOT, "<etat1><code>1</code><tel>?</tel><message>Le champ Login est vide</message></etat1>"),
        (Schema.ETAT_NOT_WELLFORMED, "<reponse><etatNot><emailId>1</emailId></etatNot></reponse>"),
    ],
)
def test_what_is_no_report_has_faults(schema: Schema, document: str) -> None:
    assert find_faults(document.encode(), schema.load()) != ()
