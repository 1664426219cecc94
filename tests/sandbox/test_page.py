"""The page: what it shows, and what it may not do."""

import asyncio
import re

import httpx
import pytest

from gateway.sandbox import Sandbox
from tests.sandbox.calls import DEADLINE_S, PARTNER, SMS, send

PAGES = ("/", "/sandbox/phones", "/sandbox/page.js", "/sandbox/page.css")


async def test_telephone_shows_its_conversation_and_a_form(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    await send(client, {**SMS, "num": "0699000003", "sms": "Un\ndeux", "tracker": "T7"})
    sandbox.answer("+33699000003", "Oui")
    page = (await client.get("/")).text
    bubbles = re.findall(r'<li class="([^"]+)">.*?<p class="text">(.*?)</p><p class="about">(.*?)</p>', page, re.DOTALL)

    assert '<section class="phone" id="phone-33699000003">' in page
    assert bubbles == [
        ("sms waiting", "Un\ndeux", "iSendPro · 1 part · sent · T7"),
        ("reply", "Oui", "iSendPro · no callback address"),
    ]
    assert '<form method="post" action="/sandbox/replies">' in page


async def test_newest_conversation_comes_first(client: httpx.AsyncClient) -> None:
    for number in ("0612340001", "0612340002"):
        await send(client, {**SMS, "num": number})
    page = (await client.get("/")).text

    assert re.findall(r'id="phone-(\d+)"', page) == ["33612340002", "33612340001"]


@pytest.mark.parametrize("field", ["sms", "message"])
async def test_nothing_that_came_runs(sandbox: Sandbox, client: httpx.AsyncClient, field: str) -> None:
    bad = "<script>alert(1)</script><img src=x onerror='x'>\"&"
    if field == "sms":
        await send(client, {**SMS, "sms": bad})
    else:
        await client.post("/v1/send", json={**PARTNER, "message": bad})
    sandbox.answer("+33612340001", bad)
    page = (await client.get("/")).text

    assert page.count("<script") == 1
    assert page.count('<script src="/sandbox/page.js" defer></script>') == 1
    assert "<img" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 2


@pytest.mark.parametrize("path", PAGES)
async def test_only_the_sandbox_s_own_script_may_run(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    policy = dict(one.strip().split(" ", 1) for one in answer.headers["Content-Security-Policy"].split(";"))

    assert answer.status_code == 200
    assert (policy["default-src"], policy["script-src"], policy["style-src"]) == ("'none'", "'self'", "'self'")
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert not re.search(r"\son\w+=|style=", answer.text if path != "/sandbox/page.js" else "")


async def test_page_works_without_a_script(client: httpx.AsyncClient) -> None:
    page = (await client.get("/")).text

    assert '<noscript><meta http-equiv="refresh" content="10"></noscript>' in page
    assert "No SMS yet" in page


async def test_state_and_stop_are_shown(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    await send(client, {**SMS, "date_envoi": "2026-05-01 10:00", "num": "0612340002"})
    await send(client, {**SMS, "sandbox": 1, "num": "0612340003"})
    sandbox.answer("+33612340003", "stop")
    page = (await client.get("/sandbox/phones")).text

    assert "iSendPro · 1 part · scheduled for 2026-05-01 10:00 · T1" in page
    assert "iSendPro · 1 part · trial: not sent · T1" in page
    assert '<p class="stopped">STOP at iSendPro</p>' in page


async def test_stream_tells_every_change(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(DEADLINE_S), client.stream("GET", "/sandbox/events") as events:
        lines = (line async for line in events.aiter_lines() if line.startswith("data:"))
        first = await anext(lines)
        await send(client, SMS)
        second = await anext(lines)

    assert events.headers["Content-Type"].startswith("text/event-stream")
    assert int(second.removeprefix("data:")) > int(first.removeprefix("data:"))


async def test_stream_ends_with_the_sandbox() -> None:
    sandbox = Sandbox()
    await sandbox.start()
    async with (
        asyncio.timeout(DEADLINE_S),
        httpx.AsyncClient(base_url=sandbox.url, timeout=DEADLINE_S, trust_env=False) as client,
        client.stream("GET", "/sandbox/events") as events,
    ):
        lines = events.aiter_lines()
        await anext(lines)
        await sandbox.stop()
        with pytest.raises(httpx.TransportError):
            async for _ in lines:
                pass


@pytest.mark.parametrize(("site", "status"), [("cross-site", 403), ("same-site", 403), ("same-origin", 204)])
async def test_page_of_another_site_cannot_meddle(client: httpx.AsyncClient, site: str, status: int) -> None:
    answer = await client.request("DELETE", "/sandbox/messages", headers={"Sec-Fetch-Site": site})

    assert answer.status_code == status
