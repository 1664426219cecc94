"""What the carrier and the mailbox saw, held against what was asked for.

Reads with eyes of its own: nothing here comes from the rooms that write reports or send SMS.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, unique

from gateway.proof.orders import Order
from gateway.sandbox.messages import CarriedSms
from gateway.smtp.mailbox import ReceivedMail

SENT, UNKNOWN = 0, 999
"""The codes there can be (docs/protocol.md §9): the carrier took it; nobody learnt whether it did."""

_MESSAGE_ID = re.compile(rb"^Message-ID: (<[^>\r]+>)\r$", re.MULTILINE | re.IGNORECASE)
_EMAIL_ID = re.compile(rb"<emailId>([^<]+)</emailId>")
_CODE = re.compile(rb"<code>(\d+)</code>")
_ANSWER = re.compile(rb"<code\d*>(\d+)</code\d*>\r\n<tel\d*>(\d+)</tel\d*>")
_NATIONAL_DIGITS = 9  # what a number has in every way of writing it


@unique
class Harm(Enum):
    """What went wrong."""

    LOST = "lost"  # an SMS or a report that never came, without anybody being told
    DOUBLED = "doubled"  # an SMS too many, or two different reports of one thing
    WRONG = "wrong"  # told, or done, otherwise than promised


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that is not as promised."""

    harm: Harm
    text: str

    def __str__(self) -> str:
        return f"{self.harm.value}: {self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What came of one order."""

    order: Order
    sms: tuple[int, ...]  # how often the carrier saw each number
    acks: Sequence[int]  # the code of each Ack, copies left out
    nots: Sequence[dict[str, int]]  # the code of each number in each Not, copies left out
    copies: int  # reports that came again with the Message-ID they had

    @property
    def codes(self) -> tuple[int | None, ...]:
        """What the sender was told about each number; None: nothing, or not once."""
        told = self.nots[0] if len(self.nots) == 1 else {}
        return tuple(told.get(_key(number)) for number in self.order.numbers)


@dataclass(slots=True)
class _Report:
    body: bytes
    times: int = 0


class Ledger:
    """Collects what came in; the order in which it came does not matter."""

    def __init__(self) -> None:
        self._sms: Counter[str] = Counter()
        self._acks: defaultdict[str, dict[bytes, _Report]] = defaultdict(dict)
        self._nots: defaultdict[str, dict[bytes, _Report]] = defaultdict(dict)
        self._strays = 0

    def take_sms(self, carried: Iterable[CarriedSms]) -> None:
        """Book what a carrier took."""
        self._sms.update(_key(sms["number"]) for sms in carried)

    def take_mails(self, mails: Iterable[ReceivedMail]) -> None:
        """Book what a mailbox got."""
        for mail in mails:
            email_id, message_id = _EMAIL_ID.search(mail.content), _MESSAGE_ID.search(mail.content)
            if email_id is None or message_id is None:
                self._strays += 1
                continue
            kind = self._acks if b"<etatAck>" in mail.content else self._nots
            report = kind[email_id[1].decode()].setdefault(message_id[1], _Report(mail.content))
            report.times += 1

    def is_complete(self, orders: Iterable[Order]) -> bool:
        """True when every order has the reports it wants."""
        return all(
            order.email_id in self._nots and (not order.wants_ack or order.email_id in self._acks) for order in orders
        )

    def look_up(self, order: Order) -> Seen:
        """Return what came of an order."""
        acks = self._acks.get(order.email_id, {}).values()
        nots = self._nots.get(order.email_id, {}).values()
        codes = [_CODE.search(ack.body) for ack in acks]
        return Seen(
            order=order,
            sms=tuple(self._sms[_key(number)] for number in order.numbers),
            acks=[-1 if code is None else int(code[1]) for code in codes],
            nots=[{_key(tel.decode()): int(code) for code, tel in _ANSWER.findall(one.body)} for one in nots],
            copies=sum(report.times - 1 for report in (*acks, *nots)),
        )

    def find_strays(self, orders: Iterable[Order]) -> Iterator[Fault]:
        """Yield what belongs to none of the orders."""
        known = list(orders)
        numbers = {_key(number) for order in known for number in order.numbers}
        ids = {order.email_id for order in known}
        if foreign := self._sms.keys() - numbers:
            yield Fault(harm=Harm.WRONG, text=f"SMS that nobody asked for, to {len(foreign)} numbers")
        if strangers := (self._acks.keys() | self._nots.keys()) - ids:
            yield Fault(harm=Harm.WRONG, text=f"reports of {len(strangers)} mails that were never sent")
        if self._strays:
            yield Fault(harm=Harm.WRONG, text=f"{self._strays} mails that are no reports")


def find_faults(seen: Seen) -> Iterator[Fault]:
    """Yield what is not as promised about an order that was answered 250, after whatever crashes."""
    order, name = seen.order, seen.order.email_id
    yield from _judge_count(name, "Ack", len(seen.acks), wanted=int(order.wants_ack))
    yield from _judge_count(name, "Not", len(seen.nots), wanted=1)
    for ack in seen.acks:
        if ack != 0:  # a relay's retransmission is no second mail (docs/protocol.md §1.6)
            yield Fault(harm=Harm.WRONG, text=f"{name}: its Ack says {ack}")
    for number, times, code in zip(order.numbers, seen.sms, seen.codes, strict=True):
        if times > order.customer.most_sms:
            yield Fault(harm=Harm.DOUBLED, text=f"{name}: {number} was sent {times} times")
        if len(seen.nots) != 1:
            continue
        if code is None:
            yield Fault(harm=Harm.LOST, text=f"{name}: nothing is said about {number}")
        elif code == SENT and not times:
            yield Fault(harm=Harm.LOST, text=f"{name}: {number} is answered 0 and never was at the carrier")
        elif code not in {SENT, UNKNOWN}:
            yield Fault(harm=Harm.WRONG, text=f"{name}: {number} is answered {code}")


def find_untidiness(seen: Seen) -> Iterator[Fault]:
    """Yield what only a crash excuses: a gateway that was told to stop learns every fate and doubles no report."""
    name = seen.order.email_id
    for number, times, code in zip(seen.order.numbers, seen.sms, seen.codes, strict=True):
        if (times, code) != (1, SENT):
            yield Fault(harm=Harm.WRONG, text=f"{name}: {number} was sent {times} times and is answered {code}")
    if seen.copies:
        yield Fault(harm=Harm.WRONG, text=f"{name}: {seen.copies} reports came twice")


def _judge_count(name: str, kind: str, count: int, *, wanted: int) -> Iterator[Fault]:
    if count < wanted:
        yield Fault(harm=Harm.LOST, text=f"{name} has no {kind}")
    elif count > wanted:
        yield Fault(harm=Harm.DOUBLED, text=f"{name} has {count} different {kind}s, not {wanted}")


def _key(number: str) -> str:
    return number[-_NATIONAL_DIGITS:]
