"""How long questions about a mail take with a million SMS in the store.

    python -m benchmarks.stories FILE [--times 21]

FILE is a store that `python -m benchmarks.bigstore` has made. It is changed: numbers are made many (each of some
SMS), every thousandth SMS ends badly, every tenth mail is another account's. Printed is the median, and the slowest, in
milliseconds of each question, the connection open, as the console asks. Ids of that store begin with its own time, a
millisecond for ten thousand mails: "a tenth" is 100,000 SMS.
"""

import argparse
import asyncio
import contextlib
import sqlite3
import statistics
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gateway.clock import SystemClock
from gateway.lifecycle import SmsState
from gateway.policy.accounts import Accounts
from gateway.store import Store, StoreSettings
from gateway.stories import Filter, Page, StatsBy, Stories

_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_VARIETY = (
    "UPDATE sms SET msisdn = '+336' || printf('%08d', (rowid * 7919) % 200000)",
    "UPDATE sms SET state = 'expired', settled_at = since_at, code = 999 WHERE state = 'accepted' AND rowid % 1000 = 0",
    "UPDATE mail SET account = 'other' WHERE rowid % 10 = 0",
)


def make_various(file: Path) -> None:
    with contextlib.closing(sqlite3.connect(file)) as connection:
        for statement in _VARIETY:
            connection.execute(statement)
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def time_of(row_id: str) -> datetime:
    number = 0
    for digit in row_id[:10]:
        number = number * 32 + _DIGITS.index(digit)
    return datetime.fromtimestamp(number / 1000, UTC)


async def measure(file: Path, times: int) -> None:
    store = await Store.open(StoreSettings(url=f"sqlite:///{file}"), read_only=True)
    accounts = Accounts([])
    stories = Stories(store, SystemClock(), lambda: accounts)
    middle, tenth = "01KJW000050000000000", time_of("01KJW00009")
    questions: dict[str, Callable[[], Awaitable[object]]] = {
        "story of a mail with 10 SMS": lambda: stories.story(middle),
        "find: emailId": lambda: stories.find("50000"),
        "find: Message-ID": lambda: stories.find("<50000@masociete.com>"),
        "find: number": lambda: stories.find("06 00 12 34 56"),
        "find: number nobody has": lambda: stories.find("06 99 99 99 99"),
        "find: sender": lambda: stories.find("alerte@masociete.com"),
        "find: words that are nowhere": lambda: stories.find("no such words"),
        "find: time": lambda: stories.find("2026-11-22 14:03"),
        "search: newest": lambda: stories.search(Filter()),
        "search: number": lambda: stories.search(Filter(number="0600123456")),
        "search: account": lambda: stories.search(Filter(account="other")),
        "search: expired": lambda: stories.search(Filter(states=(SmsState.EXPIRED,))),
        "search: undelivered (none)": lambda: stories.search(Filter(states=(SmsState.UNDELIVERED,))),
        "search: words, one part": lambda: stories.search(Filter(text="no such words")),
        "queue: 10,000 wait": lambda: stories.queue(Filter()),
        "queue: number": lambda: stories.queue(Filter(number="0600123456")),
        "queue: of an account, 500": lambda: stories.queue(Filter(account="masociete"), Page(size=500)),
        "stats: nothing new, 10,000 wait": lambda: stories.stats(StatsBy.ACCOUNT, datetime.now(UTC)),
        "stats: a tenth of all": lambda: stories.stats(StatsBy.STATE, tenth - timedelta(milliseconds=0)),
    }
    try:
        for name, ask in questions.items():
            spans = []
            for _ in range(times):
                began = time.perf_counter()
                await ask()
                spans.append((time.perf_counter() - began) * 1000)
            print(f"{name:<34} {statistics.median(spans):8.1f} ms  slowest {max(spans):8.1f} ms")
    finally:
        await store.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--times", type=int, default=21)
    arguments = parser.parse_args()
    make_various(arguments.file)
    asyncio.run(measure(arguments.file, arguments.times))


if __name__ == "__main__":
    main()
