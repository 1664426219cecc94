"""docs/protocol.md §5.6: a mail to numbers on the STOP list, and what its sender and the operator are told."""

from structlog.testing import capture_logs

from gateway.policy.accounts import Accounts
from gateway.protocol.codes import Code
from gateway.store.stoplist import EVERYBODY, OptOut, OptOutSource
from gateway.store.two_way import StopRules
from tests.intake.conftest import Desk, write_envoi, write_mail
from tests.store.samples import NotMaker
from tests.support.accounts import make_account
from tests.support.clock import START


async def stop(desk: Desk, msisdn: str, account: str = "masociete") -> None:
    entry = OptOut(account=account, msisdn=msisdn, since_at=START, source=OptOutSource.OPERATOR)
    await desk.store.stop([entry], StopRules(), START, NotMaker())


async def test_a_number_on_the_list_is_refused_with_11_and_the_others_go(desk: Desk) -> None:
    await stop(desk, "+33601020302")
    content = write_envoi(num=None, num1="0601020301", num2="06 01 02 03 02", num3="+33601020302")
    with capture_logs() as lines:
        await desk.submit(write_mail(content))
    (admitted,) = [line for line in lines if line["event"] == "envoi_admitted"]

    assert desk.rows("SELECT position, state, code FROM sms ORDER BY position") == [
        (1, "queued", None),
        (2, "refused", 11),
        (3, "refused", 11),
    ]
    assert {key: admitted[key] for key in ("sms", "refused", "opted_out", "unpaid")} == {
        "sms": 1,
        "refused": 2,
        "opted_out": 2,
        "unpaid": 0,
    }
    assert desk.rings == ["dispatcher masociete", "mailer"]
    assert [kind for kind, _, _ in desk.reports()] == ["ack"]


async def test_when_it_is_the_only_one_the_not_says_11_at_once(desk: Desk) -> None:
    await stop(desk, "+33601020304", EVERYBODY)
    with capture_logs() as lines:
        await desk.send(emailAck=None)
    ((kind, to, body),) = desk.reports()
    (told,) = [line["report_ids"] for line in lines if line["event"] == "envoi_admitted"]

    assert (kind, to) == ("not", "not@masociete.com")
    assert "<code>11</code>\n<tel>0601020304</tel>\n" in body
    assert Code.C11_NUMBER_BLACKLISTED.label in body
    assert desk.rings == ["mailer"]
    assert told == [row[0] for row in desk.rows("SELECT id FROM report")]


async def test_an_account_that_does_not_heed_stop_reaches_everybody(desk: Desk) -> None:
    await stop(desk, "+33601020304")
    intake = desk.intake(accounts=Accounts([make_account(heeds_stop=False)]))
    await desk.submit(write_mail(write_envoi()), intake=intake)

    assert desk.rows("SELECT state FROM sms") == [("queued",)]
