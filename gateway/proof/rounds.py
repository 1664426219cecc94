"""Rounds: a gateway ended at random moments with many mails on their way, again and again on one store."""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, unique
from pathlib import Path
from typing import assert_never

from gateway.clock import Clock
from gateway.proof.client import submit
from gateway.proof.house import LEASES_S, QUIET_S, House, find_miscounts, house, make_template, prepare_database
from gateway.proof.ledger import UNKNOWN, Fault, Harm, Seen, find_faults, find_untidiness
from gateway.proof.orders import Customer, Order, write_order
from gateway.proof.process import STOP_S, GatewayProcess, ProofBroken
from gateway.store import StoreSettings
from gateway.store.base import Tally

_MAILS_PER_ROUND = 12
_MOST_NUMBERS = 5
_LISTED_EVERY = 4
_LONGEST_S = 2.0
_STARTS_KILLED = 0.1
_LONGEST_START_S = 1.2
_SECOND_SIGNAL_S = 0.05
_CALL_S = 0.05  # long enough that an end finds calls under way
_INSIST_S = 120.0
_PAUSE_S = 0.05


@unique
class Ending(Enum):
    """How a round ends."""

    KILL = "kill"  # SIGKILL; one in ten while it is still starting
    TERM = "term"  # SIGTERM, and all the time it wants: status 0, and nothing is left open
    DOUBLE = "double"  # SIGTERM, and a second one at once


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundsRun:
    """What all rounds came to."""

    ending: Ending
    rounds: int
    seed: int
    orders: int
    sms: int  # asked for
    at_carrier: int
    unknown: int  # reported 999
    replies: Mapping[str, int]  # to attempts to hand a mail over, by their first three digits; "": it broke off
    reports: int  # wanted
    copies: int  # reports that came again with the Message-ID they had
    longest_stop_s: float
    tally: Tally | None
    faults: Sequence[Fault]
    duration_s: float

    @property
    def attempts(self) -> int:
        """How often the client tried to hand a mail over, to the end or not."""
        return sum(self.replies.values())

    @property
    def is_right(self) -> bool:
        """True when nothing was lost, doubled or otherwise than it must be."""
        return not self.faults

    def count(self, harm: Harm) -> int:
        """Return how many faults are of this kind."""
        return sum(fault.harm is harm for fault in self.faults)


class Rounds:
    """Plays rounds; the same seed makes the same mails and, as far as a machine repeats itself, the same moments."""

    def __init__(
        self, folder: Path, clock: Clock, *, ending: Ending, seed: int, database: StoreSettings | None = None
    ) -> None:
        """Be ready to play in this folder, on an SQLite file of its own, or on this database, which is empty."""
        self._folder = folder
        self._clock = clock
        self._ending = ending
        self._seed = seed
        self._database = database
        self._random = random.Random(seed)  # noqa: S311 moments and mails, no secrets
        self._orders: list[Order] = []
        self._untaken: list[Order] = []
        self._replies: Counter[str] = Counter()
        self._longest_stop_s = 0.0
        self._faults: list[Fault] = []

    async def play(self, rounds: int, tell: Callable[[], None]) -> RoundsRun:
        """The gateway was ended so many times, then left to finish; `tell` is called after each round."""
        began = self._clock.monotonic()
        if self._database is not None:
            await prepare_database(self._database)
        store = self._database or await make_template(self._folder)
        quiet_s = QUIET_S if self._database is None else QUIET_S + LEASES_S
        folder = self._folder / f"rounds-{self._ending.value}"
        async with house(folder, self._clock, store=store, quiet_s=quiet_s) as here:
            try:
                here.sandbox.misbehave("slow", delay_s=_CALL_S)
                for _ in range(rounds):
                    await self._play_round(here)
                    here.book()
                    tell()
                await self._finish(here)
            except ProofBroken as error:  # it did not start any more: what is missing is lost
                self._faults.append(Fault(harm=Harm.WRONG, text=str(error)))
            tally = await here.tally()
            return self._judge(here, rounds, tally, self._clock.monotonic() - began)

    # --- one round -----------------------------------------------------------------------------------------------

    async def _play_round(self, here: House) -> None:
        gateway = await here.start()
        try:
            if self._ending is Ending.KILL and self._random.random() < _STARTS_KILLED:
                await asyncio.sleep(self._random.uniform(0, _LONGEST_START_S))
                return
            address = await gateway.ready()
            lasts_s = self._random.uniform(0, _LONGEST_S)
            mails = [*self._untaken, *(self._write_order() for _ in range(_MAILS_PER_ROUND))]
            self._untaken = mails.copy()
            async with asyncio.TaskGroup() as group:
                clients = [
                    group.create_task(self._send(address, order, self._random.uniform(0, lasts_s)), name=order.email_id)
                    for order in mails
                ]
                await asyncio.sleep(lasts_s)
                await self._end(gateway)
                for client in clients:
                    client.cancel()  # those whose time had not come
        finally:
            await gateway.kill()

    def _write_order(self) -> Order:
        number = len(self._orders)
        customer = Customer.HOLD if self._random.random() < 0.75 else Customer.RESEND
        numbers = self._random.randint(1, _MOST_NUMBERS)
        order = write_order(number, customer, numbers=numbers, is_listed=number % _LISTED_EVERY == 0)
        self._orders.append(order)
        return order

    async def _send(self, address: tuple[str, int], order: Order, after_s: float = 0.0) -> None:
        """As a relay does: what is not answered 250 stays in the queue, the same bytes."""
        await asyncio.sleep(after_s)
        reply = await submit(address, order)
        self._replies[reply[:3]] += 1
        if reply.startswith("250"):
            self._untaken.remove(order)

    async def _end(self, gateway: GatewayProcess) -> None:
        match self._ending:
            case Ending.KILL:
                await gateway.kill()
                return
            case Ending.TERM:
                allowed = {0}
            case Ending.DOUBLE:
                allowed = {0, 1}
                gateway.send_signal(signal.SIGTERM)
                await asyncio.sleep(self._random.uniform(0, _SECOND_SIGNAL_S))
            case _:
                assert_never(self._ending)
        began = self._clock.monotonic()
        status = await gateway.stop()
        self._longest_stop_s = max(self._longest_stop_s, self._clock.monotonic() - began)
        if status not in allowed:
            how = f"it had not ended after {STOP_S:.0f} s" if status is None else f"it ended with {status}"
            self._faults.append(Fault(harm=Harm.WRONG, text=f"told to stop, {how}"))

    # --- the end -------------------------------------------------------------------------------------------------

    async def _finish(self, here: House) -> None:
        """What is left is taken, and everything has its end."""
        here.sandbox.behave()
        gateway = await here.start()
        try:
            address = await gateway.ready()
            try:
                async with asyncio.timeout(_INSIST_S):
                    for order in self._untaken.copy():
                        while order in self._untaken:
                            await self._send(address, order)
                            await asyncio.sleep(_PAUSE_S)
            except TimeoutError:
                self._faults.append(Fault(harm=Harm.LOST, text=f"{len(self._untaken)} mails are never taken"))
            self._faults += await here.quieten(self._orders)
            status = await gateway.stop()
        finally:
            await gateway.kill()
        here.book()
        if status != 0:
            self._faults.append(Fault(harm=Harm.WRONG, text=f"told to stop at the end, it ended with {status}"))

    def _judge(self, here: House, rounds: int, tally: Tally, duration_s: float) -> RoundsRun:
        seen = [here.ledger.look_up(order) for order in self._orders]
        faults = [*self._faults, *here.ledger.find_strays(self._orders), *find_miscounts(self._orders, tally)]
        for one in seen:
            faults += find_faults(one)
            if self._ending is Ending.TERM:
                faults += find_untidiness(one)
        if self._ending is not Ending.DOUBLE and "Traceback" in here.log:
            faults.append(Fault(harm=Harm.WRONG, text=f"there is a traceback in {here.config.with_suffix('.log')}"))
        return RoundsRun(
            ending=self._ending,
            rounds=rounds,
            seed=self._seed,
            orders=len(seen),
            sms=sum(len(one.sms) for one in seen),
            at_carrier=sum(sum(one.sms) for one in seen),
            unknown=_count_codes(seen)[UNKNOWN],
            replies=self._replies,
            reports=sum(1 + one.order.wants_ack for one in seen),
            copies=sum(one.copies for one in seen),
            longest_stop_s=self._longest_stop_s,
            tally=tally,
            faults=faults,
            duration_s=duration_s,
        )


def _count_codes(seen: Sequence[Seen]) -> Counter[int | None]:
    return Counter(code for one in seen for code in one.codes)
