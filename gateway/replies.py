"""What people answer by SMS: each reply stored once, heeded if it is a STOP, mailed to whom it concerns.

Promises (docs/protocol.md §8.6). When `take` returns, the replies are on disk with all that follows from them; that a
carrier calls twice changes nothing. Parts of a long reply are joined; after `PATIENCE` what there is goes on as it is,
and says so. A STOP puts the number on the list of the account whose SMS it answers, or, when that cannot be told, on
everybody's; what waited for the number is cancelled in the same transaction. A STOP is mailed like any other reply.
Nothing is ever sent by SMS because of a reply.

Diagnostics: events `reply_taken` (info), `reply_unclaimed`, `reply_cut` (warning); those of `outcomes` for what a STOP
cancels; metric `mail2sms_replies_total`.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import assert_never

import structlog
from prometheus_client import Counter

from gateway.clock import Clock
from gateway.metrics import REGISTRY
from gateway.outcomes import tell_stopped
from gateway.policy.accounts import Accounts
from gateway.policy.optout import find_exempt, find_sole_users, is_stop, list_keepers
from gateway.protocol.report import ReportKind
from gateway.providers.base import Reply
from gateway.reply_mail import write_reply
from gateway.reports import ReportRules, ReportWriter
from gateway.store import Store
from gateway.store.replies import mark_of
from gateway.store.two_way import (
    NewPart,
    NewReply,
    PartKey,
    ReplyIncomplete,
    ReplyKnown,
    ReplyOutcome,
    ReplyRules,
    ReplyStored,
    StopRules,
)
from gateway.text.msisdn import mask
from gateway.worker import Bell, Crew, Stage

_log = structlog.get_logger(__name__)

_REPLIES = Counter("mail2sms_replies_total", "Replies by SMS, by what became of them.", ("outcome",), registry=REGISTRY)

PATIENCE = timedelta(minutes=10)
"""So long the first part of a long reply waits for the others."""

_PARTS_KEPT = timedelta(days=1)
"""So long parts are kept after that, to be recognised when they come again."""

_SAME_WITHIN_S = 900
"""A reply that has no name and no time of its own is the same when all else is, and so little time lies between: at
least so long, at most twice."""

_POLL_S = 60.0
_AT_ONCE = 50
_TEXT_CHARS = 4000
_UNPRINTABLE = {point: None for point in (*range(0x20), 0x7F) if point not in (0x09, 0x0A)}


class Replies:
    """Takes replies from whoever hears the carriers, and is the stage that waits for missing parts."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        accounts: Callable[[], Accounts],
        syncing: Callable[[], Sequence[str]],
        rules: ReportRules,
        own_addresses: frozenset[str],
        mailer_bell: Bell,
        sync_bell: Bell,
    ) -> None:
        """Be ready to take replies.

        `syncing` returns the carriers that are to be told of opt-outs; `own_addresses` are the gateway's, to which no
        reply is mailed.
        """
        self._store = store
        self._clock = clock
        self._accounts = accounts
        self._syncing = syncing
        self._rules = rules
        self._own_addresses = own_addresses
        self._mailer_bell = mailer_bell
        self._sync_bell = sync_bell
        self._stage = Stage(name="replies", bell=Bell(), look=self._look, poll_s=_POLL_S)

    async def run(self) -> None:
        """Work until stopped."""
        await self._stage.run()

    def stop(self) -> None:
        """No further look begins; `take` goes on working."""
        self._stage.stop()

    async def take(self, provider: str, replies: Sequence[Reply]) -> None:
        """All of these are on disk, or were before.

        Raises StoreUnavailable when one could not be stored: the carrier is to call again, with all of them.
        """
        for reply in replies:
            now = self._clock.now()
            writer = self._new_writer(now)
            outcome = await self._store.take_reply(_as_new(provider, reply, now), self._reply_rules(now), *writer.both)
            self._tell(outcome, writer)

    async def _look(self, _crew: Crew) -> float:
        """Long replies that have waited long enough go on as they are; return when to look again."""
        now = self._clock.now()
        overdue = await self._store.overdue_replies(now - PATIENCE, now, _AT_ONCE)
        for key in overdue:
            await self._finish(key, now)
        if not overdue:
            await self._store.forget_parts(now - _PARTS_KEPT)
        return 0.0 if len(overdue) == _AT_ONCE else _POLL_S

    async def _finish(self, key: PartKey, now: datetime) -> None:
        writer = self._new_writer(now)
        self._tell(await self._store.finish_reply(key, now, self._reply_rules(now), *writer.both), writer)

    def _new_writer(self, now: datetime) -> ReportWriter:
        return ReportWriter(now=now, rules=self._rules, accounts=self._accounts)

    def _reply_rules(self, now: datetime) -> ReplyRules:
        accounts = self._accounts()
        return ReplyRules(
            is_stop=is_stop,
            render=partial(
                write_reply, accounts=accounts, now=now, rules=self._rules, own_addresses=self._own_addresses
            ),
            owners=find_sole_users(accounts),
            stop=StopRules(exempt=find_exempt(accounts), users=list_keepers(accounts, self._syncing())),
        )

    def _tell(self, outcome: ReplyOutcome, writer: ReportWriter) -> None:
        match outcome:
            case ReplyStored():
                self._tell_stored(outcome)
                writer.tell(outcome.stopped.reports)
            case ReplyKnown():
                _REPLIES.labels("known").inc()
            case ReplyIncomplete():
                _REPLIES.labels("part").inc()
            case _:
                assert_never(outcome)

    def _tell_stored(self, stored: ReplyStored) -> None:
        reply = stored.reply
        _REPLIES.labels("stop" if reply.is_stop else "taken").inc()
        log = _log.bind(reply_id=reply.id, provider=reply.provider, msisdn=mask(reply.msisdn))
        log.info(
            "reply_taken",
            account=reply.account,
            sms_id=reply.answers.sms_id if reply.answers else None,
            is_stop=reply.is_stop,
            report_id=stored.report,
        )
        if reply.account is None:
            log.warning(
                "reply_unclaimed", advice="no SMS to this number is known, and several accounts use the carrier"
            )
        if not reply.is_whole:
            log.warning("reply_cut", parts=reply.parts, total=reply.total)
        if stored.report is not None:
            _log.info("report_staged", report_id=stored.report, kind=ReportKind.REPLY)
        tell_stopped(stored.stopped)
        if stored.report is not None or stored.stopped.reports:
            self._mailer_bell.ring()
        if reply.is_stop:
            self._sync_bell.ring()


def _as_new(provider: str, reply: Reply, now: datetime) -> NewReply:
    """Return what is stored of a carrier's word."""
    part = reply.part
    text = clean_text(reply.text)
    return NewReply(
        received_at=now,
        provider=provider,
        msisdn=reply.msisdn,
        sent_to=reply.to,
        text=text,
        raw=reply.raw,
        marks=_marks(provider, reply, text, now) if part is None else (),
        tracker=reply.tracker,
        provider_ref=reply.provider_ref,
        is_stop=reply.is_stop,
        part=None
        if part is None
        else NewPart(
            key=PartKey(provider=provider, msisdn=reply.msisdn, sent_to=reply.to or "", reference=part.reference),
            number=part.number,
            total=part.total,
        ),
    )


def clean_text(text: str) -> str:
    """Return the text with plain line ends and without what neither a database nor a mail can hold."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").translate(_UNPRINTABLE)
    return lines.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")[:_TEXT_CHARS]


def _marks(provider: str, reply: Reply, text: str, now: datetime) -> tuple[bytes, ...]:
    """Return what the reply is recognised by when it comes again: its name, else its time, else when it came."""
    if reply.reference is not None:
        return (mark_of("reference", provider, reply.reference),)
    content = (provider, reply.msisdn, reply.to or "", reply.tracker or "", reply.provider_ref or "", text)
    if reply.at is not None:
        return (mark_of("time", *content, reply.at.isoformat()),)
    period = int(now.timestamp() // _SAME_WITHIN_S)
    return tuple(mark_of("period", *content, str(one)) for one in (period, period - 1))
