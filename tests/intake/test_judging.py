"""What is decided about a mail, and what would come of it, without any store."""

from dataclasses import replace
from datetime import timedelta

import pytest

from gateway.intake.forecast import Forecast, make_forecast
from gateway.intake.judging import Ground, Judge, Judgement, NotTaken, Taken
from gateway.intake.order import Arrival
from gateway.lifecycle import EnvoiId, MailId, SmsState
from gateway.policy.accounts import AuthMethod
from gateway.policy.texts import TEXT_PROFILES
from gateway.protocol.codes import AckCode, Code
from gateway.protocol.envoi import Mode
from gateway.protocol.reading import Limits
from gateway.protocol.report import ReportKind
from gateway.reader.inline import InlineReader, Reader
from gateway.store.base import AdmitOutcome, Duplicate, Foreseen, Retransmitted, Stored
from tests.intake.conftest import ACCOUNTS, ARRIVAL, READER, RULES, write_envoi, write_mail
from tests.support.clock import START

STORED = Stored(mail_id=MailId("M1"), ack_code=AckCode.A0_PROCESSED)
DUPLICATE = Duplicate(mail_id=MailId("M1"), first_envoi_id=EnvoiId("E0"))
RETRANSMITTED = Retransmitted(first_mail_id=MailId("M0"))


async def judge(
    content: bytes, *, reader: Reader = READER, peer: str = "127.0.0.1", sender: str = "", mode: Mode = Mode.LENIENT
) -> Judgement:
    submission = replace(ARRIVAL, content=content, peer=peer, envelope_from=sender or ARRIVAL.envelope_from, mode=mode)
    judging = Judge(accounts=ACCOUNTS, text_profiles={"carrier": TEXT_PROFILES["isendpro"]}, rules=RULES, reader=reader)
    return await judging.judge(Arrival(submission=submission, mail_id=MailId("M1"), at=START))


async def taken(**elements: str | None) -> Taken:
    judgement = await judge(write_mail(write_envoi(**elements)))
    assert isinstance(judgement, Taken)
    return judgement


async def foresee(outcome: AdmitOutcome | None, **elements: str | None) -> Forecast:
    """Return what would come of the example, with some elements changed, if the store said so."""
    foreseen = None if outcome is None else Foreseen(outcome=outcome, first_at=START - timedelta(days=1))
    return make_forecast(await taken(**elements), foreseen, now=START, rules=RULES.reports)


def told(forecast: Forecast) -> list[object]:
    """Return the code of each report that would come back, or why there would be none."""
    found: list[object] = []
    for prospect in (forecast.ack, forecast.not_):
        body = prospect.report.body.decode("iso-8859-1") if prospect.report else ""
        code = body.partition("<code>")[2].partition("<")[0]
        found.append(int(code) if code else prospect.reason)
    return found


# --- decided ---------------------------------------------------------------------------------------------------------


async def test_what_is_taken_comes_with_how_it_was_read_and_what_was_decided() -> None:
    judgement = await taken(num=None, num1="0601020304", num2="12345")
    envoi = judgement.written.order.envoi
    assert envoi is not None
    assert judgement.written.admission is not None

    assert str(judgement.reply) == "250 2.0.0 Ok: queued as M1"
    assert (judgement.allowed.account.name, judgement.allowed.proof) == ("masociete", AuthMethod.NETWORK)
    assert (judgement.reading.mode, judgement.reading.body.charset) == (Mode.LENIENT, "utf-8")
    assert judgement.reading.body.text_part.transfer_encoding == "8bit"
    assert [sms.state for sms in envoi.sms] == [SmsState.QUEUED, SmsState.REFUSED]
    assert [sms.position for sms in judgement.written.admission.sms] == [1, 2]
    assert (judgement.written.ack_to.address, judgement.written.not_to.address) == (
        "ack@masociete.com",
        "not@masociete.com",
    )


@pytest.mark.parametrize(
    ("content", "facts", "ground", "is_remembered", "is_read"),
    [
        (write_mail(write_envoi()), {"peer": "192.0.2.1"}, Ground.STRANGER, False, False),
        (write_mail(write_envoi(), sender="a@elsewhere.example"), {}, Ground.STRANGER, True, False),
        (write_mail(write_envoi()), {"sender": "<>"}, Ground.NOT_AN_ORDER, True, False),
        (write_mail("Bonjour"), {}, Ground.UNREADABLE, True, False),
        (write_mail(write_envoi(keyid="wrong")), {}, Ground.WRONG, True, True),
    ],
)
async def test_what_is_not_taken_says_why_and_how_far_it_came(
    content: bytes, facts: dict[str, str], ground: Ground, is_remembered: bool, is_read: bool
) -> None:
    judgement = await judge(content, peer=facts.get("peer", "127.0.0.1"), sender=facts.get("sender", ""))
    assert isinstance(judgement, NotTaken)

    assert judgement.ground is ground
    assert (judgement.refusal is not None, judgement.reading is not None) == (is_remembered, is_read)
    assert (judgement.code, judgement.not_to is not None) == ((Code.C3_KEY_UNKNOWN, True) if is_read else (None, False))


async def test_reading_too_slow_is_come_back_and_remembered_nowhere() -> None:
    long = write_mail(write_envoi() + "\n" + "x\n" * 40_000)
    judgement = await judge(long, reader=InlineReader(Limits(), deadline_s=1e-9))
    assert isinstance(judgement, NotTaken)

    assert (judgement.ground, judgement.reply.code, judgement.refusal) == (Ground.DEFERRED, 451, None)


# --- foreseen --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (None, [0, 0]),
        (STORED, [0, 0]),
        (DUPLICATE, [1, "nothing is sent for a second mail with an emailId"]),
        (RETRANSMITTED, ["the very same mail was taken before, and causes nothing more"] * 2),
    ],
)
async def test_what_would_come_back_depends_on_what_was_here_before(
    outcome: AdmitOutcome | None, expected: list[object]
) -> None:
    forecast = await foresee(outcome)
    is_first = outcome in (None, STORED)

    assert told(forecast) == expected
    assert (forecast.causes_sms, forecast.sends_all) == (is_first, is_first)
    assert forecast.reply.text == f"Ok: queued as {'M0' if outcome is RETRANSMITTED else 'M1'}"


async def test_a_not_that_is_known_at_once_is_the_one_of_the_order() -> None:
    forecast = await foresee(STORED, smslong="x")
    order = (await taken(smslong="x")).written.order

    assert told(forecast) == [0, 34]
    assert [report.body for report in order.reports if report.kind is ReportKind.NOT] == [
        forecast.not_.report.body if forecast.not_.report else None
    ]
    assert not forecast.sends_all


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({"emailAck": None, "emailNot": None}, ["the mail has no emailAck", "the mail has no emailNot"]),
        ({"emailNot": "x@y.example"}, [0, "emailNot is outside the account's report_domains"]),
        ({"emailId": None}, [2, "nothing is sent without an emailId"]),
    ],
)
async def test_why_a_report_would_not_come(elements: dict[str, str | None], expected: list[object]) -> None:
    forecast = await foresee(STORED, **elements)

    assert told(forecast) == expected


@pytest.mark.parametrize(
    ("keyid", "expected"), [("wrong", ["the mail is not taken", 3]), (None, ["the mail is not taken", 1])]
)
async def test_a_wrong_mail_would_get_its_not_alone(keyid: str | None, expected: list[object]) -> None:
    judgement = await judge(write_mail(write_envoi(keyid=keyid)))
    forecast = make_forecast(judgement, None, now=START, rules=RULES.reports)

    assert told(forecast) == expected
    assert (forecast.causes_sms, forecast.sends_all) == (False, False)


async def test_strangers_would_get_nothing() -> None:
    judgement = await judge(write_mail(write_envoi()), peer="192.0.2.1")
    forecast = make_forecast(judgement, None, now=START, rules=RULES.reports)

    assert told(forecast) == ["the mail is not taken", "the mail is not taken"]
    assert forecast.reply.code == 550
