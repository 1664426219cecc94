"""docs/protocol.md §10.5, §10.6: what a sender may do, and what sender, contact and operator are told of it."""

from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from gateway.alarms import AlarmWriter, describe_subject
from gateway.intake import Reply
from gateway.lifecycle import MailId
from gateway.policy.accounts import Accounts
from gateway.store.budget import Overrun
from tests.intake.conftest import RULES, Desk, write_envoi, write_mail
from tests.support.accounts import make_account
from tests.support.clock import START


def quota(per: str = "account", window: str = "hour", **more: object) -> dict[str, object]:
    return {"per": per, "window": window, **more}


async def send(
    desk: Desk,
    *,
    count: int = 1,
    sender: str = "alerte@masociete.com",
    quotas: Sequence[object] = (),
    **settings: object,
) -> list[Reply]:
    """Hand in mails with one SMS each, of an account with these settings."""
    intake = desk.intake(accounts=Accounts([make_account(quotas=quotas, mail="it@agency.example", **settings)]))
    replies: list[Reply] = []
    for _ in range(count):
        number = len(replies) + len(desk.rows("SELECT id FROM mail")) * 1000
        content = write_mail(write_envoi(emailId=str(number)), sender=sender, message_id=f"<{number}@masociete.com>")
        replies.append(await desk.submit(content, intake=intake))
    return replies


def mails(desk: Desk) -> list[str]:
    """What the contact was written."""
    return [body for kind, to, body in desk.reports() if (kind, to) == ("alarm", "it@agency.example")]


def codes(desk: Desk) -> list[object]:
    return [code for (code,) in desk.rows("SELECT code FROM sms ORDER BY rowid")]


async def test_beyond_the_quota_the_mail_is_250_and_its_not_says_29_at_once(desk: Desk) -> None:
    with capture_logs() as lines:
        replies = await send(desk, count=3, quotas=[quota("recipient", sms=2)])
    nots = [body for kind, _, body in desk.reports() if kind == "not"]
    admitted = [line for line in lines if line["event"] == "envoi_admitted"]

    assert {reply.code for reply in replies} == {250}
    assert codes(desk) == [None, None, 29]
    assert len(nots) == 1
    assert (
        "<code>29</code>\n<tel>0601020304</tel>\n"
        "<message>Nous ne pouvons donner suite à votre demande (overflow)</message>" in nots[0]
    )
    assert [(line["sms"], line["refused"], line["held_back"]) for line in admitted] == [(1, 0, 0), (1, 0, 0), (0, 1, 1)]


async def test_a_spent_quota_is_one_line_in_the_log_and_one_mail(desk: Desk) -> None:
    with capture_logs() as lines:
        await send(desk, count=4, quotas=[quota(sms=1)])
    (spent,) = [line for line in lines if line["event"] == "quota_spent"]
    (text,) = mails(desk)

    assert (spent["log_level"], spent["quota"], spent["subject"]) == ("warning", "account/hour/sms", "")
    assert spent["limit"] == "at most 1 SMS an hour for the account"
    assert "    quota:      at most 1 SMS an hour for the account\n" in text
    assert '29\n("Nous ne pouvons donner suite à votre demande (overflow)")' in text
    assert "    depuis :    2026-03-04 09:30:00 UTC\n" in text
    assert max(map(len, text.splitlines())) <= 120
    assert "mailer" in desk.rings


async def test_a_storm_to_one_number_is_a_line_with_the_number_masked_and_no_mail_yet(desk: Desk) -> None:
    with capture_logs() as lines:
        await send(desk, count=5, quotas=[quota("recipient", sms=1)])

    assert [line["subject"] for line in lines if line["event"] == "quota_spent"] == ["+33*****304"]
    assert mails(desk) == []


async def test_senders_are_the_address_of_from_in_any_case(desk: Desk) -> None:
    limits = [quota("sender", sms=1)]
    for sender in ("Alerte@masociete.com", "alerte@MASOCIETE.com", "autre@masociete.com"):
        await send(desk, sender=sender, quotas=limits)

    assert codes(desk) == [None, 29, None]


@pytest.mark.parametrize("per", ["account", "sender"])
async def test_mails_beyond_a_quota_of_mails_are_told_to_come_back_and_may(desk: Desk, per: str) -> None:
    limits = [quota(per, "minute", mails=2)]
    with capture_logs() as lines:
        replies = await send(desk, count=3, quotas=limits)
    desk.clock.advance(70)
    content = write_mail(write_envoi(emailId="2"), message_id="<2@masociete.com>")
    intake = desk.intake(accounts=Accounts([make_account(quotas=limits)]))
    again = await desk.submit(content, intake=intake)
    refused = [line for line in lines if line["event"] == "mail_refused"]

    assert [reply.code for reply in replies] == [250, 250, 451]
    whose = "for the account" if per == "account" else "from one sender"
    sentence = f"at most 2 mails a minute {whose}"
    assert str(replies[-1]) == f"451 4.7.1 A quota of mails is used up, try again later: {sentence}"
    assert [line["cause"] for line in refused] == [f"account masociete: quota of mails: {sentence}"]
    assert again.code == 250
    assert desk.rows("SELECT email_id FROM email_id WHERE email_id = '2'") == [("2",)]


async def test_a_mail_without_an_email_id_counts_as_a_mail_too(desk: Desk) -> None:
    intake = desk.intake(accounts=Accounts([make_account(quotas=[quota(mails=1)])]))
    replies = [
        await desk.submit(write_mail(write_envoi(emailId=None), message_id=f"<{n}@masociete.com>"), intake=intake)
        for n in range(2)
    ]

    assert [reply.code for reply in replies] == [250, 451]


async def test_an_unusual_volume_is_a_line_and_a_mail_once(desk: Desk) -> None:
    with capture_logs() as lines:
        await send(desk, count=5, volume_warning=2)
    (unusual,) = [line for line in lines if line["event"] == "volume_unusual"]
    (text,) = mails(desk)

    assert {key: unusual[key] for key in ("account", "parts", "threshold", "usual", "log_level")} == {
        "account": "masociete",
        "parts": 3,
        "threshold": 2,
        "usual": None,
        "log_level": "warning",
    }
    assert "    this hour:  3 (in SMS parts, since 09:00 UTC)\n    threshold:  2\n" in text
    assert "    cette heure : 3 (en segments de SMS, depuis 09:00 UTC)\n" in text
    assert codes(desk) == [None] * 5


async def test_without_a_contact_the_operator_alone_is_told(desk: Desk) -> None:
    intake = desk.intake(accounts=Accounts([make_account(quotas=[quota(sms=1)], volume_warning=1)]))
    with capture_logs() as lines:
        for n in range(2):
            content = write_mail(write_envoi(emailId=str(n), num1="0601020305", sms1="x", num=None, sms="y"))
            content = content.replace(b"<1@client", f"<{n}@client".encode())
            await desk.submit(content, intake=intake)

    assert [line["event"] for line in lines if line["event"] in {"quota_spent", "volume_unusual"}] == ["quota_spent"]
    assert mails(desk) == []


def overrun(subject: str, sms: int = 7) -> Overrun:
    return Overrun(
        account="masociete",
        quota="q",
        subject=subject,
        sentence="at most 3 SMS an hour to one number",
        is_guard=True,
        began_at=START,
        last_at=START,
        due_at=START,
        sms=sms,
        mail_id=MailId("M"),
    )


def test_the_sum_names_each_number_masked_and_counts_those_it_has_no_room_for() -> None:
    writer = AlarmWriter(recipient="it@agency.example", rules=RULES.reports)
    report = writer.sum_up("masociete", [overrun(f"+336010203{place:02}") for place in range(60)], START)
    text = report.body.decode("iso-8859-1")

    assert 'held back 420 SMS, refused with code 29\n("' in text
    assert "\n7 more / de plus: +33*****300 (at most 3 SMS an hour to one number), 2026-03-04 09:30:00 - 09:" in text
    assert "+ 10 more numbers or senders / autres numéros ou expéditeurs\n" in text
    assert "0601020300" not in text


@pytest.mark.parametrize(
    ("subject", "said"), [("", ""), ("+33601020304", "+33*****304"), ("it@acme.example", "it@acme.example")]
)
def test_subjects_are_said_with_numbers_masked(subject: str, said: str) -> None:
    assert describe_subject(subject) == said
