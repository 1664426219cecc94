"""docs/protocol.md §3.4, §8.2: what the schemas say against an envoi or a report, in words and with lines."""

import time

import pytest

from gateway.protocol.codes import AckCode, Code
from gateway.protocol.reading import Limits
from gateway.protocol.report import Ack, Not, ReportFormat, ReportKind, SmsAnswer
from gateway.protocol.report_xml import render_ack, render_not
from gateway.protocol.schema_check import MOST_FAULTS, Document, check_envoi, check_report

LIMITS = Limits()
LITERAL = "not well-formed XML: an & or < that is text must be written &amp; or &lt;"


def found(text: str, limits: Limits = LIMITS) -> list[tuple[int | None, str]]:
    return [(fault.line, fault.sentence) for fault in check_envoi(text, limits)]


@pytest.mark.parametrize(
    "text",
    [
        "<envoi><num>0601020304</num><sms>a &amp; b</sms></envoi>",
        "Bonjour,\n<envoi>\n<sms><![CDATA[a & <b>]]></sms>\n</envoi>\n-- \nmoi & toi < nous",
        "<?xml version='1.0' encoding='UTF-16'?>\n<envoi><smslong/>\n<nostop> 1\n</nostop><date_envoi/></envoi>",
        "<envoi>" + "".join(f"<sms{x}>a</sms{x}><num{x}>06</num{x}>" for x in range(500, 0, -1)) + "</envoi>",
    ],
)
def test_a_good_envoi_has_no_faults(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Bonjour", [(None, "there is no <envoi> in the text")]),
        ("\n<envoi>", [(2, "<envoi> is not closed")]),
        ("<Envoi></Envoi>", [(1, "<Envoi> must be written <envoi>")]),
        ("<envoi>\n<Num>1</Num>\n</envoi>", [(2, "<Num> must be written <num>")]),
        ("<envoi>\n<num>1</num>\n<num>1</num></envoi>", [(3, "<num> is there more than once")]),
        ("<envoi>\n<num01>1</num01></envoi>", [(2, "<num01> has a leading zero")]),
        ("<envoi>\n<sms501>1</sms501></envoi>", [(2, "<sms501> is beyond 500")]),
        ("<envoi>\n<foo/></envoi>", [(2, "<foo> is not known")]),
        ("<envoi>\n<num>\n\n1</num>\n x</envoi>", [(5, "there is text between the elements")]),
        ("<envoi>\n x\n<num>1</num></envoi>", [(2, "there is text between the elements")]),
        ("<envoi>\n<num><b/></num></envoi>", [(2, "<num> has an element in it")]),
        ("<envoi>\n<num a='1'/></envoi>", [(2, "an element has an attribute")]),
        ("<envoi>\n<smslong>0</smslong></envoi>", [(2, "<smslong> must be a number from 1")]),
        (f"<envoi><emailId>{65 * '1'}</emailId></envoi>", [(1, "<emailId> has 65 characters, and may have 64")]),
        ("<envoi>\n<sms>1 & 2</sms>\n<x/></envoi>", [(2, LITERAL), (3, "<x> is not known")]),
        (
            "<envoi>\n<num>1</nun></envoi>",
            [(2, "not well-formed XML: an end tag does not belong to the start tag before it")],
        ),
        (
            "<envoi>\n<sms>&nbsp;</sms></envoi>",
            [(2, "not well-formed XML: a name between & and ; is none of amp, lt, gt, quot and apos")],
        ),
    ],
)
def test_what_is_wrong_is_said_in_words_with_its_line(text: str, expected: list[tuple[int | None, str]]) -> None:
    assert found(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "<!DOCTYPE envoi [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;'>]>\n<envoi><sms>&b;</sms></envoi>",
        "<envoi>\n<?php ?></envoi>",
        "<envoi>" + "<a/>" * (LIMITS.elements + 1) + "</envoi>",
    ],
)
def test_what_could_harm_a_parser_is_refused_before_there_is_one(text: str) -> None:
    [(_, sentence)] = found(text)

    assert sentence.startswith(("a DOCTYPE,", "too many elements"))


def quickest_s(text: str) -> float:
    """Return the processor's time of the quickest of some attempts: whatever else runs here only ever adds to it."""
    took = []
    for _ in range(5):
        started = time.process_time()
        check_envoi(text, LIMITS)
        took.append(time.process_time() - started)
    return min(took)


@pytest.mark.slow
@pytest.mark.parametrize("piece", ["<a/>\n", "<num>1</num>\n", "& ", "<", "<nostop>x</nostop>", "]]>", "<sms>"])
def test_hostile_texts_take_time_in_proportion_to_their_length(piece: str) -> None:
    short, long = (f"<envoi>{piece * count}</envoi>" for count in (450, 1_800))
    found(short)  # the schema is loaded

    assert quickest_s(long) < max(12 * quickest_s(short), 0.01)  # linear is 4, quadratic would be 16
    assert len(found(long)) <= MOST_FAULTS


@pytest.mark.slow
@pytest.mark.parametrize("report_format", list(ReportFormat))
def test_reports_that_are_rendered_here_have_no_faults(report_format: ReportFormat) -> None:
    for count in (1, 2, 500, 501):  # an account may be allowed more than the schemas know (§4.5)
        answers = [SmsAnswer(tel="é<06", code=list(Code)[x % len(Code)]) for x in range(count)]
        body = render_not(Not(email_id=None, answers=answers), report_format)

        assert check_report(ReportKind.NOT, body, report_format) == ()
    assert check_report(ReportKind.ACK, render_ack(Ack(email_id="&", code=AckCode.A1_DUPLICATE)), report_format) == ()


def test_a_report_gone_wrong_would_be_noticed() -> None:
    ack = render_ack(Ack(email_id="1", code=AckCode.A0_PROCESSED))
    not_ = render_not(Not(email_id="1", answers=[SmsAnswer(tel="06", code=Code.C0_SENT)] * 2))
    [code] = check_report(ReportKind.ACK, ack.replace(b"<code>0", b"<code>9"), ReportFormat.SOURCE)
    [syntax] = check_report(ReportKind.ACK, ack.replace(b"<code>", b"<cod>"), ReportFormat.SOURCE)
    [unknown] = check_report(ReportKind.NOT, not_.replace(b"etat2>", b"etat0>"), ReportFormat.SOURCE)
    [missing] = check_report(ReportKind.ACK, b"<etatAck>\n<emailId>1</emailId>\n</etatAck>", ReportFormat.SOURCE)

    assert (code.document, code.line, syntax.line) == (Document.ETAT_ACK, 4, 4)
    assert "'9'" in code.sentence
    assert "Missing child" in missing.sentence
    assert (unknown.document, unknown.line) == (Document.ETAT_NOT, 10)
