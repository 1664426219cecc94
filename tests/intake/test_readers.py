"""What the stage asks its reader for, and what becomes of a mail that was not read."""

from dataclasses import dataclass, field

import pytest
from structlog.testing import capture_logs

from gateway.policy.accounts import Accounts
from gateway.protocol.reading import Limits, Mode, Unreadable
from gateway.reader.inline import InlineReader, NotRead, Reader
from gateway.reader.mail import MailRead
from tests.intake.conftest import ACCOUNTS, Desk, write_envoi, write_mail
from tests.support.accounts import make_account

STRANGER = "550 5.7.1 You may not send SMS through this gateway"
ONE_MODE = Accounts([make_account(), make_account(name="other", keyid="k", domains=("other.example",))])


@dataclass
class Counting:
    """Reads, and remembers in which modes it was asked to."""

    reader: Reader = field(default_factory=lambda: InlineReader(Limits()))
    modes: list[Mode] = field(default_factory=list)

    async def read(self, content: bytes, mode: Mode, *, name: str) -> MailRead | Unreadable:
        self.modes.append(mode)
        return await self.reader.read(content, mode, name=name)


class Failing:
    """Never reads anything."""

    async def read(self, content: bytes, mode: Mode, *, name: str) -> MailRead | Unreadable:
        raise NotRead("the reason", sentence="Come back")


@pytest.mark.parametrize("mode", Mode)
async def test_an_ordinary_mail_is_read_once_in_its_mode(desk: Desk, mode: Mode) -> None:
    reader = Counting()
    reply = await desk.submit(
        write_mail(write_envoi()), intake=desk.intake(accounts=ONE_MODE, reader=reader), mode=mode
    )

    assert reply.code == 250
    assert reader.modes == [mode]


@pytest.mark.parametrize(
    ("mail", "modes"),
    [
        (write_mail(write_envoi()), [Mode.LENIENT]),
        (write_mail(write_envoi(keyid="strict-key")), [Mode.LENIENT, Mode.STRICT]),  # one domain, two accounts
        (write_mail(write_envoi(keyid="strict-key"), sender="a@strict.fr"), [Mode.LENIENT, Mode.STRICT]),
    ],
)
async def test_among_accounts_with_several_modes_the_strict_ones_are_read_again(
    desk: Desk, mail: bytes, modes: list[Mode]
) -> None:
    reader = Counting()
    reply = await desk.submit(mail, intake=desk.intake(accounts=ACCOUNTS, reader=reader))

    assert reply.code == 250
    assert reader.modes == modes


async def test_a_stranger_costs_no_reading(desk: Desk) -> None:
    reader = Counting()
    reply = await desk.submit(write_mail(write_envoi()), intake=desk.intake(reader=reader), peer="192.0.2.1")

    assert (str(reply), reader.modes) == (STRANGER, [])


async def test_a_mail_from_nobody_here_is_refused_for_that_however_broken_its_body_is(desk: Desk) -> None:
    reply = await desk.submit(write_mail("\0", sender="a@elsewhere.example"))

    assert str(reply) == STRANGER


async def test_a_mail_that_was_not_read_is_come_back_and_leaves_a_line_in_the_log(desk: Desk) -> None:
    with capture_logs() as logs:
        reply = await desk.submit(write_mail(write_envoi()), intake=desk.intake(reader=Failing()))

    assert str(reply) == "451 4.3.0 Come back"
    assert [(entry["event"], entry["cause"]) for entry in logs] == [("mail_refused", "the reason")]
    assert desk.rows("SELECT count(*) FROM mail") == [(0,)]
    assert desk.rows("SELECT count(*) FROM refusal") == [(0,)]
