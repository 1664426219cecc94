"""Whether the gateway is alive and ready, and how it is: what supervisors, load balancers and operators are told.

Ready means that mail is taken and stored. Alive means proven at this moment: a transaction was committed, whoever
connects is answered, and no stage is stuck in a look at its rows. A store that says "not now" at once is alive: a
restart would not bring it back, and clients would no longer hear 451. One that does not answer in time is not.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.errors import GatewayError
from gateway.smtp.doors import Door, answers
from gateway.store import StoreUnavailable
from gateway.store.base import Backlog
from gateway.worker import Stage

LONGEST_LOOK_S = 180.0
"""A look at rows is some steps of the store, each of which has a deadline of seconds."""

_ASK_S = 5.0
_UNDER_WAY = "sending"


class Heart(Protocol):
    """What is asked of the store."""

    async def ping(self) -> None:
        """The store has answered."""

    async def beat(self) -> None:
        """A transaction was committed."""

    async def backlog(self) -> Backlog:
        """How much waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """Of a gateway at work."""

    store: Heart
    stages: Sequence[Stage]
    doors: Callable[[], Sequence[Door]]
    count_clients: Callable[[], int]
    find_shortages: Callable[[], Sequence[str]]
    is_draining: Callable[[], bool]

    async def find_obstacles(self) -> Sequence[str]:
        """Return why no mail is taken, one sentence each; nothing when it is."""
        try:
            async with asyncio.timeout(_ASK_S):
                await self.store.ping()
        except (GatewayError, TimeoutError):
            return self.list_obstacles(is_store_up=False)
        return self.list_obstacles(is_store_up=True)

    def list_obstacles(self, *, is_store_up: bool) -> list[str]:
        """Return the same, the store not asked."""
        obstacles = ["draining"] if self.is_draining() else []
        obstacles += self.find_shortages()
        if not is_store_up:
            obstacles.append("the store does not answer")
        return obstacles

    async def count_backlog(self) -> Backlog | None:
        """Return how much waits; None when the store cannot say."""
        try:
            async with asyncio.timeout(_ASK_S):
                return await self.store.backlog()
        except (StoreUnavailable, TimeoutError):
            return None

    async def find_dead(self, deadline_s: float) -> list[str]:
        """Return what is not alive, within the deadline; nothing when all is. Raises StoreUnusable."""
        dead = [
            f"the stage {stage.name} is stuck in one look since {stage.looks_for_s:.0f} s"
            for stage in self.stages
            if stage.looks_for_s > LONGEST_LOOK_S
        ]
        async with asyncio.TaskGroup() as group:
            knocks = [(door, group.create_task(_is_answered(door, deadline_s))) for door in self.doors()]
            commits = await self._commits(deadline_s)
        if not commits:
            dead.append("the store commits nothing")
        if not self.is_draining():
            dead += [
                f'the listener "{door.listener}" at {door.host}:{door.port} does not answer'
                for door, knock in knocks
                if not knock.result()
            ]
        return dead

    async def describe(self) -> str:
        """Return one line for whoever asks the supervisor: whether mail is taken, and what waits."""
        obstacles = await self.find_obstacles()
        words = ["NOT taking mail: " + ", ".join(obstacles) if obstacles else "taking mail"]
        backlog = await self.count_backlog()
        if backlog is None:
            return words[0]
        sms, reports = backlog.sms, backlog.reports
        words.append(
            f"{_many(sms.get('queued', 0), 'SMS', 'SMS')} wait, {sms.get(_UNDER_WAY, 0)} under way, "
            f"{sms.get('uncertain', 0)} in doubt"
        )
        words.append(_many(sum(reports.values()), "report", "reports") + " to be mailed")
        words.append(_many(self.count_clients(), "client", "clients") + " connected")
        return "; ".join(words)

    async def _commits(self, deadline_s: float) -> bool:
        # The first timeout cuts the transaction off and waits for its end; the second is for one that has none
        try:
            async with asyncio.timeout(deadline_s), asyncio.timeout(deadline_s * 0.8):
                await self.store.beat()
        except StoreUnavailable as error:
            return not isinstance(error.__cause__, TimeoutError)
        except TimeoutError:
            return False
        return True


def _many(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


async def _is_answered(door: Door, deadline_s: float) -> bool:
    try:
        async with asyncio.timeout(deadline_s):
            return await answers(door)
    except TimeoutError:
        return False
    except OSError:
        return True  # we could not knock
