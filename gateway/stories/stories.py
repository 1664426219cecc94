"""The stories of one store: found, told, counted. Reads only; `desk` is what moves things."""

from collections.abc import Callable
from datetime import datetime

from gateway.clock import Clock
from gateway.policy.accounts import Accounts
from gateway.store import Store
from gateway.stories.model import Filter, Found, FoundPage, Page, QueuePage, Stats, StatsBy, Story


class Stories:
    """Answers from what is stored, beside a daemon at work or without one.

    Every method raises what the store raises: `StoreUnavailable` for "not now".
    """

    def __init__(self, store: Store, clock: Clock, accounts: Callable[[], Accounts]) -> None:
        """Be ready. `accounts`, as configured now, tell which carrier an SMS waits for, and where times are local."""

    async def find(self, text: str) -> list[Found]:
        """Return what `text` may mean, the newest first, 50 at most.

        An emailId; a Message-ID, with or without <>; our id of a mail, envoi, SMS, report or refusal, or a tracker; a
        carrier's reference; a number in any spelling; an address of a sender or of a client; a time in UTC,
        "2026-11-22 14:03" or "14:03" for today's, with what came in that minute; words of a refusal.
        """
        raise NotImplementedError

    async def story(self, id: str) -> Story | None:  # noqa: A002
        """Return the life of the mail, refusal or count with this `Found.id`; None when there is none."""
        raise NotImplementedError

    async def search(self, wanted: Filter, page: Page = Page()) -> FoundPage:  # noqa: B008
        """Return the mails and refusals that are as wanted, the newest first."""
        raise NotImplementedError

    async def queue(self, wanted: Filter, page: Page = Page()) -> QueuePage:  # noqa: B008
        """Return the SMS that wait (queued, held, sending, uncertain; others by `states`) and are as wanted."""
        raise NotImplementedError

    async def stats(self, by: StatsBy, since: datetime) -> Stats:
        """Return what came since then, counted, and what waits now."""
        raise NotImplementedError
