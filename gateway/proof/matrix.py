"""The matrix: a gateway killed at every step, each with a store, a carrier and a mailbox of its own."""

import asyncio
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from gateway.clock import Clock
from gateway.proof.client import Moment, submit
from gateway.proof.house import QUIET_S, House, find_miscounts, house, make_template
from gateway.proof.ledger import SENT, UNKNOWN, Fault, Harm, Seen, find_faults
from gateway.proof.orders import Customer, Order, write_order
from gateway.proof.process import START_S, GatewayProcess, ProofBroken
from gateway.proof.steps import PLANS, At, AtCarrier, AtClient, AtSmarthost, Fate, Kill, Plan, Step, Subject
from gateway.store.base import Tally

_NUMBERS = 2
_SLOW_S = 3600.0
_MOST_TRIES = 5
_JOBS_PER_CPU = 2  # a start costs a second of work, but half of a step is waiting


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixRow:
    """What one step came to, for one subject."""

    step: Step
    subject: Subject
    about: str
    seen: Seen | None  # None: it was not carried out
    tally: Tally | None
    faults: Sequence[Fault]
    duration_s: float

    @property
    def is_right(self) -> bool:
        """True when nothing was lost, doubled or otherwise than it must be."""
        return not self.faults


class Matrix:
    """Plays the steps, several at a time."""

    def __init__(self, folder: Path, clock: Clock, *, quiet_s: float = QUIET_S) -> None:
        self._folder = folder
        self._clock = clock
        self._quiet_s = quiet_s

    async def play(self, steps: Iterable[Step], tell: Callable[[], None]) -> Sequence[MatrixRow]:
        """Return a row for each step and subject, in order; `tell` is called when one is done."""
        template = await make_template(self._folder)
        cells = [(step, subject) for step in steps for subject in PLANS[step].subjects]
        turns = asyncio.Semaphore(_JOBS_PER_CPU * (os.cpu_count() or 1))

        async def play_one(step: Step, subject: Subject) -> MatrixRow:
            async with turns:
                row = await self._play(step, subject, template)
            tell()
            return row

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(play_one(*cell), name=f"{cell[0].value} {cell[1].value}") for cell in cells]
        return [task.result() for task in tasks]

    async def _play(self, step: Step, subject: Subject, template: Path) -> MatrixRow:
        plan, began = PLANS[step], self._clock.monotonic()
        customer = Customer.RESEND if subject is Subject.RESEND else Customer.HOLD
        order = write_order(1, customer, numbers=_NUMBERS, wants_ack=subject is not Subject.NOT)
        seen, tally = None, None
        folder = self._folder / f"{step.value}-{subject.value}"
        async with house(folder, self._clock, store=template, quiet_s=self._quiet_s) as here:
            try:
                faults = await _Cell(here, order).play(plan)
            except ProofBroken as error:
                faults = [Fault(harm=Harm.WRONG, text=str(error))]
            else:
                tally = await here.tally()
                seen = here.ledger.look_up(order)
                faults += _judge(seen, plan)
                faults += find_miscounts([order], tally)
        return MatrixRow(
            step=step,
            subject=subject,
            about=plan.about,
            seen=seen,
            tally=tally,
            faults=faults,
            duration_s=self._clock.monotonic() - began,
        )


class _Cell:
    """One order, killed as planned, and then let to its end."""

    def __init__(self, here: House, order: Order) -> None:
        self._here = here
        self._order = order
        self._is_answered = False

    async def play(self, plan: Plan) -> list[Fault]:
        """The gateway was killed, started again, became quiet and was stopped; return what went wrong with that."""
        for kill in plan.kills:
            at = kill if isinstance(kill, At) else None
            gateway = await self._here.start(pause=at.point if at else None, passes=at.passes if at else 1)
            try:
                await self._live_until(kill, gateway)
            finally:
                await gateway.kill()
        gateway = await self._here.start()
        try:
            await self._insist(await gateway.ready())
            faults = await self._here.quieten([self._order])
            status = await gateway.stop()
        finally:
            await gateway.kill()
        self._here.book()
        if status != 0:
            faults.append(Fault(harm=Harm.WRONG, text=f"told to stop, it ended with {status}"))
        if "Traceback" in self._here.log:
            faults.append(
                Fault(harm=Harm.WRONG, text=f"there is a traceback in {self._here.config.with_suffix('.log')}")
            )
        return faults

    async def _live_until(self, kill: Kill, gateway: GatewayProcess) -> None:
        """The gateway is where it is to be killed, and is killed."""
        here = self._here
        match kill:
            case AtCarrier():
                here.sandbox.misbehave("slow", delay_s=_SLOW_S, count=1)
            case AtSmarthost(step=step):
                here.mailbox.fall_silent_at(step)
            case AtClient() | At():
                pass
            case _:
                assert_never(kill)
        address = await gateway.ready_or_paused()
        if address is not None:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._send(address, kill, gateway), name="client")
                obstacle = await self._find_obstacle(kill, gateway)
                await gateway.kill()
            if obstacle is not None:
                raise obstacle
        here.sandbox.behave()
        here.mailbox.fall_silent_at(None)
        here.book()

    async def _find_obstacle(self, kill: Kill, gateway: GatewayProcess) -> ProofBroken | None:
        """Return None once the gateway is where it is to be killed, or why it never got there."""
        try:
            async with asyncio.timeout(START_S):
                await self._reach(kill, gateway)
        except ProofBroken as error:
            return error
        except TimeoutError:
            return ProofBroken(f"after {START_S:.0f} s the gateway had not come to this step")
        return None

    async def _reach(self, kill: Kill, gateway: GatewayProcess) -> None:
        match kill:
            case At():
                await gateway.paused()
            case AtCarrier():
                await self._here.sandbox.wait_for_messages(_NUMBERS)
            case AtSmarthost():
                await self._here.mailbox.reached()
            case AtClient():
                await gateway.gone()  # the client itself kills it
            case _:
                assert_never(kill)

    async def _send(self, address: tuple[str, int], kill: Kill, gateway: GatewayProcess) -> None:
        """As a relay does: not again what was answered 250."""

        async def at(moment: Moment) -> None:
            if kill == AtClient(moment):
                await gateway.kill()

        if not self._is_answered:
            self._is_answered = (await submit(address, self._order, at=at)).startswith("250")

    async def _insist(self, address: tuple[str, int]) -> None:
        for _ in range(_MOST_TRIES):
            if self._is_answered:
                return
            self._is_answered = (await submit(address, self._order)).startswith("250")
        if not self._is_answered:
            raise ProofBroken("the mail is not taken")


def _judge(seen: Seen, plan: Plan) -> list[Fault]:
    faults = list(find_faults(seen))
    found = set(zip(seen.sms, seen.codes, strict=True))
    wanted = _sms_and_code(plan.fate, seen.order.customer)
    if not faults and wanted is not None and found != {wanted}:
        told = ", ".join(f"{times} SMS and code {code}" for times, code in sorted(found, key=str))
        faults.append(Fault(harm=Harm.WRONG, text=f"{told}; here it must be {wanted[0]} SMS and code {wanted[1]}"))
    if seen.copies < plan.copies:
        faults.append(Fault(harm=Harm.WRONG, text="the report came once: it was not killed where it should have been"))
    return faults


def _sms_and_code(fate: Fate, customer: Customer) -> tuple[int, int] | None:
    """Return how often the carrier must have seen each SMS, and what its sender must be told."""
    is_held = customer is Customer.HOLD
    match fate:
        case Fate.SENT:
            return 1, SENT
        case Fate.UNCALLED:
            return (0, UNKNOWN) if is_held else (1, SENT)
        case Fate.CALLED:
            return (1, UNKNOWN) if is_held else (2, SENT)
        case Fate.CALLED_TWICE:
            return 2, UNKNOWN
        case Fate.ANY:
            return None
        case _:
            assert_never(fate)
