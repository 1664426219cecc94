"""The smarthost is asked up to RCPT, and is sent nothing."""

from collections.abc import AsyncIterator

import pytest

from gateway.doctor import Level, Section
from gateway.smtp.mailbox import Mailbox, Step
from tests.doctor.conftest import Write, find, levels, look
from tests.support.rawhttp import closed_port

SMARTHOST = Section.SMARTHOST


@pytest.fixture
async def mailbox() -> AsyncIterator[Mailbox]:
    async with Mailbox() as opened:
        yield opened


async def test_a_smarthost_that_takes_reports_is_sent_none(write: Write, mailbox: Mailbox) -> None:
    account = {"domains": ["masociete.com", "agency.example", "*.far.example"], "mail": "it@agency.example"}
    checkup = await look(write(smarthost=mailbox.address, account=account), SMARTHOST)

    assert levels(checkup) == {Level.OK}
    assert find(checkup, "postmaster@masociete.com", "nothing sent").todo is None
    assert find(checkup, "RCPT it@agency.example").todo is None
    assert len(checkup.findings) == 3
    assert not mailbox.mails


REFUSALS = [
    (Step.RCPT, "554 5.7.1 Relay access denied", Level.FAILURE, "does not relay to masociete.com"),
    (Step.RCPT, "550 5.1.1 User unknown", Level.WARNING, "refuses postmaster@masociete.com"),
    (Step.RCPT, "451 4.7.1 Greylisted", Level.NOTE, "not now"),
    (Step.MAIL, "530 5.7.0 Must issue a STARTTLS command first", Level.FAILURE, "wants TLS first"),
    (Step.MAIL, "550 5.7.1 Null sender refused", Level.FAILURE, "does not take mail from this machine"),
    (Step.CONNECT, "554 5.7.1 You are blocked", Level.FAILURE, "You are blocked"),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=[one[1][:12] for one in REFUSALS])
async def test_what_it_refuses_is_told_in_its_words(
    write: Write, mailbox: Mailbox, refusal: tuple[Step, str, Level, str]
) -> None:
    step, reply, level, words = refusal
    mailbox.refuse(step, reply)
    checkup = await look(write(smarthost=mailbox.address), SMARTHOST)

    assert find(checkup, words).level is level
    assert not mailbox.mails


async def test_a_smarthost_that_is_not_there_is_a_failure(write: Write) -> None:
    checkup = await look(write(smarthost=("127.0.0.1", await closed_port())), SMARTHOST)

    assert find(checkup, "connection refused").level is Level.FAILURE


async def test_a_silent_smarthost_is_not_waited_for_longer_than_asked(write: Write, mailbox: Mailbox) -> None:
    mailbox.delay(Step.EHLO, 60)
    checkup = await look(write(smarthost=mailbox.address), SMARTHOST, look_s=0.5)

    assert find(checkup, "smarthost: no end within 0.5 s").level is Level.UNKNOWN


async def test_the_gateway_is_no_smarthost_of_its_own(write: Write) -> None:
    port = await closed_port()
    checkup = await look(write(smarthost=("127.0.0.1", port), smtp={"listen": [f"0.0.0.0:{port}"]}), SMARTHOST)

    assert find(checkup, "is the gateway itself (listener smtp)").level is Level.FAILURE
