"""docs/protocol.md §10.1: a key that is being replaced still works, and the operator hears who uses it."""

import json

import pytest
from structlog.testing import capture_logs

from gateway.intake import Intake
from gateway.intake.previous_keys import LOGGED_EVERY_S
from gateway.metrics import REGISTRY
from gateway.policy.accounts import Accounts
from tests.intake.conftest import Desk
from tests.support.accounts import KEYID, make_account

OLD = "the-key-before"


@pytest.fixture
def intake(desk: Desk, request: pytest.FixtureRequest) -> Intake:
    """A stage whose account has a name of its own, for metrics last longer than tests."""
    return desk.intake(accounts=accounts_of(request))


def accounts_of(request: pytest.FixtureRequest, **settings: object) -> Accounts:
    return Accounts([make_account(**{"name": name_of(request), "previous_keyid": OLD, **settings})])


def name_of(request: pytest.FixtureRequest) -> str:
    return str(request.node.originalname)[:40]


def counted(account: str) -> float | None:
    return REGISTRY.get_sample_value("mail2sms_previous_key_mails_total", {"account": account})


async def send(desk: Desk, intake: Intake, email_id: str, keyid: str = OLD) -> int:
    content = desk.example(message_id=f"<{email_id}@masociete.com>", keyid=keyid, emailId=email_id)
    return (await desk.submit(content, intake=intake)).code


async def test_mail_with_the_key_before_is_taken_noted_and_told(
    desk: Desk, intake: Intake, request: pytest.FixtureRequest
) -> None:
    with capture_logs() as logs:
        code = await send(desk, intake, "1")
    told = [line for line in logs if line["event"] == "previous_key_used"]

    assert code == 250
    assert [(line["account"], line["sender"], line["unlogged"]) for line in told] == [
        (name_of(request), "alerte@masociete.com", 0)
    ]
    assert "keyid: the account's previous one" in json.loads(str(desk.rows("SELECT notes FROM mail")[0][0]))
    assert counted(name_of(request)) == 1


async def test_mail_with_the_present_key_is_nothing_special(
    desk: Desk, intake: Intake, request: pytest.FixtureRequest
) -> None:
    with capture_logs() as logs:
        code = await send(desk, intake, "1", KEYID)

    assert code == 250
    assert not [line for line in logs if line["event"] == "previous_key_used"]
    assert json.loads(str(desk.rows("SELECT notes FROM mail")[0][0])) == []
    assert counted(name_of(request)) == 0  # there from the start, so that an alert can go by it


async def test_log_tells_of_it_once_an_hour(desk: Desk, intake: Intake, request: pytest.FixtureRequest) -> None:
    with capture_logs() as logs:
        for number in range(3):
            await send(desk, intake, f"1{number}")
        desk.clock.advance(LOGGED_EVERY_S)
        await send(desk, intake, "2")

    assert [line["unlogged"] for line in logs if line["event"] == "previous_key_used"] == [0, 2]
    assert counted(name_of(request)) == 4


async def test_key_before_is_dead_once_it_is_taken_out(
    desk: Desk, intake: Intake, request: pytest.FixtureRequest
) -> None:
    intake.reconfigure(accounts_of(request, previous_keyid=None), {})

    assert await send(desk, intake, "1") == 550
    assert desk.rows("SELECT cause FROM refusal") == [("code 3: the <keyid> is not known",)]


async def test_both_keys_share_the_email_ids(desk: Desk, intake: Intake) -> None:
    for number, keyid in enumerate((OLD, KEYID)):
        content = desk.example(message_id=f"<{number}@masociete.com>", keyid=keyid)
        assert (await desk.submit(content, intake=intake)).code == 250

    assert desk.rows("SELECT count(*) FROM envoi") == [(1,)]
