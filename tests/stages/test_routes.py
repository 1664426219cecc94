"""Which carrier gets an SMS: its route, the next one when it was proven not sent, its share, its rate, its date."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
import structlog

from gateway.lifecycle import Accepted, Hold, NotSent, SmsEvent, SmsState, Uncertain
from gateway.metrics import REGISTRY
from gateway.protocol.codes import Code
from gateway.providers.base import Batch
from gateway.store.base import NewSms
from tests.stages.rig import FakeCarrier, Rig, SchedulingCarrier, Stall, WatchedStore, accept, always
from tests.store.samples import new_sms
from tests.support.accounts import make_account
from tests.support.clock import START, ManualClock

LOST = always(Uncertain(raw="read timeout"))
NO_CREDIT = always(NotSent(raw="no credit", hold=Hold.ACCOUNT, code=Code.C12_NO_CREDIT))
REFUSED = always(NotSent(raw="connection refused", hold=Hold.PROVIDER))
BUSY = always(NotSent(raw="busy", hold=Hold.SMS, code=Code.C29_OVERFLOW))

WEST: Mapping[str, object] = {"name": "west", "prefixes": ("+336",), "providers": ("second", "first")}


def routed(count: int = 1, route: str = "west") -> list[NewSms]:
    return [replace(new_sms(position), route=route) for position in range(1, count + 1)]


def two(
    store: WatchedStore, clock: ManualClock, *, width: int = 4, **account: object
) -> tuple[Rig, FakeCarrier, FakeCarrier]:
    """Return a dispatcher with two carriers, in order unless the account says otherwise."""
    first, second = FakeCarrier("first"), FakeCarrier("second")
    settings = {"providers": ("first", "second"), **account}
    return Rig(store, clock, first, second, accounts=[make_account(**settings)], width=width), first, second


# --- routes ----------------------------------------------------------------------------------------------------------


async def test_each_sms_goes_by_the_carriers_of_its_route(store: WatchedStore, clock: ManualClock) -> None:
    rig, first, second = two(store, clock, routes=(WEST,))
    own, (west,) = new_sms(2), routed()
    async with rig.running():
        await rig.submit(own, west)
        await store.wait_for_moves(2)

    assert (first.sent, second.sent) == ([own.id], [west.id])
    assert [(await store.sms(sms))["lane"] for sms in (own, west)] == ["masociete", "masociete/west"]


async def test_a_route_that_was_removed_loses_nothing(store: WatchedStore, clock: ManualClock) -> None:
    rig, first, second = two(store, clock)
    (sms,) = routed(route="gone")
    async with rig.running():
        await rig.submit(sms)
        await store.wait_for_moves(1)

    assert (first.sent, second.sent) == ([sms.id], [])


async def test_what_waits_follows_a_route_that_a_reload_changes(store: WatchedStore, clock: ManualClock) -> None:
    rig, first, second = two(store, clock, routes=(WEST,))
    first.default = second.default = REFUSED
    (sms,) = routed()
    async with rig.running():
        await rig.submit(sms)
        await store.wait_for_moves(2)
        first.default = accept
        rig.accounts = type(rig.accounts)([make_account(providers=("first",))])
        await rig.dispatcher.reconfigure(rig.accounts, {link.name: link.carrier for link in rig.dispatcher._links})
        await rig.pass_time(80)
        await store.wait_for_moves(3)

    assert store.events == [SmsEvent.NOT_SENT, SmsEvent.NOT_SENT, SmsEvent.TAKEN]
    assert (first.sent[-1], len(second.sent)) == (sms.id, 1)


async def test_a_dead_carrier_of_one_route_delays_no_other_route(store: WatchedStore, clock: ManualClock) -> None:
    rig, first, second = two(store, clock, routes=({**WEST, "providers": ("second",)},))
    second.default = stall = Stall()
    async with rig.running():
        await rig.submit(*routed(20))
        await second.wait_for_calls(1)
        await rig.submit(new_sms())
        await store.wait_for_moves(1)
        moves = list(store.events)
        stall.go_on.set()

    assert (moves, len(first.sent)) == ([SmsEvent.TAKEN], 1)


# --- fail-over -------------------------------------------------------------------------------------------------------


async def test_who_is_turned_away_goes_by_the_next_carrier_at_once(store: WatchedStore, clock: ManualClock) -> None:
    rig, first, second = two(store, clock)
    first.script.append(NO_CREDIT)
    sms, later = new_sms(), new_sms()
    with structlog.testing.capture_logs() as lines:
        async with rig.running():
            await rig.submit(sms)
            await store.wait_for_moves(2)
            await rig.submit(later)
            await store.wait_for_moves(3)

    held = [line for line in lines if line["event"] == "account_held"]
    assert store.events == [SmsEvent.NOT_SENT, SmsEvent.TAKEN, SmsEvent.TAKEN]
    assert (first.sent, second.sent) == ([sms.id], [sms.id, later.id])
    assert [(line["code"], line["goes_by"]) for line in held] == [(Code.C12_NO_CREDIT, "second")]


async def test_after_the_hold_one_sms_is_risked_at_the_first_carrier_while_others_go_by_the_next(
    store: WatchedStore, clock: ManualClock
) -> None:
    rig, first, second = two(store, clock)
    probe = Stall(NO_CREDIT)
    first.script.extend([NO_CREDIT, probe])
    async with rig.running():
        await rig.submit(new_sms())
        await store.wait_for_moves(2)
        await rig.pass_time(300)
        await rig.submit(*[new_sms(position) for position in range(1, 5)])
        await first.wait_for_calls(2)
        await store.wait_for_moves(5)  # three by the other one

        assert (len(first.batches[1].messages), len(second.sent)) == (1, 4)

        probe.go_on.set()
        await store.wait_for_moves(7)

    assert store.events.count(SmsEvent.TAKEN) == 5


async def test_the_first_carrier_is_used_again_once_a_probe_gets_through(
    store: WatchedStore, clock: ManualClock
) -> None:
    rig, first, second = two(store, clock)
    first.script.append(NO_CREDIT)
    async with rig.running():
        await rig.submit(new_sms())
        await store.wait_for_moves(2)
        await rig.pass_time(300)
        await rig.submit(new_sms())
        await store.wait_for_moves(3)
        await rig.submit(*[new_sms(position) for position in range(1, 5)])
        await store.wait_for_moves(7)

    assert (len(first.sent), len(second.sent)) == (6, 1)


async def test_turned_away_by_all_an_account_waits_for_all(store: WatchedStore, clock: ManualClock) -> None:
    rig, first, second = two(store, clock)
    first.script.append(NO_CREDIT)
    second.script.append(NO_CREDIT)
    sms = new_sms()
    async with rig.running():
        await rig.submit(sms)
        await store.wait_for_moves(2)
        await rig.pass_time(299)
        await rig.settle_down()

        assert ((await store.sms(sms))["state"], (await store.sms(sms))["code"]) == (SmsState.QUEUED, 12)
        assert (len(first.batches), len(second.batches)) == (1, 1)

        await rig.pass_time(1)
        await store.wait_for_moves(3)

    assert first.sent == [sms.id, sms.id]


async def test_a_hold_of_one_account_is_none_of_another(store: WatchedStore, clock: ManualClock) -> None:
    first, second = FakeCarrier("first"), FakeCarrier("second")
    first.script.append(NO_CREDIT)
    accounts = [
        make_account(name=name, keyid=name * 7, providers=("first", "second"), routes=(WEST,))
        for name in ("one", "two")
    ]
    rig = Rig(store, clock, first, second, accounts=accounts)
    mine, other, (west,) = new_sms(), new_sms(), routed()
    async with rig.running():
        await rig.submit(mine, account="one")
        await store.wait_for_moves(2)
        await rig.submit(other, account="two")
        await store.wait_for_moves(3)
        second.script.append(REFUSED)
        await rig.submit(west, account="one")  # by another route, but of the same account: held there too
        await store.wait_for_moves(4)
        await rig.settle_down()

    assert (first.sent, second.sent) == ([mine.id, other.id], [mine.id, west.id])


async def test_what_is_uncertain_never_goes_by_another_carrier_by_itself(
    store: WatchedStore, clock: ManualClock
) -> None:
    rig, first, second = two(store, clock)
    first.default = LOST
    async with rig.running():
        await rig.submit(*[new_sms(position) for position in range(1, 6)])
        await store.wait_for_moves(5)
        await rig.pass_time(600)
        await rig.settle_down()

        assert second.sent == []

        later = new_sms()
        await rig.submit(later)
        await store.wait_for_moves(6)

    assert store.events[:5] == [SmsEvent.LOST] * 5


async def test_an_sms_that_is_to_come_back_later_stays_with_its_carrier(
    store: WatchedStore, clock: ManualClock
) -> None:
    rig, first, second = two(store, clock)
    first.script.append(BUSY)
    sms = new_sms()
    async with rig.running():
        await rig.submit(sms)
        await store.wait_for_moves(1)
        await rig.pass_time(75)
        await store.wait_for_moves(2)

    assert (first.sent, second.sent) == ([sms.id, sms.id], [])


async def test_a_runner_that_finds_its_carrier_shut_takes_the_next(store: WatchedStore, clock: ManualClock) -> None:
    rig, first, second = two(store, clock, width=1)
    refuse = Stall(REFUSED)
    first.script.append(refuse)
    first.batch_size = 1
    async with rig.running():
        await rig.submit(new_sms(1), new_sms(2))
        await first.wait_for_calls(1)
        async with asyncio.timeout(5):
            while not rig.dispatcher._links["first"].turns.waiting:  # noqa: ASYNC110 no event for this
                await asyncio.sleep(0)
        refuse.go_on.set()
        await store.wait_for_moves(3)

    assert (len(first.sent), len(second.sent)) == (1, 2)


# --- shares ----------------------------------------------------------------------------------------------------------


async def test_shares_are_those_of_the_sms(store: WatchedStore, clock: ManualClock) -> None:
    rig, first, second = two(store, clock, weights={"first": 3, "second": 1})
    first.batch_size = second.batch_size = 5
    async with rig.running():
        await rig.submit(*[new_sms(position) for position in range(1, 201)])
        await store.wait_for_moves(200)

    assert abs(len(first.sent) - 150) <= 10


async def test_the_share_of_a_carrier_that_is_down_goes_by_the_others(store: WatchedStore, clock: ManualClock) -> None:
    rig, first, second = two(store, clock, weights={"first": 1, "second": 1})
    first.default = REFUSED
    async with rig.running():
        await rig.submit(*[new_sms(position) for position in range(1, 41)])
        async with asyncio.timeout(10):
            while store.events.count(SmsEvent.TAKEN) < 40:
                await store.wait_for_moves(len(store.events) + 1)

    assert len(second.sent) == 40


# --- rates -----------------------------------------------------------------------------------------------------------


async def test_a_carrier_is_not_handed_more_than_its_rate(store: WatchedStore, clock: ManualClock) -> None:
    carrier = FakeCarrier()
    rig = Rig(store, clock, carrier, rate=5)
    async with rig.running():
        await rig.submit(*[new_sms(position) for position in range(1, 13)])
        await store.wait_for_moves(5)
        await rig.settle_to_rate()

        assert len(carrier.sent) == 5

        await rig.pass_time(1)
        await store.wait_for_moves(10)
        await rig.settle_to_rate()

        assert len(carrier.sent) == 10

        await rig.pass_time(1)
        await store.wait_for_moves(12)


async def test_what_waits_for_the_rate_is_not_claimed_and_a_stop_does_not_wait_for_it(
    store: WatchedStore, clock: ManualClock
) -> None:
    carrier = FakeCarrier()
    rig = Rig(store, clock, carrier, rate=0.001)
    waiting = [new_sms(position) for position in range(1, 4)]
    async with rig.running():
        await rig.submit(*waiting)
        await store.wait_for_moves(1)
        await rig.settle_to_rate()
        states = [(await store.sms(sms))["state"] for sms in waiting]

    assert sorted(state.value for state in states) == ["accepted", "queued", "queued"]
    assert len(carrier.sent) == 1


async def test_accounts_share_a_rate_and_an_alert_comes_first(store: WatchedStore, clock: ManualClock) -> None:
    carrier = FakeCarrier()
    names = {"one": "bulk", "two": "bulk", "fire": "alert"}
    accounts = [make_account(name=name, keyid=name * 7, priority=priority) for name, priority in names.items()]
    rig = Rig(store, clock, carrier, accounts=accounts, rate=1, calls_per_account=1)
    async with rig.running():
        await rig.submit(*[new_sms(position) for position in range(1, 6)], account="one")
        await rig.submit(*[new_sms(position) for position in range(1, 6)], account="two")
        await store.wait_for_moves(1)
        await rig.settle_to_rate()
        await rig.submit(new_sms(), account="fire")
        for count in range(2, 12):
            await rig.settle_to_rate()
            await rig.pass_time(1)
            await store.wait_for_moves(count)

    keys = [batch.options.account_key[:3] for batch in carrier.batches]
    assert "fir" in keys[1:3]  # behind the one who stood at the front already
    assert abs(keys[:9].count("one") - keys[:9].count("two")) <= 1


# --- dates -----------------------------------------------------------------------------------------------------------

LATER = START + timedelta(hours=2)


def dated(at: datetime = LATER) -> NewSms:
    return replace(new_sms(expires_at=at + timedelta(days=1)), deliver_at=at)


async def test_a_carrier_that_waits_by_itself_is_told_the_date_at_once(store: WatchedStore, clock: ManualClock) -> None:
    carrier = SchedulingCarrier(longest_wait_s=86_400)
    rig = Rig(store, clock, carrier)
    async with rig.running():
        await rig.submit(dated())
        batch = (await carrier.wait_for_calls(1))[0]

    assert batch.options.deliver_at == LATER


async def test_a_carrier_that_cannot_wait_gets_the_sms_when_its_date_has_come(
    store: WatchedStore, clock: ManualClock
) -> None:
    sms, carrier = dated(), FakeCarrier()
    rig = Rig(store, clock, carrier)
    async with rig.running():
        await rig.submit(sms)
        await store.wait_for_moves(1)
        row = await store.sms(sms)

        assert (row["state"], row["due_at"], row["attempts"]) == (SmsState.QUEUED, LATER, 0)

        await rig.pass_time(7_200)
        await store.wait_for_moves(2)

    assert [batch.options.deliver_at for batch in carrier.batches] == [None]


async def test_too_far_ahead_an_sms_waits_here_until_the_carrier_takes_it(
    store: WatchedStore, clock: ManualClock
) -> None:
    sms, carrier = dated(), SchedulingCarrier(longest_wait_s=3_600)
    rig = Rig(store, clock, carrier)
    async with rig.running():
        await rig.submit(sms)
        await store.wait_for_moves(1)

        assert (await store.sms(sms))["due_at"] == LATER - timedelta(hours=1)

        await rig.pass_time(3_600)
        batch = (await carrier.wait_for_calls(1))[0]

    assert batch.options.deliver_at == LATER


async def test_only_sms_of_one_date_share_a_call(store: WatchedStore, clock: ManualClock) -> None:
    carrier = SchedulingCarrier(longest_wait_s=86_400)
    rig = Rig(store, clock, carrier)
    sms = [dated(LATER), dated(), dated(LATER + timedelta(hours=1)), new_sms()]
    async with rig.running():
        await rig.submit(*[replace(one, position=place) for place, one in enumerate(sms, 1)])
        await store.wait_for_moves(4)

    assert sorted(_dates(carrier.batches), key=str) == sorted(
        [(LATER, 2), (LATER + timedelta(hours=1), 1), (None, 1)], key=str
    )


def _dates(batches: Sequence[Batch]) -> list[tuple[datetime | None, int]]:
    return [(batch.options.deliver_at, len(batch.messages)) for batch in batches]


@pytest.mark.parametrize(
    ("at", "state"), [(datetime.fromisoformat("2026-03-05T22:30:00+00:00"), "refused"), (LATER, "accepted")]
)
async def test_hours_are_those_of_the_date(store: WatchedStore, at: datetime, state: str) -> None:
    night = datetime.fromisoformat("2026-03-04T05:00:00+00:00")
    carrier, sms = SchedulingCarrier(longest_wait_s=10 * 86_400), replace(dated(at), due_at=night)
    rig = Rig(store, ManualClock(night), carrier, accounts=[make_account(commercial=True)])
    async with rig.running():
        await rig.submit(sms, commercial=True)
        await store.wait_for_moves(1)

    assert (await store.sms(sms))["state"].value == state


async def test_the_carrier_is_told_whether_an_sms_is_commercial(store: WatchedStore, clock: ManualClock) -> None:
    carrier = FakeCarrier()
    rig = Rig(store, clock, carrier, accounts=[make_account(commercial=True)])
    async with rig.running():
        await rig.submit(new_sms(), commercial=True)
        await rig.submit(new_sms())
        await carrier.wait_for_calls(2)

    assert sorted(batch.options.commercial for batch in carrier.batches) == [False, True]


# --- costs -----------------------------------------------------------------------------------------------------------


async def test_what_a_carrier_billed_is_counted(store: WatchedStore, clock: ManualClock) -> None:
    carrier = FakeCarrier("dear")
    carrier.default = always(Accepted(raw="ok", cost=Decimal("0.045"), currency="EUR"))
    rig = Rig(store, clock, carrier, accounts=[make_account(providers=("dear",))])
    async with rig.running():
        await rig.submit(*[new_sms(position) for position in range(1, 5)])
        await store.wait_for_moves(4)

    total = REGISTRY.get_sample_value("mail2sms_cost_total", {"provider": "dear", "currency": "EUR"})
    assert total == pytest.approx(0.18)


async def test_a_carrier_that_bills_nothing_is_no_cost(store: WatchedStore, clock: ManualClock) -> None:
    rig = Rig(store, clock, FakeCarrier("free"), accounts=[make_account(providers=("free",))])
    async with rig.running():
        await rig.submit(new_sms())
        await store.wait_for_moves(1)

    assert REGISTRY.get_sample_value("mail2sms_cost_total", {"provider": "free", "currency": ""}) is None
