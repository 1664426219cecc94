"""What the store keeps for the console, on both databases."""

from dataclasses import replace
from datetime import timedelta

import pytest

from gateway.ids import new_id
from gateway.lifecycle import MailId, SmsId, SmsState
from gateway.store import Store
from gateway.store.base import Refusal
from gateway.store.console import MOST_SESSIONS, ConsoleAction, ConsoleSession
from gateway.store.console_reading import Pulse
from gateway.store.stoplist import EVERYBODY, OptOut, OptOutSource
from gateway.store.two_way import StopRules
from tests.store.samples import NotMaker, new_mail, new_order, new_report, new_sms
from tests.support.clock import START

HOUR = timedelta(hours=1)


def session(name: str = "marie", *, number: int = 0, created_after_s: int = 0) -> ConsoleSession:
    at = START + timedelta(seconds=created_after_s)
    return ConsoleSession(
        digest=f"{name}{number}".encode(), who=name, credential=b"\x00\xff", created_at=at, seen_at=at
    )


async def test_a_session_is_found_touched_and_closed(store: Store) -> None:
    await store.open_session(session(), idle_since=START - HOUR, created_before=START - HOUR)
    found = await store.find_session(b"marie0")
    await store.touch_session(b"marie0", START + HOUR)
    touched = await store.find_session(b"marie0")
    await store.close_session(b"marie0")

    assert found == session()
    assert touched == replace(session(), seen_at=START + HOUR)
    assert await store.find_session(b"marie0") is None


async def test_a_session_that_is_over_goes_when_another_begins(store: Store) -> None:
    await store.open_session(session(), idle_since=START - HOUR, created_before=START - HOUR)
    later = session("paul", created_after_s=7200)
    await store.open_session(later, idle_since=START + HOUR, created_before=START - HOUR)

    assert await store.find_session(b"marie0") is None
    assert await store.find_session(b"paul0") == later


async def test_one_user_has_so_many_sessions_and_no_more(store: Store) -> None:
    await store.open_session(session("paul"), idle_since=START - HOUR, created_before=START - HOUR)
    for number in range(MOST_SESSIONS + 2):
        new = session(number=number, created_after_s=number)
        await store.open_session(new, idle_since=START - HOUR, created_before=START - HOUR)
    left = [number for number in range(MOST_SESSIONS + 2) if await store.find_session(f"marie{number}".encode())]

    assert left == list(range(2, MOST_SESSIONS + 2))
    assert await store.find_session(b"paul0") is not None


async def test_what_was_done_is_listed_the_last_first_and_purged_with_records(store: Store) -> None:
    actions = [
        ConsoleAction(
            id=new_id(START + timedelta(hours=hour)),
            at=START + timedelta(hours=hour),
            who="marie\x00",
            peer="192.0.2.1",
            action="hold",
            object="M1",
            outcome="1 of 1 SMS moved",
        )
        for hour in range(3)
    ]
    for action in actions:
        await store.note_action(action)
    first = await store.console_actions(before=None, limit=2)
    rest = await store.console_actions(before=first[-1].id, limit=2)
    await store.purge_records(before=START + HOUR, limit=10)

    assert [one.id for one in (*first, *rest)] == [one.id for one in reversed(actions)]
    assert first[0].who == "marie\ufffd"
    assert len(await store.console_actions(before=None, limit=5)) == 2


async def test_the_pulse_counts_mails_and_sms_of_each_minute(store: Store) -> None:
    for seconds in (0, 59, 60):
        at = START + timedelta(seconds=seconds)
        mail = replace(new_mail(), id=MailId(new_id(at)))
        await store.admit(new_order(*(replace(new_sms(place), id=SmsId(new_id(at))) for place in (1, 2)), mail=mail))
    minutes = [START + timedelta(minutes=minute) for minute in (-1, 0, 1)]

    assert await store.pulses(minutes) == (Pulse(mails=0, sms=0), Pulse(mails=2, sms=4), Pulse(mails=1, sms=2))


async def test_a_mail_and_its_reports_are_shown_as_they_are(store: Store) -> None:
    order = new_order(reports=[new_report()])
    await store.admit(order)
    mail = await store.shown_mail(order.mail.id)
    reports = await store.shown_reports(order.mail.id, 5)

    assert mail is not None
    assert (mail.raw, mail.is_purged) == (order.mail.raw, False)
    assert [(one.recipient, one.body) for one in reports] == [("ops@acme.example", b"<etatAck/>")]
    assert await store.shown_mail("none") is None
    assert await store.shown_reports("none", 5) == ()


async def test_refusals_and_clients_turned_away_are_told_the_last_first(store: Store) -> None:
    for hour in range(3):
        refusal = Refusal(
            id=MailId(f"R{hour}"),
            refused_at=START + timedelta(hours=hour),
            peer="192.0.2.1",
            listener="smtp",
            envelope_from="bounce@acme.example",
            header_from=None if hour else "glpi@acme.example",
            message_id=None,
            account="acme",
            reply="554 5.6.0 no",
            cause=f"cause {hour}",
        )
        await store.refuse(refusal)
    found = await store.last_refusals(2)

    assert [(one.id, one.sender, one.cause, one.count) for one in found] == [
        ("R2", "bounce@acme.example", "cause 2", 1),
        ("R1", "bounce@acme.example", "cause 1", 1),
    ]


async def test_states_are_told_of_the_sms_that_there_are(store: Store) -> None:
    sms = new_sms(1)
    await store.admit(new_order(sms))

    assert await store.sms_states([sms.id, "none"]) == {sms.id: SmsState.QUEUED}


@pytest.mark.parametrize(("accounts", "found"), [(["acme", "*"], 2), (["acme"], 1), (["other"], 0)])
async def test_a_number_is_looked_up_on_the_lists_of_these_accounts(
    store: Store, accounts: list[str], found: int
) -> None:
    entries = [
        OptOut(account=account, msisdn="+33600000001", since_at=START, source=OptOutSource.REPLY)
        for account in ("acme", EVERYBODY, "third")
    ]
    await store.stop(entries, StopRules(), START, NotMaker())

    assert len(await store.optouts_of("+33600000001", accounts)) == found
