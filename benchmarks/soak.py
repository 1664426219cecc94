"""Works the real daemon for hours, with everything around it failing now and then, and counts in the end.

    python -m benchmarks.soak [--minutes 30] [--rate 5] [--kill-every S] [--seed N]

Mails come in at the rate, some with twenty numbers, some twice, some from clients that hang up in the middle; whoever
got no 250 sends the same mail again. The carrier loses answers, refuses, stalls and babbles; the smarthost refuses and
hangs up; SIGHUP comes every twenty seconds and, if asked for, kill -9 with a new start, in the first half. Memory and
descriptors are sampled every five seconds; their drift is measured over the second half, on one process.

In the end every order that was answered 250 must have one Ack and one Not (by Message-ID), with one answer for each
number; nothing may have reached the carrier twice, nor be answered 0 without having reached it. Exit status 1 when
anything was lost, doubled or told wrongly.
"""

import argparse
import asyncio
import random
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiosmtplib

from gateway.cli.examples.client import submit
from gateway.sandbox import Sandbox
from gateway.smtp.mailbox import Mailbox, ReceivedMail, Step
from tests.faults.field import answers, make_mail, message_id
from tests.support.configuration import RECIPIENT, SENDER, write_config
from tests.support.gateway import GatewayProcess, run_command, serve

SAMPLE_S = 5.0
HANGUP_S = 20.0
DRAIN_S = 900.0
CARRIER_FAULTS: tuple[dict[str, object], ...] = (
    {"fault": "slow", "delay_s": 2},
    {"fault": "slow", "delay_s": 20},
    {"fault": "trickle", "delay_s": 0.5},
    {"fault": "status", "status": 500},
    {"fault": "status", "status": 503},
    {"fault": "status", "status": 429, "retry_after": "2"},
    {"fault": "status", "status": 404},
    {"fault": "reset"},
    {"fault": "lost"},
    {"fault": "half"},
    {"fault": "not_json"},
    {"fault": "html"},
    {"fault": "wrong_count"},
    {"fault": "no_credit"},
    {"fault": "refuse", "code": 21},
    {"fault": "shape", "shape": "string_codes"},
    {"fault": "gzip_bomb"},
    {"fault": "redirect"},
)
SMARTHOST_FAULTS: tuple[tuple[Step, str], ...] = (
    (Step.CONNECT, "421 4.3.2 Not now"),
    (Step.MAIL, "451 4.3.0 Not now"),
    (Step.RCPT, "450 4.2.0 Greylisted"),
    (Step.DOT, "451 4.3.0 Not now"),
)
_EMAIL_ID = re.compile(rb"<emailId>([^<]+)</emailId>")
_ACK_CODE = re.compile(rb"<code>(\d+)</code>")


@dataclass(slots=True, kw_only=True)
class Order:
    """A mail that was answered 250, and what came of it."""

    numbers: tuple[str, ...]
    copies: int = 0  # further mails with its emailId that were answered 250
    acks: dict[int, set[str]] = field(default_factory=dict)  # Message-IDs by code
    nots: dict[str, dict[str, int]] = field(default_factory=dict)  # answers by Message-ID


class Ledger:
    """Everything that is known from outside."""

    def __init__(self) -> None:
        self.orders: dict[str, Order] = {}
        self.carried: Counter[str] = Counter()
        self.replies: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()  # reports by Message-ID
        self.begun = 0

    def note_report(self, mail: ReceivedMail) -> None:
        identity = message_id(mail)
        self.seen[identity] += 1
        found = _EMAIL_ID.search(mail.content)
        assert found, mail.content
        order = self.orders.setdefault(found[1].decode(), Order(numbers=()))
        if b"<etatAck>" in mail.content:
            code = _ACK_CODE.search(mail.content)
            assert code, mail.content
            order.acks.setdefault(int(code[1]), set()).add(identity)
        else:
            order.nots[identity] = answers(mail)

    @property
    def is_complete(self) -> bool:
        return all(
            order.acks and order.nots and len(order.acks.get(1, ())) >= order.copies for order in self.orders.values()
        )

    def find_wrongs(self) -> list[str]:
        wrongs = [f"{number} was sent {times} times" for number, times in self.carried.items() if times > 1]
        for name, order in self.orders.items():
            if not order.numbers:
                wrongs.append(f"{name}: a report for what was never answered 250")
            for what, number, wanted in (
                ("Ack 0", len(order.acks.get(0, ())), 1),
                ("Ack 1", len(order.acks.get(1, ())), order.copies),
                ("Not", len(order.nots), 1),
            ):
                if number != wanted:
                    wrongs.append(f"{name}: {number} of {what}, not {wanted}")
            for told in order.nots.values():
                wrongs += [f"{name}: {number}: {problem}" for number, problem in self._misjudged(order, told)]
        return wrongs

    def _misjudged(self, order: Order, told: dict[str, int]) -> list[tuple[str, str]]:
        problems = [(number, "has no answer") for number in order.numbers if number not in told]
        for number, code in told.items():
            times = self.carried[number[-9:]]
            if code == 0 and not times:
                problems.append((number, "is answered 0 and never was at the carrier"))
            if code not in {0, 999} and times:
                problems.append((number, f"is answered {code} and was at the carrier"))
        return problems


class Soak:
    """The gateway, what is around it, and what happens to both."""

    def __init__(self, arguments: argparse.Namespace, config: Path, mailbox: Mailbox, sandbox: Sandbox) -> None:
        self.rate: float = arguments.rate
        self.length_s: float = 60 * arguments.minutes
        self.kill_every_s: float | None = arguments.kill_every
        self.config, self.mailbox, self.sandbox = config, mailbox, sandbox
        self.ledger = Ledger()
        self.gateway: GatewayProcess | None = None
        self.starts = 0
        self.samples: list[tuple[float, int, float, int]] = []  # at, start, MB, descriptors
        self.began = time.monotonic()
        self._next_number = 10_000_000
        self._is_there = asyncio.Event()

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self.began

    # --- clients -----------------------------------------------------------------------------------------------------

    async def send_orders(self) -> None:
        """Send orders at the rate, and wait until the last was answered 250."""
        async with asyncio.TaskGroup() as group:
            for count in range(int(self.length_s * self.rate)):
                await asyncio.sleep(max(0.0, count / self.rate - self.elapsed_s))
                group.create_task(self._send_order(f"soak-{count}"))

    async def _send_order(self, email_id: str) -> None:
        self.ledger.begun += 1
        count = random.choices((1, 3, 20), (80, 15, 5))[0]
        numbers = tuple(f"06{self._next_number + index:08d}" for index in range(count))
        self._next_number += count
        mail = make_mail(email_id, *numbers)
        if random.random() < 0.05:
            await self._hang_up(mail)
        await self._send(mail)
        self.ledger.orders.setdefault(email_id, Order(numbers=numbers)).numbers = numbers
        if random.random() < 0.05:
            again = mail.replace(b"Message-ID: <", b"Message-ID: <again-")
            await self._send(again)
            self.ledger.orders[email_id].copies += 1

    async def _send(self, mail: bytes) -> None:
        """Return once it was answered 250: the same bytes again and again until then."""
        reply = ""
        while not reply.startswith("250"):
            await self._is_there.wait()
            assert self.gateway is not None
            try:
                reply = await submit(*self.gateway.smtp, mail, sender=SENDER, recipient=RECIPIENT)
            except (OSError, aiosmtplib.SMTPException):
                reply = "broken"
            self.ledger.replies[reply[:3]] += 1
            if not reply.startswith("250"):
                await asyncio.sleep(random.uniform(0.2, 2))

    async def _hang_up(self, mail: bytes) -> None:
        """Go away in the middle of the mail, or after its dot without hearing the answer."""
        await self._is_there.wait()
        assert self.gateway is not None
        with suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
            async with asyncio.timeout(10):
                reader, writer = await asyncio.open_connection(*self.gateway.smtp)
                for line in ("EHLO x", f"MAIL FROM:<{SENDER}>", f"RCPT TO:<{RECIPIENT}>", "DATA"):
                    await reader.readline()
                    writer.write(line.encode() + b"\r\n")
                writer.write(
                    (mail if random.random() < 0.5 else mail[: len(mail) // 2]) + b".\r\n"[: random.choice((0, 3))]
                )
                await writer.drain()
                writer.transport.abort()

    # --- trouble -----------------------------------------------------------------------------------------------------

    async def trouble_carrier(self) -> None:
        while True:
            await asyncio.sleep(random.uniform(2, 15))
            self.sandbox.behave()  # what was not met by then is over
            fault = dict(random.choice(CARRIER_FAULTS))
            self.sandbox.misbehave(str(fault.pop("fault")), count=random.randint(1, 3), **fault)

    async def trouble_smarthost(self) -> None:
        while True:
            await asyncio.sleep(random.uniform(5, 30))
            self.mailbox.behave()
            if random.random() < 0.3:
                self.mailbox.hang_up_after_dot(is_kept=random.random() < 0.5)
            else:
                step, reply = random.choice(SMARTHOST_FAULTS)
                self.mailbox.refuse(step, reply, times=random.randint(1, 3))

    async def trouble_gateway(self) -> None:
        """SIGHUP again and again; kill -9 while it is not measured."""
        killed_at = 0.0
        while True:
            await asyncio.sleep(HANGUP_S)
            if self.gateway is None or self.gateway.process.returncode is not None:
                continue
            may_kill = self.kill_every_s is not None and self.elapsed_s < self.length_s / 2
            if may_kill and self.elapsed_s - killed_at > (self.kill_every_s or 0):
                killed_at = self.elapsed_s
                self._is_there.clear()
                await self.gateway.kill()
            else:
                self.gateway.send_signal(signal.SIGHUP)

    # --- the gateway -------------------------------------------------------------------------------------------------

    async def keep_running(self, until: asyncio.Event) -> None:
        """There is a gateway until then; one that ends by itself is a failure."""
        while not until.is_set():
            async with serve(self.config) as gateway:
                self.gateway = gateway
                self.starts += 1
                self._is_there.set()
                await self._watch(gateway, until)
        assert self.gateway is not None
        assert self.gateway.process.returncode == 0

    async def _watch(self, gateway: GatewayProcess, until: asyncio.Event) -> None:
        """Return when it was killed, or is to end."""
        async with asyncio.TaskGroup() as group:
            waits = [group.create_task(gateway.process.wait()), group.create_task(until.wait())]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            status = gateway.process.returncode
            assert until.is_set() or status == -signal.SIGKILL, f"the gateway ended with {status}"
            for wait in waits:
                wait.cancel()

    async def sample(self) -> None:
        """Measure memory and descriptors, and take what has come."""
        while True:
            await asyncio.sleep(SAMPLE_S)
            self.collect()
            if self.gateway is not None and self.gateway.process.returncode is None:
                with suppress(OSError):
                    home = Path(f"/proc/{self.gateway.process.pid}")
                    found = re.search(r"VmRSS:\s+(\d+)", (home / "status").read_text())
                    descriptors = sum(1 for _ in (home / "fd").iterdir())
                    if found:
                        self.samples.append((self.elapsed_s, self.starts, int(found[1]) / 1024, descriptors))

    def collect(self) -> None:
        for sms in self.sandbox.messages:
            self.ledger.carried[sms["number"][-9:]] += 1
        self.sandbox.clear()
        for mail in self.mailbox.mails:
            self.ledger.note_report(mail)
        self.mailbox.clear()

    # --- all of it ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        ended = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            running = group.create_task(self.keep_running(ended))
            background = [
                group.create_task(work())
                for work in (self.trouble_carrier, self.trouble_smarthost, self.trouble_gateway, self.sample)
            ]
            await self.send_orders()
            for trouble in background[:3]:
                trouble.cancel()
            self.sandbox.behave()
            self.mailbox.behave()
            with suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_S):
                    while not self.ledger.is_complete:  # noqa: ASYNC110 what comes is collected by the sampling
                        await asyncio.sleep(1)
            ended.set()
            await running
            background[3].cancel()
        self.collect()

    def drift(self, value: Callable[[tuple[float, int, float, int]], float]) -> float | None:
        """Return the slope over the second half, on the last process, per hour; None when there is too little."""
        points = [
            (at, value(one))
            for one in self.samples
            if one[1] == self.starts and (at := one[0]) > self.length_s / 2 and at < self.length_s
        ]
        if len(points) < 10:
            return None
        mean_x, mean_y = (sum(point[axis] for point in points) / len(points) for axis in (0, 1))
        spread = sum((x - mean_x) ** 2 for x, _ in points)
        return 3600 * sum((x - mean_x) * (y - mean_y) for x, y in points) / spread


def show(soak: Soak, wrongs: list[str]) -> None:
    ledger = soak.ledger
    told = Counter(code for order in ledger.orders.values() for one in order.nots.values() for code in one.values())
    print(f"{'orders answered 250':<36} {len(ledger.orders):>8} of {ledger.begun} begun")
    print(f"{'SMS asked for':<36} {sum(len(order.numbers) for order in ledger.orders.values()):>8}")
    print(f"{'SMS at the carrier':<36} {sum(ledger.carried.values()):>8}")
    print(f"{'answers in the Nots, by code':<36} {dict(sorted(told.items()))}")
    print(f"{'replies to clients':<36} {dict(ledger.replies)}")
    print(f"{'copies of an emailId (Ack 1)':<36} {sum(order.copies for order in ledger.orders.values()):>8}")
    print(f"{'reports again, same Message-ID':<36} {sum(times - 1 for times in ledger.seen.values()):>8}")
    print(f"{'starts of the gateway':<36} {soak.starts:>8}")
    for name, unit, index in (("memory", "MB", 2), ("descriptors", "", 3)):
        values = [sample[index] for sample in soak.samples] or [0]
        drift = soak.drift(lambda one, index=index: float(one[index]))  # type: ignore[misc]
        slope = "too short to tell" if drift is None else f"{drift:+.1f} {unit} an hour"
        print(f"{name:<36} {min(values):8.0f} to {max(values):.0f} {unit}, drift {slope}")
    print(f"{'lost, double or wrong':<36} {len(wrongs):>8}")
    for wrong in wrongs[:20]:
        print("   ", wrong)


async def soak_it(arguments: argparse.Namespace) -> int:
    random.seed(arguments.seed)
    with tempfile.TemporaryDirectory(prefix="mail2sms-soak-") as folder:
        async with Mailbox() as mailbox, Sandbox() as sandbox:
            config = write_config(
                Path(folder) / "gateway.toml",
                smarthost=mailbox.address,
                carrier=sandbox.url,
                provider={"timeout_s": 10, "batch_size": 10},
                dispatcher={"account_hold_s": 10},
                janitor={"every_s": 5, "reconcile_window_s": 30},
                http={"listen": "127.0.0.1:0"},
            )
            migrated = await run_command("migrate", "--config", str(config))
            assert migrated.status == 0, migrated.stderr
            soak = Soak(arguments, config, mailbox, sandbox)
            await soak.run()
            wrongs = soak.ledger.find_wrongs()
            if "Traceback" in (log := config.with_suffix(".log").read_text("utf-8", "replace")):
                wrongs.append("a traceback in the log: " + log[log.index("Traceback") - 500 :][:2000])
            show(soak, wrongs)
    return 1 if wrongs else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=5.0, help="mails per second")
    parser.add_argument("--kill-every", type=float, help="kill -9 every so many seconds, in the first half")
    parser.add_argument("--seed", type=int, default=None, help="of what happens when")
    sys.exit(asyncio.run(soak_it(parser.parse_args())))


if __name__ == "__main__":
    main()
