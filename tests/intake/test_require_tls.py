"""docs/protocol.md §1.3: an account that wants TLS gets nothing in clear, and only its own clients are told why."""

import pytest

from gateway.intake import Intake
from gateway.policy.accounts import Accounts
from tests.intake.conftest import Desk
from tests.support.accounts import make_account

IN_CLEAR = "550 5.7.10 Refused: the account of this <keyid> takes mails over TLS alone: use STARTTLS"
STRANGER = "550 5.7.1 You may not send SMS through this gateway"


@pytest.fixture
def intake(desk: Desk) -> Intake:
    other = make_account(name="other", keyid="other-key", domains=("other.fr",), networks=("10.0.0.0/8",))
    return desk.intake(accounts=Accounts([make_account(require_tls=True), other]))


async def test_mail_over_tls_is_taken(desk: Desk, intake: Intake) -> None:
    reply = await desk.submit(desk.example(), intake=intake, is_encrypted=True)

    assert reply.code == 250


async def test_mail_in_clear_is_refused_with_the_cause_and_remembered_without_a_report(
    desk: Desk, intake: Intake
) -> None:
    reply = await desk.submit(desk.example(), intake=intake)

    assert str(reply) == IN_CLEAR
    assert desk.rows("SELECT account, reply FROM refusal") == [("masociete", IN_CLEAR)]
    assert desk.rows("SELECT (SELECT count(*) FROM mail) + (SELECT count(*) FROM report)") == [(0,)]


async def test_stranger_in_clear_is_told_what_every_stranger_is(desk: Desk, intake: Intake) -> None:
    reply = await desk.submit(desk.example(), intake=intake, peer="192.0.2.1")

    assert str(reply) == STRANGER
    assert desk.rows("SELECT count(*) FROM refusal") == [(0,)]


@pytest.mark.parametrize(("keyid", "code"), [(None, 1), ("wrong", 3), ("other-key", 14)])
async def test_wrong_key_is_the_first_thing_to_be_said(
    desk: Desk, intake: Intake, keyid: str | None, code: int
) -> None:
    reply = await desk.submit(desk.example(keyid=keyid), intake=intake)

    assert f"Refused with code {code}" in str(reply)
    assert "TLS" not in str(reply)


async def test_mail_that_comes_again_over_tls_has_its_email_id_still(desk: Desk, intake: Intake) -> None:
    await desk.submit(desk.example(), intake=intake)
    await desk.submit(desk.example(), intake=intake, is_encrypted=True)

    assert [body.count("<code>0</code>") for kind, _, body in desk.reports() if kind == "ack"] == [1]
