"""`/metrics`: figures that are asked for, not counted."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from gateway.lifecycle import SmsState
from gateway.metrics import render_metrics
from gateway.store.base import Backlog
from gateway.store.errors import StoreUnavailable
from gateway.store.waits import Waiting, Waits
from gateway.web import Gauges
from gateway.web.gauges import FRESH_S, CarrierView, DiskView, Rows, Surroundings
from tests.support.clock import START, ManualClock

MINUTE = timedelta(minutes=1)
ROWS = Rows(
    backlog=Backlog(
        sms={"queued": 3, "uncertain": 0},
        reports={"due": 2},
        oldest_sms={"queued": START},
        oldest_reports={"due": START},
    ),
    waits=Waits(
        lanes={
            "ops": Waiting(rows=1, since=START - MINUTE),
            "ops/mobiles": Waiting(rows=2, since=START),
            "gone": Waiting(rows=4, since=START),
        },
        carriers={
            ("a", SmsState.SENDING): Waiting(rows=1, since=START),
            ("removed", SmsState.ACCEPTED): Waiting(rows=9, since=START),
        },
        reports=Waiting(rows=2, since=START - MINUTE),
    ),
)
AROUND = Surroundings(
    is_ready=True,
    carriers={
        "a": CarrierView(is_up=True, held_accounts=0, low_balance=50),
        "b": CarrierView(is_up=False, held_accounts=2),
    },
    classes={"ops": "alert", "shop": "bulk"},
    first_carriers={"ops": "a", "ops/mobiles": "b"},
    disk=DiskView(free=1_000, needed=500, store=20),
)


@dataclass
class House:
    """A store that answers as told, and what is around it."""

    clock: ManualClock
    rows: Rows = ROWS
    error: Exception | None = None
    asked: int = 0
    never_answers: bool = False
    waiting: asyncio.Event = field(default_factory=asyncio.Event)

    async def count_rows(self, _now: datetime) -> Rows:
        self.asked += 1
        if self.never_answers:
            self.waiting.set()
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        return self.rows

    def gauges(self, around: Surroundings = AROUND) -> Gauges:
        return Gauges(clock=self.clock, count_rows=self.count_rows, look_around=lambda _rows: around)


@pytest.fixture
def house() -> House:
    return House(ManualClock())


def shown() -> dict[str, float]:
    lines = render_metrics()[0].decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


async def test_ages_count_from_the_mail_by_class_and_by_the_carrier_asked_first(house: House) -> None:
    house.clock.advance(60)
    await house.gauges().refresh()
    found = shown()

    assert found['mail2sms_queue_rows{class="alert"}'] == 3
    assert found['mail2sms_queue_oldest_age_seconds{class="alert"}'] == 120
    assert found['mail2sms_queue_oldest_age_seconds{class="bulk"}'] == 0
    assert found['mail2sms_queue_rows{class="unknown"}'] == 4
    assert found['mail2sms_provider_oldest_age_seconds{provider="a",state="queued"}'] == 120
    assert found['mail2sms_provider_oldest_age_seconds{provider="b",state="queued"}'] == 60
    assert found['mail2sms_provider_rows{provider="a",state="sending"}'] == 1
    assert found["mail2sms_report_unsent_age_seconds"] == 120
    assert found['mail2sms_sms_oldest_age_seconds{state="queued"}'] == 60


async def test_every_carrier_has_every_state_and_others_have_none(house: House) -> None:
    await house.gauges().refresh()
    carriers = {name for name in shown() if name.startswith("mail2sms_provider_rows")}

    assert carriers == {
        f'mail2sms_provider_rows{{provider="{name}",state="{state}"}}'
        for name in "ab"
        for state in ("queued", "sending", "uncertain", "accepted")
    }


async def test_what_is_known_without_the_store_is_shown(house: House) -> None:
    await house.gauges().refresh()
    found = shown()

    assert (found['mail2sms_provider_up{provider="a"}'], found['mail2sms_provider_up{provider="b"}']) == (1, 0)
    assert found['mail2sms_provider_held_accounts{provider="b"}'] == 2
    assert found['mail2sms_provider_low_balance{provider="a"}'] == 50
    assert (found["mail2sms_store_disk_free_bytes"], found["mail2sms_store_disk_needed_bytes"]) == (1_000, 500)
    assert found["mail2sms_ready"] == 1


async def test_the_store_is_asked_again_only_after_a_while(house: House) -> None:
    gauges = house.gauges()
    async with asyncio.TaskGroup() as group:
        for _ in range(10):
            group.create_task(gauges.refresh())
    asked_at_once = house.asked
    house.clock.advance(FRESH_S)
    await gauges.refresh()

    assert (asked_at_once, house.asked) == (1, 2)


async def test_ages_go_on_between_two_looks(house: House) -> None:
    gauges = house.gauges()
    await gauges.refresh()
    house.clock.advance(FRESH_S - 1)
    await gauges.refresh()

    assert house.asked == 1
    assert shown()['mail2sms_sms_oldest_age_seconds{state="queued"}'] == FRESH_S - 1


def fail(house: House) -> None:
    house.error = StoreUnavailable("locked")


def hang(house: House) -> None:
    house.never_answers = True


@pytest.mark.slow
@pytest.mark.parametrize("break_store", [fail, hang])
async def test_without_its_store_it_shows_no_rows_and_says_so(
    house: House, break_store: Callable[[House], None]
) -> None:
    gauges = house.gauges()
    await gauges.refresh()
    break_store(house)
    house.clock.advance(FRESH_S)
    await gauges.refresh()
    found = shown()

    assert found["mail2sms_store_up"] == 0
    assert not [
        name for name in found if name.startswith(("mail2sms_sms_rows", "mail2sms_queue", "mail2sms_provider_r"))
    ]
    assert found["mail2sms_report_unsent_age_seconds"] != found["mail2sms_report_unsent_age_seconds"]  # not a number
    assert found['mail2sms_provider_up{provider="a"}'] == 1


async def test_no_label_names_an_account(house: House) -> None:
    await house.gauges().refresh()

    assert not [name for name in shown() if '"ops' in name or '"shop"' in name]
