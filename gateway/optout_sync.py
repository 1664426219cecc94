"""Carriers' own STOP lists, kept in step with ours where the operator asks for it (docs/protocol.md §5.6).

Promises. What changed here is told to each carrier with `sync_optouts` that keeps a list, once it answers, however long
that takes; a carrier that does not answer is left alone for a while, and one number that it will not take delays no
other. What is to be told is a row: nothing is lost with the process, and telling twice harms nothing. SMS do not wait
for it: our own list holds at once.

Diagnostics: events `optout_told` (info), `optout_untold`, `optout_sync_impossible` (warning).
"""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial

import structlog

from gateway.carrier import Carrier
from gateway.clock import Clock
from gateway.policy.retry import optout_delay
from gateway.providers.base import KeepsOptOuts, Untold
from gateway.store import Store
from gateway.store.two_way import CarrierOptOut
from gateway.text.msisdn import mask
from gateway.worker import Bell, Crew, Gate, Stage, call_or

_log = structlog.get_logger(__name__)

_AT_ONCE = 20
"""Numbers claimed together, and told one after the other."""

_PATIENCE = 5
_FIRST_PAUSE_S = 60.0
_LONGEST_PAUSE_S = 3600.0
"""After so many failures in a row a carrier is asked again after 1, 2, 4 minutes, up to an hour."""

_POLL_S = 30.0
_REASON_CHARS = 300


class OptOutSync:
    """The stage that tells carriers; `bell` is rung by whoever changes the STOP list in this process."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        carriers: Callable[[], Mapping[str, Carrier]],
        syncing: Callable[[], Sequence[str]],
        bell: Bell,
    ) -> None:
        """Be ready to tell. `syncing` returns the carriers that are to be told."""
        self._store = store
        self._clock = clock
        self._carriers = carriers
        self._syncing = syncing
        self._gates: dict[str, Gate] = {}
        self._busy: set[str] = set()
        self._missed: set[str] = set()  # looked for while busy: there may be more than what was claimed
        self._impossible: set[str] = set()
        self._stage = Stage(name="optouts", bell=bell, look=self._look, poll_s=_POLL_S)

    async def run(self) -> None:
        """Work until stopped."""
        await self._stage.run()

    def stop(self) -> None:
        """Nothing more is claimed; the call under way is finished."""
        self._stage.stop()

    async def _look(self, crew: Crew) -> float:
        """Start telling each carrier that can be told."""
        for name in self._syncing():
            carrier = self._carriers().get(name)
            if name in self._busy:
                self._missed.add(name)
                continue
            if carrier is None or not self._gate(name).is_open:
                continue
            if isinstance(carrier.provider, KeepsOptOuts):
                self._busy.add(name)
                crew.start(f"optouts:{name}", partial(self._tell_carrier, name, carrier, carrier.provider))
            elif name not in self._impossible:
                self._impossible.add(name)
                _log.warning("optout_sync_impossible", provider=name, advice="it keeps no list: unset sync_optouts")
        return _POLL_S

    def _gate(self, name: str) -> Gate:
        if name not in self._gates:
            self._gates[name] = Gate(
                clock=self._clock, first_s=_FIRST_PAUSE_S, longest_s=_LONGEST_PAUSE_S, patience=_PATIENCE
            )
        return self._gates[name]

    async def _tell_carrier(self, name: str, carrier: Carrier, keeper: KeepsOptOuts) -> None:
        """Tell the carrier all there is to tell, while it answers."""
        gate = self._gate(name)
        try:
            while gate.is_open and not self._stage.is_stopping:
                limit = 1 if gate.is_suspect else _AT_ONCE
                now = self._clock.now()
                lease_until = now + timedelta(seconds=(limit + 1) * carrier.deadline_s)
                claimed = await self._store.claim_untold(name, now=now, lease_until=lease_until, limit=limit)
                for told in claimed:
                    await self._tell_one(gate, told, carrier, keeper)
                if not claimed:
                    break
        finally:
            self._busy.discard(name)
            if name in self._missed:
                self._missed.discard(name)
                self._stage.bell.ring()

    async def _tell_one(self, gate: Gate, told: CarrierOptOut, carrier: Carrier, keeper: KeepsOptOuts) -> None:
        now = self._clock.now()
        if not gate.is_open or self._stage.is_stopping:
            await self._store.settle_told(told, due_at=now, reason="not tried")
            return
        gate.enter()
        untold = await _call(keeper, told, carrier.deadline_s)
        log = _log.bind(provider=told.provider, msisdn=mask(told.msisdn), is_listed=told.is_listed)
        if untold is None:
            gate.succeed()
            await self._store.settle_told(told, due_at=None)
            log.info("optout_told")
            return
        gate.fail()
        delay = optout_delay(attempt=told.attempt, jitter=random.random())  # noqa: S311 a herd, not a secret
        reason = untold.reason[:_REASON_CHARS]
        await self._store.settle_told(told, due_at=now + delay, reason=reason)
        log.warning("optout_untold", attempt=told.attempt, reason=reason, again_in_s=round(delay.total_seconds()))


async def _call(keeper: KeepsOptOuts, told: CarrierOptOut, deadline_s: float) -> Untold | None:
    """Return None when the carrier has done it."""
    call = keeper.add_optout(told.msisdn) if told.is_listed else keeper.remove_optout(told.msisdn)
    try:
        async with asyncio.timeout(deadline_s):
            return await call_or(
                call, lambda: Untold(reason="the gateway failed during the call"), name=f"optout:{told.provider}"
            )
    except TimeoutError:
        return Untold(reason="no answer in time")
