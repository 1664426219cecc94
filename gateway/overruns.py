"""What quotas held back, told in the end; and counters that no longer count, forgotten (docs/protocol.md §10.5).

Promises. What a quota held back from a number, a sender or an account is told once, when its window is over: a line in
the log for each, and one mail to the account's contact for all of them. At full quarters of an hour, so that a storm
of alerts does not become one of mails. What is to be told is a row, so nothing is lost with the process.

Diagnostics: event `quota_overrun` (warning).
"""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from functools import partial

import structlog

from gateway.alarms import describe_subject, find_writer
from gateway.clock import Clock
from gateway.policy.accounts import Accounts
from gateway.reports import ReportRules
from gateway.store import Store
from gateway.store.base import NewReport
from gateway.store.budget import Overrun
from gateway.worker import Bell, Crew, Stage

_log = structlog.get_logger(__name__)

_AT_ONCE = 500
_EVERY_S = 30.0


class Overruns:
    """The stage that tells of them, every half minute."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        accounts: Callable[[], Accounts],
        rules: ReportRules,
        own_addresses: Collection[str],
        mailer_bell: Bell,
    ) -> None:
        """Be ready to tell. `accounts` returns those in force."""
        self._store = store
        self._clock = clock
        self._accounts = accounts
        self._rules = rules
        self._own_addresses = own_addresses
        self._mailer_bell = mailer_bell
        self._stage = Stage(name="overruns", bell=Bell(), look=self._look, poll_s=_EVERY_S)

    async def run(self) -> None:
        """Work until stopped."""
        await self._stage.run()

    def stop(self) -> None:
        """No further round begins."""
        self._stage.stop()

    async def tell(self) -> bool:
        """What is due is told, and what no longer counts is gone; return whether more is left."""
        now = self._clock.now()
        told = await self._store.tell_overruns(now, _AT_ONCE, partial(self._render, now=now))
        for one in told.overruns:
            _log.warning(
                "quota_overrun",
                account=one.account,
                quota=one.quota,
                limit=one.sentence,
                subject=describe_subject(one.subject),
                held_back=one.sms,
                began_at=one.began_at.isoformat(),
                last_at=one.last_at.isoformat(),
            )
        if told.reports:
            self._mailer_bell.ring()
        forgotten = await self._store.forget_used(now)
        return len(told.overruns) >= _AT_ONCE or forgotten >= _AT_ONCE

    def _render(self, name: str, overruns: Sequence[Overrun], *, now: datetime) -> NewReport | None:
        """Return the mail to the account's contact; None: there is nobody to be told."""
        account = self._accounts().by_name(name)
        writer = None if account is None else find_writer(account, self._own_addresses, self._rules)
        return None if writer is None else writer.sum_up(name, overruns, now)

    async def _look(self, _crew: Crew) -> float:
        return 0.0 if await self.tell() else _EVERY_S
