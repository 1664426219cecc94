"""docs/protocol.md §10.2, §10.3: what a mail costs its account, and what the sender and the operator are told of it."""

import pytest
from structlog.testing import capture_logs

from gateway.intake import IntakeRules
from gateway.policy.accounts import Accounts
from tests.intake.conftest import RULES, Desk, write_envoi, write_mail
from tests.support.accounts import make_account
from tests.support.clock import START

ACCOUNT = "masociete"


def envoi(*texts: str, email_id: str = "1548") -> str:
    """One SMS for each text."""
    each = {f"num{place}": f"06010203{place:02}" for place, _ in enumerate(texts, 1)}
    each |= {f"sms{place}": text for place, text in enumerate(texts, 1)}
    return write_envoi(num=None, sms=None, smslong="6", emailId=email_id, **each)


LONG = "x" * 161
"""Two parts."""


async def test_sms_that_no_longer_fit_are_refused_with_12(desk: Desk) -> None:
    await desk.store.set_credit(ACCOUNT, 4, START)
    with capture_logs() as lines:
        await desk.submit(write_mail(envoi("un", LONG, LONG, "deux", "trois")))

    assert desk.rows("SELECT position, state, code FROM sms ORDER BY position") == [
        (1, "queued", None),
        (2, "queued", None),
        (3, "refused", 12),
        (4, "queued", None),
        (5, "refused", 12),
    ]
    (admitted,) = [line for line in lines if line["event"] == "envoi_admitted"]
    assert {key: admitted[key] for key in ("sms", "refused", "unpaid")} == {"sms": 3, "refused": 2, "unpaid": 2}
    assert desk.rings == ["dispatcher masociete", "mailer"]
    assert [kind for kind, _, _ in desk.reports()] == ["ack"]


async def test_when_none_can_be_paid_the_not_goes_at_once(desk: Desk) -> None:
    await desk.store.set_credit(ACCOUNT, 1, START)
    with capture_logs() as lines:
        await desk.submit(write_mail(envoi(LONG, LONG)))
    ack, not_ = desk.reports()
    (told,) = [line["report_ids"] for line in lines if line["event"] == "envoi_admitted"]

    assert (ack[0], not_[:2]) == ("ack", ("not", "not@masociete.com"))
    assert "<code1>12</code1>\n<tel1>0601020301</tel1>\n<message1>Votre crédit de MT est épuisé</message1>" in not_[2]
    assert "<code2>12</code2>\n<tel2>0601020302</tel2>" in not_[2]
    assert sorted(told) == [row[0] for row in desk.rows("SELECT id FROM report ORDER BY id")]
    assert desk.rings == ["mailer"]


async def test_the_mailer_is_rung_for_that_not_without_an_ack_too(desk: Desk) -> None:
    await desk.store.set_credit(ACCOUNT, 0, START)
    await desk.send(emailAck=None)

    assert [kind for kind, _, _ in desk.reports()] == ["not"]
    assert desk.rings == ["mailer"]


async def spend(desk: Desk, *, count: int, rules: IntakeRules = RULES, **settings: object) -> list[str]:
    """Hand in mails with one SMS each; return what the contact was written, oldest first."""
    intake = desk.intake(accounts=Accounts([make_account(**settings)]), rules=rules)
    for _ in range(count):
        number = len(desk.rows("SELECT id FROM mail"))
        content = write_mail(write_envoi(emailId=str(number)), message_id=f"<{number}@masociete.com>")
        await desk.submit(content, intake=intake)
    return [body for kind, to, body in desk.reports() if (kind, to) == ("credit", "it@agency.example")]


async def test_the_contact_is_told_by_mail_when_the_credit_gets_low_and_when_it_is_gone(desk: Desk) -> None:
    await desk.store.set_credit(ACCOUNT, 3, START)
    with capture_logs() as lines:
        low, gone = await spend(desk, count=6, credit_warning=2, mail="it@agency.example")

    assert "left:       1 (in SMS parts)\n    threshold:  2\n" in low
    assert "reste :     1 (en segments de SMS)\n    seuil :     2\n" in low
    assert 'an SMS was refused with code 12 ("Votre crédit de MT est épuisé").' in gone
    assert "left:       0 (in SMS parts)\n    since:      2026-03-04 09:30:00 UTC\n" in gone
    for text in (low, gone):
        assert "    mail2sms credit add masociete PARTS --config FILE\n" in text
        assert "    mail2sms credit add masociete SEGMENTS --config FICHIER\n" in text
        assert max(map(len, text.splitlines())) <= 120
    assert [line["event"] for line in lines if line["event"].startswith("credit_")] == ["credit_low", "credit_gone"]
    assert desk.rows("SELECT DISTINCT in_reply_to FROM report WHERE kind = 'credit'") == [(None,)]
    subjects = {
        "is getting low" in str(body): subject
        for subject, body in desk.rows("SELECT subject, body FROM report WHERE kind = 'credit'")
    }
    assert subjects == {True: None, False: "PUSH MSISDN: SMS credit used up / credit SMS epuise"}


async def test_the_mailer_is_rung_for_a_warning_alone(desk: Desk) -> None:
    await desk.store.set_credit(ACCOUNT, 1, START)
    intake = desk.intake(accounts=Accounts([make_account(credit_warning=1, mail="it@agency.example")]))
    await desk.submit(write_mail(write_envoi(emailAck=None)), intake=intake)

    assert [kind for kind, _, _ in desk.reports()] == ["credit"]
    assert desk.rings == ["dispatcher masociete", "mailer"]


@pytest.mark.parametrize("mail", [None, "SendSMS@masociete.com"])
async def test_without_a_contact_or_with_ourselves_for_one_nobody_is_written_to(desk: Desk, mail: str | None) -> None:
    await desk.store.set_credit(ACCOUNT, 1, START)
    with capture_logs() as lines:
        await spend(desk, count=2, credit_warning=1, mail=mail)

    assert [line["event"] for line in lines if line["event"].startswith("credit_")] == ["credit_low", "credit_gone"]
    assert {kind for kind, _, _ in desk.reports()} == {"ack", "not"}


@pytest.mark.parametrize(("threshold", "warned_at"), [(3, [2]), (0, []), (1, [0]), (9, [])])
async def test_the_operator_is_warned_once_when_the_credit_gets_low(
    desk: Desk, threshold: int, warned_at: list[int]
) -> None:
    await desk.store.set_credit(ACCOUNT, 4, START)
    intake = desk.intake(accounts=Accounts([make_account(credit_warning=threshold)]))
    with capture_logs() as lines:
        for number in range(1, 7):
            content = write_mail(write_envoi(emailId=str(number)), message_id=f"<{number}@masociete.com>")
            await desk.submit(content, intake=intake)
    warnings = [line for line in lines if line["event"] == "credit_low"]

    assert [line["balance"] for line in warnings] == warned_at
    assert {line["log_level"] for line in warnings} <= {"warning"}
