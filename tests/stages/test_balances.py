"""What is left at the carriers: asked in time, shown, and told of once each time it gets low."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest
import structlog
from structlog.typing import EventDict

from gateway import carrier as carrier_module
from gateway.balances import FIRST_S, Balances
from gateway.carrier import Carrier
from gateway.metrics import REGISTRY
from gateway.providers.base import Balance, Untold
from tests.stages.rig import DEADLINE_S, FakeCarrier
from tests.support.clock import ManualClock

EUROS = Balance(amount=Decimal("12.50"), currency="EUR", sms=250)


class TellingCarrier(FakeCarrier):
    """Tells what is left, answer by answer; after the last one, the same again."""

    def __init__(self, *answers: Balance | Untold, name: str = "carrier") -> None:
        super().__init__(name)
        self.answers = deque(answers)
        self.asked = 0
        self.is_silent = False

    async def balance(self) -> Balance | Untold:
        self.asked += 1
        if self.is_silent:
            await asyncio.Event().wait()
        return self.answers.popleft() if len(self.answers) > 1 else self.answers[0]


def as_carrier(provider: FakeCarrier, *, low_balance: float = 0.0) -> Carrier:
    return Carrier(provider=provider, timeout_s=0.01, width=1, low_balance=low_balance, balance_every_s=900)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def lines() -> Iterator[list[EventDict]]:
    with structlog.testing.capture_logs() as captured:
        yield captured


@asynccontextmanager
async def running(clock: ManualClock, *carriers: Carrier) -> AsyncIterator[Balances]:
    """Run the stage; at its end nothing is shown any more, for the metric outlives a test."""
    balances = Balances(clock=clock, carriers={carrier.provider.name: carrier for carrier in carriers})
    async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as group:
        group.create_task(balances.run())
        yield balances
        balances.stop()
    balances.reconfigure({})


async def pass_time(balances: Balances, clock: ManualClock, seconds: float) -> None:
    """Let the time pass, and whoever is to be asked answer."""
    clock.advance(seconds)
    balances.bell.ring()
    for _ in range(20):
        await asyncio.sleep(0)


def shown(currency: str = "EUR", provider: str = "carrier") -> float | None:
    return REGISTRY.get_sample_value("mail2sms_provider_balance", {"provider": provider, "currency": currency})


async def test_the_first_question_comes_soon_and_then_at_intervals(clock: ManualClock) -> None:
    provider = TellingCarrier(EUROS)
    asked = []
    async with running(clock, as_carrier(provider)) as balances:
        for seconds in (FIRST_S - 1, 1, 899, 1):
            await pass_time(balances, clock, seconds)
            asked.append(provider.asked)
        figure = shown()

    assert asked == [0, 1, 1, 2]
    assert figure == 12.5
    assert shown() is None


async def test_a_carrier_that_tells_nothing_is_not_asked(clock: ManualClock) -> None:
    async with running(clock, as_carrier(FakeCarrier())) as balances:
        await pass_time(balances, clock, FIRST_S)

        assert balances._watches == {}


async def test_each_crossing_is_told_of_once(clock: ManualClock, lines: list[EventDict]) -> None:
    answers = [Balance(amount=Decimal(left), currency="EUR") for left in (50, 9, 8, 10, 20, 9)]
    async with running(clock, as_carrier(TellingCarrier(*answers), low_balance=10)) as balances:
        for _ in answers:
            await pass_time(balances, clock, 900)

    assert [(line["event"], line["left"]) for line in lines] == [
        ("provider_balance_low", 9),
        ("provider_balance_recovered", 10),
        ("provider_balance_low", 9),
    ]


async def test_where_no_sum_is_told_sms_are_counted(clock: ManualClock, lines: list[EventDict]) -> None:
    provider = TellingCarrier(Balance(sms=40))
    async with running(clock, as_carrier(provider, low_balance=50)) as balances:
        await pass_time(balances, clock, FIRST_S)

        assert shown("sms") == 40

    assert [(line["event"], line["currency"]) for line in lines] == [("provider_balance_low", "sms")]


async def test_what_is_not_known_is_told_of_once_and_not_shown(clock: ManualClock, lines: list[EventDict]) -> None:
    provider = TellingCarrier(EUROS, Untold(reason="no key of its own"), Balance(), EUROS, Untold(reason="HTTP 500"))
    figures = []
    async with running(clock, as_carrier(provider)) as balances:
        for _ in range(5):
            await pass_time(balances, clock, 900)
            figures.append(shown())

    assert figures == [12.5, None, None, 12.5, None]
    assert [(line["event"], line["reason"]) for line in lines] == [
        ("provider_balance_unknown", "no key of its own"),
        ("provider_balance_unknown", "HTTP 500"),
    ]


async def test_a_carrier_that_does_not_answer_delays_no_other(
    clock: ManualClock, lines: list[EventDict], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carrier_module, "_MARGIN_S", 0.0)
    silent, other = TellingCarrier(EUROS, name="silent"), TellingCarrier(EUROS, name="other")
    silent.is_silent = True
    async with running(clock, as_carrier(silent), as_carrier(other)) as balances:
        await pass_time(balances, clock, FIRST_S)

        assert (shown(provider="silent"), shown(provider="other")) == (None, 12.5)

    assert [(line["provider"], line["reason"]) for line in lines] == [("silent", "no answer in time")]


async def test_an_exception_of_a_provider_is_no_figure(clock: ManualClock, lines: list[EventDict]) -> None:
    class Broken(TellingCarrier):
        async def balance(self) -> Balance | Untold:
            raise RuntimeError("a bug")

    async with running(clock, as_carrier(Broken(EUROS))) as balances:
        await pass_time(balances, clock, FIRST_S)

    assert [line["event"] for line in lines] == ["call_failed", "provider_balance_unknown"]


async def test_a_reload_asks_a_changed_carrier_anew_and_forgets_one_that_is_gone(clock: ManualClock) -> None:
    kept, gone = as_carrier(TellingCarrier(EUROS, name="kept")), as_carrier(TellingCarrier(EUROS, name="gone"))
    changed = TellingCarrier(Balance(amount=Decimal(3), currency="USD"), name="changed")
    async with running(clock, kept, gone, as_carrier(TellingCarrier(EUROS, name="changed"))) as balances:
        await pass_time(balances, clock, FIRST_S)
        balances.reconfigure({"kept": kept, "changed": as_carrier(changed)})

        assert [shown(provider=name) for name in ("kept", "gone", "changed")] == [12.5, None, None]

        await pass_time(balances, clock, FIRST_S)

        assert (shown(provider="changed"), shown("USD", provider="changed")) == (None, 3)


async def test_a_figure_in_another_currency_replaces_the_first(clock: ManualClock) -> None:
    provider = TellingCarrier(EUROS, Balance(amount=Decimal(3), currency="USD"))
    async with running(clock, as_carrier(provider)) as balances:
        await pass_time(balances, clock, FIRST_S)
        await pass_time(balances, clock, 900)

        assert (shown(), shown("USD")) == (None, 3)
