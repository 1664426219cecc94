"""How long reading and deciding take: from the bytes of a mail to the rows that would be stored, without a store.

    python -m benchmarks.reading [--seconds 5] [--profile]

Three mails: an ordinary one (one number, accents, a foreign quote), 500 numbers with 500 texts of their own, and a
mobiles.csv of 500 lines with two values each. Each round differs from the one before in every number and text, so that
no cache makes it look better than traffic does. The mail is read in this process and in a child, as the daemon does, in
turns, so that both see the same machine. Prints median and p99 over the rounds of a few seconds each, after a warm-up,
against the aims of 1 ms, 15 ms and 15 ms; the median of this process's own time on the processor, less disturbed by
others than the clock's; and how many times as long the whole takes with a child. `--profile` prints where the time goes
in this process instead: for the figures run it without.
"""

import argparse
import asyncio
import cProfile
import pstats
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import ParamSpec, TypeVar

import uvloop

from gateway.clock import SystemClock
from gateway.intake.judging import Judge, Taken
from gateway.intake.order import Arrival, IntakeRules
from gateway.intake.submission import Submission
from gateway.lifecycle import MailId, SmsState
from gateway.policy.accounts import Accounts
from gateway.policy.texts import TEXT_PROFILES
from gateway.protocol.envoi import Mode
from gateway.protocol.reading import Limits
from gateway.reader.inline import InlineReader, Reader
from gateway.reader.pool import ReaderPool
from gateway.reader.settings import ReadingSettings
from gateway.reports import ReportRules
from tests.support.accounts import make_account

P = ParamSpec("P")
T = TypeVar("T")

WARM_UP_ROUNDS = 3
MANY = 500
HEAD = """\
From: alerte@masociete.com
To: sendsms@gw.example.org
Message-ID: <{round}@masociete.com>
MIME-Version: 1.0
"""
ENVOI = """\
<envoi>
<keyid>a296464ce012b8ab710a</keyid>
{recipients}
<emailId>{round}</emailId>
<emailAck>ack@masociete.com</emailAck>
<emailNot>not@masociete.com</emailNot>
</envoi>
"""
TEXT = "L’été est fini, client {x} ! Super promo -10% à partir de 50€ d’achat, jusqu’au {round} du mois. À bientôt"
FILE = """\
--cut
Content-Type: text/csv; charset=utf-8; name={name}
Content-Disposition: attachment; filename={name}

{content}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A mail, different each round, and how fast it should be."""

    name: str
    write: Callable[[int], str]
    sms: int
    aim_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Took:
    """What one round took."""

    ms: float
    cpu_ms: float  # of all threads of this process


def write_ordinary(number: int) -> str:
    recipients = f"<num>{_number(number)}</num>\n<sms>{TEXT.format(x=1, round=number)}</sms>"
    return _plain(recipients, number)


def write_own_texts(number: int) -> str:
    recipients = "\n".join(
        f"<num{x}>{_number(number * MANY + x)}</num{x}>\n<sms{x}>{TEXT.format(x=x, round=number)}</sms{x}>"
        for x in range(1, MANY + 1)
    )
    return _plain(recipients, number)


def write_csv(number: int) -> str:
    lines = "\n".join(f"{_number(number * MANY + x)};;Client {x};;{number}" for x in range(1, MANY + 1))
    parts = [
        f"--cut\nContent-Type: text/plain; charset=utf-8\n\n{ENVOI.format(recipients='', round=number)}",
        FILE.format(name="mobiles.csv", content=lines),
        FILE.format(name="message.csv", content=TEXT.format(x="[1]", round="[2]")),
        "--cut--\n",
    ]
    return HEAD.format(round=number) + "Content-Type: multipart/mixed; boundary=cut\n\n" + "".join(parts)


CASES = (
    Case(name="one number, one text", write=write_ordinary, sms=1, aim_ms=1),
    Case(name="500 numX, 500 own texts", write=write_own_texts, sms=MANY, aim_ms=15),
    Case(name="mobiles.csv of 500 lines, two values", write=write_csv, sms=MANY, aim_ms=15),
)


def _number(seed: int) -> str:
    return f"06{seed * 7_919 % 100_000_000:08d}"


def _plain(recipients: str, number: int) -> str:
    head = HEAD.format(round=number) + "Content-Type: text/plain; charset=utf-8\n\n"
    return head + ENVOI.format(recipients=recipients, round=number)


class Bench:
    """A judge, and the mails it is given."""

    def __init__(self, reader: Reader) -> None:
        self._judge = Judge(
            accounts=Accounts([make_account()]),
            text_profiles={"carrier": TEXT_PROFILES["isendpro"]},
            rules=IntakeRules(
                reports=ReportRules(hostname="gw.example.org", validity_s=3600),
                own_addresses=frozenset({"sendsms@gw.example.org"}),
            ),
            reader=reader,
        )
        self._round = 0

    async def run_once(self, case: Case) -> Took:
        self._round += 1
        arrival = Arrival(
            submission=Submission(
                content=case.write(self._round).replace("\n", "\r\n").encode(),
                envelope_from="alerte@masociete.com",
                peer="127.0.0.1",
                listener="main",
                networks=(ip_network("127.0.0.0/8"),),
                mode=Mode.LENIENT,
            ),
            mail_id=MailId(str(self._round)),
            at=datetime(2026, 3, 4, 12, tzinfo=UTC),
        )
        began_at, cpu_before_s = time.perf_counter(), time.process_time()
        judgement = await self._judge.judge(arrival)
        took = Took(ms=(time.perf_counter() - began_at) * 1000, cpu_ms=(time.process_time() - cpu_before_s) * 1000)
        envoi = judgement.written.order.envoi if isinstance(judgement, Taken) else None
        queued = [sms for sms in envoi.sms if sms.state is SmsState.QUEUED] if envoi else []
        if len(queued) != case.sms:
            raise SystemExit(f"{case.name}: {len(queued)} SMS instead of {case.sms}")
        return took


class Here(ThreadPoolExecutor):
    """Runs what is meant for a thread in the caller's own: a profile sees no other."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


async def run_for(benches: Sequence[Bench], case: Case, seconds: float) -> list[list[Took]]:
    """What each round took on each bench, in turns."""
    for bench in benches:
        for _ in range(WARM_UP_ROUNDS):
            await bench.run_once(case)
    until = time.perf_counter() + seconds
    took: list[list[Took]] = [[] for _ in benches]
    while time.perf_counter() < until:
        for bench, times in zip(benches, took, strict=True):
            times.append(await bench.run_once(case))
    return took


async def measure(seconds: float) -> None:
    pool = ReaderPool(ReadingSettings(), Limits(), clock=SystemClock(), quarantine=None)
    await pool.start()
    try:
        for case in CASES:
            here, there = await run_for([Bench(InlineReader(Limits())), Bench(pool)], case, seconds)
            ratio = statistics.median(one.ms for one in there) / statistics.median(one.ms for one in here)
            show(case, "here", here)
            show(case, "child", there, f", {ratio:.2f} times as long")
    finally:
        await pool.close()


def show(case: Case, where: str, took: list[Took], remark: str = "") -> None:
    times_ms = sorted(one.ms for one in took)
    median, p99 = statistics.median(times_ms), times_ms[int(len(took) * 0.99)]
    cpu_ms = statistics.median(one.cpu_ms for one in took)
    met = "met" if median <= case.aim_ms else "missed"
    figures = f"median {median:7.3f} ms  p99 {p99:7.3f} ms  cpu {cpu_ms:7.3f} ms"
    print(f"{case.name:<38} {where:<5} {figures}  aim {case.aim_ms:g} ms {met}, {len(took)} rounds{remark}")


def profile(seconds: float) -> None:
    bench = Bench(InlineReader(Limits()))
    for case in CASES:
        profiler = cProfile.Profile()
        print(f"--- {case.name}")
        with asyncio.Runner() as runner:
            runner.get_loop().set_default_executor(Here())
            profiler.enable()
            runner.run(run_for([bench], case, seconds))
            profiler.disable()
        pstats.Stats(profiler).sort_stats("tottime").print_stats(20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5, help="of each of the three mails")
    parser.add_argument("--profile", action="store_true", help="print where the time goes instead")
    arguments = parser.parse_args()
    if arguments.profile:
        profile(arguments.seconds)
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(measure(arguments.seconds))


if __name__ == "__main__":
    main()
