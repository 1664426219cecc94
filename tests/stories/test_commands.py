"""`mail2sms why`, `queue` and `stats` as commands, on a store that a gateway has worked on, or is working on."""

import asyncio
import json
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.cli import main
from gateway.cli.examples.client import submit
from gateway.clock import SystemClock
from gateway.config import Config, load
from gateway.daemon import Daemon
from gateway.lifecycle import SmsState
from gateway.sandbox import Sandbox
from gateway.smtp.mailbox import Mailbox
from gateway.store import Store, migrate, tables
from gateway.stories.turnaways import Turnaways
from tests.store.samples import rows
from tests.stories.conftest import ACCOUNTS, key_of
from tests.support.accounts import KEYID
from tests.support.configuration import NOBODY, write_config
from tests.support.gateway import run_command

Ask = Callable[..., tuple[int, str]]

SENDER = "a@panne.example"
RECIPIENT = "sendsms@gw.example.org"
NUMBER = "0601020304"
TEXT = "Le code est 4711"


def order(email_id: str, *, text: str = TEXT, more: str = "", number: str = NUMBER) -> bytes:
    return (
        f"From: {SENDER}\r\nTo: {RECIPIENT}\r\nMessage-ID: <{email_id}@panne.example>\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n\r\n"
        f"<envoi>\r\n<keyid>{key_of('panne')}</keyid>\r\n<num>{number}</num>\r\n<sms>{text}</sms>\r\n"
        f"<emailNot>not@panne.example</emailNot>{more}\r\n<emailId>{email_id}</emailId>\r\n</envoi>\r\n"
    ).encode()


@pytest.fixture
def quiet(tmp_path: Path) -> Path:
    """A configuration whose carrier and smarthost are not there, and its store."""
    path = write_config(
        tmp_path / "gateway.toml",
        more_accounts=ACCOUNTS,
        more_providers=[{"name": "broken"}, {"name": "other"}],
        reports={"smarthost": NOBODY},
    )
    asyncio.run(migrate(load(path, environ={}).store))
    return path


@pytest.fixture
def ask(quiet: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Runs `mail2sms` on the configuration; returns its status and what it wrote."""

    def run_it(*arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["mail2sms", *arguments, "--config", str(quiet)])
        with pytest.raises(SystemExit) as ended:
            main()
        written = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, written.out + written.err

    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setenv("TERMINAL_WIDTH", "250")
    return run_it


def take(path: Path, *mails: bytes, sender: str = SENDER) -> None:
    """A gateway takes these mails, tries each SMS once at the most, and ends."""

    async def run() -> None:
        async with Daemon(load(path, environ={})) as daemon:
            host, port = daemon.addresses.smtp[0]
            for mail in mails:
                await submit(host, port, mail, sender=sender, recipient=RECIPIENT)

    asyncio.run(run())


def turn_away(path: Path, sender: str) -> None:
    """A client with this sender was told no."""

    async def write() -> None:
        store = await Store.open(load(path, environ={}).store)
        try:
            clock = SystemClock()
            turnaways = Turnaways(store=store, clock=clock)
            turnaways.note(peer="192.0.2.9", sender=sender, reply="550 5.1.1 No", facts={"helo": "\x1b]0;owned\x07"})
            await turnaways.store()
        finally:
            await store.close()

    asyncio.run(write())


def look(path: Path, table: object = tables.sms) -> list[dict[str, object]]:
    """The rows of a table."""

    async def read() -> list[dict[str, object]]:
        store = await Store.open(load(path, environ={}).store, read_only=True)
        try:
            return await rows(store, table)  # type: ignore[arg-type]
        finally:
            await store.close()

    return asyncio.run(read())


def change_state(path: Path, state: str) -> None:
    async def write() -> None:
        store = await Store.open(load(path, environ={}).store)
        try:
            changed = tables.sms.update().values(state=SmsState(state))
            await store._database.write(lambda: lambda connection: connection.execute(changed))
        finally:
            await store.close()

    asyncio.run(write())


def dated(email_id: str, *, text: str = TEXT, number: str = NUMBER) -> bytes:
    """An order whose SMS waits for a month."""
    at = SystemClock().now() + timedelta(days=30)
    return order(email_id, text=text, number=number, more=f"\r\n<date_envoi>{at:%Y-%m-%d %H:%M}</date_envoi>")


# --- why -------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_life_of_a_mail_is_told_from_a_store_that_nobody_works_on(ask: Ask, quiet: Path) -> None:
    take(quiet, dated("1548"))
    status, page = ask("why", "1548")

    assert status == 0
    assert "1 SMS: 1 queued; it goes to carrier broken at" in page.splitlines()[0]
    assert "client 127.0.0.1 connected to listener smtp, called itself client.masociete.com, in clear" in page
    assert f"SMS 1 to {NUMBER} (+33601020304) was put in the queue: 1 of at most 1 part, GSM" in page
    assert "the Not: it follows when every SMS has its answer; 1 have none yet" in page


@pytest.mark.slow
def test_programs_are_told_the_same(ask: Ask, quiet: Path) -> None:
    take(quiet, dated("1548"))
    status, written = ask("why", "1548", "--json")
    told = json.loads(written)

    assert status == 0
    assert [one["email_id"] for one in told["found"]] == ["1548"]
    (story,) = told["stories"]
    queued = next(step for step in story["steps"] if step["kind"] == "sms_queued")
    assert queued["data"]["text"] == TEXT
    assert queued["data"]["msisdn"] == "+33601020304"
    assert [step["kind"] for step in story["steps"]][:3] == ["connected", "read", "proven"]


@pytest.mark.slow
def test_numbers_and_texts_can_be_hidden(ask: Ask, quiet: Path) -> None:
    take(quiet, dated("1548"))
    for options in ((), ("--json",)):
        _, page = ask("why", "1548", "--mask", *options)

        assert "4711" not in page
        assert NUMBER not in page
        assert "33601020304" not in page
        assert "*****304" in page


@pytest.mark.slow
def test_several_mails_are_listed_and_all_are_told_when_asked_for(ask: Ask, quiet: Path) -> None:
    take(quiet, dated("1"), dated("2"))
    _, listed = ask("why", NUMBER)
    _, told = ask("why", NUMBER, "--all")

    assert listed.startswith("2 are meant; ask again with the id of one, or with --all:")
    assert told.count("was put in the queue") == 2


@pytest.mark.slow
def test_what_is_not_known_is_status_1_and_says_where_else_to_look(ask: Ask) -> None:
    status, page = ask("why", "nothing\x1b[2J")

    assert status == 1
    assert "Nothing is known of nothing\\x1b[2J." in page
    assert "look in the client's own log" in page


@pytest.mark.slow
@pytest.mark.parametrize("minute", ["9999-12-31 23:59", "0001-01-01 00:00"])
def test_the_ends_of_time_are_times_as_others(minute: str, ask: Ask) -> None:
    status, told = ask("why", minute)

    assert status == 1
    assert told.startswith(f"Nothing is known of {minute}.")


def test_what_a_stranger_wrote_does_not_reach_the_terminal(ask: Ask, quiet: Path) -> None:
    evil = "\u202eabc\u009b31m"
    mail = dated("1548", text=f"Salut {evil}")
    stranger = mail.replace(b"Message-ID: <", b"Message-ID: <\x1b]0;owned\x07")
    take(quiet, stranger)
    turn_away(quiet, "\x1b[2J\u202e@stranger.example")
    for arguments in (
        ("why", "stranger.example"),
        ("why", "stranger.example", "--json"),
        ("why", "1548"),
        ("why", "1548", "--json"),
        ("queue", "list"),
        ("queue", "list", "--json"),
    ):
        _, page = ask(*arguments)

        assert [one for one in page if not one.isprintable() and one != "\n"] == []


@pytest.mark.slow
async def test_a_gateway_at_work_is_asked_without_being_disturbed(
    config: Config, path: Path, sandbox: Sandbox, mailbox: Mailbox
) -> None:
    mail = order("77").replace(key_of("panne").encode(), KEYID.encode()).replace(b"panne.example", b"masociete.com")
    async with Daemon(config) as daemon:
        host, port = daemon.addresses.smtp[0]
        await submit(host, port, mail, sender="a@masociete.com", recipient=RECIPIENT)
        await sandbox.wait_for_messages(1)
        await mailbox.wait_for(1, timeout_s=30)
        told = await run_command("why", "77", "--config", str(path), "--json")

    story = json.loads(told.stdout)["stories"][0]
    kinds = [step["kind"] for step in story["steps"]]
    assert told.status == 0, told.stderr
    assert ("answered" in kinds, "report_written" in kinds) == (True, True)
    assert story["found"]["states"] == {"accepted": 1}


# --- queue -----------------------------------------------------------------------------------------------------------


def test_a_name_that_is_nobodys_is_said_to_be(ask: Ask) -> None:
    known = ask("queue", "list", "--account", "panne")
    unknown = ask("queue", "list", "--account", "pane", "--provider", "rien")
    held = ask("queue", "hold", "--account", "pane")

    assert known == (0, "0 SMS\n")
    assert set(unknown[1].splitlines()) == {
        "0 SMS",
        "note: pane is not an account of this configuration",
        "note: rien is not a carrier of this configuration",
    }
    assert "note: pane is not an account of this configuration" in held[1]


@pytest.mark.slow
def test_the_queue_is_listed_held_released_and_cancelled(ask: Ask, quiet: Path) -> None:
    take(quiet, dated("1"), dated("2", number="0601020305"))
    _, listed = ask("queue", "list")
    held = ask("queue", "hold", "--number", NUMBER)
    states = {row["tel"]: row["state"] for row in look(quiet)}
    _, why = ask("why", "1")
    released = ask("queue", "release", "--account", "panne")
    cancelled = ask("queue", "cancel", "--envoi", "2", "--yes")
    ends = {row["tel"]: row["state"] for row in look(quiet)}
    (report,) = [row for row in look(quiet, tables.report) if row["kind"].value == "not"]  # type: ignore[attr-defined]

    assert listed.splitlines()[-1] == "2 SMS"
    assert held[0] == 0
    assert held[1].splitlines()[-1] == "hold: 1 of 1 SMS; reports that follow: 0"
    assert states == {NUMBER: SmsState.HELD, "0601020305": SmsState.QUEUED}
    assert "operator held it" in why
    assert "an operator must let it go: mail2sms queue release" in why.splitlines()[0]
    assert "release: 1 of 1 SMS" in released[1]
    assert cancelled[1].splitlines()[-1] == "cancel: 1 of 1 SMS; reports that follow: 1"
    assert ends == {NUMBER: SmsState.QUEUED, "0601020305": SmsState.CANCELLED}
    assert b"<code>999</code>" in report["body"]  # type: ignore[operator]


@pytest.mark.slow
def test_what_was_moved_and_what_was_not_is_said(ask: Ask, quiet: Path) -> None:
    take(quiet, dated("1"))
    (sms,) = look(quiet)
    first = json.loads(ask("queue", "hold", str(sms["id"]), "--json")[1])
    status, again = ask("queue", "hold", str(sms["id"]), "NOBODY")

    assert first["moved"][0]["has_changed"] is True
    assert (first["moved"][0]["before"], first["moved"][0]["after"]) == ("queued", "held")
    assert status == 1
    assert "stays held: it is held already" in again
    assert "NOBODY  is no SMS of this store" in again


@pytest.mark.slow
def test_an_sms_that_may_have_been_sent_goes_again_only_with_yes(ask: Ask, quiet: Path) -> None:
    take(quiet, dated("1"))
    change_state(quiet, "uncertain")
    refused = ask("queue", "retry", "--account", "panne")
    between = look(quiet)[0]["state"]
    done = ask("queue", "retry", "--account", "panne", "--yes")

    assert refused[0] == 1
    assert "they may come twice" in refused[1]
    assert between is SmsState.UNCERTAIN
    assert done[1].splitlines()[-1] == "retry: 1 of 1 SMS; reports that follow: 0"
    assert look(quiet)[0]["state"] is SmsState.QUEUED


@pytest.mark.slow
def test_one_sms_is_shown_with_what_it_waits_for(ask: Ask, quiet: Path) -> None:
    take(quiet, dated("1"))
    (sms,) = look(quiet)
    status, page = ask("queue", "show", str(sms["id"]))
    _, masked = ask("queue", "show", str(sms["id"]), "--mask")
    missing = ask("queue", "show", "NOBODY")

    assert status == 0
    assert f"text: {TEXT}" in page
    assert "waits for: it goes to carrier broken at" in page
    assert TEXT not in masked
    assert missing == (1, "NOBODY is no SMS of this store\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["queue", "hold"], "say which"),
        (["queue", "cancel"], "say which"),
        (["queue", "list", "--older-than", "yesterday"], "is not a time"),
        (["stats", "--since", "soon"], "is not a time"),
    ],
)
def test_what_cannot_be_meant_is_status_2(arguments: list[str], sentence: str, ask: Ask) -> None:
    status, page = ask(*arguments)

    assert status == 2
    assert sentence in page


@pytest.mark.slow
def test_cancelling_many_asks_first(ask: Ask, quiet: Path) -> None:
    take(quiet, dated("1"))
    status, page = ask("queue", "cancel", "--account", "panne")

    assert status == 1
    assert "Cancel 1 SMS for good?" in page
    assert look(quiet)[0]["state"] is SmsState.QUEUED


# --- stats -----------------------------------------------------------------------------------------------------------


def test_a_narrow_terminal_shows_what_is_counted(ask: Ask, quiet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    take(quiet, dated("1"))
    _, page = ask("stats")

    assert [line.split()[0] for line in page.splitlines() if line[:5] in {"panne", "total"}] == ["panne", "total"]


@pytest.mark.slow
def test_what_came_is_counted_and_what_waits_has_an_age(ask: Ask, quiet: Path) -> None:
    take(quiet, dated("1"), dated("2"))
    _, page = ask("stats")
    _, by_hour = ask("stats", "--by", "hour", "--since", "2h", "--json")
    _, nothing = ask("stats", "--since", "2099-01-01")

    lines = [line.split() for line in page.splitlines()]
    assert ["panne", "2", "2", "-", "-", "2"] in lines
    assert ["total", "2", "2", "-", "-", "2"] in lines
    assert any(line[:2] == ["broken", "2"] for line in lines)
    told = json.loads(by_hour)
    assert (told["total"]["sms"], told["waiting"][0]["provider"]) == (2, "broken")
    assert "total" in nothing


@pytest.mark.slow
def test_counts_have_their_names_however_narrow_the_terminal(
    ask: Ask, quiet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(quiet, dated("1"))
    monkeypatch.setenv("COLUMNS", "20")
    _, page = ask("stats")

    assert ["account", "SMS", "parts", "cost", "delivered", "queued"] in [line.split() for line in page.splitlines()]
