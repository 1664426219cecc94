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
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx

from benchmarks.pages import get_page, open_console
from gateway.clock import SystemClock
from gateway.lifecycle import SmsState
from gateway.policy.accounts import Accounts
from gateway.store import Store, StoreSettings
from gateway.stories import Filter, Page, StatsBy, Stories

Ask = Callable[[], Awaitable[object]]

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


def questions_of(stories: Stories, deep: str) -> dict[str, Ask]:
    """What is asked of the stories; `deep` is a mail in the midst of those with ten SMS each."""
    tenth = time_of("01KJW00009")
    text, account = "no such words", "masociete"
    by_text = Filter(text=text)
    return {
        "story of a mail with 10 SMS": lambda: stories.story(deep),
        "find: emailId": lambda: stories.find("50000"),
        "find: Message-ID": lambda: stories.find("<50000@masociete.com>"),
        "find: number": lambda: stories.find("06 00 12 34 56"),
        "find: number nobody has": lambda: stories.find("06 99 99 99 99"),
        "find: sender": lambda: stories.find("alerte@masociete.com"),
        "find: words that are nowhere": lambda: stories.find(text),
        "find: time": lambda: stories.find("2026-11-22 14:03"),
        "search: newest": lambda: stories.search(Filter()),
        "search: number": lambda: stories.search(Filter(number="0600123456")),
        "search: account": lambda: stories.search(Filter(account="other")),
        "search: queued": lambda: stories.search(Filter(states=(SmsState.QUEUED,))),
        "search: expired": lambda: stories.search(Filter(states=(SmsState.EXPIRED,))),
        "search: expired, deep": lambda: stories.search(Filter(states=(SmsState.EXPIRED,)), Page(after=deep)),
        "search: undelivered (none)": lambda: stories.search(Filter(states=(SmsState.UNDELIVERED,))),
        "search: accepted, deep": lambda: stories.search(Filter(states=(SmsState.ACCEPTED,)), Page(after=deep)),
        "search: delivered (none), deep": lambda: stories.search(
            Filter(states=(SmsState.DELIVERED,)), Page(after=deep)
        ),
        "search: account, delivered, deep": lambda: stories.search(
            Filter(account=account, states=(SmsState.DELIVERED,)), Page(after=deep)
        ),
        "search: account, expired, deep": lambda: stories.search(
            Filter(account=account, states=(SmsState.EXPIRED,)), Page(after=deep)
        ),
        "search: words": lambda: stories.search(by_text),
        "search: words, deep": lambda: stories.search(by_text, Page(after=deep)),
        "search: account, words, deep": lambda: stories.search(replace(by_text, account=account), Page(after=deep)),
        "queue: 10,000 wait": lambda: stories.queue(Filter()),
        "queue: number": lambda: stories.queue(Filter(number="0600123456")),
        "queue: words": lambda: stories.queue(by_text),
        "queue: of an account": lambda: stories.queue(Filter(account=account)),
        "queue: of an account, 500": lambda: stories.queue(Filter(account=account), Page(size=500)),
        "queue: of nobody": lambda: stories.queue(Filter(account="nobody")),
        "queue: expired": lambda: stories.queue(Filter(states=(SmsState.EXPIRED,))),
        "queue: delivered (none)": lambda: stories.queue(Filter(states=(SmsState.DELIVERED,))),
        "stats: nothing new, 10,000 wait": lambda: stories.stats(StatsBy.ACCOUNT, datetime.now(UTC)),
        "stats: a tenth of all": lambda: stories.stats(StatsBy.STATE, tenth),
    }


def pages_of(client: httpx.AsyncClient, deep: str) -> dict[str, Ask]:
    """What a browser asks for."""

    def page(path: str, **query: str) -> Ask:
        return lambda: get_page(client, path, **query)

    words, account = "no such words", "masociete"
    return {
        "page: overview": page(""),
        "page: overview, live": page("/live/overview"),
        "page: mail with 10 SMS": page(f"/mail/{deep}"),
        "page: its source": page(f"/mail/{deep}/source"),
        "page: queue": page("/queue"),
        "page: queue of an account": page("/queue", account=account),
        "page: queue of an account, expired": page("/queue", account=account, state="expired"),
        "page: search": page("/search"),
        "page: search of anything": page("/search", q=words),
        "page: search of a number": page("/search", number="0600123456"),
        "page: search of words": page("/search", text=words),
        "page: search of words, deep": page("/search", text=words, after=deep),
        "page: search of an account": page("/search", account=account),
        "page: account, queued": page("/search", account=account, state="queued"),
        "page: account, accepted": page("/search", account=account, state="accepted"),
        "page: account, delivered, deep": page("/search", account=account, state="delivered", after=deep),
        "page: account, expired": page("/search", account=account, state="expired"),
        "page: new envoi": page("/compose"),
        "page: STOP list": page("/optouts"),
        "page: configured": page("/configured"),
    }


async def measure(file: Path, times: int) -> None:
    store = await Store.open(StoreSettings(url=f"sqlite:///{file}"))
    accounts = Accounts([])
    deep = "01KJW000050000000000"
    try:
        async with open_console(store) as client:
            asked = questions_of(Stories(store, SystemClock(), lambda: accounts), deep) | pages_of(client, deep)
            for name, ask in asked.items():
                await _time(name, ask, times)
    finally:
        await store.close()


async def _time(name: str, ask: Ask, times: int) -> None:
    walls, works = [], []
    for _ in range(times):
        began, worked = time.perf_counter(), time.process_time()
        await ask()
        walls.append((time.perf_counter() - began) * 1000)
        works.append((time.process_time() - worked) * 1000)
    median, work = statistics.median(walls), statistics.median(works)
    print(f"{name:<36} {median:8.1f} ms {work:8.1f} ms of CPU   slowest {max(walls):8.1f} ms", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--times", type=int, default=21)
    arguments = parser.parse_args()
    make_various(arguments.file)
    asyncio.run(measure(arguments.file, arguments.times))


if __name__ == "__main__":
    main()
