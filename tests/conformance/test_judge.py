"""What the judge says of what came back: nothing when it is right, where it is wrong when it is not."""

import json
from dataclasses import replace

import pytest
from lxml import etree

from gateway.clock import SystemClock
from gateway.conformance import Level, Result, Run, Verdict, load_corpus, to_json, to_junit
from gateway.conformance.carrier import CarrierSms
from gateway.conformance.filling import FilledCase, Filling
from gateway.conformance.judge import Observed, expected_reports, judge
from gateway.conformance.report import ReceivedReport, Report, read_received
from gateway.smtp.mailbox import ReceivedMail
from tests.conformance.house import IDENTITY

CASES = {case.number: case for case in load_corpus()}
filling = Filling(identity=IDENTITY, run="26030410300012", clock=SystemClock())


def fill(number: str, level: Level = Level.LENIENT) -> FilledCase:
    return filling.fill(CASES[number], CASES[number].alternatives(level))


def receive(report: Report, message_id: str | None, **headers: str) -> ReceivedReport:
    lines = {
        "Message-ID": "<1@gw.example.org>",
        "Auto-Submitted": "auto-replied",
        "Content-Type": "text/plain; charset=ISO-8859-1",
        "Content-Transfer-Encoding": "7bit" if report.body.isascii() else "8bit",
        **({"In-Reply-To": message_id} if message_id else {}),
        **headers,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    mail = ReceivedMail(
        order=1, envelope_from="", recipients=(report.to,), content=head.encode() + b"\r\n" + report.body, options=()
    )
    return read_received(mail)


def observe(filled: FilledCase, alternative: int = 0) -> Observed:
    """Return exactly what one of the alternatives expects."""
    outcome = filled.alternatives[alternative]
    return Observed(
        replies=tuple(f"{reply} ok" for reply in outcome.replies),
        reports=tuple(receive(report, filled.mails[mail - 1].message_id) for report, mail in expected_reports(outcome)),
        sms=tuple(
            CarrierSms(number=number, text=one.text, originator=one.originator)
            for one in outcome.sms
            for number in one.numbers
        ),
    )


@pytest.mark.parametrize("number", ["001", "003", "006", "311", "338"])
def test_what_is_expected_is_no_difference(number: str) -> None:
    filled = fill(number)

    assert judge(filled, observe(filled)).differences == ()


def test_a_tolerance_may_be_refused_on_level_strict_only() -> None:
    strict, lenient = fill("414", Level.STRICT), fill("414", Level.LENIENT)
    refused = observe(strict, 1)

    assert judge(strict, refused).differences == ()
    assert judge(strict, refused).alternative == 1
    assert judge(lenient, refused).differences != ()


def test_half_of_a_tolerance_is_a_difference_on_both_levels() -> None:
    strict, lenient = fill("414", Level.STRICT), fill("414", Level.LENIENT)
    half = replace(observe(strict, 1), sms=observe(strict, 0).sms)

    assert [len(judge(filled, half).differences) for filled in (strict, lenient)] == [1, 1]


def test_what_is_missing_or_too_much_is_named() -> None:
    filled = fill("001")
    right = observe(filled)
    assert right.reports is not None
    assert right.sms is not None
    ack, not_ = right.reports

    assert judge(filled, replace(right, reports=(not_,))).differences == ("no Ack came",)
    assert judge(filled, replace(right, sms=())).differences == ("no SMS to +33639980011",)
    assert judge(filled, replace(right, reports=(ack, ack, not_))).differences == (
        f"one Ack too many, to {ack.report.to}, emailId 260304103000120010",
    )
    assert judge(filled, replace(right, sms=right.sms * 2)).differences[0].startswith("one SMS too many")
    assert judge(filled, replace(right, replies=("451 4.3.0",))).differences == (
        "mail 1 was answered '451 4.3.0', not '250 2.'",
    )


def test_an_sms_is_compared_character_by_character() -> None:
    filled = fill("006")
    right = observe(filled)
    assert right.sms is not None
    [sms] = right.sms

    assert judge(filled, replace(right, sms=(replace(sms, text="Salus"),))).differences == (
        "the SMS to +33639980061, from character 5: 's', not 't'",
    )
    assert judge(filled, replace(right, sms=(replace(sms, originator="Autre"),))).differences == (
        "the SMS to +33639980061 comes from Autre, not from None",
    )


def test_the_alphabet_counts_where_the_case_says_so() -> None:
    filled = fill("334")
    right = observe(filled)
    assert right.sms is not None
    wide = tuple(replace(sms, ucs2=True) for sms in right.sms)

    assert judge(filled, replace(right, sms=wide)).differences == ("the SMS to +33639983341 went with ucs2",)


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({"Auto-Submitted": "no"}, "Auto-Submitted"),
        ({"In-Reply-To": "<other@client.example>"}, "In-Reply-To"),
        ({"Content-Type": "text/html; charset=ISO-8859-1"}, "Content-Type"),
        ({"Content-Type": "text/plain; charset=utf-8"}, "Content-Type"),
        ({"Content-Transfer-Encoding": "8bit"}, "Content-Transfer-Encoding"),
    ],
)
def test_the_mail_that_carries_a_report_is_looked_at(headers: dict[str, str], says: str) -> None:
    filled = fill("007")
    [(report, _)] = expected_reports(filled.alternatives[0])
    received = receive(report, filled.mails[0].message_id, **headers)
    observed = replace(observe(filled), reports=(received,))

    [difference] = judge(filled, observed).differences
    assert says in difference


def test_a_report_with_a_sender_is_a_difference() -> None:
    filled = fill("007")
    right = observe(filled)
    assert right.reports is not None
    observed = replace(right, reports=(replace(right.reports[0], envelope_from="gw@example.org"),))

    assert judge(filled, observed).differences == ("Ack: its envelope sender is gw@example.org, not the null sender",)


def test_words_of_the_mail_in_a_reply_are_a_difference() -> None:
    filled = fill("140")
    observed = replace(observe(filled), replies=("554 5.6.0 cannot read Motsecret",))

    assert judge(filled, observed).differences == ("mail 1 was answered with words of the mail",)


def test_a_run_is_told_to_programs() -> None:
    verdicts = [
        Verdict(case="001-a", about="A", sections=("3.1",), result=Result.PASSED, duration_s=0.25),
        Verdict(case="002-b", about="B", sections=("3.1",), result=Result.FAILED, differences=("<1> & \x01 2",)),
        Verdict(case="003-c", about="C", sections=("9.1",), result=Result.SKIPPED, remark="needs a sandbox"),
    ]
    run = Run(run="1", smtp="127.0.0.1:25", level=Level.STRICT, verdicts=verdicts, duration_s=1.5)

    told = json.loads(to_json(run))
    assert (told["passed"], told["failed"], told["skipped"], told["level"]) == (1, 1, 1, "strict")
    assert [case["verdict"] for case in told["cases"]] == ["passed", "failed", "skipped"]
    suites = etree.fromstring(to_junit(run).encode())
    assert suites.xpath("//failure/@message") == ["<1> &  2"]
    assert suites.xpath("//testcase/@classname") == ["protocol.3", "protocol.3", "protocol.9"]
    assert suites.xpath("//testcase[skipped]/@name") == ["003-c"]
    assert not run.is_passed
