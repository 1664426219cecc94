"""What operators do about SMS that wait: held, released, tried again, cancelled. The store moves them, fenced."""

from collections.abc import Callable, Sequence
from datetime import datetime

from gateway.clock import Clock
from gateway.lifecycle import SmsId
from gateway.store import Store
from gateway.store.base import RenderNot
from gateway.store.words import RenderReceipts
from gateway.stories.model import Action, Done


class Desk:
    """Moves SMS as an operator says, also beside a daemon at work, which sees it by itself."""

    def __init__(
        self, store: Store, clock: Clock, writers: Callable[[datetime], tuple[RenderNot, RenderReceipts]]
    ) -> None:
        """Be ready. `writers` gives what writes the reports of one transaction: `ReportWriter(...).both`."""

    async def act(self, action: Action, ids: Sequence[SmsId], *, by: str, may_double: bool = False) -> Done:
        """The action is done to those of these SMS (500 at most) it applies to; each is in the answer.

        `by` names who says so ("operator" on the command line, a user in the console); it is kept. An uncertain SMS is
        only tried again with `may_double`, for it may have been sent.
        """
        raise NotImplementedError
