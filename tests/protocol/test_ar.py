"""docs/protocol.md §8.6: the etatAr, byte for byte, and the schemas it obeys."""

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from gateway.protocol.codes import Code
from gateway.protocol.report import Ar, NetworkWord, ReportFormat, ReportKind, SmsReceipt
from gateway.protocol.report_xml import render_ar
from gateway.protocol.schema_check import Document, check_report
from gateway.protocol.schemas import Schema, find_faults

GOLDEN = Path(__file__).parent / "golden"
AT = datetime(2026, 3, 4, 9, 31, 59, tzinfo=UTC).astimezone(ZoneInfo("Europe/Paris"))
DELIVERED = SmsReceipt(tel="0601020304", word=NetworkWord.DELIVERED, at=AT)
UNASSIGNED = SmsReceipt(tel="06 01", word=NetworkWord.UNDELIVERED, code=Code.C21_NUMBER_UNASSIGNED, at=AT)
UNDELIVERED = SmsReceipt(tel="0601020305", word=NetworkWord.UNDELIVERED, at=AT)
UNHEARD = SmsReceipt(tel="0601020306", word=NetworkWord.NOTHING)
NOT_SENT = SmsReceipt(tel=None, word=NetworkWord.NOT_ASKED, code=Code.C7_NUMBER_MALFORMED)
ALL = Ar(email_id="1548", receipts=[DELIVERED, UNASSIGNED, UNDELIVERED, UNHEARD, NOT_SENT])

RECEIPTS = st.builds(
    SmsReceipt,
    tel=st.one_of(st.none(), st.text(max_size=80)),
    word=st.sampled_from(NetworkWord),
    code=st.sampled_from([code for code in Code if code is not Code.C0_SENT]),
    at=st.one_of(st.none(), st.datetimes(min_value=datetime(2000, 1, 1), timezones=st.just(UTC))),  # noqa: DTZ001 as wanted
)


@pytest.mark.parametrize(
    ("name", "rendered"),
    [
        ("ar-one.xml", render_ar(Ar(email_id="1548", receipts=[DELIVERED]))),
        ("ar-all.xml", render_ar(ALL)),
        ("ar-all-wellformed.xml", render_ar(ALL, ReportFormat.WELLFORMED)),
    ],
)
def test_an_ar_is_the_golden_file_byte_for_byte(name: str, rendered: bytes) -> None:
    assert rendered == (GOLDEN / name).read_bytes()


@given(receipt=RECEIPTS)
def test_0_means_that_it_arrived_and_nothing_else_is_0(receipt: SmsReceipt) -> None:
    is_0 = b"<code>0</code>" in render_ar(Ar(email_id=None, receipts=[receipt]))

    assert is_0 == (receipt.word is NetworkWord.DELIVERED)


@pytest.mark.slow
@pytest.mark.parametrize("report_format", list(ReportFormat))
@settings(deadline=None)  # the first one loads the schema
@given(receipts=st.lists(RECEIPTS, min_size=1, max_size=5))
def test_an_ar_obeys_its_schema(report_format: ReportFormat, receipts: list[SmsReceipt]) -> None:
    body = render_ar(Ar(email_id="1", receipts=receipts), report_format)

    assert check_report(ReportKind.RECEIPTS, body, report_format) == ()


@pytest.mark.slow
def test_an_ar_gone_wrong_would_be_noticed() -> None:
    body = render_ar(ALL)
    [date] = check_report(
        ReportKind.RECEIPTS, body.replace(b"2026-03-04 10:31</date1>", b"4.3.</date1>"), ReportFormat.SOURCE
    )
    [message] = check_report(ReportKind.RECEIPTS, body.replace(b"re\xe7u", b"envoy\xe9"), ReportFormat.SOURCE)
    reponse = "<reponse><etatAr><emailId>1</emailId></etatAr></reponse>"

    assert (date.document, date.line) == (Document.ETAT_AR, 9)
    assert message.line == 8
    assert find_faults(reponse.encode(), Schema.ETAT_AR_WELLFORMED.load()) != ()


@pytest.mark.slow
def test_an_ar_of_five_hundred_obeys_the_schema() -> None:
    ar = Ar(email_id="1", receipts=[DELIVERED] * 500)
    whole = Schema.ETAT_AR_WELLFORMED.load()

    assert find_faults(render_ar(ar, ReportFormat.WELLFORMED), whole) == ()
    assert len(etree.fromstring(render_ar(ar, ReportFormat.WELLFORMED))) == 501
