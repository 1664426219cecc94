"""What an account may use in a while, and what was used of it: values and sums. `store.quotas` reads and writes them.

A quota is a `Limit` here, which counts for subjects: a number, a sender, or "" when all counts together. What a subject
used is kept in slots. All that may still lie within the window counts, the oldest slot whole: so no stretch of time as
long as the window ever holds more than the limit, and what was used is free again one slot late at most.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from gateway.lifecycle import MailId

Measure = Callable[[str, int], tuple[str, int] | None]
"""Given the number (E.164) and the parts of an SMS: the subject it counts for, and how much. None: it does not."""

Key = tuple[str, str, str]
"""An account, one of its quotas, a subject."""

TOLERANCE = timedelta(minutes=1)
"""Nodes do not agree to the second; what lies further ahead is left from before the clock was set back."""

_TOLD_EVERY = timedelta(minutes=15)
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """How much of one thing may be used in a while."""

    key: str
    sentence: str  # for people
    most: int
    window: timedelta
    slot: timedelta
    measure: Measure | None = None  # None: mails are counted
    subject: str = ""  # that a mail counts for
    is_guard: bool = False  # for each number by itself: its account is told in the end what it held back

    def slot_at(self, now: datetime) -> datetime:
        """When the slot began that is under way."""
        return floor(now, self.slot)

    def ends_at(self, now: datetime) -> datetime:
        """When what is used now no longer counts."""
        return self.slot_at(now) + self.slot + self.window


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeWatch:
    """When the parts that an account sends in an hour of the clock are unusual; 0: never."""

    threshold: int
    factor: float  # times what its busiest hour of a day usually has


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What an account may use, and when somebody is to be told."""

    limits: tuple[Limit, ...] = ()
    volume: VolumeWatch | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaSpent:
    """A quota was not enough for an SMS, for the first time in a while."""

    account: str
    at: datetime
    quota: str
    sentence: str
    subject: str = field(repr=False)
    is_guard: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeUnusual:
    """An account sent more in an hour than is usual, and had not done so in the hour before."""

    account: str
    at: datetime
    parts: int  # in this hour so far
    threshold: int
    usual: int | None  # parts; None: not known, and the threshold is a number of its own


Alarm = QuotaSpent | VolumeUnusual


@dataclass(frozen=True, slots=True, kw_only=True)
class Deferred:
    """More mails than a quota allows: nothing was written, and the client is to come back later."""

    account: str
    quota: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrun:
    """What a quota has held back from a subject since it was spent; told of at `due_at`."""

    account: str
    quota: str
    subject: str = field(repr=False)
    sentence: str
    is_guard: bool
    began_at: datetime
    last_at: datetime
    due_at: datetime
    sms: int
    mail_id: MailId  # the last


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a subject used of a quota within its window."""

    account: str
    quota: str
    subject: str = field(repr=False)
    used: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What an order would take of a quota, and how much of it would then be used."""

    sentence: str
    subject: str = field(repr=False)
    most: int
    used: int  # what it takes included
    takes: int
    held_back: int  # SMS that the quota held back, those of the order included


def floor(now: datetime, step: timedelta) -> datetime:
    """The last multiple of the step, counted from a midnight of UTC; clocks that are changed change nothing."""
    return now - (now - _EPOCH) % step


def find_due_at(began_at: datetime, window: timedelta) -> datetime:
    """When it is told what a quota held back: at the first quarter of an hour after a whole window.

    At full quarters, so that what happens to many numbers goes into few mails.
    """
    return floor(began_at + window, _TOLD_EVERY) + _TOLD_EVERY


@dataclass(slots=True, kw_only=True)
class Ledger:
    """What was used, and is used by the orders of one transaction."""

    now: datetime = _EPOCH
    used: dict[Key, int] = field(default_factory=dict)
    charged: dict[Key, tuple[Limit, int]] = field(default_factory=dict)  # not yet written
    overruns: dict[Key, Overrun] = field(default_factory=dict)  # those there are of these subjects
    changed: set[Key] = field(default_factory=set)  # of the overruns, not yet written

    def copy(self) -> "Ledger":
        """The same, which may go another way."""
        return Ledger(
            now=self.now,
            used=dict(self.used),
            charged=dict(self.charged),
            overruns=dict(self.overruns),
            changed=set(self.changed),
        )

    def find_spent(self, account: str, wanted: list[tuple[Limit, str, int]]) -> tuple[Limit, str] | None:
        """The first limit that has no room for what is wanted of it, with the subject; None: there is room."""
        for limit, subject, amount in wanted:
            if self.used.get((account, limit.key, subject), 0) + amount > limit.most:
                return limit, subject
        return None

    def charge(self, account: str, wanted: list[tuple[Limit, str, int]]) -> None:
        """All that is wanted is used."""
        for limit, subject, amount in wanted:
            key = (account, limit.key, subject)
            self.used[key] = self.used.get(key, 0) + amount
            self.charged[key] = (limit, self.charged.get(key, (limit, 0))[1] + amount)

    def hold_back(self, account: str, limit: Limit, subject: str, mail_id: MailId) -> QuotaSpent | None:
        """One more SMS was held back; return who is to be told, if that is news."""
        key = (account, limit.key, subject)
        known = self.overruns.get(key)
        self.changed.add(key)
        if known is not None:
            self.overruns[key] = replace(
                known, last_at=max(self.now, known.last_at), sms=known.sms + 1, mail_id=mail_id
            )
            return None
        self.overruns[key] = Overrun(
            account=account,
            quota=limit.key,
            subject=subject,
            sentence=limit.sentence,
            is_guard=limit.is_guard,
            began_at=self.now,
            last_at=self.now,
            due_at=find_due_at(self.now, limit.window),
            sms=1,
            mail_id=mail_id,
        )
        return QuotaSpent(
            account=account,
            at=self.now,
            quota=limit.key,
            sentence=limit.sentence,
            subject=subject,
            is_guard=limit.is_guard,
        )
