"""What operators do about SMS that wait: held, released, tried again, cancelled. The store moves them, fenced.

Who did what, and when, is kept in the table `operation`, and is part of the story of the mail.
"""

from collections.abc import Callable, Sequence
from datetime import datetime

from gateway.clock import Clock
from gateway.lifecycle import SMS_MOVES, SmsEvent, SmsId, SmsState
from gateway.store import Store
from gateway.store.base import RenderNot
from gateway.store.operating import Operated
from gateway.store.records import SmsRecord
from gateway.store.words import RenderReceipts
from gateway.stories.model import Action, Done, Moved

_EVENTS = {
    Action.HOLD: SmsEvent.HELD,
    Action.RELEASE: SmsEvent.RELEASED,
    Action.RETRY: SmsEvent.RESENT,
    Action.CANCEL: SmsEvent.CANCELLED,
}
_FOLLOWS = {
    Action.HOLD: "waits until it is released, or expires",
    Action.RELEASE: "goes when it is due",
    Action.RETRY: "goes now, if hours and carrier allow",
    Action.CANCEL: "is never sent; its sender is told with code 999",
}
_WHY_NOT = {
    SmsState.QUEUED: "it is not held",
    SmsState.HELD: "it is held: release it",
    SmsState.SENDING: "a carrier is being called with it",
    SmsState.UNCERTAIN: "it may have been sent",
    SmsState.ACCEPTED: "a carrier has it",
}


class Desk:
    """Moves SMS as an operator says, also beside a daemon at work, which sees it by itself."""

    def __init__(
        self, store: Store, clock: Clock, writers: Callable[[datetime], tuple[RenderNot, RenderReceipts]]
    ) -> None:
        """Be ready. `writers` gives what writes the reports of one transaction: `ReportWriter(...).both`."""
        self._store = store
        self._clock = clock
        self._writers = writers

    async def act(self, action: Action, ids: Sequence[SmsId], *, by: str, may_double: bool = False) -> Done:
        """The action is done to those of these SMS (500 at most) it applies to; each is in the answer.

        `by` names who says so ("operator" on the command line, a user in the console); it is kept. An uncertain SMS is
        only tried again with `may_double`, for it may have been sent.
        """
        now = self._clock.now()
        write_not, write_receipts = self._writers(now)
        done = await self._store.operate(
            action.value,
            ids,
            actor=by,
            now=now,
            render_not=write_not,
            render_receipts=write_receipts,
            may_double=may_double,
        )
        moved = tuple(_moved(action, row, done) for row in done.before.values())
        return Done(action=action, moved=moved, reports=len(done.reports))


def _moved(action: Action, row: SmsRecord, done: Operated) -> Moved:
    has_changed = row.id in done.done
    after = SMS_MOVES[row.state].get(_EVENTS[action], row.state) if has_changed else row.state
    return Moved(
        sms_id=row.id,
        mail_id=row.mail_id,
        account=row.account,
        before=row.state,
        after=after,
        has_changed=has_changed,
        note=_FOLLOWS[action] if has_changed else _why_not(action, row),
    )


def _why_not(action: Action, row: SmsRecord) -> str:
    if action is Action.RETRY and row.state is SmsState.QUEUED:
        return "it is due already"
    if action is Action.HOLD and row.state is SmsState.HELD:
        return "it is held already"
    return _WHY_NOT.get(row.state, f"it is at its end: {row.state.value}")
