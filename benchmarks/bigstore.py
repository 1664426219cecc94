"""A store as after some months: many mails, nearly all of them done with, and a queue.

    python -m benchmarks.bigstore FILE [--mails 100000] [--sms 10] [--queued 10000] [--waiting 1]

makes FILE, which must not be there yet, an SQLite store of this version with so many mails of so many SMS each, all
accepted by the carrier, their attempts, their Ack and Not, and their emailIds; and so many mails more whose SMS,
so many of each, wait. A million SMS take half a minute and 1.5 GB. `python -m benchmarks.bigness` and
`python -m benchmarks.stories` measure with it.
"""

import argparse
import asyncio
import contextlib
import sqlite3
import time
from pathlib import Path

from gateway.store import StoreSettings, migrate

ACCOUNT = "masociete"
AT = "2026-03-04 09:30:00.000000"
LATER = "2999-01-01 00:00:00.000000"

_NUMBERS = "WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {first} + {count}) "
_SMS_OF = (
    "n CROSS JOIN (WITH RECURSIVE p(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM p WHERE k < {sms}) SELECT k FROM p)"
)
_ID = "printf('01KJW%09d%06d', {i}, {k})"  # as long as a real one, and in order of time

MAIL = """INSERT INTO mail SELECT {id}, '{at}', '{account}', '192.0.2.1', 'main', 'network', 'alerte@masociete.com',
'alerte@masociete.com', '<' || i || '@masociete.com>', randomblob(32), randomblob(700), '[]', NULL, NULL, NULL FROM n"""
EMAIL_ID = "INSERT INTO email_id SELECT '{account}', i, {id}, '{at}' FROM n"
ENVOI = """INSERT INTO envoi SELECT {id}, {id}, '{account}', i, NULL, 'not@masociete.com', 'source', 0, NULL,
{staged}, NULL, NULL FROM n"""
SMS = """INSERT INTO sms (id, envoi_id, mail_id, account, position, tel, msisdn, text, parts, max_parts, nostop, ucs2,
commercial, tracker, notes, state, since_at, epoch, attempts, due_at, expires_at, settled_at, code, provider,
provider_ref, billed_parts, lane)
SELECT {sms_id}, {id}, {id}, '{account}', k, '0601020304', '+33601020304',
'L''été est fini! Super promo -10% à partir de 50€ d''achat !!!', 1, 10, 0, 0, 0, {sms_id}, '[]', '{state}', '{at}',
{epoch}, {epoch}, '{at}', '{later}', NULL, {code}, {provider}, NULL, NULL, '{account}' FROM """
ATTEMPT = """INSERT INTO attempt SELECT {sms_id}, 1, 1, 'carrier', '{at}', '{at}', 'taken', 0,
'{{"etat":{{"etat":[{{"code":"0","message":"ok"}}]}}}}', NULL, NULL, NULL FROM """
REPORT = """INSERT INTO report SELECT {report_id}, '{kind}', {id}, NULL, {id}, 'ack@masociete.com',
'<' || i || '{kind}@gw.example.org>', NULL, randomblob(300), '{at}', 'sent', '{at}', 1, 1, '{at}', '{later}', NULL,
'{at}', '250 2.0.0 Ok', NULL, NULL FROM n"""


def fill(file: Path, *, mails: int, sms: int, queued: int, waiting: int = 1) -> None:
    """The store is there, closed and on disk."""
    if file.exists():
        raise SystemExit(f"{file} is there already")
    asyncio.run(migrate(StoreSettings(url=f"sqlite:///{file}")))
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA cache_size=-500000")
        connection.execute("BEGIN")
        _insert(connection, first=0, count=mails, sms=sms, is_done=True)
        _insert(connection, first=mails, count=queued, sms=waiting, is_done=False)
        connection.execute("COMMIT")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _insert(connection: sqlite3.Connection, *, first: int, count: int, sms: int, is_done: bool) -> None:
    if not count:
        return
    words = {
        "id": _ID.format(i="i", k="0"),
        "sms_id": _ID.format(i="i", k="k"),
        "at": AT,
        "later": LATER,
        "account": ACCOUNT,
        "staged": f"'{AT}'" if is_done else "NULL",
        "state": "accepted" if is_done else "queued",
        "epoch": int(is_done),
        "code": "0" if is_done else "NULL",
        "provider": "'carrier'" if is_done else "NULL",
    }
    numbers, rows = _NUMBERS.format(first=first, count=count), _SMS_OF.format(sms=sms)
    statements = [MAIL, EMAIL_ID, ENVOI, SMS + rows] + ([ATTEMPT + rows] if is_done else [])
    for statement in statements:
        connection.execute(_with(numbers, statement.format(**words)))
    for number, kind in enumerate(("ack", "not") if is_done else ("ack",)):
        own = {"report_id": _ID.format(i="i", k=str(number)), "kind": kind}
        connection.execute(_with(numbers, REPORT.format(**words, **own)))


def _with(numbers: str, insert: str) -> str:
    head, select = insert.split("SELECT", 1)
    return f"{head} {numbers} SELECT{select}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--mails", type=int, default=100_000, help="done with")
    parser.add_argument("--sms", type=int, default=10, help="of each of them")
    parser.add_argument("--queued", type=int, default=10_000, help="mails more, whose SMS wait")
    parser.add_argument("--waiting", type=int, default=1, help="SMS of each of those")
    arguments = parser.parse_args()
    began_at = time.perf_counter()
    fill(arguments.file, mails=arguments.mails, sms=arguments.sms, queued=arguments.queued, waiting=arguments.waiting)
    size = arguments.file.stat().st_size / 1e6
    print(f"{arguments.file}: {size:.0f} MB in {time.perf_counter() - began_at:.0f} s")


if __name__ == "__main__":
    main()
