"""What carriers say later, in the stages: receipts, questions, and what is decided when nothing comes."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import structlog

from gateway.inquiries import Inquiries
from gateway.lifecycle import Accepted, SmsState, Uncertain
from gateway.metrics import REGISTRY
from gateway.policy.accounts import OnUnknown, ReceiptsBy
from gateway.protocol.codes import Code
from gateway.protocol.report import ReportKind
from gateway.providers.base import Fate, Inquiry, Receipt, Untold
from gateway.store import tables
from gateway.store.base import NewSms
from gateway.worker import Crew
from tests.stages.rig import DEADLINE_S, FakeCarrier, Rig, WatchedStore, always
from tests.store.samples import change, new_order, new_sms, rows
from tests.support.accounts import KEYID, make_account
from tests.support.clock import START, ManualClock

LOST = always(Uncertain(raw="timeout"))
Told = Sequence[Receipt] | Untold
Say = Callable[[Sequence[Inquiry]], Awaitable[Told]]


def receipt(sms: NewSms, fate: Fate, **fields: Any) -> Receipt:  # noqa: ANN401 of receipts
    return Receipt(tracker=sms.tracker, fate=fate, raw="ok", **fields)


class AskedCarrier(FakeCarrier):
    """A carrier that can be asked: each question takes the next answer of the script, then nothing is known."""

    def __init__(self, *, look_up_size: int = 100) -> None:
        super().__init__()
        self.look_up_size = look_up_size
        self.questions: list[list[Inquiry]] = []
        self.keys: list[str] = []
        self.told: deque[Told | Say | Exception] = deque()

    async def look_up(self, inquiries: Sequence[Inquiry], *, account_key: str) -> Told:
        self.questions.append(list(inquiries))
        self.keys.append(account_key)
        told: Told | Say | Exception = self.told.popleft() if self.told else []
        if isinstance(told, Exception):
            raise told
        return await told(inquiries) if callable(told) else told


class AskingRig(Rig):
    """The rig, with the stage that asks."""

    def __init__(self, store: WatchedStore, clock: ManualClock, carrier: FakeCarrier, **settings: Any) -> None:  # noqa: ANN401 of rigs
        can_ask = isinstance(carrier, AskedCarrier)
        super().__init__(store, clock, carrier, can_ask=lambda _name: can_ask, **settings)
        self.inquiries = Inquiries(
            store=store,
            receipts=self.receipts,
            clock=clock,
            accounts=lambda: self.accounts,
            providers=lambda: self.carriers,
            windows_s={SmsState.UNCERTAIN: 900, SmsState.ACCEPTED: 259_200},
            poll_s=3600,
        )

    async def ask(self) -> None:
        """Let the stage look once, and end."""
        async with asyncio.timeout(DEADLINE_S), Crew() as crew:
            await self.inquiries._look(crew)

    @asynccontextmanager
    async def sent(self, *sms: NewSms, **fields: Any) -> AsyncIterator[None]:  # noqa: ANN401 of samples
        """The SMS have had their call."""
        async with self.running():
            await self.submit(*sms, **fields)
            await self.store.wait_for_moves(len(sms))
            yield


async def state(store: WatchedStore, sms: NewSms) -> SmsState:
    found = (await store.sms(sms))["state"]
    assert isinstance(found, SmsState)
    return found


@pytest.fixture
def carrier() -> AskedCarrier:
    return AskedCarrier()


# --- receipts --------------------------------------------------------------------------------------------------------


async def test_a_receipt_moves_counts_and_tells_one_line(store: WatchedStore, clock: ManualClock) -> None:
    sms, rig = new_sms(), AskingRig(store, clock, FakeCarrier())
    before = REGISTRY.get_sample_value("mail2sms_receipts_total", {"provider": "carrier", "fate": "delivered"}) or 0
    with structlog.testing.capture_logs() as lines:
        async with rig.sent(sms):
            for _ in range(3):
                await rig.receipts.take("carrier", [receipt(sms, Fate.DELIVERED)])
    after = REGISTRY.get_sample_value("mail2sms_receipts_total", {"provider": "carrier", "fate": "delivered"})

    (line,) = [line for line in lines if line["event"] == "receipt_learnt"]
    assert (line["sms_id"], line["before"], line["state"]) == (sms.id, SmsState.ACCEPTED, SmsState.DELIVERED)
    assert (await state(store, sms), after) == (SmsState.DELIVERED, before + 3)


async def test_what_an_sms_cost_is_kept_from_the_answer_and_from_the_receipt(
    store: WatchedStore, clock: ManualClock
) -> None:
    first, second = new_sms(1), new_sms(2)
    carrier = FakeCarrier()
    carrier.default = always(Accepted(raw="ok", cost=Decimal("0.0451"), currency="EUR"))
    rig = AskingRig(store, clock, carrier)
    async with rig.sent(first, second):
        await rig.receipts.take("carrier", [receipt(first, Fate.DELIVERED, cost=Decimal("0.05"), currency="USD")])
        await rig.receipts.take("carrier", [receipt(second, Fate.DELIVERED, cost=Decimal("NaN"), currency="USD")])

    costs = [((await store.sms(sms))["cost_micros"], (await store.sms(sms))["currency"]) for sms in (first, second)]
    assert costs == [(50_000, "USD"), (45_100, "EUR")]


@pytest.mark.parametrize(
    ("offset", "is_believed"),
    [
        (timedelta(minutes=-5), True),
        (timedelta(minutes=59), True),
        (timedelta(hours=2), False),
        (timedelta(days=-40), False),
    ],
)
async def test_a_carriers_clock_is_believed_within_reason(
    store: WatchedStore, clock: ManualClock, offset: timedelta, is_believed: bool
) -> None:
    sms, rig = new_sms(), AskingRig(store, clock, FakeCarrier())
    async with rig.sent(sms):
        await rig.receipts.take("carrier", [receipt(sms, Fate.DELIVERED, at=START + offset)])

    assert (await store.sms(sms))["network_at"] == START + (offset if is_believed else timedelta(0))


async def test_the_etat_ar_goes_out_in_the_time_zone_of_its_account(store: WatchedStore, clock: ManualClock) -> None:
    sms = [new_sms(1), new_sms(2)]
    account = make_account(receipts=ReceiptsBy.MAIL, timezone="America/Martinique")
    rig = AskingRig(store, clock, FakeCarrier(), accounts=[account])
    with structlog.testing.capture_logs() as lines:
        async with rig.sent(*sms, receipts_to="not@masociete.com"):
            await rig.receipts.take("carrier", [receipt(sms[0], Fate.DELIVERED, at=START)])
            await rig.receipts.take("carrier", [receipt(sms[1], Fate.UNDELIVERED, code=Code.C21_NUMBER_UNASSIGNED)])

    (report,) = [one for one in await rows(store, tables.report) if one["kind"] is ReportKind.RECEIPTS]
    assert (report["recipient"], report["in_reply_to"] is not None) == ("not@masociete.com", True)
    assert b"<date1>2026-03-04 05:30</date1>" in report["body"]
    assert b"<code2>21</code2>" in report["body"]
    assert [line["kind"] for line in lines if line["event"] == "report_staged"] == [ReportKind.NOT, ReportKind.RECEIPTS]


# --- when nothing comes ----------------------------------------------------------------------------------------------


async def test_after_three_days_nothing_more_is_waited_for(store: WatchedStore, clock: ManualClock) -> None:
    heard, unheard = new_sms(1), new_sms(2)
    rig = AskingRig(store, clock, FakeCarrier())
    async with rig.sent(heard, unheard, receipts_to="not@masociete.com"):
        await rig.receipts.take("carrier", [receipt(heard, Fate.DELIVERED)])
    clock.advance(259_199)
    await rig.janitor.clean()
    before = await state(store, unheard)
    clock.advance(1)
    await rig.janitor.clean()

    found = await store.sms(unheard)
    (ar,) = [one for one in await rows(store, tables.report) if one["kind"] is ReportKind.RECEIPTS]
    assert (before, found["state"], found["code"]) == (SmsState.ACCEPTED, SmsState.EXPIRED, 0)
    assert b"<code2>999</code2>" in ar["body"]
    assert (await store.backlog()).sms["accepted"] == 0


async def test_what_a_carrier_was_to_send_later_is_waited_for_from_then(
    store: WatchedStore, clock: ManualClock
) -> None:
    sms = new_sms()
    rig = AskingRig(store, clock, FakeCarrier())
    async with rig.sent(sms):
        await change(store, tables.sms.update().values(deliver_at=START + timedelta(days=5)))
    clock.advance(4 * 86_400)
    await rig.janitor.clean()
    before = await state(store, sms)
    clock.advance(4 * 86_400)
    await rig.janitor.clean()

    assert (before, await state(store, sms)) == (SmsState.ACCEPTED, SmsState.EXPIRED)


async def test_a_late_word_changes_nothing_and_is_there_for_the_operator(
    store: WatchedStore, clock: ManualClock
) -> None:
    sms, carrier = new_sms(), FakeCarrier()
    carrier.script.append(LOST)
    rig = AskingRig(store, clock, carrier)
    async with rig.sent(sms):
        pass
    clock.advance(900)
    await rig.janitor.clean()
    await rig.receipts.take("carrier", [receipt(sms, Fate.DELIVERED)])

    (attempt,) = await store.attempts(sms)
    assert (await state(store, sms), attempt["learnt"].value) == (SmsState.EXPIRED, "delivered")


async def test_words_that_slipped_through_are_looked_at_every_minute(store: WatchedStore, clock: ManualClock) -> None:
    sms, rig = new_sms(), AskingRig(store, clock, FakeCarrier())
    await rig.janitor.clean()
    await rig.receipts.take("carrier", [receipt(sms, Fate.DELIVERED)])  # before there is such an SMS
    await store.admit(new_order(sms, reports=()))
    await rig.janitor.clean()
    before = await state(store, sms)
    clock.advance(60)
    await rig.janitor.clean()

    assert (before, await state(store, sms)) == (SmsState.QUEUED, SmsState.DELIVERED)


# --- asking ----------------------------------------------------------------------------------------------------------


async def test_an_unknown_fate_is_asked_for_and_resolved(
    store: WatchedStore, clock: ManualClock, carrier: AskedCarrier
) -> None:
    sms = new_sms()
    carrier.script.append(LOST)
    carrier.told.extend([[], [receipt(sms, Fate.TAKEN)]])
    rig = AskingRig(store, clock, carrier)
    async with rig.sent(sms):
        await rig.ask()
        assert carrier.questions == []
        clock.advance(66)
        await rig.ask()
        assert await state(store, sms) is SmsState.UNCERTAIN
        clock.advance(150)
        await rig.ask()

    assert await state(store, sms) is SmsState.ACCEPTED
    assert carrier.questions == [[Inquiry(tracker=str(sms.tracker), msisdn=str(sms.msisdn))]] * 2
    assert carrier.keys == [KEYID, KEYID]
    assert b"<code>0</code>" in (await store.nots())[0]["body"]


async def test_nothing_is_decided_before_the_last_question(
    store: WatchedStore, clock: ManualClock, carrier: AskedCarrier
) -> None:
    sms = new_sms()
    carrier.script.append(LOST)
    rig = AskingRig(store, clock, carrier, accounts=[make_account(on_unknown=OnUnknown.RESEND)])
    async with rig.sent(sms):
        clock.advance(900)
        await rig.janitor.clean()
        before = await state(store, sms)
        carrier.told.append([receipt(sms, Fate.DELIVERED)])
        await rig.ask()
        await rig.janitor.clean()

    assert (before, await state(store, sms)) == (SmsState.UNCERTAIN, SmsState.DELIVERED)
    assert carrier.sent == [sms.id]


async def test_when_the_last_question_says_nothing_the_account_decides(
    store: WatchedStore, clock: ManualClock, carrier: AskedCarrier
) -> None:
    sms = new_sms()
    carrier.script.append(LOST)
    rig = AskingRig(store, clock, carrier)
    async with rig.sent(sms):
        clock.advance(900)
        await rig.ask()
        await rig.janitor.clean()

    assert (await state(store, sms), (await store.sms(sms))["code"]) == (SmsState.EXPIRED, 999)
    assert len(carrier.questions) == 1


async def test_a_carrier_that_never_answers_does_not_put_the_decision_off_for_ever(
    store: WatchedStore, clock: ManualClock, carrier: AskedCarrier
) -> None:
    sms = new_sms()
    carrier.script.append(LOST)
    rig = AskingRig(store, clock, carrier)
    async with rig.sent(sms):
        clock.advance(900 + 299)
        await rig.janitor.clean()
        before = await state(store, sms)
        clock.advance(1)
        await rig.janitor.clean()

    assert (before, await state(store, sms)) == (SmsState.UNCERTAIN, SmsState.EXPIRED)


@pytest.mark.parametrize("trouble", [Untold(reason="503"), RuntimeError("bug")])
async def test_a_carrier_that_fails_is_left_alone_for_longer_each_time(
    store: WatchedStore, clock: ManualClock, carrier: AskedCarrier, trouble: Untold | Exception
) -> None:
    sms = new_sms()
    rig = AskingRig(store, clock, carrier)
    carrier.told.extend([trouble, trouble])
    with structlog.testing.capture_logs() as lines:
        async with rig.sent(sms):
            clock.advance(3600)
            for _ in range(3):
                await rig.ask()
            assert len(carrier.questions) == 1
            clock.advance(4 * 3600)
            for _ in range(3):
                await rig.ask()

    assert len(carrier.questions) == 2
    assert [line["pause_s"] for line in lines if line["event"] == "inquiry_failed"] == [30, 60]
    assert await state(store, sms) is SmsState.ACCEPTED


async def test_questions_are_of_one_account_and_as_large_as_the_carrier_takes(
    store: WatchedStore, clock: ManualClock
) -> None:
    carrier = AskedCarrier(look_up_size=2)
    other = make_account(name="other", keyid="b" * 32, domains=("other.example",))
    rig = AskingRig(store, clock, carrier, accounts=[make_account(), other])
    first, second = [new_sms(n) for n in range(1, 4)], [new_sms(n) for n in range(1, 3)]
    async with rig.running():
        await rig.submit(*first)
        await rig.submit(*second, account="other")
        await store.wait_for_moves(5)
    clock.advance(3600)
    await rig.ask()

    assert sorted(one.tracker for asked in carrier.questions for one in asked) == sorted(
        str(sms.tracker) for sms in (*first, *second)
    )
    assert all(len(asked) <= 2 for asked in carrier.questions)
    of_key = {KEYID: {sms.tracker for sms in first}, "b" * 32: {sms.tracker for sms in second}}
    for key, asked in zip(carrier.keys, carrier.questions, strict=True):
        assert {one.tracker for one in asked} <= of_key[key]


async def test_a_carrier_that_cannot_be_asked_is_not_waited_for(store: WatchedStore, clock: ManualClock) -> None:
    sms, carrier = new_sms(), FakeCarrier()
    carrier.script.append(LOST)
    rig = AskingRig(store, clock, carrier)
    async with rig.sent(sms):
        assert (await store.sms(sms))["ask_at"] is None
        clock.advance(900)
        await rig.ask()
        await rig.janitor.clean()

    assert await state(store, sms) is SmsState.EXPIRED


async def test_what_was_lost_with_the_process_is_asked_for_too(
    store: WatchedStore, clock: ManualClock, carrier: AskedCarrier
) -> None:
    sms = new_sms()
    rig = AskingRig(store, clock, carrier)
    await rig.submit(sms)
    await store.claim_sms(
        lane="masociete", provider="carrier", now=START, lease_until=START + timedelta(minutes=1), limit=1
    )
    await rig.janitor.recover_own()
    carrier.told.append([receipt(sms, Fate.DELIVERED)])
    clock.advance(66)
    await rig.ask()

    assert await state(store, sms) is SmsState.DELIVERED


async def test_an_accepted_sms_is_asked_for_until_the_network_has_its_last_word(
    store: WatchedStore, clock: ManualClock, carrier: AskedCarrier
) -> None:
    sms = new_sms()
    rig = AskingRig(store, clock, carrier)
    carrier.told.extend([[receipt(sms, Fate.TAKEN)], [receipt(sms, Fate.DELIVERED)]])
    async with rig.sent(sms):
        for pause_s in (16 * 60, 60 * 60, 4 * 3600, 12 * 3600):
            clock.advance(pause_s)
            await rig.ask()

    assert await state(store, sms) is SmsState.DELIVERED
    assert [asked[0].provider_ref for asked in carrier.questions] == ["42", "42"]


async def test_a_question_under_way_when_the_gateway_stops_is_asked_again(
    store: WatchedStore, clock: ManualClock, carrier: AskedCarrier
) -> None:
    sms = new_sms()
    rig = AskingRig(store, clock, carrier)
    asked = asyncio.Event()

    async def never(_inquiries: Sequence[Inquiry]) -> Told:
        asked.set()
        await asyncio.Event().wait()
        return []

    carrier.told.append(never)
    async with rig.sent(sms):
        clock.advance(3600)
    async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as group:
        task = group.create_task(rig.inquiries.run())
        await asked.wait()
        task.cancel()
    await rig.ask()
    before = len(carrier.questions)
    clock.advance(300)
    await AskingRig(store, clock, carrier).ask()

    assert (before, len(carrier.questions)) == (1, 2)
