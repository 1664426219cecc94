"""How many mails a second are on disk: what the store can take, each mail with one SMS and one Ack.

    python -m benchmarks.admit [--seconds 5] [--folder FOLDER] [--sqlite-only]

On SQLite and on a PostgreSQL server of its own, both with their files in FOLDER (the usual temporary one otherwise: see
that it is not in memory), 1, 8 and 64 callers each admit one mail after the other. Beside each figure stands what it is
of the first; above all, what the disk itself gives: appends of 4 KiB a second, each synchronised before the next. The
three concurrencies of a database run one after the other on one store, so the later ones find it fuller.
"""

import argparse
import asyncio
import itertools
import os
import statistics
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gateway.ids import new_id
from gateway.lifecycle import EnvoiId, MailId, ReportId, SmsId, SmsState
from gateway.protocol.report import ReportFormat, ReportKind
from gateway.store import Store, StoreSettings, migrate
from gateway.store.base import NewEnvoi, NewMail, NewReport, NewSms, Order, Stored
from tests.support.postgres import postgres_server

CONCURRENCIES = (1, 8, 64)
AT = datetime(2026, 3, 4, 12, tzinfo=UTC)
RAW = b"From: alerte@masociete.com\r\n\r\n" + b"x" * 700  # about what an ordinary mail has
DATABASE = "admit"


def write_order(number: int) -> Order:
    report_id = new_id(AT)
    return Order(
        mail=NewMail(
            id=MailId(new_id(AT)),
            received_at=AT,
            account="masociete",
            peer="192.0.2.1",
            listener="main",
            proof="network",
            envelope_from="alerte@masociete.com",
            header_from="alerte@masociete.com",
            message_id=f"<{number}@masociete.com>",
            body_digest=number.to_bytes(32, "big"),
            raw=RAW,
            notes=(),
        ),
        envoi=NewEnvoi(
            id=EnvoiId(new_id(AT)),
            email_id=str(number),
            customer_tracker=None,
            not_to="not@masociete.com",
            report_format=ReportFormat.SOURCE,
            commercial=False,
            fault=None,
            sms=(
                NewSms(
                    id=SmsId(new_id(AT)),
                    position=1,
                    tel="0601020304",
                    state=SmsState.QUEUED,
                    code=None,
                    msisdn="+33601020304",
                    text="L'été est fini! Super promo -10% à partir de 50€ d'achat !!!",
                    parts=1,
                    tracker=new_id(AT),
                    due_at=AT,
                    expires_at=AT + timedelta(days=1),
                ),
            ),
        ),
        reports=(
            NewReport(
                id=ReportId(report_id),
                kind=ReportKind.ACK,
                recipient="ack@masociete.com",
                message_id=f"<{report_id}@gw.example.org>",
                in_reply_to=f"<{number}@masociete.com>",
                body=b"<etatAck/>" * 20,
                due_at=AT,
                expires_at=AT + timedelta(days=2),
            ),
        ),
    )


class Callers:
    """Admit new mails to one store until the time is over, and note how long each took."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._numbers = itertools.count(1)

    async def run(self, concurrency: int, seconds: float) -> list[float]:
        took: list[float] = []
        until = time.perf_counter() + seconds

        async def admit_on() -> None:
            while time.perf_counter() < until:
                began_at = time.perf_counter()
                outcome = await self._store.admit(write_order(next(self._numbers)))
                took.append(time.perf_counter() - began_at)
                if not isinstance(outcome, Stored):
                    raise SystemExit(f"not stored: {type(outcome).__name__}")

        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(admit_on())
        return took


async def measure(name: str, url: str, seconds: float) -> None:
    settings = StoreSettings(url=url)
    await migrate(settings)
    store = await Store.open(settings)
    callers = Callers(store)
    first_rate = 0.0
    try:
        await callers.run(1, 0.5)  # warm
        for concurrency in CONCURRENCIES:
            took = sorted(await callers.run(concurrency, seconds))
            rate = len(took) / seconds
            first_rate = first_rate or rate
            times = f"median {statistics.median(took) * 1000:6.2f} ms  p99 {took[int(len(took) * 0.99)] * 1000:6.2f} ms"
            print(f"{name:<10} {concurrency:>3} callers  {rate:7.0f} mails/s  x{rate / first_rate:<4.1f}  {times}")
    finally:
        await store.close()


def measure_disk(folder: Path, seconds: float) -> float:
    """Synchronised appends a second."""
    count = 0
    with (folder / "disk").open("wb", buffering=0) as file:
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            file.write(b"x" * 4096)
            os.fdatasync(file)
            count += 1
    return count / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5, help="of each figure")
    parser.add_argument("--folder", type=Path, help="where the files of the databases are to be")
    parser.add_argument("--sqlite-only", action="store_true")
    arguments = parser.parse_args()
    tempfile.tempdir = str(arguments.folder) if arguments.folder else None
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mail2sms-admit-")))
        print(f"disk       {measure_disk(folder, 1):7.0f} synchronised appends of 4 KiB a second, in {folder.parent}")
        asyncio.run(measure("SQLite", f"sqlite:///{folder / 'store.db'}", arguments.seconds))
        if not arguments.sqlite_only:
            server = stack.enter_context(postgres_server(on_disk=True))
            server.create(DATABASE)
            asyncio.run(measure("PostgreSQL", server.url(DATABASE), arguments.seconds))


if __name__ == "__main__":
    main()
