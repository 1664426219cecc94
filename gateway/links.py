"""The carriers in use, and which of them an SMS may go to now: who is up, whom each turned away, who has had his part.

Promises. A carrier that fails is left alone for a while and then asked with one SMS, whoever's it is. One that turns an
account away (key, credit, address) is left alone for that account only. Both are gates, so there are few questions to
what cannot answer, and what is proven not sent goes by the next carrier of the route at once. All of it is in memory
only: rows carry their own `due_at`.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from gateway import exposure
from gateway.carrier import Carrier
from gateway.clock import Clock
from gateway.exposure import Exposure
from gateway.pace import Pace
from gateway.policy.accounts import Account
from gateway.policy.routing import Owed, Path, choose_provider, count_sms, find_path
from gateway.turns import Turns
from gateway.worker import Gate

_FIRST_PAUSE_S = 5.0
_LONGEST_PAUSE_S = 60.0
"""A carrier that refuses connections is asked again after 5, 10, 20, 40, 60 s."""


class Portion:
    """How many SMS one call may hand over; 0: none any more."""

    def __init__(self, most: int, pace: Pace | None = None) -> None:
        self.most = most
        self._pace = pace

    def use(self, count: int) -> None:
        """It hands over so many; others may have the rest. Only the first time counts."""
        if self._pace is not None:
            self._pace.give_back(self.most - count)
        self._pace = None


class Link:
    """A carrier in use: who is inside, and whether it may be asked."""

    def __init__(self, carrier: Carrier, clock: Clock) -> None:
        self.carrier = carrier
        self.name = carrier.provider.name
        self.gate = Gate(clock=clock, first_s=_FIRST_PAUSE_S, longest_s=_LONGEST_PAUSE_S, patience=exposure.FIRST)
        self.exposure = Exposure(clock)
        self.is_waited_for = False  # somebody was turned away who could go when an answer has come
        self.turns = Turns(carrier.width)
        self.pace = Pace(clock, rate=carrier.rate, most=carrier.batch_size) if carrier.rate else None
        self.is_retired = False
        self._users = 0

    @asynccontextmanager
    async def used(self) -> AsyncIterator[None]:
        """In the block the carrier is not closed, though it may be retired."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            await self._close_if_unused()

    @asynccontextmanager
    async def turn(self, rank: int) -> AsyncIterator["Portion"]:
        """The block has a turn at the carrier, for one call. Who waits for the rate has none, and keeps nobody off."""
        if self.pace is None:
            async with self.turns.turn(rank):
                yield Portion(self.carrier.batch_size)
            return
        async with AsyncExitStack() as stack:
            async with self.pace.turn(rank):
                await stack.enter_async_context(self.turns.turn(rank))
                portion = Portion(self.pace.take(self.carrier.batch_size), self.pace)
            stack.callback(portion.use, 0)
            yield portion

    async def retire(self) -> None:
        """No new call begins; after the last one the carrier is closed."""
        self.is_retired = True
        self.release()
        await self._close_if_unused()

    def release(self) -> None:
        """Nobody waits for the rate any more."""
        if self.pace is not None:
            self.pace.release()

    async def _close_if_unused(self) -> None:
        if self.is_retired and not self._users:
            await self.carrier.provider.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """What a lane is: SMS of one account that go by one path."""

    lane: str
    account: Account
    path: Path


def way_of(account: Account, route: str, lane: str) -> Way:
    """Return the way of a lane; a route that is not configured any more is the account's own."""
    return Way(lane=lane, account=account, path=find_path(account, route))


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a carrier stands with us: whether it answers, and how many accounts it has turned away."""

    is_up: bool
    held_accounts: int


class Links:
    """All carriers in use."""

    def __init__(self, carriers: Mapping[str, Carrier], *, clock: Clock, hold_s: float) -> None:
        """`hold_s`: how long an account waits at a carrier that has turned it away."""
        self._clock = clock
        self._hold_s = hold_s
        self._links = {name: Link(carrier, clock) for name, carrier in carriers.items()}
        self._holds: dict[tuple[str, str], Gate] = {}
        self._owed: dict[str, Owed] = {}

    def __iter__(self) -> Iterator[Link]:
        return iter(self._links.values())

    def __getitem__(self, name: str) -> Link:
        return self._links[name]

    def hold_of(self, account: Account, link: Link) -> Gate:
        """Return the gate that the carrier shuts before this account alone."""
        key = (account.name, link.name)
        if key not in self._holds:
            self._holds[key] = Gate(clock=self._clock, first_s=self._hold_s, longest_s=self._hold_s)
        return self._holds[key]

    def held_at(self, name: str) -> tuple[str, ...]:
        """Return the accounts that this carrier has turned away, and that wait there."""
        return tuple(
            sorted(account for (account, link), gate in self._holds.items() if link == name and not gate.is_open)
        )

    def is_open(self, way: Way, link: Link) -> bool:
        """True when an SMS of this way may be handed to this carrier now."""
        return not link.is_retired and link.gate.is_open and self.hold_of(way.account, link).is_open

    def choose(self, way: Way) -> Link | None:
        """Return the carrier that is next for this way; None: its SMS wait."""
        name = choose_provider(way.path, self._up(way), self._owed.get(way.lane, {}))
        return None if name is None else self._links[name]

    def count(self, way: Way, link: Link, sms: int) -> None:
        """So many SMS of this way go to the carrier."""
        if way.path.weights:
            owed = self._owed.get(way.lane, {})
            self._owed[way.lane] = count_sms(way.path, self._up(way), owed, provider=link.name, sms=sms)

    def standings(self) -> dict[str, Standing]:
        """Return how each carrier stands, by its name: for those who watch."""
        held = [name for (_account, name), hold in self._holds.items() if hold.is_suspect]
        return {
            link.name: Standing(is_up=not link.gate.is_suspect, held_accounts=held.count(link.name)) for link in self
        }

    def opens_in_s(self, way: Way) -> float | None:
        """Return in how many seconds one of the carriers of this way may be asked again; None: nobody knows."""
        waits = [
            max(link.gate.opens_in_s, self.hold_of(way.account, link).opens_in_s)
            for name in way.path.providers
            if (link := self._links.get(name)) is not None
        ]
        return min((wait for wait in waits if wait > 0), default=None)

    def nudge(self) -> None:
        """Who waits for a carrier's rate looks at the clock again."""
        for link in self:
            if link.pace is not None:
                link.pace.nudge()

    def release(self) -> None:
        """Nobody waits for a carrier's rate any more: there will be no more calls."""
        for link in self:
            link.release()

    async def reconfigure(self, carriers: Mapping[str, Carrier]) -> None:
        """From now on these are used; holds are lifted, for somebody has acted.

        A carrier that is not among them any more, as the same object, is closed after its last call.
        """
        retired = [link for link in self if carriers.get(link.name) is not link.carrier]
        kept = {link.name: link for link in self if link not in retired}
        self._links = {name: kept.get(name) or Link(carrier, self._clock) for name, carrier in carriers.items()}
        self._holds.clear()
        self._owed.clear()
        for link in retired:
            await link.retire()

    async def close(self) -> None:
        """Every carrier is closed."""
        for link in self:
            await link.carrier.provider.close()

    def _up(self, way: Way) -> set[str]:
        found = (self._links.get(name) for name in way.path.providers)
        return {link.name for link in found if link is not None and self.is_open(way, link)}
