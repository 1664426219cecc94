"""From rows to carriers and back: what is promised about every call."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
import structlog

from gateway import carrier as carrier_module
from gateway import outcomes
from gateway.lifecycle import Hold, NotSent, Refused, SmsEvent, SmsState, Uncertain, Verdict
from gateway.policy.accounts import OnUnknown, OutsideHours
from gateway.protocol.codes import Code
from gateway.providers.base import Batch
from gateway.store import StoreUnavailable, tables
from gateway.store.base import ClaimedSms
from tests.stages.rig import Answer, FakeCarrier, Rig, Stall, WatchedStore, accept, always
from tests.store.samples import new_order, new_report, new_sms, rows
from tests.support.accounts import make_account
from tests.support.clock import START, ManualClock

LOST = always(Uncertain(raw="read timeout"))
NIGHT = datetime.fromisoformat("2026-03-04T22:30:00+00:00")


def not_sent(hold: Hold = Hold.SMS, code: Code = Code.C999_ERROR) -> Answer:
    return always(NotSent(raw="not now", hold=hold, code=code))


# --- one SMS ---------------------------------------------------------------------------------------------------------


async def test_the_attempt_is_committed_before_the_call(store: WatchedStore, clock: ManualClock) -> None:
    sms = new_sms()
    seen: list[tuple[SmsState, list[object]]] = []

    async def look_into_the_store(batch: Batch) -> Sequence[Verdict]:
        attempts = await store.attempts(sms)
        seen.append(((await store.sms(sms))["state"], [attempt["verdict"] for attempt in attempts]))
        return await accept(batch)

    carrier = FakeCarrier()
    carrier.script.append(look_into_the_store)
    rig = Rig(store, clock, carrier)
    async with rig.running():
        await rig.submit(sms)
        await store.wait_for_moves(1)

    assert seen == [(SmsState.SENDING, [None])]


async def test_what_was_just_stored_is_sent_before_anything_is_looked_up(
    store: WatchedStore, clock: ManualClock
) -> None:
    carrier = FakeCarrier()
    rig = Rig(store, clock, carrier)
    async with rig.running():
        await store.wait_for_look()
        store.may_look.clear()
        await rig.submit(new_sms())
        await carrier.wait_for_calls(1)
        store.may_look.set()

    assert len(carrier.sent) == 1


async def test_what_is_stored_after_the_end_waits_for_the_next_start(store: WatchedStore, clock: ManualClock) -> None:
    sms, carrier = new_sms(), FakeCarrier()
    rig = Rig(store, clock, carrier)
    async with rig.running():
        await store.wait_for_look()
    await rig.submit(sms)

    assert (await store.sms(sms))["state"] is SmsState.QUEUED


async def test_an_accepted_sms_is_reported_once_with_code_0(store: WatchedStore, clock: ManualClock) -> None:
    sms, carrier = new_sms(), FakeCarrier()
    rig = Rig(store, clock, carrier)
    async with rig.running():
        await rig.submit(sms, email_id="1548", not_to="not@masociete.com")
        await store.wait_for_moves(1)
    row, reports = await store.sms(sms), await store.nots()

    assert (row["state"], row["code"], row["provider_ref"], row["billed_parts"]) == (SmsState.ACCEPTED, 0, "42", 1)
    assert [(report["recipient"], report["expires_at"] - START) for report in reports] == [
        ("not@masociete.com", timedelta(days=5))
    ]
    assert reports[0]["body"] == (
        b'<?xml version="1.0" encoding="ISO-8859-1"?>\n<etatNot>\n<emailId>1548</emailId>\n</etatNot>\n'
        b"<etat>\n<code>0</code>\n<tel>0600000001</tel>\n"
        b"<message>Votre message a bien \xe9t\xe9 envoy\xe9</message>\n</etat>\n"
    )
    assert reports[0]["message_id"] == f"<{reports[0]['id']}@gw.example.org>"


async def test_the_log_leads_from_an_envoi_to_its_sms_and_its_not(store: WatchedStore, clock: ManualClock) -> None:
    sms = new_sms()
    rig = Rig(store, clock, FakeCarrier())
    with structlog.testing.capture_logs() as lines:
        async with rig.running():
            await rig.submit(sms)
            await store.wait_for_moves(1)
    row, reports = await store.sms(sms), await store.nots()
    told = {line["event"]: line for line in lines if line.get("envoi_id") == row["envoi_id"]}

    assert list(told) == ["sms_claimed", "sms_settled", "report_staged"]
    assert told["sms_settled"]["sms_id"] == sms.id
    assert told["report_staged"]["report_id"] == reports[0]["id"]


async def test_the_carrier_gets_what_was_admitted(store: WatchedStore, clock: ManualClock) -> None:
    sms = replace(new_sms(), originator="MaSociete", max_parts=3, nostop=True, ucs2=True)
    carrier = FakeCarrier()
    rig = Rig(store, clock, carrier)
    async with rig.running():
        await rig.submit(sms)
        batch = (await carrier.wait_for_calls(1))[0]

    assert (batch.options.account_key, batch.options.originator) == ("a296464ce012b8ab710a", "MaSociete")
    assert (batch.options.max_parts, batch.options.nostop, batch.options.ucs2) == (3, True, True)
    assert [(one.msisdn, one.text, one.tracker) for one in batch.messages] == [(sms.msisdn, sms.text, sms.tracker)]


async def test_sms_with_equal_options_go_in_one_call_and_no_call_is_too_large(
    store: WatchedStore, clock: ManualClock
) -> None:
    alike = [new_sms(position) for position in range(1, 6)]
    other, carrier = new_sms(6, originator="Other"), FakeCarrier(batch_size=3)
    rig = Rig(store, clock, carrier)
    async with rig.running():
        await rig.submit(*alike, other)
        await store.wait_for_moves(6)

    assert sorted(len(batch.messages) for batch in carrier.batches) == [1, 2, 3]
    assert sorted(carrier.sent) == sorted(sms.id for sms in (*alike, other))
    assert len(await store.nots()) == 1


async def test_a_refusal_is_final_and_reported_with_its_code(store: WatchedStore, clock: ManualClock) -> None:
    sms, carrier = new_sms(), FakeCarrier()
    carrier.script.append(always(Refused(raw="etat 21", code=Code.C21_NUMBER_UNASSIGNED)))
    rig = Rig(store, clock, carrier)
    async with rig.running():
        await rig.submit(sms)
        await store.wait_for_moves(1)

    assert ((await store.sms(sms))["state"], (await store.sms(sms))["code"]) == (SmsState.REFUSED, 21)
    assert b"<code>21</code>" in (await store.nots())[0]["body"]


# --- what is not known -----------------------------------------------------------------------------------------------


async def test_an_uncertain_sms_is_never_sent_again_and_reported_999(store: WatchedStore, clock: ManualClock) -> None:
    sms, carrier = new_sms(), FakeCarrier()
    carrier.script.append(LOST)
    rig = Rig(store, clock, carrier)
    async with rig.running():
        await rig.submit(sms)
        await store.wait_for_moves(1)

        assert (await store.sms(sms))["state"] is SmsState.UNCERTAIN

        clock.advance(899)
        await rig.janitor.clean()

        assert (await store.sms(sms))["state"] is SmsState.UNCERTAIN
        assert await store.nots() == []

        await rig.pass_time(1)
        await rig.janitor.clean()

    assert ((await store.sms(sms))["state"], (await store.sms(sms))["code"]) == (SmsState.EXPIRED, 999)
    assert carrier.sent == [sms.id]
    assert len(await store.nots()) == 1


async def test_on_unknown_resend_sends_once_more_with_the_same_tracker(store: WatchedStore, clock: ManualClock) -> None:
    sms, carrier = new_sms(), FakeCarrier()
    carrier.default = LOST
    rig = Rig(store, clock, carrier, accounts=[make_account(on_unknown=OnUnknown.RESEND)])
    async with rig.running():
        await rig.submit(sms)
        await store.wait_for_moves(1)
        for _ in range(3):
            clock.advance(901)
            await rig.janitor.clean()
            await asyncio.sleep(0)
            if len(carrier.batches) < 2:
                await carrier.wait_for_calls(2)
                await store.wait_for_moves(3)

    assert store.events == [SmsEvent.LOST, SmsEvent.RESENT, SmsEvent.LOST, SmsEvent.EXPIRED]
    assert [batch.messages[0].tracker for batch in carrier.batches] == [sms.tracker, sms.tracker]
    assert len(await store.nots()) == 1


async def test_too_few_verdicts_prove_nothing(store: WatchedStore, clock: ManualClock) -> None:
    async def too_few(batch: Batch) -> Sequence[Verdict]:
        return (await accept(batch))[1:]

    carrier = FakeCarrier()
    carrier.script.append(too_few)
    rig = Rig(store, clock, carrier)
    with structlog.testing.capture_logs() as lines:
        async with rig.running():
            await rig.submit(new_sms(1), new_sms(2))
            await store.wait_for_moves(2)

    assert store.events == [SmsEvent.LOST, SmsEvent.LOST]
    assert [line["event"] for line in lines if line["log_level"] == "error"] == ["call_failed"]


async def test_an_exception_of_a_provider_proves_nothing(store: WatchedStore, clock: ManualClock) -> None:
    async def fail(_batch: Batch) -> Sequence[Verdict]:
        raise RuntimeError("a bug")

    carrier = FakeCarrier()
    carrier.script.append(fail)
    rig = Rig(store, clock, carrier)
    async with rig.running():
        await rig.submit(new_sms())
        moves = await store.wait_for_moves(1)

    assert moves == [SmsEvent.LOST]


async def test_a_provider_that_forgets_its_deadline_is_cut_off(
    store: WatchedStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carrier_module, "_MARGIN_S", 0.0)
    carrier = FakeCarrier()
    carrier.script.append(Stall())
    rig = Rig(store, clock, carrier, timeout_s=0.01)
    async with rig.running():
        await rig.submit(new_sms())
        moves = await store.wait_for_moves(1)

    assert moves == [SmsEvent.LOST]


# --- proven not sent -------------------------------------------------------------------------------------------------


async def test_what_was_not_sent_is_tried_again_later_and_counted(store: WatchedStore, clock: ManualClock) -> None:
    sms, carrier = new_sms(), FakeCarrier()
    carrier.script.append(not_sent(code=Code.C29_OVERFLOW))
    rig = Rig(store, clock, carrier)
    async with rig.running():
        await rig.submit(sms)
        await store.wait_for_moves(1)
        row = await store.sms(sms)

        assert (row["state"], row["attempts"]) == (SmsState.QUEUED, 1)
        assert timedelta(minutes=1) <= row["due_at"] - START <= timedelta(seconds=75)

        await rig.pass_time(59)
        await rig.pass_time(16)
        await store.wait_for_moves(2)

    assert store.events == [SmsEvent.NOT_SENT, SmsEvent.TAKEN]
    assert [attempt["number"] for attempt in await store.attempts(sms)] == [1, 2]
    assert len(await store.nots()) == 1


async def test_when_validity_runs_out_the_last_reason_is_reported(store: WatchedStore, clock: ManualClock) -> None:
    sms, carrier = new_sms(expires_at=START + timedelta(seconds=90)), FakeCarrier()
    carrier.default = not_sent(code=Code.C12_NO_CREDIT)
    rig = Rig(store, clock, carrier)
    async with rig.running():
        await rig.submit(sms)
        await store.wait_for_moves(1)
        await rig.pass_time(89)
        await store.wait_for_moves(2)

        assert (await store.sms(sms))["due_at"] == START + timedelta(seconds=90)

        await rig.pass_time(1)
        await rig.janitor.clean()

    assert store.events == [SmsEvent.NOT_SENT, SmsEvent.NOT_SENT, SmsEvent.EXPIRED]
    assert b"<code>12</code>" in (await store.nots())[0]["body"]


async def test_with_one_attempt_of_unknown_fate_nothing_is_reported_but_999(
    store: WatchedStore, clock: ManualClock
) -> None:
    sms, carrier = new_sms(expires_at=START + timedelta(seconds=2000)), FakeCarrier()
    carrier.script.extend([LOST, not_sent(code=Code.C12_NO_CREDIT)])
    carrier.default = not_sent(code=Code.C12_NO_CREDIT)
    rig = Rig(store, clock, carrier, accounts=[make_account(on_unknown=OnUnknown.RESEND)])
    async with rig.running():
        await rig.submit(sms)
        await store.wait_for_moves(1)
        clock.advance(900)
        await rig.janitor.clean()
        await store.wait_for_moves(3)
        clock.advance(1100)
        await rig.janitor.clean()

    assert store.events[-1] is SmsEvent.EXPIRED
    assert (await store.sms(sms))["code"] == 999


# --- who waits for whom ----------------------------------------------------------------------------------------------


async def test_a_dead_carrier_delays_no_account_of_another(store: WatchedStore, clock: ManualClock) -> None:
    dead, alive, stall = FakeCarrier("dead"), FakeCarrier("alive"), Stall()
    dead.default = stall
    accounts = [
        make_account(name="one", keyid="1" * 20, providers=("dead",)),
        make_account(name="two", keyid="2" * 20, providers=("alive",)),
    ]
    rig = Rig(store, clock, dead, alive, accounts=accounts)
    async with rig.running():
        await rig.submit(*[new_sms(position) for position in range(1, 40)], account="one")
        await dead.wait_for_calls(1)
        await rig.submit(new_sms(), account="two")
        await alive.wait_for_calls(1)
        moves = list(await store.wait_for_moves(1))
        stall.go_on.set()

    assert moves == [SmsEvent.TAKEN]


async def test_a_big_mailing_leaves_room_at_the_same_carrier(store: WatchedStore, clock: ManualClock) -> None:
    carrier, stall = FakeCarrier(batch_size=2), Stall()
    accounts = [make_account(name="one", keyid="1" * 20), make_account(name="two", keyid="2" * 20)]
    rig = Rig(store, clock, carrier, accounts=accounts, width=4)
    carrier.script.extend([stall, stall])
    async with rig.running():
        await rig.submit(*[new_sms(position) for position in range(1, 21)], account="one")
        await carrier.wait_for_calls(2)
        small = new_sms()
        await rig.submit(small, account="two")
        batches = list(await carrier.wait_for_calls(3))
        await store.wait_for_moves(1)
        stall.go_on.set()
        await store.wait_for_moves(21)

    assert [message.sms_id for message in batches[2].messages] == [small.id]


async def test_accounts_take_turns_when_a_carrier_is_narrow(store: WatchedStore, clock: ManualClock) -> None:
    carrier, stall = FakeCarrier(batch_size=1), Stall()
    accounts = [make_account(name="one", keyid="1" * 20), make_account(name="two", keyid="2" * 20)]
    rig = Rig(store, clock, carrier, accounts=accounts, width=1, calls_per_account=1)
    carrier.script.append(stall)
    mailing, small = [new_sms(position) for position in range(1, 6)], new_sms()
    async with rig.running():
        await rig.submit(*mailing, account="one")
        await carrier.wait_for_calls(1)
        await rig.submit(small, account="two")
        await _until_waiting(rig)
        stall.go_on.set()
        await store.wait_for_moves(6)

    assert small.id in carrier.sent[1:3]


async def _until_waiting(rig: Rig) -> None:
    """Return when a runner of the second account stands in line."""
    async with asyncio.timeout(5):
        while not rig.dispatcher._links["carrier"].turns.waiting:  # noqa: ASYNC110 no event for this
            await asyncio.sleep(0)


async def test_the_next_carrier_takes_over_at_once(store: WatchedStore, clock: ManualClock) -> None:
    sms, first, second = new_sms(), FakeCarrier("first"), FakeCarrier("second")
    first.default = not_sent(Hold.PROVIDER)
    rig = Rig(store, clock, first, second, accounts=[make_account(providers=("first", "second"))])
    async with rig.running():
        await rig.submit(sms)
        moves = await store.wait_for_moves(2)

    assert moves == [SmsEvent.NOT_SENT, SmsEvent.TAKEN]
    assert (first.sent, second.sent) == ([sms.id], [sms.id])
    assert [attempt["provider"] for attempt in await store.attempts(sms)] == ["first", "second"]


async def test_a_refused_connection_pauses_the_carrier_for_everybody(store: WatchedStore, clock: ManualClock) -> None:
    carrier = FakeCarrier()
    carrier.script.append(not_sent(Hold.PROVIDER))
    accounts = [make_account(name="one", keyid="1" * 20), make_account(name="two", keyid="2" * 20)]
    rig = Rig(store, clock, carrier, accounts=accounts)
    async with rig.running():
        await rig.submit(new_sms(), account="one")
        await store.wait_for_moves(1)
        await rig.submit(new_sms(1), new_sms(2), account="two")
        await rig.pass_time(4.9)
        await rig.settle_down()

        assert len(carrier.batches) == 1

        await rig.pass_time(0.1)
        await store.wait_for_moves(3)

    assert [len(batch.messages) for batch in carrier.batches] == [1, 1, 1]  # a probe, then the rest
    assert store.events == [SmsEvent.NOT_SENT, SmsEvent.TAKEN, SmsEvent.TAKEN]


async def test_five_lost_answers_in_a_row_pause_the_carrier_then_one_sms_is_risked(
    store: WatchedStore, clock: ManualClock
) -> None:
    carrier = FakeCarrier(batch_size=1)
    carrier.default = LOST
    rig = Rig(store, clock, carrier, calls_per_account=1)
    async with rig.running():
        await rig.submit(*[new_sms(position) for position in range(1, 11)])
        await store.wait_for_moves(5)
        await rig.settle_down()

        assert len(carrier.sent) == 5

        await rig.pass_time(30)
        await store.wait_for_moves(6)
        await rig.settle_down()

        assert len(carrier.sent) == 6

        carrier.default = accept
        await rig.pass_time(30)
        await store.wait_for_moves(10)

    assert store.events == [SmsEvent.LOST] * 6 + [SmsEvent.TAKEN] * 4


async def test_a_carrier_that_turns_an_account_away_holds_that_account_only(
    store: WatchedStore, clock: ManualClock
) -> None:
    carrier = FakeCarrier()
    carrier.script.append(not_sent(Hold.ACCOUNT, code=Code.C3_KEY_UNKNOWN))
    accounts = [make_account(name="one", keyid="1" * 20), make_account(name="two", keyid="2" * 20)]
    rig = Rig(store, clock, carrier, accounts=accounts)
    with structlog.testing.capture_logs() as lines:
        async with rig.running():
            await rig.submit(new_sms(), account="one")
            await store.wait_for_moves(1)
            waiting = new_sms()
            await rig.submit(waiting, account="one")
            await rig.submit(new_sms(), account="two")
            await store.wait_for_moves(2)
            await rig.pass_time(299)
            await rig.settle_down()

            assert waiting.id not in carrier.sent

            await rig.pass_time(1)
            await store.wait_for_moves(4)

    assert carrier.sent[-1] == waiting.id
    (held,) = (line for line in lines if line["log_level"] == "error")
    assert (held["event"], held["code"]) == ("account_held", Code.C3_KEY_UNKNOWN)
    assert "correct the key" in held["advice"]


async def test_sms_of_an_account_no_longer_configured_wait_and_are_told_of_once(
    store: WatchedStore, clock: ManualClock
) -> None:
    rig = Rig(store, clock, FakeCarrier())
    with structlog.testing.capture_logs() as lines:
        async with rig.running():
            await rig.submit(new_sms(), account="gone")
            for _ in range(3):
                await rig.settle_down()

    assert [line["event"] for line in lines] == ["account_unknown"]
    assert store.claims == 0


# --- looked at again -------------------------------------------------------------------------------------------------


async def test_a_closed_carrier_is_final_with_code_24(store: WatchedStore, clock: ManualClock) -> None:
    sms, carrier = new_sms(), FakeCarrier()
    carrier.script.append(not_sent(code=Code.C24_OUTSIDE_HOURS))
    rig = Rig(store, clock, carrier)
    async with rig.running():
        await rig.submit(sms)
        await store.wait_for_moves(1)
    row = await store.sms(sms)

    assert (row["state"], row["code"]) == (SmsState.REFUSED, 24)


async def test_a_closed_carrier_is_asked_again_at_the_next_opening_when_the_account_says_hold(
    store: WatchedStore,
) -> None:
    sms, carrier = new_sms(), FakeCarrier()
    carrier.script.append(not_sent(code=Code.C24_OUTSIDE_HOURS))
    rig = Rig(store, ManualClock(NIGHT), carrier, accounts=[make_account(outside_hours=OutsideHours.HOLD)])
    async with rig.running():
        await rig.submit(sms)
        await store.wait_for_moves(1)
    row = await store.sms(sms)
    opening = datetime.fromisoformat("2026-03-05T08:00:00+01:00")

    assert row["state"] is SmsState.QUEUED
    assert opening <= row["due_at"] <= opening + timedelta(minutes=5)


async def test_at_night_a_commercial_sms_is_refused_uncalled(store: WatchedStore) -> None:
    sms, carrier = new_sms(due_at=NIGHT, expires_at=NIGHT + timedelta(days=1)), FakeCarrier()
    rig = Rig(store, ManualClock(NIGHT), carrier, accounts=[make_account(commercial=True)])
    async with rig.running():
        await rig.submit(sms, commercial=True)
        await store.wait_for_moves(1)

    assert ((await store.sms(sms))["state"], (await store.sms(sms))["code"]) == (SmsState.REFUSED, 24)
    assert carrier.batches == []


async def test_at_night_a_commercial_sms_waits_for_the_morning_uncounted(store: WatchedStore) -> None:
    sms, carrier = new_sms(due_at=NIGHT, expires_at=NIGHT + timedelta(days=1)), FakeCarrier()
    account = make_account(commercial=True, outside_hours=OutsideHours.HOLD)
    rig = Rig(store, ManualClock(NIGHT), carrier, accounts=[account])
    async with rig.running():
        await rig.submit(sms, commercial=True)
        await store.wait_for_moves(1)
    row = await store.sms(sms)

    assert (row["state"], row["attempts"]) == (SmsState.QUEUED, 0)
    assert row["due_at"] == datetime.fromisoformat("2026-03-05T07:00:00+00:00")
    assert await store.attempts(sms) == []
    assert carrier.batches == []


# --- stopping, starting, reloading -----------------------------------------------------------------------------------


async def test_a_call_under_way_runs_to_its_end_when_stopping(store: WatchedStore, clock: ManualClock) -> None:
    carrier, stall = FakeCarrier(), Stall()
    carrier.script.append(stall)
    rig = Rig(store, clock, carrier)
    async with rig.running() as task:
        await rig.submit(new_sms())
        await carrier.wait_for_calls(1)
        rig.dispatcher.stop()
        await rig.submit(new_sms())
        await asyncio.sleep(0)

        assert not task.done()
        stall.go_on.set()

    assert store.events == [SmsEvent.TAKEN]
    assert len(carrier.batches) == 1
    assert carrier.is_closed


async def test_a_call_that_is_broken_off_is_recorded_as_unknown(store: WatchedStore, clock: ManualClock) -> None:
    sms, carrier = new_sms(), FakeCarrier()
    carrier.script.append(Stall())
    rig = Rig(store, clock, carrier)
    async with rig.running() as task:
        await rig.submit(sms)
        await carrier.wait_for_calls(1)
        task.cancel()

    assert store.events == [SmsEvent.LOST]
    assert (await store.sms(sms))["state"] is SmsState.UNCERTAIN


@pytest.fixture
def _hasty_outcomes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing wait between the tries to store an outcome."""
    monkeypatch.setattr(outcomes, "_RECORD_PAUSES_S", [0.0] * len(outcomes._RECORD_PAUSES_S))


async def lose_the_store(rig: Rig, *, failures: int, is_stopping: bool) -> None:
    """Have a call answered while the store fails so many times."""
    (carrier,), stall = rig.carriers.values(), Stall()
    carrier.script.append(stall)
    async with rig.running():
        await rig.submit(new_sms())
        await carrier.wait_for_calls(1)
        rig.store.settle_errors.extend(StoreUnavailable("the store is gone") for _ in range(failures))
        if is_stopping:
            rig.dispatcher.stop()
        stall.go_on.set()
        if not is_stopping:
            await rig.store.wait_for_moves(1)


@pytest.mark.usefixtures("_hasty_outcomes")
@pytest.mark.parametrize(("failures", "is_stopping"), [(10, False), (4, True)])
async def test_what_a_carrier_answered_waits_for_the_store(
    store: WatchedStore, clock: ManualClock, failures: int, is_stopping: bool
) -> None:
    await lose_the_store(Rig(store, clock, FakeCarrier()), failures=failures, is_stopping=is_stopping)

    assert store.events == [SmsEvent.TAKEN]


@pytest.mark.usefixtures("_hasty_outcomes")
async def test_what_a_carrier_answered_does_not_keep_a_stop_waiting(store: WatchedStore, clock: ManualClock) -> None:
    await lose_the_store(Rig(store, clock, FakeCarrier()), failures=10, is_stopping=True)

    assert len(store.settle_errors) == 5
    assert store.events == []


async def test_what_was_claimed_while_stopping_goes_back_uncounted(store: WatchedStore, clock: ManualClock) -> None:
    sms, carrier = new_sms(), FakeCarrier()
    rig = Rig(store, clock, carrier)

    def stop(_claimed: Sequence[ClaimedSms]) -> None:
        rig.dispatcher.stop()

    store.after_claim = stop
    async with rig.running():
        await rig.submit(sms)
        await store.wait_for_moves(1)
    row = await store.sms(sms)

    assert (store.events, row["state"], row["attempts"]) == ([SmsEvent.POSTPONED], SmsState.QUEUED, 0)
    assert carrier.batches == []


async def test_what_a_dead_process_was_sending_is_unknown_at_once_and_not_sent(
    store: WatchedStore, clock: ManualClock
) -> None:
    sms, carrier = new_sms(), FakeCarrier()
    rig = Rig(store, clock, carrier)
    await rig.submit(sms)
    await store.claim_sms(
        lane="masociete", provider="carrier", now=START, lease_until=START + timedelta(seconds=70), limit=50
    )
    await rig.janitor.recover_own()
    async with rig.running():
        await rig.settle_down()

    assert store.events == [SmsEvent.LOST]
    assert ((await store.sms(sms))["state"], carrier.batches) == (SmsState.UNCERTAIN, [])


async def test_a_report_that_a_dead_process_was_sending_is_due_at_once(store: WatchedStore, clock: ManualClock) -> None:
    rig, report = Rig(store, clock, FakeCarrier()), new_report()
    await store.admit(new_order(reports=[report]))
    await store.claim_reports(now=START, lease_until=START + timedelta(minutes=5), limit=1)
    await rig.janitor.recover_own()

    assert [one.id for one in await store.claim_reports(now=START, lease_until=START, limit=1)] == [report.id]


async def test_on_a_shared_store_the_lease_is_waited_for(store: WatchedStore, clock: ManualClock) -> None:
    sms = new_sms()
    rig = Rig(store, clock, FakeCarrier())
    await rig.submit(sms)
    await store.claim_sms(
        lane="masociete", provider="carrier", now=START, lease_until=START + timedelta(seconds=70), limit=50
    )
    await rig.janitor.clean()

    assert (await store.sms(sms))["state"] is SmsState.SENDING

    clock.advance(70)
    await rig.janitor.clean()

    assert (await store.sms(sms))["state"] is SmsState.UNCERTAIN


@pytest.mark.slow
async def test_an_outcome_is_recorded_when_the_store_comes_back(store: WatchedStore, clock: ManualClock) -> None:
    carrier = FakeCarrier()
    rig = Rig(store, clock, carrier)
    store.settle_errors.append(StoreUnavailable("the disk is full"))
    async with rig.running():
        await rig.submit(new_sms())
        moves = await store.wait_for_moves(1)

    assert moves == [SmsEvent.TAKEN]
    assert len(carrier.batches) == 1


async def test_a_reload_takes_new_carriers_and_closes_the_old_after_its_last_call(
    store: WatchedStore, clock: ManualClock
) -> None:
    old, new, stall = FakeCarrier(), FakeCarrier(), Stall()
    old.script.append(stall)
    rig = Rig(store, clock, old)
    async with rig.running():
        await rig.submit(new_sms())
        await old.wait_for_calls(1)
        rig.carriers = {"carrier": new}
        await rig.dispatcher.reconfigure(rig.accounts, rig.as_carriers())
        await rig.submit(new_sms())
        await new.wait_for_calls(1)

        assert not old.is_closed
        stall.go_on.set()
        await store.wait_for_moves(2)

    assert (old.is_closed, len(old.batches), len(new.batches)) == (True, 1, 1)


async def test_a_reload_closes_an_idle_carrier_at_once_and_keeps_an_unchanged_one(
    store: WatchedStore, clock: ManualClock
) -> None:
    gone, kept = FakeCarrier("gone"), FakeCarrier("kept")
    rig = Rig(store, clock, gone, kept)
    carriers = {link.name: link for link in rig.dispatcher._links}
    await rig.dispatcher.reconfigure(rig.accounts, {"kept": carriers["kept"].carrier})

    assert (gone.is_closed, kept.is_closed) == (True, False)
    assert rig.dispatcher._links["kept"] is carriers["kept"]


async def test_after_a_reload_what_a_carrier_turned_away_goes_at_once_and_first(
    store: WatchedStore, clock: ManualClock
) -> None:
    turned_away, later, carrier = [new_sms(1), new_sms(2)], new_sms(), FakeCarrier()
    carrier.script.append(not_sent(Hold.ACCOUNT, code=Code.C12_NO_CREDIT))
    rig = Rig(store, clock, carrier)
    async with rig.running():
        await rig.submit(*turned_away)
        await store.wait_for_moves(2)
        await rig.submit(later)
        await rig.settle_down()

        assert len(carrier.batches) == 1  # held

        await rig.dispatcher.reconfigure(rig.accounts, {"carrier": rig.dispatcher._links["carrier"].carrier})
        await store.wait_for_moves(5)  # and no time has passed

    assert carrier.sent[2:] == [sms.id for sms in (*turned_away, later)]


async def test_once_one_sms_gets_through_all_that_were_turned_away_follow(
    store: WatchedStore, clock: ManualClock
) -> None:
    carrier = FakeCarrier()
    carrier.script.extend([not_sent(Hold.ACCOUNT), not_sent(Hold.ACCOUNT)])
    rig = Rig(store, clock, carrier)
    async with rig.running():
        await rig.submit(*[new_sms(position) for position in range(1, 21)])
        await store.wait_for_moves(5)
        await rig.pass_time(300)
        await store.wait_for_moves(6)
        await rig.settle_down()
        await rig.pass_time(300)
        await store.wait_for_moves(26)

    sizes = [len(batch.messages) for batch in carrier.batches]
    assert (sizes[:3], sum(sizes[3:])) == ([5, 1, 1], 19)  # probes risk one


async def test_a_call_that_began_before_a_hold_does_not_end_it(store: WatchedStore, clock: ManualClock) -> None:
    carrier, early = FakeCarrier(batch_size=1), Stall()
    carrier.script.extend([early, not_sent(Hold.ACCOUNT, code=Code.C12_NO_CREDIT)])
    rig = Rig(store, clock, carrier)
    async with rig.running():
        await rig.submit(new_sms(1), new_sms(2), new_sms(3))
        await carrier.wait_for_calls(2)
        await store.wait_for_moves(1)
        early.go_on.set()
        await store.wait_for_moves(2)
        await rig.settle_down()

    assert store.events == [SmsEvent.NOT_SENT, SmsEvent.TAKEN]
    assert len(carrier.batches) == 2


async def test_nothing_is_left_in_sending_after_all_this(store: WatchedStore, clock: ManualClock) -> None:
    carrier = FakeCarrier(batch_size=7)
    carrier.script.extend([accept, not_sent(), always(Refused(raw="no", code=Code.C21_NUMBER_UNASSIGNED))])
    rig = Rig(store, clock, carrier)
    async with rig.running():
        await rig.submit(*[new_sms(position) for position in range(1, 51)])
        await store.wait_for_moves(50)

    assert await rows(store, tables.sms, state=SmsState.SENDING) == []
