"""`verify`: a sound store has nothing wrong, and each thing that can be wrong is found."""

import os
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from gateway.lifecycle import SmsEvent, SmsState
from gateway.protocol.codes import Code
from gateway.protocol.report import ReportKind
from gateway.store import Store, StoreSettings, StoreUnusable, tables
from gateway.store.backup import back_up
from gateway.store.verifying import Finding, verify
from gateway.store.words import Word, Words
from tests.store.samples import (
    ArMaker,
    NotMaker,
    change,
    claim,
    claim_reports,
    new_order,
    new_report,
    new_sms,
    rows,
    settlement,
)
from tests.store.test_backup import files, nobody
from tests.store.test_open import path_of
from tests.store.test_purging import new_refusal
from tests.store.test_quotas import budget_of, order_of, quota
from tests.support.clock import START

WINDOW = timedelta(minutes=15)


async def look(settings: StoreSettings, file: Path | None = None, *, now: datetime = START) -> list[Finding]:
    windows = {"reconcile_window": WINDOW, "receipt_window": timedelta(days=2)}
    return [finding async for finding in verify(settings, file, now=now, tell=nobody, **windows)]


async def wrong(settings: StoreSettings, file: Path | None = None, *, now: datetime = START) -> set[str]:
    return {each.check for each in await look(settings, file, now=now) if each.problem is not None and each.is_counted}


async def live(store: Store) -> None:
    """SMS in all states that are reached by sending, with all that follows."""
    await store.set_credit("acme", 100, START)
    await store.admit(new_order(new_sms(1), new_sms(2)))
    await store.admit(new_order(new_sms(1), email_id="twice", not_to=None))
    await store.admit(new_order(new_sms(1), email_id="twice"))
    await store.admit(new_order(new_sms(1, due_at=START + WINDOW)))
    first, second, third = await claim(store)
    await store.settle_sms(
        [
            settlement(first, SmsEvent.TAKEN, code=Code.C0_SENT),
            settlement(second, SmsEvent.REFUSED, code=Code.C7_NUMBER_MALFORMED),
            settlement(third, SmsEvent.NOT_SENT, due_at=START),
        ],
        START,
        NotMaker(),
    )
    (again,) = await claim(store)
    await store.settle_sms([settlement(again, SmsEvent.POSTPONED, due_at=START)], START, NotMaker())
    (once_more,) = await claim(store)
    await store.settle_sms([settlement(once_more, SmsEvent.LOST)], START, NotMaker())
    await store.admit(new_order(new_sms(1)))
    await claim(store)
    await claim_reports(store, limit=2)
    early = Word(event=SmsEvent.DELIVERED, tracker="UNKNOWN", raw="ok")
    await store.learn(Words(provider="carrier", words=(early,)), START, NotMaker(), ArMaker())


async def end(store: Store) -> None:
    """An envoi of which nothing more is to come, and its etatAr; another that still waits for it."""
    await store.admit(new_order(new_sms(1), receipts_to="ops@acme.example"))
    await store.admit(new_order(new_sms(1), receipts_to="ops@acme.example"))
    claimed = await claim(store)
    await store.settle_sms([settlement(one, SmsEvent.TAKEN, code=Code.C0_SENT) for one in claimed], START, NotMaker())
    word = Word(event=SmsEvent.DELIVERED, tracker=claimed[0].tracker, raw="ok")
    await store.learn(Words(provider="carrier", words=(word,)), START, NotMaker(), ArMaker())


async def test_a_store_at_work_has_nothing_wrong(settings: StoreSettings, store: Store) -> None:
    await end(store)
    await live(store)
    found = await look(settings)

    assert [each for each in found if each.problem is not None] == []
    assert len(found) > 15


async def test_the_not_of_a_mail_that_was_turned_away_is_right(settings: StoreSettings, store: Store) -> None:
    await store.refuse(replace(new_refusal(), reports=(new_report(ReportKind.NOT),)))

    assert await wrong(settings) == set()


DAMAGE = {
    "answered_envois_are_marked": "UPDATE envoi SET not_staged_at = NULL",
    "marked_envois_are_answered": "UPDATE envoi SET not_staged_at = (SELECT max(received_at) FROM mail)",
    "wanted_nots_are_made": "DELETE FROM report WHERE kind = 'not'",
    "nots_are_of_answered_envois": "UPDATE envoi SET not_to = NULL",
    "sms_agree_with_their_envoi": "UPDATE sms SET account = 'other' WHERE state = 'accepted'",
    "envois_agree_with_their_mail": "UPDATE mail SET account = 'other'",
    "sending_sms_have_their_attempt": "DELETE FROM attempt WHERE verdict IS NULL",
    "open_attempts_are_of_sending_sms": "UPDATE sms SET state = 'queued', lease_until = NULL WHERE state = 'sending'",
    "attempts_are_counted": "UPDATE sms SET attempts = attempts - 1 WHERE state = 'uncertain'",
    "email_ids_are_claimed": "DELETE FROM email_id",
    "claims_agree_with_their_envoi": "UPDATE email_id SET email_id = email_id || 'x'",
    "reserved_credit_adds_up": "UPDATE credit SET reserved = reserved + 1",
    "reserved_credit_has_an_account": "DELETE FROM credit",
}


END_DAMAGE = {
    "ended_envois_are_marked": "UPDATE envoi SET receipts_staged_at = NULL",
    "etat_ars_are_of_ended_envois": "UPDATE report SET envoi_id = (SELECT envoi_id FROM sms WHERE state = 'accepted')"
    " WHERE kind = 'receipts'",
    "only_the_quiet_are_asked_for": "UPDATE sms SET ask_at = since_at",
}


@pytest.mark.parametrize("name", END_DAMAGE)
async def test_what_contradicts_itself_about_ends_is_found(settings: StoreSettings, store: Store, name: str) -> None:
    await end(store)
    await change(store, END_DAMAGE[name])

    assert name in await wrong(settings)


@pytest.mark.parametrize("name", DAMAGE)
async def test_what_contradicts_itself_is_found(settings: StoreSettings, store: Store, name: str) -> None:
    await live(store)
    await change(store, DAMAGE[name])

    assert name in await wrong(settings)


async def test_what_is_late_is_found_in_a_store_but_not_in_a_backup(
    sqlite_settings: StoreSettings, tmp_path: Path
) -> None:
    store = await Store.open(sqlite_settings)
    await live(store)
    await store.admit(order_of("+33600000001", "+33600000002", budget=budget_of(quota(sms=1))))
    await store.close()
    late = START + timedelta(days=3)
    back_up(sqlite_settings, tmp_path / "copy.db", overwrite=False, now=START, tell=nobody)

    assert await wrong(sqlite_settings, now=late) == {
        "leases_end",
        "validity_ends",
        "unknown_fates_end",
        "report_leases_end",
        "reports_end",
        "silences_end",
        "early_words_are_dropped",
        "held_back_is_told",
    }
    assert await wrong(sqlite_settings, tmp_path / "copy.db", now=late) == set()
    notes = [each.check for each in await look(sqlite_settings, tmp_path / "copy.db") if each.problem is not None]
    assert notes == ["copy"]


async def test_damaged_pages_are_found(sqlite_settings: StoreSettings) -> None:
    content = bytearray(path_of(sqlite_settings).read_bytes())
    content[40_000:60_000] = os.urandom(20_000)
    path_of(sqlite_settings).write_bytes(content)

    assert await wrong(sqlite_settings) == {"pages"}


async def test_an_empty_file_is_said_to_be_no_backup(sqlite_settings: StoreSettings, tmp_path: Path) -> None:
    empty = tmp_path / "copy.db"
    empty.touch()
    (found,) = [each for each in await look(sqlite_settings, empty) if each.problem is not None]

    assert found.check == "version"
    assert "the file is empty, and no backup" in str(found.problem)
    assert "migrate" not in str(found.problem)


async def test_another_version_is_found(settings: StoreSettings, store: Store) -> None:
    await change(store, "UPDATE alembic_version SET version_num = '0001'")

    (found,) = [each for each in await look(settings) if each.problem is not None]
    assert found.check == "version"
    assert "run mail2sms migrate" in str(found.problem)


async def test_looking_changes_nothing(sqlite_settings: StoreSettings, tmp_path: Path) -> None:
    before = path_of(sqlite_settings).read_bytes()
    await look(sqlite_settings)

    assert path_of(sqlite_settings).read_bytes() == before
    assert files(tmp_path) == {"store.db"}


@pytest.mark.parametrize("content", [None, b"", b"these are the accounts of 2019\n" * 1000])
async def test_what_cannot_be_read_is_said(
    sqlite_settings: StoreSettings, tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "file"
    if content is not None:
        file.write_bytes(content)
    if content == b"":
        assert await wrong(sqlite_settings, file) == {"version"}
        return
    with pytest.raises(StoreUnusable, match=r"is not a file|cannot be read"):
        await look(sqlite_settings, file)


async def test_held_sms_are_not_late_within_their_validity(settings: StoreSettings, store: Store) -> None:
    await store.admit(new_order())
    assert await store.hold_queued(START) == 1

    assert await wrong(settings, now=START + timedelta(hours=23)) == set()
    assert await wrong(settings, now=START + timedelta(hours=25)) == {"validity_ends"}
    assert [sms["state"] for sms in await rows(store, tables.sms)] == [SmsState.HELD]
