"""`mail2sms backup`, `verify` and `restore` on a store of the SQLite kind."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.config import Config, load
from gateway.lifecycle import SmsEvent, SmsState
from gateway.policy.accounts import OnUnknown
from gateway.store import Store, migrate, tables
from tests.cli.conftest import Run
from tests.store.samples import NotMaker, claim, new_mail, new_order, new_sms, rows, settlement
from tests.store.test_open import execute
from tests.store.test_purging import finish, secret_order
from tests.support.clock import START


@pytest.fixture
def settings(config: Path) -> Config:
    loaded = load(config, environ={})
    asyncio.run(migrate(loaded.store))
    return loaded


def busy(settings: Config) -> None:
    """One SMS waits, one is being sent, of one the fate is unknown."""

    async def fill() -> None:
        store = await Store.open(settings.store)
        await store.admit(new_order(*(new_sms(n) for n in (1, 2, 3)), mail=new_mail(account="masociete")))
        (lost, _sending) = await claim(store, account="masociete", limit=2)
        await store.settle_sms([settlement(lost, SmsEvent.LOST)], START, NotMaker())
        await store.close()

    asyncio.run(fill())


def found(settings: Config) -> dict[str, list[str]]:
    """The states of the SMS, in order, and the kinds of the reports."""

    async def look() -> dict[str, list[str]]:
        store = await Store.open(settings.store)
        try:
            sms = sorted(await rows(store, tables.sms), key=lambda row: int(row["position"]))
            reports = await rows(store, tables.report)
            return {"sms": [row["state"].value for row in sms], "reports": sorted(row["kind"].value for row in reports)}
        finally:
            await store.close()

    return asyncio.run(look())


def test_a_backup_is_made_verified_and_restored_with_what_waited_held(
    run: Run, config: Path, settings: Config, tmp_path: Path
) -> None:
    busy(settings)
    copy = tmp_path / "copy.db"
    made = run("backup", str(copy), "--config", str(config))
    verified = run("verify", str(copy), "--config", str(config))
    restored = run("restore", str(copy), "--config", str(config), "--queued", "hold")

    assert (made.status, made.stdout) == (0, f"Wrote {copy} ({copy.stat().st_size:,} bytes).\n")
    assert (verified.status, verified.stdout.splitlines()[-1]) == (0, "All is well.")
    assert restored.status == 0, restored.stderr
    assert restored.stdout.startswith("The store is ready to serve; 1 SMS that waited in it are held.\n")
    # a call that was under way, and a fate nobody knew, are told as 999 to come with the answer of the third
    assert found(settings) == {"sms": ["expired", "expired", "held"], "reports": ["ack"]}


def test_what_an_account_would_send_again_is_held_too(run: Run, config: Path, settings: Config, tmp_path: Path) -> None:
    config.write_text(config.read_text().replace('name = "masociete"', 'name = "masociete"\non_unknown = "resend"', 1))
    assert load(config, environ={}).accounts[0].on_unknown is OnUnknown.RESEND
    busy(settings)
    execute(tmp_path / "gateway.db", "UPDATE sms SET expires_at = '2999-01-01 00:00:00.000000'")
    copy = tmp_path / "copy.db"
    assert run("backup", str(copy), "--config", str(config)).status == 0
    restored = run("restore", str(copy), "--config", str(config), "--queued", "hold", "--json")

    assert json.loads(restored.stdout)["sms"] == 3
    assert found(settings)["sms"] == [SmsState.HELD.value] * 3


def test_a_restored_store_can_be_told_to_send(run: Run, config: Path, settings: Config, tmp_path: Path) -> None:
    busy(settings)
    copy = tmp_path / "copy.db"
    assert run("backup", str(copy), "--config", str(config)).status == 0
    restored = run("restore", str(copy), "--config", str(config), "--queued", "send")

    assert restored.stdout.startswith("The store is ready to serve; 1 SMS wait in it and will be sent.\n")
    assert found(settings)["sms"] == ["uncertain", "sending", "queued"]


def test_restoring_asks_for_a_decision(run: Run, config: Path, settings: Config) -> None:
    ended = run("restore", "copy.db", "--config", str(config))

    assert ended.status == 2
    assert "--queued" in ended.stderr


def test_a_backup_that_cannot_be_made_is_status_4(run: Run, config: Path, settings: Config, tmp_path: Path) -> None:
    ended = run("backup", str(tmp_path / "gateway.db"), "--config", str(config), "--force")

    assert (ended.status, ended.stdout) == (4, "")
    assert "is the store itself" in ended.stderr


def damage(path: Path) -> None:
    execute(path, "DELETE FROM email_id")


def spoil(path: Path) -> None:
    path.write_bytes(b"these are the accounts of 2019\n" * 1000)


@pytest.mark.parametrize(("harm", "status"), [(damage, 1), (spoil, 4), (Path.unlink, 4)])
def test_verify_tells_wrong_from_unreadable(
    run: Run, config: Path, settings: Config, harm: Callable[[Path], object], status: int
) -> None:
    busy(settings)
    harm(config.with_name("gateway.db"))
    ended = run("verify", "--config", str(config))
    as_json = run("verify", "--config", str(config), "--json")

    assert (ended.status, as_json.status) == (status, status)
    if status == 1:
        assert "email_ids_are_claimed" in ended.stdout
        wrong = [check for check in json.loads(as_json.stdout)["checks"] if check["problem"]]
        assert {"check": "email_ids_are_claimed", "count": 1}.items() <= wrong[0].items()
        assert len(wrong[0]["examples"]) == 1


# --- purge and forget ------------------------------------------------------------------------------------------------


def filled(settings: Config) -> None:
    """One mail to two numbers that is over, and one that waits."""

    async def fill() -> None:
        store = await Store.open(settings.store)
        await finish(store, secret_order(1, 2))
        await store.admit(secret_order(3))
        await store.close()

    asyncio.run(fill())


def test_what_is_old_enough_is_purged_at_once(run: Run, config: Path, settings: Config) -> None:
    filled(settings)
    purge = ("purge", "--config", str(config))

    assert run(*purge, "--records-days", "1").status == 2  # less than the 30 days of contents
    assert "Contents of 1 mails" in run(*purge).stdout  # the mail of these tests is of last spring
    assert run(*purge, "--contents-days", "1", "--records-days", "1", "--json").stdout == (
        '{"contents_mails": 0, "contents_replies": 0, "mails": 1, "replies": 0, "refusals": 0}\n'
    )
    assert found(settings)["sms"] == ["queued"]


def test_a_number_is_forgotten(run: Run, config: Path, settings: Config) -> None:
    filled(settings)
    forget = ("forget", "--config", str(config))

    assert (run(*forget, "06").status, run(*forget, "0600000009", "--json").status) == (2, 0)
    forgotten = run(*forget, "06 00 00 00 01")
    assert (forgotten.status, forgotten.stdout) == (
        0,
        "Forgot 1 SMS, the contents of 1 mails, and 0 replies.\n",
    )
    waiting = run(*forget, "0600000003")
    assert (waiting.status, waiting.stdout.count("forget the number again")) == (1, 1)
