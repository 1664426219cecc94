"""`/api/v1/…` of a gateway at work: what was sent and refused is told, to whom it may be."""

from pathlib import Path

import httpx
import pytest
import structlog

from gateway.config import Config, load
from gateway.daemon import Daemon
from gateway.sandbox import Sandbox
from gateway.smtp.mailbox import Mailbox
from gateway.store import migrate
from tests.daemon.test_daemon import mail, send, url
from tests.support.configuration import write_config

pytestmark = pytest.mark.slow

ALL, SOME = "a" * 32, "s" * 32
TEXT, NUMBER = "Salut", "0601020304"


@pytest.fixture
async def told(tmp_path: Path, sandbox: Sandbox, mailbox: Mailbox) -> Config:
    """A configuration with two tokens, whose store exists."""
    tokens = [
        {"name": "all", "token": ALL, "rights": ["queue", "stats", "carriers", "mails", "numbers", "texts"]},
        {"name": "some", "token": SOME, "rights": ["queue", "mails"]},
    ]
    path = write_config(
        tmp_path / "gateway.toml",
        smarthost=mailbox.address,
        carrier=sandbox.url,
        http={"listen": "127.0.0.1:0", "tokens": tokens},
    )
    loaded = load(path, environ={})
    await migrate(loaded.store)
    return loaded


async def ask(client: httpx.AsyncClient, path: str, token: str = ALL) -> httpx.Response:
    return await client.get(f"/api/v1/{path}", headers={"Authorization": f"Bearer {token}"})


async def test_what_was_sent_and_refused_is_told(told: Config, sandbox: Sandbox, mailbox: Mailbox) -> None:
    async with Daemon(told) as daemon, httpx.AsyncClient(base_url=url(daemon), timeout=30) as client:
        assert (await send(daemon, mail("1548"))).startswith("250")
        assert (await send(daemon, mail("1549", key="b" * 20))).startswith("550")
        await sandbox.wait_for_messages(1)
        await mailbox.wait_for(2)
        mails, refusals = [(await ask(client, path)).json()["rows"] for path in ("mails", "refusals")]
        story, veiled = [await ask(client, f"mails/{mails[-1]['id']}", token) for token in (ALL, SOME)]
        found = (await ask(client, f"find?q={NUMBER}")).json()
        stats = (await ask(client, "stats?by=account")).json()
        queue, by_account = [await ask(client, f"queue?{query}") for query in ("", "account=masociete&state=accepted")]
        carriers, backlog = [(await ask(client, path)).json() for path in ("carriers", "backlog")]

    assert [one["email_id"] for one in mails if one["kind"] == "mail"] == ["1548"]
    assert [one["kind"] for one in refusals] == ["refusal"]
    assert TEXT in story.text
    assert (veiled.status_code, TEXT in veiled.text, "01020304" in veiled.text) == (200, False, False)
    assert {step["kind"] for step in veiled.json()["steps"]} == {step["kind"] for step in story.json()["steps"]}
    assert mails[-1]["id"] in {one["id"] for one in found}
    assert (stats["total"]["sms"], [row["key"] for row in stats["rows"]]) == (1, ["masociete"])
    assert queue.json()["rows"] == []
    assert [row["msisdn"] for row in by_account.json()["rows"]] == ["+33601020304"]
    assert [(one["name"], one["is_up"]) for one in carriers] == [("carrier", True)]
    assert (backlog["is_ready"], backlog["sms"]["accepted"]["rows"]) == (True, 1)


@pytest.mark.parametrize("after", ["x", "2026", "\0", "é" * 400, "[]", "999999999999999999999"])
async def test_a_page_that_there_is_not_is_no_error_of_ours(told: Config, after: str) -> None:
    async with Daemon(told) as daemon, httpx.AsyncClient(base_url=url(daemon), timeout=30) as client:
        answers = [
            await client.get(f"/api/v1/{path}", params={"after": after}, headers={"Authorization": f"Bearer {ALL}"})
            for path in ("queue", "mails", "refusals")
        ]

    assert {answer.status_code for answer in answers} <= {200, 400}


async def test_a_reload_changes_who_may_ask_and_wants_no_restart(told: Config) -> None:
    stranger = told.model_copy(update={"http": told.http.model_copy(update={"tokens": told.http.tokens[1:]})})
    async with Daemon(told) as daemon, httpx.AsyncClient(base_url=url(daemon), timeout=30) as client:
        before = (await ask(client, "backlog")).status_code
        with structlog.testing.capture_logs() as lines:
            await daemon.reload(stranger)
        after = (await ask(client, "backlog")).status_code

    assert (before, after) == (200, 401)
    assert [line for line in lines if line["event"] == "restart_needed"] == []


async def test_metrics_tell_of_carriers_and_of_delays(told: Config, sandbox: Sandbox, mailbox: Mailbox) -> None:
    async with Daemon(told) as daemon, httpx.AsyncClient(base_url=url(daemon), timeout=30) as client:
        await send(daemon, mail("1548"))
        await sandbox.wait_for_messages(1)
        await mailbox.wait_for(2)
        text = (await client.get("/metrics")).text

    shown = set(text.splitlines())
    assert {
        "mail2sms_ready 1.0",
        "mail2sms_store_up 1.0",
        'mail2sms_provider_up{provider="carrier"} 1.0',
        'mail2sms_queue_oldest_age_seconds{class="normal"} 0.0',
        'mail2sms_provider_rows{provider="carrier",state="accepted"} 1.0',
        "mail2sms_report_unsent_age_seconds 0.0",
    } <= shown
    for name in ("mail2sms_sms_submit_delay_seconds_count", "mail2sms_store_seconds_count", "mail2sms_start_time"):
        assert name in text
    assert "masociete" not in text
