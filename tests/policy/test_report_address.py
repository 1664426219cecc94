"""docs/protocol.md §8.4: where reports may go."""

import pytest

from gateway.policy.report_address import NoReport, ReportTo, judge_contact, judge_report_address
from tests.support.accounts import make_account

OWN = frozenset({"sendsms@gw.masociete.com"})


@pytest.mark.parametrize(
    ("text", "report_domains", "expected"),
    [
        ("ack@masociete.com", (), ReportTo(address="ack@masociete.com")),
        ("Ack@MaSociete.COM", (), ReportTo(address="Ack@masociete.com")),
        ("ack@mail.masociete.com", ("*.masociete.com",), ReportTo(address="ack@mail.masociete.com")),
        ("ack@masociete.com", ("other.fr",), NoReport(reason="outside the account's report_domains")),
        ("victim@elsewhere.example", (), NoReport(reason="outside the account's report_domains")),
        ("ack@mail.masociete.com", (), NoReport(reason="outside the account's report_domains")),
        ("SendSMS@gw.MaSociete.com", ("gw.masociete.com",), NoReport(reason="an address of this gateway")),
        ("ack@masociete.com, victim@elsewhere.example", (), NoReport(reason="not one plain address")),
        ("<ack@masociete.com>", (), NoReport(reason="not one plain address")),
        ("ack@masociete.com\r\nBcc: victim@elsewhere.example", (), NoReport(reason="not one plain address")),
        ("ack", (), NoReport(reason="not one plain address")),
    ],
)
def test_reports_go_only_where_the_account_allows(
    text: str, report_domains: tuple[str, ...], expected: ReportTo | NoReport
) -> None:
    assert judge_report_address(text, make_account(report_domains=report_domains), OWN) == expected


@pytest.mark.parametrize(
    ("mail", "verdict"),
    [
        ("it@elsewhere.example", ReportTo(address="it@elsewhere.example")),
        ("SendSMS@gw.example.org", NoReport(reason="an address of this gateway")),
        (None, NoReport(reason="the account has no mail")),
    ],
)
def test_contact_may_be_anybody_but_the_gateway_itself(mail: str | None, verdict: ReportTo | NoReport) -> None:
    assert judge_contact(make_account(mail=mail), {"sendsms@gw.example.org"}) == verdict
