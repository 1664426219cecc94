"""The account of what was done in the console: on disk before its page says so, and in the log."""

import structlog

from gateway.clock import Clock
from gateway.console.visit import Visit
from gateway.ids import new_id
from gateway.store import Store
from gateway.store.console import ConsoleAction

_log = structlog.get_logger(__name__)


class Ledger:
    """Writes it down."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def note(self, visit: Visit, action: str, *, about: str, outcome: str, who: str | None = None) -> None:
        """This was done, or tried, by the visitor. `about` has no text of an SMS, and no whole number."""
        now = self._clock.now()
        done = ConsoleAction(
            id=new_id(now),
            at=now,
            who=visit.who if who is None else who,
            peer=visit.peer,
            action=action,
            object=about,
            outcome=outcome,
        )
        await self._store.note_action(done)
        _log.info("console_acted", who=done.who, peer=done.peer, action=action, object=about, outcome=outcome)
