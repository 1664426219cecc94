"""The stories of one store: found, told, counted. Reads only; `desk` is what moves things."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import MAXYEAR, UTC, datetime, timedelta
from ipaddress import ip_address

from gateway.clock import Clock
from gateway.lifecycle import SmsState
from gateway.policy.accounts import Accounts
from gateway.policy.routing import find_path
from gateway.store import Store
from gateway.store.base import split_lane
from gateway.store.finding import Wanted
from gateway.store.listing import Marks
from gateway.store.records import Blocked, Count, Line, MailLine, RefusalRecord, SmsRecord, TurnedAwayRecord
from gateway.stories.mail_story import Scene, tell_mail
from gateway.stories.model import (
    Filter,
    Found,
    FoundKind,
    FoundPage,
    Page,
    QueuePage,
    QueueRow,
    Stats,
    StatsBy,
    StatsRow,
    Step,
    StepKind,
    Story,
    Waiting,
)
from gateway.stories.refusal_story import reason_of_turned_away, tell_refusal, tell_turned_away
from gateway.stories.sms_story import SmsLife, waits_for
from gateway.stories.turnaways import client_of
from gateway.text.msisdn import Msisdn, parse_number

_NO_PAGE = Page()
_HOUR = timedelta(hours=1)
_MOST_HOURS = 24 * 31
_TIME = re.compile(r"(?:(\d{4})-(\d{2})-(\d{2})[ T])?(\d{1,2}):(\d{2})")
_MOST_TEXT = 1_000


class Stories:
    """Answers from what is stored, beside a daemon at work or without one.

    Every method raises what the store raises: `StoreUnavailable` for "not now".
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        accounts: Callable[[], Accounts],
        *,
        is_serving: Callable[[], bool | None] = lambda: None,
    ) -> None:
        """Be ready. `accounts`, as configured now, tell which carrier an SMS waits for.

        `is_serving` says whether a gateway works on this store; None: it is not known.
        """
        self._store = store
        self._clock = clock
        self._accounts = accounts
        self._is_serving = is_serving

    # --- one ---------------------------------------------------------------------------------------------------------

    async def find(self, text: str) -> list[Found]:
        """Return what `text` may mean, the newest first, 50 at most.

        An emailId; a Message-ID, with or without <>; our id of a mail, envoi, SMS, report or refusal, or a tracker; a
        carrier's reference; a number in any spelling; an address of a sender or of a client; a time in UTC,
        "2026-11-22 14:03" or "14:03" for today's, with what came in that minute; words of a refusal.
        """
        text = text.strip()[:_MOST_TEXT]
        if not text:
            return []
        number = parse_number(text)
        wanted = Wanted(
            text=text,
            msisdn=number.e164 if isinstance(number, Msisdn) else None,
            minute=read_minute(text, self._clock.now()),
            peers=_peers(text),
        )
        return [_found(line) for line in await self._store.find_mails(wanted)]

    async def story(self, id: str) -> Story | None:  # noqa: A002
        """Return the life of the mail, refusal or count with this `Found.id`; None when there is none."""
        now = self._clock.now()
        accounts = self._accounts()
        life = await self._store.mail_life(id, now)
        if life is not None:
            scene = Scene(now=now, find_account=accounts.by_name, is_serving=self._is_serving())
            found = _found_of(await self._store.mail_lines([life.mail.id]), id)
            steps = tell_mail(life, scene)
            return None if found is None else Story(found=found, reason=_reason(found, steps), steps=steps)
        refused = await self._store.refusal_life(id)
        if refused is not None:
            steps = tell_refusal(refused, now)
            return Story(found=_found(refused.refusal), reason=steps[1].sentence, steps=steps)
        away = await self._store.turned_away(id)
        if away is not None:
            every = tuple(accounts)
            return Story(
                found=_found(away), reason=reason_of_turned_away(away, every), steps=tell_turned_away(away, every)
            )
        return None

    # --- lists -------------------------------------------------------------------------------------------------------

    async def search(self, wanted: Filter, page: Page = _NO_PAGE) -> FoundPage:
        """Return the mails and refusals that are as wanted, the newest first."""
        marks = await self._marks(wanted)
        found = await self._store.search_mails(marks, _size(page), page.after)
        return FoundPage(rows=tuple(map(_found, found.lines)), next=found.next)

    async def queue(self, wanted: Filter, page: Page = _NO_PAGE) -> QueuePage:
        """Return the SMS that wait (queued, held, sending, uncertain; others by `states`) and are as wanted."""
        marks = await self._marks(wanted)
        found = await self._store.waiting_sms(marks, _size(page), page.after)
        now, accounts = self._clock.now(), self._accounts()
        blocked = await self._store.blocked(found.sms, now)
        rows = tuple(self._queue_row(one, accounts, blocked, now) for one in found.sms)
        return QueuePage(rows=rows, next=found.next)

    def _queue_row(self, sms: SmsRecord, accounts: Accounts, blocked: Mapping[str, Blocked], now: datetime) -> QueueRow:
        trouble = blocked.get(sms.lane or "")
        life = SmsLife(
            # A carrier's answer is for the story: it may be about another SMS, and name its number
            blocked=None if trouble is None else replace(trouble, raw=None),
            sms=sms,
            received_at=sms.since_at,
            account=accounts.by_name(sms.account),
            is_serving=self._is_serving(),
        )
        told = waits_for(life, now)
        return QueueRow(
            sms_id=sms.id,
            mail_id=sms.mail_id,
            envoi_id=sms.envoi_id,
            account=sms.account,
            provider=sms.provider,
            state=sms.state,
            position=sms.position,
            tel=sms.tel,
            msisdn=sms.msisdn,
            text=sms.text,
            parts=sms.parts,
            attempts=sms.attempts,
            since_at=sms.since_at,
            due_at=sms.due_at,
            expires_at=sms.expires_at,
            reason=sms.reason,
            epoch=sms.epoch,
            waits_for="nothing" if told is None else told[0],
        )

    async def _marks(self, wanted: Filter) -> Marks:
        number = None if wanted.number is None else parse_number(wanted.number)
        named = [text for text in (wanted.email_id, wanted.envoi) if text is not None]
        mails: set[str] | None = None
        for text in named:
            lines = await self._store.find_mails(Wanted(text=text))
            ids = {_found(line).id for line in lines}
            mails = ids if mails is None else mails & ids
        return Marks(
            account=wanted.account,
            provider=wanted.provider,
            states=wanted.states,
            since=wanted.since,
            until=wanted.until,
            msisdn=number.e164 if isinstance(number, Msisdn) else None,
            tel=wanted.number,
            mails=None if mails is None else tuple(sorted(mails)),
            text=wanted.text,
        )

    # --- numbers -----------------------------------------------------------------------------------------------------

    async def stats(self, by: StatsBy, since: datetime) -> Stats:
        """Return what came since then, counted, and what waits now. By hour, the last 31 days at most."""
        now = self._clock.now()
        if by is StatsBy.HOUR:
            counts = await self._count_hours(since, now)
        else:
            counts = await self._store.count_sms(by.value, since, now + _HOUR)
        keys = sorted({one.key for one in counts})
        ages = await self._store.waiting_ages(now, self._carrier_of)
        return Stats(
            by=by,
            since=since,
            rows=tuple(_stats_row(key, [one for one in counts if one.key == key]) for key in keys),
            total=_stats_row("total", counts),
            waiting=tuple(_waiting(name, sorted(found)) for name, found in sorted(ages.items())),
        )

    async def _count_hours(self, since: datetime, now: datetime) -> Sequence[Count]:
        begin = max(since, now - _MOST_HOURS * _HOUR)
        counts: list[Count] = []
        while begin <= now:
            hour = begin.replace(minute=0, second=0, microsecond=0)
            found = await self._store.count_sms(StatsBy.STATE.value, begin, hour + _HOUR)
            counts += [replace(one, key=f"{hour:%Y-%m-%d %H}:00") for one in found]
            begin = hour + _HOUR
        return counts

    def _carrier_of(self, lane: str, provider: str | None) -> str:
        """Return the first carrier of the lane; it may go to the next if that one is down."""
        name, route = split_lane(lane)
        account = self._accounts().by_name(name)
        if account is None:
            return provider or "(no account)"
        return find_path(account, route).providers[0]


# --- words to looks --------------------------------------------------------------------------------------------------


def read_minute(text: str, now: datetime) -> datetime | None:
    """Return the minute that "2026-11-22 14:03" or "14:03", of today, means in UTC; None: it is no time."""
    found = _TIME.fullmatch(text.removesuffix("Z").removesuffix(" UTC"))
    if found is None:
        return None
    year, month, day, hour, minute = found.groups()
    try:
        if year is None:
            return now.astimezone(UTC).replace(hour=int(hour), minute=int(minute), second=0, microsecond=0)
        begin = datetime(int(year), int(month), int(day), int(hour), int(minute), tzinfo=UTC)
    except ValueError:
        return None
    return begin if begin.year < MAXYEAR else None  # its end is looked for, too


def _peers(text: str) -> tuple[str, ...]:
    try:
        return (str(ip_address(text)), client_of(text))
    except ValueError:
        return ()


def _size(page: Page) -> int:
    return min(max(page.size, 1), 500)


# --- rows to words ---------------------------------------------------------------------------------------------------


def _found_of(lines: Iterable[Line], id: str) -> Found | None:  # noqa: A002
    return next((found for found in map(_found, lines) if found.id == id), None)


def _found(line: Line) -> Found:
    match line:
        case MailLine():
            return _found_mail(line)
        case RefusalRecord():
            return Found(
                kind=FoundKind.REFUSAL,
                id=line.id,
                at=line.refused_at,
                account=line.account,
                peer=line.peer,
                sender=line.header_from or line.envelope_from,
                email_id=line.email_id,
                message_id=line.message_id,
                summary=f"refused: {line.cause}",
            )
        case TurnedAwayRecord():
            return Found(
                kind=FoundKind.TURNED_AWAY,
                id=line.id,
                at=line.last_at,
                account=None,
                peer=line.peer,
                sender=line.sender,
                email_id=None,
                message_id=None,
                summary=f"turned away: {line.reply}",
                count=line.count,
            )


def _found_mail(line: MailLine) -> Found:
    mail = line.mail
    known = (mail.facts or {}).get("email_id")
    return Found(
        kind=FoundKind.MAIL,
        id=mail.id,
        at=mail.received_at,
        account=mail.account,
        peer=mail.peer,
        sender=mail.header_from or mail.envelope_from,
        email_id=line.email_id or (str(known) if known else None),
        message_id=mail.message_id,
        summary=_summary(line),
        states={state.value: number for state, number in line.states.items()},
    )


def _summary(line: MailLine) -> str:
    if line.mail.duplicate_of is not None:
        return "duplicate: its emailId was used before"
    if line.envoi_id is None:
        return "no emailId: nothing is sent"
    if line.fault is not None:
        return f"code {line.fault.value} {line.fault.label}: nothing is sent"
    total = sum(line.states.values())
    each = ", ".join(f"{number} {state.value}" for state, number in line.states.items())
    # What waits may have a code of its last attempt, which is not its answer
    is_ended = any(state.is_answered and state is not SmsState.ACCEPTED for state in line.states)
    codes = [f"{code.value} {code.label}" for code in line.codes if code.value and is_ended]
    return f"{total} SMS: {each}" + (f" (code {'; '.join(codes)})" if codes else "")


def _reason(found: Found, steps: Sequence[Step]) -> str:
    """Return the one line: the first thing that went wrong, else what is waited for, else how it ended."""
    telling = (
        StepKind.WITHOUT_ID,
        StepKind.DUPLICATE,
        StepKind.FAULT,
        StepKind.SMS_REFUSED,
        StepKind.NEXT,
        StepKind.STANDS,
        StepKind.REPORT_STANDS,
        StepKind.NO_REPORT,
    )
    for kind in telling:
        for step in steps:
            if step.kind is kind and step.is_trouble:
                return _with_number(found, step, steps) if step.sms_id else step.sentence
    waits = next((step for step in steps if step.kind is StepKind.NEXT), None)
    return f"{found.summary}; {waits.sentence}" if waits is not None else found.summary


def _with_number(found: Found, step: Step, steps: Sequence[Step]) -> str:
    """Return what is wrong with one SMS, how many there are, and what comes next for it."""
    states = ", ".join(f"{number} {state}" for state, number in found.states.items())
    comes = (one.sentence for one in steps if one.kind is StepKind.NEXT and one.sms_id == step.sms_id)
    after = next(comes, None) if step.kind is StepKind.STANDS else None
    return f"{sum(found.states.values())} SMS: {states}: {step.sentence}" + (f"; {after}" if after else "")


# --- counts to rows --------------------------------------------------------------------------------------------------


def _stats_row(key: str, counts: Sequence[Count]) -> StatsRow:
    states: Counter[str] = Counter()
    costs: Counter[str] = Counter()
    for one in counts:
        states[one.state.value] += one.sms
        if one.currency is not None:
            costs[one.currency] += one.cost_micros
    return StatsRow(
        key=key,
        sms=sum(one.sms for one in counts),
        parts=sum(one.parts for one in counts),
        states=dict(states),
        costs_micros=dict(costs),
        delivery_rate=_rate(states),
    )


def _rate(states: Mapping[str, int]) -> float | None:
    delivered, not_ = states.get("delivered", 0), states.get("undelivered", 0)
    return None if not delivered + not_ else delivered / (delivered + not_)


def _waiting(provider: str, ages: Sequence[tuple[float, int]]) -> Waiting:
    """Return how long they wait; ages ascend, each with how many are so old, and there is one at least."""
    total = sum(number for _, number in ages)
    return Waiting(
        provider=provider,
        sms=total,
        oldest_s=ages[-1][0],
        p50_s=_at_rank(ages, (total - 1) // 2),
        p95_s=_at_rank(ages, min(total - 1, int(total * 0.95))),
    )


def _at_rank(ages: Sequence[tuple[float, int]], rank: int) -> float:
    before = 0
    for age_s, number in ages:
        before += number
        if before > rank:
            return age_s
    return ages[-1][0]
