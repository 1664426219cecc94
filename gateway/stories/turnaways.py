"""Who was told no: counted in memory, and stored every few seconds, so that a flood costs no more than a trickle.

What is refused to a stranger is never stored by itself: a stranger could fill the disk with it. Instead there is one
row for what one client, as one sender, was told, with how often and when first and last. Between two writes so many
rows are counted apart, and what comes beyond them goes into one row of its reply; the table has a bound of its own.
Counting is a look into a dictionary. A crash loses the last `EVERY_S` seconds.

Diagnostics: none of its own; `stage_paused` when the store is away, and what was counted is kept meanwhile.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Network, ip_address

from gateway.clock import Clock
from gateway.store import Store, StoreUnavailable
from gateway.store.records import TurnedAwayRecord
from gateway.worker import Bell, Crew, Stage

EVERY_S = 5.0
MOST_ROWS = 500
"""Between two writes."""

MANY = "*"
_MOST_CHARS = 250
_ID_CHARS = 19
_INCIDENT = re.compile(r" \(incident [0-9a-f]+\)")
"""A number that is another each time."""

Facts = Mapping[str, str | int | bool | None]


@dataclass(slots=True)
class _Count:
    first_at: datetime
    last_at: datetime
    count: int
    facts: Facts


class Turnaways:
    """The stage that remembers who was turned away."""

    def __init__(self, *, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._counts: dict[tuple[str, str, str], _Count] = {}
        self._stage = Stage(name="turnaways", bell=Bell(), look=self._look, poll_s=EVERY_S)

    def note(self, *, peer: str, sender: str | None, reply: str, facts: Facts) -> None:
        """A client was told this. Costs microseconds, whoever it is, and however often."""
        now = self._clock.now()
        key = (client_of(peer), (sender or "")[:_MOST_CHARS], _INCIDENT.sub("", reply[:_MOST_CHARS]))
        known = self._counts.get(key)
        if known is None and len(self._counts) >= MOST_ROWS:
            key = (MANY, MANY, key[2]) if len(self._counts) < 2 * MOST_ROWS else (MANY, MANY, MANY)
            known = self._counts.get(key)
        if known is None:
            self._counts[key] = _Count(first_at=now, last_at=now, count=1, facts=facts)
        else:
            known.last_at, known.count, known.facts = now, known.count + 1, facts

    def note_reply(self, peer: str, sender: str | None, reply: object, facts: Facts) -> None:
        """The same, for whoever has the reply as it is."""
        self.note(peer=peer, sender=sender, reply=str(reply), facts=facts)

    async def run(self) -> None:
        """Work until stopped; what was counted by then is stored."""
        await self._stage.run()
        try:
            await self.store()
        except StoreUnavailable:
            return  # the last seconds are not worth a delay of the end

    def stop(self) -> None:
        """Nothing more is waited for."""
        self._stage.stop()

    async def store(self) -> None:
        """What was counted is on disk; if it cannot be, it is still counted."""
        counts = self._counts
        if not counts:
            return
        self._counts = {}
        try:
            await self._store.note_turned_away([_record(key, one) for key, one in counts.items()], self._clock.now())
        except BaseException:
            self._counts = counts | self._counts  # the few that came meanwhile, and were told the same, count anew
            raise

    async def _look(self, _crew: Crew) -> float:
        await self.store()
        return EVERY_S


def client_of(peer: str) -> str:
    """Return what a client is counted by: its address, or its network of IPv6, of which it has all."""
    try:
        address = ip_address(peer)
    except ValueError:
        return peer[:_MOST_CHARS]
    if isinstance(address, IPv4Address):
        return peer
    return str(address.ipv4_mapped or IPv6Network((int(address), 64), strict=False))


def _record(key: tuple[str, str, str], one: _Count) -> TurnedAwayRecord:
    peer, sender, reply = key
    digest = sha256("\0".join(key).encode("utf-8", "surrogatepass")).hexdigest()
    return TurnedAwayRecord(
        id="T" + digest[:_ID_CHARS].upper(),
        peer=peer,
        sender=sender,
        reply=reply,
        count=one.count,
        first_at=one.first_at,
        last_at=one.last_at,
        facts=dict(one.facts),
    )
