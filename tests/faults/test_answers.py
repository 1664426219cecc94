"""What a carrier may answer, and what becomes of the SMS: one gateway, one account and one carrier for each case.

`lost`: nothing is proven, so it is asked once, uncertain, and reported 999 after the window. `refused`: reported.
`not_sent`: it waits for its next try, and nothing is reported yet.
"""

import asyncio
import gzip
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from tests.faults import field as playing
from tests.faults.carriers import Carrier, Script, accepts, answer, cuts, entry, floods, says, stays_silent, trickles
from tests.faults.field import Field, make_mail
from tests.support.rawhttp import closed_port

pytestmark = pytest.mark.slow

TIMEOUT_S = 2.0
MIB = 1024
MUCH = 300 * 1024 * 1024
JSON = "Content-Type: application/json"
PAGE = b"<!doctype html><html><body>Maintenance</body></html>"
BOMB = gzip.compress(bytes(200 * 1024 * 1024), 9)
NAN = b'{"etat":{"etat":[{"code":NaN}]}}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What the carrier does, and what the attempt's verdict is."""

    script: Script
    verdict: str
    code: int | None = None  # in the Not, or so far in the row
    event: str | None = None
    settings: Mapping[str, object] = field(default_factory=dict)
    wait_s: tuple[float, float] | None = None  # until the next try


def lost(script: Script, *, event: str | None = None) -> Case:
    return Case(script=script, verdict="lost", code=999, event=event)


def status(number: int, verdict: str, **details: Any) -> Case:  # noqa: ANN401 of a case
    headers = details.pop("headers", ())
    unread = "answer_unreadable" if details.get("event") is None else details.pop("event")
    return Case(script=says(answer(PAGE, *headers, status=number)), verdict=verdict, event=unread, **details)


ACCOUNT_WAIT = (-60.0, 0.5)  # its lane waits; the SMS itself stays due
PROVIDER_WAIT = (25.0, 60.0)

CASES: Mapping[str, Case] = MappingProxyType(
    {
        "accepted": Case(script=accepts, verdict="taken", code=0),
        "cut": lost(cuts),
        "silent": lost(stays_silent),
        "trickled-head": lost(trickles(b"HTTP/1.1 200 OK\r\nX-A: ", b"a", every_s=0.2)),
        "trickled-body": lost(trickles(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n", b" ", every_s=0.2)),
        "continues": lost(trickles(b"", b"HTTP/1.1 100 Continue\r\n\r\n", every_s=0.2)),
        "html": lost(says(answer(PAGE)), event="answer_unreadable"),
        "empty": lost(says(answer(b"")), event="answer_unreadable"),
        "not-json": lost(says(answer(b"etat: 0", JSON)), event="answer_unreadable"),
        "deep": lost(says(answer(b"[" * 100_000, JSON)), event="answer_unreadable"),
        "nan": lost(says(answer(NAN, JSON)), event="answer_unreadable"),
        "no-code": lost(says(answer(b"{}", JSON)), event="answer_unreadable"),
        "truncated": lost(says(answer(entry(0), JSON, length=500))),
        "length-too-short": lost(says(answer(entry(0), JSON, length=12))),
        "gzip-bomb": lost(says(answer(BOMB, JSON, "Content-Encoding: gzip"))),
        "endless": lost(floods(b"HTTP/1.1 200 OK\r\n\r\n", size=MUCH)),
        **{f"status-{number}": status(number, "lost", code=999) for number in (408, 500, 502, 503, 504)},
        **{f"status-{number}": status(number, "refused", code=999) for number in (400, 404, 413, 422)},
        **{f"status-{number}": status(number, "not_sent", wait_s=ACCOUNT_WAIT) for number in (401, 403)},
        "503-not-taken": status(503, "not_sent", settings={"on_503": "not_taken"}, wait_s=PROVIDER_WAIT),
        "429": status(429, "not_sent", wait_s=PROVIDER_WAIT),
        "429-later": status(429, "not_sent", headers=["Retry-After: 600"], wait_s=(590, 760)),
        "429-never": status(429, "not_sent", headers=["Retry-After: 9999999"], wait_s=(3590, 3910)),
        "code-12": Case(script=says(answer(entry(12))), verdict="not_sent", code=12, event="account_held"),
        "code-14": Case(script=says(answer(entry(14))), verdict="not_sent", code=14, event="account_held"),
        "code-3": Case(script=says(answer(entry(3), status=400)), verdict="not_sent", code=3, event="account_held"),
        "code-29": Case(script=says(answer(entry(29))), verdict="not_sent", code=29, event="provider_paused"),
        "code-21": Case(script=says(answer(entry(21))), verdict="refused", code=21),
        "code-999": lost(says(answer(entry(999)))),
        "0-with-500": lost(says(answer(entry(0), status=500))),
    }
)


def domain_of(name: str) -> str:
    return f"{name}.example"


async def test_each_answer_has_its_consequence(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        elsewhere, proxy = [await stack.enter_async_context(Carrier(accepts)) for _ in range(2)]
        moved = says(answer(b"", f"Location: {elsewhere.url}/cgi-bin/sms", status=302))
        cases = {**CASES, "moved": Case(script=moved, verdict="refused", code=999, event="answer_unreadable")}
        carriers = {name: await stack.enter_async_context(Carrier(case.script)) for name, case in cases.items()}
        names = list(cases)
        accounts = [
            {"name": name, "keyid": f"{name:-<20}{index:012d}", "domains": [domain_of(name)], "providers": [name]}
            for index, name in enumerate(names)
        ]
        providers = [
            {"name": name, "base_url": carriers[name].url + "/cgi-bin", "timeout_s": TIMEOUT_S, **cases[name].settings}
            for name in names
        ]
        env = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"), proxy.url)
        ground = await stack.enter_async_context(
            playing.field(tmp_path, env=env, more_accounts=accounts, more_providers=providers)
        )
        await ground.send(make_mail("warm", "0600000000"))
        before_kib = ground.status("VmHWM")
        async with asyncio.TaskGroup() as group:
            replies = [
                group.create_task(
                    ground.send(
                        make_mail(
                            "1", f"06010200{index:02d}", key=str(accounts[index]["keyid"]), domain=domain_of(name)
                        ),
                        domain=domain_of(name),
                    )
                )
                for index, name in enumerate(names)
            ]
        await ground.until(lambda: not {"queued", "sending", "uncertain"} & set(unsettled(ground, cases)))
        final = sum(case.verdict != "not_sent" for case in cases.values())
        await ground.until(lambda: len(ground.nots()) >= final)
        grown_kib = ground.status("VmHWM") - before_kib
        problems = {
            name: found
            for index, name in enumerate(names)
            if (found := await judge(ground, name, cases[name], carriers[name], f"06010200{index:02d}"))
        }

        assert problems == {}
        assert {reply.result()[:3] for reply in replies} == {"250"}
        assert (elsewhere.requests, proxy.requests) == ([], [])
        assert grown_kib <= 16 * MIB + len(cases) * 200  # a connection of each carrier and a session of each client


def unsettled(ground: Field, cases: Mapping[str, Case]) -> list[str]:
    """Return the states that are not yet what they end as."""
    sms = {row["account"]: row for row in ground.sms()}
    return [
        sms[name]["state"]
        for name, case in cases.items()
        if not (case.verdict == "not_sent" and sms[name]["verdicts"] and sms[name]["verdicts"][0])
    ]


async def judge(ground: Field, name: str, case: Case, carrier: Carrier, number: str) -> list[str]:
    """Return what is not as the case wants it."""
    (sms,) = [row for row in ground.sms() if row["account"] == name]
    states = {"taken": "accepted", "lost": "expired", "refused": "refused", "not_sent": "queued"}
    wanted_not = None if case.verdict == "not_sent" else case.code
    seen: dict[str, tuple[object, object]] = {
        "state": (states[case.verdict], sms["state"]),
        "verdicts": ([case.verdict], sms["verdicts"]),
        "calls": (1, len(carrier.requests)),
        "not": (wanted_not, ground.nots().get(number)),
        "metric": (
            1.0,
            await ground.metric(f'mail2sms_verdicts_total{{provider="{name}",verdict="{KINDS[case.verdict]}"}}'),
        ),
    }
    if case.event is not None:
        seen["event"] = (True, any(line.get("provider") == name for line in ground.events(case.event)))
    if case.code is not None:
        seen["code"] = (case.code, sms["code"])
    if case.wait_s is not None:
        wait_s = (instant(sms["due_at"]) - instant(sms["since_at"])).total_seconds()
        seen["wait"] = (True, case.wait_s[0] <= wait_s <= case.wait_s[1])
    return [f"{what}: {wanted} wanted, {is_so} found" for what, (wanted, is_so) in seen.items() if wanted != is_so]


KINDS = {"taken": "accepted", "lost": "uncertain", "refused": "refused", "not_sent": "notsent"}


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


async def test_a_slot_is_free_again_at_the_deadline(tmp_path: Path) -> None:
    async with Carrier(trickles(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n", b" ", every_s=0.2)) as carrier:
        provider = {"timeout_s": TIMEOUT_S, "width": 1, "batch_size": 1}
        async with playing.field(tmp_path, carrier=carrier.url, provider=provider) as ground:
            await ground.send(make_mail("1", "0601020304"))
            await ground.until(lambda: len(carrier.requests) == 1)
            carrier.script = accepts
            await ground.send(make_mail("2", "0601020305"))
            await ground.until(lambda: len(carrier.requests) == 2, timeout_s=TIMEOUT_S + 5)
            await ground.until(lambda: ground.states() == ["expired", "accepted"])

            durations = [line["duration_ms"] for line in ground.events("sms_settled") if line["state"] == "uncertain"]

            assert all(1000 * TIMEOUT_S <= one <= 1000 * (TIMEOUT_S + 1) for one in durations)
            assert len(durations) == 1


@pytest.mark.parametrize("url", ["http://carrier.invalid", None], ids=["no-such-name", "refused"])
async def test_what_never_left_is_tried_again_and_nobody_is_told_anything(tmp_path: Path, url: str | None) -> None:
    carrier = url or f"http://127.0.0.1:{await closed_port()}"
    async with playing.field(tmp_path, carrier=carrier, provider={"timeout_s": 5}) as ground:
        await ground.send(make_mail("1", "0601020304"))
        await ground.until(lambda: ground.sms()[0]["verdicts"] == ["not_sent"])

        (sms,) = ground.sms()

        assert (sms["state"], ground.nots()) == ("queued", {})
        assert timedelta(seconds=25) < instant(sms["due_at"]) - instant(sms["since_at"]) < timedelta(seconds=60)
        assert ground.events("provider_paused")[0]["cause"] == "not now"


async def test_a_black_hole_costs_five_unknown_fates_not_the_queue(tmp_path: Path) -> None:
    numbers = [f"06010203{index:02d}" for index in range(30)]
    async with (
        Carrier(stays_silent) as carrier,
        playing.field(tmp_path, carrier=carrier.url, provider={"timeout_s": 0.3}) as ground,
    ):
        await ground.send(make_mail("1", *numbers))
        await ground.logged("provider_paused")
        await asyncio.sleep(2)  # whether more calls follow

        assert ground.states().count("queued") == 25
        assert ground.events("provider_paused")[0]["pause_s"] >= 30
