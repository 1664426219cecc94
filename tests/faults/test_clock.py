"""The wall clock of the real process is set, with everything waiting that can wait."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.clock import SystemClock
from gateway.smtp.mailbox import Step
from tests.faults.carriers import Carrier, Script, accepts, answer, cuts, says, stays_silent
from tests.faults.field import FakeTime, Field, field, make_mail, message_id
from tests.support.gateway import serve
from tests.support.rawhttp import closed_port

pytestmark = pytest.mark.slow

DAYS = timedelta(days=3)
MONTH_S = 30 * 86_400
NUMBERS = {"live": "0601020301", "lost": "0601020302", "later": "0601020303", "queued": "0601020304"}
AUTUMN = datetime(2026, 10, 25, 0, 59, 30, tzinfo=UTC)  # half a minute before Paris goes from 03:00 back to 02:00


def until_real(at: datetime) -> timedelta:
    return at - SystemClock().now()


STEPS = ((None, DAYS), (None, -DAYS), (AUTUMN, -timedelta(hours=1)))


async def test_a_step_of_the_clock_doubles_nothing_and_delays_nothing(tmp_path: Path) -> None:
    async with asyncio.TaskGroup() as group:  # they mostly wait
        for number, (begin, step) in enumerate(STEPS):
            folder = tmp_path / str(number)
            folder.mkdir()
            group.create_task(step_the_clock(folder, begin, step), name=f"by {step} from {begin}")


async def step_the_clock(tmp_path: Path, begin: datetime | None, step: timedelta) -> None:
    """Have something of every kind wait, set the clock, and look at what becomes of it."""
    time = FakeTime(tmp_path, timedelta(0) if begin is None else until_real(begin))
    go_on = asyncio.Event()

    async def answers_late(writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        await accepts(writer)

    scripts: dict[str, Script] = {
        "live": answers_late,
        "lost": cuts,
        "later": says(answer(b"", status=429)),
        "queued": accepts,
    }
    queued_port = await closed_port()
    async with Carrier(scripts["live"]) as live, Carrier(scripts["lost"]) as lost, Carrier(scripts["later"]) as later:
        urls = {"live": live.url, "lost": lost.url, "later": later.url, "queued": f"http://127.0.0.1:{queued_port}"}
        async with field(tmp_path, env={**time.env, "TZ": "Europe/Paris"}, **blocks(urls)) as ground:
            for name, number in NUMBERS.items():
                await send(ground, name, number)
            ground.mailbox.refuse(Step.RCPT, "450 4.2.0 Greylisted", times=1)
            await ground.until(
                lambda: (
                    waiting(ground) == {"live": [None], "lost": ["lost"], "later": ["not_sent"], "queued": ["not_sent"]}
                )
            )
            later.script = accepts
            async with Carrier(accepts, port=queued_port) as queued:
                time.step(step)
                await ground.logged("clock_stepped")
                if step < timedelta(0):
                    await ground.logged("rows_pulled_in")
                go_on.set()
                time.step(timedelta(minutes=16))
                await ground.until(lambda: len(ground.nots()) == len(NUMBERS))
                await ground.until(lambda: {one["state"] for one in ground.reports()} == {"sent"})

                assert [len(one.requests) for one in (live, lost, later, queued)] == [1, 1, 2, 1]
            assert ground.nots() == {number: 999 if name == "lost" else 0 for name, number in NUMBERS.items()}
            assert set(Counter(message_id(mail) for mail in ground.mailbox.mails).values()) == {1}
            assert len(ground.mailbox.mails) == 2 * len(NUMBERS)


def waiting(ground: Field) -> dict[str, list[str | None]]:
    return {sms["account"]: sms["verdicts"] for sms in ground.sms()}


def blocks(urls: dict[str, str]) -> dict[str, object]:
    """An account and a carrier for each; the first ones of the configuration are not used."""
    accounts = [
        {
            "name": name,
            "keyid": f"{name:-<32}",
            "domains": [f"{name}.example"],
            "providers": [name],
            "validity_s": MONTH_S,
        }
        for name in urls
    ]
    providers = [{"name": name, "base_url": f"{url}/cgi-bin", "timeout_s": 30} for name, url in urls.items()]
    return {
        "more_accounts": accounts,
        "more_providers": providers,
        "janitor": {"every_s": 0.3, "reconcile_window_s": 900},
    }


async def send(ground: Field, name: str, number: str) -> None:
    domain = f"{name}.example"
    reply = await ground.send(make_mail("1", number, key=f"{name:-<32}", domain=domain), domain=domain)

    assert reply.startswith("250")


async def test_after_hours_without_a_carrier_what_is_valid_goes_and_what_is_not_is_told(tmp_path: Path) -> None:
    time, port = FakeTime(tmp_path), await closed_port()
    alarm = {"name": "alarm", "keyid": "a" * 32, "domains": ["alarm.example"], "validity_s": 3600}
    async with field(tmp_path, env=time.env, carrier=f"http://127.0.0.1:{port}", more_accounts=[alarm]) as ground:
        await ground.send(make_mail("1", "0601020301"))
        await ground.logged("provider_paused")  # from now on nothing is claimed for some seconds
        await ground.send(make_mail("2", "0601020302", key="a" * 32, domain="alarm.example"), domain="alarm.example")
        time.step(timedelta(hours=6))
        async with Carrier(accepts, port=port) as carrier:
            await ground.until(lambda: ground.nots() == {"0601020301": 0, "0601020302": 999})

            assert carrier.numbers == ["33601020301"]

        assert ground.states() == ["accepted", "expired"]


async def test_a_restart_in_the_past_leaves_nothing_for_later(tmp_path: Path) -> None:
    """The machine came up with a clock of three days ago: what was claimed and what was due go on."""
    time, port = FakeTime(tmp_path, DAYS), await closed_port()
    async with Carrier(stays_silent) as silent:
        urls = {"live": silent.url, "queued": f"http://127.0.0.1:{port}"}
        async with field(tmp_path, env=time.env, **blocks(urls)) as ground:
            for name in urls:
                await send(ground, name, NUMBERS[name])
            await ground.until(lambda: waiting(ground) == {"live": [None], "queued": ["not_sent"]})
            await ground.gateway.kill()
            time.step(-DAYS)
            async with serve(ground.config, env=time.env) as gateway:
                ground.gateway = gateway
                async with Carrier(accepts, port=port) as queued:
                    await ground.logged("rows_pulled_in")
                    time.step(timedelta(minutes=16))
                    await ground.until(lambda: len(ground.nots()) == 2)

                    assert (len(silent.requests), len(queued.requests)) == (1, 1)
                assert ground.nots() == {NUMBERS["live"]: 999, NUMBERS["queued"]: 0}
